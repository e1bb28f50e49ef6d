//! Changing settings: a patch that is taken whole or not at all, and the mistakes in it by key.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::place::{KIND, Place, at, is_of_operators, place, unknown};
use super::value::to_json;
use super::{Setter, Settings};
use crate::config::{ConfigError, Loaded, wrong};
use crate::twilio::client::is_loopback;

/// Where the secrets of the account are sent to.
const BASES: [&str; 2] = ["twilio.api_base", "twilio.content_base"];
/// The secrets that are sent there.
const SENT: [&str; 2] = ["twilio.auth_token", "twilio.api_key_secret"];

/// What is wrong with a change, by key.
pub type Faults = Vec<(String, String)>;

impl Loaded {
    /// The configuration with `patch` of `setter` over its settings; null takes a setting away.
    ///
    /// # Errors
    /// Every key that is unknown or whose value can't be taken. Nothing is changed then.
    pub fn patched(&self, patch: &BTreeMap<String, Json>, setter: Setter) -> Result<Loaded, Faults> {
        let mut faults: Faults = Vec::new();
        let is_added = |address: &str| patch.contains_key(&format!("senders.{address}.{KIND}"));
        for key in patch.keys() {
            let known = match place(key) {
                Ok(_) if setter == Setter::Key && is_of_operators(key) => {
                    Err(wrong(format!("{key}: only an operator, the file and the environment can say that")))
                }
                Ok(Place::Sender { address, .. }) if self.sender(address).is_none() && !is_added(address) => {
                    let senders = self.config.senders.iter().map(|sender| sender.address.clone());
                    Err(unknown(key, senders))
                }
                other => other.map(drop),
            };
            faults.extend(known.err().map(|error| (key.clone(), without(key, &error))));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let without_one = |left_out: Option<&str>| {
            let mut values = self.settings.values.clone();
            for (key, value) in patch.iter().filter(|(key, _)| Some(key.as_str()) != left_out) {
                match value {
                    Json::Null => values.remove(key),
                    value => values.insert(key.clone(), value.clone()),
                };
            }
            self.with_settings(Settings { version: self.settings.version + 1, values })
        };
        let error = match without_one(None) {
            Ok(loaded) => {
                let strays = self.strays(&loaded, patch);
                return if strays.is_empty() { Ok(loaded) } else { Err(strays) };
            }
            Err(error) => error,
        };
        // Whose absence mends it is at fault; if two are, neither mends it alone, and each is tried alone.
        for key in patch.keys().filter(|key| without_one(Some(key)).is_ok()) {
            faults.push((key.clone(), without(key, &error)));
        }
        if faults.is_empty() && patch.len() > 1 {
            let alone = patch.iter().map(|(key, value)| BTreeMap::from([(key.clone(), value.clone())]));
            faults.extend(alone.filter_map(|alone| self.patched(&alone, setter).err()).flatten());
        }
        if faults.is_empty() {
            let keys: Vec<&str> = patch.keys().map(String::as_str).collect();
            faults.push((keys.join(", "), error.to_string()));
        }
        Err(faults)
    }

    /// What would send the account's secrets where they were not meant to go: an address that is neither Twilio's nor
    /// on this machine, or another one with secrets that were given for the last.
    fn strays(&self, after: &Loaded, patch: &BTreeMap<String, Json>) -> Faults {
        let base = |loaded: &Loaded, key: &str| at(&loaded.table, key.split('.')).map(to_json);
        let moved: Vec<&str> = BASES.into_iter().filter(|key| base(self, key) != base(after, key)).collect();
        let mut faults = Faults::new();
        for key in &moved {
            let twilio = &after.config.twilio;
            let url = if *key == "twilio.api_base" { &twilio.api_base } else { &twilio.content_base };
            if !is_twilio(url) && !is_loopback(url) {
                let text = "must be an https address of twilio.com, or of a simulator on this machine";
                faults.push(((*key).to_owned(), text.to_owned()));
            }
        }
        let is_given = |key: &str| patch.get(key).is_some_and(|value| !value.is_null());
        for key in SENT.into_iter().filter(|key| !moved.is_empty() && !is_given(key)) {
            if !after.value_of(key).is_null() {
                let text = "give it again: it is not sent to another address unseen";
                faults.push((key.to_owned(), text.to_owned()));
            }
        }
        faults
    }
}

fn is_twilio(url: &url::Url) -> bool {
    url.scheme() == "https"
        && url.host_str().is_some_and(|host| host == "twilio.com" || host.ends_with(".twilio.com"))
}

/// The error without the key that it begins with.
fn without(key: &str, error: &ConfigError) -> String {
    let text = error.to_string();
    text.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned()
}
