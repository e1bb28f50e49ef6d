//! `ese check`: the doctor, at the terminal. Each line says what was looked at, what was found, and what mends it.

use std::io::Write;

use anyhow::{Result, bail};

use crate::app;
use crate::clock::Clock;
use crate::config::Config;
use crate::web::checkup::{Patient, Verdict};

pub(super) async fn run(config: Config) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut line = |mark: &str, what: &str, text: &str| writeln!(out, "{mark:<4}  {what:<17} {text}");
    line("ok", "Configuration", "every key is known and makes sense")?;
    let store = match app::open_store(&config, Clock::system()) {
        Ok(store) => store,
        Err(error) => {
            line("MEND", "Data file", &format!("{error:#}"))?;
            bail!("one thing is to be mended before the rest can be looked at");
        }
    };
    let client = app::client(&config)?;
    let patient = Patient { config: &config, store: &store, client: client.as_ref(), is_serving: false };
    let checkup = patient.look().await;
    let mut bad = 0;
    for finding in &checkup.findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Waits => "…",
            Verdict::Bad => {
                bad += 1;
                "MEND"
            }
        };
        line(mark, finding.topic.title(), &finding.text)?;
    }
    match bad {
        0 => Ok(writeln!(out, "Ready to send.")?),
        1 => bail!("one thing is to be mended"),
        n => bail!("{n} things are to be mended"),
    }
}
