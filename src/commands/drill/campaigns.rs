//! Before the curtain: people imported, topic, segments, templates and campaigns made, as an operator does.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::cast::Person;
use super::cast::{PLANS, Plan, TOPIC, Words, sheet};
use super::children::Place;
use super::client::{Api, field};
use super::record::Meant;

/// Makes an API key. The server need not run.
pub(super) async fn key(place: &Place) -> Result<String> {
    let said = place.run("ese key add", &["key", "add", "drill", "--scope", "read,write,send,admin"]).await?;
    said.lines().last().map(str::to_owned).context("ese key add prints the secret on its last line")
}

/// Imports everybody, by the command, while the server runs.
pub(super) async fn import(place: &Place, people: &[Person]) -> Result<()> {
    let path = place.config().with_file_name("people.csv");
    std::fs::write(&path, sheet(people)).with_context(|| format!("{} can't be written", path.display()))?;
    let path = path.to_str().context("the folder's name is text")?;
    place.run("ese import", &["import", path]).await.map(drop)
}

/// Makes the topic that the sheet names.
pub(super) async fn topic(api: &Api) -> Result<()> {
    let topic = json!({"name": TOPIC, "default": "opt_in_required"});
    api.make("/topics", &topic, "topic").await.map(drop)
}

/// Makes all campaigns, as drafts.
pub(super) async fn make(api: &Api, people: &[Person]) -> Result<Vec<Meant>> {
    let mut made = Vec::with_capacity(PLANS.len());
    for (number, plan) in PLANS.iter().enumerate() {
        let id = make_one(api, number, plan).await.with_context(|| format!("campaign {:?}", plan.name))?;
        let phones = |fits: &dyn Fn(&Person) -> bool| {
            people.iter().filter(|person| fits(person)).map(|person| person.phone.clone()).collect()
        };
        made.push(Meant {
            id,
            name: plan.name.to_owned(),
            audience: phones(&|person| plan.means(person)),
            may_reach: phones(&|person| plan.may_reach(person)),
        });
    }
    Ok(made)
}

async fn make_one(api: &Api, number: usize, plan: &Plan) -> Result<i64> {
    let waves: Vec<String> = plan.waves.iter().map(|wave| format!("w{wave}")).collect();
    let definition = json!({"attribute": "wave", "operator": "in", "value": waves});
    let segment = json!({"name": plan.name, "definition": definition});
    let segment = api.make("/segments", &segment, &format!("segment-{number}")).await?;
    let (name, channel) = (plan.name, plan.channel);
    let template = match plan.words {
        Words::Text(body) => json!({"name": name, "channel": channel, "body": body}),
        Words::Content(sid, values) => {
            let values: Map<String, Value> =
                values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({"name": name, "channel": channel, "content_sid": sid, "content_variables": values})
        }
    };
    let template = api.make("/templates", &template, &format!("template-{number}")).await?;
    let campaign = json!({
        "name": plan.name,
        "kind": plan.kind,
        "channel": plan.channel,
        "segment_id": field(&segment, "id"),
        "template_id": field(&template, "id"),
        "quiet_hours": "off",
        "topic": plan.topic,
    });
    let campaign = api.make("/campaigns", &campaign, &format!("campaign-{number}")).await?;
    field(&campaign, "id").as_i64().context("a campaign has an id")
}
