//! Settings: what an operator changes while the server runs. They lie in the data file, over the defaults and
//! below file and environment, under the path of their key: `delivery.account_rate_per_second`,
//! `quiet_hours.presets.house`, `senders.+14155550100.rate_per_second`.
//!
//! `place` knows the keys, `value` their values, `apply` lays settings over the configuration, `change` takes a patch,
//! `shown` tells what is in force.

mod apply;
mod change;
mod place;
mod shown;
mod value;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::load::SECRETS;
use super::{ConfigError, Loaded, Sender};

pub(super) use apply::{apply, apply_to_senders};
pub use change::Faults;
pub use place::is_section;
pub use shown::Shown;

/// The rows of the table `settings`.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    /// Counts up with every change.
    pub version: i64,
    /// By key, secrets in plain words.
    pub values: BTreeMap<String, Json>,
}

impl std::fmt::Debug for Settings {
    /// Without the values: secrets are among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.values.keys().collect();
        f.debug_struct("Settings").field("version", &self.version).field("keys", &keys).finish()
    }
}

/// Who changes settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setter {
    /// A key of the API, with the scope `admin`.
    Key,
    /// A person at the pages, with the role of an admin.
    Operator,
}

/// Whether the value of `key` is never told, and kept sealed.
pub fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

impl Loaded {
    /// With those of `settings` that can be taken, and what is wrong with the others: a file that was changed
    /// meanwhile must not keep the server from starting.
    ///
    /// # Errors
    /// When nothing can be taken at all.
    pub fn with_usable_settings(
        &self,
        settings: Settings,
    ) -> Result<(Loaded, Vec<ConfigError>), ConfigError> {
        if let Ok(whole) = self.with_settings(settings.clone()) {
            return Ok((whole, Vec::new()));
        }
        let mut left_out = Vec::new();
        let mut usable = Settings { version: settings.version, values: BTreeMap::new() };
        for (key, value) in settings.values {
            usable.values.insert(key.clone(), value);
            if let Err(error) = self.with_settings(usable.clone()) {
                usable.values.remove(&key);
                left_out.push(error);
            }
        }
        Ok((self.with_settings(usable)?, left_out))
    }

    /// The sender with this address.
    fn sender(&self, address: &str) -> Option<&Sender> {
        self.config.senders.iter().find(|sender| sender.address == address)
    }
}
