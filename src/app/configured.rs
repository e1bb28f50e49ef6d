//! What the configuration means for each part of the process, at its start and when a setting changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::campaign::Setup;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, InForce, Loaded, UncertainPolicy};
use crate::content::Contents;
use crate::delivery::{SenderLimits, Settings, UncertainRules};
use crate::domain::consent::KeywordTable;
use crate::domain::rules::Rules;
use crate::inbound::Attachments;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::publish;
use crate::stand_in::StandIn;
use crate::store::{Store, StoreError, StorePaths, senders, settings};
use crate::twilio::client::{Client, is_loopback};
use crate::twilio::content::ContentClient;
use crate::vitals::Vitals;
use crate::web::State;
use crate::web::admin::Backups;
use crate::web::admin::badges::Badges;
use crate::web::admin::live::Watchers;
use crate::web::limits::Limits;
use crate::web::streams::Streams;

/// Opens the store of `config`.
///
/// # Errors
/// Says what is wrong with the file and what to do.
pub fn open_store(config: &Config, clock: Clock) -> Result<Store> {
    let paths = StorePaths { path: config.store.path.clone(), key_file: config.store.key_file.clone() };
    Ok(Store::open(paths, clock)?)
}

/// Writes the senders of `config` into the store, where rows refer to them.
///
/// # Errors
/// When the store can't be written.
pub async fn synchronize_senders(store: &Store, config: &Config) -> Result<()> {
    let configured = config.named_senders();
    Ok(store.write::<_, _, StoreError>(move |tx| senders::synchronize(tx, &configured)).await?)
}

/// `loaded` with the settings that `rows` hold. One that can't be taken any more is left out with a line in the
/// log: the file may have changed since, and the server starts all the same.
///
/// # Errors
/// When the configuration makes no sense even without them.
pub fn with_settings(loaded: &Loaded, rows: settings::Rows) -> Result<Loaded, ConfigError> {
    let settings = crate::config::Settings { version: rows.version, values: rows.values };
    let (loaded, left_out) = loaded.with_usable_settings(settings)?;
    for error in left_out {
        tracing::warn!(%error, "a setting can't be taken and is left out");
    }
    Ok(loaded)
}

/// The state of a server, and what delivery needs of the configuration. Both follow its changes.
///
/// # Errors
/// When no HTTP client can be made.
pub fn state(
    store: Store,
    loaded: Loaded,
    setup: Setup,
    metrics: Metrics,
) -> Result<(State, Live<Settings>)> {
    let twilio = Live::new(client(&loaded.config)?);
    let content_client = Live::new(content_client(&loaded.config)?);
    let contents = Contents::new(store.clone(), content_client.clone());
    let attachments = Attachments::new(store.clone(), twilio.clone());
    let setup = Live::new(setup);
    let limits = Limits::new(&loaded.config.server, store.clock());
    let config = Live::new(loaded.config.clone());
    let rules = Live::new(rules(&loaded.config));
    let keywords = Live::new(KeywordTable::with_added(&loaded.config.keywords));
    let delivery = Live::new(delivery_settings(&loaded.config));
    let lives = (config.clone(), rules.clone(), keywords.clone(), delivery.clone(), store.clone());
    let account = Account {
        client: twilio.clone(),
        contents: content_client,
        setup: setup.clone(),
        store: store.clone(),
    };
    let in_force = InForce::new(loaded, move |loaded| {
        let (config, rules, keywords, delivery, store) = &lives;
        account.follow(&config.get(), &loaded.config);
        config.set(loaded.config.clone());
        rules.set(self::rules(&loaded.config));
        keywords.set(KeywordTable::with_added(&loaded.config.keywords));
        delivery.set(delivery_settings(&loaded.config));
        store.plan_changed();
    });
    let streams = Streams::default();
    let state = State {
        store,
        config,
        in_force,
        setup,
        twilio,
        keywords,
        rules,
        contents,
        attachments,
        metrics,
        limits,
        streams,
        vitals: Vitals::default(),
        watchers: Watchers::default(),
        badges: Badges::default(),
        stand_in: StandIn::default(),
        backups: Backups::default(),
        checkup: Live::new(None),
        looks: Default::default(),
    };
    Ok((state, delivery))
}

/// What speaks to Twilio, and follows the account that is set.
struct Account {
    client: Live<Option<Client>>,
    contents: Live<Option<ContentClient>>,
    setup: Live<Setup>,
    store: Store,
}

impl Account {
    /// Puts new clients in place when what they were made of changed. Whoever is in the middle of something ends it
    /// with the old one.
    fn follow(&self, before: &Config, after: &Config) {
        self.setup.set(setup(after));
        if after.twilio.has_client_of(&before.twilio) {
            return;
        }
        let usable = |error: anyhow::Error| {
            tracing::error!(error = %error, "no client can be made for the account that was set");
            None
        };
        let client = client(after).unwrap_or_else(usable);
        if client.is_some() && after.delivery.catch_up {
            // Before anything can go out: what people wrote to this account has to be heard first.
            self.store.gaps().watch();
        }
        self.client.set(client);
        self.contents.set(content_client(after).unwrap_or_default());
    }
}

/// What the configuration says about sending.
pub fn setup(config: &Config) -> Setup {
    Setup { problem: config.setup_problem(), is_simulated: is_loopback(&config.twilio.api_base) }
}

/// The client of the configured account; `None` while there is no account.
///
/// # Errors
/// When no HTTP client can be made.
pub fn client(config: &Config) -> Result<Option<Client>> {
    Ok(config.twilio.client()?)
}

/// What delivery needs of the configuration.
pub fn delivery_settings(config: &Config) -> Settings {
    let limits = |sender: &crate::config::Sender| SenderLimits {
        rate_per_second: sender.rate_per_second(),
        recipients_per_day: sender.recipients_per_day(),
    };
    Settings {
        account_rate_per_second: config.delivery.account_rate_per_second,
        max_in_flight: config.delivery.max_in_flight,
        max_attempts: config.delivery.max_attempts,
        uncertain: uncertain_rules(config),
        public_base_url: config.server.public_base_url.as_str().trim_end_matches('/').to_owned(),
        senders: config
            .senders
            .iter()
            .map(|sender| (sender.address.clone(), limits(sender)))
            .collect::<HashMap<_, _>>(),
        rules: Arc::new(rules(config)),
    }
}

/// Who asks for templates at Twilio. The credentials of a stand-in on this machine are told to nobody else.
///
/// # Errors
/// When no HTTP client can be made.
fn content_client(config: &Config) -> Result<Option<ContentClient>> {
    let twilio = &config.twilio;
    let is_one_side = is_loopback(&twilio.api_base) == is_loopback(&twilio.content_base);
    let client = client(config)?.filter(|_| is_one_side);
    Ok(client.map(|client| ContentClient::new(client, twilio.content_base.clone())))
}

/// What the configuration says about every message.
pub fn rules(config: &Config) -> Rules {
    Rules {
        presets: Arc::new(config.quiet_hours.clone()),
        replies: Arc::new(config.replies.clone()),
        introduction: config.first_message.introduction(),
        frequency_cap: config.frequency_cap.cap(),
        prices: Arc::new(config.prices.clone()),
        cap_per_day: config.spending.cap_per_day(),
        unreachable_after: config.delivery.unreachable_after,
    }
}

/// What the configuration says about outbound webhooks.
pub fn publish_settings(config: &Config) -> publish::Settings {
    publish::Settings {
        policy: config.webhooks.policy(),
        in_flight_per_endpoint: config.webhooks.in_flight_per_endpoint,
        timeout: Duration::from_secs(config.webhooks.timeout_seconds),
    }
}

/// What the configuration says about messages whose answer was lost.
fn uncertain_rules(config: &Config) -> UncertainRules {
    let seconds = i64::try_from(config.delivery.uncertain_after_seconds).unwrap_or(i64::MAX);
    UncertainRules {
        after: seconds.saturating_mul(1_000),
        resends: config.delivery.uncertain_policy == UncertainPolicy::Resend,
    }
}

/// Looks once whether the settings of the file are newer than those in force, and puts them in force.
///
/// # Errors
/// When the file can't be read, or the settings can't be taken.
pub async fn take_up_settings(store: &Store, in_force: &InForce) -> Result<()> {
    if store.read(settings::version).await? > in_force.get().settings.version {
        let rows = store.read(settings::all).await?.opened(store.key());
        let (before, after) = (in_force.get(), with_settings(&in_force.get(), rows)?);
        if after.config.named_senders() != before.config.named_senders() {
            synchronize_senders(store, &after.config).await?;
        }
        in_force.put(after);
    }
    Ok(())
}
