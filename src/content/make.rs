//! Making a template at Twilio and having it approved. Both may be asked for again after a lost answer: what was
//! made is looked up first.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Contents, ContentsError, seen};
use crate::clock::Millis;
use crate::domain::content::{Approval, Category, faults};
use crate::store::content_templates::{self, ContentRow, WantedContent};
use crate::store::{StoreError, Tx};
use crate::twilio::content::{ContentClient, ContentError, ContentResource, NewContent};

/// A request whose answer was lost may still be worked on for as long as this; before that a look into Twilio's
/// list proves nothing.
const IN_DOUBT: Millis = 60_000;
/// Pages of a look.
const MAX_PAGES: usize = 100;

/// How a template is submitted.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// What WhatsApp shall count it as; `None`: as it was wanted when it was made.
    pub category: Option<Category>,
    /// What WhatsApp calls it; `None`: after its name.
    pub name: Option<String>,
}

/// What stands here before Twilio is asked.
enum Place {
    /// It was made.
    Made(ContentRow),
    /// A row that waits, and whether it was asked for before.
    Waiting(ContentRow, bool),
}

impl Contents {
    /// Makes a template, and says whether it was made now: an equal one of the same name that exists is taken for
    /// this one. Call it in one's [`turn`](Contents::turn).
    ///
    /// # Errors
    /// [`ContentsError::Duplicate`] when one of this name says something else.
    pub async fn make(&self, wanted: WantedContent) -> Result<(ContentRow, bool), ContentsError> {
        let client = self.client()?;
        let asked = wanted.clone();
        let place = self.store.write(move |tx| place_of(tx, &asked)).await?;
        let (row, is_repeated) = match place {
            Place::Made(row) => return Ok((same(row, &wanted)?, false)),
            Place::Waiting(row, is_repeated) => (row, is_repeated),
        };
        let id = row.id;
        if is_repeated && let Some(found) = self.look_for(&client, &row).await? {
            self.settle(id, found).await?;
            let made = self.named(&wanted).await?;
            return Ok((same(made, &wanted)?, true));
        }
        if is_repeated && self.store.clock().now() - row.created_at < IN_DOUBT {
            return Err(ContentsError::Unavailable(
                "This was asked of Twilio a moment ago and the answer was lost. Ask again in a minute."
                    .to_owned(),
            ));
        }
        let new = wanted.clone();
        if is_repeated {
            // What waited was never made; from here on it is this one that is asked for.
            self.store
                .write(move |tx| {
                    content_templates::drop_wanted(tx, id)?;
                    content_templates::insert_wanted(tx, &new).map(drop)
                })
                .await
                .map_err(|error: StoreError| ContentsError::from(error))?;
        }
        self.ask_for(&client, &wanted).await?;
        Ok((self.named(&wanted).await?, true))
    }

    async fn ask_for(&self, client: &ContentClient, wanted: &WantedContent) -> Result<(), ContentsError> {
        let row = self.named(wanted).await?;
        let new = NewContent {
            friendly_name: &wanted.friendly_name,
            language: &wanted.language,
            variables: &wanted.variables,
            types: &wanted.types,
        };
        match client.create(&new).await {
            Ok(made) => self.settle(row.id, made).await,
            Err(error @ ContentError::Uncertain(_)) => Err(error.into()),
            // Nothing was made: the row has nothing to wait for.
            Err(error) => {
                let dropped = self.store.write(move |tx| content_templates::drop_wanted(tx, row.id)).await;
                dropped.map_err(|error: StoreError| ContentsError::from(error))?;
                Err(error.into())
            }
        }
    }

    /// Writes down that Twilio made it.
    async fn settle(&self, id: i64, made: ContentResource) -> Result<(), ContentsError> {
        let kept = self.store.write(move |tx| content_templates::set_sid(tx, id, &made.sid)).await;
        kept.map_err(|error: StoreError| ContentsError::from(error))
    }

    /// The template of this name, as it is kept.
    async fn named(&self, wanted: &WantedContent) -> Result<ContentRow, ContentsError> {
        let (name, language) = (wanted.friendly_name.clone(), wanted.language.clone());
        let found = self
            .store
            .read(move |conn| content_templates::find_named(conn, &name, &language))
            .await
            .map_err(|error: StoreError| ContentsError::from(error))?;
        found.ok_or_else(|| ContentsError::NotFound(format!("content template {:?}", wanted.friendly_name)))
    }

    /// Looks in Twilio's list for what a row asked for.
    async fn look_for(
        &self,
        client: &ContentClient,
        row: &ContentRow,
    ) -> Result<Option<ContentResource>, ContentsError> {
        let is_it = |resource: &ContentResource| {
            resource.friendly_name.as_deref() == Some(&row.friendly_name)
                && resource.language.as_deref() == Some(&row.language)
                && resource.types.clone().map(Value::Object).as_ref() == Some(&row.types)
        };
        let mut page = client.list().await?;
        for _ in 0..MAX_PAGES {
            if let Some(found) = page.contents.into_iter().find(is_it) {
                return Ok(Some(found));
            }
            let Some(next) = page.next else {
                return Ok(None);
            };
            page = client.next_page(&next).await?;
        }
        Err(ContentsError::Unavailable(format!("Twilio's list has no end after {MAX_PAGES} pages.")))
    }

    /// Asks WhatsApp to approve a template. One that was submitted already is left as it is. Call it in one's
    /// [`turn`](Contents::turn).
    ///
    /// # Errors
    /// [`ContentsError::Conflict`] for one that was rejected, paused or disabled, [`ContentsError::Invalid`] for a
    /// text that WhatsApp would refuse.
    pub async fn submit(&self, sid: &str, submission: &Submission) -> Result<ContentRow, ContentsError> {
        let client = self.client()?;
        let row = self.refresh(sid).await?;
        match row.approval() {
            Some(Approval::Unsubmitted) => {}
            Some(approval) if approval.is_asked_for() => return Ok(row),
            _ => {
                return Err(ContentsError::Conflict(format!(
                    "The content template {sid} is {}. Make a new one and submit that.",
                    row.status
                )));
            }
        }
        let wanted = row.category.as_deref().and_then(Category::parse);
        let category = submission.category.or(wanted).ok_or_else(|| {
            let message = format!("missing: one of {}", Category::WORDS.join(", "));
            ContentsError::Invalid(vec![("category".to_owned(), message)])
        })?;
        check_text(&row)?;
        let name = submission.name.clone().unwrap_or_else(|| whatsapp_name(&row.friendly_name));
        let asked_at = self.store.clock().now();
        let approval = client.submit(sid, &name, category.as_str()).await?;
        let resource = client.fetch(sid).await?;
        self.keep_one(seen(resource, Some(approval)), asked_at).await
    }

    /// Asks Twilio about one template and its approval.
    async fn refresh(&self, sid: &str) -> Result<ContentRow, ContentsError> {
        let client = self.client()?;
        let asked_at = self.store.clock().now();
        let resource = match client.fetch(sid).await {
            Err(ContentError::NotFound) => {
                return Err(ContentsError::NotFound(format!("content template {sid} at Twilio")));
            }
            other => other?,
        };
        let approval = client.approval(sid).await?;
        self.keep_one(seen(resource, Some(approval)), asked_at).await
    }

    /// Keeps what Twilio was asked for at `asked_at`: a judgement that came at a sending since then is newer.
    async fn keep_one(
        &self,
        seen: content_templates::SeenContent,
        asked_at: Millis,
    ) -> Result<ContentRow, ContentsError> {
        self.store
            .write(move |tx| {
                content_templates::see(tx, &seen, asked_at)?;
                content_templates::find(tx.conn(), &seen.sid)?
                    .ok_or_else(|| ContentsError::NotFound(format!("content template {}", seen.sid)))
            })
            .await
    }
}

/// The row of this name, or a new one that waits for its SID.
fn place_of(tx: &Tx<'_>, wanted: &WantedContent) -> Result<Place, ContentsError> {
    let find = || content_templates::find_named(tx.conn(), &wanted.friendly_name, &wanted.language);
    match find()? {
        Some(row) if row.sid.is_some() => Ok(Place::Made(row)),
        Some(row) => Ok(Place::Waiting(row, true)),
        None => {
            content_templates::insert_wanted(tx, wanted)?;
            let row = find()?.ok_or_else(|| StoreError::Internal("a row is gone at once".to_owned()))?;
            Ok(Place::Waiting(row, false))
        }
    }
}

/// The row, if it says what is wanted.
fn same(row: ContentRow, wanted: &WantedContent) -> Result<ContentRow, ContentsError> {
    if row.types == wanted.types && row.variables.as_object() == Some(&wanted.variables) {
        return Ok(row);
    }
    Err(ContentsError::Duplicate { name: row.friendly_name, sid: row.sid.unwrap_or_default() })
}

/// Refuses a text that WhatsApp would refuse, as far as it is a text.
fn check_text(row: &ContentRow) -> Result<(), ContentsError> {
    let Some(body) = row.types.pointer("/twilio~1text/body").and_then(Value::as_str) else {
        return Ok(());
    };
    let found = faults(body, &samples(row.variables.as_object().unwrap_or(&Map::new())));
    if found.is_empty() { Ok(()) } else { Err(ContentsError::Invalid(found)) }
}

/// Samples as texts; what is no text counts as missing.
pub(super) fn samples(variables: &Map<String, Value>) -> BTreeMap<String, String> {
    let pairs = variables.iter();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// A name as WhatsApp takes it: small letters, digits and underscores.
fn whatsapp_name(name: &str) -> String {
    let fit: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(200)
        .collect();
    let fit = fit.trim_matches('_').to_owned();
    if fit.is_empty() { "template".to_owned() } else { fit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_for_whatsapp() {
        for (name, fit) in
            [("Spring Offer #2 v1", "spring_offer__2_v1"), ("Grüße!", "gr__e"), ("日本", "template")]
        {
            assert_eq!(whatsapp_name(name), fit);
        }
    }
}
