//! People and callers while the drill runs: words that people write, single messages that a shop posts,
//! and an operator who launches, pauses and resumes.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cast::{Fate, PLANS};
use super::client::field;
use super::dice::Dice;
use super::record::{Meaning, Single};
use super::stage::Stage;

/// Of a hundred words, so many are a STOP, and so many a START of somebody who wrote STOP.
const STOP_PERCENT: f64 = 30.0;
const START_PERCENT: f64 = 15.0;
/// How many people at most say STOP: the rest is needed to see what arrives.
const MOST_STOPS: f64 = 0.12;
/// How long after a STOP its START comes at the earliest, in milliseconds: answers under way then are over.
const START_AFTER: i64 = 4_000;
const PLAIN: [&str; 4] = ["Thank you!", "Where are you?", "HELP", "ok 👍"];

/// The people who may say STOP, in the order in which they do, and those who did.
pub(super) struct Crowd {
    waiting: Vec<String>,
    /// Number, channel, moment.
    stopped: Vec<(String, &'static str, i64)>,
    dice: Dice,
}

impl Crowd {
    pub(super) fn new(stage: &Stage, purpose: &str, share: (usize, usize)) -> Crowd {
        let mut dice = Dice::new(stage.seed, "crowd");
        let mut waiting: Vec<String> = stage
            .people
            .iter()
            .filter(|person| person.fate == Fate::Reachable && person.is_opted_in)
            .map(|person| person.phone.clone())
            .collect();
        dice.shuffle(&mut waiting);
        waiting.truncate((waiting.len() as f64 * MOST_STOPS) as usize);
        let (number, of) = share;
        let waiting = waiting.into_iter().skip(number).step_by(of.max(1)).collect();
        Crowd { waiting, stopped: Vec::new(), dice: Dice::new(stage.seed, purpose) }
    }

    fn channel(&mut self) -> &'static str {
        if self.dice.percent(30.0) { "whatsapp" } else { "sms" }
    }

    /// The next person says STOP.
    pub(super) async fn stop(&mut self, stage: &Stage) -> Result<()> {
        let Some(phone) = self.waiting.pop() else { return Ok(()) };
        let channel = self.channel();
        let word = if self.dice.percent(50.0) { "STOP" } else { "Unsubscribe" };
        stage.write(&phone, channel, word, Meaning::Stop).await?;
        self.stopped.push((phone, channel, stage.now()));
        Ok(())
    }

    /// Somebody who said STOP a while ago says START, on the same channel. False: there is nobody.
    pub(super) async fn start(&mut self, stage: &Stage) -> Result<bool> {
        let now = stage.now();
        let Some(at) = self.stopped.iter().position(|(_, _, at)| now - at > START_AFTER) else {
            return Ok(false);
        };
        let (phone, channel, _) = self.stopped.swap_remove(at);
        stage.write(&phone, channel, "START", Meaning::Start).await?;
        Ok(true)
    }

    async fn say(&mut self, stage: &Stage) -> Result<()> {
        let person = stage.people.get(self.dice.below(stage.people.len())).context("there are people")?;
        let words = PLAIN.get(self.dice.below(PLAIN.len())).copied().unwrap_or("ok");
        let channel = self.channel();
        stage.write(&person.phone, channel, words, Meaning::Plain).await
    }
}

/// People write, one every so many seconds, whether the server lives or not, until the drill is over.
pub(super) async fn words(stage: &Stage, seconds: f64) -> Result<()> {
    let mut crowd = Crowd::new(stage, "words", (0, 2));
    while !stage.is_over() {
        let throw = crowd.dice.between(0.0, 100.0);
        if throw < STOP_PERCENT {
            crowd.stop(stage).await?;
        } else if throw >= STOP_PERCENT + START_PERCENT || !crowd.start(stage).await? {
            crowd.say(stage).await?;
        }
        let wait = seconds * crowd.dice.between(0.3, 1.7);
        stage.pause(wait).await;
    }
    Ok(())
}

/// A shop posts single messages, each under a key of its own, again and again until it is answered, and
/// some once more after that.
pub(super) async fn singles(stage: &Stage, seconds: f64) -> Result<()> {
    let mut dice = Dice::new(stage.seed, "singles");
    let mut number = 0;
    while !stage.is_over() {
        number += 1;
        let person = stage.people.get(dice.below(stage.people.len())).context("there are people")?;
        let key = format!("single-{number}");
        let body = json!({
            "to": person.phone,
            "channel": "sms",
            "body": format!("Your code is {}. It is good for ten minutes.", 100_000 + number * 7),
            "reference": key,
        });
        let mut single = Single { key, phone: person.phone.clone(), answers: Vec::new() };
        let posts = if dice.percent(25.0) { 2 } else { 1 };
        for _ in 0..posts {
            let made = stage.api.make("/messages", &body, &single.key).await?;
            single.answers.push(field(&made, "id").as_i64().context("a message has an id")?);
        }
        stage.log().singles.push(single);
        stage.pause(seconds * dice.between(0.3, 1.7)).await;
    }
    Ok(())
}

/// The operator: launches each campaign at its time, resumes what Twilio's answers paused, and now and then
/// pauses one on purpose. Ends when the drill is over and everything was launched.
pub(super) async fn operate(stage: &Stage, campaigns: &[i64], seconds: f64) -> Result<()> {
    let mut dice = Dice::new(stage.seed, "operator");
    let mut launched = 0;
    loop {
        let is_over = stage.is_over();
        while let (Some(plan), Some(id)) = (PLANS.get(launched), campaigns.get(launched)) {
            if !is_over && stage.elapsed() < plan.launched_at {
                break;
            }
            stage.api.make(&format!("/campaigns/{id}/launch"), &json!({}), &format!("launch-{id}")).await?;
            launched += 1;
        }
        resume_all(stage, campaigns).await;
        if is_over {
            return Ok(());
        }
        if dice.percent(25.0)
            && let Some(id) = campaigns.get(dice.below(launched))
        {
            pause_a_while(stage, *id, dice.between(0.1, 0.5)).await;
        }
        stage.pause(seconds * dice.between(0.5, 1.5)).await;
    }
}

/// Resumes what is paused. A dead server is asked again next time.
pub(super) async fn resume_all(stage: &Stage, campaigns: &[i64]) {
    for id in campaigns {
        let Ok(campaign) = stage.api.get(&format!("/campaigns/{id}")).await else { continue };
        if field(&campaign, "status") == "paused" {
            let key = format!("resume-{id}-{}", stage.now());
            let path = format!("/campaigns/{id}/resume");
            if let Ok((200..=299, _)) =
                stage.api.try_post(&path, &Value::Object(Default::default()), &key).await
            {
                stage.log().rescues += 1;
            }
        }
    }
}

/// Pauses a campaign that runs. A kill may come between pause and resume; whoever resumes later finds it.
async fn pause_a_while(stage: &Stage, id: i64, seconds: f64) {
    let empty = Value::Object(Default::default());
    let key = stage.now();
    let paused =
        stage.api.try_post(&format!("/campaigns/{id}/pause"), &empty, &format!("pause-{id}-{key}")).await;
    if !matches!(paused, Ok((200..=299, _))) {
        return;
    }
    stage.log().pauses += 1;
    stage.pause(seconds).await;
    // If the server is dead, the next round finds the campaign paused.
    let _ =
        stage.api.try_post(&format!("/campaigns/{id}/resume"), &empty, &format!("unpause-{id}-{key}")).await;
}
