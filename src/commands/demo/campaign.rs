//! The demo's campaign: prepared, launched, watched, answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::SENDER;
use crate::app::App;
use crate::campaign;
use crate::commands::progress;
use crate::domain::campaign::CampaignStatus;
use crate::domain::phone::Channel;
use crate::simulator::{Simulator, Status};
use crate::store::campaigns::{self, CampaignPlan};
use crate::store::templates::{self, TemplateText};
use crate::store::users::{self, UserKey};
use crate::store::{Store, StoreError, segments, topics};

/// A demo that stands still this long is broken.
const STANDSTILL: Duration = Duration::from_secs(60);
/// What people answer, in the order in which they do.
const ANSWERS: [&str; 6] = [
    "Thanks, see you there!",
    "STOP",
    "Is it also open on Sunday?",
    "Stop.",
    "please stop texting me",
    "STOP",
];

/// What the answers brought.
pub(super) struct Replies {
    /// Somebody who said STOP.
    pub(super) stopped: Option<i64>,
    /// A number that received something.
    pub(super) example: Option<String>,
}

/// Saves segment, template and campaign as drafts, the way the API does. Returns the campaign's id.
pub(super) async fn prepare(store: &Store, is_shipped: bool) -> Result<i64> {
    let (name, definition, body) = if is_shipped {
        (
            "Members",
            json!({"attribute": "plan", "operator": "in", "value": ["basic", "gold"]}),
            "Hi {name|default(\"there\")}, our {city} store opens early on Friday. Reply STOP to opt out.",
        )
    } else {
        (
            "Everybody",
            json!({"all": []}),
            "Hi {name|default(\"there\")}, this is a rehearsal. Reply STOP to opt out.",
        )
    };
    let (label, frozen) = (name, definition.clone());
    let id = store
        .write::<_, _, StoreError>(move |tx| {
            let segment_id = segments::insert(tx, label, &frozen)?;
            let text = TemplateText::plain(Channel::Sms, body);
            let template_id = templates::insert(tx, "Friday", &text)?;
            let topic_id = topics::find(tx.conn(), "general")?.map(|topic| topic.id);
            let plan = CampaignPlan {
                topic_id,
                quiet_hours: json!("off"),
                ..CampaignPlan::new("Friday", segment_id, template_id)
            };
            campaigns::insert(tx, &plan)
        })
        .await?;
    super::say(&format!("   Segment   {name}: {definition}\n   Template  {body}\n"))?;
    super::say("   Quiet hours are off for this campaign, so that the demo runs at any hour.\n")?;
    Ok(id)
}

/// Launches it.
pub(super) async fn launch(app: &App, id: i64) -> Result<()> {
    let setup = app.setup.get();
    app.store.write(move |tx| campaign::launch(tx, id, &setup)).await?;
    Ok(())
}

/// Shows progress until the campaign is finished and every receipt is in; meanwhile some people answer.
pub(super) async fn watch(app: &App, simulator: &Simulator, id: i64) -> Result<Replies> {
    let bar = progress::bar("campaign", 1_000);
    let mut answered = 0;
    let mut stopped = None;
    let mut last = (Instant::now(), 0);
    loop {
        let (status, counts) = app
            .store
            .read(move |conn| {
                let row = campaigns::find(conn, id)?;
                Ok::<_, StoreError>((
                    row.map(|row| (row.status, row.pause_reason)),
                    campaigns::counts(conn, id)?,
                ))
            })
            .await?;
        let (status, reason) = status.context("the campaign is gone")?;
        let sum = |states: &[&str]| -> i64 {
            counts.iter().filter(|count| states.contains(&count.status.as_str())).map(|count| count.n).sum()
        };
        let total: i64 = counts.iter().map(|count| count.n).sum();
        let (open, moving) = (sum(&["queued", "sending", "uncertain"]), sum(&["accepted", "sent"]));
        let done = u64::try_from((total - open) * 1_000 / total.max(1)).unwrap_or(0);
        bar.update(
            done,
            &format!("{} delivered, {moving} on their way, {open} to go", sum(&["delivered", "read"])),
        );
        if answered < ANSWERS.len() && sum(&["delivered"]) > 40 * (answered as i64 + 1) {
            let who = answer(app, simulator, answered).await?;
            stopped = stopped.or(who);
            answered += 1;
        }
        if status == CampaignStatus::Paused {
            bail!("the campaign was paused: {}", reason.unwrap_or_default());
        }
        if status == CampaignStatus::Finished && moving == 0 {
            break;
        }
        let moved = done as i64 * 100_000 - moving;
        if moved != last.1 {
            last = (Instant::now(), moved);
        } else if last.0.elapsed() > STANDSTILL {
            bail!("nothing moved for {} s: {open} to go, {moving} on their way", STANDSTILL.as_secs());
        }
        tokio::time::sleep(progress::STEP).await;
    }
    bar.finish();
    simulator.wait_until_quiet().await;
    let example =
        simulator.messages().iter().map(|message| message.to.clone()).find(|to| to.starts_with('+'));
    super::say(&format!("   Finished. {answered} people answered meanwhile, some of them with STOP.\n"))?;
    Ok(Replies { stopped, example })
}

/// Lets the next person answer. Returns them if they said STOP.
async fn answer(app: &App, simulator: &Simulator, turn: usize) -> Result<Option<i64>> {
    let Some(words) = ANSWERS.get(turn) else {
        return Ok(None);
    };
    let delivered = simulator.messages();
    // Somebody whose name is known makes the better story.
    let mut delivered = delivered
        .iter()
        .filter(|message| message.status == Status::Delivered && !message.body.starts_with("Hi there"));
    let Some(from) = delivered.nth(turn * 5).map(|message| message.to.clone()) else {
        return Ok(None);
    };
    let result = simulator.inbound(&from, SENDER, words).await;
    if result.status != Some(200) {
        bail!("the answer of a person was not taken: {:?}", result.status);
    }
    if !words.to_lowercase().starts_with("stop") {
        return Ok(None);
    }
    let key = UserKey::Phone(from);
    let user = app.store.read(move |conn| users::find(conn, &key)).await?;
    Ok(user.map(|user| user.id))
}
