//! People and campaigns of every kind, at random.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::ledger::ConsentChange;
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{StoreError, Tx, segments, topics};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

const HOUR: i64 = 3_600_000;

/// Numbers of one zone, of several, of a country across a continent, and of no place at all.
const NUMBERS: [&str; 9] = [
    "+1212555", "+1415555", "+1808555", "+1800555", "+9477123", "+3361234", "+6141234", "+7912345",
    "+4915112",
];
const ZONES: [&str; 5] =
    ["America/New_York", "Asia/Tokyo", "Europe/Lisbon", "Pacific/Auckland", "Mars/Olympus"];

#[derive(Clone, Debug)]
pub(super) struct Someone {
    number: &'static str,
    consent: Consent,
    is_held: bool,
    is_reachable: bool,
    is_suppressed: bool,
    /// Joined or left the campaign's topic.
    is_subscribed: Option<bool>,
    /// Hours since the last WhatsApp message.
    whatsapp: Option<i64>,
    timezone: Option<&'static str>,
    state: Option<&'static str>,
    name: Option<&'static str>,
    is_vip: bool,
    has_long_life: bool,
}

pub(super) fn someone() -> impl Strategy<Value = Someone> {
    let consents = [
        Consent::OptIn,
        Consent::OptIn,
        Consent::OptIn,
        Consent::OptIn,
        Consent::Unknown,
        Consent::OptOut,
        Consent::Stop,
    ];
    let rarely = || prop::bool::weighted(0.1);
    let flags = (rarely(), rarely(), rarely(), prop::bool::weighted(0.3), rarely());
    let states = [Some("FL"), Some("Texas"), Some("nowhere"), None, None, None];
    let names = [Some("Ana"), Some("Zoë 🌷"), Some(""), None];
    (
        select(NUMBERS.to_vec()),
        select(consents.to_vec()),
        flags,
        option::weighted(0.3, any::<bool>()),
        option::weighted(0.5, select(vec![1, 10, 23, 25, 90])),
        option::weighted(0.4, select(ZONES.to_vec())),
        select(states.to_vec()),
        select(names.to_vec()),
    )
        .prop_map(|(number, consent, flags, is_subscribed, whatsapp, timezone, state, name)| Someone {
            number,
            consent,
            is_held: flags.0,
            is_reachable: !flags.1,
            is_suppressed: flags.2,
            is_vip: flags.3,
            has_long_life: flags.4,
            is_subscribed,
            whatsapp,
            timezone,
            state,
            name,
        })
}

#[derive(Clone, Debug)]
pub(super) struct Wish {
    kind: Kind,
    channel: Channel,
    /// Which topic: none, one open to all, one for those who joined.
    topic: Option<bool>,
    quiet_hours: Value,
    /// Hours from now, the zone, and whether each person's own clock counts.
    schedule: Option<(i64, &'static str, bool)>,
    expires_after_hours: Option<f64>,
    body: &'static str,
    has_content: bool,
    include: Value,
    exclude: Vec<Value>,
    /// Very important people had another campaign just before.
    pub(super) had_earlier: bool,
    /// Marketing messages to one person, and within how many hours.
    pub(super) cap: Option<(usize, i64)>,
    /// What a first message says beside its text.
    pub(super) introduces: bool,
}

pub(super) fn wish() -> impl Strategy<Value = Wish> {
    let quiet_hours = [
        json!(null),
        json!(null),
        json!("off"),
        json!({"start": "21:30", "end": "08:10"}),
        json!({"start": "10:05", "end": "16:20"}),
        json!({"preset": "by_region"}),
    ];
    let bodies = [
        "Hi there",
        "Hi {name|default(\"you\")}",
        "Hi {name}",
        "Hi {name|default(\"you\")}, {life|default(\"\")}",
        "{name|default(\"\")}",
    ];
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let includes = [
        json!({"all": []}),
        json!({"all": []}),
        json!({"not": vip}),
        json!({"field": "consent", "operator": "in", "value": ["opt_in", "stop"]}),
    ];
    let excludes = [
        vip,
        json!({"field": "country", "operator": "equals", "value": "FR"}),
        json!({"attribute": "name", "operator": "exists"}),
    ];
    let zones = ["Europe/Berlin", "America/Chicago", "Asia/Colombo", "Europe/Moscow"];
    (
        select(vec![Kind::Marketing, Kind::Marketing, Kind::Transactional]),
        select(vec![Channel::Sms, Channel::Sms, Channel::Whatsapp]),
        option::of(any::<bool>()),
        select(quiet_hours.to_vec()),
        option::weighted(0.5, (1_i64..40, select(zones.to_vec()), any::<bool>())),
        option::weighted(0.4, select(vec![0.7, 2.3, 6.1, 13.7, 30.2])),
        (select(bodies.to_vec()), any::<bool>()),
        select(includes.to_vec()),
        prop::sample::subsequence(excludes.to_vec(), 0..=2),
        (any::<bool>(), option::of((1_usize..3, select(vec![3_i64, 20, 50]))), any::<bool>()),
    )
        .prop_map(
            |(kind, channel, topic, quiet_hours, schedule, expires, text, include, exclude, house)| Wish {
                kind,
                channel,
                topic,
                quiet_hours,
                schedule,
                expires_after_hours: expires,
                body: text.0,
                has_content: text.1,
                include,
                exclude,
                had_earlier: house.0,
                cap: house.1,
                introduces: house.2,
            },
        )
}

/// A campaign to the very important people alone, for the time before.
pub(super) fn earlier(tx: &Tx<'_>) -> Result<i64, StoreError> {
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let text = TemplateText::plain(Channel::Sms, "Earlier");
    let template_id = templates::insert(tx, "earlier", &text)?;
    let segment_id = segments::insert(tx, "earlier", &vip)?;
    let plan =
        CampaignPlan { quiet_hours: json!("off"), ..CampaignPlan::new("Earlier", segment_id, template_id) };
    campaigns::insert(tx, &plan)
}

/// Adds the people and the draft. Returns their ids and the campaign's.
pub(super) fn plant(tx: &Tx<'_>, people: &[Someone], wish: &Wish) -> Result<(Vec<i64>, i64), StoreError> {
    let topic = match wish.topic {
        Some(is_open) => topics::insert(tx, "shoes", is_open)?,
        None => None,
    };
    let ids = people
        .iter()
        .enumerate()
        .map(|(n, someone)| add(tx, n, someone, topic))
        .collect::<Result<Vec<i64>, _>>()?;
    let is_whatsapp = wish.channel == Channel::Whatsapp;
    let mut text = TemplateText::plain(wish.channel, wish.body);
    if wish.has_content && is_whatsapp {
        text.content_sid = Some("HX00000000000000000000000000000001".to_owned());
        text.content_variables = json!({"1": "{name}"}).as_object().unwrap().clone();
    }
    let template_id = templates::insert(tx, "text", &text)?;
    let segment_id = segments::insert(tx, "people", &wish.include)?;
    let mut plan = CampaignPlan::new("Random", segment_id, template_id);
    for (n, definition) in wish.exclude.iter().enumerate() {
        plan.exclude_segment_ids.push(segments::insert(tx, &format!("not {n}"), definition)?);
    }
    plan.kind = wish.kind;
    plan.channel = wish.channel;
    plan.topic_id = topic;
    plan.quiet_hours = wish.quiet_hours.clone();
    plan.expires_after_hours = wish.expires_after_hours;
    if let Some((hours, zone, is_local)) = wish.schedule {
        let start = jiff::Timestamp::from_millisecond(tx.now() + hours * HOUR).unwrap();
        let civil = start.to_zoned(jiff::tz::TimeZone::get(zone).unwrap()).datetime();
        // No hours begin or end at this minute, so a moment more or less makes no difference.
        let civil = civil.with().minute(47).second(13).subsec_nanosecond(0).build().unwrap();
        let at = civil.to_string();
        plan.starts_at = Some(event_stream_engine::campaign::resolve_start(&at, zone, is_local).unwrap());
        plan.schedule = Some((at, zone.to_owned()));
        plan.is_local_to_recipient = is_local;
    }
    Ok((ids, campaigns::insert(tx, &plan)?))
}

fn add(tx: &Tx<'_>, n: usize, someone: &Someone, topic: Option<i64>) -> Result<i64, StoreError> {
    let phone = Phone::from_e164(&format!("{}{n:04}", someone.number)).unwrap();
    let mut attributes = Map::new();
    for (key, value) in [("timezone", someone.timezone), ("state", someone.state), ("name", someone.name)] {
        attributes.extend(value.map(|value| (key.to_owned(), json!(value))));
    }
    attributes.insert("vip".to_owned(), json!(someone.is_vip));
    if someone.has_long_life {
        attributes.insert("life".to_owned(), json!("and so on ".repeat(170)));
    }
    let change = ConsentChange {
        state: someone.consent,
        source: "test",
        actor: "test",
        evidence: None,
        obtained_at: None,
    };
    let new = NewUser {
        phone: Some(phone.as_str()),
        channel_address: None,
        country: phone.country(),
        attributes: &attributes,
        consent: (someone.consent != Consent::Unknown).then_some(change),
        actor: "test",
        import: None,
    };
    let id = users::insert(tx, &new)?;
    // Seven minutes more, so that no window ends at the very moment of a start.
    let whatsapp = someone.whatsapp.map(|hours| tx.now() - hours * HOUR - 7 * 60_000);
    tx.conn().execute(
        "UPDATE users SET hold = ?2, reachable = ?3, suppressed = ?4, last_inbound_at = ?5,
           last_whatsapp_inbound_at = ?5 WHERE id = ?1",
        (id, someone.is_held.then_some("review"), someone.is_reachable, someone.is_suppressed, whatsapp),
    )?;
    if let (Some(topic), Some(is_subscribed)) = (topic, someone.is_subscribed) {
        let state = if is_subscribed { "subscribed" } else { "unsubscribed" };
        tx.conn().execute(
            "INSERT INTO subscriptions (user_id, topic_id, state, at) VALUES (?1, ?2, ?3, ?4)",
            (id, topic, state, tx.now()),
        )?;
    }
    Ok(id)
}
