//! Catch-up: messages that people wrote while nobody here listened are fetched from Twilio's list and pass
//! through the same [`receive`](super::receive()).
//!
//! Looked at are the addresses that people write to: every sender that is or was configured, and the numbers
//! that a Messaging Service was seen to use. Everything is reckoned by Twilio's clock.

mod keep;
mod look;
mod service;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::clock::Millis;
use crate::domain::consent::KeywordTable;
use crate::domain::retry::{Pace, backoff};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::store::{OpenGap, Store, StoreError, cursors, hold, senders};
use crate::twilio::client::Client;
use crate::twilio::lookup::LookupError;

pub(super) use service::{note_number, service_number};

/// How often the list is looked at when nothing seems to be missing.
const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How soon after a gap the list is looked at again, one look after the other: Twilio may list a message late.
const AFTERWARDS: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(50), Duration::from_secs(120)];
/// The longest rest between looks that fail, in milliseconds.
const LONGEST_REST: i64 = 60_000;
/// How far back an address is looked at for the first time, in milliseconds: the day on which one moves here
/// from another system, whose list of STOPs was exported some hours ago. What is older was that system's to
/// hear.
const FIRST_LOOK: Millis = 86_400_000;
/// Cursors of addresses begin so.
const CURSOR: &str = "inbound:";

/// Why a look failed. Nothing is lost by it; the next one begins where the last good one ended.
#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When the next look is due.
#[derive(Debug, Default)]
struct Schedule {
    /// Whom the rest of this is about: with another account everything begins anew.
    client: Weak<Option<Client>>,
    /// On the monotonic clock, in nanoseconds.
    due_at: u64,
    /// Looks that failed in a row.
    failures: u32,
    /// Good looks since the last gap was closed.
    looks: usize,
    /// When that was. What is older is not left to its webhook.
    gap_ended_at: Option<Millis>,
}

/// Fetches what was missed. One per process.
pub struct CatchUp {
    store: Store,
    client: Live<Option<Client>>,
    keywords: Live<KeywordTable>,
    metrics: Metrics,
    schedule: Mutex<Schedule>,
}

impl CatchUp {
    /// Makes it. From now on marketing waits at each gap, and the start is the first; without a client that is so
    /// from when there is one: whoever puts it in place calls [`Gaps::watch`] before.
    ///
    /// [`Gaps::watch`]: crate::store::Gaps::watch
    pub fn new(
        store: Store,
        client: impl Into<Live<Option<Client>>>,
        keywords: Live<KeywordTable>,
        metrics: Metrics,
    ) -> CatchUp {
        let client = client.into();
        if client.get().is_some() {
            store.gaps().watch();
        }
        CatchUp { store, client, keywords, metrics, schedule: Mutex::default() }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is asked. A look that begins with one account and ends with another is repeated: the change is a gap.
    fn client(&self) -> Result<Client, LookupError> {
        let none = || LookupError::Unavailable("no account is set".to_owned());
        self.client.get().as_ref().clone().ok_or_else(none)
    }

    /// Forgets rests and failures of another account. `false`: there is none.
    fn knows_account(&self) -> bool {
        let client = self.client.get();
        let mut schedule = self.schedule();
        if !std::ptr::eq(schedule.client.as_ptr(), Arc::as_ptr(&client)) {
            *schedule = Schedule { client: Arc::downgrade(&client), ..Schedule::default() };
        }
        client.is_some()
    }

    /// Looks at the list if that is due: at once after a gap, else every quarter of an hour. What goes wrong
    /// is logged once and tried again, with longer and longer rests.
    pub async fn tick(&self) {
        if !self.knows_account() {
            return;
        }
        let gaps = self.store.gaps();
        gaps.beat();
        // One that is not ripe yet is left to the next look.
        let now = self.store.clock().monotonic_nanos();
        let gap = gaps.open().filter(|gap| now >= gap.ripe_at);
        if !self.is_due(gap.is_some()) {
            return;
        }
        let young = match gap {
            Some(_) => Millis::MAX,
            None => self.schedule().gap_ended_at.unwrap_or(Millis::MIN),
        };
        match self.look_through(gap.is_some(), young).await {
            Ok(found) => self.note_success(gap.as_ref(), found),
            Err(error) => self.note_failure(gap.is_some(), &error),
        }
    }

    fn is_due(&self, is_after_gap: bool) -> bool {
        let now = self.store.clock().monotonic_nanos();
        let schedule = self.schedule();
        now >= schedule.due_at || schedule.failures == 0 && is_after_gap
    }

    fn rest(&self, rest: Duration, failures: u32) {
        let nanos = u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX / 2);
        let mut schedule = self.schedule();
        schedule.due_at = self.store.clock().monotonic_nanos().saturating_add(nanos);
        schedule.failures = failures;
    }

    fn note_success(&self, gap: Option<&OpenGap>, found: u64) {
        self.metrics.count_catch_up("done", found);
        if found > 0 {
            tracing::info!(messages = found, "messages that were missed came out of Twilio's list");
        }
        if let Some(gap) = gap
            && self.store.close_gap(gap.noted)
        {
            tracing::info!(gap = gap.gap.as_str(), "Twilio's list was looked through; marketing goes on");
        }
        let rest = {
            let mut schedule = self.schedule();
            schedule.looks += 1;
            if gap.is_some() {
                schedule.looks = 0;
                // Twilio's dates are to the second: that of the end is left to its webhooks.
                schedule.gap_ended_at = Some(self.store.clock().now().div_euclid(1_000) * 1_000 - 1);
            }
            let is_first = schedule.gap_ended_at.is_none();
            AFTERWARDS.get(schedule.looks).filter(|_| !is_first).copied()
        };
        self.rest(rest.unwrap_or(INTERVAL), 0);
    }

    fn note_failure(&self, is_gap: bool, error: &CatchUpError) {
        self.metrics.count_catch_up("failed", 0);
        self.store.gaps().set_trouble(&error.to_string());
        let failures = self.schedule().failures + 1;
        if failures == 1 {
            let advice = match error {
                CatchUpError::Lookup(LookupError::Refused { .. }) => {
                    "the key of the account must be allowed to read messages, or set [delivery] catch_up = false"
                }
                _ => "it is tried again",
            };
            tracing::warn!(
                error = %error,
                marketing_waits = is_gap,
                "Twilio's list could not be looked through for missed messages; {advice}"
            );
        }
        let asked = match error {
            CatchUpError::Lookup(LookupError::Throttled { retry_after }) => *retry_after,
            _ => None,
        };
        // Half of it is chance: many servers must not come back together, nor one of them at once.
        let longest = backoff(Pace::Soon, failures + 2, 1.0, None).min(LONGEST_REST);
        let rest = longest / 2 + (longest as f64 / 2.0 * rand::random::<f64>()) as i64;
        let rest = rest.max(i64::try_from(asked.unwrap_or(0)).unwrap_or(0).min(3_600) * 1_000);
        self.rest(Duration::from_millis(u64::try_from(rest).unwrap_or(0)), failures);
    }

    /// One look at every address. Returns how many messages were new.
    /// What was created up to `young` is not left to its webhook.
    async fn look_through(&self, is_after_gap: bool, young: Millis) -> Result<u64, CatchUpError> {
        if is_after_gap {
            self.learn_numbers().await?;
        }
        let mut missed = Vec::new();
        let mut marks = Vec::new();
        for (address, since) in self.addresses().await? {
            let mut found = match self.look(&address, since, young).await {
                // An address that Twilio does not know of is no reason to hold everything up.
                Err(CatchUpError::Lookup(LookupError::Refused { http_status: 400 | 404, code, .. })) => {
                    tracing::warn!(address, code, "Twilio has no list of messages to this address");
                    continue;
                }
                found => found?,
            };
            missed.append(&mut found.missed);
            marks.push((address, found.mark));
        }
        let found = self.keep(missed).await?;
        // Only now: until the rows are in, the next look must find them again.
        self.store
            .write::<_, _, StoreError>(move |tx| {
                for (address, mark) in &marks {
                    let name = format!("{CURSOR}{address}");
                    if cursors::get(tx.conn(), &name)? != Some(*mark) {
                        cursors::set(tx, &name, *mark)?;
                    }
                }
                hold::note_caught_up(tx)
            })
            .await?;
        Ok(found)
    }

    /// Where people may have written to, each with the last message seen there.
    async fn addresses(&self) -> Result<Vec<(String, Option<Millis>)>, StoreError> {
        self.store
            .read(|conn| {
                let mut addresses: Vec<(String, Option<Millis>)> = cursors::list(conn, CURSOR)?
                    .into_iter()
                    .map(|(name, mark)| (name.trim_start_matches(CURSOR).to_owned(), Some(mark)))
                    .collect();
                // A sender that is configured no more may still be answered by people.
                for sender in senders::list(conn)? {
                    let is_known = addresses.iter().any(|(address, _)| *address == sender.address);
                    if !is_known && !sender.address.starts_with("MG") {
                        addresses.push((sender.address, None));
                    }
                }
                Ok(addresses)
            })
            .await
    }
}
