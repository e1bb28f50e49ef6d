//! The doctor: looks at everything that has to be right before sending, and says what mends it. `ese check` prints
//! what the set-up page shows.

use std::path::Path;
use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::clock::Millis;
use crate::config::{Config, Sender, SenderKind};
use crate::store::{Store, StoreError, senders};
use crate::twilio::account::AccountSeen;
use crate::twilio::client::{Client, is_loopback};
use crate::twilio::lookup::LookupError;
use crate::twilio::round_trip::{RoundTripError, round_trip};

/// A token of Twilio's has so many characters.
const TOKEN_LENGTH: usize = 32;
/// How far the clocks may be apart, in milliseconds. Beyond it campaigns start visibly late or early.
const CLOCK_SLACK: Millis = 30_000;
/// Senders that are looked up, at most: each is a question to Twilio.
const MOST_SENDERS: usize = 10;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Can it be written, and by this user alone?
    DataFile,
    /// The same for the key.
    KeyFile,
    /// Is there room?
    Disk,
    /// Do Twilio and its credentials answer?
    Account,
    /// Does this machine tell the time as Twilio does?
    Clock,
    /// Are they the account's?
    Senders,
    /// May Twilio reach it?
    PublicAddress,
    /// Does a signed request through it come here?
    RoundTrip,
}

impl Topic {
    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Topic::DataFile => "Data file",
            Topic::KeyFile => "Key file",
            Topic::Disk => "Disk",
            Topic::Account => "Account",
            Topic::Clock => "Clock",
            Topic::Senders => "Senders",
            Topic::PublicAddress => "Public URL",
            Topic::RoundTrip => "Signed round trip",
        }
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but somebody should know.
    Note,
    /// To be mended.
    Bad,
    /// Something else comes first.
    Waits,
}

impl Verdict {
    /// The word in templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Good => "good",
            Verdict::Note => "note",
            Verdict::Bad => "bad",
            Verdict::Waits => "waits",
        }
    }
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub topic: Topic,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, and what mends it.
    pub text: String,
}

impl Finding {
    fn new(topic: Topic, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding { topic, verdict, text: text.into() }
    }
}

/// All lines, and when they were made.
#[derive(Clone, Debug)]
pub struct Checkup {
    /// By our clock.
    pub at: Millis,
    /// In the order of set-up.
    pub findings: Vec<Finding>,
}

/// What is looked at.
pub struct Patient<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// The data file.
    pub store: &'a Store,
    /// Who speaks to the account.
    pub client: Option<&'a Client>,
    /// Whether a server runs, so that the round trip has to come back.
    pub is_serving: bool,
}

impl Patient<'_> {
    /// Looks at everything. Asks Twilio a few questions and makes one request to the public address.
    pub async fn look(&self) -> Checkup {
        let at = self.store.clock().now();
        let mut findings = vec![
            data_file(self.store).await,
            private(Topic::KeyFile, &self.config.store.key_file),
            disk(self.store, self.config.alerts.disk_free_mb),
        ];
        let (account, seen) = account(self.config, self.client).await;
        let is_known = seen.is_some();
        findings.push(account);
        findings.push(clock(self.store, seen.and_then(|seen| seen.answered_at)));
        findings.push(self.senders(is_known).await);
        let address = public_address(self.config);
        let may_travel = address.verdict != Verdict::Bad;
        findings.push(address);
        findings.push(self.round_trip(may_travel).await);
        Checkup { at, findings }
    }

    async fn senders(&self, is_known: bool) -> Finding {
        let finding = |verdict, text: String| Finding::new(Topic::Senders, verdict, text);
        let senders = &self.config.senders;
        if senders.is_empty() {
            return finding(Verdict::Bad, "add the address and kind of a number of the account".to_owned());
        }
        let listed = senders.iter().map(describe).collect::<Vec<_>>().join("; ");
        let Some(client) = self.client.filter(|client| is_known && !client.is_simulated()) else {
            return finding(Verdict::Good, listed);
        };
        let numbers = senders.iter().filter(|sender| is_owned_number(sender)).take(MOST_SENDERS);
        for sender in numbers {
            match client.owns_number(&sender.address).await {
                Ok(true) => {}
                Ok(false) => {
                    let text = format!("{} is not a number of this account", sender.address);
                    return finding(Verdict::Bad, text);
                }
                Err(error) => {
                    let text = format!("{listed}. Whether they are the account's was not told: {error}");
                    return finding(Verdict::Note, text);
                }
            }
        }
        finding(Verdict::Good, listed)
    }

    async fn round_trip(&self, may_travel: bool) -> Finding {
        let finding = |verdict, text: String| Finding::new(Topic::RoundTrip, verdict, text);
        let twilio = &self.config.twilio;
        if twilio.auth_token.expose_secret().is_empty() {
            return finding(Verdict::Waits, "waits for the auth token, which signs".to_owned());
        }
        if !may_travel {
            return finding(Verdict::Waits, "waits for the public address".to_owned());
        }
        let base = &self.config.server.public_base_url;
        match round_trip(base, &twilio.account_sid, &twilio.auth_token).await {
            Ok(()) => {
                let base = base.as_str().trim_end_matches('/');
                finding(Verdict::Good, format!("{base} leads here, and signatures fit on arrival"))
            }
            Err(error @ RoundTripError::Unreachable(..)) if !self.is_serving => {
                finding(Verdict::Note, format!("{error}. Start the server and check again"))
            }
            Err(error) => finding(Verdict::Bad, error.to_string()),
        }
    }
}

/// Numbers that the account's list of numbers has. Short codes, services and WhatsApp senders stand elsewhere.
fn is_owned_number(sender: &Sender) -> bool {
    matches!(sender.kind, SenderKind::LongCode | SenderKind::TollFree | SenderKind::TenDlc)
}

async fn data_file(store: &Store) -> Finding {
    let finding = |verdict, text: String| Finding::new(Topic::DataFile, verdict, text);
    let now = store.clock().now();
    let paused = store
        .read(move |conn| {
            let account = senders::account_pause(conn, now)?.map(|(reason, _)| reason);
            let sender = senders::list(conn)?.into_iter().find(|sender| sender.is_paused(now));
            Ok::<_, StoreError>(account.or(sender.and_then(|sender| sender.pause_reason)))
        })
        .await;
    match paused {
        Ok(None) => match private(Topic::DataFile, &store.paths().path) {
            Finding { verdict: Verdict::Good, .. } => {
                finding(Verdict::Good, format!("{} can be written", store.paths().path.display()))
            }
            other => other,
        },
        Ok(Some(reason)) => finding(Verdict::Bad, format!("sending is paused: {reason}")),
        Err(error) => finding(Verdict::Bad, error.to_string()),
    }
}

#[cfg(unix)]
fn private(topic: Topic, path: &Path) -> Finding {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(data) if data.permissions().mode() & 0o077 == 0 => {
            Finding::new(topic, Verdict::Good, format!("{shown} is readable by its owner alone"))
        }
        Ok(data) => {
            let mode = data.permissions().mode() & 0o777;
            let text = format!("{shown} can be read by others (mode {mode:o}). Run: chmod 600 {shown}");
            Finding::new(topic, Verdict::Bad, text)
        }
        Err(error) => Finding::new(topic, Verdict::Bad, format!("{shown}: {error}")),
    }
}

#[cfg(not(unix))]
fn private(topic: Topic, path: &Path) -> Finding {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(_) => {
            let text = format!("{shown} is there; its permissions are not looked at here");
            Finding::new(topic, Verdict::Note, text)
        }
        Err(error) => Finding::new(topic, Verdict::Bad, format!("{shown}: {error}")),
    }
}

fn disk(store: &Store, wanted_mb: u64) -> Finding {
    let Some(free) = store.free_bytes().map(|bytes| bytes / 1_000_000) else {
        return Finding::new(Topic::Disk, Verdict::Note, "how much is free is not told here");
    };
    let verdict = if free < wanted_mb { Verdict::Bad } else { Verdict::Good };
    let wanted = if free < wanted_mb { format!(", {wanted_mb} MB should be") } else { String::new() };
    Finding::new(Topic::Disk, verdict, format!("{free} MB are free{wanted}"))
}

/// What Twilio says to the credentials of `config`, asked by `client`.
pub async fn account(config: &Config, client: Option<&Client>) -> (Finding, Option<AccountSeen>) {
    let finding = |verdict, text: String| Finding::new(Topic::Account, verdict, text);
    let twilio = &config.twilio;
    let Some(client) = client.filter(|_| !twilio.auth_token.expose_secret().is_empty()) else {
        let text = "set account SID and auth token, both from the Twilio console".to_owned();
        return (finding(Verdict::Bad, text), None);
    };
    match client.look_at_account().await {
        Ok(seen) if seen.status != "active" => {
            (finding(Verdict::Bad, format!("the account is {}", seen.status)), None)
        }
        Ok(seen) if client.is_simulated() => {
            let name = &seen.name;
            let text = format!("{name} at {}: a simulator, nothing is really sent", twilio.api_base);
            (finding(Verdict::Note, text), Some(seen))
        }
        Ok(seen) => (finding(Verdict::Good, format!("{} is active", seen.name)), Some(seen)),
        Err(error) => (finding(Verdict::Bad, refusal(config, &error)), None),
    }
}

/// What is wrong with credentials that Twilio refused, or why it could not be asked.
pub fn refusal(config: &Config, error: &LookupError) -> String {
    let twilio = &config.twilio;
    if !matches!(error, LookupError::Refused { http_status: 401 | 403, .. }) {
        return format!("{} says: {error}", twilio.api_base);
    }
    let length = twilio.auth_token.expose_secret().len();
    let uses_key = !twilio.api_key_sid.is_empty();
    let what = if uses_key { "this API key" } else { "this token" };
    let hint = if length == TOKEN_LENGTH || uses_key || is_loopback(&twilio.api_base) {
        "Compare it with the Twilio console.".to_owned()
    } else {
        format!("It has {length} characters, a token has {TOKEN_LENGTH}: copy it again.")
    };
    format!("Twilio refused {what} (20003). {hint}")
}

fn clock(store: &Store, theirs: Option<Millis>) -> Finding {
    let Some(theirs) = theirs else {
        return Finding::new(
            Topic::Clock,
            Verdict::Waits,
            "waits for the account: Twilio's clock is the measure",
        );
    };
    let ahead = store.clock().now() - theirs;
    let seconds = ahead.abs() / 1_000;
    if ahead.abs() <= CLOCK_SLACK {
        return Finding::new(Topic::Clock, Verdict::Good, "agrees with Twilio's");
    }
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let text =
        format!("{seconds} s {way} Twilio's: campaigns start by it. Let the system keep the time (NTP)");
    Finding::new(Topic::Clock, Verdict::Bad, text)
}

fn describe(sender: &Sender) -> String {
    let limit =
        sender.recipients_per_day().map_or_else(String::new, |people| format!(", {people} people a day"));
    let (kind, rate) = (sender.kind.as_str(), sender.rate_per_second());
    format!("{} ({kind}, {rate} parts a second{limit})", sender.address)
}

fn public_address(config: &Config) -> Finding {
    let finding = |verdict, text: String| Finding::new(Topic::PublicAddress, verdict, text);
    let base = &config.server.public_base_url;
    if is_loopback(&config.twilio.api_base) {
        let base = base.as_str().trim_end_matches('/');
        return finding(Verdict::Note, format!("{base}: a simulator on this machine reaches it"));
    }
    if is_loopback(base) || base.scheme() != "https" {
        return finding(
            Verdict::Bad,
            format!(
                "Twilio can't reach {base}. Set the public address of this server, https, under Settings, or [server] public_base_url."
            ),
        );
    }
    let base = base.as_str().trim_end_matches('/');
    finding(
        Verdict::Good,
        format!("{base}; set {base}/webhooks/twilio/inbound for incoming messages in the Twilio console"),
    )
}

/// The last look, for all who show it.
pub type LastCheckup = crate::live::Live<Option<Arc<Checkup>>>;
