//! After the last kill: nothing goes wrong any more, and everything has to come to its end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::client::field;
use super::crowd::resume_all;
use super::stage::Stage;

/// How often the state of things is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Without any change for so long, nothing will come any more.
const STANDSTILL: Duration = Duration::from_secs(90);
const OPEN: [&str; 3] = ["queued", "sending", "uncertain"];

/// Waits until every campaign is finished, no message is open, and Twilio has said all it had to say.
/// What is left when nothing moves any more is for the comparison to find.
pub(super) async fn settle(stage: &Stage, campaigns: &[i64]) -> Result<()> {
    let mut last = (Value::Null, (0, 0));
    let mut moved = Instant::now();
    loop {
        stage.check()?;
        resume_all(stage, campaigns).await;
        let now = (state(stage, campaigns).await?, stage.control.progress().await?);
        let (_, ahead) = now.1;
        if ahead == 0 && is_over(&now.0) {
            return Ok(());
        }
        if now != last {
            (last, moved) = (now, Instant::now());
        }
        if moved.elapsed() > STANDSTILL {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The state of each campaign, and of single messages those that are open.
async fn state(stage: &Stage, campaigns: &[i64]) -> Result<Value> {
    let mut seen = Vec::new();
    for id in campaigns {
        let campaign = stage.api.get(&format!("/campaigns/{id}")).await?;
        let of = |name: &str| field(&campaign, name).clone();
        seen.push(serde_json::json!({"status": of("status"), "counts": of("counts")}));
    }
    let mut open = Vec::new();
    for status in OPEN {
        let page = stage.api.get(&format!("/messages?status={status}&limit=200")).await?;
        let Some(rows) = field(&page, "data").as_array() else { bail!("a list without data: {page}") };
        open.extend(rows.iter().map(|row| row["id"].clone()));
    }
    Ok(serde_json::json!({"campaigns": seen, "open": open}))
}

fn is_over(state: &Value) -> bool {
    let is_finished = |campaign: &Value| campaign["status"] == "finished";
    state["campaigns"].as_array().is_some_and(|all| all.iter().all(is_finished))
        && state["open"].as_array().is_some_and(Vec::is_empty)
}
