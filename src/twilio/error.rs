//! What Twilio's error codes mean for a message, its sender and the account: one table for all.
//!
//! Codes and titles: <https://www.twilio.com/docs/api/errors>. Twilio says that codes may change, so an
//! unknown one has a safe reading: failed, kept, not tried again.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::domain::failure::{Failure, Meaning, Renewal};

#[derive(Deserialize)]
struct Row {
    code: i64,
    message: Option<String>,
    retry: String,
    effect: String,
}

static TABLE: LazyLock<HashMap<i64, Failure>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct File {
        codes: Vec<Row>,
    }
    let file: File = serde_json::from_str(include_str!("error_codes.json"))
        .expect("the table is part of the program and is parsed by a test");
    file.codes.into_iter().map(|row| (row.code, read(row))).collect()
});

fn read(row: Row) -> Failure {
    let meaning = meaning(row.code, &row.effect, &row.retry);
    Failure {
        code: row.code,
        text: row.message.unwrap_or_else(|| format!("Twilio error {}", row.code)),
        what_to_do: what_to_do(row.code, meaning),
        meaning,
        is_about_the_phone: matches!(row.effect.as_str(), "unreachable" | "invalid_number"),
    }
}

fn meaning(code: i64, effect: &str, retry: &str) -> Meaning {
    match (effect, retry) {
        // One person's text that a filter caught says little about the next person's.
        _ if code == 30007 => Meaning::Fail,
        _ if code == 30036 => Meaning::TooLate,
        ("opt_out", _) => Meaning::OptedOut,
        ("invalid_number", _) => Meaning::InvalidNumber,
        // A full window of conversations, or a pace that the channel doesn't take: either way nothing goes.
        _ if code == 63018 => Meaning::PauseSender { renews: Some(Renewal::Conversations) },
        _ if matches!(code, 30023 | 30027) => Meaning::PauseSender { renews: Some(Renewal::PacificMidnight) },
        ("account_stop", retry) => {
            Meaning::PauseAccount { renews: (retry == "later").then_some(Renewal::Unknown) }
        }
        ("sender_stop", retry) => {
            Meaning::PauseSender { renews: (retry == "later").then_some(Renewal::Unknown) }
        }
        ("template", _) => Meaning::FixTemplate,
        ("config", "later") => Meaning::Later,
        ("config", _) => Meaning::FixConfig,
        // The window closed between the gate and Twilio: true for this person alone.
        ("wa_window", _) => Meaning::Fail,
        (_, "backoff") => Meaning::Retry,
        (_, "later") => Meaning::Later,
        _ => Meaning::Fail,
    }
}

/// The line that mends it, for the codes that people meet.
const MENDED_BY: &[(&[i64], &str)] = &[
    (
        &[20003],
        "Twilio refused the credentials. Copy account SID and auth token again from the Twilio console, then resume.",
    ),
    (
        &[10001, 20005],
        "The Twilio account is not active. Check its status and balance in the Twilio console, then resume.",
    ),
    (
        &[21408],
        "Sending to this country is switched off. Switch it on under Messaging, Geo permissions in the Twilio console, then resume.",
    ),
    (
        &[21606, 21212, 21601],
        "The sender is not a number of this account that can text. Check [[senders]] address, then resume.",
    ),
    (
        &[21608],
        "A trial account sends to verified numbers only. Verify the number in the Twilio console or upgrade the account, then resume.",
    ),
    (
        &[21609],
        "Twilio refused the callback URL. Set [server] public_base_url to the https address under which Twilio reaches this server, then resume.",
    ),
    (&[21610], "Opted out at Twilio. Recorded here as STOP. Nothing to do."),
    (
        &[21611, 30001],
        "The sender's queue at Twilio is full. It is tried again later; lower the sender's rate_per_second.",
    ),
    (&[21211, 21614], "The number can't receive texts. Correct it and mark the person reachable again."),
    (&[21617], "The text is longer than 1,600 characters. Shorten the template."),
    (&[30003], "The phone was off or out of reach. It is tried again later."),
    (&[30004], "The person or the carrier blocks this sender. Nothing to do."),
    (
        &[30005, 30006],
        "The number does not exist or is a landline. It is marked unreachable; correct it to write again.",
    ),
    (
        &[30007],
        "A carrier's filter took it for spam. Reword the template; links by shorteners are a common cause.",
    ),
    (&[30008], "The carrier gave no reason. It is tried again later."),
    (
        &[30032, 30033, 30034],
        "The sender is not registered for this traffic. Finish its registration in the Twilio console, then resume.",
    ),
    (&[63003, 63024], "The number is not on WhatsApp. It is marked unreachable; SMS may reach the person."),
    (&[63014, 63033], "The person blocked this sender on WhatsApp. Recorded here as STOP. Nothing to do."),
    (
        &[63015],
        "The sandbox sends only to phones that have joined it. Send the join word from that phone, then resume.",
    ),
    (
        &[63016],
        "More than 24 hours since the person's last message. Use a template with an approved Content SID.",
    ),
    (&[63049], "Meta chose not to deliver this marketing message. Use SMS for this person."),
];

fn what_to_do(code: i64, meaning: Meaning) -> &'static str {
    let known = MENDED_BY.iter().find(|(codes, _)| codes.contains(&code));
    known.map_or_else(|| mended_by(meaning), |(_, text)| text)
}

/// The same for all other codes, by what they mean.
fn mended_by(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Retry | Meaning::Later | Meaning::TooLate => "It is tried again by itself.",
        Meaning::OptedOut => "Recorded here as STOP. Nothing to do.",
        Meaning::InvalidNumber => "The number is marked unreachable. Correct it to write again.",
        Meaning::PauseSender { renews: Some(Renewal::PacificMidnight) } => {
            "The carrier's daily limit is used up. It goes on by itself after midnight in California."
        }
        Meaning::PauseSender { renews: Some(Renewal::Conversations) } => {
            "The limit on conversations within 24 hours is used up, or the pace too high. It goes on by itself; if it comes again, lower the sender's recipients_per_day or rate_per_second."
        }
        Meaning::PauseSender { renews: Some(Renewal::Unknown) } => {
            "The sender can't send for some hours. It goes on by itself."
        }
        Meaning::PauseSender { .. } => "Look at the sender in the Twilio console, mend it, then resume.",
        Meaning::PauseAccount { renews: Some(_) } => {
            "The account's daily limit is used up. It goes on by itself; a trial account has to be upgraded for more."
        }
        Meaning::PauseAccount { .. } => "Look at the account in the Twilio console, mend it, then resume.",
        Meaning::FixTemplate => "Mend the template, or wait for its approval, then resume.",
        Meaning::FixConfig => "Mend the setting that Twilio names, then resume.",
        Meaning::Fail => "This message failed for good. Nothing to do.",
    }
}

/// The table's row for `code`, or the safe reading of an unknown one.
pub fn explain(code: i64) -> Failure {
    TABLE.get(&code).cloned().unwrap_or_else(|| Failure {
        code,
        text: if code == 0 { "Refused without a code".to_owned() } else { format!("Twilio error {code}") },
        what_to_do: "Not known to this release; not tried again. Look the code up in Twilio's documentation.",
        meaning: Meaning::Fail,
        is_about_the_phone: false,
    })
}

/// Every code of the table, for tests and documentation.
pub fn all() -> impl Iterator<Item = &'static Failure> {
    TABLE.values()
}

/// Twilio's own words about a failure, cut to 300 characters and without phone numbers: they end in events and
/// reasons, which name people by id alone and outlive an erasure. A run of seven digits or more is a number.
pub fn without_numbers(words: &str) -> String {
    const LEAST: usize = 7;
    let mut told = String::new();
    let mut run = String::new();
    for character in words.chars().take(300).chain(['\0']) {
        if character.is_ascii_digit() {
            run.push(character);
            continue;
        }
        told.push_str(if run.len() >= LEAST { "…" } else { &run });
        run.clear();
        told.push(character);
    }
    told.pop();
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_that_people_meet_do_what_their_pages_say() {
        let table = [
            (20003, Meaning::PauseAccount { renews: None }),
            (63038, Meaning::PauseAccount { renews: Some(Renewal::Unknown) }),
            (30023, Meaning::PauseSender { renews: Some(Renewal::PacificMidnight) }),
            (30027, Meaning::PauseSender { renews: Some(Renewal::PacificMidnight) }),
            (63018, Meaning::PauseSender { renews: Some(Renewal::Conversations) }),
            (30035, Meaning::PauseSender { renews: Some(Renewal::Unknown) }),
            (30034, Meaning::PauseSender { renews: None }),
            (63007, Meaning::PauseSender { renews: None }),
            (21610, Meaning::OptedOut),
            (63014, Meaning::OptedOut),
            (63033, Meaning::OptedOut),
            (21211, Meaning::InvalidNumber),
            (21614, Meaning::InvalidNumber),
            (30005, Meaning::InvalidNumber),
            (63003, Meaning::InvalidNumber),
            (21608, Meaning::FixConfig),
            (21606, Meaning::FixConfig),
            (63015, Meaning::FixConfig),
            (63027, Meaning::FixTemplate),
            (63041, Meaning::FixTemplate),
            (20429, Meaning::Retry),
            (21702, Meaning::Retry),
            (21611, Meaning::Later),
            (30001, Meaning::Later),
            (30003, Meaning::Later),
            (30008, Meaning::Later),
            (30036, Meaning::TooLate),
            (63016, Meaning::Fail),
            (30004, Meaning::Fail),
            (30007, Meaning::Fail),
            (21617, Meaning::Fail),
            (21612, Meaning::Fail),
        ];
        for (code, meaning) in table {
            assert_eq!(explain(code).meaning, meaning, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_fails_and_is_kept() {
        let unknown = explain(99_999);
        assert_eq!((unknown.code, unknown.meaning), (99_999, Meaning::Fail));
    }

    #[test]
    fn every_code_says_what_to_do() {
        assert!(all().count() > 100);
        for error in all() {
            assert!(!error.what_to_do.is_empty() && !error.text.is_empty(), "{}", error.code);
        }
    }

    #[test]
    fn words_of_twilio_name_no_number() {
        for (words, told) in [
            (
                "The 'To' number +12125550101 is not a valid phone number",
                "The 'To' number +… is not a valid phone number",
            ),
            ("whatsapp:+14155550100", "whatsapp:+…"),
            ("Message body exceeds 1600 characters (21617)", "Message body exceeds 1600 characters (21617)"),
            ("ends in 5550101", "ends in …"),
            ("", ""),
        ] {
            assert_eq!(without_numbers(words), told);
        }
    }
}
