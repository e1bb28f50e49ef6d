//! Everything that is held about one person, as one JSON document that is written page by page: a member for each
//! table of [`crate::store::personal::HOLDINGS`], its rows as they are kept.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::store::erasure::{self, IssueKey, Trace};
use crate::store::messages::rfc3339;
use crate::store::personal::{self, Exported, HOLDINGS, Holding};
use crate::store::users::User;
use crate::store::{Store, StoreError};

/// Rows of one read.
pub const PAGE: usize = 200;
/// Rows of files that are looked through in one read.
const ISSUES: usize = 1_000;

/// A document under way. Each [`Export::next`] reads one page in a snapshot of its own, so no snapshot is held for
/// long however much a person has; what comes in meanwhile may be in a later part.
pub struct Export {
    store: Store,
    user_id: i64,
    trace: Trace,
    begin: Option<String>,
    tables: std::iter::Peekable<std::slice::Iter<'static, Holding>>,
    offset: usize,
    issues_after: IssueKey,
    is_row_behind: bool,
    is_table_open: bool,
    is_over: bool,
}

impl Export {
    /// Begins the document about `user`.
    pub fn new(store: Store, user: &User) -> Export {
        let now = store.clock().now();
        let begin = format!(
            "{{\"made_at\":{},\"made_by\":{},\"user_id\":{}",
            json!(rfc3339(now)),
            json!(format!("ese {}", env!("CARGO_PKG_VERSION"))),
            user.id
        );
        Export {
            store,
            user_id: user.id,
            trace: Trace::of(user),
            begin: Some(begin),
            tables: HOLDINGS.iter().peekable(),
            offset: 0,
            issues_after: (0, 0, String::new()),
            is_row_behind: false,
            is_table_open: false,
            is_over: false,
        }
    }

    /// The next part of the document, or `None` behind its end.
    ///
    /// # Errors
    /// [`StoreError`] from SQLite: the document then breaks off, and is no JSON.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        if let Some(begin) = self.begin.take() {
            return Ok(Some(begin));
        }
        if self.is_over {
            return Ok(None);
        }
        let Some(holding) = self.tables.peek().copied() else {
            self.is_over = true;
            return Ok(Some("}\n".to_owned()));
        };
        let (rows, is_last) = match holding.exported {
            Exported::Not(_) => (Vec::new(), true),
            Exported::By(_) => self.rows(holding).await?,
            Exported::BySearch => self.issues().await?,
        };
        let mut part = String::new();
        if matches!(holding.exported, Exported::Not(_)) {
            self.tables.next();
            return Ok(Some(part));
        }
        if !self.is_table_open {
            let _ = write!(part, ",\n\"{}\":[", holding.table);
            (self.is_table_open, self.is_row_behind) = (true, false);
        }
        for row in rows {
            part.push_str(if self.is_row_behind { ",\n" } else { "\n" });
            part.push_str(&row.to_string());
            self.is_row_behind = true;
        }
        if is_last {
            part.push(']');
            (self.is_table_open, self.offset) = (false, 0);
            self.tables.next();
        }
        Ok(Some(part))
    }

    async fn rows(&mut self, holding: &'static Holding) -> Result<(Vec<Value>, bool), StoreError> {
        let (user_id, offset) = (self.user_id, self.offset);
        let rows =
            self.store.read(move |conn| personal::rows(conn, holding, user_id, (PAGE, offset))).await?;
        self.offset += rows.len();
        let is_last = rows.len() < PAGE;
        Ok((rows, is_last))
    }

    async fn issues(&mut self) -> Result<(Vec<Value>, bool), StoreError> {
        let (trace, after) = (self.trace.clone(), self.issues_after.clone());
        let (found, next) =
            self.store.read(move |conn| erasure::find_issues(conn, &trace, &after, ISSUES)).await?;
        let rows = found
            .into_iter()
            .map(|issue| {
                let (import_id, row, reason) = issue.key;
                json!({"import_id": import_id, "row": row, "reason": reason, "cells": issue.cells})
            })
            .collect();
        let is_last = next.is_none();
        self.issues_after = next.unwrap_or_default();
        Ok((rows, is_last))
    }
}
