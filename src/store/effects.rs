//! What a transaction brings about beside its rows: counts to add up, ledger links, wake-ups.
//! Collected per closure, so that an undone closure leaves no trace, and written once per batch.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::campaigns::pace::{self, Pace};
use crate::clock::Millis;
use crate::domain::consent::Consent;

/// Rows of a campaign that are alike: the key of `campaign_counts`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CountKey {
    pub(super) campaign_id: i64,
    pub(super) status: &'static str,
    pub(super) reason: String,
    pub(super) error_code: i64,
}

/// What is added to a campaign's row of `campaign_sums`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) parts: i64,
    pub(super) priced: i64,
    pub(super) price_micros: i64,
    pub(super) replies: i64,
    pub(super) opt_outs: i64,
    pub(super) accepted: i64,
    pub(super) accepted_at: Option<i64>,
}

/// Whose claimed messages must not start any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Everything for this person: a STOP.
    User(i64),
    /// Everything of this campaign: pause or cancel.
    Campaign(i64),
    /// One message.
    Message(i64),
    /// Everything of this sender: it was paused.
    Sender(i64),
    /// Everything: the account was paused.
    All,
}

/// Collected beside the rows of one closure, then of one batch.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) counts: BTreeMap<CountKey, i64>,
    pub(super) sums: BTreeMap<i64, Sums>,
    pub(super) daily: BTreeMap<(i64, &'static str), i64>,
    pub(super) errors: BTreeMap<(i64, i64), i64>,
    pub(super) users: BTreeMap<Consent, i64>,
    /// People whose attributes came or changed or went, and how many of them were erased.
    pub(super) attributes: i64,
    pub(super) erasures: i64,
    pub(super) ledger: Vec<(i64, [u8; 32])>,
    pub(super) withdrawals: Vec<Withdrawal>,
    pub(super) wakes_delivery: bool,
    pub(super) wakes_import: bool,
    pub(super) wakes_triggers: bool,
    pub(super) wakes_people: bool,
    pub(super) changes_plan: bool,
    pub(super) last_event_id: i64,
}

impl Effects {
    pub(super) fn merge(&mut self, other: Effects) {
        for (key, n) in other.counts {
            *self.counts.entry(key).or_default() += n;
        }
        for (id, more) in other.sums {
            let sums = self.sums.entry(id).or_default();
            sums.parts += more.parts;
            sums.priced += more.priced;
            sums.price_micros += more.price_micros;
            sums.replies += more.replies;
            sums.opt_outs += more.opt_outs;
            sums.accepted += more.accepted;
            sums.accepted_at = sums.accepted_at.max(more.accepted_at);
        }
        for (key, n) in other.daily {
            *self.daily.entry(key).or_default() += n;
        }
        for (key, n) in other.errors {
            *self.errors.entry(key).or_default() += n;
        }
        for (consent, n) in other.users {
            *self.users.entry(consent).or_default() += n;
        }
        self.attributes += other.attributes;
        self.erasures += other.erasures;
        self.ledger.extend(other.ledger);
        self.withdrawals.extend(other.withdrawals);
        self.wakes_delivery |= other.wakes_delivery;
        self.wakes_import |= other.wakes_import;
        self.wakes_triggers |= other.wakes_triggers;
        self.wakes_people |= other.wakes_people;
        self.changes_plan |= other.changes_plan;
        self.last_event_id = self.last_event_id.max(other.last_event_id);
    }

    /// How many messages of each campaign were handed over and arrived.
    fn paces(&self) -> BTreeMap<i64, Pace> {
        let mut paces: BTreeMap<i64, Pace> = BTreeMap::new();
        for (id, sums) in &self.sums {
            paces.entry(*id).or_default().handed_over += sums.accepted;
        }
        // What was read had arrived: of the two states together, only the news that it arrived is counted.
        for (key, n) in self.counts.iter().filter(|(key, _)| matches!(key.status, "delivered" | "read")) {
            paces.entry(key.campaign_id).or_default().delivered += n;
        }
        paces
    }

    /// Adds the collected numbers to the count tables, one statement per distinct key.
    pub(super) fn write_counts(&self, conn: &Connection, now: Millis) -> rusqlite::Result<()> {
        for (id, pace) in self.paces() {
            pace::add(conn, id, now, pace)?;
        }
        for (key, n) in self.counts.iter().filter(|(_, n)| **n != 0) {
            conn.prepare_cached(
                "INSERT INTO campaign_counts (campaign_id, status, reason, error_code, n)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute((key.campaign_id, key.status, &key.reason, key.error_code, n))?;
        }
        for (id, sums) in &self.sums {
            conn.prepare_cached(
                "INSERT INTO campaign_sums (campaign_id, parts, priced, price_micros, replies,
                                            opt_outs, accepted, first_accepted_at, last_accepted_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
                 ON CONFLICT DO UPDATE SET
                   parts = parts + excluded.parts, priced = priced + excluded.priced,
                   price_micros = price_micros + excluded.price_micros,
                   replies = replies + excluded.replies, opt_outs = opt_outs + excluded.opt_outs,
                   accepted = accepted + excluded.accepted,
                   first_accepted_at = coalesce(first_accepted_at, excluded.first_accepted_at),
                   last_accepted_at = coalesce(excluded.last_accepted_at, last_accepted_at)",
            )?
            .execute((
                id,
                sums.parts,
                sums.priced,
                sums.price_micros,
                sums.replies,
                sums.opt_outs,
                sums.accepted,
                sums.accepted_at,
            ))?;
        }
        for ((day, kind), n) in &self.daily {
            conn.prepare_cached(
                "INSERT INTO daily_counts (day, type, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute((day, kind, n))?;
        }
        for ((day, code), n) in &self.errors {
            conn.prepare_cached(
                "INSERT INTO daily_errors (day, error_code, n) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET n = n + excluded.n",
            )?
            .execute((day, code, n))?;
        }
        for (consent, n) in self.users.iter().filter(|(_, n)| **n != 0) {
            conn.prepare_cached("UPDATE user_counts SET n = n + ?2 WHERE consent = ?1")?
                .execute((consent.as_str(), n))?;
        }
        if self.attributes > 0 {
            conn.prepare_cached(
                "UPDATE attribute_walks SET changes = changes + ?1, erasures = erasures + ?2 WHERE id = 1",
            )?
            .execute((self.attributes, self.erasures))?;
        }
        Ok(())
    }
}
