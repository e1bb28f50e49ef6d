//! Rules of outbound webhooks: which addresses may be called, when a delivery is tried again, which events an
//! endpoint gets. After the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

pub mod address;
pub mod schedule;

use super::event::EventType;

/// The events that a filter lets through. Each word is a type or, with a star, all of a noun: `alert.*`. An
/// empty filter means every event. Trials go to the endpoint that they are made for, whatever its filter.
pub fn selected(types: &[String]) -> Vec<EventType> {
    EventType::ALL
        .iter()
        .filter(|kind| **kind != EventType::WebhookTested)
        .filter(|kind| types.is_empty() || types.iter().any(|word| fits(word, **kind)))
        .copied()
        .collect()
}

fn fits(word: &str, kind: EventType) -> bool {
    match word.strip_suffix(".*") {
        Some(noun) => kind.as_str().split_once('.').is_some_and(|(own, _)| own == noun),
        None => word == kind.as_str(),
    }
}

/// True when a word of a filter names something.
pub fn is_known(word: &str) -> bool {
    EventType::ALL.iter().any(|kind| fits(word, *kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_types_or_whole_nouns_and_trials_are_never_meant() {
        let words = |types: &[&str]| -> Vec<&str> {
            let types: Vec<String> = types.iter().map(|word| (*word).to_owned()).collect();
            selected(&types).into_iter().map(EventType::as_str).collect()
        };
        assert_eq!(words(&["message.read", "user.erased"]), ["user.erased", "message.read"]);
        assert!(words(&["alert.*"]).len() >= 8);
        assert!(words(&["alert.*"]).iter().all(|word| word.starts_with("alert.")));
        assert_eq!(words(&[]).len(), EventType::ALL.len() - 1);
        assert_eq!(words(&["webhook.*", "webhook.tested"]), [""; 0]);
        for (word, known) in [
            ("message.sent", true),
            ("alert.*", true),
            ("*", false),
            ("mess.*", false),
            ("message.flown", false),
        ] {
            assert_eq!(is_known(word), known, "{word}");
        }
    }
}
