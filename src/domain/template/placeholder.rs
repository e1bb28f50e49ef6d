//! One placeholder: a variable, and filters applied to it from left to right.
//!
//! ```text
//! placeholder = variable { "|" filter [ "(" argument { "," argument } ")" ] }
//! variable    = segment { "." segment }          segment = letters, digits, "_", "-"
//! argument    = "text" | 'text' | number | true | false | variable
//! ```
//!
//! This is the part of minijinja's expression language that a message needs. The variable is looked
//! up and `default` decided here, because null and "" count as missing for us; the other filters
//! are minijinja's, run under fuel. What is not in the grammar (calls, loops, operators) can't run.

use std::sync::LazyLock;

use minijinja::{
    Environment, Expression,
    value::{Serde, ValueKind},
};
use serde_json::{Map, Value};

use super::{MAX_EXPRESSION, RenderError, push_new};

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

/// Fuel of one chain of filters; a unit is an instruction or about 64 bytes, so this allows some
/// 300 KB before a value is refused.
const FUEL: u64 = 5_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment
});

#[derive(Debug)]
pub(super) struct Placeholder {
    variable: Variable,
    stages: Vec<Stage>,
}

/// A step from the variable to the text.
#[derive(Debug)]
enum Stage {
    /// Consecutive filters in one compiled expression over `value` and `argument0`, `argument1`, ….
    Filters(Expression<'static, 'static>, Vec<Argument>),
    /// Steps in where nothing has come so far.
    Default(Argument),
}

#[derive(Debug)]
enum Argument {
    Literal(Value),
    Variable(Variable),
}

#[derive(Debug)]
struct Variable {
    name: String,
    segments: Vec<String>,
}

/// A value on its way, untouched or after filters.
enum Current<'a> {
    Json(&'a Value),
    Filtered(minijinja::Value),
}

impl Placeholder {
    /// Reads what stands between the braces; an error is a reason in words.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.chars().count() > MAX_EXPRESSION {
            return Err(format!(
                "a placeholder has at most {MAX_EXPRESSION} characters"
            ));
        }
        let mut parser = Parser::new(source);
        let variable = parser.variable()?;
        let mut stages = Vec::new();
        let mut chain = Chain::default();
        while parser.take('|') {
            let (filter, arguments) = parser.filter()?;
            if filter == "default" {
                stages.extend(chain.compile()?);
                stages.extend(arguments.into_iter().next().map(Stage::Default));
            } else {
                chain.push(&filter, arguments);
            }
        }
        stages.extend(chain.compile()?);
        parser.end()?;
        Ok(Self { variable, stages })
    }

    /// Tells every variable that is written in it, in order.
    pub(super) fn variables(&self, mut tell: impl FnMut(&str)) {
        tell(&self.variable.name);
        let arguments = self.stages.iter().flat_map(|stage| match stage {
            Stage::Filters(_, arguments) => arguments.as_slice(),
            Stage::Default(argument) => std::slice::from_ref(argument),
        });
        for argument in arguments {
            if let Argument::Variable(variable) = argument {
                tell(&variable.name);
            }
        }
    }

    /// Appends the text, or the name of what is missing.
    pub(super) fn render(
        &self,
        context: &Map<String, Value>,
        output: &mut String,
        missing: &mut Vec<String>,
    ) -> Result<(), RenderError> {
        let mut wanted = &self.variable.name;
        let mut current = self.variable.find(context).map(Current::Json);
        for stage in &self.stages {
            match (stage, &current) {
                (Stage::Default(argument), None) => {
                    current = argument.find(context).map(Current::Json);
                    if let Argument::Variable(variable) = argument {
                        wanted = &variable.name;
                    }
                }
                (Stage::Filters(expression, arguments), Some(value)) => {
                    let Some(scope) = scope(value, arguments, context, missing) else {
                        return Ok(());
                    };
                    let filtered = expression.eval(scope).map_err(|error| {
                        RenderError::Failed(format!("`{}`: {error}", self.variable.name))
                    })?;
                    current = (!is_nothing(&filtered)).then_some(Current::Filtered(filtered));
                }
                (Stage::Default(_), Some(_)) | (Stage::Filters(..), None) => {}
            }
        }
        match current {
            None => push_new(missing, wanted),
            Some(Current::Json(value)) => self.write_json(value, output)?,
            Some(Current::Filtered(value)) => self.write_filtered(&value, output)?,
        }
        Ok(())
    }

    fn write_json(&self, value: &Value, output: &mut String) -> Result<(), RenderError> {
        match value {
            Value::Null => {}
            Value::String(text) => output.push_str(text),
            Value::Bool(value) => output.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => output.push_str(&float.to_string()),
                _ => output.push_str(&number.to_string()),
            },
            Value::Array(_) | Value::Object(_) => return Err(self.not_a_text()),
        }
        Ok(())
    }

    fn write_filtered(
        &self,
        value: &minijinja::Value,
        output: &mut String,
    ) -> Result<(), RenderError> {
        match value.kind() {
            ValueKind::String => output.push_str(value.as_str().unwrap_or_default()),
            ValueKind::Bool => output.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => {
                let text = value.to_string();
                output.push_str(text.strip_suffix(".0").unwrap_or(&text));
            }
            _ => return Err(self.not_a_text()),
        }
        Ok(())
    }

    fn not_a_text(&self) -> RenderError {
        let name = &self.variable.name;
        RenderError::Failed(format!(
            "`{name}` is a list or an object; name one entry, or write {{{name}|join(\", \")}}"
        ))
    }
}

impl Variable {
    /// The value, unless it is absent, null or the empty text.
    fn find<'a>(&self, context: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.segments.split_first()?;
        let mut value = context.get(first)?;
        for segment in rest {
            value = match value {
                Value::Object(fields) => fields.get(segment)?,
                Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        match value {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            _ => Some(value),
        }
    }
}

impl Argument {
    fn find<'a>(&'a self, context: &'a Map<String, Value>) -> Option<&'a Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Variable(variable) => variable.find(context),
        }
    }
}

/// The names that a chain of filters reads, or `None` after telling which argument is missing.
fn scope(
    value: &Current<'_>,
    arguments: &[Argument],
    context: &Map<String, Value>,
    missing: &mut Vec<String>,
) -> Option<minijinja::Value> {
    let value = match value {
        Current::Json(value) => minijinja::Value::from(Serde(value)),
        Current::Filtered(value) => value.clone(),
    };
    let mut names = vec![("value".to_owned(), value)];
    for (index, argument) in arguments.iter().enumerate() {
        match (argument.find(context), argument) {
            (Some(found), _) => names.push((
                format!("argument{index}"),
                minijinja::Value::from(Serde(found)),
            )),
            (None, Argument::Variable(variable)) => {
                push_new(missing, &variable.name);
                return None;
            }
            (None, Argument::Literal(_)) => {}
        }
    }
    Some(minijinja::Value::from_pairs(names))
}

fn is_nothing(value: &minijinja::Value) -> bool {
    value.is_undefined() || value.is_none() || value.as_str() == Some("")
}

/// Filters gathered until a `default` or the end, then compiled as one expression.
#[derive(Default)]
struct Chain {
    source: String,
    arguments: Vec<Argument>,
}

impl Chain {
    fn push(&mut self, filter: &str, arguments: Vec<Argument>) {
        self.source.push('|');
        self.source.push_str(filter);
        let first = self.arguments.len();
        self.arguments.extend(arguments);
        let names: Vec<String> = (first..self.arguments.len())
            .map(|index| format!("argument{index}"))
            .collect();
        if !names.is_empty() {
            self.source.push_str(&format!("({})", names.join(",")));
        }
    }

    fn compile(&mut self) -> Result<Option<Stage>, String> {
        if self.source.is_empty() {
            return Ok(None);
        }
        let chain = std::mem::take(self);
        ENVIRONMENT
            .compile_expression_owned(format!("value{}", chain.source))
            .map(|expression| Some(Stage::Filters(expression, chain.arguments)))
            .map_err(|error| error.to_string())
    }
}

struct Parser<'a> {
    characters: std::iter::Peekable<std::str::Chars<'a>>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            characters: source.chars().peekable(),
        }
    }

    fn peek(&mut self) -> Option<char> {
        while self.characters.next_if(|c| c.is_whitespace()).is_some() {}
        self.characters.peek().copied()
    }

    /// Steps over blanks and then the next character, if it is the one asked for.
    fn take(&mut self, wanted: char) -> bool {
        self.peek() == Some(wanted) && self.characters.next().is_some()
    }

    fn end(&mut self) -> Result<(), String> {
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

    fn variable(&mut self) -> Result<Variable, String> {
        match self.peek() {
            None => return Err("a name is missing".to_owned()),
            Some('%' | '#') => {
                return Err("tags such as `{% if %}` are not available".to_owned());
            }
            Some(character) if character.is_alphabetic() || character == '_' => {}
            Some(character) => {
                return Err(format!(
                    "`{character}` begins no name; a name begins with a letter"
                ));
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
        Ok(Variable {
            name: segments.join("."),
            segments,
        })
    }

    /// A filter's name (`d` told as `default`) and arguments.
    fn filter(&mut self) -> Result<(String, Vec<Argument>), String> {
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
            Err(format!(
                "`{name}` takes {number}, here are {}",
                arguments.len()
            ))
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
        while let Some(character) = self
            .characters
            .next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.'))
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
