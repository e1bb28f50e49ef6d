//! What the first marketing message to a person says beside its text: who writes, and how to end it.

/// Words that tell how to stop, whatever follows: `Reply STOP to end`, `Text STOP to opt out`.
const WAYS_OUT: [&str; 4] = ["reply stop", "text stop", "send stop", "reply with stop"];

/// Put around a text. Content templates never get it: their words were approved as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// In front of the text; empty: nothing.
    pub sender_name: String,
    /// Behind the text, on a line of its own; empty: nothing.
    pub opt_out_line: String,
}

impl Introduction {
    /// The text with what it lacks: nothing is said twice, whatever the case or the spaces.
    pub fn around(&self, text: &str) -> String {
        let said = plain(text);
        let lacks = |words: &str| !words.trim().is_empty() && !said.contains(&plain(words));
        let mut whole = String::new();
        if lacks(&self.sender_name) {
            whole.push_str(self.sender_name.trim());
            whole.push_str(": ");
        }
        whole.push_str(text);
        if lacks(&self.opt_out_line) && !WAYS_OUT.iter().any(|way| said.contains(way)) {
            if !whole.trim().is_empty() {
                whole.truncate(whole.trim_end().len());
                whole.push('\n');
            }
            whole.push_str(self.opt_out_line.trim());
        }
        whole
    }
}

fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_gets_what_it_lacks_and_nothing_twice() {
        let line = "Reply STOP to unsubscribe.";
        for (name, line, text, whole) in [
            ("", line, "Hi", "Hi\nReply STOP to unsubscribe."),
            ("Acme", line, "Hi", "Acme: Hi\nReply STOP to unsubscribe."),
            ("Acme", "", "Hi", "Acme: Hi"),
            ("", "", "Hi ", "Hi "),
            (
                "Acme",
                line,
                "ACME here. reply  stop to\nunsubscribe.",
                "ACME here. reply  stop to\nunsubscribe.",
            ),
            ("", line, "Hi \n", "Hi\nReply STOP to unsubscribe."),
            ("", line, "Hi. Reply STOP to end.", "Hi. Reply STOP to end."),
            ("", line, "Text  STOP\nto opt out", "Text  STOP\nto opt out"),
            // The word alone tells nobody what to do.
            ("", line, "STOP by today", "STOP by today\nReply STOP to unsubscribe."),
            // A picture without words.
            ("", line, "", "Reply STOP to unsubscribe."),
        ] {
            let introduction = Introduction { sender_name: name.to_owned(), opt_out_line: line.to_owned() };
            assert_eq!(introduction.around(text), whole);
            assert_eq!(introduction.around(&introduction.around(text)), introduction.around(text));
        }
    }
}
