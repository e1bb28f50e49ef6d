//! What Twilio has of a message, written down: that it has it at all, where it stands there, its parts and its price.

use super::super::{
    AttemptKey, Change, Found, News, RetryPolicy, advance, apply_news, find, note_acceptance,
};
use crate::domain::message::Status;
use crate::store::messages::Standing;
use crate::store::{StoreError, Tx, spending};

/// What Twilio has of a message.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Where it stands.
    pub news: News<'a>,
    /// Twilio's count of parts, once it knows.
    pub parts: Option<u32>,
    /// What it cost, in millionths, once Twilio knows.
    pub price_micros: Option<i64>,
    /// ISO 4217.
    pub price_unit: Option<&'a str>,
}

/// Records that Twilio has the message: binds the SID, and takes the message to where it stands there.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn found(tx: &Tx<'_>, key: AttemptKey, seen: &Seen<'_>, policy: &RetryPolicy) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE attempts SET outcome = 'settled', sid = ?3, status = ?4, look_at = NULL
             WHERE message_id = ?1 AND number = ?2 AND outcome = 'uncertain'",
        )?
        .execute((key.message_id, key.number, seen.news.sid, seen.news.twilio_status))?;
    let Some(found) = find(tx.conn, key.message_id)?.filter(|_| changed > 0) else {
        return Ok(());
    };
    if found.standing.attempts == key.number && found.standing.status == Status::Uncertain {
        let counted = seen.parts.filter(|n| *n > 0).map(i64::from);
        note_acceptance(tx, &found, counted.unwrap_or(found.parts));
        let change = Change {
            sid: Some(seen.news.sid),
            parts: counted,
            is_found_by_lookup: true,
            ..Change::default()
        };
        advance(tx, &found.standing, Status::Accepted, &change)?;
    }
    polled(tx, key, seen, policy)
}

/// Records what Twilio says of a message when asked: its state by rank as a receipt would, parts and price.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn polled(tx: &Tx<'_>, key: AttemptKey, seen: &Seen<'_>, policy: &RetryPolicy) -> Result<(), StoreError> {
    if let Some(found) = find(tx.conn, key.message_id)?
        && found.standing.attempts == key.number
    {
        correct_parts(tx, &found, seen)?;
        note_price(tx, &found.standing, seen)?;
    }
    apply_news(tx, key, &seen.news, policy)?;
    // Behind the news: what failed is free, unless Twilio names a price.
    match seen.price_micros {
        Some(price) => spending::bill(tx, key, (price, seen.price_unit), policy.currency),
        None => Ok(()),
    }
}

/// Twilio's count of a message that is with it, whose parts are in the sums already.
fn correct_parts(tx: &Tx<'_>, found: &Found, seen: &Seen<'_>) -> Result<(), StoreError> {
    let standing = &found.standing;
    let Some(counted) = seen.parts.filter(|n| *n > 0 && !standing.status.is_open()) else {
        return Ok(());
    };
    let more = i64::from(counted) - found.parts;
    if more == 0 {
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE messages SET parts = ?2 WHERE id = ?1")?
        .execute((standing.id, counted))?;
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        tx.effects.borrow_mut().sums.entry(campaign_id).or_default().parts += more;
    }
    Ok(())
}

fn note_price(tx: &Tx<'_>, standing: &Standing, seen: &Seen<'_>) -> Result<(), StoreError> {
    let Some(price) = seen.price_micros else {
        return Ok(());
    };
    let before: Option<i64> = tx
        .conn
        .prepare_cached("SELECT price_micros FROM messages WHERE id = ?1")?
        .query_row([standing.id], |row| row.get(0))?;
    if before == Some(price) {
        return Ok(());
    }
    tx.conn
        .prepare_cached("UPDATE messages SET price_micros = ?2, price_unit = ?3 WHERE id = ?1")?
        .execute((standing.id, price, seen.price_unit))?;
    if let Some(campaign_id) = standing.campaign_id.filter(|_| !standing.is_test) {
        let mut effects = tx.effects.borrow_mut();
        let sums = effects.sums.entry(campaign_id).or_default();
        sums.priced += i64::from(before.is_none());
        sums.price_micros += price - before.unwrap_or(0);
    }
    Ok(())
}
