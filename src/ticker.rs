//! The only background loop: runs a tick at an interval or when woken, until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Tells every loop that the process ends. Clones share it.
#[derive(Clone, Debug)]
pub struct Stop {
    pulled: watch::Receiver<bool>,
    flag: Arc<AtomicBool>,
}

/// The end of [`Stop`] that is pulled.
#[derive(Debug)]
pub struct StopHandle {
    pulled: watch::Sender<bool>,
    flag: Arc<AtomicBool>,
}

/// A stop and its handle.
pub fn stop() -> (StopHandle, Stop) {
    let (sender, pulled) = watch::channel(false);
    let flag = Arc::new(AtomicBool::new(false));
    (StopHandle { pulled: sender, flag: Arc::clone(&flag) }, Stop { pulled, flag })
}

impl StopHandle {
    /// Ends every loop after its current tick.
    pub fn pull(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.pulled.send_replace(true);
    }
}

impl Stop {
    /// Resolves when the handle is pulled or gone.
    pub async fn pulled(mut self) {
        let _ = self.pulled.wait_for(|is_pulled| *is_pulled).await;
    }

    /// Whether it was pulled.
    pub fn is_pulled(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// The same for work on other threads, which looks now and then.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

/// Runs `tick` at once, then every `interval` or when `wake` resolves. An error is logged, once for a run of
/// the same, and the loop goes on.
pub async fn run<T, W, E>(
    name: &'static str,
    interval: Duration,
    stop: Stop,
    wake: impl Fn() -> W,
    mut tick: impl FnMut() -> T,
) where
    T: Future<Output = Result<(), E>>,
    W: Future<Output = ()>,
    E: std::fmt::Display,
{
    let mut last_error = String::new();
    while !stop.is_pulled() {
        match tick().await {
            Ok(()) => last_error.clear(),
            Err(error) => {
                let error = error.to_string();
                if error != last_error {
                    tracing::warn!(task = name, error, "a background task failed and will be tried again");
                }
                last_error = error;
            }
        }
        tokio::select! {
            () = stop.clone().pulled() => return,
            () = wake() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}
