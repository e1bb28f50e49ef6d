//! The configuration in force while the server runs, and what is told when it changes.

use std::sync::{Arc, Mutex, PoisonError};

use super::Loaded;
use crate::live::Live;

/// What follows a change.
type Follow = Box<dyn Fn(&Loaded) + Send + Sync>;

/// Holds the configuration and hands a newer one on. Clones share it.
#[derive(Clone)]
pub struct InForce {
    loaded: Live<Loaded>,
    follow: Arc<Follow>,
    turn: Arc<Mutex<()>>,
}

impl InForce {
    /// Begins with `loaded`; `follow` is called with each configuration that takes its place.
    pub fn new(loaded: Loaded, follow: impl Fn(&Loaded) + Send + Sync + 'static) -> InForce {
        InForce { loaded: Live::new(loaded), follow: Arc::new(Box::new(follow)), turn: Arc::default() }
    }

    /// What holds now.
    pub fn get(&self) -> Arc<Loaded> {
        self.loaded.get()
    }

    /// Puts `loaded` in force, unless what holds was made of newer settings: of two changes at once, the later
    /// one may arrive first.
    pub fn put(&self, loaded: Loaded) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.settings.version > self.get().settings.version {
            (self.follow)(&loaded);
            self.loaded.set(loaded);
        }
    }
}
