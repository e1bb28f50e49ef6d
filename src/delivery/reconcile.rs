//! Messages whose answer was lost: looked for in Twilio's list, and either found there, or sent again
//! through the gate, or held. Nothing is decided without having seen the list after the time was up.
//!
//! Where each attempt stands is in its row, so an end in the middle changes nothing.

use futures_util::future::join_all;

use super::lanes::Settings;
use super::patience::Patience;
use crate::clock::Millis;
use crate::domain::failure::Failure;
use crate::domain::lookup::{Listed, Next, Place, Sought, after_look, assign, earliest};
use crate::domain::message::Status;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::outcomes::lookups::{self, Lost, Search, Seen};
use crate::store::outcomes::{News, RetryPolicy};
use crate::store::{Store, StoreError, Tx};
use crate::twilio::client::{Client, MessageResource};
use crate::twilio::error::{explain, without_numbers};
use crate::twilio::lookup::{ListQuery, LookupError, MessagePage};

/// People of one tick; the loop ticks once a second. After an outage that left 10,000 messages in the dark it
/// takes a quarter of an hour to look once for each.
const PEOPLE: usize = 10;
/// Questions under way at once. Twilio limits an account's requests at the same time, without publishing the
/// number (<https://www.twilio.com/docs/api/errors/20429>): most of it is left to sending.
pub(super) const AT_ONCE: usize = 4;
/// Messages of one page, Twilio's own default: few people got more since their message was lost.
const PAGE: u16 = 50;
/// Pages of one list. Who got more messages than that in a few minutes is a defect of another program.
const MOST_PAGES: usize = 20;
/// How long somebody waits about whom Twilio refuses to tell, in milliseconds: it may be for good.
const REFUSED_REST: Millis = 60_000;
/// How long somebody waits at least who could not be asked about, in milliseconds.
const FAILED_REST: Millis = 1_000;
/// How long an attempt rests that could not be worked because of a defect, in milliseconds.
const DEFECT_REST: Millis = 60_000;

/// What is done about messages whose answer was lost.
#[derive(Clone, Copy, Debug)]
pub struct UncertainRules {
    /// How long to look before deciding, in milliseconds.
    pub after: Millis,
    /// True: what Twilio does not have is sent again, through the gate. False: it is held.
    pub resends: bool,
}

/// What one tick brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// People whose list was asked for.
    pub asked: usize,
    /// Messages that Twilio has.
    pub found: usize,
    /// Messages that it does not show; it is looked again, or decided.
    pub not_found: usize,
    /// Of those: sent again, or failed for want of tries.
    pub given_up: usize,
    /// Of those: held.
    pub held: usize,
    /// Questions without an answer.
    pub failed: usize,
}

impl Looked {
    fn add(&mut self, other: Looked) {
        self.found += other.found;
        self.not_found += other.not_found;
        self.given_up += other.given_up;
        self.held += other.held;
    }
}

/// Looks for messages whose answer was lost. One per process.
pub struct Reconciler {
    store: Store,
    client: Live<Option<Client>>,
    settings: Live<Settings>,
    metrics: Metrics,
    patience: Patience,
}

/// What Twilio's list showed for one address.
#[derive(Debug)]
struct Sight {
    /// When it was asked, by our clock.
    asked_at: Millis,
    /// How far Twilio's clock is ahead of ours.
    ahead: Millis,
    /// Oldest first, outbound only.
    messages: Vec<MessageResource>,
}

impl Reconciler {
    /// Makes a reconciler; nothing is asked yet, nor while there is no client.
    pub fn new(
        store: Store,
        client: impl Into<Live<Option<Client>>>,
        settings: Live<Settings>,
        metrics: Metrics,
    ) -> Reconciler {
        let patience = Patience::new(store.clock().clone());
        Reconciler { store, client: client.into(), settings, metrics, patience }
    }

    /// One round: a few people whose time has come, the longest waiting first.
    ///
    /// # Errors
    /// [`StoreError`] when the store can't be read or written; the next tick begins where this one ended.
    pub async fn tick(&self) -> Result<Looked, StoreError> {
        let client = self.client.get();
        let Some(client) = client.as_ref() else {
            return Ok(Looked::default());
        };
        let most = self.patience.most(PEOPLE);
        let now = self.store.clock().now();
        let (uncertain, due) = self
            .store
            .read(move |conn| Ok::<_, StoreError>((lookups::count(conn)?, lookups::due(conn, now, most)?)))
            .await?;
        self.metrics.set_uncertain(uncertain);
        let mut looked = Looked::default();
        for people in due.chunks(AT_ONCE) {
            let sights = join_all(people.iter().map(|search| self.look(client, search))).await;
            looked.asked += people.len();
            let mut seen = Vec::with_capacity(people.len());
            for (search, sight) in people.iter().zip(sights) {
                match sight {
                    Ok(sight) => {
                        self.patience.answered();
                        seen.push(self.settle(search.clone(), sight));
                    }
                    Err(error) => {
                        looked.failed += 1;
                        // What concerns one person alone is no reason to ask nobody else.
                        let rest = if error.is_about_one() { REFUSED_REST } else { FAILED_REST };
                        if !error.is_about_one() {
                            self.patience.failed(&error, rand::random());
                        }
                        self.put_behind(search, rest).await?;
                    }
                }
            }
            // Together, so that one commit holds them all.
            for settled in join_all(seen).await {
                looked.add(settled?);
            }
            if looked.failed > 0 {
                break;
            }
        }
        self.metrics.count_lookups("uncertain", "found", looked.found);
        self.metrics.count_lookups("uncertain", "not_found", looked.not_found);
        self.metrics.count_lookups("uncertain", "failed", looked.failed);
        Ok(looked)
    }

    /// Whoever could not be asked about comes after those who wait already.
    async fn put_behind(&self, search: &Search, rest: Millis) -> Result<(), StoreError> {
        let (user_id, channel) = (search.user_id, search.channel);
        let later = move |tx: &Tx<'_>| lookups::postpone(tx, user_id, channel, tx.now() + rest);
        self.store.write::<_, _, StoreError>(later).await
    }

    /// Everything that Twilio has for one address since the oldest attempt.
    async fn look(&self, client: &Client, search: &Search) -> Result<Sight, LookupError> {
        let asked_at = self.store.clock().now();
        let mut sight = Sight { asked_at, ahead: 0, messages: Vec::new() };
        // Without an address there is nothing to see, and nobody to send to: the gate will say so.
        let Some(to) = search.to.clone() else {
            return Ok(sight);
        };
        // By date of sending Twilio would leave out what waits in its own queue.
        let query = ListQuery { to: Some(to), page_size: PAGE, ..ListQuery::default() };
        let mut page = client.list(&query).await?;
        sight.ahead = page.answered_at.map_or(0, |theirs| theirs - self.store.clock().now());
        for _ in 0..MOST_PAGES {
            let is_past = is_past(&page, earliest(self.start_of(search.since, asked_at), sight.ahead));
            sight.messages.extend(page.messages.into_iter().filter(is_by_api));
            match page.next {
                Some(next) if !is_past => page = client.next_page(&next).await?,
                _ => {
                    sight.messages.reverse();
                    // Stable: of the same second, the order of the list decides.
                    sight.messages.sort_by_key(MessageResource::created_at);
                    return Ok(sight);
                }
            }
        }
        Err(LookupError::Unreadable(format!("more than {MOST_PAGES} pages to one person")))
    }

    /// A start that lies ahead of the clock was told by one that was set back since.
    fn start_of(&self, started_at: Millis, asked_at: Millis) -> Millis {
        if started_at > asked_at {
            asked_at.saturating_sub(self.settings.get().uncertain.after)
        } else {
            started_at
        }
    }

    /// Writes down what was seen.
    async fn settle(&self, search: Search, sight: Sight) -> Result<Looked, StoreError> {
        let (user_id, channel) = (search.user_id, search.channel);
        let settings = self.settings.get();
        let rules = settings.uncertain;
        let policy = RetryPolicy::of(&settings.rules, settings.max_attempts);
        match self.store.write(move |tx| settle(tx, &search, &sight, (&rules, &policy))).await {
            Ok(settled) => Ok(settled),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                // A defect with one person is no reason to look for nobody else.
                tracing::error!(user.id = user_id, error = %error, "a look-up could not be written; it rests");
                let rest = move |tx: &Tx<'_>| {
                    let lost = lookups::lost(tx.conn(), user_id, channel)?.unwrap_or_default();
                    let at = Some(tx.now() + DEFECT_REST);
                    lost.iter().try_for_each(|lost| lookups::look_at(tx, lost.key, at))
                };
                self.store.write::<_, _, StoreError>(rest).await.map(|()| Looked::default())
            }
        }
    }
}

/// Made by a request like ours: neither inbound nor an answer to a webhook.
fn is_by_api(message: &MessageResource) -> bool {
    message.direction.as_deref().is_none_or(|direction| direction == "outbound-api")
}

/// Whether nothing behind this page can be of interest. Lists go by date of sending from the newest to the
/// oldest, and what matters here is the date of making: so the whole page has to be too old.
fn is_past(page: &MessagePage, since: Millis) -> bool {
    page.messages.iter().all(|message| message.created_at().is_some_and(|at| at < since))
}

/// Within one write: what was seen is compared with what is known now.
fn settle(
    tx: &Tx<'_>,
    search: &Search,
    sight: &Sight,
    (rules, policy): (&UncertainRules, &RetryPolicy),
) -> Result<Looked, StoreError> {
    let mut looked = Looked::default();
    // Something went on its way since: what was listed may be that.
    let Some(lost) = lookups::lost(tx.conn(), search.user_id, search.channel)? else {
        return Ok(looked);
    };
    let mut free: Vec<&MessageResource> = Vec::new();
    for message in &sight.messages {
        if !lookups::is_bound(tx.conn(), &message.sid)? {
            free.push(message);
        }
    }
    let listed: Vec<Listed<'_>> = free.iter().map(|message| listed(message)).collect();
    let mut sought: Vec<Sought<'_>> = lost.iter().map(sought).collect();
    for sought in sought.iter_mut().filter(|sought| sought.started_at > sight.asked_at) {
        sought.started_at = sight.asked_at.saturating_sub(rules.after);
    }
    for (lost, place) in lost.iter().zip(assign(&sought, &listed, sight.ahead)) {
        if let Place::At(at) = place
            && let Some(message) = free.get(at)
        {
            lookups::found(tx, lost.key, &seen(message), policy)?;
            looked.found += 1;
            continue;
        }
        looked.not_found += 1;
        match after_look(lost.since, rules.after, sight.asked_at) {
            Next::Look(at) => lookups::look_at(tx, lost.key, Some(at))?,
            Next::Decide if rules.resends && place == Place::Nowhere => {
                lookups::give_up(tx, lost.key, policy)?;
                looked.given_up += 1;
            }
            Next::Decide => {
                lookups::look_at(tx, lost.key, None)?;
                looked.held += 1;
            }
        }
    }
    Ok(looked)
}

fn sought(lost: &Lost) -> Sought<'_> {
    Sought { from: &lost.from, text: &lost.body, is_content: lost.is_content, started_at: lost.started_at }
}

fn listed(message: &MessageResource) -> Listed<'_> {
    Listed {
        from: message.from.as_deref(),
        service: message.messaging_service_sid.as_deref(),
        text: message.body.as_deref().unwrap_or_default(),
        created_at: message.created_at().unwrap_or(Millis::MIN),
    }
}

/// What Twilio's resource says, in our words.
pub(super) fn seen(message: &MessageResource) -> Seen<'_> {
    let status = Status::from_twilio(&message.status, message.error_code);
    let has_failed = status.is_some_and(|status| status.rank() == Status::Failed.rank());
    let failure = has_failed.then(|| failure(message));
    Seen {
        news: News { sid: &message.sid, twilio_status: &message.status, status, failure },
        parts: message.num_segments.as_deref().and_then(|text| text.parse().ok()),
        // Twilio writes what it takes as negative.
        price_micros: message.price_micros().map(i64::wrapping_neg),
        price_unit: message.price_unit.as_deref(),
    }
}

fn failure(message: &MessageResource) -> Failure {
    let mut failure = explain(message.error_code.unwrap_or(0));
    if failure.code == 0
        && let Some(words) = &message.error_message
    {
        failure.text = without_numbers(words);
    }
    failure
}
