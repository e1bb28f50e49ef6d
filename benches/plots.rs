//! Draws what the last runs of `growth`, `reads` and `timeline` kept: SVG files in `docs/plots`. Measures nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, missing_docs, unreachable_pub)]

mod support;

use std::path::Path;

use support::plot::{Line, Plot};
use support::series;

fn main() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plots");
    std::fs::create_dir_all(&dir).unwrap();
    let draw = |name: &str, plot: Option<Plot>| match plot {
        Some(plot) => {
            std::fs::write(dir.join(name), plot.svg()).unwrap();
            println!("docs/plots/{name}");
        }
        None => println!("{name}: its benchmark has not run"),
    };
    draw("growth.svg", growth());
    draw("reads.svg", reads());
    draw("rate-80.svg", limited());
    draw("rate.svg", unlimited());
    draw("launch.svg", launch());
}

/// The lines of `of` with these names, under the names to show.
fn lines(of: &str, names: &[(&str, &str)]) -> Option<Vec<Line>> {
    let mut all = series::of(of)?;
    let found: Vec<_> =
        names.iter().filter_map(|(name, shown)| Some(((*shown).to_owned(), all.remove(*name)?))).collect();
    (!found.is_empty()).then_some(found)
}

fn growth() -> Option<Plot> {
    Some(Plot {
        title: "What a message costs as the file grows",
        x: "messages in the file (logarithmic)",
        y: "cost, as a multiple of the smallest file's",
        is_log: true,
        lines: lines(
            "growth",
            &[
                ("queued to delivered", "out: queued to delivered"),
                ("message from a person", "in: webhook to row"),
                ("queued to delivered, processor", "out, processor time"),
                ("message from a person, processor", "in, processor time"),
            ],
        )?,
        ceiling: Some(("target: 1.3".to_owned(), 1.3)),
    })
}

fn reads() -> Option<Plot> {
    Some(Plot {
        title: "Reads over HTTP as the file grows (p99)",
        x: "messages in the file (logarithmic)",
        y: "milliseconds",
        is_log: true,
        lines: lines(
            "reads",
            &[
                ("messages, deepest", "messages, deepest page"),
                ("messages, status=failed", "messages, one status"),
                ("users, deepest", "users, deepest page"),
                ("report of a campaign", "report of a campaign"),
                ("timeline of a person", "timeline of a person"),
            ],
        )?,
        ceiling: Some(("target: 10 ms".to_owned(), 10.0)),
    })
}

fn limited() -> Option<Plot> {
    Some(Plot {
        title: "A limit of 80 messages a second, kept",
        x: "seconds",
        y: "messages accepted per second",
        is_log: false,
        lines: lines("rate", &[("limit 80", "accepted, second by second")])?,
        ceiling: Some(("limit: 80/s".to_owned(), 80.0)),
    })
}

fn unlimited() -> Option<Plot> {
    let (_, ceiling) = *series::of("rate")?.get("ceiling")?.first()?;
    Some(Plot {
        title: "Sending without a limit",
        x: "seconds",
        y: "messages accepted per second",
        is_log: false,
        lines: lines("rate", &[("unlimited", "accepted, means of half a second")])?,
        ceiling: Some((format!("one bare loop: {ceiling:.0}/s"), ceiling)),
    })
}

fn launch() -> Option<Plot> {
    Some(Plot {
        title: "Webhooks while a campaign for everybody is launched and sent",
        x: "seconds",
        y: "webhooks answered per second",
        is_log: false,
        lines: lines(
            "rate",
            &[("webhooks before", "before the launch"), ("webhooks during", "after the launch")],
        )?,
        ceiling: None,
    })
}
