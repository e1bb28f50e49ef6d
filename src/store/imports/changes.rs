//! `import_changes` and `import_undos`: what an import changed about people whom we knew, and taking it back.
//! Attributes only: consent, topics and the list of suppressed numbers are never led back, and who was added stays.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};

use super::super::events::{self, NewEvent};
use super::super::{StoreError, Tx, users};
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::user::check_attributes;

/// Attributes by name, those alone that an import changed. One that is missing was not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As they stood before the import.
    pub before: Map<String, Value>,
    /// As the import wrote them.
    pub after: Map<String, Value>,
}

impl Change {
    /// The names that differ between two sets of attributes; `None` when none does.
    pub fn between(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Change> {
        let mut change = Change::default();
        for (name, value) in old {
            let now = new.get(name);
            if now != Some(value) {
                change.before.insert(name.clone(), value.clone());
                if let Some(now) = now {
                    change.after.insert(name.clone(), now.clone());
                }
            }
        }
        for (name, value) in new {
            if !old.contains_key(name) {
                change.after.insert(name.clone(), value.clone());
            }
        }
        (!change.before.is_empty() || !change.after.is_empty()).then_some(change)
    }

    /// Every name that changed, once.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let added = self.after.keys().filter(|name| !self.before.contains_key(*name));
        self.before.keys().chain(added)
    }

    /// This change and a later one of the same import as one.
    fn and_then(mut self, later: Change) -> Change {
        for name in later.names() {
            let is_noted = self.before.contains_key(name) || self.after.contains_key(name);
            match later.before.get(name) {
                Some(value) if !is_noted => {
                    self.before.insert(name.clone(), value.clone());
                }
                _ => {}
            }
            match later.after.get(name) {
                Some(value) => {
                    self.after.insert(name.clone(), value.clone());
                }
                None => {
                    self.after.shift_remove(name);
                }
            }
        }
        self
    }

    /// Puts back what still is as the import wrote it. Returns whether anything was put back, and whether
    /// anything was left because somebody changed it since.
    fn take_back(&self, attributes: &mut Map<String, Value>) -> (bool, bool) {
        let (mut restores, mut leaves) = (false, false);
        for name in self.names() {
            if attributes.get(name) != self.after.get(name) {
                leaves |= attributes.get(name) != self.before.get(name);
                continue;
            }
            match self.before.get(name) {
                Some(value) => {
                    attributes.insert(name.clone(), value.clone());
                }
                None => {
                    attributes.shift_remove(name);
                }
            }
            restores = true;
        }
        (restores, leaves)
    }
}

fn text(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).unwrap_or_else(|_| "{}".to_owned())
}

fn change_from(before: &str, after: &str) -> Change {
    Change {
        before: serde_json::from_str(before).unwrap_or_default(),
        after: serde_json::from_str(after).unwrap_or_default(),
    }
}

/// Notes what import `import_id` changed about a person. `is_again`: an earlier row of the same import was about
/// the same person, so that what stood before may be noted already. Returns whether it was not.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn note_change(
    tx: &Tx<'_>,
    (import_id, user_id): (i64, i64),
    change: &(String, String),
    is_again: bool,
) -> Result<bool, StoreError> {
    let earlier = if is_again { find_change(tx.conn, import_id, user_id)? } else { None };
    match earlier {
        None => {
            tx.conn
                .prepare_cached(
                    "INSERT INTO import_changes (user_id, import_id, before, after) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((user_id, import_id, &change.0, &change.1))?;
            Ok(true)
        }
        Some(earlier) => {
            let whole = earlier.and_then(change_from(&change.0, &change.1));
            tx.conn
                .prepare_cached(
                    "UPDATE import_changes SET before = ?3, after = ?4 WHERE user_id = ?1 AND import_id = ?2",
                )?
                .execute((user_id, import_id, text(&whole.before), text(&whole.after)))?;
            Ok(false)
        }
    }
}

fn find_change(conn: &Connection, import_id: i64, user_id: i64) -> Result<Option<Change>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT before, after FROM import_changes WHERE user_id = ?1 AND import_id = ?2")?
        .query_row((user_id, import_id), |row| {
            Ok(change_from(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?))
        })
        .optional()?)
}

/// An undo that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Of which import.
    pub import_id: i64,
    /// Who asked: `operator:1`.
    pub actor: String,
    /// `users.id` up to which people are looked at.
    pub walked: i64,
    /// People who got attributes back.
    pub restored: u64,
    /// People with an attribute that somebody changed since, which stays.
    pub kept: u64,
    /// When.
    pub asked_at: Millis,
    /// When it was through.
    pub finished_at: Option<Millis>,
}

const UNDO: &str = "import_id, actor, walked, restored, kept, asked_at, finished_at";

fn undo_from(row: &rusqlite::Row<'_>) -> rusqlite::Result<Undo> {
    let count = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Undo {
        import_id: row.get(0)?,
        actor: row.get(1)?,
        walked: row.get(2)?,
        restored: count(3)?,
        kept: count(4)?,
        asked_at: row.get(5)?,
        finished_at: row.get(6)?,
    })
}

/// Asks for the undo of an import. Returns false when it was asked for before.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn ask_undo(tx: &Tx<'_>, import_id: i64, actor: &str) -> Result<bool, StoreError> {
    let added = tx
        .conn
        .prepare_cached(
            "INSERT INTO import_undos (import_id, actor, asked_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((import_id, actor, tx.now))?;
    tx.wake_import();
    Ok(added > 0)
}

/// The undo of an import, if one was asked for.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn find_undo(conn: &Connection, import_id: i64) -> Result<Option<Undo>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {UNDO} FROM import_undos WHERE import_id = ?1"))?
        .query_row([import_id], undo_from)
        .optional()?)
}

/// The undo behind import `after` that is not through yet.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn next_undo(conn: &Connection, after: i64) -> Result<Option<Undo>, StoreError> {
    let sql = format!(
        "SELECT {UNDO} FROM import_undos WHERE finished_at IS NULL AND import_id > ?1 ORDER BY import_id LIMIT 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row([after], undo_from).optional()?)
}

/// The people behind `walked` whom the import changed, out of the next `looks` changes of any import. The second
/// value is where that look ended; `None` at the end of the table.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn changes_of(
    conn: &Connection,
    import_id: i64,
    walked: i64,
    looks: usize,
) -> Result<(Vec<i64>, Option<i64>), StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT user_id, import_id FROM import_changes WHERE user_id > ?1 ORDER BY user_id, import_id LIMIT ?2",
    )?;
    let mut rows = statement.query((walked, looks as i64))?;
    let (mut found, mut last, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        let (user_id, import): (i64, i64) = (row.get(0)?, row.get(1)?);
        if import == import_id {
            found.push(user_id);
        }
        seen += 1;
        last = Some(user_id);
    }
    if seen < looks {
        return Ok((found, None));
    }
    let last = last.unwrap_or(walked);
    if last == walked + 1 {
        // More changes of one person than one look takes: whether this import's is among them shows itself.
        return Ok((vec![last], Some(last)));
    }
    // The last person may have more changes behind the look: the next one begins with them.
    found.retain(|user_id| *user_id < last);
    Ok((found, Some(last - 1)))
}

/// Takes back what the import changed about one person, where it still holds, and forgets the change. Returns
/// `None` when there is nothing kept of it any more; else whether anything was restored, and whether something
/// was left.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn restore(tx: &Tx<'_>, import_id: i64, user_id: i64) -> Result<Option<(bool, bool)>, StoreError> {
    let Some(change) = find_change(tx.conn, import_id, user_id)? else {
        return Ok(None);
    };
    tx.conn
        .prepare_cached("DELETE FROM import_changes WHERE user_id = ?1 AND import_id = ?2")?
        .execute((user_id, import_id))?;
    let attributes: String = tx
        .conn
        .prepare_cached("SELECT json(attributes) FROM users WHERE id = ?1")?
        .query_row([user_id], |row| row.get(0))?;
    let mut attributes: Map<String, Value> = serde_json::from_str(&attributes).unwrap_or_default();
    let (restores, leaves) = change.take_back(&mut attributes);
    if !restores {
        return Ok(Some((false, leaves)));
    }
    // What was added since may leave no room for what was there before.
    if check_attributes(&attributes).is_err() {
        return Ok(Some((false, true)));
    }
    users::write_attributes(tx, user_id, &attributes)?;
    Ok(Some((true, leaves)))
}

/// Moves an undo on from `walked`. Returns false when it does not stand there: another process works on it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn walk_undo(
    tx: &Tx<'_>,
    undo: &Undo,
    walked: i64,
    (restored, kept): (u64, u64),
) -> Result<bool, StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE import_undos SET walked = ?3, restored = restored + ?4, kept = kept + ?5
             WHERE import_id = ?1 AND walked = ?2 AND finished_at IS NULL",
        )?
        .execute((undo.import_id, undo.walked, walked, super::signed(restored), super::signed(kept)))?;
    Ok(changed > 0)
}

/// Ends an undo, with the event that tells of it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn finish_undo(tx: &Tx<'_>, import_id: i64) -> Result<(), StoreError> {
    let changed = tx
        .conn
        .prepare_cached(
            "UPDATE import_undos SET finished_at = ?2 WHERE import_id = ?1 AND finished_at IS NULL",
        )?
        .execute((import_id, tx.now))?;
    if changed == 0 {
        return Ok(());
    }
    let Some(undo) = find_undo(tx.conn, import_id)? else {
        return Ok(());
    };
    let data = serde_json::json!({
        "import_id": import_id, "actor": undo.actor, "restored": undo.restored, "kept": undo.kept,
    });
    events::append(tx, EventType::ImportUndone, NewEvent { data: Some(data), ..NewEvent::default() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_change_names_what_differs_and_nothing_else() {
        let change = Change::between(
            &map(json!({"city": "Galle", "name": "Ana", "gone": 1})),
            &map(json!({"city": "Kandy", "name": "Ana", "tier": "gold"})),
        )
        .unwrap();
        assert_eq!(Value::Object(change.before.clone()), json!({"city": "Galle", "gone": 1}));
        assert_eq!(Value::Object(change.after.clone()), json!({"city": "Kandy", "tier": "gold"}));
        assert_eq!(change.names().collect::<Vec<_>>(), ["city", "gone", "tier"]);
        assert_eq!(Change::between(&map(json!({"a": 1})), &map(json!({"a": 1}))), None);
    }

    #[test]
    fn two_rows_of_one_file_are_one_change() {
        let stood = map(json!({"city": "Galle", "tier": "basic"}));
        let between = map(json!({"city": "Kandy", "tier": "basic", "plan": "a"}));
        let end = map(json!({"tier": "gold", "plan": "b"}));
        let first = Change::between(&stood, &between).unwrap();
        let whole = first.and_then(Change::between(&between, &end).unwrap());
        let mut attributes = end;
        assert_eq!(whole.take_back(&mut attributes), (true, false));
        assert_eq!(attributes, stood);
    }

    #[test]
    fn only_what_still_is_as_the_import_wrote_it_is_taken_back() {
        let change = Change::between(
            &map(json!({"city": "Galle", "tier": "basic"})),
            &map(json!({"city": "Kandy", "tier": "gold", "plan": "a"})),
        )
        .unwrap();
        for (now, expected, told) in [
            (
                json!({"city": "Kandy", "tier": "gold", "plan": "a"}),
                json!({"city": "Galle", "tier": "basic"}),
                (true, false),
            ),
            (
                json!({"city": "Jaffna", "tier": "gold", "plan": "a"}),
                json!({"city": "Jaffna", "tier": "basic"}),
                (true, true),
            ),
            (
                json!({"city": "Jaffna", "tier": "none", "plan": 1}),
                json!({"city": "Jaffna", "tier": "none", "plan": 1}),
                (false, true),
            ),
            // Somebody put it back by hand already.
            (
                json!({"city": "Galle", "tier": "basic"}),
                json!({"city": "Galle", "tier": "basic"}),
                (false, false),
            ),
            (json!({"name": "Ana"}), json!({"name": "Ana"}), (false, true)),
        ] {
            let mut attributes = map(now.clone());
            assert_eq!(change.take_back(&mut attributes), told, "{now}");
            assert_eq!(attributes, map(expected), "{now}");
        }
    }
}
