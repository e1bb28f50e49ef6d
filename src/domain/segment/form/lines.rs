//! On which line of a JSON text a place of a definition stands, so that an error can point there.

use std::collections::HashMap;

use super::super::value::shortened;

/// The line of every value, from 1, by its place (`definition.all[2].operator`), which begins with `root`. The text
/// is JSON; in anything else the lines go wrong and nothing else does.
pub fn lines(text: &str, root: &str) -> HashMap<String, usize> {
    let mut scanner = Scanner { rest: text.chars().peekable(), line: 1, found: HashMap::new() };
    scanner.value(root, 0);
    scanner.found
}

/// The line of `place`, or of the innermost place around it that there is.
pub fn line_of(lines: &HashMap<String, usize>, place: &str) -> Option<usize> {
    let mut place = place;
    loop {
        if let Some(line) = lines.get(place) {
            return Some(*line);
        }
        let end = place.rfind(['.', '['])?;
        place = place.get(..end)?;
    }
}

/// Deeper values are not walked into: a reader of JSON refuses them before.
const DEEPEST: usize = 128;

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: usize,
    found: HashMap<String, usize>,
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn skip(&mut self, is_skipped: impl Fn(char) -> bool) {
        while self.rest.peek().is_some_and(|c| is_skipped(*c)) {
            self.next();
        }
    }

    fn value(&mut self, place: &str, depth: usize) {
        self.skip(char::is_whitespace);
        self.found.insert(place.to_owned(), self.line);
        match self.rest.peek() {
            Some('{') if depth < DEEPEST => self.object(place, depth),
            Some('[') if depth < DEEPEST => self.array(place, depth),
            Some('"') => drop(self.text()),
            _ => self.skip(|c| !matches!(c, ',' | '}' | ']')),
        }
    }

    fn object(&mut self, place: &str, depth: usize) {
        self.next();
        loop {
            self.skip(|c| c.is_whitespace() || c == ',');
            if self.rest.peek() != Some(&'"') {
                self.next();
                return;
            }
            let line = self.line;
            let key = self.text();
            self.skip(|c| c.is_whitespace() || c == ':');
            let at = format!("{place}.{}", shortened(&key));
            self.value(&at, depth + 1);
            // The line of a member is that of its key.
            self.found.insert(at, line);
        }
    }

    fn array(&mut self, place: &str, depth: usize) {
        self.next();
        for index in 0.. {
            self.skip(|c| c.is_whitespace() || c == ',');
            if matches!(self.rest.peek(), Some(']' | '}') | None) {
                self.next();
                return;
            }
            self.value(&format!("{place}[{index}]"), depth + 1);
        }
    }

    /// A string, read as JSON reads it.
    fn text(&mut self) -> String {
        let mut raw = String::from('"');
        self.next();
        while let Some(character) = self.next() {
            raw.push(character);
            match character {
                '"' => break,
                '\\' => raw.extend(self.next()),
                _ => {}
            }
        }
        serde_json::from_str(&raw).unwrap_or(raw)
    }
}
