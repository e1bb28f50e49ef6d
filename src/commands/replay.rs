//! `ese replay`: webhooks whose effect failed, or all since a moment, read anew.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use super::open;
use crate::config::Config;
use crate::domain::consent::KeywordTable;
use crate::inbound;
use crate::store::StoreError;
use crate::store::outcomes::RetryPolicy;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Read everything received since then anew: 2026-11-23 or 2026-11-23T09:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<i64>,
}

pub(super) async fn run(config: Config, args: Args) -> Result<()> {
    let since = args.since;
    let store = open(&config)?;
    let keywords = Arc::new(KeywordTable::with_added(&config.keywords));
    let max_attempts = config.delivery.max_attempts;
    let rules = Arc::new(crate::app::rules(&config));
    let (mut looked, mut changed) = ((0, 0), 0);
    let mut after = Some((0, 0));
    while let Some(from) = after {
        let (keywords, rules) = (Arc::clone(&keywords), Arc::clone(&rules));
        let done = store
            .write::<_, _, StoreError>(move |tx| {
                let policy = RetryPolicy::of(&rules, max_attempts);
                inbound::replay(tx, since, from, &keywords, &policy)
            })
            .await?;
        looked = (looked.0 + done.inbound, looked.1 + done.receipts);
        changed += done.changed;
        after = done.next;
    }
    let (messages, receipts) = looked;
    writeln!(
        std::io::stdout(),
        "Looked at {messages} messages and {receipts} receipts; {changed} changed something."
    )?;
    Ok(())
}

/// The moment that `text` names, in milliseconds UTC; a day begins at midnight UTC.
fn instant(text: &str) -> Result<i64, String> {
    let at: Timestamp = match text.parse() {
        Ok(at) => at,
        Err(_) => text
            .parse::<jiff::civil::Date>()
            .ok()
            .and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map(|zoned| zoned.timestamp())
            .ok_or_else(|| {
                "write a time such as 2026-11-23T09:30:00Z, or a day such as 2026-11-23".to_owned()
            })?,
    };
    Ok(at.as_millisecond())
}
