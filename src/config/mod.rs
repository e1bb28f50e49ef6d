//! The configuration: the embedded `config.toml`, below the settings of the data file, below a file, below the
//! environment.
//! Secrets redact themselves. Every mistake is named by its key, with what would be right.

mod describe;
mod in_force;
mod limits;
mod load;
mod outbound;
mod settings;
mod validate;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::domain::consent::{KeywordLists, Replies};
use crate::domain::forecast::{Limits, SenderLimit};
use crate::domain::phone::Channel;
use crate::domain::price::PriceTable;
use crate::domain::quiet_hours::Presets;
use crate::domain::retention::RetentionDays;
use crate::twilio::client::{Client, ClientError, Credentials, is_loopback};

pub use in_force::InForce;
pub use limits::{FirstMessage, FrequencyLimit, Spending};
pub use load::{Loaded, Origin};
pub use outbound::{Alerts, Webhooks};
pub use settings::{Faults, Setter, Settings, Shown, is_secret, is_section};

/// What a new file of one's own can be copied from.
pub const DEFAULTS: &str = include_str!("../../config.toml");
/// What is wrong with the configuration, in one sentence that names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

fn wrong(text: impl Into<String>) -> ConfigError {
    ConfigError(text.into())
}

/// Everything that is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// HTTP.
    pub server: Server,
    /// The data file.
    pub store: StoreFiles,
    /// The account.
    pub twilio: Twilio,
    /// Numbers and services to send from.
    #[serde(default)]
    pub senders: Vec<Sender>,
    /// Pace and patience.
    pub delivery: Delivery,
    /// Files of people.
    pub import: Import,
    /// Answers to keywords.
    pub replies: Replies,
    /// How long what is kept about people is kept.
    pub retention: RetentionDays,
    /// Outbound webhooks.
    pub webhooks: Webhooks,
    /// Alerts.
    pub alerts: Alerts,
    /// What the first marketing message says beside its text.
    pub first_message: FirstMessage,
    /// How much marketing one person gets.
    pub frequency_cap: FrequencyLimit,
    /// What may be spent.
    pub spending: Spending,
    /// What messages cost.
    pub prices: PriceTable,
    /// Words beside those that come with the program.
    pub keywords: KeywordLists,
    /// Logs.
    pub log: Log,
    /// When people are written to.
    pub quiet_hours: Presets,
}

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: String,
    /// How Twilio reaches us.
    pub public_base_url: Url,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Requests a second with one key; 0: no limit.
    pub api_requests_per_second: f64,
    /// Of them at once.
    pub api_burst: u32,
    /// Wrong keys a minute from one address; 0: no limit.
    pub wrong_keys_per_minute: u32,
    /// Bearer token of `/metrics`; empty: none.
    pub metrics_token: SecretString,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFiles {
    /// The SQLite file.
    pub path: PathBuf,
    /// The key beside it.
    pub key_file: PathBuf,
}

/// `[twilio]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twilio {
    /// `AC…`.
    pub account_sid: String,
    /// Primary token: signs webhooks.
    pub auth_token: SecretString,
    /// The other token during a rotation.
    pub auth_token_secondary: SecretString,
    /// `SK…`, to send with.
    pub api_key_sid: String,
    /// Its secret.
    pub api_key_secret: SecretString,
    /// Messages API.
    pub api_base: Url,
    /// Content API.
    pub content_base: Url,
    /// Whether a simulator inside this process is behind them.
    pub simulator: bool,
    /// Minutes between two looks at templates and their approval; 0: none.
    pub content_sync_minutes: u32,
    /// Seconds that a whole exchange may take.
    pub request_timeout_seconds: u64,
}

impl Twilio {
    /// The client of the account; `None` while there is none.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn client(&self) -> Result<Option<Client>, ClientError> {
        if self.account_sid.is_empty() {
            return Ok(None);
        }
        let (user, password) = match self.api_key_sid.is_empty() {
            true => (self.account_sid.clone(), self.auth_token.clone()),
            false => (self.api_key_sid.clone(), self.api_key_secret.clone()),
        };
        let account_sid = self.account_sid.clone();
        let credentials = Credentials { account_sid, user, password, api_base: self.api_base.clone() };
        let patience = Duration::from_secs(self.request_timeout_seconds);
        Ok(Some(Client::new(credentials)?.with_request_timeout(patience)))
    }

    /// Whether a client made for `other` is the one for this too.
    pub fn has_client_of(&self, other: &Twilio) -> bool {
        let secrets = |twilio: &Twilio| {
            let both = [&twilio.auth_token, &twilio.api_key_secret];
            both.map(|secret| secret.expose_secret().to_owned())
        };
        self.account_sid == other.account_sid
            && self.api_key_sid == other.api_key_sid
            && self.api_base == other.api_base
            && self.content_base == other.content_base
            && self.request_timeout_seconds == other.request_timeout_seconds
            && secrets(self) == secrets(other)
    }

    /// The tokens that a webhook's signature may be made with.
    pub fn signing_tokens(&self) -> Vec<SecretString> {
        [&self.auth_token, &self.auth_token_secondary]
            .into_iter()
            .filter(|token| !token.expose_secret().is_empty())
            .cloned()
            .collect()
    }
}

/// What a sender is, which decides how fast it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenderKind {
    /// A WhatsApp sender of one's own.
    Whatsapp,
    /// Twilio's WhatsApp sandbox.
    Sandbox,
    /// A plain number.
    LongCode,
    /// +1 800 and its like.
    TollFree,
    /// A registered US number.
    TenDlc,
    /// Five or six digits.
    ShortCode,
    /// A Messaging Service.
    Service,
}

impl SenderKind {
    /// The word of the file and of the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            SenderKind::Whatsapp => "whatsapp",
            SenderKind::Sandbox => "sandbox",
            SenderKind::LongCode => "long_code",
            SenderKind::TollFree => "toll_free",
            SenderKind::TenDlc => "ten_dlc",
            SenderKind::ShortCode => "short_code",
            SenderKind::Service => "service",
        }
    }

    /// Parts a second that Twilio lets such a sender send
    /// (<https://help.twilio.com/articles/115002943027>, <https://www.twilio.com/docs/whatsapp>).
    fn default_rate(self) -> f64 {
        match self {
            SenderKind::Whatsapp => 80.0,
            SenderKind::Sandbox => 0.33,
            SenderKind::LongCode | SenderKind::TenDlc | SenderKind::Service => 1.0,
            SenderKind::TollFree => 3.0,
            SenderKind::ShortCode => 100.0,
        }
    }

    /// People a day that such a sender may write to of its own accord: the first tier of WhatsApp.
    fn default_recipients(self) -> Option<i64> {
        (self == SenderKind::Whatsapp).then_some(250)
    }
}

/// One of `[[senders]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    /// `+1…`, `whatsapp:+…` or `MG…`.
    pub address: String,
    /// What it is.
    pub kind: SenderKind,
    /// Parts a second.
    #[serde(default)]
    rate_per_second: Option<f64>,
    /// People a day.
    #[serde(default)]
    recipients_per_day: Option<i64>,
}

impl Sender {
    /// The channel that it serves.
    pub fn channel(&self) -> Channel {
        match self.kind {
            SenderKind::Whatsapp | SenderKind::Sandbox => Channel::Whatsapp,
            _ => Channel::Sms,
        }
    }

    /// Parts a second, given or by kind.
    pub fn rate_per_second(&self) -> f64 {
        self.rate_per_second.unwrap_or_else(|| self.kind.default_rate())
    }

    /// People that it may write to of its own accord in 24 hours; `None`: no bound.
    pub fn recipients_per_day(&self) -> Option<i64> {
        self.recipients_per_day.or(self.kind.default_recipients())
    }
}

/// What to do with a message whose fate nobody learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UncertainPolicy {
    /// Send again, through the gate.
    Resend,
    /// Wait for an operator.
    Hold,
}

/// `[delivery]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Parts a second over all senders.
    pub account_rate_per_second: f64,
    /// Requests at the same time.
    pub max_in_flight: usize,
    /// Hand-overs of one message.
    pub max_attempts: u32,
    /// Final failures in a row after which a number is set unreachable; 0: never.
    pub unreachable_after: u32,
    /// Seconds of looking before the policy decides.
    pub uncertain_after_seconds: u64,
    /// What it decides.
    pub uncertain_policy: UncertainPolicy,
    /// Whether Twilio's list is looked through for messages that were missed.
    pub catch_up: bool,
}

/// `[import]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Bytes of one file.
    pub max_bytes: u64,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

impl Config {
    /// Address and kind of every sender, as the store wants them.
    pub fn named_senders(&self) -> Vec<(String, String)> {
        self.senders.iter().map(|sender| (sender.address.clone(), sender.kind.as_str().to_owned())).collect()
    }

    /// How fast and to how many may be sent.
    pub fn limits(&self) -> Limits {
        let limit = |sender: &Sender| SenderLimit {
            rate_per_second: sender.rate_per_second(),
            recipients_per_day: sender.recipients_per_day(),
        };
        Limits {
            account_rate_per_second: self.delivery.account_rate_per_second,
            senders: self.senders.iter().map(|sender| (sender.address.clone(), limit(sender))).collect(),
        }
    }

    /// Why nothing can be sent yet, if so: the `setup_incomplete` of the API.
    pub fn setup_problem(&self) -> Option<String> {
        if self.senders.is_empty() {
            return Some(
                "No sender is configured. Add one under Settings, or [[senders]] with address and kind to the configuration."
                    .to_owned(),
            );
        }
        if self.twilio.account_sid.is_empty() || self.twilio.auth_token.expose_secret().is_empty() {
            return Some(
                "The Twilio account is not configured. Set it under Settings, or [twilio] account_sid and auth_token.".to_owned(),
            );
        }
        let base = &self.server.public_base_url;
        if !is_loopback(&self.twilio.api_base) && (is_loopback(base) || base.scheme() != "https") {
            return Some(format!(
                "Twilio can't reach {base}. Set the public address of this server, https, under Settings, or [server] public_base_url."
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(Some(&path), environment)
    }

    fn message(text: &str, environment: &[(&str, &str)]) -> String {
        load(text, environment).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_whole() {
        let loaded = Config::load(None, []).unwrap();
        assert_eq!(loaded.config.server.listen, "127.0.0.1:8080");
        assert_eq!(loaded.config.delivery.max_attempts, 5);
        assert!(loaded.config.senders.is_empty());
    }

    #[test]
    fn an_unknown_key_suggests_the_nearest() {
        assert!(message("[server]\nlisten_on = 'x'", &[]).contains("Did you mean listen?"));
        assert!(message("[sever]\nlisten = 'x'", &[]).contains("unknown key sever. Did you mean server?"));
        let sender = "[[senders]]\naddress = '+14155550100'\nkind = 'long_code'\nrate = 3";
        assert!(message(sender, &[]).contains("senders[1].rate. Did you mean rate_per_second?"));
        assert!(message("", &[("ESE_SERVER__LISSEN", "x")]).contains("Did you mean listen?"));
        assert!(message("", &[("ESE_LISTEN", "x")]).contains("ESE_<SECTION>__<KEY>"));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let text = "[delivery]\nmax_attempts = 3\nmax_in_flight = 7";
        let loaded = load(text, &[("ESE_DELIVERY__MAX_ATTEMPTS", "9"), ("PATH", "/bin")]).unwrap();
        assert_eq!(loaded.config.delivery.max_attempts, 9);
        assert_eq!(loaded.config.delivery.max_in_flight, 7);
        let shown = loaded.describe();
        assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
        assert!(shown.contains("max_attempts = 9   # from the environment"), "{shown}");
        assert!(shown.contains("max_in_flight = 7   # from the file"), "{shown}");
    }

    #[test]
    fn hours_by_region_are_shown_as_they_are_in_force_and_replaced_by_code() {
        let text = "[quiet_hours]\nmarketing = 'by_region'\n[quiet_hours.regions]\nUS-FL = { mon_fri = '10:00-12:00' }\nDE = { daily = '09:00-18:00' }";
        let loaded = load(text, &[]).unwrap();
        let shown = loaded.describe();
        assert!(shown.parse::<toml::Table>().is_ok(), "{shown}");
        for part in [
            "[quiet_hours.regions.US-FL]\nmon_fri = \"10:00-12:00\"   # from the file\n",
            "[quiet_hours.regions.DE]\ndaily = \"09:00-18:00\"   # from the file\n",
            "[quiet_hours.regions.US-WA]\ndaily = \"08:00-20:00\"\n",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let own: Vec<&str> =
            loaded.config.quiet_hours.regions().filter(|r| r.is_own).map(|r| r.code).collect();
        assert_eq!(own, ["DE", "US-FL"]);
        assert!(message("[quiet_hours.regions]\nUS-ZZ = { daily = '09:00-18:00' }", &[]).contains("US-ZZ"));
    }

    #[test]
    fn secrets_are_read_from_files_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret\n").unwrap();
        let loaded = load("", &[("ESE_TWILIO__AUTH_TOKEN_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(loaded.config.twilio.auth_token.expose_secret(), "s3cret");
        assert!(!loaded.describe().contains("s3cret"));
        assert!(!format!("{:?}", loaded.config).contains("s3cret"));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        for (text, part) in [
            ("[delivery]\naccount_rate_per_second = 0.0", "delivery.account_rate_per_second"),
            ("[twilio]\naccount_sid = 'AC12'", "twilio.account_sid"),
            ("[twilio]\napi_key_sid = 'SK1'", "go together"),
            ("[twilio]\nsimulator = true", "twilio.simulator"),
            ("[twilio]\nrequest_timeout_seconds = 0", "twilio.request_timeout_seconds"),
            ("[twilio]\nrequest_timeout_seconds = 61", "twilio.request_timeout_seconds"),
            ("[server]\npublic_base_url = 'ftp://x'", "server.public_base_url"),
            ("[[senders]]\naddress = '+14155550100'\nkind = 'whatsapp'", "senders[1].address"),
            ("[[senders]]\naddress = 'MG1'\nkind = 'service'", "senders[1].address"),
            ("[[senders]]\naddress = '+14155550100'\nkind = 'pigeon'", "pigeon"),
            ("[server]\nlisten = 5", "listen"),
            ("[webhooks]\nin_flight_per_endpoint = 9", "webhooks.in_flight_per_endpoint"),
            ("[webhooks]\ntimeout_seconds = 0", "webhooks.timeout_seconds"),
            ("[webhooks]\nlog_days = 0", "webhooks.log_days"),
            ("[frequency_cap]\nhours = 0.0", "frequency_cap.hours"),
            ("[frequency_cap]\nmessages = 101", "frequency_cap.messages"),
            ("[spending]\ncap_per_day = -1.0", "spending.cap_per_day"),
            ("[prices]\ncurrency = 'dollars'", "prices.currency"),
            ("[prices.sms]\n'Mars' = 1.0", "prices.sms"),
        ] {
            let error = message(text, &[]);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn rates_and_daily_limits_follow_from_the_kind() {
        let text = "[[senders]]\naddress = 'whatsapp:+14155550100'\nkind = 'whatsapp'\n[[senders]]\naddress = '+14155550100'\nkind = 'toll_free'";
        let senders = load(text, &[]).unwrap().config.senders;
        assert_eq!((senders[0].rate_per_second(), senders[0].recipients_per_day()), (80.0, Some(250)));
        assert_eq!((senders[1].rate_per_second(), senders[1].recipients_per_day()), (3.0, None));
    }

    #[test]
    fn a_real_account_behind_a_loopback_address_is_not_ready() {
        let text = "[twilio]\naccount_sid = 'AC0123456789abcdef0123456789abcdef'\nauth_token = 'x'\n[[senders]]\naddress = '+14155550100'\nkind = 'long_code'";
        let config = load(text, &[]).unwrap().config;
        assert!(config.setup_problem().unwrap().contains("public_base_url"));
        let simulated = load(text, &[("ESE_TWILIO__API_BASE", "http://127.0.0.1:9010")]).unwrap().config;
        assert_eq!(simulated.setup_problem(), None);
    }
}
