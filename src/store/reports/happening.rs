//! What happened last, newest first, with the names that a sentence about it needs.

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::walk::{Slice, Timed, WINDOW, Window};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::store::StoreError;

/// Something that happened, and to whom.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Of the event; ascends with time.
    pub id: i64,
    /// What, as [`EventType::as_str`] writes it.
    pub kind: String,
    /// When.
    pub at: Millis,
    /// To whom.
    pub user_id: Option<i64>,
    /// Their number, or the address of somebody without one.
    pub phone: Option<String>,
    /// Their name, if an attribute tells it.
    pub name: Option<String>,
    /// Within which campaign.
    pub campaign_id: Option<i64>,
    /// Its name.
    pub campaign: Option<String>,
    /// About which message.
    pub message_id: Option<i64>,
    /// Particulars.
    pub data: Value,
}

const COLUMNS: &str = "e.id, e.type, e.at, e.user_id, coalesce(u.phone, u.channel_address),
    CASE json_type(u.attributes, '$.name') WHEN 'text' THEN substr(json_extract(u.attributes, '$.name'), 1, 80) END,
    e.campaign_id, c.name, e.message_id, e.data";
const TABLES: &str =
    "events e LEFT JOIN users u ON u.id = e.user_id LEFT JOIN campaigns c ON c.id = e.campaign_id";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Happening> {
    let data: String = row.get(9)?;
    Ok(Happening {
        id: row.get(0)?,
        kind: row.get(1)?,
        at: row.get(2)?,
        user_id: row.get(3)?,
        phone: row.get(4)?,
        name: row.get(5)?,
        campaign_id: row.get(6)?,
        campaign: row.get(7)?,
        message_id: row.get(8)?,
        data: serde_json::from_str(&data).unwrap_or(Value::Null),
    })
}

/// What to look for; everything that is empty lets all through.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only these.
    pub types: Vec<EventType>,
    /// Only within this campaign.
    pub campaign_id: Option<i64>,
    /// Only to this person.
    pub user_id: Option<i64>,
}

const EVENTS: Timed = Timed {
    from: "SELECT id, at FROM events WHERE id >= ?1 ORDER BY id LIMIT 1",
    lowest: "SELECT min(id) FROM events",
    highest_below: "SELECT max(id) FROM events WHERE id < ?1",
};

/// The last `limit` events below the id `before`, newest first. Looks at no more than 20,000 rows.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list_before(
    conn: &Connection,
    before: i64,
    wanted: &Wanted,
    limit: usize,
) -> Result<Slice<Happening, i64>, StoreError> {
    let window = Window::below(conn, &EVENTS, before, None)?;
    let types: Vec<&str> = wanted.types.iter().map(|kind| kind.as_str()).collect();
    let types = serde_json::to_string(&types).unwrap_or_default();
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES}
         WHERE e.id >= ?1 AND e.id < ?2
           AND (?3 = '[]' OR e.type IN (SELECT value FROM json_each(?3)))
           AND (?4 IS NULL OR e.campaign_id = ?4) AND (?5 IS NULL OR e.user_id = ?5)
         ORDER BY e.id DESC LIMIT ?6"
    );
    let rows: Vec<Happening> = conn
        .prepare_cached(&sql)?
        .query_map(
            (window.low, window.high, &types, wanted.campaign_id, wanted.user_id, limit as i64),
            from_row,
        )?
        .collect::<Result<_, _>>()?;
    let reached = (rows.len() < limit && window.goes_on).then_some(window.low);
    Ok(Slice { rows, reached })
}

/// A webhook of Twilio's that was kept.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `inbound` or `status`.
    pub webhook: &'static str,
    /// When it came.
    pub at: Millis,
    /// Twilio's id of the message.
    pub sid: String,
    /// How a message was understood, or Twilio's status.
    pub what: String,
    /// Twilio's code, 0 without one.
    pub error_code: i64,
    /// `done`, `pending` or `unmatched`.
    pub state: String,
    /// Why it is not applied yet.
    pub error: Option<String>,
    /// Our message that it is about.
    pub message_id: Option<i64>,
    /// The person who wrote.
    pub user_id: Option<i64>,
}

/// The last `limit` webhooks of each kind, together, newest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn webhooks(conn: &Connection, limit: usize) -> Result<Vec<Heard>, StoreError> {
    let mut heard: Vec<Heard> = conn
        .prepare_cached(
            "SELECT received_at, message_sid, coalesce(kind, ''), state, error, user_id FROM inbound
             ORDER BY id DESC LIMIT ?1",
        )?
        .query_map([limit as i64], |row| {
            Ok(Heard {
                webhook: "inbound",
                at: row.get(0)?,
                sid: row.get(1)?,
                what: row.get(2)?,
                error_code: 0,
                state: row.get(3)?,
                error: row.get(4)?,
                message_id: None,
                user_id: row.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let mut receipts = conn.prepare_cached(
        "SELECT received_at, sid, status, error_code, state, error, message_id FROM receipts
         ORDER BY id DESC LIMIT ?1",
    )?;
    let receipts = receipts.query_map([limit as i64], |row| {
        Ok(Heard {
            webhook: "status",
            at: row.get(0)?,
            sid: row.get(1)?,
            what: row.get(2)?,
            error_code: row.get(3)?,
            state: row.get(4)?,
            error: row.get(5)?,
            message_id: row.get(6)?,
            user_id: None,
        })
    })?;
    for receipt in receipts {
        heard.push(receipt?);
    }
    heard.sort_by_key(|one| std::cmp::Reverse(one.at));
    heard.truncate(limit);
    Ok(heard)
}

/// Rows that one look goes through at most, for what a page says about it.
pub const LOOKED_AT: i64 = WINDOW;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    fn file() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO users (id, phone, attributes, created_at, updated_at) VALUES
               (1, '+14155550101', jsonb('{\"name\":\"Ana\"}'), 0, 0),
               (2, '+14155550102', jsonb('{\"name\":7}'), 0, 0);
             INSERT INTO events (type, at, user_id, data) VALUES ('user.created', 1, 1, '{}'),
               ('consent.changed', 2, 2, '{\"state\":\"stop\"}'), ('user.created', 3, 2, '{}'),
               ('admin.changed', 4, NULL, '{}');",
        )
        .unwrap();
        conn
    }

    #[test]
    fn the_newest_comes_first_with_the_name_if_it_is_one() {
        let rows = list_before(&file(), i64::MAX, &Wanted::default(), 3).unwrap().rows;
        let seen: Vec<_> = rows.iter().map(|one| (one.id, one.name.as_deref())).collect();
        assert_eq!(seen, [(4, None), (3, None), (2, None)]);
        let rows = list_before(&file(), 2, &Wanted::default(), 3).unwrap().rows;
        assert_eq!((rows.len(), rows[0].name.as_deref()), (1, Some("Ana")));
    }

    #[test]
    fn filters_leave_only_what_was_asked_for() {
        let wanted = Wanted { types: vec![EventType::UserCreated], user_id: Some(2), ..Wanted::default() };
        let rows = list_before(&file(), i64::MAX, &wanted, 10).unwrap().rows;
        assert_eq!(rows.iter().map(|one| one.id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_look_that_finds_nothing_says_how_far_it_came() {
        let conn = file();
        conn.execute_batch(
            "INSERT INTO events (type, at) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
               WHERE i < 25000) SELECT 'message.sent', 10 + i FROM n",
        )
        .unwrap();
        let wanted = Wanted { types: vec![EventType::AdminChanged], ..Wanted::default() };
        let first = list_before(&conn, i64::MAX, &wanted, 10).unwrap();
        assert!(first.rows.is_empty());
        let next = list_before(&conn, first.reached.unwrap(), &wanted, 10).unwrap();
        assert_eq!((next.rows.len(), next.reached), (1, None));
    }

    #[test]
    fn the_last_rows_are_found_by_key() {
        let conn = file();
        for sql in [
            "SELECT 1 FROM events e LEFT JOIN users u ON u.id = e.user_id LEFT JOIN campaigns c ON c.id = e.campaign_id
             WHERE e.id >= ?1 AND e.id < ?2 ORDER BY e.id DESC LIMIT ?3",
            "SELECT received_at FROM inbound ORDER BY id DESC LIMIT ?1",
            "SELECT received_at FROM receipts ORDER BY id DESC LIMIT ?1",
        ] {
            let plan = plan_of(&conn, sql);
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }
}
