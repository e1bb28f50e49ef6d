//! Business events on their way in: each is kept once for good, starts one message for every campaign that waits
//! for its type, and may take an earlier event back. The people of a segment follow in chunks, in `expand`.

mod expand;
mod starting;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Map, Value, json};

pub use expand::expand_all;

use self::starting::Started;
use super::CampaignError;
use crate::clock::Millis;
use crate::domain::event::EventType;
use crate::domain::message::Status;
use crate::domain::phone::Phone;
use crate::domain::rules::Rules;
use crate::store::circumstances::Bounds;
use crate::store::triggers::{self, NewTrigger, TriggerRow};
use crate::store::{StoreError, Tx, users};

/// Whom an event concerns.
#[derive(Clone, Debug, PartialEq)]
pub enum Whom {
    /// Nobody: it only takes another one back.
    Nobody,
    /// One person.
    Person(Phone),
    /// Everybody in a segment, by its definition.
    Segment(Value),
}

/// An event as a caller sends it, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The caller's own name for it.
    pub id: String,
    /// `order.paid` …
    pub kind: String,
    /// When it happened; `None`: now.
    pub occurred_at: Option<Millis>,
    /// Whom it concerns.
    pub whom: Whom,
    /// What templates see; wins over the person's attributes.
    pub data: Map<String, Value>,
    /// Messages go out no earlier.
    pub send_at: Option<Millis>,
    /// The id of an event whose messages that still wait are taken back.
    pub cancels: Option<String>,
}

/// A message that an event started.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The message.
    pub id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// Where it stands.
    pub status: Status,
    /// Why, if the gate said no.
    pub reason: Option<String>,
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Its id came before: nothing was done.
    pub is_duplicate: bool,
    /// The messages to the one person that it concerns; of a duplicate, those that the first one started.
    pub made: Vec<Made>,
    /// How many messages it took back at once, if it takes something back.
    pub taken_back: Option<usize>,
    /// What else there is to say, in sentences.
    pub notes: Vec<String>,
}

/// What holds for all events of one request.
#[derive(Clone, Copy, Debug)]
pub struct Intake<'a> {
    /// The rules of the house.
    pub rules: &'a Rules,
    /// Nothing is really sent.
    pub is_simulated: bool,
    /// Who sends them.
    pub actor: &'a str,
}

/// Takes events in their order until `until`, at least the first of them. Returns what became of each; the rest
/// wants another write.
///
/// # Errors
/// [`CampaignError`] when the store can't, and for a defect; nothing is kept of any of them then.
pub fn take(
    tx: &Tx<'_>,
    events: &[Trigger],
    intake: &Intake<'_>,
    until: Instant,
) -> Result<Vec<Taken>, CampaignError> {
    // A sender's limit on people is asked about when its turn comes.
    let bounds = Bounds::read(tx.conn(), intake.rules, None, tx.now())?;
    let desk = Desk { intake, bounds };
    let mut campaigns = Campaigns::default();
    let mut taken = Vec::with_capacity(events.len());
    for event in events {
        taken.push(take_one(tx, event, &desk, &mut campaigns)?);
        if Instant::now() >= until {
            break;
        }
    }
    Ok(taken)
}

/// What holds for all events of one write.
struct Desk<'a> {
    intake: &'a Intake<'a>,
    bounds: Bounds,
}

/// Campaigns by the type that starts them, read once for a write.
type Campaigns = HashMap<String, Rc<[Started]>>;

fn take_one(
    tx: &Tx<'_>,
    event: &Trigger,
    desk: &Desk<'_>,
    campaigns: &mut Campaigns,
) -> Result<Taken, CampaignError> {
    if let Some(first) = triggers::find(tx.conn(), &event.id)? {
        return repeat(tx, event, &first);
    }
    let mut taken = Taken::default();
    let cancelled_by = triggers::cancelled_before(tx.conn(), &event.id)?;
    let user_id = match &event.whom {
        Whom::Person(phone) => Some(match users::contact(tx.conn(), phone)? {
            Some(contact) => contact.id,
            None => users::find_or_add(tx, phone, desk.intake.actor)?.id,
        }),
        Whom::Segment(_) | Whom::Nobody => None,
    };
    keep(tx, event, user_id, cancelled_by.as_deref())?;
    if let Some(target) = &event.cancels {
        take_back(tx, event, target, &mut taken)?;
    }
    if let Some(by) = cancelled_by {
        taken.notes.push(format!("{by} took this event back before it came. It is kept and starts nothing."));
    } else if event.whom != Whom::Nobody {
        start(tx, event, desk, (user_id, campaigns), &mut taken)?;
    }
    let data =
        json!({"id": event.id, "type": event.kind, "messages": taken.made.len(), "actor": desk.intake.actor});
    triggers::note(tx, EventType::TriggerReceived, user_id, None, data)?;
    Ok(taken)
}

/// The answer to an id that came before: what the first one started, as it stands now.
fn repeat(tx: &Tx<'_>, event: &Trigger, first: &TriggerRow) -> Result<Taken, CampaignError> {
    let made = match first.user_id {
        Some(user_id) => triggers::messages_for(tx.conn(), user_id, &event.id)?,
        None => Vec::new(),
    };
    let made = made.into_iter().filter_map(|standing| {
        let campaign_id = standing.campaign_id?;
        Some(Made { id: standing.id, campaign_id, status: standing.status, reason: standing.reason })
    });
    Ok(Taken { is_duplicate: true, made: made.collect(), ..Taken::default() })
}

fn keep(
    tx: &Tx<'_>,
    event: &Trigger,
    user_id: Option<i64>,
    cancelled_by: Option<&str>,
) -> Result<(), CampaignError> {
    let data = serde_json::to_string(&event.data).map_err(|error| StoreError::Internal(error.to_string()))?;
    let segment = match &event.whom {
        Whom::Segment(definition) => Some(definition.to_string()),
        Whom::Person(_) | Whom::Nobody => None,
    };
    let new = NewTrigger {
        id: &event.id,
        kind: &event.kind,
        occurred_at: event.occurred_at.unwrap_or_else(|| tx.now()),
        user_id,
        segment,
        data: &data,
        send_at: event.send_at,
        cancels: event.cancels.as_deref(),
        cancelled_by,
    };
    Ok(triggers::insert(tx, &new)?)
}

fn start(
    tx: &Tx<'_>,
    event: &Trigger,
    desk: &Desk<'_>,
    (user_id, campaigns): (Option<i64>, &mut Campaigns),
    taken: &mut Taken,
) -> Result<(), CampaignError> {
    let started = match campaigns.get(&event.kind) {
        Some(started) => Rc::clone(started),
        None => {
            let started: Rc<[Started]> = starting::started_by(tx, &event.kind)?.into();
            campaigns.insert(event.kind.clone(), Rc::clone(&started));
            started
        }
    };
    if started.is_empty() {
        taken.notes.push(format!(
            "No campaign that runs is started by {}. The event is kept, and segments count it.",
            event.kind
        ));
    }
    for campaign in started.iter() {
        let id = campaign.row.id;
        if let Some(user_id) = user_id {
            match campaign.start(tx, event, user_id, desk)? {
                Some(made) => taken.made.push(made),
                None => taken.notes.push(format!("Campaign {id} leaves this person out.")),
            }
        } else {
            triggers::add_audience(tx, id, &event.id)?;
            taken.notes.push(format!("Everybody in the segment gets a message of campaign {id}."));
        }
        if !campaign.row.status.is_sending() {
            taken.notes.push(format!("Campaign {id} is paused; what it sends waits until it goes on."));
        }
    }
    Ok(())
}

/// Takes back what still waits of the event `target`. One that did not come yet will start nothing.
fn take_back(tx: &Tx<'_>, event: &Trigger, target: &str, taken: &mut Taken) -> Result<(), CampaignError> {
    taken.taken_back = Some(0);
    let Some(found) = triggers::find(tx.conn(), target)? else {
        taken.notes.push(format!("There is no event {target} so far. If it comes, it starts nothing."));
        return Ok(());
    };
    if !triggers::cancel(tx, target, &event.id)? {
        let by = found.cancelled_by.unwrap_or_default();
        taken.notes.push(format!("{target} was taken back before, by {by}."));
        return Ok(());
    }
    let (waiting, gone) = match found.user_id {
        Some(user_id) => triggers::cancel_for(tx, user_id, target, &event.id)?,
        None => (0, 0),
    };
    taken.taken_back = Some(waiting);
    if gone > 0 {
        taken.notes.push(format!("{gone} of the messages of {target} had left already, or is under way."));
    }
    if found.segment.is_some() {
        taken.notes.push(format!("No message of {target} that still waits is sent."));
    }
    let data = json!({"id": target, "cancelled_by": event.id, "messages": waiting});
    Ok(triggers::note(tx, EventType::TriggerCancelled, found.user_id, None, data)?)
}
