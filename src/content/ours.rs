//! From a text of ours to an approved template: `{name}` becomes `{{1}}`, Twilio makes it, WhatsApp is asked.

use serde_json::{Map, Value, json};

use super::{Contents, ContentsError, Submission};
use crate::domain::content::{DraftError, Wording, faults};
use crate::domain::phone::Channel;
use crate::store::StoreError;
use crate::store::content_templates::WantedContent;
use crate::store::templates::{self, TemplateRow};

/// How a template of ours is submitted.
#[derive(Clone, Debug, Default)]
pub struct OwnSubmission {
    /// As any.
    pub submission: Submission,
    /// Such as `en`; `None`: the template's locale.
    pub language: Option<String>,
    /// An example of the text's variables, by their names.
    pub example: Map<String, Value>,
}

impl Contents {
    /// Submits a template of ours, after making its content template at Twilio if it has none. The template then has
    /// a version with the content template. Call it in one's [`turn`](Contents::turn).
    ///
    /// # Errors
    /// As [`Contents::make`] and [`Contents::submit`].
    pub async fn submit_own(&self, id: i64, wanted: &OwnSubmission) -> Result<TemplateRow, ContentsError> {
        self.client()?;
        let template = self.own(id).await?;
        if template.text.channel != Channel::Whatsapp {
            return Err(ContentsError::Conflict(
                "Only templates for WhatsApp are approved; this one is for SMS.".to_owned(),
            ));
        }
        let sid = match &template.text.content_sid {
            Some(sid) => sid.clone(),
            None => self.make_of(&template, wanted).await?,
        };
        self.submit(&sid, &wanted.submission).await?;
        self.own(id).await
    }

    async fn own(&self, id: i64) -> Result<TemplateRow, ContentsError> {
        self.store
            .read(move |conn| {
                let found = templates::find(conn, id)?;
                found.ok_or_else(|| ContentsError::NotFound(format!("template {id}")))
            })
            .await
    }

    /// Makes the content template of a template and gives it to the template. Returns its SID.
    async fn make_of(&self, template: &TemplateRow, wanted: &OwnSubmission) -> Result<String, ContentsError> {
        let text = &template.text;
        let wording = Wording::of_template(&text.body, &wanted.example).map_err(refuse)?;
        let found = faults(&wording.body, &wording.samples);
        if !found.is_empty() {
            return Err(ContentsError::Invalid(
                found.into_iter().map(|fault| named(fault, &wording)).collect(),
            ));
        }
        let language =
            wanted.language.clone().or_else(|| text.locale.as_deref().map(|l| l.replace('-', "_")));
        let language = language.ok_or_else(|| {
            let message = "missing: the template has no locale; give one such as en or pt_BR".to_owned();
            ContentsError::Invalid(vec![("language".to_owned(), message)])
        })?;
        let types = match text.media_urls.as_slice() {
            [] => json!({"twilio/text": {"body": wording.body}}),
            media => json!({"twilio/media": {"body": wording.body, "media": media}}),
        };
        let samples = wording.samples.iter().map(|(name, sample)| (name.clone(), json!(sample))).collect();
        let content = WantedContent {
            // An edit is another text: each version has a name of its own.
            friendly_name: format!("{} #{} v{}", template.name, template.id, template.version),
            language,
            types,
            variables: samples,
            category: wanted.submission.category.map(|category| category.as_str().to_owned()),
        };
        let (made, _) = self.make(content).await?;
        let sid = made.sid.ok_or_else(|| ContentsError::NotFound("SID of what Twilio made".to_owned()))?;
        self.give(template, &sid, wording.variables).await?;
        Ok(sid)
    }

    /// The next version of the template is sent by this content template.
    async fn give(
        &self,
        template: &TemplateRow,
        sid: &str,
        variables: Map<String, Value>,
    ) -> Result<(), ContentsError> {
        let (id, version, name) = (template.id, template.version, template.name.clone());
        let mut text = template.text.clone();
        text.content_sid = Some(sid.to_owned());
        text.content_variables = variables;
        self.store
            .write(move |tx| {
                let present = templates::find(tx.conn(), id)?;
                if present.is_none_or(|present| present.version != version) {
                    return Err(ContentsError::Conflict(
                        "The template was edited while Twilio was asked. Submit it again.".to_owned(),
                    ));
                }
                templates::update(tx, id, &name, &text)
                    .map(drop)
                    .map_err(|error: StoreError| ContentsError::from(error))
            })
            .await
    }
}

fn refuse(error: DraftError) -> ContentsError {
    match error {
        DraftError::NoExample(names) => ContentsError::Invalid(
            names
                .into_iter()
                .map(|name| {
                    (
                        format!("example.{name}"),
                        "missing: WhatsApp asks for an example of every variable".to_owned(),
                    )
                })
                .collect(),
        ),
        error @ DraftError::Example(_) => {
            ContentsError::Invalid(vec![("example".to_owned(), error.to_string())])
        }
        error => ContentsError::Invalid(vec![("body".to_owned(), error.to_string())]),
    }
}

/// A fault by the names of our text instead of Twilio's numbers.
fn named((field, message): (String, String), wording: &Wording) -> (String, String) {
    let number = field.strip_prefix("variables.");
    let text = number.and_then(|number| wording.variables.get(number)).and_then(Value::as_str);
    match text {
        Some(text) => (format!("example.{}", text.trim_matches(['{', '}'])), message),
        None => (field, message),
    }
}
