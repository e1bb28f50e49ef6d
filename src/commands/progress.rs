//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often progress is looked at.
pub(super) const STEP: Duration = Duration::from_millis(100);
/// How often a plain line is written.
const LINE: Duration = Duration::from_secs(2);

/// Shows how far work is.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    said: Cell<Option<Instant>>,
}

/// A display of `total` steps.
pub(super) fn bar(what: &'static str, total: u64) -> Progress {
    let bar = std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("  {prefix:<9} [{bar:32.cyan}] {percent:>3} %  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ");
        ProgressBar::new(total).with_style(style).with_prefix(what)
    });
    Progress { what, total, bar, said: Cell::new(None) }
}

impl Progress {
    /// `done` of the total, and a few words.
    pub(super) fn update(&self, done: u64, words: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done.min(self.total));
                bar.set_message(words.to_owned());
            }
            None if self.said.get().is_none_or(|at| at.elapsed() >= LINE) => {
                self.said.set(Some(Instant::now()));
                let percent = done * 100 / self.total.max(1);
                // Progress that nobody reads is no reason to fail.
                let _ = writeln!(std::io::stderr(), "  {}: {percent} %, {words}", self.what);
            }
            None => {}
        }
    }

    /// The end of the work.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
