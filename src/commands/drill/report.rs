//! What the drill says in the end: on the terminal and as a Markdown file.

use std::fmt::Write;

use super::Scale;
use super::compare::Check;
use super::record::{Ours, Script, Twilio};
use super::stage::Log;
use super::weather::fault_names;

/// Everything that a report tells.
pub(super) struct Outcome {
    pub(super) scale: Scale,
    pub(super) script: Script,
    pub(super) twilio: Twilio,
    pub(super) ours: Ours,
    pub(super) checks: Vec<Check>,
    pub(super) log: Log,
    /// Seconds of the kills, and of the settling after them.
    pub(super) seconds: (f64, f64),
}

impl Outcome {
    /// The checks as lines.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let verdict = if check.passed() { "ok    " } else { "FAILED" };
            let _ = writeln!(text, "  {verdict}  {}\n          {}", check.name, check.numbers);
            for example in check.examples() {
                let _ = writeln!(text, "          ! {example}");
            }
        }
        text
    }

    /// The report as Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("# Drill\n\n");
        let Scale { people, kills, seed, .. } = self.scale;
        let failed = self.checks.iter().filter(|check| !check.passed()).count();
        let verdict = match failed {
            0 => format!("All {} checks hold.", self.checks.len()),
            n => format!("**{n} of {} checks FAILED.**", self.checks.len()),
        };
        let _ = writeln!(
            text,
            "`ese drill --kills {kills} --people {people} --seed {seed}` with version {} started the server and the \
             simulator as processes, ran {} campaigns and single messages while everything went wrong that \
             follows, killed the server {} times with SIGKILL, and then compared what the simulator saw with what \
             the data file says. The kills took {:.0} s, everything was settled {:.0} s later.\n\n{verdict}\n",
            env!("CARGO_PKG_VERSION"),
            self.script.campaigns.len(),
            self.script.kills.len(),
            self.seconds.0,
            self.seconds.1,
        );
        self.checks_table(&mut text);
        self.campaigns_table(&mut text);
        self.faults_table(&mut text);
        self.events(&mut text);
        text
    }

    fn checks_table(&self, text: &mut String) {
        text.push_str("## Checks\n\n| | check | numbers |\n|---|---|---|\n");
        for check in &self.checks {
            let verdict = if check.passed() { "ok" } else { "**FAILED**" };
            let _ = writeln!(text, "| {verdict} | {} | {} |", check.name, check.numbers);
        }
        for check in self.checks.iter().filter(|check| !check.passed()) {
            let _ = writeln!(text, "\n{}:\n", check.name);
            for example in check.examples() {
                let _ = writeln!(text, "- {example}");
            }
        }
    }

    fn campaigns_table(&self, text: &mut String) {
        text.push_str(
            "\n## Campaigns\n\n| campaign | people | delivered | refused | skipped | taken back |\n",
        );
        text.push_str("|---|---:|---:|---:|---:|---:|\n");
        let mut rows: Vec<(Option<i64>, &str)> =
            self.script.campaigns.iter().map(|meant| (Some(meant.id), meant.name.as_str())).collect();
        rows.push((None, "Single messages"));
        for (id, name) in rows {
            let of = |states: &[&str]| {
                let all = self.ours.messages.values().filter(|message| message.campaign_id == id);
                all.filter(|message| states.is_empty() || states.contains(&message.status.as_str())).count()
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} |",
                of(&[]),
                of(&["sent", "delivered", "read"]),
                of(&["failed", "undelivered", "expired"]),
                of(&["skipped"]),
                of(&["cancelled"]),
            );
        }
        text.push_str(
            "\nDelivered counts those that are `sent` with them: some last callbacks were kept back on purpose.\n",
        );
    }

    fn faults_table(&self, text: &mut String) {
        text.push_str(
            "\n## Faults\n\nHow often each fault really struck.\n\n| fault | times |\n|---|---:|\n",
        );
        let mut struck = self.twilio.struck.clone();
        for name in fault_names() {
            struck.entry(name).or_default();
        }
        for (name, times) in &struck {
            let words = name.trim_end_matches("_percent").trim_end_matches("_ms").replace('_', " ");
            let _ = writeln!(text, "| {words} | {times} |");
        }
        let _ = writeln!(text, "\n| weather | times |\n|---|---:|");
        for (name, times) in &self.log.weather {
            let _ = writeln!(text, "| {name} | {times} |");
        }
    }

    fn events(&self, text: &mut String) {
        let requests = self.twilio.requests.len();
        let none = self.twilio.requests.iter().filter(|request| request.sid.is_none()).count();
        let _ = writeln!(
            text,
            "\n## What happened\n\n\
             - {requests} requests to send; {none} of them made no message, the others {}.\n\
             - {} webhooks, {} of them answered with 2xx.\n\
             - {} campaigns were paused by hand and resumed, {} times one that Twilio's answers or a kill had left \
             paused was resumed.",
            self.twilio.messages.len(),
            self.twilio.callbacks.len(),
            self.twilio.callbacks.iter().filter(|callback| callback.is_answered()).count(),
            self.log.pauses,
            self.log.rescues,
        );
    }
}
