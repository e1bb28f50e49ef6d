//! Message templates: `{name}` placeholders, checked once and rendered per person.
//!
//! A `{…}` holds a variable and its filters, `{{` and `}}` print a brace, everything else is text
//! as it stands; there are no tags and no escaping. [`Template::parse`] does all checking, so that
//! a campaign parses once and renders a million times.

mod content_variables;
mod grammar;
mod placeholder;
mod warning;

use serde_json::{Map, Value};
use thiserror::Error;

pub use content_variables::ContentVariables;
use placeholder::Placeholder;
pub use warning::warnings;

/// Longest body of a template, in characters: the most that a WhatsApp text may hold.
pub const MAX_BODY: usize = 4096;
/// Most placeholders in one body.
pub const MAX_PLACEHOLDERS: usize = 100;
/// Longest text between the braces of one placeholder, in characters.
pub const MAX_EXPRESSION: usize = 200;
/// Longest rendered text, in characters: far above what any channel takes, so that a huge
/// attribute costs little before it is refused.
pub const MAX_OUTPUT: usize = 10_000;

/// Why a template can't be saved; the texts are shown to its author.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The body is longer than [`MAX_BODY`].
    #[error("a template has at most {MAX_BODY} characters")]
    TooLong,
    /// More than [`MAX_PLACEHOLDERS`] placeholders, or content variables.
    #[error("a template has at most {MAX_PLACEHOLDERS} placeholders")]
    TooManyPlaceholders,
    /// One placeholder, or a lone brace, can't be read.
    #[error("line {line}, column {column}, `{placeholder}`: {reason}")]
    Placeholder {
        /// Line of the opening brace, from 1.
        line: usize,
        /// Column of the opening brace in characters, from 1.
        column: usize,
        /// The placeholder as written, braces included.
        placeholder: String,
        /// What is wrong and, where it can be told, what to write instead.
        reason: String,
    },
    /// A content variable whose name or text can't be used.
    #[error("content variable `{key}`: {reason}")]
    ContentVariable {
        /// Name of the variable in the provider's template, mostly a number.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a template can't be rendered for one person.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RenderError {
    /// Variables without value and fallback: all of them, in order, each once.
    #[error("no value for {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The text would exceed [`MAX_OUTPUT`], or a content variable its 1,600 characters.
    #[error("the text becomes too long")]
    TooLong,
    /// A filter can't be applied to this person's value, or a value is no text.
    #[error("{0}")]
    Failed(String),
}

/// A checked message template.
#[derive(Debug)]
pub struct Template {
    pieces: Vec<Piece>,
    variables: Vec<String>,
    /// Bytes of the text between placeholders, to size the result once.
    text_length: usize,
}

/// A text whose placeholders have numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbered {
    /// With `{{1}}` and so on.
    pub body: String,
    /// What stood between the braces; the first has number 1.
    pub placeholders: Vec<String>,
    /// The text itself prints two braces in a row.
    pub has_double_braces: bool,
}

/// A piece of a text as one person would read it, for a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Text of the template.
    Text(String),
    /// What stands there for the person.
    Value(String),
    /// A placeholder without a value, as written between its braces.
    Missing(String),
    /// A placeholder that can't be applied to this person's value, and why.
    Failed(String, String),
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Placeholder(Placeholder),
}

impl Template {
    /// Reads and checks a body; an error names the place and the placeholder.
    pub fn parse(body: &str) -> Result<Self, TemplateError> {
        if body.chars().count() > MAX_BODY {
            return Err(TemplateError::TooLong);
        }
        let mut reader = Reader::new(body);
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some((position, character)) = reader.next() {
            match character {
                '{' | '}' if reader.take(character) => text.push(character),
                '{' => {
                    let placeholder = reader.placeholder(position)?;
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(Piece::Placeholder(placeholder));
                }
                '}' => {
                    return Err(
                        position.error("}", "a `}` without its `{`; write `}}` to print a brace".to_owned())
                    );
                }
                _ => text.push(character),
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Self::assemble(pieces)
    }

    fn assemble(pieces: Vec<Piece>) -> Result<Self, TemplateError> {
        let mut variables: Vec<String> = Vec::new();
        let mut placeholders = 0;
        let mut text_length = 0;
        for piece in &pieces {
            match piece {
                Piece::Text(text) => text_length += text.len(),
                Piece::Placeholder(placeholder) => {
                    placeholders += 1;
                    placeholder.variables(|name| push_new(&mut variables, name));
                }
            }
        }
        if placeholders > MAX_PLACEHOLDERS {
            return Err(TemplateError::TooManyPlaceholders);
        }
        Ok(Self { pieces, variables, text_length })
    }

    /// The variables as written (`name`, `address.city`), each once, in order of first use, those
    /// with a fallback included.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// The text with its placeholders numbered in order of first use, `{{1}}`, `{{2}}` …; the same
    /// placeholder keeps its number.
    pub fn numbered(&self) -> Numbered {
        let mut numbered = Numbered::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => {
                    numbered.has_double_braces |= text.contains("{{") || text.contains("}}");
                    numbered.body.push_str(text);
                }
                Piece::Placeholder(placeholder) => {
                    let source = placeholder.source().to_owned();
                    let place = numbered.placeholders.iter().position(|known| *known == source);
                    let number = place.unwrap_or(numbered.placeholders.len()) + 1;
                    if place.is_none() {
                        numbered.placeholders.push(source);
                    }
                    numbered.body.push_str(&format!("{{{{{number}}}}}"));
                }
            }
        }
        numbered
    }

    /// Fills the template for one person. `null` and the empty text count as missing.
    pub fn render(&self, context: &Map<String, Value>) -> Result<String, RenderError> {
        let mut output = String::with_capacity(self.text_length + 16 * self.pieces.len());
        let mut missing = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => output.push_str(text),
                Piece::Placeholder(placeholder) => {
                    placeholder.render(context, &mut output, &mut missing)?;
                }
            }
            if is_longer(&output, MAX_OUTPUT) {
                return Err(RenderError::TooLong);
            }
        }
        if missing.is_empty() { Ok(output) } else { Err(RenderError::Missing(missing)) }
    }

    /// The same piece by piece, with what is missing at its place.
    pub fn shown(&self, context: &Map<String, Value>) -> Vec<Shown> {
        let mut shown = Vec::with_capacity(self.pieces.len());
        let mut length = 0;
        for piece in &self.pieces {
            let next = match piece {
                Piece::Text(text) => Shown::Text(text.clone()),
                Piece::Placeholder(placeholder) => {
                    let (mut text, mut missing) = (String::new(), Vec::new());
                    match placeholder.render(context, &mut text, &mut missing) {
                        Ok(()) if missing.is_empty() => Shown::Value(text),
                        Ok(()) => Shown::Missing(placeholder.source().to_owned()),
                        Err(error) => Shown::Failed(placeholder.source().to_owned(), error.to_string()),
                    }
                }
            };
            if let Shown::Text(text) | Shown::Value(text) = &next {
                length += text.len();
            }
            shown.push(next);
            // A huge attribute, many times over, is not shown to its end.
            if length > MAX_OUTPUT {
                break;
            }
        }
        shown
    }
}

/// Whether `text` has more than `limit` characters; counts only when its bytes leave a doubt.
fn is_longer(text: &str, limit: usize) -> bool {
    text.len() > limit && text.chars().count() > limit
}

fn push_new(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

#[derive(Clone, Copy)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    fn error(self, placeholder: &str, reason: String) -> TemplateError {
        TemplateError::Placeholder {
            line: self.line,
            column: self.column,
            placeholder: placeholder.to_owned(),
            reason,
        }
    }
}

/// Walks over a body and knows where it is.
struct Reader<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
    position: Position,
}

impl<'a> Reader<'a> {
    fn new(body: &'a str) -> Self {
        Self { characters: body.chars().peekable(), position: Position { line: 1, column: 1 } }
    }

    fn next(&mut self) -> Option<(Position, char)> {
        let position = self.position;
        let character = self.characters.next()?;
        if character == '\n' {
            self.position.line += 1;
            self.position.column = 1;
        } else {
            self.position.column += 1;
        }
        Some((position, character))
    }

    /// Steps over the next character if it is the one asked for.
    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.characters.peek() == Some(&wanted);
        if is_there {
            self.next();
        }
        is_there
    }

    /// Reads on behind an opening brace up to its closing one; braces in quotes are text.
    fn placeholder(&mut self, start: Position) -> Result<Placeholder, TemplateError> {
        let mut source = String::new();
        let mut quote = None;
        loop {
            let Some((_, character)) = self.next() else {
                let beginning: String = source.chars().take(40).collect();
                let reason = if quote.is_some() {
                    "a quote is not closed"
                } else {
                    "the `}` is missing; write `{{` to print a brace"
                };
                return Err(start.error(&format!("{{{beginning}"), reason.to_owned()));
            };
            match (quote, character) {
                (None, '}') => break,
                (None, '{') => {
                    let reason = "a brace inside a placeholder; write `{{` to print one";
                    return Err(start.error(&format!("{{{source}{{"), reason.to_owned()));
                }
                (None, '"' | '\'') => quote = Some(character),
                (Some(_), '\\') => {
                    source.push(character);
                    source.extend(self.next().map(|(_, escaped)| escaped));
                    continue;
                }
                (Some(open), _) if open == character => quote = None,
                _ => {}
            }
            source.push(character);
        }
        Placeholder::parse(&source).map_err(|reason| start.error(&format!("{{{source}}}"), reason))
    }
}

#[cfg(test)]
mod tests;
