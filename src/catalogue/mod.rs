//! The attribute catalogue: a walk over everybody that counts names, types and values, some milliseconds of every
//! second, and rests twenty times as long as it worked. Changes of people only count themselves
//! (`attribute_walks.changes`), so an import pays nothing for the catalogue; the price is that it says "as of".

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Millis;
use crate::domain::catalogue::Count;
use crate::store::attributes::{self, Mark};
use crate::store::{Store, StoreError};

/// A tick works no longer than this: a tenth of one core, with a tick each second.
const SLICE: Duration = Duration::from_millis(100);
/// A walk begins no sooner than so many times its own work after the last one.
const REST: u32 = 20;
/// People read at once: a reader is held for some milliseconds.
const PEOPLE: usize = 500;
/// Names written at once: the writer is held for about a millisecond.
const NAMES: usize = 20;

/// Keeps the catalogue.
pub struct Catalogue {
    store: Store,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    walk: Option<Walk>,
    rest_until: Option<Instant>,
}

/// A walk under way. It is lost with the process, and begun anew.
#[derive(Debug)]
struct Walk {
    mark: Mark,
    as_of: Millis,
    after: i64,
    count: Count,
    worked: Duration,
}

impl Catalogue {
    /// For the people in `store`.
    pub fn new(store: Store) -> Catalogue {
        Catalogue { store, state: Mutex::default() }
    }

    /// Works for a moment, if somebody changed since the last walk or one is under way.
    ///
    /// # Errors
    /// [`StoreError`] from the store; the walk begins anew.
    pub async fn tick(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let state = self.take();
        if state.walk.is_none() && state.rest_until.is_some_and(|until| began < until) {
            self.put(state);
            return Ok(());
        }
        let mut walk = match state.walk {
            Some(walk) => walk,
            None => match self.begin().await? {
                Some(walk) => walk,
                None => return Ok(()),
            },
        };
        while began.elapsed() < SLICE {
            if self.step(&mut walk).await? {
                continue;
            }
            let worked = walk.worked + began.elapsed();
            self.keep(walk).await?;
            self.put(State { walk: None, rest_until: Some(Instant::now() + worked * REST) });
            return Ok(());
        }
        walk.worked += began.elapsed();
        self.put(State { walk: Some(walk), rest_until: None });
        Ok(())
    }

    /// Brings the catalogue up to date at once: for commands and tests.
    ///
    /// # Errors
    /// [`StoreError`] from the store.
    pub async fn walk_through(&self) -> Result<(), StoreError> {
        drop(self.take());
        if let Some(mut walk) = self.begin().await? {
            while self.step(&mut walk).await? {}
            self.keep(walk).await?;
        }
        Ok(())
    }

    fn take(&self) -> State {
        std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// A new walk, unless nothing changed since the last.
    async fn begin(&self) -> Result<Option<Walk>, StoreError> {
        let (standing, mark) = self
            .store
            .read(|conn| Ok::<_, StoreError>((attributes::standing(conn)?, attributes::mark(conn)?)))
            .await?;
        // Rows of this walk are told from older ones by this moment, so it is one of its own.
        let as_of = self.store.clock().now().max(standing.as_of.map_or(0, |last| last + 1));
        Ok((standing.behind != 0).then(|| Walk {
            mark,
            as_of,
            after: 0,
            count: Count::default(),
            worked: Duration::ZERO,
        }))
    }

    /// Counts the next people. Returns whether there may be more.
    async fn step(&self, walk: &mut Walk) -> Result<bool, StoreError> {
        let (after, mut count) = (walk.after, std::mem::take(&mut walk.count));
        let (count, last, is_full) = self
            .store
            .read(move |conn| {
                let people = attributes::people(conn, after, PEOPLE)?;
                people.iter().for_each(|(id, attributes)| count.note(*id, attributes));
                let last = people.last().map_or(after, |(id, _)| *id);
                Ok::<_, StoreError>((count, last, people.len() == PEOPLE))
            })
            .await?;
        walk.count = count;
        walk.after = last;
        Ok(is_full)
    }

    /// Writes down what was found, some names at a time.
    async fn keep(&self, walk: Walk) -> Result<(), StoreError> {
        let (mark, as_of) = (walk.mark, walk.as_of);
        let counts = std::sync::Arc::new(walk.count.finish());
        for start in (0..counts.attributes.len()).step_by(NAMES) {
            let counts = std::sync::Arc::clone(&counts);
            self.store
                .write(move |tx| {
                    let end = counts.attributes.len().min(start + NAMES);
                    attributes::replace(
                        tx,
                        counts.attributes.get(start..end).unwrap_or_default(),
                        mark,
                        as_of,
                    )
                })
                .await?;
        }
        loop {
            let counts = std::sync::Arc::clone(&counts);
            let is_done =
                self.store.write(move |tx| attributes::finish(tx, &counts, (mark, as_of), NAMES)).await?;
            if is_done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
