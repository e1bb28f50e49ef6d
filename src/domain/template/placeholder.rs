//! One placeholder: a variable, and filters applied to it from left to right.
//!
//! The language is the part of minijinja's expressions that a message needs (see `grammar`). The
//! variable is looked up and `default` decided here, because null and "" count as missing for us;
//! the other filters are minijinja's, run under fuel.

use std::sync::LazyLock;

use minijinja::{
    Environment, Expression,
    value::{Serde, ValueKind},
};
use serde_json::{Map, Value};

use super::grammar::Parser;
use super::{MAX_EXPRESSION, RenderError, push_new};

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
    /// What stands between the braces, trimmed.
    source: String,
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
pub(super) enum Argument {
    Literal(Value),
    Variable(Variable),
}

#[derive(Debug)]
pub(super) struct Variable {
    /// As written, dots included.
    pub(super) name: String,
    pub(super) segments: Vec<String>,
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
            return Err(format!("a placeholder has at most {MAX_EXPRESSION} characters"));
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
        Ok(Self { source: source.trim().to_owned(), variable, stages })
    }

    /// What stands between the braces.
    pub(super) fn source(&self) -> &str {
        &self.source
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
                    let filtered = expression
                        .eval(scope)
                        .map_err(|error| RenderError::Failed(format!("`{}`: {error}", self.variable.name)))?;
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

    fn write_filtered(&self, value: &minijinja::Value, output: &mut String) -> Result<(), RenderError> {
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
            (Some(found), _) => {
                names.push((format!("argument{index}"), minijinja::Value::from(Serde(found))))
            }
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
        let names: Vec<String> =
            (first..self.arguments.len()).map(|index| format!("argument{index}")).collect();
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
