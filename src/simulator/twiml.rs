//! Reads the TwiML of an answer: a `<Response>` whose `<Message>`s are sent to the person.
//!
//! A small reader of well-formed XML without a document type. It is strict about what it reads:
//! an unclosed or crossed tag, a stray `&` or a second root is no TwiML.

/// Longest TwiML in bytes (11750 beyond).
pub(super) const LONGEST: usize = 64 * 1024;

/// The texts of the messages in order, or none if this is not TwiML. A `<Message>` holds its text
/// itself or in `<Body>`; other verbs are passed over.
pub(super) fn messages(xml: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(xml).ok()?;
    let mut reader = Reader {
        rest: text.trim_start_matches('\u{feff}').trim(),
        open: Vec::new(),
        texts: Vec::new(),
        has_root: false,
    };
    while !reader.rest.is_empty() {
        reader.step()?;
    }
    (reader.has_root && reader.open.is_empty()).then_some(reader.texts)
}

struct Reader<'a> {
    rest: &'a str,
    /// Names of the elements that are open, outermost first.
    open: Vec<&'a str>,
    texts: Vec<String>,
    has_root: bool,
}

impl<'a> Reader<'a> {
    /// Reads one piece: a tag, a comment, or text up to the next tag.
    fn step(&mut self) -> Option<()> {
        if let Some(rest) = self.rest.strip_prefix("<?") {
            self.rest = rest.split_once("?>")?.1;
        } else if let Some(rest) = self.rest.strip_prefix("<!--") {
            self.rest = rest.split_once("-->")?.1;
        } else if let Some(rest) = self.rest.strip_prefix("<![CDATA[") {
            let (text, rest) = rest.split_once("]]>")?;
            self.rest = rest;
            self.text(text)?;
        } else if let Some(rest) = self.rest.strip_prefix("</") {
            let (name, rest) = rest.split_once('>')?;
            self.rest = rest;
            (self.open.pop()? == name.trim_end()).then_some(())?;
        } else if let Some(rest) = self.rest.strip_prefix('<') {
            let (tag, rest) = split_tag(rest)?;
            self.rest = rest;
            self.open_tag(tag)?;
        } else {
            let end = self.rest.find('<').unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            let text = unescape(text)?;
            self.text(&text)?;
        }
        Some(())
    }

    fn open_tag(&mut self, tag: &'a str) -> Option<()> {
        let is_empty = tag.ends_with('/');
        let name = tag.trim_end_matches('/').split_whitespace().next()?;
        if self.open.is_empty() {
            if self.has_root || name != "Response" {
                return None;
            }
            self.has_root = true;
        }
        if self.open == ["Response"] && name == "Message" {
            self.texts.push(String::new());
        }
        if !is_empty {
            self.open.push(name);
        }
        Some(())
    }

    /// Text counts inside a message; outside the root there may be none.
    fn text(&mut self, text: &str) -> Option<()> {
        match self.open.as_slice() {
            [] => text.trim().is_empty().then_some(()),
            ["Response", "Message"] | ["Response", "Message", "Body"] => {
                self.texts.last_mut()?.push_str(text);
                Some(())
            }
            _ => Some(()),
        }
    }
}

/// Splits at the `>` that ends the tag; one inside a quoted attribute does not.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            (None, '>') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, '<') => return None,
            _ => {}
        }
    }
    None
}

/// Replaces the five entities of XML and numbered characters; any other `&` is an error.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (entity, after) = after.split_once(';')?;
        plain.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => numbered(entity)?,
        });
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

fn numbered(entity: &str) -> Option<char> {
    let digits = entity.strip_prefix('#')?;
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twiml_is_read_and_anything_else_is_refused() {
        let table: &[(&str, Option<&[&str]>)] = &[
            ("<Response/>", Some(&[])),
            ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response></Response>\n", Some(&[])),
            ("<Response><Message>a &amp; b &#x1F44D;</Message></Response>", Some(&["a & b 👍"])),
            (
                "<Response><Message to=\"+1>2\"><Body>x</Body><Media>u</Media></Message></Response>",
                Some(&["x"]),
            ),
            ("<Response><Message><![CDATA[<b>]]></Message><Message/></Response>", Some(&["<b>", ""])),
            ("<Response><Redirect>/x</Redirect></Response>", Some(&[])),
            ("", None),
            ("OK", None),
            ("<Response>", None),
            ("<Response/><Response/>", None),
            ("<Response><Message>a & b</Message></Response>", None),
            ("<Response><Message></Response></Message>", None),
            ("<html/>", None),
        ];
        for (xml, expected) in table {
            let found = messages(xml.as_bytes());
            let expected = expected.map(|texts| texts.iter().map(|t| (*t).to_owned()).collect());
            assert_eq!(found, expected, "{xml}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(xml in "[<>/&;!?a-zA-Z\\[\\]\"' -]{0,60}") {
            messages(xml.as_bytes());
        }
    }
}
