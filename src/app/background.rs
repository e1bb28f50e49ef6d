//! The loops beside HTTP: what each one looks after, how often, and what wakes it earlier. A stop ends them all.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinHandle;

use super::configured::{publish_settings, take_up_settings};
use crate::campaign;
use crate::catalogue::Catalogue;
use crate::delivery::{self, Dispatcher, Poller, Reconciler, Settings};
use crate::import::{self, Pace};
use crate::inbound::{self, CatchUp};
use crate::live::Live;
use crate::people::{self, BulkPace};
use crate::privacy;
use crate::publish::watch::Thresholds;
use crate::publish::{self, Publisher};
use crate::store::outcomes::RetryPolicy;
use crate::ticker::{self, Stop};
use crate::twilio::client::Client;
use crate::web::{self, State};

const SECOND: Duration = Duration::from_secs(1);

/// Starts every loop.
pub(super) fn background(
    state: &State,
    delivery: Live<Settings>,
    stop: &Stop,
) -> Result<Vec<JoinHandle<()>>> {
    let mut tasks = Vec::new();
    if state.config.get().delivery.catch_up {
        tasks.push(catch_up(state, stop));
    }
    lookups(state, &delivery, stop, &mut tasks);
    let dispatcher =
        Dispatcher::new(state.store.clone(), state.twilio.clone(), delivery, state.metrics.clone());
    let outbox = dispatcher.outbox();
    tasks.push(tokio::spawn(dispatcher.run(stop.clone().pulled())));
    let store = state.store.clone();
    tasks.push(spawn("rescue", SECOND * 30, stop, std::future::pending, move || {
        let (store, outbox) = (store.clone(), Arc::clone(&outbox));
        async move { delivery::rescue_orphans(&store, &outbox).await.map(drop) }
    }));
    tasks.push(changed_settings(state, stop));
    tasks.push(content_templates(state, stop));
    tasks.push(campaigns(state, stop));
    tasks.push(segment_triggers(state, stop));
    tasks.push(imports(state, stop));
    tasks.push(import_checks(state, stop));
    tasks.push(many_people(state, stop));
    tasks.push(replays(state, stop));
    tasks.push(retention(state, stop));
    tasks.push(catalogue(state, stop));
    outbound(state, stop, &mut tasks)?;
    tasks.push(vitals(state, stop));
    let store = state.store.clone();
    tasks.push(spawn("checkpoint", SECOND * 5, stop, std::future::pending, move || {
        let store = store.clone();
        async move { store.checkpoint().await }
    }));
    let store = state.store.clone();
    let watch = Arc::new(std::sync::Mutex::new(store.watch_file()?));
    tasks.push(spawn("watch", SECOND, stop, std::future::pending, move || {
        let (store, watch) = (store.clone(), Arc::clone(&watch));
        async move { watch.lock().unwrap_or_else(std::sync::PoisonError::into_inner).look(&store) }
    }));
    Ok(tasks)
}

/// Events to webhook endpoints, their log, and alerts that no transaction tells.
fn outbound(state: &State, stop: &Stop, tasks: &mut Vec<JoinHandle<()>>) -> Result<()> {
    let settings = Live::new(publish_settings(&state.config.get()));
    let publisher = Publisher::new(state.store.clone(), settings.clone(), state.metrics.clone())?;
    tasks.push(tokio::spawn(publisher.run(stop.clone().pulled())));
    // A copy, taken from the configuration every second: settings change it while the server runs.
    let config = state.config.clone();
    tasks.push(spawn("webhook_settings", SECOND, stop, std::future::pending, move || {
        settings.set(publish_settings(&config.get()));
        async { Ok::<_, Infallible>(()) }
    }));
    let (store, config) = (state.store.clone(), state.config.clone());
    tasks.push(spawn("webhook_log", SECOND * 3_600, stop, std::future::pending, move || {
        let (store, days) = (store.clone(), i64::from(config.get().webhooks.log_days));
        async move { publish::prune_log(&store, days * 86_400_000).await.map(drop) }
    }));
    let (store, config) = (state.store.clone(), state.config.clone());
    tasks.push(spawn("alerts", SECOND * 60, stop, std::future::pending, move || {
        let (store, alerts) = (store.clone(), config.get().alerts);
        let thresholds = Thresholds {
            disk_free_mb: alerts.disk_free_mb,
            backup_max_age_hours: alerts.backup_max_age_hours,
        };
        async move { publish::watch::look(&store, thresholds, store.free_bytes()).await }
    }));
    Ok(())
}

/// Takes up settings that another process changed.
fn changed_settings(state: &State, stop: &Stop) -> JoinHandle<()> {
    let (store, in_force) = (state.store.clone(), state.in_force.clone());
    spawn("settings", SECOND, stop, std::future::pending, move || {
        let (store, in_force) = (store.clone(), in_force.clone());
        async move { take_up_settings(&store, &in_force).await }
    })
}

/// What became of messages, asked of Twilio. A stop waits for no answer: a question is asked again.
fn lookups(state: &State, settings: &Live<Settings>, stop: &Stop, tasks: &mut Vec<JoinHandle<()>>) {
    let (store, client, metrics) = (&state.store, &state.twilio, &state.metrics);
    let reconciler = Reconciler::new(store.clone(), client.clone(), settings.clone(), metrics.clone());
    let reconciler = Arc::new(reconciler);
    let stopped = stop.clone();
    tasks.push(spawn("reconcile", SECOND, stop, std::future::pending, move || {
        let (reconciler, stopped) = (Arc::clone(&reconciler), stopped.clone());
        async move {
            tokio::select! {
                () = stopped.pulled() => Ok(()),
                looked = reconciler.tick() => looked.map(drop),
            }
        }
    }));
    let poller = Poller::new(store.clone(), client.clone(), settings.clone(), metrics.clone());
    let (poller, stopped) = (Arc::new(poller), stop.clone());
    tasks.push(spawn("poll", SECOND * 10, stop, std::future::pending, move || {
        let (poller, stopped) = (Arc::clone(&poller), stopped.clone());
        async move {
            tokio::select! {
                () = stopped.pulled() => Ok(()),
                polled = poller.tick() => polled.map(drop),
            }
        }
    }));
}

/// Learns what WhatsApp thinks of templates: when there is an account, when there is another one, and every so many
/// minutes.
fn content_templates(state: &State, stop: &Stop) -> JoinHandle<()> {
    let (state, stopped) = (state.clone(), stop.clone());
    let mut last: Option<(Weak<Option<Client>>, Instant)> = None;
    spawn("content", SECOND, stop, std::future::pending, move || {
        let client = state.twilio.get();
        let rest = SECOND * 60 * state.config.get().twilio.content_sync_minutes;
        let is_same = |of: &Weak<_>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(&client));
        let has_looked = last.as_ref().is_some_and(|(of, at)| is_same(of) && at.elapsed() < rest);
        let is_due = !rest.is_zero() && state.contents.has_account() && !has_looked;
        if is_due {
            last = Some((Arc::downgrade(&client), Instant::now()));
        }
        let (contents, stopped) = (state.contents.clone(), stopped.clone());
        async move {
            if !is_due {
                return Ok(());
            }
            tokio::select! {
                () = stopped.pulled() => Ok(()),
                synced = contents.sync() => synced.map(drop),
            }
        }
    })
}

fn campaigns(state: &State, stop: &Stop) -> JoinHandle<()> {
    let (store, setup, rules) = (state.store.clone(), state.setup.clone(), state.rules.clone());
    let woken = store.clone();
    let wake = move || {
        let store = woken.clone();
        async move { store.campaigns_woken().await }
    };
    spawn("campaigns", SECOND, stop, wake, move || {
        let (store, setup, presets) = (store.clone(), setup.get(), Arc::clone(&rules.get().presets));
        async move {
            // What stops the one does not stop the other.
            let frozen = campaign::freeze_all(&store, &presets, setup.is_simulated).await;
            let looked_after = campaign::tick(&store, &setup).await;
            frozen.and(looked_after)
        }
    })
}

/// Turns the people of events' segments into messages: a loop of its own, so that no start waits for them.
fn segment_triggers(state: &State, stop: &Stop) -> JoinHandle<()> {
    let (store, rules, setup) = (state.store.clone(), state.rules.clone(), state.setup.clone());
    let woken = store.clone();
    let wake = move || {
        let store = woken.clone();
        async move { store.triggers_woken().await }
    };
    let flag = stop.flag();
    spawn("triggers", SECOND, stop, wake, move || {
        let (store, flag, is_simulated) = (store.clone(), Arc::clone(&flag), setup.get().is_simulated);
        let presets = Arc::clone(&rules.get().presets);
        async move { campaign::expand_all(&store, &presets, is_simulated, &flag).await }
    })
}

/// Fetches what people wrote while nobody listened. Made before the dispatcher runs: the start is a gap.
fn catch_up(state: &State, stop: &Stop) -> JoinHandle<()> {
    let store = state.store.clone();
    let client = state.twilio.clone();
    let catch_up = CatchUp::new(store.clone(), client, state.keywords.clone(), state.metrics.clone());
    let catch_up = Arc::new(catch_up);
    let wake = move || {
        let store = store.clone();
        async move { store.gaps().noted().await }
    };
    // A stop waits for a look under way: cut off, it would leave its connection, and with it the log, behind.
    spawn("catch_up", SECOND * 5, stop, wake, move || {
        let catch_up = Arc::clone(&catch_up);
        async move {
            catch_up.tick().await;
            Ok::<_, Infallible>(())
        }
    })
}

fn imports(state: &State, stop: &Stop) -> JoinHandle<()> {
    let store = state.store.clone();
    let woken = store.clone();
    let wake = move || {
        let store = woken.clone();
        async move { store.import_woken().await }
    };
    let pace = Pace { stop: stop.flag(), ..Pace::default() };
    spawn("imports", SECOND * 5, stop, wake, move || {
        let (store, pace) = (store.clone(), pace.clone());
        async move {
            import::run_queued(&store, &pace).await?;
            import::run_undos(&store, &pace).await.map(drop)
        }
    })
}

/// Dry runs of drafts: somebody looks at the page and waits, however long an import takes beside.
fn import_checks(state: &State, stop: &Stop) -> JoinHandle<()> {
    let store = state.store.clone();
    let woken = store.clone();
    let wake = move || {
        let store = woken.clone();
        async move { store.import_checks_woken().await }
    };
    let pace = Pace { stop: stop.flag(), ..Pace::default() };
    spawn("import checks", SECOND * 5, stop, wake, move || {
        let (store, pace) = (store.clone(), pace.clone());
        async move { import::run_checks(&store, &pace).await.map(drop) }
    })
}

/// Lets the search find who came in, and carries on with what operators do to many people.
fn many_people(state: &State, stop: &Stop) -> JoinHandle<()> {
    let store = state.store.clone();
    let woken = store.clone();
    let wake = move || {
        let store = woken.clone();
        async move { store.people_woken().await }
    };
    let pace = BulkPace { stop: stop.flag(), ..BulkPace::default() };
    spawn("people", SECOND * 5, stop, wake, move || {
        let (store, pace) = (store.clone(), pace.clone());
        async move {
            people::index(&store, &pace.stop).await?;
            people::run_bulk(&store, &pace).await
        }
    })
}

/// Counts what attributes people have.
fn catalogue(state: &State, stop: &Stop) -> JoinHandle<()> {
    let catalogue = Arc::new(Catalogue::new(state.store.clone()));
    spawn("catalogue", SECOND, stop, std::future::pending, move || {
        let catalogue = Arc::clone(&catalogue);
        async move { catalogue.tick().await }
    })
}

/// Takes away what is over.
fn retention(state: &State, stop: &Stop) -> JoinHandle<()> {
    let (state, flag) = (state.clone(), stop.flag());
    spawn("retention", SECOND * 600, stop, std::future::pending, move || {
        let (state, flag) = (state.clone(), Arc::clone(&flag));
        async move {
            let days = state.config.get().retention;
            import::sweep_drafts(&state.store).await?;
            privacy::retain(&state.store, &days, &state.metrics, &flag).await.map(drop)
        }
    })
}

/// Follows how the process is doing, for pages that show the last minutes.
fn vitals(state: &State, stop: &Stop) -> JoinHandle<()> {
    let state = state.clone();
    spawn("vitals", SECOND, stop, std::future::pending, move || {
        let state = state.clone();
        async move { web::health::note_vitals(&state).await }
    })
}

/// Tries again what was kept but could not be applied.
fn replays(state: &State, stop: &Stop) -> JoinHandle<()> {
    let state = state.clone();
    spawn("replay", SECOND * 60, stop, std::future::pending, move || {
        let (store, keywords, rules) = (state.store.clone(), state.keywords.clone(), state.rules.get());
        let max_attempts = state.config.get().delivery.max_attempts;
        async move {
            store
                .write(move |tx| {
                    let policy = RetryPolicy::of(&rules, max_attempts);
                    inbound::replay(tx, None, (0, 0), &keywords.get(), &policy).map(drop)
                })
                .await
        }
    })
}

fn spawn<T, W, E>(
    name: &'static str,
    interval: Duration,
    stop: &Stop,
    wake: impl Fn() -> W + Send + Sync + 'static,
    tick: impl FnMut() -> T + Send + 'static,
) -> JoinHandle<()>
where
    T: Future<Output = std::result::Result<(), E>> + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    tokio::spawn(ticker::run(name, interval, stop.clone(), wake, tick))
}
