//! What holds for one person and one message at this moment, beside the person's own row. The one loader:
//! the sender, the audience before launch and the explanation of one person all ask here, so that none of
//! them knows of a limit that another forgot.

use std::sync::Arc;

use rusqlite::Connection;

use super::frequency::Kept;
use super::{StoreError, senders};
use crate::clock::Millis;
use crate::domain::frequency::Recent;
use crate::domain::message::Kind;
use crate::domain::plan::{Circumstances, Introduction, Person, Plan};
use crate::domain::rules::Rules;

/// The span that a sender's limit on people is about, in milliseconds.
const DAY: Millis = 86_400_000;

/// How many people a sender wrote to within a day, and when the next place becomes free.
#[derive(Clone, Copy, Debug)]
pub struct DailyLimit {
    /// The sender.
    pub sender_id: i64,
    /// How many it may write to.
    pub most: i64,
    /// How many it wrote to.
    pub written: i64,
    /// When the first of them is a day old.
    pub renews_at: Millis,
}

impl DailyLimit {
    /// The limit of a sender as it stands; `None` without one.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn of_sender(
        conn: &Connection,
        sender_id: i64,
        most: Option<i64>,
        now: Millis,
    ) -> Result<Option<DailyLimit>, StoreError> {
        let Some(most) = most else {
            return Ok(None);
        };
        let written = senders::recipients(conn, sender_id, now - DAY)?;
        let first = senders::oldest_recipient(conn, sender_id, now - DAY)?;
        Ok(Some(DailyLimit { sender_id, most, written, renews_at: first.unwrap_or(now) + DAY }))
    }

    /// True while somebody new may be written to.
    pub fn has_room(&self) -> bool {
        self.written < self.most
    }

    /// One place becomes free at a time: whoever comes next waits for the next one.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn wait_for_the_next(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let next = senders::oldest_recipient(conn, self.sender_id, self.renews_at - DAY)?;
        self.renews_at = next.map_or(self.renews_at, |at| at + DAY);
        Ok(())
    }
}

/// What is asked for: somebody, and the message that they would get.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The person's id.
    pub user_id: i64,
    /// The message, once there is one: tried again, it is no further message to the person.
    pub message_id: Option<i64>,
    /// The person.
    pub person: &'a Person,
    /// What would be said.
    pub plan: &'a Plan,
    /// The message's own variables, a JSON object.
    pub variables: Option<&'a str>,
    /// Its deadline.
    pub expires_at: Option<Millis>,
}

/// What bounds the sending, the same for everybody who is asked about in a row.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The sender's limit on people a day.
    pub daily: Option<DailyLimit>,
    /// How much marketing one person gets.
    pub frequency: Option<Kept>,
    /// What a first marketing message says beside its text.
    pub introduction: Option<Arc<Introduction>>,
}

impl Bounds {
    /// What bounds the sending by the rules of the house, as a reader finds it; a sender is given with its limit
    /// on people a day.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite.
    pub fn read(
        conn: &Connection,
        rules: &Rules,
        sender: Option<(i64, Option<i64>)>,
        now: Millis,
    ) -> Result<Bounds, StoreError> {
        let frequency = match rules.frequency_cap {
            Some(cap) => Some(Kept::read(conn, cap, now)?),
            None => None,
        };
        let daily = match sender {
            Some((id, most)) => DailyLimit::of_sender(conn, id, most, now)?,
            None => None,
        };
        Ok(Bounds { daily, frequency, introduction: rules.introduction.clone() })
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// For [`Plan::judge`].
    pub circumstances: Circumstances,
    /// The message takes none of the sender's places of the day.
    pub is_free: bool,
    /// The person's last marketing messages; `None` while nothing counts them.
    pub recent: Option<Recent>,
}

/// Loads what the gate has to know about this person and message at `now`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn load(conn: &Connection, asked: &Asked<'_>, bounds: &Bounds, now: Millis) -> Result<Found, StoreError> {
    let is_free = match &bounds.daily {
        Some(daily) => is_free_of_limit(conn, daily.sender_id, asked, now)?,
        None => true,
    };
    let daily = bounds.daily.filter(|daily| !is_free && !daily.has_room());
    let variables = asked.variables.and_then(|text| serde_json::from_str(text).ok());
    let is_marketing = asked.plan.kind == Kind::Marketing;
    let kept = bounds.frequency.as_ref().filter(|_| is_marketing);
    let recent = match kept {
        Some(kept) => Some(kept.recent(conn, asked.user_id, &asked.person.recent_marketing, now)?),
        None => None,
    };
    let until =
        kept.zip(recent.as_ref()).and_then(|(kept, recent)| kept.cap.until(recent, asked.message_id, now));
    let circumstances = Circumstances {
        variables: variables.unwrap_or_default(),
        expires_at: asked.expires_at,
        daily_limit_until: daily.map(|daily| daily.renews_at),
        frequency_cap_until: until,
        introduction: bounds.introduction.clone().filter(|_| is_marketing && is_first(asked)),
    };
    Ok(Found { circumstances, is_free, recent })
}

/// No marketing message was handed over to the person yet, or this very one was.
fn is_first(asked: &Asked<'_>) -> bool {
    asked.person.first_marketing_id.is_none_or(|first| Some(first) == asked.message_id)
}

/// People who wrote within a day, or whom the sender wrote to today, count no further: the limit is on
/// conversations that the business begins
/// (<https://help.twilio.com/articles/360024008153>).
fn is_free_of_limit(
    conn: &Connection,
    sender_id: i64,
    asked: &Asked<'_>,
    now: Millis,
) -> Result<bool, StoreError> {
    let is_window_open = asked.person.last_whatsapp_inbound_at.is_some_and(|at| now - at < DAY);
    Ok(is_window_open || senders::has_written_to(conn, sender_id, asked.user_id, now - DAY)?)
}
