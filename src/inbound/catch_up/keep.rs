//! Keeping what was missed: oldest first over all addresses, in small writes.

use super::look::Missed;
use super::{CatchUp, CatchUpError};
use crate::domain::consent::Replies;
use crate::inbound::receive::{Heard, Source, receive};
use crate::store::StoreError;
use crate::twilio::client::{Client, MessageResource};
use crate::twilio::lookup::MediaItem;
use crate::twilio::webhook::{InboundForm, Params};

/// Messages of one write: a webhook must not wait longer behind them than behind others.
const CHUNK: usize = 50;
/// Messages of one look whose attachments are asked for.
const MOST_WITH_MEDIA: usize = 200;
/// After this many questions about attachments that failed, none is asked any more.
const MEDIA_PATIENCE: usize = 3;
/// Attachments that Twilio takes with one message.
const MOST_MEDIA: usize = 10;

/// A message as its webhook would have brought it.
type Ready = (Heard, Source);

impl CatchUp {
    /// Passes `missed` through the same door as webhooks. Returns how many were new.
    pub(super) async fn keep(&self, mut missed: Vec<Missed>) -> Result<u64, CatchUpError> {
        // The list begins with the newest, and dates are to the second: turned round first, so that a STOP
        // and a START of the same second keep their order.
        missed.reverse();
        missed.sort_by_key(|missed| missed.created_at);
        let mut ready = self.ready(&self.client()?, missed).await.into_iter().peekable();
        let mut found = 0;
        while ready.peek().is_some() {
            let chunk: Vec<Ready> = ready.by_ref().take(CHUNK).collect();
            found += self
                .store
                .write::<_, _, StoreError>(move |tx| {
                    let replies = Replies::default();
                    let mut found = 0;
                    for (heard, source) in &chunk {
                        found += u64::from(receive(tx, heard, *source, &replies)?.is_new);
                    }
                    Ok(found)
                })
                .await?;
        }
        Ok(found)
    }

    /// Asks for attachments and gives each message the form of a webhook.
    async fn ready(&self, client: &Client, missed: Vec<Missed>) -> Vec<Ready> {
        let (mut asked, mut failed) = (0, 0);
        let mut ready = Vec::with_capacity(missed.len());
        for Missed { resource, created_at } in missed {
            let mut media = Vec::new();
            if resource.media_count() > 0 && asked < MOST_WITH_MEDIA && failed < MEDIA_PATIENCE {
                asked += 1;
                media = client.media(&resource.sid).await.unwrap_or_else(|error| {
                    failed += 1;
                    tracing::warn!(inbound.sid = resource.sid, error = %error, "a missed message is kept without its attachments");
                    Vec::new()
                });
            }
            let params = params(&resource, client.account_sid(), &media);
            match InboundForm::read(&params) {
                Ok(form) => {
                    let heard = Heard::new(form, &params, &self.keywords.get());
                    ready.push((heard, Source::CatchUp(created_at)));
                }
                Err(error) => {
                    tracing::warn!(inbound.sid = resource.sid, error = %error, "a message in Twilio's list can't be kept");
                }
            }
        }
        ready
    }
}

/// The parameters that the webhook would have had, as far as the list tells them, so that a replay reads both
/// alike (<https://www.twilio.com/docs/messaging/guides/webhook-request>).
fn params(resource: &MessageResource, account_sid: &str, media: &[MediaItem]) -> Params {
    let mut params: Params = Vec::new();
    let mut add = |name: &str, value: &str| params.push((name.to_owned(), value.to_owned()));
    add("MessageSid", &resource.sid);
    add("AccountSid", account_sid);
    if let Some(service) = &resource.messaging_service_sid {
        add("MessagingServiceSid", service);
    }
    add("From", resource.from.as_deref().unwrap_or_default());
    add("To", resource.to.as_deref().unwrap_or_default());
    add("Body", resource.body.as_deref().unwrap_or_default());
    add("NumSegments", resource.num_segments.as_deref().unwrap_or("1"));
    add("NumMedia", &resource.media_count().to_string());
    for (number, item) in media.iter().take(MOST_MEDIA).enumerate() {
        add(&format!("MediaUrl{number}"), &item.url);
        add(&format!("MediaContentType{number}"), &item.content_type);
    }
    add("SmsStatus", &resource.status);
    params
}
