//! States of the domain as words with an icon and a tone, and reasons as sentences. A state without a row fails a
//! test.

use minijinja::{Environment, Error, ErrorKind, State, Value};

use crate::domain::gate::Reason;

/// A colour with a meaning; the style sheet has it in light and dark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Moving,
    Waiting,
    NeedsYou,
    Bad,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Tone::Good => "ok",
            Tone::Moving => "info",
            Tone::Waiting => "",
            Tone::NeedsYou => "warn",
            Tone::Bad => "bad",
        }
    }
}

use Tone::{Bad, Good, Moving, NeedsYou, Waiting};

type Row = (&'static str, &'static str, Tone, &'static str, &'static str);

/// Kind, state, tone, icon, word.
const WORDS: &[Row] = &[
    ("message", "queued", Waiting, "clock", "Queued"),
    ("message", "sending", Moving, "send", "Sending"),
    ("message", "uncertain", NeedsYou, "help-circle", "Uncertain"),
    ("message", "accepted", Moving, "check", "Accepted"),
    ("message", "sent", Moving, "check", "Sent"),
    ("message", "delivered", Good, "checks", "Delivered"),
    ("message", "read", Good, "eye", "Read"),
    ("message", "failed", Bad, "circle-x", "Failed"),
    ("message", "undelivered", Bad, "circle-x", "Undelivered"),
    ("message", "expired", Waiting, "clock-pause", "Expired"),
    ("message", "skipped", Waiting, "player-play", "Skipped"),
    ("message", "cancelled", Waiting, "x", "Cancelled"),
    ("campaign", "draft", Waiting, "pencil", "Draft"),
    ("campaign", "scheduled", Waiting, "calendar-time", "Scheduled"),
    ("campaign", "launching", Moving, "player-play", "Launching"),
    ("campaign", "running", Moving, "player-play", "Running"),
    ("campaign", "paused", NeedsYou, "player-pause", "Paused"),
    ("campaign", "finished", Good, "circle-check", "Finished"),
    ("campaign", "cancelled", Waiting, "x", "Cancelled"),
    ("consent", "opt_in", Good, "check", "Opted in"),
    ("consent", "unknown", Waiting, "circle-dashed", "Unknown"),
    ("consent", "opt_out", NeedsYou, "message-off", "Opted out"),
    ("consent", "stop", Bad, "ban", "STOP"),
    ("consent", "review", NeedsYou, "user-question", "On review"),
    ("import", "draft", Waiting, "pencil", "Draft"),
    ("import", "checking", Moving, "search", "Checking"),
    ("import", "queued", Waiting, "clock", "Queued"),
    ("import", "running", Moving, "player-play", "Running"),
    ("import", "finished", Good, "circle-check", "Finished"),
    ("import", "failed", Bad, "circle-x", "Failed"),
    ("approval", "unsubmitted", Waiting, "pencil", "Not submitted"),
    ("approval", "received", Moving, "send", "Submitted"),
    ("approval", "pending", Moving, "clock", "Pending"),
    ("approval", "approved", Good, "circle-check", "Approved"),
    ("approval", "rejected", Bad, "circle-x", "Rejected"),
    ("approval", "paused", NeedsYou, "player-pause", "Paused"),
    ("approval", "disabled", Bad, "ban", "Disabled"),
    ("approval", "deleted", Bad, "trash-x", "Gone at Twilio"),
    ("approval", "unseen", Waiting, "help-circle", "Not seen yet"),
    ("delivery", "pending", Waiting, "clock", "Pending"),
    ("delivery", "delivered", Good, "checks", "Delivered"),
    ("delivery", "failed", Bad, "circle-x", "Failed"),
    ("operator", "active", Good, "user-check", "Active"),
    ("operator", "invited", Waiting, "clock", "No password yet"),
    ("operator", "disabled", NeedsYou, "user-off", "Disabled"),
    ("second_factor", "on", Good, "shield-check", "On"),
    ("second_factor", "off", Waiting, "shield", "Off"),
    ("key", "active", Good, "circle-check", "Active"),
    ("key", "expired", Waiting, "clock-pause", "Expired"),
    ("key", "revoked", Waiting, "ban", "Revoked"),
    ("endpoint", "new", Waiting, "circle-dashed", "Nothing sent yet"),
    ("endpoint", "working", Good, "circle-check", "Working"),
    ("endpoint", "failing", Bad, "alert-triangle", "Failing"),
    ("endpoint", "disabled", NeedsYou, "player-pause", "Disabled"),
    ("check", "ok", Good, "circle-check", "OK"),
    ("check", "warning", NeedsYou, "alert-triangle", "Look"),
    ("check", "failed", Bad, "circle-x", "Failed"),
    ("bulk", "running", Moving, "player-play", "Running"),
    ("bulk", "finished", Good, "circle-check", "Finished"),
    ("bulk", "cancelled", Waiting, "x", "Stopped"),
    ("bulk", "failed", Bad, "circle-x", "Failed"),
    ("row", "new", Good, "plus", "New"),
    ("row", "changed", Moving, "pencil", "Changed"),
    ("row", "unchanged", Waiting, "check", "Unchanged"),
    ("row", "kept", NeedsYou, "shield-check", "Consent kept"),
    ("row", "rejected", Bad, "circle-x", "Rejected"),
    ("row", "noticed", NeedsYou, "alert-triangle", "Noticed"),
];

/// Why a row of a file was not taken as it stands: the reason, what it is in a few words, and what to do.
const ROWS: &[(&str, &str, &str)] = &[
    ("phone_missing", "No phone number", "The cell is empty."),
    (
        "invalid_phone",
        "Not a valid number",
        "No country has numbers like this. Write it with its country code, such as +14155550101.",
    ),
    (
        "scientific_notation",
        "Number shortened by Excel (9.47E+10)",
        "Its last digits are lost. Format the column as text and export again.",
    ),
    ("several_numbers_in_cell", "Several numbers in one cell", "Split them into rows of their own."),
    (
        "no_country",
        "No country code",
        "Choose the country of such numbers under Columns, or write it like +14155550101.",
    ),
    ("duplicate_in_file", "Twice in the file, last row wins", "Nothing to do."),
    (
        "too_many_cells",
        "More cells than columns",
        "A cell with a comma or semicolon in it needs quotation marks.",
    ),
    ("invalid_json", "Not JSON", "The line is not a JSON object."),
    ("attributes_invalid", "Attributes too long or too many", "Leave out columns that nobody needs."),
    (
        "consent_unclear",
        "Consent not clear",
        "The row came in without it. Write opt_in, opt_out, stop or unknown.",
    ),
    ("topic_unknown", "Unknown topic", "Make the topic first, then import the file again."),
    ("topic_left", "Left the topic", "The person left it themselves; an import does not bring them back."),
    ("timezone_unknown", "Unknown time zone", "Write it like Asia/Colombo."),
];

fn row(kind: &str, state: &str) -> Option<&'static Row> {
    WORDS.iter().find(|row| row.0 == kind && row.1 == state)
}

/// The word of a state; the state itself if it has none, such as a new word of Twilio.
pub(super) fn word<'a>(kind: &str, state: &'a str) -> &'a str {
    row(kind, state).map_or(state, |row| row.4)
}

/// Class, icon and word of a state.
pub(super) fn look_of<'a>(kind: &str, state: &'a str) -> (&'static str, &'static str, &'a str) {
    row(kind, state).map_or(("", "circle-dashed", state), |row| (row.2.class(), row.3, row.4))
}

/// What a reason says about one person, as a sentence.
pub(super) fn reason(code: &str) -> Option<&'static str> {
    if code == "campaign_cancelled" {
        return Some("The campaign was cancelled.");
    }
    Reason::ALL.iter().find(|reason| reason.as_str() == code).map(|reason| reason.says())
}

/// What to do about a reason.
pub(super) fn what_to_do(code: &str) -> Option<&'static str> {
    Reason::ALL.iter().find(|reason| reason.as_str() == code).map(|reason| reason.what_to_do())
}

/// Makes `look(kind, state)`, `word(…)`, `|reason` and `|what_to_do` known to templates.
pub(super) fn add_to(pages: &mut Environment<'static>) {
    pages.add_function("look", look);
    pages.add_function("word", |kind: String, state: String| word(&kind, &state).to_owned());
    pages.add_filter("row_reason", |code: String| {
        ROWS.iter().find(|row| row.0 == code).map_or(code.clone(), |row| row.1.to_owned())
    });
    pages.add_filter("row_advice", |code: String| {
        ROWS.iter().find(|row| row.0 == code).map_or("", |row| row.2).to_owned()
    });
    pages.add_filter("reason", |code: String| reason(&code).map_or(code.clone(), str::to_owned));
    pages.add_filter("what_to_do", |code: String| what_to_do(&code).unwrap_or_default().to_owned());
}

/// Tone, icon and word of a state, for the macro `status`.
fn look(_: &State<'_, '_>, kind: String, state: String) -> Result<Value, Error> {
    if !WORDS.iter().any(|row| row.0 == kind) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("no states of kind {kind}")));
    }
    let found = row(&kind, &state);
    Ok(minijinja::context! {
        class => found.map_or("", |row| row.2.class()),
        icon => found.map_or("circle-dashed", |row| row.3),
        word => found.map_or(state.as_str(), |row| row.4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::campaign::CampaignStatus;
    use crate::domain::consent::Consent;
    use crate::domain::content::Approval;
    use crate::domain::message::Status;
    use crate::store::imports::ImportState;

    #[test]
    fn every_state_has_a_word() {
        let message = Status::ALL.iter().map(|status| ("message", status.as_str()));
        let campaign = CampaignStatus::ALL.iter().map(|status| ("campaign", status.as_str()));
        let consent = Consent::ALL.iter().map(|state| ("consent", state.as_str()));
        let approval = Approval::ALL.iter().map(|approval| ("approval", approval.as_str()));
        let import = ImportState::ALL.iter().map(|state| ("import", state.as_str()));
        for (kind, state) in message.chain(campaign).chain(consent).chain(approval).chain(import) {
            assert!(row(kind, state).is_some(), "{kind} {state}");
        }
    }

    #[test]
    fn every_reason_of_a_row_is_told_with_what_to_do() {
        let told: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
        assert_eq!(told, crate::import::REASONS);
        assert!(ROWS.iter().all(|row| row.2.ends_with('.')));
    }

    #[test]
    fn every_reason_is_a_sentence() {
        for reason in Reason::ALL {
            assert!(super::reason(reason.as_str()).unwrap().ends_with('.'));
            assert!(what_to_do(reason.as_str()).unwrap().ends_with('.'));
        }
    }
}
