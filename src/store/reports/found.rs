//! What the search at the top of every page finds: people by number, campaigns by name. Bounded: numbers by their index,
//! names among the newest campaigns.

use rusqlite::Connection;

use crate::store::StoreError;

/// Campaigns whose names are looked at, the newest.
const CAMPAIGNS: i64 = 2_000;

/// A person as a search lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Key.
    pub id: i64,
    /// E.164, or the address of somebody without a number.
    pub phone: Option<String>,
    /// If an attribute tells it.
    pub name: Option<String>,
    /// May we write.
    pub consent: String,
}

const PERSON: &str = "id, coalesce(phone, channel_address),
    CASE json_type(attributes, '$.name') WHEN 'text' THEN substr(json_extract(attributes, '$.name'), 1, 80) END, consent";

/// People whose number begins with `start`, which begins with a plus.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn people_by_number(conn: &Connection, start: &str, limit: usize) -> Result<Vec<Person>, StoreError> {
    // Behind all digits in the order of bytes.
    let end = format!("{start}:");
    let found = conn
        .prepare_cached(&format!(
            "SELECT {PERSON} FROM users WHERE phone >= ?1 AND phone < ?2 ORDER BY phone LIMIT ?3"
        ))?
        .query_map((start, &end, limit as i64), |row| {
            Ok(Person { id: row.get(0)?, phone: row.get(1)?, name: row.get(2)?, consent: row.get(3)? })
        })?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Campaigns whose name holds `part`, in any case of Latin letters, the newest first: id, name, status.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn campaigns_by_name(
    conn: &Connection,
    part: &str,
    limit: usize,
) -> Result<Vec<(i64, String, String)>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, name, status FROM (SELECT id, name, status FROM campaigns ORDER BY id DESC LIMIT ?1)
             WHERE instr(lower(name), lower(?2)) > 0 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map((CAMPAIGNS, part, limit as i64), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::plan_of;

    #[test]
    fn numbers_are_found_by_their_beginning_and_campaigns_by_any_part_of_their_name() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
        conn.execute_batch(
            "INSERT INTO users (id, phone, attributes, created_at, updated_at) VALUES
               (1, '+14155550101', jsonb('{\"name\":\"Ana\"}'), 0, 0), (2, '+14155550199', jsonb('{}'), 0, 0),
               (3, '+4915112345678', jsonb('{}'), 0, 0);
             INSERT INTO templates (id, name, created_at, updated_at) VALUES (1, 't', 0, 0);
             INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (1, 's', '{}', 0, 0);
             INSERT INTO campaigns (id, name, kind, channel, template_id, segment_id, created_at, updated_at) VALUES
               (1, 'Spring 100%', 'marketing', 'sms', 1, 1, 0, 0), (2, 'Autumn', 'marketing', 'sms', 1, 1, 0, 0);",
        )
        .unwrap();
        let ids = |start: &str| -> Vec<i64> {
            people_by_number(&conn, start, 10).unwrap().iter().map(|person| person.id).collect()
        };
        assert_eq!(ids("+1415"), [1, 2]);
        assert_eq!(ids("+14155550101"), [1]);
        assert_eq!(ids("+49"), [3]);
        assert!(ids("+7").is_empty());
        let names = |part: &str| -> Vec<i64> {
            campaigns_by_name(&conn, part, 10).unwrap().iter().map(|(id, ..)| *id).collect()
        };
        assert_eq!(names("SPRI"), [1]);
        assert_eq!(names("%"), [1]);
        assert_eq!(names("n"), [2, 1]);
        let plan =
            plan_of(&conn, "SELECT id FROM users WHERE phone >= ?1 AND phone < ?2 ORDER BY phone LIMIT ?3");
        assert!(plan.contains("SEARCH users USING") && plan.contains("phone>?"), "{plan}");
    }
}
