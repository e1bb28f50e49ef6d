//! Everybody who fits a filter, as CSV that a spreadsheet opens without running anything in it. It is written as it
//! is read, page by page, each in a snapshot of its own, so no snapshot is held for long.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::clock::Millis;
use crate::domain::people::PeopleFilter;
use crate::store::Store;
use crate::store::messages::rfc3339;
use crate::store::reports::people::{self, Budget, Order, PersonRow, Wanted, WantedError};

/// People of one read.
const PAGE: usize = 500;
/// People who are asked for the names of their attributes before the first line is written. What others have beside
/// stands in the last column.
const ASKED: usize = 10_000;
/// Columns of attributes, at most.
const MOST_COLUMNS: usize = 200;
/// Columns before those of the attributes; an import reads them back.
const OWN: [&str; 8] =
    ["phone", "country", "consent", "topics", "reachable", "suppressed", "created_at", "last_inbound_at"];

/// Why a sheet broke off.
pub type SheetError = WantedError;

/// A sheet under way.
pub struct Sheet {
    store: Store,
    filter: PeopleFilter,
    now: Millis,
    columns: Option<Vec<String>>,
    place: i64,
    is_over: bool,
}

impl Sheet {
    /// Everybody who fits `filter`, as seen now.
    pub fn new(store: Store, filter: PeopleFilter) -> Sheet {
        let now = store.clock().now();
        Sheet { store, filter, now, columns: None, place: i64::MAX, is_over: false }
    }

    /// The next lines, or `None` behind the last.
    ///
    /// # Errors
    /// [`SheetError`]: the sheet then breaks off.
    pub async fn next(&mut self) -> Result<Option<String>, SheetError> {
        if self.is_over {
            return Ok(None);
        }
        let Some(columns) = self.columns.clone() else {
            let columns = self.attribute_names().await?;
            let header = OWN.iter().map(|name| (*name).to_owned());
            let own = header.chain(columns.iter().map(|name| shielded(name))).chain(["more".to_owned()]);
            let text = line(own);
            self.columns = Some(columns);
            return Ok(Some(text));
        };
        let (rows, reached) = page(&self.store, &self.filter, (self.now, self.place)).await?;
        match reached {
            Some(place) => self.place = place,
            None => self.is_over = true,
        }
        let text = rows.iter().map(|row| line(cells(row, &columns).into_iter())).collect();
        Ok(Some(text))
    }

    /// Names of the attributes of the first people.
    async fn attribute_names(&self) -> Result<Vec<String>, SheetError> {
        let mut names = BTreeSet::new();
        let (mut asked, mut place) = (0, i64::MAX);
        while asked < ASKED && names.len() < MOST_COLUMNS {
            let (rows, reached) = page(&self.store, &self.filter, (self.now, place)).await?;
            asked += rows.len();
            names.extend(
                rows.into_iter().flat_map(|row| row.user.attributes.into_iter().map(|(name, _)| name)),
            );
            match reached {
                Some(reached) => place = reached,
                None => break,
            }
        }
        Ok(names.into_iter().take(MOST_COLUMNS).collect())
    }
}

/// Everybody from below `place` on whom one read finds, and where the next goes on.
async fn page(
    store: &Store,
    filter: &PeopleFilter,
    (now, place): (Millis, i64),
) -> Result<(Vec<PersonRow>, Option<i64>), SheetError> {
    let filter = filter.clone();
    store
        .read(move |conn| {
            let wanted = Wanted::of(conn, &filter, now)?;
            let found = people::walk(conn, &wanted, (Order::Newest, place), PAGE, Budget::PAGE)?;
            let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
            let reached = if ids.len() >= PAGE { ids.last().copied() } else { found.reached };
            Ok::<_, WantedError>((people::rows(conn, &ids)?, reached))
        })
        .await
}

fn cells(row: &PersonRow, columns: &[String]) -> Vec<String> {
    let user = &row.user;
    let address = user.phone.as_ref().or(user.channel_address.as_ref());
    let mut cells = vec![
        shielded(address.map_or("", String::as_str)),
        user.country.clone().unwrap_or_default(),
        user.consent.as_str().to_owned(),
        shielded(&row.topics.join(", ")),
        user.is_reachable.to_string(),
        user.is_suppressed.to_string(),
        rfc3339(user.created_at),
        user.last_inbound_at.map(rfc3339).unwrap_or_default(),
    ];
    cells.extend(columns.iter().map(|name| user.attributes.get(name).map_or_else(String::new, cell)));
    let more: Map<String, Value> = user
        .attributes
        .iter()
        .filter(|(name, _)| columns.binary_search(name).is_err())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    cells.push(if more.is_empty() { String::new() } else { Value::Object(more).to_string() });
    cells
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => shielded(text),
        Value::Number(number) => number.to_string(),
        other => other.to_string(),
    }
}

/// A cell that begins like a formula gets an apostrophe, which a spreadsheet takes as "this is text".
fn shielded(text: &str) -> String {
    let lead = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{lead}{text}")
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(cells.map(String::into_bytes)).expect("a Vec takes every line");
    let bytes = writer.into_inner().expect("a Vec takes every line");
    String::from_utf8(bytes).expect("made of text")
}
