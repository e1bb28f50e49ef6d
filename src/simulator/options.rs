//! How a simulator is set up. Every value has a default that suits tests: fast, free of faults,
//! and accepting any sender.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::faults::Faults;

/// What a [`Simulator`](super::Simulator) is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes any free one. Only loopback, unless
    /// [`allow_remote`](Options::allow_remote) is set: neither the control API nor the phone page
    /// asks for a password.
    pub listen: SocketAddr,
    /// Lets it listen on an address that other machines reach.
    pub allow_remote: bool,
    /// Threads that serve requests.
    pub workers: usize,
    /// The one account, `AC` and 32 hex digits.
    pub account_sid: String,
    /// Password of the account and key of every signature.
    pub auth_token: String,
    /// An API key that may be used instead: its SID and its secret. It never signs.
    pub api_key: Option<(String, String)>,
    /// Where inbound messages are announced. Without it they are only stored.
    pub inbound_url: Option<String>,
    /// The account's own numbers and channel addresses. Empty: any well-formed sender is taken,
    /// otherwise a strange one is 21606 (63007 on WhatsApp).
    pub senders: Vec<String>,
    /// Senders out of which any Messaging Service picks; one number keeps its sender.
    pub service_senders: Vec<String>,
    /// Time until a request is worked on, in milliseconds.
    pub latency_ms: u64,
    /// Requests worked on at once before 429, as Twilio limits concurrency and not rate.
    pub concurrency_limit: Option<usize>,
    /// Time between two statuses of a message, in milliseconds.
    pub callback_delay_ms: u64,
    /// Status callbacks and inbound webhooks under way at once.
    pub callback_concurrency: usize,
    /// How many callbacks the control API remembers; older ones are forgotten.
    pub callback_log: usize,
    /// Share of messages that end undelivered, 0 to 100.
    pub fail_percent: f64,
    /// Share of delivered WhatsApp messages that are then read, 0 to 100.
    pub read_percent: f64,
    /// Decides which messages fail, are read, or meet a fault: same seed, same fate.
    pub seed: u64,
    /// What SIDs are drawn from. None: another one at each start, so that no SID ever comes twice, as at
    /// Twilio. A test that has to know a SID beforehand pins it.
    pub identity: Option<u64>,
    /// Message parts per second of each sender; without it they leave at once.
    pub sender_rate: Option<f64>,
    /// Parts per second of single senders, by address; wins over `sender_rate`.
    pub sender_rates: HashMap<String, f64>,
    /// Whether keywords are handled as Advanced Opt-Out: on WhatsApp too, and the webhook says
    /// so in `OptOutType`.
    pub advanced_opt_out: bool,
    /// Treats the 24-hour window of WhatsApp as open for everybody.
    pub window_open: bool,
    /// When WhatsApp approves what was submitted, in milliseconds; without it the control API decides.
    pub approve_after_ms: Option<u64>,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            workers: 1,
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            auth_token: "simulated-auth-token".to_owned(),
            api_key: None,
            inbound_url: None,
            senders: Vec::new(),
            service_senders: vec!["+15005550006".to_owned(), "whatsapp:+14155238886".to_owned()],
            latency_ms: 0,
            concurrency_limit: None,
            callback_delay_ms: 20,
            callback_concurrency: 64,
            callback_log: 50_000,
            fail_percent: 0.0,
            read_percent: 50.0,
            seed: 1,
            identity: None,
            sender_rate: None,
            sender_rates: HashMap::new(),
            advanced_opt_out: false,
            window_open: false,
            approve_after_ms: None,
            faults: Faults::default(),
        }
    }
}

impl Options {
    /// Parts per second of `sender`, if it is limited at all.
    pub(super) fn rate_of(&self, sender: &str) -> Option<f64> {
        self.sender_rates.get(sender).copied().or(self.sender_rate).filter(|rate| *rate > 0.0)
    }
}
