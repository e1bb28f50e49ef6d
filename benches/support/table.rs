//! The table at the end of a benchmark, and the line of JSON beside it.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// One figure beside its ceiling.
struct Line {
    what: String,
    figure: f64,
    unit: &'static str,
    ceiling: Option<f64>,
    target: &'static str,
}

/// A benchmark under way.
pub struct Bench {
    name: &'static str,
    /// Small numbers, for every day.
    pub is_quick: bool,
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Bench {
    /// Reads the arguments: `--quick`, beside what cargo adds.
    pub fn start(name: &'static str) -> Bench {
        let is_quick = std::env::args().any(|argument| argument == "--quick");
        let form = if is_quick { "quick" } else { "full" };
        println!("{name} ({form}), SQLite {}, {} cores", rusqlite::version(), cores());
        Bench { name, is_quick, lines: Vec::new(), notes: Vec::new() }
    }

    /// A figure with the ceiling of the same run, if it has one.
    pub fn line(&mut self, what: impl Into<String>, figure: f64, unit: &'static str) -> &mut Bench {
        let what = what.into();
        println!("  … {what}: {} {unit}", number(figure));
        self.lines.push(Line { what, figure, unit, ceiling: None, target: "" });
        self
    }

    /// The ceiling of the last line, and its target.
    pub fn against(&mut self, ceiling: f64, target: &'static str) {
        if let Some(line) = self.lines.last_mut() {
            line.ceiling = Some(ceiling);
            line.target = target;
        }
    }

    /// The target of a line that has no ceiling.
    pub fn target(&mut self, target: &'static str) {
        if let Some(line) = self.lines.last_mut() {
            line.target = target;
        }
    }

    /// A sentence below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints the table and adds a line to `target/bench/NAME.json`.
    pub fn finish(self) {
        let width = self.lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
        println!("\n{:<width$}  {:>10} {:<6} {:>10}  {:>6}  target", "", "figure", "", "ceiling", "ratio");
        for line in &self.lines {
            let ceiling = line.ceiling.map_or_else(String::new, number);
            let ratio =
                line.ceiling.map_or_else(String::new, |ceiling| format!("{:.2}", line.figure / ceiling));
            println!(
                "{:<width$}  {:>10} {:<6} {ceiling:>10}  {ratio:>6}  {}",
                line.what,
                number(line.figure),
                line.unit,
                line.target
            );
        }
        for note in &self.notes {
            println!("{note}");
        }
        let lines: Vec<Value> = self.lines.iter().map(|line| {
            json!({"what": line.what, "figure": line.figure, "unit": line.unit, "ceiling": line.ceiling, "target": line.target})
        }).collect();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
        let entry =
            json!({"at": at, "quick": self.is_quick, "cores": cores(), "lines": lines, "notes": self.notes});
        let path = super::results().join(format!("{}.json", self.name));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{entry}").unwrap();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
