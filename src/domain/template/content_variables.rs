//! Content variables: the texts that fill an approved template on Twilio's side.

use serde_json::{Map, Value};

use super::{MAX_PLACEHOLDERS, RenderError, Template, TemplateError, is_longer, push_new};

/// Longest value of a content variable, in characters, and longest name
/// (twilio.com/docs/content/using-variables-with-content-api).
const MAX_VALUE: usize = 1600;
const MAX_KEY: usize = 16;

/// A checked map from a variable of the provider's template (`"1"`) to the text that fills it
/// (`"{name}"`).
#[derive(Debug)]
pub struct ContentVariables {
    templates: Vec<(String, Template)>,
}

impl ContentVariables {
    /// Checks names and texts; each text is a message template.
    pub fn parse(variables: &Map<String, Value>) -> Result<Self, TemplateError> {
        if variables.len() > MAX_PLACEHOLDERS {
            return Err(TemplateError::TooManyPlaceholders);
        }
        let mut templates = Vec::with_capacity(variables.len());
        for (key, value) in variables {
            let refuse = |reason: String| TemplateError::ContentVariable { key: key.clone(), reason };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if key.is_empty() || key.len() > MAX_KEY || !key.chars().all(is_name) {
                return Err(refuse(format!("a name has 1 to {MAX_KEY} letters, digits or `_`")));
            }
            let text = value
                .as_str()
                .ok_or_else(|| refuse("the value must be a text such as \"{name}\"".to_owned()))?;
            if text.trim().is_empty() {
                return Err(refuse("the value is empty".to_owned()));
            }
            let template = Template::parse(text).map_err(|error| refuse(error.to_string()))?;
            templates.push((key.clone(), template));
        }
        Ok(Self { templates })
    }

    /// The variables of all texts, each once, in order of first use.
    pub fn variables(&self) -> Vec<String> {
        let mut variables = Vec::new();
        for (_, template) in &self.templates {
            for name in template.variables() {
                push_new(&mut variables, name);
            }
        }
        variables
    }

    /// The JSON object for Twilio's `ContentVariables`, itself a text. Line breaks, tabs and runs
    /// of blanks become one blank, because Twilio refuses them (63013).
    pub fn render(&self, context: &Map<String, Value>) -> Result<String, RenderError> {
        let mut values = Map::new();
        let mut missing = Vec::new();
        for (key, template) in &self.templates {
            match template.render(context) {
                Ok(text) => {
                    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                    if is_longer(&text, MAX_VALUE) {
                        return Err(RenderError::TooLong);
                    }
                    if text.is_empty() {
                        let reason = format!("content variable `{key}` becomes empty");
                        return Err(RenderError::Failed(reason));
                    }
                    values.insert(key.clone(), Value::String(text));
                }
                Err(RenderError::Missing(names)) => {
                    names.iter().for_each(|name| push_new(&mut missing, name));
                }
                Err(error) => return Err(error),
            }
        }
        if missing.is_empty() {
            Ok(Value::Object(values).to_string())
        } else {
            Err(RenderError::Missing(missing))
        }
    }
}
