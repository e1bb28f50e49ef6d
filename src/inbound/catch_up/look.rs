//! Looking at one address: which messages Twilio has that we have not.

use super::{CatchUp, CatchUpError, FIRST_LOOK};
use crate::clock::Millis;
use crate::store::inbound;
use crate::twilio::client::MessageResource;
use crate::twilio::lookup::{ListQuery, LookupError, MessagePage, NextPage};

/// How far before the last message seen a look begins, in milliseconds: Twilio may list a message late, and
/// those that are here already cost nothing.
const OVERLAP: Millis = 10 * 60_000;
/// Twilio's filter goes by the moment of its webhook, which comes after the message. Asking for this much
/// more, in milliseconds, makes it no matter whether the filter looks at the second or at the day.
const FILTER_SLACK: Millis = 86_400_000;
/// A younger message is left to its webhook, in milliseconds, unless there was a gap: out of the list it would
/// get no answer. Twilio gives a webhook up after 15 s.
const WEBHOOKS_TURN: Millis = 120_000;
/// Both clocks are told to the second; a smaller difference, in milliseconds, says nothing.
const CLOCK_SLACK: Millis = 10_000;
/// How often a page is asked for before the walk is given up.
const PAGE_TRIES: usize = 3;
/// The most that Twilio puts on a page.
const PAGE: u16 = 1_000;

/// What was found at an address.
pub(super) struct Found {
    /// Messages that were never kept.
    pub(super) missed: Vec<Missed>,
    /// Up to where everything was seen.
    pub(super) mark: Millis,
}

/// A message that was never kept.
pub(super) struct Missed {
    pub(super) resource: MessageResource,
    pub(super) created_at: Millis,
}

/// The bounds of a look, by Twilio's clock.
struct Bounds {
    /// The last message seen before, or where the first look begins.
    start: Millis,
    /// What was created later is left to its webhook.
    end: Millis,
}

impl CatchUp {
    /// Walks the list of messages to `address` back to a little before `since`. What is younger than a minute or
    /// two is left to its webhook, unless it was created up to `young`.
    pub(super) async fn look(
        &self,
        address: &str,
        since: Option<Millis>,
        young: Millis,
    ) -> Result<Found, CatchUpError> {
        let query = ListQuery {
            to: Some(address.to_owned()),
            from: None,
            sent_since: since.map(|since| since - OVERLAP - FILTER_SLACK),
            page_size: PAGE,
        };
        let mut page = self.client()?.list(&query).await?;
        // How far our clock is ahead of Twilio's: what was said is dated by ours, as webhooks are.
        let ahead = page.answered_at.map_or(0, |theirs| self.store.clock().now() - theirs);
        let ahead = if ahead.abs() < CLOCK_SLACK { 0 } else { ahead };
        let now = page.answered_at.unwrap_or_else(|| self.store.clock().now());
        let bounds = Bounds {
            start: since.unwrap_or(now - FIRST_LOOK + OVERLAP),
            end: young.max(now - WEBHOOKS_TURN),
        };
        let mut found = Found { missed: Vec::new(), mark: bounds.start };
        loop {
            let next = page.next.take();
            let candidates = candidates(page, &bounds, &mut found.mark);
            // A page on which everything is too old ends the walk, not the first old message: the order of
            // two that came together is Twilio's affair.
            let Some(candidates) = candidates else {
                break;
            };
            let unknown = self.unknown(candidates).await?;
            found
                .missed
                .extend(unknown.into_iter().map(|one| Missed { created_at: one.created_at + ahead, ..one }));
            match next {
                Some(next) => page = self.next_page(&next).await?,
                None => break,
            }
        }
        Ok(found)
    }

    /// The next page; a long walk must not begin anew because of one answer that was lost.
    async fn next_page(&self, next: &NextPage) -> Result<MessagePage, CatchUpError> {
        for _ in 1..PAGE_TRIES {
            match self.client()?.next_page(next).await {
                Err(LookupError::Unavailable(_)) => {}
                answer => return Ok(answer?),
            }
        }
        Ok(self.client()?.next_page(next).await?)
    }

    async fn unknown(&self, candidates: Vec<Missed>) -> Result<Vec<Missed>, CatchUpError> {
        let sids = candidates.iter().map(|missed| missed.resource.sid.clone()).collect();
        let missing = self.store.read(move |conn| inbound::missing(conn, sids)).await?;
        Ok(candidates.into_iter().filter(|missed| missing.contains(&missed.resource.sid)).collect())
    }
}

/// The messages of a page that people wrote within the bounds; `None` when all of it is older.
fn candidates(page: MessagePage, bounds: &Bounds, mark: &mut Millis) -> Option<Vec<Missed>> {
    let oldest = bounds.start - OVERLAP;
    let mut is_too_old = true;
    let mut candidates = Vec::new();
    for resource in page.messages {
        let Some(created_at) = resource.created_at().filter(|at| *at >= oldest) else {
            continue;
        };
        is_too_old = false;
        if !resource.is_inbound() {
            continue;
        }
        // What is left to its webhook is younger than the mark, and will be seen again.
        if created_at > bounds.end {
            continue;
        }
        *mark = (*mark).max(created_at);
        candidates.push(Missed { resource, created_at });
    }
    (!is_too_old).then_some(candidates)
}
