//! The grammar of a placeholder. What is not in it (calls, loops, operators) can't run.
//!
//! ```text
//! placeholder = variable { "|" filter [ "(" argument { "," argument } ")" ] }
//! variable    = segment { "." segment }          segment = letters, digits, "_", "-"
//! argument    = "text" | 'text' | number | true | false | variable
//! ```

use serde_json::Value;

use super::placeholder::{Argument, Variable};

/// Filters that a placeholder may use, with the least and most arguments. All are bounded: those
/// that may grow a text (`replace`, `join`) are paid for in fuel.
const FILTERS: [(&str, usize, usize); 18] = [
    ("abs", 0, 0),
    ("capitalize", 0, 0),
    ("count", 0, 0),
    ("first", 0, 0),
    ("float", 0, 1),
    ("int", 0, 1),
    ("join", 0, 1),
    ("last", 0, 0),
    ("length", 0, 0),
    ("lower", 0, 0),
    ("replace", 2, 2),
    ("reverse", 0, 0),
    ("round", 0, 1),
    ("sort", 0, 0),
    ("title", 0, 0),
    ("trim", 0, 1),
    ("unique", 0, 0),
    ("upper", 0, 0),
];

/// Reads a placeholder from left to right; errors are reasons in words.
pub(super) struct Parser<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { characters: source.chars().peekable() }
    }

    fn peek(&mut self) -> Option<char> {
        while self.characters.next_if(|c| c.is_whitespace()).is_some() {}
        self.characters.peek().copied()
    }

    /// Steps over blanks and then the next character, if it is the one asked for.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.characters.next().is_some()
    }

    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.peek() {
            None => Ok(()),
            Some('(') => Err("a variable can't be called".to_owned()),
            Some(character) if is_word(character) => {
                Err("a name has no spaces, and filters are joined with `|`".to_owned())
            }
            Some(character) => Err(format!("`{character}` is not expected here")),
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(character) = self.characters.next_if(|&c| is_word(c) || c == '-') {
            word.push(character);
        }
        word
    }

    pub(super) fn variable(&mut self) -> Result<Variable, String> {
        match self.peek() {
            None => return Err("a name is missing".to_owned()),
            Some('%' | '#') => {
                return Err("tags such as `{% if %}` are not available".to_owned());
            }
            Some(character) if character.is_alphabetic() || character == '_' => {}
            Some(character) => {
                return Err(format!("`{character}` begins no name; a name begins with a letter"));
            }
        }
        let mut segments = vec![self.word()];
        while self.characters.next_if_eq(&'.').is_some() {
            let segment = self.word();
            if segment.is_empty() {
                return Err("a name is missing behind `.`".to_owned());
            }
            segments.push(segment);
        }
        Ok(Variable { name: segments.join("."), segments })
    }

    /// A filter's name (`d` told as `default`) and arguments.
    pub(super) fn filter(&mut self) -> Result<(String, Vec<Argument>), String> {
        self.peek();
        let word = self.word();
        let name = if word == "d" { "default" } else { &word };
        let (least, most) = FILTERS
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|&(_, least, most)| (least, most))
            .or_else(|| (name == "default").then_some((1, 2)))
            .ok_or_else(|| unknown_filter(name))?;
        let arguments = self.arguments()?;
        if (least..=most).contains(&arguments.len()) {
            Ok((name.to_owned(), arguments))
        } else if name == "default" {
            Err("`default` needs the text to fall back to: default(\"there\")".to_owned())
        } else {
            let number = match (least, most) {
                (0, 0) => "no arguments".to_owned(),
                (0, most) => format!("at most {most} arguments"),
                (least, _) => format!("{least} arguments"),
            };
            Err(format!("`{name}` takes {number}, here are {}", arguments.len()))
        }
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, String> {
        let mut arguments = Vec::new();
        if !self.take('(') || self.take(')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.argument()?);
            if self.take(')') {
                return Ok(arguments);
            }
            if !self.take(',') {
                return Err("a `,` or `)` is missing behind an argument".to_owned());
            }
        }
    }

    fn argument(&mut self) -> Result<Argument, String> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => self.text(quote),
            Some('“' | '”' | '„' | '‘' | '’' | '«' | '»') => {
                Err("use straight quotes: \"there\"".to_owned())
            }
            Some(character) if character.is_ascii_digit() || character == '-' => self.number(),
            _ => match self.variable()? {
                variable if variable.name == "true" => Ok(Argument::Literal(Value::Bool(true))),
                variable if variable.name == "false" => Ok(Argument::Literal(Value::Bool(false))),
                variable => Ok(Argument::Variable(variable)),
            },
        }
    }

    fn text(&mut self, quote: char) -> Result<Argument, String> {
        self.characters.next();
        let mut text = String::new();
        while let Some(character) = self.characters.next() {
            match character {
                _ if character == quote => return Ok(Argument::Literal(Value::String(text))),
                '\\' => match self.characters.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(escaped) => text.push(escaped),
                    None => break,
                },
                _ => text.push(character),
            }
        }
        Err("a quote is not closed".to_owned())
    }

    fn number(&mut self) -> Result<Argument, String> {
        let mut digits = String::new();
        while let Some(character) = self.characters.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.'))
        {
            digits.push(character);
        }
        serde_json::from_str::<serde_json::Number>(&digits)
            .map(|number| Argument::Literal(Value::Number(number)))
            .map_err(|_| format!("`{digits}` is not a number"))
    }
}

fn is_word(character: char) -> bool {
    // Names in Indic scripts need marks (vowel signs, viramas) and the two joiners.
    character.is_alphanumeric()
        || matches!(character, '_' | '\u{200c}' | '\u{200d}')
        || unicode_normalization::char::is_combining_mark(character)
}

fn unknown_filter(name: &str) -> String {
    if name.is_empty() {
        return "a filter is missing behind `|`".to_owned();
    }
    let nearest = FILTERS
        .iter()
        .map(|(known, ..)| *known)
        .chain(["default"])
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .filter(|known| strsim::damerau_levenshtein(known, name) <= 2);
    match nearest {
        Some(known) => format!("there is no filter `{name}`; did you mean `{known}`?"),
        None => format!("there is no filter `{name}`"),
    }
}
