//! Tables of messages as people write them, and hostile ones.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const TOPICS: [&str; 4] = ["general", "News", "order-updates", "Angebote für Gäste"];

fn classify(body: &str) -> Intent {
    static TABLE: std::sync::LazyLock<KeywordTable> = std::sync::LazyLock::new(Default::default);
    TABLE.classify(body, &TOPICS)
}

fn expect(intent: &Intent, bodies: &[&str]) {
    for body in bodies {
        assert_eq!(classify(body), *intent, "{body:?}");
    }
}

#[test]
fn a_stop_keyword_as_the_whole_message_is_a_stop() {
    expect(
        &Intent::Stop,
        &[
            "STOP",
            "stop",
            "Stop.",
            " STOP!!",
            "\"stop\"",
            "“Stop”",
            "(stop)",
            "STOP 🛑",
            "S.T.O.P",
            "st\u{200b}op",
            "ＳＴＯＰ",
            "stop\r\n",
            "STOPALL",
            "Stop all",
            "UNSUBSCRIBE",
            "Cancel",
            "END",
            "end.",
            "quit",
            "Revoke",
            "OPTOUT",
            "opt out",
            "OPT-OUT",
            "Opt  out!",
            "ARRÊT",
            "ARRET",
            "arre\u{302}t",
            "ALTO",
            "Baja",
            "PARAR",
            "Stopp",
            "abmelden",
            "ABMELDEN!",
            "afmelden",
            "Désinscription",
            "стоп",
            "СТОП",
            "退订",
            "إيقاف",
            "ايقاف",
            "නවත්වන්න",
        ],
    );
}

#[test]
fn other_keywords_are_told_apart() {
    expect(&Intent::Start, &["START", "Start!", "unstop"]);
    expect(&Intent::Yes, &["YES", "yes.", "Yes 👍"]);
    expect(&Intent::Help, &["HELP", "help?", "INFO", "Hilfe", "ayuda"]);
}

#[test]
fn a_topic_is_left_or_joined_by_its_name() {
    let unsubscribe = |topic: &str| Intent::Unsubscribe(topic.to_owned());
    let subscribe = |topic: &str| Intent::Subscribe(topic.to_owned());
    expect(
        &unsubscribe("News"),
        &["STOP news", "stop NEWS.", "UNSUBSCRIBE: News", "opt out news", "Optout news"],
    );
    expect(
        &unsubscribe("order-updates"),
        &["STOP order updates", "stop Order-Updates!", "stop orderupdates"],
    );
    expect(&unsubscribe("Angebote für Gäste"), &["stop ANGEBOTE FUR GASTE"]);
    expect(&subscribe("News"), &["SUBSCRIBE news", "subscribe \"News\""]);
    expect(&Intent::Review, &["STOP weather", "UNSUBSCRIBE newsletter"]);
    expect(&Intent::Plain, &["SUBSCRIBE", "SUBSCRIBE weather", "news"]);
    let table = KeywordTable::default();
    assert_eq!(table.classify("subscribe", &["🎉"]), Intent::Plain);
    assert_eq!(table.classify("stop all", &["all"]), Intent::Stop);
}

#[test]
fn free_text_that_smells_of_revocation_is_for_review() {
    expect(
        &Intent::Review,
        &[
            "please stop texting me",
            "stop please",
            "stop texting me",
            "remove me",
            "STOP PLEASE",
            "Please stop.",
            "remove me from your list",
            "unsubscribe me",
            "Do not contact me again",
            "don't text me",
            "Don’t text me",
            "dont send me this",
            "Leave me alone!",
            "take me off this list",
            "no more messages",
            "who is this? wrong number",
            "cancel please",
            "please cancel my subscription",
            "quit please",
            "I want to opt-out of this",
            "No quiero recibir más mensajes",
            "Hören Sie auf",
            "ne m'envoyez plus rien",
            "请退订我",
            // A visit or a revocation? A person can tell, a word list can't: holding is the safe side.
            "I'll stop by tomorrow",
            "stop? why?",
        ],
    );
}

#[test]
fn words_that_only_contain_a_keyword_are_plain() {
    expect(
        &Intent::Plain,
        &[
            "",
            "🛑",
            "weekend",
            "Have a nice weekend",
            "the end is near",
            "unstoppable",
            "ending",
            "Nonstop fun",
            "bus-stops",
            "Can I cancel my appointment on Friday?",
            "yes please",
            "Yes, Friday works",
            "start of the week",
            "I need help with my order",
            "Danke",
            "stopword2",
            "no",
        ],
    );
}

#[test]
fn the_words_of_the_rule_survive_an_edited_table() {
    let lists = KeywordLists {
        stop: vec!["genug".into(), "  ".into(), "start".into()],
        start: vec!["start".into(), "stop".into(), "!".into()],
        yes: vec![],
        help: vec![],
        subscribe: vec![],
        unsubscribe: vec![],
        revocation: vec![String::new()],
    };
    let table = KeywordTable::new(&lists);
    let none: [&str; 0] = [];
    for word in ["Genug!", "STOP", "opt out", "Revoke", "start"] {
        assert_eq!(table.classify(word, &none), Intent::Stop, "{word}");
    }
    for body in ["", "!", "HELP", "please stop it all"] {
        assert_eq!(table.classify(body, &none), Intent::Plain, "{body}");
    }
}

#[test]
fn a_table_with_an_unknown_list_is_refused() {
    let mut json = serde_json::to_value(KeywordLists::default()).expect("json");
    assert_eq!(serde_json::from_value::<KeywordLists>(json.clone()).expect("lists"), KeywordLists::default());
    json["halt"] = serde_json::json!([]);
    assert!(serde_json::from_value::<KeywordLists>(json).is_err());
}

#[test]
fn hostile_bodies_are_read_in_linear_time() {
    const SIZE: usize = 64 * 1024;
    let bodies = [
        "a".repeat(SIZE),
        "\0".repeat(SIZE),
        " ".repeat(SIZE),
        "stop".to_owned() + &"\u{301}".repeat(SIZE / 2),
        "e\u{301}\u{327}".repeat(SIZE / 5),
        "\u{327}\u{301}".repeat(SIZE / 4),
        "do not ".repeat(SIZE / 7),
        "stopp ".repeat(SIZE / 6),
        "\u{fdfa}".repeat(SIZE / 3),
        "停".repeat(SIZE / 3),
    ];
    let start = Instant::now();
    for body in &bodies {
        classify(body);
    }
    // Some 10 ms; sorting a run of marks or trying every start would take far longer.
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(classify(&bodies[3]), Intent::Stop);
    let late = "x ".repeat(SIZE / 2) + "stop";
    assert_eq!(classify(&late), Intent::Plain);
    assert_eq!(classify(&("stop".to_owned() + &" x".repeat(SIZE / 2))), Intent::Review);
}

fn surroundings() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        " ", "\n", "\t", ".", "!", "?", "\"", "'", "“", "”", "’", "…", "(", ")", "*", "_", "-", "🛑",
        "\u{200b}", "\u{feff}", "\u{a0}", "\0", ",", "#",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_panics(body in "\\PC{0,300}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        classify(&body);
        classify(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn blanks_punctuation_and_case_never_change_a_stop(
        word in prop::sample::select(KeywordLists::default().stop),
        before in surroundings(),
        after in surroundings(),
        upper in prop::collection::vec(any::<bool>(), 40),
    ) {
        let cased: String = word
            .chars()
            .zip(upper.into_iter().cycle())
            .flat_map(|(character, is_upper)| {
                let text = character.to_string();
                let text = if is_upper { text.to_uppercase() } else { text };
                text.chars().collect::<Vec<_>>()
            })
            .collect();
        let body = format!("{before}{cased}{after}");
        prop_assert_eq!(classify(&body), Intent::Stop, "{:?}", body);
    }
}
