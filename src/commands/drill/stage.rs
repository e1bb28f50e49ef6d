//! What everybody in the drill shares: the place, the two doors, and the log of what was done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cast::Person;
use super::children::{Child, Place};
use super::client::{Api, Control};
use super::record::{Meaning, Single, Start, Word};
use crate::clock::{Clock, Millis};

/// How often a starting server is asked whether it is ready.
const LOOK: Duration = Duration::from_millis(10);
/// When a server that does not get ready is given up.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) kills: Vec<Millis>,
    pub(super) starts: Vec<Start>,
    pub(super) words: Vec<Word>,
    pub(super) singles: Vec<Single>,
    /// How often a campaign was paused on purpose, and how often one that Twilio's answers had paused was
    /// resumed.
    pub(super) pauses: u64,
    pub(super) rescues: u64,
    /// How often each kind of weather came.
    pub(super) weather: std::collections::BTreeMap<&'static str, u64>,
    /// From when to when Twilio's lists were late.
    pub(super) late_lists: Vec<(Millis, Millis)>,
}

/// The stage of a drill.
pub(super) struct Stage {
    pub(super) place: Place,
    pub(super) api: Api,
    pub(super) control: Control,
    pub(super) people: Vec<Person>,
    pub(super) seed: u64,
    server: Mutex<Option<Child>>,
    log: Mutex<Log>,
    is_up: AtomicBool,
    is_over: AtomicBool,
    is_calm: AtomicBool,
    /// How much of the drill is over, in thousandths.
    elapsed: AtomicU64,
    clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A stage whose server was never started.
    pub(super) fn new(place: Place, api: Api, control: Control, people: Vec<Person>, seed: u64) -> Stage {
        Stage {
            place,
            api,
            control,
            people,
            seed,
            server: Mutex::default(),
            log: Mutex::default(),
            is_up: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            is_calm: AtomicBool::new(false),
            elapsed: AtomicU64::new(0),
            clock: Clock::system(),
        }
    }

    /// The log, to add to or to read.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// The calendar's time, which all processes of this machine share.
    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Whether the server runs, as far as the drill knows.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::SeqCst)
    }

    /// Whether the kills are over and everybody should come to an end.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Lets everybody come to an end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Nothing goes wrong any more, but for the refusals.
    pub(super) fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing goes wrong any more.
    pub(super) async fn until_calm(&self) {
        while !self.is_calm.load(Ordering::SeqCst) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How much of the drill is over, 0 to 1.
    pub(super) fn elapsed(&self) -> f64 {
        self.elapsed.load(Ordering::SeqCst) as f64 / 1_000.0
    }

    /// So much is over.
    pub(super) fn set_elapsed(&self, share: f64) {
        self.elapsed.store((share * 1_000.0) as u64, Ordering::SeqCst);
    }

    /// Starts the server, and does not wait for it.
    pub(super) fn spawn(&self) -> Result<()> {
        let start = Start { spawned_at: self.now(), ready_at: None };
        *lock(&self.server) = Some(self.place.serve()?);
        self.log().starts.push(start);
        self.is_up.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Waits until the server that was started last is ready.
    pub(super) async fn ready(&self) -> Result<()> {
        let waiting = async {
            loop {
                if let Some(server) = lock(&self.server).as_mut() {
                    server.check()?;
                }
                if self.api.is_ready().await {
                    return Ok::<_, anyhow::Error>(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(READY_LIMIT, waiting).await {
            Ok(ready) => ready?,
            Err(_) => bail!("the server was not ready within {} s", READY_LIMIT.as_secs()),
        }
        let now = self.now();
        if let Some(start) = self.log().starts.last_mut() {
            start.ready_at.get_or_insert(now);
        }
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(&self) -> Result<()> {
        let mut server = lock(&self.server).take().context("there is no server to kill")?;
        // It must die of this and of nothing else.
        server.check()?;
        self.is_up.store(false, Ordering::SeqCst);
        let now = self.now();
        server.kill()?;
        self.log().kills.push(now);
        Ok(())
    }

    /// SIGTERM, and waits for a good end.
    pub(super) async fn stop(&self) -> Result<()> {
        let server = lock(&self.server).take().context("there is no server to stop")?;
        self.is_up.store(false, Ordering::SeqCst);
        let status = server.stop(STOP_LIMIT).await?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM");
        }
        Ok(())
    }

    /// An error if the server ended by itself.
    pub(super) fn check(&self) -> Result<()> {
        match lock(&self.server).as_mut() {
            Some(server) => server.check(),
            None => Ok(()),
        }
    }

    /// Writes as a person, and keeps what came of it. The moment of a 2xx is looked up later, in the record
    /// of the webhooks.
    pub(super) async fn write(&self, phone: &str, channel: &str, body: &str, meaning: Meaning) -> Result<()> {
        let (from, to) = match channel {
            "whatsapp" => (format!("whatsapp:{phone}"), super::cast::WHATSAPP_SENDER),
            _ => (phone.to_owned(), super::cast::SMS_SENDER),
        };
        let (sent_at, was_dead) = (self.now(), !self.is_up());
        let written = self.control.write(&from, to, body).await?;
        let is_heard = written.status.is_some_and(|status| (200..300).contains(&status));
        self.log().words.push(Word {
            phone: phone.to_owned(),
            meaning,
            sid: written.sid,
            sent_at,
            answered_at: None,
            was_dead: was_dead && !is_heard,
        });
        Ok(())
    }

    /// Waits, in short steps, so that the end of the drill is noticed.
    pub(super) async fn pause(&self, seconds: f64) {
        let end = tokio::time::Instant::now() + Duration::from_secs_f64(seconds.max(0.0));
        while !self.is_over() && tokio::time::Instant::now() < end {
            let left = end - tokio::time::Instant::now();
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }
}
