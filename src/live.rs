//! A value that may change while the process works: what an operator sets takes effect without a restart.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// A value that all clones share. Whoever decides something takes [`Live::get`] once and decides by that.
#[derive(Debug)]
pub struct Live<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Live<T> {
        Live(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// Begins with `value`.
    pub fn new(value: T) -> Live<T> {
        Live(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// What holds now. It stays the same for as long as the caller keeps it.
    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// From now on `value` holds.
    pub fn set(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Live<T> {
        Live::new(value)
    }
}

impl<T> From<T> for Live<Option<T>> {
    /// What is there from the start on.
    fn from(value: T) -> Live<Option<T>> {
        Live::new(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_see_a_change_and_what_was_taken_before_stays() {
        let live = Live::new(1);
        let (clone, before) = (live.clone(), live.get());
        live.set(2);
        assert_eq!((*before, *clone.get()), (1, 2));
    }
}
