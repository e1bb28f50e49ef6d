//! Finding people as one types: by the words of their names and the last digits of their number through
//! `user_words`, by the beginning of their number through the key of `users`.
//!
//! Putting a word into the index costs about as much as writing the person's row, so whoever adds people leaves it
//! to [`catch_up`], which goes by id: up to the mark of that run every person is in the index with exactly their
//! `search_words`, behind it nobody is. What changes or removes words of somebody who is in does it in its own
//! write, and an erasure takes them out of the bytes of the file.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection};

use super::{StoreError, Tx, cursors};

/// In `cursors`: the highest `users.id` that is in the index.
const THROUGH: &str = "search";
/// Digits at the end of a number that are one word of the index.
const LAST_DIGITS: usize = 4;
/// Words of one search, at most.
const MAX_WORDS: usize = 8;
/// People whom a number as it was typed may lead to, at most: more digits make it fewer.
pub const MOST_NUMBERS: usize = 2_000;

/// Part of an erasure: takes the words of person `:user` out of the index. The row still has to have them.
pub(super) const FORGET: &str = "INSERT INTO user_words (user_words, rowid, search_words)
     SELECT 'delete', id, search_words FROM users
     WHERE id = :user AND search_words IS NOT NULL
       AND id <= (SELECT position FROM cursors WHERE name = 'search')";

/// What a person is found by: their names, and the last digits of their number.
pub(super) fn words(names: &str, phone: Option<&str>) -> Option<String> {
    let digits = phone.and_then(|phone| phone.get(phone.len().saturating_sub(LAST_DIGITS)..));
    match (names, digits) {
        ("", None) => None,
        ("", Some(digits)) => Some(digits.to_owned()),
        (names, None) => Some(names.to_owned()),
        (names, Some(digits)) => Some(format!("{names} {digits}")),
    }
}

/// The highest id of those who are in the index.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) fn through(conn: &Connection) -> Result<i64, StoreError> {
    Ok(cursors::get(conn, THROUGH)?.unwrap_or(0))
}

/// Changes the words of a person, if they are in the index already.
pub(super) fn change(
    tx: &Tx<'_>,
    user_id: i64,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<(), StoreError> {
    if before != after && user_id <= through(tx.conn)? {
        replace(tx, user_id, before, after)?;
    }
    Ok(())
}

/// The same for somebody who is known to be in the index.
pub(super) fn replace(
    tx: &Tx<'_>,
    user_id: i64,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<(), StoreError> {
    if before == after {
        return Ok(());
    }
    if let Some(words) = before {
        tx.conn
            .prepare_cached(
                "INSERT INTO user_words (user_words, rowid, search_words) VALUES ('delete', ?1, ?2)",
            )?
            .execute((user_id, words))?;
    }
    if let Some(words) = after {
        insert(tx.conn)?.execute((user_id, words))?;
    }
    Ok(())
}

fn insert(conn: &Connection) -> Result<CachedStatement<'_>, StoreError> {
    Ok(conn.prepare_cached("INSERT INTO user_words (rowid, search_words) VALUES (?1, ?2)")?)
}

/// How many people are not in the index yet, by their ids; at most so many in truth.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn backlog(conn: &Connection) -> Result<i64, StoreError> {
    Ok((super::audience::last_id(conn)? - through(conn)?).max(0))
}

/// Whether an import is at work, which [`catch_up`] would slow down by half.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn should_wait(conn: &Connection) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT 1 FROM imports WHERE state = 'running'
               AND coalesce(json_extract(options, '$.dry_run'), 0) = 0 LIMIT 1",
        )?
        .exists([])?)
}

/// Puts the next `limit` people into the index. Returns whether more may follow.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn catch_up(tx: &Tx<'_>, limit: usize) -> Result<bool, StoreError> {
    let after = through(tx.conn)?;
    let mut people =
        tx.conn.prepare_cached("SELECT id, search_words FROM users WHERE id > ?1 ORDER BY id LIMIT ?2")?;
    let mut people = people.query((after, limit as i64))?;
    let mut insert = insert(tx.conn)?;
    let (mut last, mut taken) = (after, 0);
    while let Some(person) = people.next()? {
        last = person.get(0)?;
        taken += 1;
        if let Some(words) = person.get_ref(1)?.as_str_or_null().unwrap_or_default() {
            insert.execute((last, words))?;
        }
    }
    if last > after {
        cursors::set(tx, THROUGH, last)?;
    }
    Ok(taken == limit)
}

/// What somebody typed to find a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Words, as an expression of the index: everybody who has them all, each by its beginning.
    Words(String),
    /// Part of a number: its digits, and whether it began with a plus or `00`.
    Number {
        /// The digits, the international prefix taken off.
        digits: String,
        /// It began with a country code.
        is_international: bool,
    },
}

impl Typed {
    /// Reads what was typed. `None`: too little to look for.
    pub fn read(text: &str) -> Option<Typed> {
        let text = text.trim();
        let is_number = text.chars().all(|c| c.is_ascii_digit() || "+-(). /".contains(c));
        if is_number {
            let all: String = text.chars().filter(char::is_ascii_digit).collect();
            let abroad = all.strip_prefix("00");
            let is_international = text.starts_with('+') || abroad.is_some();
            let digits = abroad.unwrap_or(&all).to_owned();
            return (digits.len() >= 2).then_some(Typed::Number { digits, is_international });
        }
        let words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric() && !is_mark(c))
            // A single letter stands for too many: it counts once another follows.
            .filter(|word| word.len() > 1)
            .take(MAX_WORDS)
            .map(|word| format!("\"{word}\"*"))
            .collect();
        (!words.is_empty()).then(|| Typed::Words(words.join(" ")))
    }
}

/// Marks that join letters: vowel signs of South Asian scripts, accents that stand alone.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{dff}' | '\u{e31}'..='\u{e4e}' | '\u{1000}'..='\u{109f}')
}

/// The people whose number fits what was typed, highest id first, no more than [`MOST_NUMBERS`]: those whose number
/// begins so, with their country's code or without, and those whose number ends so. The second value says whether
/// that was all.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn by_number(
    conn: &Connection,
    digits: &str,
    is_international: bool,
) -> Result<(Vec<i64>, bool), StoreError> {
    let mut found = BTreeSet::new();
    let mut is_all = begin_with(conn, &format!("+{digits}"), &mut found)?;
    // At home a zero is dialled first, which the full number does not have.
    let national = digits.strip_prefix('0').unwrap_or(digits);
    if !is_international && national.len() >= 2 {
        for code in crate::domain::phone::calling_codes() {
            if found.len() > MOST_NUMBERS {
                break;
            }
            is_all &= begin_with(conn, &format!("+{code}{national}"), &mut found)?;
        }
        // Italy keeps its zero.
        if national != digits {
            is_all &= begin_with(conn, &format!("+39{digits}"), &mut found)?;
        }
        is_all &= end_with(conn, digits, &mut found)?;
    }
    is_all &= found.len() <= MOST_NUMBERS;
    Ok((found.into_iter().rev().take(MOST_NUMBERS).collect(), is_all))
}

fn begin_with(conn: &Connection, start: &str, found: &mut BTreeSet<i64>) -> Result<bool, StoreError> {
    // Digits sort below the colon, so the range ends where the next number begins.
    let mut statement =
        conn.prepare_cached("SELECT id FROM users WHERE phone >= ?1 AND phone < ?1 || ':' LIMIT ?2")?;
    let ids = statement.query_map((start, MOST_NUMBERS as i64 + 1), |row| row.get::<_, i64>(0))?;
    let mut count = 0;
    for id in ids {
        found.insert(id?);
        count += 1;
    }
    Ok(count <= MOST_NUMBERS)
}

fn end_with(conn: &Connection, digits: &str, found: &mut BTreeSet<i64>) -> Result<bool, StoreError> {
    let Some(last) = digits.len().checked_sub(LAST_DIGITS).and_then(|at| digits.get(at..)) else {
        return Ok(true);
    };
    let mut statement = conn.prepare_cached(
        "SELECT u.id, u.phone LIKE '%' || ?2 FROM user_words w CROSS JOIN users u ON u.id = w.rowid
         WHERE w.user_words MATCH ?1 ORDER BY w.rowid DESC LIMIT ?3",
    )?;
    let mut rows = statement.query((format!("\"{last}\""), digits, MOST_NUMBERS as i64 + 1))?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if row.get::<_, Option<bool>>(1)?.unwrap_or(false) {
            found.insert(row.get(0)?);
        }
    }
    Ok(count <= MOST_NUMBERS)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Clock;
    use crate::domain::people::PeopleFilter;
    use crate::store::reports::people::{Budget, Order, Wanted, walk};
    use crate::store::users::{self, NewUser, UserKey};
    use crate::store::{Store, StorePaths, erasure};

    struct Shop {
        dir: tempfile::TempDir,
        store: Store,
    }

    fn shop() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock).unwrap();
        Shop { dir, store }
    }

    fn add(tx: &Tx<'_>, phone: &str, attributes: &Value) -> i64 {
        let new = NewUser {
            phone: Some(phone),
            channel_address: None,
            country: None,
            attributes: attributes.as_object().expect("an object"),
            consent: None,
            actor: "test",
            import: None,
        };
        users::insert(tx, &new).unwrap()
    }

    impl Shop {
        async fn write<T: Send + 'static>(&self, run: impl FnOnce(&Tx<'_>) -> T + Send + 'static) -> T {
            self.store.write::<_, _, StoreError>(move |tx| Ok(run(tx))).await.unwrap()
        }

        /// Everybody goes into the index, and the index has what the rows say: SQLite compares them.
        async fn settle(&self) {
            self.write(|tx| {
                while catch_up(tx, 7).unwrap() {}
                assert_eq!(backlog(tx.conn()).unwrap(), 0);
                tx.conn()
                    .execute("INSERT INTO user_words (user_words, rank) VALUES ('integrity-check', 1)", [])
                    .expect("the index has the words of every row and no others");
            })
            .await;
        }

        async fn ids(&self, q: &str) -> Vec<i64> {
            let filter = PeopleFilter { q: Some(q.to_owned()), ..PeopleFilter::default() };
            self.store
                .read::<_, _, StoreError>(move |conn| {
                    let wanted = Wanted::of(conn, &filter, 0).unwrap();
                    let budget = Budget { rows: 10_000, time: std::time::Duration::from_secs(9) };
                    let found = walk(conn, &wanted, (Order::Newest, i64::MAX), 50, budget)?;
                    Ok(found.people.iter().map(|(_, id)| *id).collect())
                })
                .await
                .unwrap()
        }

        fn occurrences(&self, what: &str) -> usize {
            ["ese.db", "ese.db-wal"]
                .iter()
                .map(|name| {
                    let bytes = std::fs::read(self.dir.path().join(name)).unwrap_or_default();
                    let lower = bytes.to_ascii_lowercase();
                    lower.windows(what.len()).filter(|window| *window == what.as_bytes()).count()
                })
                .sum()
        }
    }

    #[tokio::test]
    async fn people_are_found_by_the_beginning_of_their_words_and_by_any_end_of_their_number() {
        let shop = shop();
        shop.write(|tx| {
            for (phone, attributes) in [
                ("+94771234567", json!({"name": "Élodie Müller"})),
                ("+94770000101", json!({"first_name": "Ana", "last_name": "Perera"})),
                ("+14155550101", json!({"name": "Ana-Maria O'Neil"})),
                ("+390612345678", json!({"city": "Roma"})),
                ("+94712345678", json!({"name": "නිමල් පෙරේරා"})),
                ("+8613800138000", json!({"name": "李明"})),
            ] {
                add(tx, phone, &attributes);
            }
        })
        .await;
        assert_eq!(shop.ids("elodie").await, [] as [i64; 0], "nobody is in the index yet");
        shop.settle().await;
        for (q, expected) in [
            ("elodie", &[1][..]),
            ("ELO MULL", &[1]),
            ("müller", &[1]),
            ("ana", &[3, 2]),
            ("ana per", &[2]),
            ("per ana", &[2]),
            ("neil", &[3]),
            ("ana 0101", &[3, 2]),
            ("a", &[]),
            ("ana m", &[3, 2]),
            ("නිමල්", &[5]),
            ("පෙරේ", &[5]),
            ("李", &[6]),
            ("aⒷc", &[]),
            ("\"ana\" OR (x* NEAR", &[]),
            ("nobody", &[]),
            ("Roma", &[]),
            // By number: from its beginning, at home, by its last digits.
            ("+94", &[5, 2, 1]),
            ("0094 77", &[2, 1]),
            ("9477", &[2, 1]),
            ("077", &[2, 1]),
            ("077 123 4567", &[1]),
            ("71", &[5]),
            ("712", &[5]),
            ("(415) 555-0101", &[3]),
            ("0101", &[3, 2]),
            ("000101", &[]),
            ("70000101", &[2]),
            ("550101", &[3]),
            ("06 1234", &[4]),
            ("345678", &[5, 4]),
            ("+7", &[]),
            ("9", &[]),
        ] {
            assert_eq!(shop.ids(q).await, expected, "{q}");
        }
    }

    #[tokio::test]
    async fn the_index_follows_every_change_before_and_after_it_knows_somebody() {
        let shop = shop();
        shop.write(|tx| {
            for i in 0..20 {
                add(tx, &format!("+1415555{i:04}"), &json!({"name": format!("Person Before{i}")}));
            }
            // Behind the index: the row alone changes.
            users::set_attributes(tx, 3, json!({"name": "Clara"}).as_object().unwrap(), "test").unwrap();
        })
        .await;
        shop.settle().await;
        assert_eq!(shop.ids("clara").await, [3]);
        assert_eq!(shop.ids("before2").await, [] as [i64; 0]);
        shop.write(|tx| {
            let change = |id, attributes: Value| {
                users::set_attributes(tx, id, attributes.as_object().unwrap(), "test").unwrap();
            };
            change(3, json!({"name": "Dora", "city": "Galle"}));
            change(3, json!({"name": "Dora", "city": "Kandy"}));
            change(4, json!({}));
        })
        .await;
        shop.settle().await;
        assert_eq!(shop.ids("clara").await, [] as [i64; 0]);
        assert_eq!((shop.ids("dora").await, shop.ids("before3").await), (vec![3], vec![]));
        assert_eq!(shop.ids("5550003").await, [4], "the number is left");
    }

    #[tokio::test]
    async fn after_an_erasure_no_word_is_left_in_the_pages_of_the_index() {
        let shop = shop();
        // Many neighbours, so that the words stand on pages of their own and at their edges, and were merged.
        for round in 0..40_i64 {
            shop.write(move |tx| {
                for i in 0..50 {
                    let name = format!("Zorblax{round} Quuxington{i}");
                    add(tx, &format!("+1415{:07}", round * 50 + i), &json!({"name": name}));
                }
                while catch_up(tx, 20).unwrap() {}
            })
            .await;
        }
        let id = shop.write(|tx| add(tx, "+94779998887", &json!({"name": "Xylophina Wigglesworth"}))).await;
        let late = shop.write(|tx| add(tx, "+94779998886", &json!({"name": "Yetanotherina"}))).await;
        shop.write(|tx| catch_up(tx, 1).map(drop).unwrap()).await;
        shop.store.checkpoint().await.unwrap();
        assert_eq!(shop.ids("xylo").await, [id]);
        assert!(shop.occurrences("ylophina") > 1 && shop.occurrences("yetanotherina") > 0);
        for id in [id, late] {
            shop.write(move |tx| {
                let user = users::find(tx.conn(), &UserKey::Id(id)).unwrap().unwrap();
                erasure::erase(tx, &user, "test").unwrap();
            })
            .await;
        }
        assert!(shop.store.empty_log().await.unwrap());
        for what in ["xylophina", "ylophina", "wigglesworth", "igglesw", "yetanotherina", "9998887"] {
            assert_eq!(shop.occurrences(what), 0, "{what}");
        }
        shop.settle().await;
        assert_eq!(shop.ids("xylo").await, [] as [i64; 0]);
        assert_eq!(shop.ids("zorblax7 quuxington7").await.len(), 1, "the others are found");
    }
}
