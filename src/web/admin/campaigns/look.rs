//! What the walk over an audience found, kept for a minute: whoever reads the review and then launches pays for it
//! once, and a page that is loaded again answers at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::campaign::{Waterfall, look_at_audience};
use crate::clock::Millis;
use crate::web::State;
use crate::web::api::audience::house;
use crate::web::error::Problem;

/// How long it is taken for true, in milliseconds.
const KEPT: Millis = 60_000;
/// Audiences that are kept.
const MOST: usize = 32;
/// People shown of each exit.
const SAMPLE: usize = 5;

/// What was found about one version of a campaign.
#[derive(Clone, Debug)]
pub(super) struct Look {
    id: i64,
    pub(super) version: i64,
    /// When it was worked out.
    pub(super) at: Millis,
    pub(super) took: Duration,
    pub(super) seen: Arc<Waterfall>,
}

/// The looks of the last minute. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Looks(Arc<Mutex<Vec<Look>>>);

impl Looks {
    /// What is known of this version of a campaign.
    pub(super) fn known(&self, id: i64, version: i64, now: Millis) -> Option<Look> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|look| (0..KEPT).contains(&(now - look.at)));
        looks.iter().rev().find(|look| look.id == id && look.version == version).cloned()
    }

    fn keep(&self, look: Look) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|known| known.id != look.id);
        if looks.len() >= MOST {
            looks.remove(0);
        }
        looks.push(look);
    }
}

/// What a launch of this version would do, as far as known or worked out now, which takes seconds for a million.
///
/// # Errors
/// As `GET /campaigns/{id}/audience`.
pub(super) async fn look(state: &State, id: i64, version: i64) -> Result<Look, Problem> {
    let now = state.store.clock().now();
    if let Some(known) = state.looks.known(id, version, now) {
        return Ok(known);
    }
    let _place = state.limits.look()?;
    let started = std::time::Instant::now();
    let seen = Arc::new(look_at_audience(&state.store, &house(state), id, SAMPLE).await?);
    let look = Look { id, version: seen.version, at: now, took: started.elapsed(), seen };
    state.looks.keep(look.clone());
    Ok(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::price::{Cost, Currency};

    fn look(id: i64, version: i64, at: Millis) -> Look {
        let seen = Waterfall {
            version,
            through: 0,
            at,
            expires_at: None,
            people: 0,
            excluded: Vec::new(),
            exits: Vec::new(),
            now: Default::default(),
            parts: 0,
            parts_by_encoding: Vec::new(),
            missing: Default::default(),
            forecast: None,
            zones: Vec::new(),
            would_expire: 0,
            queue_ahead: 0,
            cost: Cost::default(),
            currency: Currency::parse("USD").unwrap(),
            obstacles: Vec::new(),
        };
        Look { id, version, at, took: Duration::ZERO, seen: Arc::new(seen) }
    }

    #[test]
    fn a_look_holds_for_its_version_and_a_minute() {
        let looks = Looks::default();
        looks.keep(look(1, 3, 1_000));
        assert!(looks.known(1, 3, 60_999).is_some());
        assert!(looks.known(1, 4, 2_000).is_none() && looks.known(2, 3, 2_000).is_none());
        assert!(looks.known(1, 3, 61_000).is_none());
        looks.keep(look(1, 3, 70_000));
        looks.keep(look(1, 4, 70_000));
        assert!(looks.known(1, 3, 70_001).is_none(), "an older version was forgotten");
        for id in 0..100 {
            looks.keep(look(id, 1, 70_000));
        }
        assert_eq!(looks.0.lock().unwrap().len(), MOST);
    }
}
