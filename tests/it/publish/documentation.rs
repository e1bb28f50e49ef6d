//! The list of event types is closed and documented: `docs/events.md` is written from the types themselves.
//! `ESE_WRITE_DOCS=1 cargo test the_documented_list` writes it anew.

use std::path::Path;

use event_stream_engine::domain::event::EventType;

fn document() -> String {
    let mut text = "# Events\n\n\
        What `/api/v1/events`, the stream and outbound webhooks tell. The list is closed: a type that is not here does\n\
        not come. Written from the source by `ESE_WRITE_DOCS=1 cargo test the_documented_list`.\n\n\
        | type | what it tells |\n|---|---|\n"
        .to_owned();
    for kind in EventType::ALL {
        text.push_str(&format!("| `{}` | {} |\n", kind.as_str(), kind.describe()));
    }
    text
}

#[test]
fn the_documented_list_of_events_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let expected = document();
    if std::env::var_os("ESE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/events.md is not of today: ESE_WRITE_DOCS=1 cargo test the_documented_list"
    );
    for kind in EventType::ALL {
        assert!(kind.describe().len() > 15 && kind.describe().ends_with('.'), "{}", kind.as_str());
        assert_eq!(EventType::parse(kind.as_str()), Some(*kind));
    }
}
