//! Messages that were taken and of which nothing more was heard: asked about once, by SID.
//!
//! A receipt may get lost, and some carriers never send one. Half a day after its last progress a message's
//! receipt is overdue (<https://www.twilio.com/docs/messaging/guides/outbound-message-logging>). Progress
//! that the answer brings is news, half a day after which it is asked about again; a message whose answer
//! brings nothing new is asked about no more: receipts of carriers that come later still reach the
//! webhook.

use futures_util::future::join_all;

use super::lanes::Settings;
use super::patience::Patience;
use super::reconcile::{AT_ONCE, seen};
use crate::clock::Millis;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::outcomes::lookups::{self, Unfinished};
use crate::store::outcomes::{self, RetryPolicy};
use crate::store::{Store, StoreError, Tx, cursors};
use crate::twilio::client::{Client, MessageResource};

/// How long nothing was heard, in milliseconds.
const OVERDUE: Millis = 12 * 3_600_000;
/// Messages asked about in one tick; the loop ticks every ten seconds.
const MESSAGES: usize = 100;
/// The walk's name in `cursors`.
const CURSOR: &str = crate::store::events::POLL;

/// What one tick brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Messages that Twilio told about.
    pub found: usize,
    /// Messages that it does not know (any more).
    pub not_found: usize,
    /// Questions without an answer.
    pub failed: usize,
}

/// Asks about messages of which nothing more was heard. One per process.
pub struct Poller {
    store: Store,
    client: Live<Option<Client>>,
    settings: Live<Settings>,
    metrics: Metrics,
    patience: Patience,
}

impl Poller {
    /// Makes a poller; nothing is asked yet, nor while there is no client.
    pub fn new(
        store: Store,
        client: impl Into<Live<Option<Client>>>,
        settings: Live<Settings>,
        metrics: Metrics,
    ) -> Poller {
        let patience = Patience::new(store.clock().clone());
        Poller { store, client: client.into(), settings, metrics, patience }
    }

    /// Goes on where the last tick ended. The walk moves only past what was answered.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read or written; the next tick begins where this one ended.
    pub async fn tick(&self) -> Result<Polled, StoreError> {
        let mut polled = Polled::default();
        let (client, most) = (self.client.get(), self.patience.most(MESSAGES));
        let Some(client) = client.as_ref().as_ref().filter(|_| most > 0) else {
            return Ok(polled);
        };
        let until = self.store.clock().now() - OVERDUE;
        let (start, found, mut place) = self
            .store
            .read(move |conn| {
                let start = cursors::get(conn, CURSOR)?.unwrap_or(0);
                let (found, place) = lookups::unfinished(conn, start, until, most)?;
                Ok::<_, StoreError>((start, found, place))
            })
            .await?;
        if place == start {
            return Ok(polled);
        }
        let mut answers = Vec::with_capacity(found.len());
        'walk: for few in found.chunks(AT_ONCE) {
            let asked = join_all(few.iter().map(|unfinished| client.fetch(&unfinished.sid))).await;
            for (unfinished, answer) in few.iter().zip(asked) {
                match answer {
                    Ok(answer) => {
                        self.patience.answered();
                        answers.push((unfinished.clone(), answer));
                    }
                    Err(error) if error.is_about_one() => {
                        tracing::warn!(message.sid = unfinished.sid, error = %error, "a message could not be asked about");
                        answers.push((unfinished.clone(), None));
                    }
                    Err(error) => {
                        polled.failed += 1;
                        self.patience.failed(&error, rand::random());
                        place = unfinished.event_id - 1;
                        break 'walk;
                    }
                }
            }
        }
        polled.found = answers.iter().filter(|(_, answer)| answer.is_some()).count();
        polled.not_found = answers.len() - polled.found;
        let settings = self.settings.get();
        self.store
            .write::<_, _, StoreError>(move |tx| {
                for (unfinished, answer) in &answers {
                    let policy = RetryPolicy::of(&settings.rules, settings.max_attempts);
                    note(tx, unfinished, answer.as_ref(), &policy)?;
                }
                cursors::set(tx, CURSOR, place)
            })
            .await?;
        self.metrics.count_lookups("unfinished", "found", polled.found);
        self.metrics.count_lookups("unfinished", "not_found", polled.not_found);
        self.metrics.count_lookups("unfinished", "failed", polled.failed);
        Ok(polled)
    }
}

fn note(
    tx: &Tx<'_>,
    unfinished: &Unfinished,
    answer: Option<&MessageResource>,
    policy: &RetryPolicy,
) -> Result<(), StoreError> {
    let Some(message) = answer else {
        tracing::info!(message.sid = unfinished.sid, "Twilio does not know a message of ours any more");
        return Ok(());
    };
    let Some(key) = outcomes::find_attempt(tx.conn(), None, &unfinished.sid)? else {
        return Ok(());
    };
    let noted = tx.nested(|tx| lookups::polled(tx, key, &seen(message), policy));
    match noted {
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::error!(message.id = key.message_id, error = %error, "news could not be applied");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
