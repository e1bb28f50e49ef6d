//! Settings: the configuration in force.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::ToSchema;

use super::senders::LockedBy;
use super::{shape, words};

shape! {
    /// Any JSON.
    SettingValue = json!({"examples": [100.0]});
    /// Where a value comes from; each of these wins over those before it.
    SettingOrigin = words(["default", "settings", "file", "environment"]);
    /// Values by the path of their key, or nested as in the file; null takes a setting away.
    SettingsPatch = json!({"type": "object", "additionalProperties": true,
        "examples": [{"delivery.account_rate_per_second": 50, "replies": {"help": null}}]});
}

/// One key of the configuration.
#[derive(Debug, ToSchema)]
pub struct Setting {
    /// What is in force; a secret is never told.
    pub value: SettingValue,
    /// What would be without file, environment and setting.
    pub default: SettingValue,
    /// Where the value comes from.
    pub origin: SettingOrigin,
    /// Who fixes it, so that it can't be changed here.
    pub locked_by: Option<LockedBy>,
    /// Whether it can be changed here, if nobody fixes it.
    #[schema(example = true)]
    pub settable: bool,
    /// Whether it is a secret.
    pub secret: bool,
    /// Whether a change takes effect at the next start only.
    pub needs_restart: bool,
    /// What it is about.
    #[schema(example = "Parts a second over all senders.")]
    pub description: String,
}

/// The configuration in force.
#[derive(Debug, ToSchema)]
pub struct Settings {
    /// Counts up with every change.
    #[schema(example = 0)]
    pub version: i64,
    /// By the path of the key, such as `delivery.max_attempts`.
    pub settings: BTreeMap<String, Setting>,
}
