//! How a text is cut into SMS parts: GSM-7 or UCS-2.
//!
//! The rules are those of Twilio's own calculator (TwilioDevEd/message-segment-calculator), so that
//! a forecast agrees with the bill. GSM-7 is 3GPP TS 23.038; a single character outside it turns the
//! whole message into UCS-2. WhatsApp has no parts: callers count one per message there.

use std::sync::LazyLock;

use serde::Deserialize;
use unicode_segmentation::UnicodeSegmentation;

/// Room in a message of one part, and in each part of a longer one, whose first octets are taken by
/// the concatenation header (3GPP TS 23.040). Septets for GSM-7, UTF-16 units for UCS-2.
const GSM7_SINGLE: usize = 160;
const GSM7_PART: usize = 153;
const UCS2_SINGLE: usize = 70;
const UCS2_PART: usize = 67;

/// The alphabet in which an SMS travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The GSM 03.38 default alphabet with its extension table: 160 septets in one part.
    Gsm7,
    /// UTF-16 units, two octets each: 70 in one part.
    Ucs2,
}

impl Encoding {
    /// The name shown to people and in the API: `GSM-7` or `UCS-2`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }
}

/// What a text costs as SMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The alphabet that the text forces.
    pub encoding: Encoding,
    /// Billed parts; 1 for the empty text.
    pub parts: u32,
    /// GSM-7: septets, an extension character being two. UCS-2: characters as people see them
    /// (grapheme clusters, CR LF being two).
    pub units: u32,
    /// Unicode code points of the text.
    pub characters: u32,
}

/// Counts the parts of `body` as it stands, without Smart Encoding.
pub fn count(body: &str) -> Count {
    let mut units = 0;
    let mut characters = 0;
    let mut packing = Packing::new(GSM7_PART);
    for character in body.chars() {
        let Some(septets) = septets(character) else {
            return count_ucs2(body);
        };
        units += septets;
        characters += 1;
        packing.push(septets);
    }
    Count {
        encoding: Encoding::Gsm7,
        parts: if units <= GSM7_SINGLE { 1 } else { packing.parts },
        units: saturate(units),
        characters: saturate(characters),
    }
}

/// The first character that keeps `body` out of GSM-7, to show what makes a text dear.
pub fn forcing_character(body: &str) -> Option<char> {
    body.chars().find(|&character| septets(character).is_none())
}

/// What a character that keeps a text out of GSM-7 looks like inside it: `'` for `’`. None for most.
pub fn plain_form(character: char) -> Option<&'static str> {
    let plain = look_alike(character)?;
    plain.chars().all(|c| septets(c).is_some()).then_some(plain)
}

/// Replaces look-alikes (curly quotes, dashes, odd spaces) as Twilio does for `SmartEncoded=true`,
/// so that a text is counted as it will be sent. Done even where another character keeps the text in
/// UCS-2, as Twilio does.
pub fn smart_encode(body: &str) -> String {
    let mut encoded = String::with_capacity(body.len());
    for character in body.chars() {
        match look_alike(character) {
            Some(replacement) => encoded.push_str(replacement),
            None => encoded.push(character),
        }
    }
    encoded
}

fn count_ucs2(body: &str) -> Count {
    let mut units = 0;
    let mut length = 0;
    let mut packing = Packing::new(UCS2_PART);
    for grapheme in body.graphemes(true) {
        if grapheme == "\r\n" {
            units += 2;
            length += 2;
            packing.push(1);
            packing.push(1);
            continue;
        }
        let width = grapheme.encode_utf16().count();
        units += 1;
        length += width;
        if width <= UCS2_PART {
            packing.push(width);
        } else {
            // Longer than a part: it has to be cut, but never between surrogates.
            grapheme.chars().for_each(|character| packing.push(character.len_utf16()));
        }
    }
    Count {
        encoding: Encoding::Ucs2,
        parts: if length <= UCS2_SINGLE { 1 } else { packing.parts },
        units: saturate(units),
        characters: saturate(body.chars().count()),
    }
}

/// Fills parts one after the other; what does not fit whole begins the next one.
struct Packing {
    room: usize,
    used: usize,
    parts: u32,
}

impl Packing {
    fn new(room: usize) -> Self {
        Self { room, used: 0, parts: 1 }
    }

    fn push(&mut self, width: usize) {
        if self.used + width > self.room {
            self.parts += 1;
            self.used = 0;
        }
        self.used += width;
    }
}

/// Septets of a character in GSM-7 (2 behind the escape), `None` outside the alphabet. Note that
/// the backtick and lower-case ç are outside.
fn septets(character: char) -> Option<usize> {
    match character {
        '\u{c}' | '[' | '\\' | ']' | '^' | '{' | '|' | '}' | '~' | '€' => Some(2),
        '`' => None,
        '\n' | '\r' | ' '..='z' => Some(1),
        '¡' | '£' | '¤' | '¥' | '§' | '¿' | 'Ä' | 'Å' | 'Æ' | 'Ç' | 'É' | 'Ñ' | 'Ö' | 'Ø' | 'Ü' | 'ß'
        | 'à' | 'ä' | 'å' | 'æ' | 'è' | 'é' | 'ì' | 'ñ' | 'ò' | 'ö' | 'ø' | 'ù' | 'ü' | 'Γ' | 'Δ' | 'Θ'
        | 'Λ' | 'Ξ' | 'Π' | 'Σ' | 'Φ' | 'Ψ' | 'Ω' => Some(1),
        _ => None,
    }
}

fn look_alike(character: char) -> Option<&'static str> {
    if matches!(character, '\n' | '\r' | ' '..='_' | 'a'..='~') {
        return None;
    }
    let index = LOOK_ALIKES.binary_search_by_key(&character, |(from, _)| *from).ok()?;
    LOOK_ALIKES.get(index).map(|(_, to)| to.as_str())
}

/// Twilio's Smart Encoding table, sorted by character.
static LOOK_ALIKES: LazyLock<Vec<(char, String)>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Table {
        map: std::collections::BTreeMap<char, String>,
    }
    let table: Table = serde_json::from_str(include_str!("data/smart_encoding_map.json"))
        .expect("the embedded table is read by a test");
    table.map.into_iter().collect()
});

fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        id: String,
        body: String,
        body_chars: u32,
        plain: Expected,
        smart_encoded: Expected,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Expected {
        encoding: String,
        segments: u32,
        units: u32,
    }

    impl From<Count> for Expected {
        fn from(count: Count) -> Self {
            Self { encoding: count.encoding.as_str().to_owned(), segments: count.parts, units: count.units }
        }
    }

    fn vectors() -> Vec<Vector> {
        let file: Vectors = serde_json::from_str(include_str!("data/segment_vectors.json")).expect("vectors");
        assert_eq!(file.vectors.len(), 47);
        file.vectors
    }

    #[test]
    fn texts_are_counted_as_the_vendor_counts_them() {
        for vector in vectors() {
            let counted = count(&vector.body);
            assert_eq!(counted.characters, vector.body_chars, "{}", vector.id);
            assert_eq!(Expected::from(counted), vector.plain, "{}", vector.id);
        }
    }

    #[test]
    fn smart_encoding_is_counted_as_the_vendor_counts_it() {
        for vector in vectors() {
            let counted = count(&smart_encode(&vector.body));
            assert_eq!(Expected::from(counted), vector.smart_encoded, "{}", vector.id);
        }
    }

    #[test]
    fn clusters_stay_whole_between_parts() {
        // Each row was put to Twilio's calculator 1.3.0.
        let letters = |number: usize| "ą".repeat(number);
        let family = "👩\u{200d}👩\u{200d}👧\u{200d}👦";
        let rows = [
            (letters(62) + family + &letters(56), 2, 119),
            (letters(66) + "e\u{301}" + &letters(66), 3, 133),
            (letters(65) + "🇺🇸" + &letters(65), 3, 131),
            ("ą\r\nb".to_owned(), 1, 4),
            ("a".to_owned() + &"\u{301}".repeat(100), 2, 1),
        ];
        for (body, parts, units) in rows {
            let counted = count(&body);
            assert_eq!((counted.parts, counted.units), (parts, units), "{body}");
        }
    }

    #[test]
    fn a_cluster_longer_than_a_part_is_cut() {
        assert_eq!(count(&("a".to_owned() + &"\u{301}".repeat(669))).parts, 10);
    }

    #[test]
    fn the_character_that_makes_a_text_dear_is_named() {
        let rows = [
            ("", None),
            ("Grüße, 5 €", None),
            ("it’s 5 €", Some('’')),
            ("garçon", Some('ç')),
            ("`", Some('`')),
            ("a\tb", Some('\t')),
        ];
        for (body, expected) in rows {
            assert_eq!(forcing_character(body), expected, "{body}");
        }
    }

    #[test]
    fn a_character_that_makes_a_text_dear_has_a_plain_form_if_it_looks_like_one() {
        let rows = [('’', Some("'")), ('–', Some("-")), ('…', Some("...")), ('☕', None), ('ç', None)];
        for (character, plain) in rows {
            assert_eq!(plain_form(character), plain, "{character}");
        }
    }

    #[test]
    fn look_alikes_are_replaced_and_plain_text_is_not() {
        let rows = [
            ("“Hi” ‘there’ — ok…", "\"Hi\" 'there' - ok..."),
            ("`x`", "'x'"),
            ("½ ＡＢ", "1/2 AB"),
            ("Grüße [1] {a} ~ €\r\n", "Grüße [1] {a} ~ €\r\n"),
        ];
        for (body, expected) in rows {
            assert_eq!(smart_encode(body), expected);
        }
        // What the shortcut for ASCII skips must not be in the table.
        for (from, _) in LOOK_ALIKES.iter() {
            assert!(look_alike(*from).is_some(), "{from:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_never_fewer_than_the_room_allows(body in "\\PC{0,400}") {
            let counted = count(&body);
            let (length, single, room) = match counted.encoding {
                Encoding::Gsm7 => (counted.units as usize, GSM7_SINGLE, GSM7_PART),
                Encoding::Ucs2 => (body.encode_utf16().count(), UCS2_SINGLE, UCS2_PART),
            };
            if length <= single {
                prop_assert_eq!(counted.parts, 1);
            } else {
                prop_assert!(counted.parts as usize >= length.div_ceil(room));
            }
            prop_assert_eq!(forcing_character(&body).is_some(), counted.encoding == Encoding::Ucs2);
        }
    }
}
