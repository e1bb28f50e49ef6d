//! The normal form in which a message and a keyword are compared.

use unicode_normalization::UnicodeNormalization;

/// Most characters that are kept of a message. No keyword is longer, and a revocation further back
/// is not looked for.
const KEPT: usize = 2000;

/// A text as its words: lower case, without accents, punctuation, emoji and invisible characters.
pub(super) struct Normal {
    words: String,
    is_cut: bool,
}

impl Normal {
    /// Reads the whole text, in time linear to it whatever it holds: runs of combining marks are
    /// broken up (UAX 15, stream-safe text) before they are sorted.
    pub(super) fn of(text: &str) -> Self {
        let mut words = String::new();
        let mut length = 0;
        let mut is_apart = false;
        for character in text.chars().stream_safe().nfkd().flat_map(char::to_lowercase) {
            if is_ignored(character) {
                continue;
            }
            if !(character.is_alphanumeric() || is_mark(character)) {
                is_apart = true;
                continue;
            }
            if length >= KEPT {
                return Self { words, is_cut: true };
            }
            if is_apart && !words.is_empty() {
                words.push(' ');
            }
            is_apart = false;
            length += 1;
            match character {
                'ß' => words.push_str("ss"),
                'ς' => words.push('σ'),
                'ı' => words.push('i'),
                'ł' => words.push('l'),
                _ => words.push(character),
            }
        }
        Self { words, is_cut: false }
    }

    /// The words with one blank between them.
    pub(super) fn as_str(&self) -> &str {
        &self.words
    }

    /// The words in order.
    pub(super) fn words(&self) -> Vec<&str> {
        self.words.split_ascii_whitespace().collect()
    }

    /// The whole message without blanks (`opt out`, `OPT-OUT` and `O P T O U T` are one), `None` if
    /// it is longer than any keyword.
    pub(super) fn key(&self) -> Option<String> {
        (!self.is_cut).then(|| self.words.replace(' ', ""))
    }
}

/// Accents, vowel points, variation selectors, and what has no width: dropped without parting a
/// word. Vowel signs of Indic scripts are no accents and stay.
fn is_ignored(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{640}'
        | '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
        || character.is_control() && !character.is_whitespace()
}

fn is_mark(character: char) -> bool {
    unicode_normalization::char::is_combining_mark(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_that_looks_the_same_is_the_same() {
        let rows = [
            ("", ""),
            (" \t\n", ""),
            ("🛑", ""),
            ("Stop.", "stop"),
            ("“STOP”!!", "stop"),
            ("ＳＴＯＰ", "stop"),
            ("𝐒𝐓𝐎𝐏 🛑", "stop"),
            ("s\u{200b}t\u{ad}o\u{feff}p", "stop"),
            ("st\0op", "stop"),
            ("ARRÊT", "arret"),
            ("arre\u{302}t", "arret"),
            ("OPT-OUT", "opt out"),
            ("don’t", "don t"),
            ("STRASSE Straße", "strasse strasse"),
            ("İPTAL ıptal", "iptal iptal"),
            ("إيقاف", "ايقاف"),
            ("නවත්වන්න", "නවත්වන්න"),
            ("стоп", "стоп"),
            ("1️⃣", "1"),
        ];
        for (text, expected) in rows {
            assert_eq!(Normal::of(text).as_str(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_has_no_key() {
        assert!(Normal::of(&"a".repeat(KEPT)).key().is_some());
        assert!(Normal::of(&"a".repeat(KEPT + 1)).key().is_none());
        let padded = "stop".to_owned() + &"\u{200b} .".repeat(20_000);
        assert_eq!(Normal::of(&padded).key().as_deref(), Some("stop"));
    }
}
