//! How a text reads for one person and what it costs: the phone of the editor, and the figures beside it. Pure, but
//! for who the person is.

use minijinja::{Value, context};
use serde_json::{Map, Value as Json};

use super::super::format;
use crate::domain::encoding::{self, Count, Encoding};
use crate::domain::message::Kind;
use crate::domain::phone::{Channel, Phone};
use crate::domain::plan::Introduction;
use crate::domain::price::{self, Parcel, PriceTable};
use crate::domain::template::{Shown, Template};

/// Characters that make a text dear, named at most.
const NAMED: usize = 6;

/// For whom a text is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    /// `users.id`; `None` for somebody made up.
    pub(super) id: Option<i64>,
    pub(super) phone: Option<Phone>,
    pub(super) country: Option<String>,
    /// Attributes, and `phone`.
    pub(super) context: Map<String, Json>,
    /// They have had no marketing message yet.
    pub(super) is_first: bool,
}

/// A text as it is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) channel: Channel,
    pub(super) body: &'a str,
    pub(super) has_media: bool,
    pub(super) has_content: bool,
}

/// A stretch of the text in the phone: its kind and its words.
type Stretch = (&'static str, String);

/// The text, its figures and what to look at.
pub(super) fn look(
    message: Message<'_>,
    reader: &Reader,
    introduction: Option<&Introduction>,
    prices: &PriceTable,
) -> Value {
    let template = match Template::parse(message.body) {
        Ok(template) => template,
        Err(error) => return context! { error => error.to_string() },
    };
    let mut missing = Vec::new();
    let mut failed = Vec::new();
    let mut stretches: Vec<Stretch> = Vec::new();
    for piece in template.shown(&reader.context) {
        match piece {
            Shown::Text(text) => stretches.push(("text", text)),
            Shown::Value(text) => stretches.push(("value", text)),
            Shown::Missing(source) => {
                stretches.push(("missing", format!("{{{source}}}")));
                missing.push(source);
            }
            Shown::Failed(source, why) => {
                stretches.push(("missing", format!("{{{source}}}")));
                failed.push(why);
            }
        }
    }
    let is_empty = stretches.iter().all(|(kind, text)| *kind != "missing" && text.trim().is_empty());
    let introduction = introduction.filter(|_| reader.is_first && !message.has_content && !is_empty);
    if let Some(introduction) = introduction {
        introduce(&mut stretches, introduction);
    }
    // What is missing takes no room: such a person gets nothing.
    let text: String = read(&stretches);
    let is_sms = message.channel == Channel::Sms && !message.has_media;
    let count = encoding::count(&text);
    let parts = if is_sms { count.parts.max(1) } else { 1 };
    let price = |parts: u32| prices.price(&parcel(message, reader, parts));
    let currency = prices.currency();
    let currency = currency.as_str();
    let dear = if is_sms { dear_characters(&text) } else { Vec::new() };
    let plain_parts = if dear.is_empty() { parts } else { encoding::count(&plain(&text)).parts.max(1) };
    context! {
        stretches => marked(stretches, is_sms),
        missing => unique(missing),
        failed => unique(failed),
        is_introduced => introduction.is_some(),
        characters => count.characters,
        encoding => is_sms.then(|| count.encoding.as_str()),
        parts => is_sms.then_some(parts),
        left => is_sms.then(|| left(count)),
        is_empty,
        price => price(parts),
        price_text => price(parts).map(|micros| one_price(micros, currency)),
        has_prices => !prices.is_empty(),
        country => reader.country.clone(),
        dear,
        plain_parts,
        plain_price => price(plain_parts),
        plain_price_text => price(plain_parts).map(|micros| one_price(micros, currency)),
        variables => template.variables().to_vec(),
    }
}

fn unique(mut names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn read(stretches: &[Stretch]) -> String {
    stretches.iter().filter(|(kind, _)| *kind != "missing").map(|(_, text)| text.as_str()).collect()
}

/// Puts what a first message says around the text.
fn introduce(stretches: &mut Vec<Stretch>, introduction: &Introduction) {
    let text = read(stretches);
    let whole = introduction.around(&text);
    // Blanks at the end of the text give way to the line behind it.
    let kept = text.trim_end();
    if let Some((before, behind)) = whole.split_once(kept) {
        let (before, behind) = (before.to_owned(), behind.to_owned());
        if !before.is_empty() {
            stretches.insert(0, ("added", before));
        }
        if !behind.trim().is_empty() {
            if let Some((_, last)) = stretches.last_mut() {
                last.truncate(last.trim_end().len());
            }
            stretches.push(("added", behind));
        }
    }
}

fn parcel<'a>(message: Message<'_>, reader: &'a Reader, parts: u32) -> Parcel<'a> {
    Parcel {
        channel: message.channel,
        kind: Kind::Marketing,
        parts,
        has_media: message.has_media,
        has_content: message.has_content,
        country: reader.country.as_deref(),
        phone: reader.phone.as_ref(),
    }
}

/// What one message costs: below one unit to the last digit, since two prices are compared.
fn one_price(micros: i64, currency: &str) -> String {
    let nothing = format::money(0, currency);
    match nothing.strip_suffix("0.00").filter(|_| micros < 1_000_000) {
        Some(sign) => format!("{sign}{}", price::amount(micros)),
        None => format::money(micros, currency),
    }
}

/// How much may be added before another part begins: septets or UTF-16 units, about.
fn left(count: Count) -> u32 {
    let (single, part) = match count.encoding {
        Encoding::Gsm7 => (160, 153),
        Encoding::Ucs2 => (70, 67),
    };
    let room = if count.parts <= 1 { single } else { part * count.parts };
    room.saturating_sub(count.units)
}

/// Each character that keeps the text out of GSM-7, once, in the order of the text.
fn dear_characters(text: &str) -> Vec<Value> {
    let mut seen: Vec<(char, u32)> = Vec::new();
    for character in text.chars() {
        if is_dear(character) {
            match seen.iter_mut().find(|(known, _)| *known == character) {
                Some((_, times)) => *times += 1,
                None => seen.push((character, 1)),
            }
        }
    }
    let named = seen.into_iter().take(NAMED).map(|(character, times)| {
        context! {
            character => character.to_string(),
            name => name_of(character),
            code => format!("U+{:04X}", u32::from(character)),
            plain => encoding::plain_form(character),
            times,
        }
    });
    named.collect()
}

fn is_dear(character: char) -> bool {
    encoding::forcing_character(character.encode_utf8(&mut [0; 4])).is_some()
}

/// The text without what makes it dear: in its plain form, or left out.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_dear(character) {
            plain.push_str(encoding::plain_form(character).unwrap_or_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Stretches in which characters that make the text dear stand alone.
fn marked(stretches: Vec<Stretch>, is_sms: bool) -> Vec<Value> {
    let mut found: Vec<Stretch> = Vec::new();
    for (kind, text) in stretches {
        if !is_sms || kind == "missing" {
            found.push((kind, text));
            continue;
        }
        for character in text.chars() {
            let own = if is_dear(character) { "dear" } else { kind };
            match found.last_mut() {
                Some((last, words)) if *last == own => words.push(character),
                _ => found.push((own, character.to_string())),
            }
        }
    }
    found.into_iter().map(|(kind, text)| context! { kind, text }).collect()
}

/// What people call the characters that most often make a text dear.
fn name_of(character: char) -> &'static str {
    match character {
        '\u{2018}' | '\u{2019}' | '\u{201a}' => "a curly apostrophe",
        '\u{201c}' | '\u{201d}' | '\u{201e}' => "a curly quote",
        '\u{2013}' | '\u{2014}' => "a long dash",
        '\u{2026}' => "an ellipsis in one character",
        '\u{a0}' | '\u{202f}' | '\u{2009}' => "a space that does not break",
        '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{feff}' => "an invisible character",
        '\u{fe0f}' => "the invisible mark of an emoji",
        '\t' => "a tab",
        '\u{2022}' => "a bullet",
        '`' => "a backtick",
        '\u{2190}'..='\u{21ff}' => "an arrow",
        '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}' | '\u{2b00}'..='\u{2bff}' => "an emoji",
        '\u{c0}'..='\u{24f}' => "a letter that GSM-7 does not have",
        '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' => "a letter of another alphabet",
        c if c.is_alphabetic() => "a letter of another script",
        _ => "a character that GSM-7 does not have",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prices() -> PriceTable {
        serde_json::from_value(
            json!({"currency": "USD", "sms": {"US": 0.01}, "mms": {"US": 0.03}, "whatsapp": {"*": 0.02}}),
        )
        .unwrap()
    }

    fn ana() -> Reader {
        Reader {
            id: Some(1),
            phone: Phone::from_e164("+12125550101"),
            country: Some("US".to_owned()),
            context: json!({"name": "Ana"}).as_object().unwrap().clone(),
            is_first: false,
        }
    }

    fn seen(channel: Channel, body: &str) -> Json {
        let message = Message { channel, body, has_media: false, has_content: false };
        serde_json::to_value(look(message, &ana(), None, &prices())).unwrap()
    }

    fn told(seen: &Json) -> String {
        let stretches = seen["stretches"].as_array().unwrap().iter();
        stretches
            .map(|one| match one["kind"].as_str().unwrap() {
                "text" => one["text"].as_str().unwrap().to_owned(),
                kind => format!("<{kind} {}>", one["text"].as_str().unwrap()),
            })
            .collect()
    }

    #[test]
    fn the_text_reads_as_the_person_would_read_it_with_what_is_missing_at_its_place() {
        let found = seen(Channel::Sms, "Hi {name}, from {city}");
        assert_eq!(told(&found), "Hi <value Ana>, from <missing {city}>");
        assert_eq!(found["missing"], json!(["city"]));
        assert_eq!(found["parts"], json!(1));
        assert_eq!(found["price"], json!(10_000));
        assert!(seen(Channel::Sms, "Hi {name").get("error").is_some());
    }

    #[test]
    fn the_character_that_makes_a_text_dear_is_marked_named_and_priced() {
        let body = format!("It’s ☕ {}", "a".repeat(100));
        let found = seen(Channel::Sms, &body);
        assert!(told(&found).starts_with("It<dear ’>s <dear ☕> a"));
        assert_eq!(
            (&found["encoding"], &found["parts"], &found["plain_parts"]),
            (&json!("UCS-2"), &json!(2), &json!(1))
        );
        assert_eq!((&found["price"], &found["plain_price"]), (&json!(20_000), &json!(10_000)));
        assert_eq!(found["price_text"], json!("$0.02"));
        assert_eq!(found["dear"][0]["plain"], json!("'"));
        assert_eq!(found["dear"][1]["name"], json!("an emoji"));
        assert_eq!(found["dear"][1]["plain"], Json::Null);
        let whatsapp = seen(Channel::Whatsapp, &body);
        assert_eq!((&whatsapp["parts"], &whatsapp["dear"]), (&Json::Null, &json!([])));
    }

    #[test]
    fn what_a_first_message_adds_stands_around_the_text_and_counts() {
        let introduction =
            Introduction { sender_name: "Kettle".to_owned(), opt_out_line: "Reply STOP to end.".to_owned() };
        let reader = Reader { is_first: true, ..ana() };
        let message =
            Message { channel: Channel::Sms, body: "Hi {name} ", has_media: false, has_content: false };
        let found = look(message, &reader, Some(&introduction), &prices());
        let found = serde_json::to_value(found).unwrap();
        let whole: String =
            found["stretches"].as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect();
        assert_eq!(told(&found), "<added Kettle: >Hi <value Ana><added \nReply STOP to end.>");
        assert_eq!(found["characters"], json!(whole.chars().count()));
    }

    #[test]
    fn a_price_below_one_unit_is_told_to_its_last_digit() {
        for (micros, currency, told) in [
            (7_900, "USD", "$0.0079"),
            (15_800, "USD", "$0.0158"),
            (1_234_567, "EUR", "€1.23"),
            (80_000, "CHF", "CHF 0.08"),
        ] {
            assert_eq!(one_price(micros, currency), told);
        }
    }

    #[test]
    fn room_is_told_up_to_the_next_part() {
        for (length, parts, left) in [(0, 1, 160), (159, 1, 1), (160, 1, 0), (161, 2, 145), (306, 2, 0)] {
            let found = seen(Channel::Sms, &"a".repeat(length));
            assert_eq!((&found["parts"], &found["left"]), (&json!(parts), &json!(left)), "{length}");
        }
    }
}
