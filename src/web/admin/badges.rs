//! The numbers beside the entries of the side bar: one read for everybody, at most once a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::attention::{self, Outside};
use super::settings::setup::open_steps;
use crate::store::reports::attention::{Attention, attention, imports_at_work};
use crate::store::reports::{self, Begun, running};
use crate::store::{Connection, StoreError, conversations};
use crate::web::State;

/// How long the numbers hold.
const HOLD: Duration = Duration::from_secs(1);

/// What was counted last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Badges {
    last: Arc<Mutex<Arc<Numbers>>>,
    /// One counts at a time; the others wait for what comes of it, or take the last.
    counting: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// The numbers, and the facts behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// Conversations with something unread.
    pub(super) unread: i64,
    /// Campaigns that send.
    pub(super) running: i64,
    /// Imports that wait or are taken in.
    pub(super) imports: i64,
    /// What needs somebody.
    pub(super) attention: i64,
    /// Steps of set-up that are open.
    pub(super) open_steps: usize,
    /// What was begun with the file.
    begun: Begun,
    /// What is known of the data file.
    pub(super) facts: Attention,
}

impl Numbers {
    /// For the layout.
    pub(super) fn value(&self) -> minijinja::Value {
        minijinja::context! {
            unread => self.unread,
            running => self.running,
            importing => self.imports,
            attention => self.attention,
            setup => self.open_steps,
        }
    }
}

impl Badges {
    /// The next page counts anew, however young the numbers are.
    pub fn forget(&self) {
        if let Ok(mut counted) = self.counting.try_lock() {
            *counted = None;
        }
    }

    /// The last numbers, however old.
    pub(super) fn last(&self) -> Arc<Numbers> {
        Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Numbers that are no older than a second. When the store can't answer, the last ones: a page must not fail for
    /// its badges.
    pub(super) async fn now(&self, state: &State) -> Arc<Numbers> {
        let mut counted = self.counting.lock().await;
        if counted.is_none_or(|at| at.elapsed() >= HOLD) {
            let now = state.store.clock().now();
            match state.store.read(move |conn| count(conn, now)).await {
                Ok(mut numbers) => {
                    let outside = Outside::of(state);
                    let items = attention::items(&numbers.facts, &outside);
                    numbers.attention = i64::try_from(items.len()).unwrap_or(i64::MAX);
                    numbers.open_steps = open_steps(&state.config.get(), &numbers.begun);
                    state.vitals.note_trouble(now, !items.is_empty());
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(numbers);
                }
                Err(error) => tracing::debug!(%error, "the numbers of the side bar are the last ones"),
            }
            *counted = Some(Instant::now());
        }
        self.last()
    }
}

fn count(conn: &Connection, now: i64) -> Result<Numbers, StoreError> {
    let facts = attention(conn, now, now - attention::NEWS)?;
    Ok(Numbers {
        unread: conversations::unread(conn)?,
        running: running::count(conn)?,
        imports: imports_at_work(conn)?,
        begun: reports::begun(conn)?,
        facts,
        ..Numbers::default()
    })
}
