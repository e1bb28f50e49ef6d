//! `[webhooks]` and `[alerts]`: what is told to others, and when.

use serde::Deserialize;

use crate::domain::webhook::address::Policy;

/// `[webhooks]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhooks {
    /// Whether endpoints may lie in private networks, and be reached without TLS.
    pub allow_private: bool,
    /// Hosts for which the same holds.
    pub allowed_hosts: Vec<String>,
    /// Requests to one endpoint at the same time.
    pub in_flight_per_endpoint: usize,
    /// Seconds that an endpoint has for its answer.
    pub timeout_seconds: u64,
    /// Days that the log of deliveries is kept.
    pub log_days: u32,
}

impl Webhooks {
    /// Which addresses may be called.
    pub fn policy(&self) -> Policy {
        Policy { allow_private: self.allow_private, allowed_hosts: self.allowed_hosts.clone() }
    }
}

/// `[alerts]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Megabytes that should be free on the disk of the data file; 0: no alert.
    pub disk_free_mb: u64,
    /// Hours that the last backup may be old; 0: no alert.
    pub backup_max_age_hours: u64,
}
