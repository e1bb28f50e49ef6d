//! The inbox as a list: conversations with their people and the last words of either side, newest first, by cursor.
//! Each list is one stretch of one index, or two that are merged, whatever the size of the file.

use rusqlite::{Connection, Row, ToSql, params_from_iter};

use crate::clock::Millis;
use crate::domain::consent::Consent;
use crate::store::StoreError;
use crate::store::conversations::State;

/// Characters of a message that a list shows.
const EXCERPT: usize = 120;

/// Which conversations are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// What is not closed.
    Open,
    /// What is not closed and this operator looks after.
    Mine(i64),
    /// People who may have opted out, whatever became of their conversation.
    Review,
    /// Closed ones.
    Closed,
}

/// Behind which row a page begins: its time and its person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// [`Listed::last_at`].
    pub at: Millis,
    /// [`Listed::user_id`].
    pub user_id: i64,
}

impl Behind {
    /// The first page.
    pub const NOTHING: Behind = Behind { at: Millis::MAX, user_id: i64::MAX };
}

/// The last words of one side.
#[derive(Clone, Debug)]
pub struct Words {
    /// Their beginning; `None` when retention took them, or there were none.
    pub excerpt: Option<String>,
    /// When.
    pub at: Millis,
    /// How a message from a person was understood; the state of one of ours.
    pub word: Option<String>,
    /// MIME type of the first attachment.
    pub attachment: Option<String>,
}

/// A row of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// With whom.
    pub user_id: i64,
    /// `None`: on review without a conversation.
    pub state: Option<State>,
    /// What lists go by.
    pub last_at: Millis,
    /// Their number.
    pub phone: Option<String>,
    /// Their address on the channel, without a number.
    pub channel_address: Option<String>,
    /// The attribute `name`.
    pub name: Option<String>,
    /// Their standing.
    pub consent: Consent,
    /// On hold for review.
    pub is_held: bool,
    /// What they wrote last.
    pub heard: Option<Words>,
    /// What we answered last.
    pub said: Option<Words>,
    /// The address of the operator who looks after it.
    pub assigned_to: Option<String>,
}

const COLUMNS: &str = "u.id, c.state, u.phone, u.channel_address, u.attributes ->> '$.name', u.consent,
   u.hold IS NOT NULL, substr(i.body, 1, 120), i.received_at, i.kind, i.media ->> '$[0][1]',
   substr(m.body, 1, 120), m.created_at, m.status, o.email";
const JOINS: &str = "LEFT JOIN inbound i ON i.id = c.last_inbound_id
   LEFT JOIN messages m ON m.id = c.last_message_id LEFT JOIN operators o ON o.id = c.assigned_to";

fn from_row(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let state: Option<String> = row.get(1)?;
    let consent: String = row.get(5)?;
    let words = |at: usize, attachment: Option<String>| -> rusqlite::Result<Option<Words>> {
        let excerpt: Option<String> = row.get(at)?;
        let excerpt = excerpt.map(|text| text.chars().take(EXCERPT).collect::<String>());
        Ok(match row.get::<_, Option<Millis>>(at + 1)? {
            Some(time) => Some(Words { excerpt, at: time, word: row.get(at + 2)?, attachment }),
            None => None,
        })
    };
    // A name may be a number or a list in the file: any of them is shown as text.
    let name: rusqlite::types::Value = row.get(4)?;
    Ok(Listed {
        user_id: row.get(0)?,
        state: state.as_deref().and_then(State::parse),
        phone: row.get(2)?,
        channel_address: row.get(3)?,
        name: match name {
            rusqlite::types::Value::Text(name) => Some(name).filter(|name| !name.trim().is_empty()),
            _ => None,
        },
        consent: consent.parse().unwrap_or(Consent::Stop),
        is_held: row.get(6)?,
        heard: words(7, row.get(10)?)?,
        said: words(11, None)?,
        assigned_to: row.get(14)?,
        last_at: row.get(15)?,
    })
}

/// A page of conversations, newest first.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn list(
    conn: &Connection,
    filter: Filter,
    behind: Behind,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    let stretch = |state: State| page(conn, filter, Some(state), behind, limit);
    let mut found = match filter {
        Filter::Review => return page(conn, filter, None, behind, limit),
        Filter::Closed => return stretch(State::Closed),
        Filter::Open | Filter::Mine(_) => {
            let mut both = stretch(State::Unread)?;
            both.extend(stretch(State::Read)?);
            both
        }
    };
    found.sort_by_key(|row| std::cmp::Reverse((row.last_at, row.user_id)));
    found.truncate(limit);
    Ok(found)
}

fn page(
    conn: &Connection,
    filter: Filter,
    state: Option<State>,
    behind: Behind,
    limit: usize,
) -> Result<Vec<Listed>, StoreError> {
    let limit = limit as i64;
    let state = state.map(State::as_str);
    let mut values: Vec<&dyn ToSql> = Vec::new();
    if let Filter::Mine(operator_id) = &filter {
        values.push(operator_id);
    }
    if let Some(state) = &state {
        values.push(state);
    }
    values.extend([&behind.at as &dyn ToSql, &behind.user_id, &limit]);
    let found = conn
        .prepare_cached(&sql(filter))?
        .query_map(params_from_iter(values), from_row)?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

fn sql(filter: Filter) -> String {
    match filter {
        // A row value of an expression is no way into its index: the first half of it is.
        Filter::Review => format!(
            "SELECT {COLUMNS}, coalesce(u.last_inbound_at, 0) FROM users u
               LEFT JOIN conversations c ON c.user_id = u.id {JOINS}
             WHERE u.hold IS NOT NULL AND coalesce(u.last_inbound_at, 0) <= ?1
               AND (coalesce(u.last_inbound_at, 0), u.id) < (?1, ?2)
             ORDER BY coalesce(u.last_inbound_at, 0) DESC, u.id DESC LIMIT ?3"
        ),
        _ => {
            let mine = if matches!(filter, Filter::Mine(_)) { "c.assigned_to = ? AND" } else { "" };
            format!(
                "SELECT {COLUMNS}, c.last_at FROM conversations c JOIN users u ON u.id = c.user_id {JOINS}
                 WHERE {mine} c.state = ? AND (c.last_at, c.user_id) < (?, ?)
                 ORDER BY c.last_at DESC, c.user_id DESC LIMIT ?"
            )
        }
    }
}

/// How many conversations are open, or are this operator's, no further than `most`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_open(conn: &Connection, mine: Option<i64>, most: i64) -> Result<i64, StoreError> {
    let mut total = 0;
    for state in [State::Unread, State::Read] {
        let left = most - total;
        total += match mine {
            None => conn
                .prepare_cached(
                    "SELECT count(*) FROM (SELECT 1 FROM conversations WHERE state = ?1 LIMIT ?2)",
                )?
                .query_row((state.as_str(), left), |row| row.get::<_, i64>(0))?,
            Some(operator_id) => conn
                .prepare_cached(
                    "SELECT count(*) FROM (SELECT 1 FROM conversations
                                           WHERE assigned_to = ?1 AND state = ?2 LIMIT ?3)",
                )?
                .query_row((operator_id, state.as_str(), left), |row| row.get::<_, i64>(0))?,
        };
    }
    Ok(total)
}

/// A message from an address that no person is known by.
#[derive(Clone, Debug)]
pub struct Unmatched {
    /// `inbound.id`.
    pub id: i64,
    /// As Twilio wrote it; `None` once retention took it.
    pub from_address: Option<String>,
    /// The words, unless they are gone.
    pub body: Option<String>,
    /// When it came.
    pub received_at: Millis,
    /// Its effect failed and is tried again; it may be somebody we know.
    pub is_pending: bool,
}

/// Messages that belong to nobody we know, newest first, below id `before`.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn unmatched(conn: &Connection, before: i64, limit: usize) -> Result<Vec<Unmatched>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, from_address, body, received_at, state = 'pending' FROM inbound
             WHERE user_id IS NULL AND id < ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map((before, limit as i64), |row| {
            Ok(Unmatched {
                id: row.get(0)?,
                from_address: row.get(1)?,
                body: row.get(2)?,
                received_at: row.get(3)?,
                is_pending: row.get(4)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn filled(n: i64) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        // Every third is unread, read, closed; every second is operator 1's; every fourth waits for a decision.
        conn.execute_batch(&format!(
            "CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})
               SELECT i FROM n;
             INSERT INTO operators (id, email, password_hash, role, created_at)
               VALUES (1, 'mara@example.com', '', 'operator', 0), (2, 'tom@example.com', '', 'operator', 0);
             INSERT INTO users (id, phone, attributes, hold, last_inbound_at, created_at, updated_at)
               SELECT i, printf('+1212%07d', i), jsonb(json_object('name', 'Person ' || i)),
                      CASE i % 4 WHEN 0 THEN 'review' END, 1000 + i, 0, 0 FROM n;
             INSERT INTO inbound (message_sid, state, source, user_id, kind, body, received_at)
               SELECT 'SM' || i, 'done', 'webhook', CASE WHEN i % 5 > 0 THEN i END, 'message', 'words ' || i, 1000 + i
               FROM n;
             INSERT INTO conversations (user_id, state, last_at, last_inbound_id, assigned_to)
               SELECT i, CASE i % 3 WHEN 0 THEN 'unread' WHEN 1 THEN 'read' ELSE 'closed' END, 1000 + i / 2, i,
                      CASE i % 2 WHEN 0 THEN 1 END FROM n;"
        ))
        .unwrap();
        conn
    }

    const FILTERS: [Filter; 5] =
        [Filter::Open, Filter::Mine(1), Filter::Mine(2), Filter::Review, Filter::Closed];

    #[test]
    fn pages_of_every_list_join_to_the_whole_newest_first_and_nobody_twice() {
        let conn = filled(240);
        for filter in FILTERS {
            let whole: Vec<i64> =
                list(&conn, filter, Behind::NOTHING, 1_000).unwrap().iter().map(|row| row.user_id).collect();
            let expected = (1..=240_i64)
                .filter(|i| match filter {
                    Filter::Open => i % 3 != 2,
                    Filter::Mine(operator) => operator == 1 && i % 2 == 0 && i % 3 != 2,
                    Filter::Review => i % 4 == 0,
                    Filter::Closed => i % 3 == 2,
                })
                .rev()
                .collect::<Vec<_>>();
            assert_eq!(whole, expected, "{filter:?}");
            let (mut paged, mut behind) = (Vec::new(), Behind::NOTHING);
            loop {
                let page = list(&conn, filter, behind, 7).unwrap();
                let Some(last) = page.last() else { break };
                behind = Behind { at: last.last_at, user_id: last.user_id };
                paged.extend(page.iter().map(|row| row.user_id));
            }
            assert_eq!(paged, whole, "{filter:?}");
        }
    }

    #[test]
    fn a_row_shows_who_it_is_what_was_said_and_who_looks_after_it() {
        let conn = filled(6);
        let rows = list(&conn, Filter::Open, Behind::NOTHING, 9).unwrap();
        let row = rows.iter().find(|row| row.user_id == 6).unwrap();
        assert_eq!(row.name.as_deref(), Some("Person 6"));
        assert_eq!(row.assigned_to.as_deref(), Some("mara@example.com"));
        let heard = row.heard.as_ref().unwrap();
        assert_eq!((heard.excerpt.as_deref(), heard.word.as_deref()), (Some("words 6"), Some("message")));
        assert!(row.said.is_none() && !row.is_held && row.state == Some(State::Unread));
    }

    /// Steps of SQLite's machine.
    fn steps<T>(conn: &Connection, run: impl Fn(&Connection) -> T) -> u64 {
        run(conn);
        let steps = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&steps);
        conn.progress_handler(
            1,
            Some(move || {
                counted.fetch_add(1, Ordering::Relaxed);
                false
            }),
        )
        .unwrap();
        run(conn);
        conn.progress_handler(0, None::<fn() -> bool>).unwrap();
        steps.load(Ordering::Relaxed)
    }

    #[test]
    fn a_page_of_every_list_costs_the_same_at_any_depth_and_size() {
        let (few, many) = (filled(1_200), filled(24_000));
        for filter in FILTERS {
            let cost = |conn: &Connection, at: Millis| {
                steps(conn, |conn| list(conn, filter, Behind { at, user_id: 0 }, 51).unwrap())
            };
            let first = cost(&few, Millis::MAX);
            for (which, cost) in [("first of many", cost(&many, Millis::MAX)), ("deep", cost(&many, 3_000))] {
                assert!(cost <= first + first / 4 + 200, "{filter:?}: {which} {cost} steps, {first} of few");
            }
        }
        type Counted = fn(&Connection) -> i64;
        let counts: [Counted; 5] = [
            |conn| crate::store::conversations::unread(conn).unwrap(),
            |conn| crate::store::conversations::on_review(conn).unwrap(),
            |conn| count_open(conn, None, 100).unwrap(),
            |conn| count_open(conn, Some(1), 100).unwrap(),
            |conn| unmatched(conn, i64::MAX, 51).unwrap().len() as i64,
        ];
        for (number, count) in counts.into_iter().enumerate() {
            let (few, many) = (steps(&few, count), steps(&many, count));
            assert!(many <= few + few / 4 + 100, "count {number}: {many} steps, {few} of few");
        }
    }

    #[test]
    fn a_count_ends_where_the_page_stops_counting() {
        let conn = filled(900);
        assert_eq!(crate::store::conversations::unread(&conn).unwrap(), 100);
        assert_eq!(crate::store::conversations::on_review(&conn).unwrap(), 100);
        assert_eq!(count_open(&conn, None, 100).unwrap(), 100);
        assert_eq!(count_open(&conn, Some(1), 100).unwrap(), 100);
        assert_eq!(count_open(&conn, Some(2), 100).unwrap(), 0);
        assert_eq!(unmatched(&conn, i64::MAX, 3).unwrap().len(), 3);
    }
}
