//! What `ese verify` recomputes: counts against the rows they count, and the file against itself.

use rusqlite::Connection;

use super::{StoreError, campaigns, spending};

/// Every count that differs from a recount, in words.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn count_problems(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    let ids: Vec<i64> = conn
        .prepare("SELECT id FROM campaigns ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in ids {
        let (kept, counted) = (campaigns::counts(conn, id)?, campaigns::recount(conn, id)?);
        for count in kept.iter().filter(|count| !counted.contains(count)) {
            problems.push(format!(
                "campaign {id}: {} {} {} is kept as {} and counted otherwise",
                count.status, count.reason, count.error_code, count.n
            ));
        }
        for count in counted.iter().filter(|count| !kept.contains(count)) {
            problems.push(format!(
                "campaign {id}: {} {} {} is counted as {} and kept otherwise",
                count.status, count.reason, count.error_code, count.n
            ));
        }
    }
    price_problems(conn, &mut problems)?;
    spending::problems(conn, &mut problems)?;
    let mut users = conn.prepare(
        "SELECT c.consent, c.n, count(u.id) FROM user_counts c
           LEFT JOIN users u ON u.consent = c.consent AND u.erased_at IS NULL
         GROUP BY c.consent HAVING c.n <> count(u.id)",
    )?;
    let mut rows = users.query([])?;
    while let Some(row) = rows.next()? {
        let (consent, kept, counted): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        problems.push(format!("people with consent {consent}: kept as {kept}, counted as {counted}"));
    }
    let mut senders = conn.prepare(
        "SELECT s.address, s.recipients, count(r.user_id) FROM senders s
           LEFT JOIN sender_recipients r ON r.sender_id = s.id AND r.at > s.recipients_after
         GROUP BY s.id HAVING s.recipients <> count(r.user_id)",
    )?;
    let mut rows = senders.query([])?;
    while let Some(row) = rows.next()? {
        let (sender, kept, counted): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        problems.push(format!("people whom {sender} wrote to: kept as {kept}, counted as {counted}"));
    }
    Ok(problems)
}

fn price_problems(conn: &Connection, problems: &mut Vec<String>) -> Result<(), StoreError> {
    let mut sums = conn.prepare(
        "SELECT s.campaign_id, s.priced, s.price_micros, count(m.price_micros), coalesce(sum(m.price_micros), 0)
         FROM campaign_sums s
           LEFT JOIN messages m ON m.campaign_id = s.campaign_id AND m.occasion NOT GLOB 'test:*'
         GROUP BY s.campaign_id
         HAVING s.priced <> count(m.price_micros) OR s.price_micros <> coalesce(sum(m.price_micros), 0)",
    )?;
    let mut rows = sums.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let (priced, price): (i64, i64) = (row.get(1)?, row.get(2)?);
        let (count, sum): (i64, i64) = (row.get(3)?, row.get(4)?);
        problems.push(format!(
            "campaign {id}: {priced} prices of {price} are kept, {count} of {sum} are counted (millionths)"
        ));
    }
    Ok(())
}

/// What SQLite itself finds wrong with the file.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn file_problems(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut problems: Vec<String> =
        conn.prepare("PRAGMA integrity_check")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    problems.retain(|line| line != "ok");
    let foreign: Vec<String> = conn
        .prepare("PRAGMA foreign_key_check")?
        .query_map([], |row| {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            Ok(format!("a row of {table} refers to a row of {parent} that is not there"))
        })?
        .collect::<Result<_, _>>()?;
    problems.extend(foreign);
    Ok(problems)
}
