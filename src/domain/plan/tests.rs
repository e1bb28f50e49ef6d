//! Judging people: whose hours count, what is rendered, how many parts it takes.

use serde_json::json;

use super::*;
use crate::domain::gate::{Reason, Verdict, gate};

fn presets() -> Presets {
    let section = json!({
        "marketing": "house",
        "transactional": "off",
        "presets": {"house": {
            "+1": {"mon_sat": "09:00-20:00", "sun": "12:00-20:00"},
            "*": {"daily": "08:00-21:00"},
        }},
    });
    serde_json::from_value(section).unwrap()
}

fn saying(body: &str) -> Plan {
    Plan {
        kind: Kind::Marketing,
        channel: Channel::Sms,
        topic: None,
        text: Arc::new(Text::Template {
            body: Template::parse(body).unwrap(),
            media_urls: vec![],
            content: None,
            known: None,
        }),
        policy: Policy::House,
        zone: None,
        local_start: None,
    }
}

fn person(phone: &str, attributes: Value) -> Person {
    let phone = Phone::parse(phone, None).unwrap();
    Person {
        country: phone.country().map(str::to_owned),
        phone: Some(phone),
        channel_address: None,
        consent: Consent::OptIn,
        is_held: false,
        is_reachable: true,
        is_suppressed: false,
        attributes: attributes.as_object().unwrap().clone(),
        last_inbound_at: None,
        last_whatsapp_inbound_at: None,
        is_subscribed: None,
        first_marketing_id: None,
        recent_marketing: Recent::default(),
    }
}

fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn verdict(plan: &Plan, person: &Person, now: &str) -> Verdict {
    let (facts, _) = plan.judge(person, &Circumstances::default(), &presets(), at(now));
    gate(&facts, at(now))
}

fn waits_until(verdict: &Verdict) -> Option<(i64, Reason)> {
    match verdict {
        Verdict::Defer { until, reason, .. } => Some((*until, *reason)),
        _ => None,
    }
}

const NEW_YORK: &str = "+12125550101";
const COLOMBO: &str = "+94771234567";

#[test]
fn the_persons_own_zone_goes_before_the_numbers_and_that_before_the_campaigns() {
    let mut plan = saying("Hi");
    plan.zone = TimeZone::get("Asia/Tokyo").ok();
    // Monday 15:00 UTC: 10:00 in New York, midnight in Tokyo, 20:30 in Colombo, 04:00 in Auckland.
    let now = "2026-11-23T15:00:00Z";
    let by_number = verdict(&plan, &person(NEW_YORK, json!({})), now);
    assert_eq!(by_number, Verdict::Send { closes_at: Some(at("2026-11-24T01:00:00Z")) });
    let own = person(NEW_YORK, json!({"timezone": "Pacific/Auckland"}));
    // The number's hours (+1 begins at 09:00), the person's clock.
    let expected = (at("2026-11-23T20:00:00Z"), Reason::QuietHours);
    assert_eq!(waits_until(&verdict(&plan, &own, now)), Some(expected));
    // No country, so no zone by prefix: the campaign's, where it is night until 08:00.
    let nowhere = person("+80012345678", json!({}));
    let expected = (at("2026-11-23T23:00:00Z"), Reason::QuietHours);
    assert_eq!(waits_until(&verdict(&plan, &nowhere, now)), Some(expected));
}

#[test]
fn a_zone_that_is_none_does_not_hide_the_numbers() {
    let odd = person(NEW_YORK, json!({"timezone": "Middle/Earth"}));
    let now = "2026-11-23T15:00:00Z";
    assert!(matches!(verdict(&saying("Hi"), &odd, now), Verdict::Send { .. }));
    let odd = person(NEW_YORK, json!({"timezone": 5}));
    assert!(matches!(verdict(&saying("Hi"), &odd, now), Verdict::Send { .. }));
}

#[test]
fn a_number_of_several_zones_waits_until_all_allow_it() {
    // Idaho keeps two clocks: 09:30 in Boise is 08:30 in Los Angeles, and the hours begin at 09:00.
    let idaho = person("+12083305555", json!({}));
    let verdict = verdict(&saying("Hi"), &idaho, "2026-11-23T16:30:00Z");
    assert_eq!(waits_until(&verdict), Some((at("2026-11-23T17:00:00Z"), Reason::QuietHours)));
}

#[test]
fn a_number_of_too_many_zones_is_not_written_to_unless_the_campaign_names_one_of_them() {
    let free = person("+18005550199", json!({}));
    let now = "2026-11-23T15:00:00Z";
    let mut plan = saying("Hi");
    assert_eq!(verdict(&plan, &free, now), Verdict::Skip(Reason::ZoneTooWide));
    plan.zone = TimeZone::get("America/New_York").ok();
    assert!(matches!(verdict(&plan, &free, now), Verdict::Send { .. }));
    plan.zone = TimeZone::get("Asia/Tokyo").ok();
    assert_eq!(verdict(&plan, &free, now), Verdict::Skip(Reason::ZoneTooWide));
}

#[test]
fn nights_are_kept_across_both_changes_of_the_clocks() {
    // New York: clocks go back on 2026-11-01 and forward on 2027-03-14, both Sundays (12:00-20:00).
    let table = [
        // Saturday evening before: waits for Sunday 12:00, which is EST after the change.
        ("2026-11-01T00:30:00Z", "2026-11-01T17:00:00Z"),
        ("2027-03-14T01:30:00Z", "2027-03-14T16:00:00Z"),
    ];
    for (now, opens) in table {
        let verdict = verdict(&saying("Hi"), &person(NEW_YORK, json!({})), now);
        assert_eq!(waits_until(&verdict), Some((at(opens), Reason::QuietHours)), "{now}");
    }
}

#[test]
fn a_window_about_to_close_is_closed() {
    // Colombo closes at 21:00, which is 15:30 UTC.
    let plan = saying("Hi");
    let ana = person(COLOMBO, json!({}));
    let open = verdict(&plan, &ana, "2026-11-23T15:28:00Z");
    assert_eq!(open, Verdict::Send { closes_at: Some(at("2026-11-23T15:30:00Z")) });
    let closing = verdict(&plan, &ana, "2026-11-23T15:28:00.001Z");
    let expected = (at("2026-11-24T02:30:00Z"), Reason::QuietHours);
    assert_eq!(waits_until(&closing), Some(expected));
}

#[test]
fn transactional_messages_keep_no_house_hours_but_those_of_their_campaign() {
    let mut plan = saying("Hi");
    plan.kind = Kind::Transactional;
    let ana = person(COLOMBO, json!({}));
    let night = "2026-11-23T20:00:00Z";
    assert_eq!(verdict(&plan, &ana, night), Verdict::Send { closes_at: None });
    plan.policy = Policy::parse(&json!({"start": "21:00", "end": "08:00"})).unwrap();
    assert!(waits_until(&verdict(&plan, &ana, night)).is_some());
    plan.kind = Kind::Marketing;
    plan.policy = Policy::Off;
    assert_eq!(verdict(&plan, &ana, night), Verdict::Send { closes_at: None });
}

#[test]
fn a_local_start_comes_at_the_persons_own_hour() {
    let mut plan = saying("Hi");
    plan.policy = Policy::Off;
    plan.zone = TimeZone::get("Asia/Colombo").ok();
    plan.local_start = Some("2026-12-01T09:00:00".parse().unwrap());
    let now = "2026-11-30T19:00:00Z";
    for (phone, starts) in [(COLOMBO, "2026-12-01T03:30:00Z"), (NEW_YORK, "2026-12-01T14:00:00Z")] {
        let verdict = verdict(&plan, &person(phone, json!({})), now);
        assert_eq!(waits_until(&verdict), Some((at(starts), Reason::LocalTime)), "{phone}");
    }
}

#[test]
fn a_local_start_in_a_skipped_hour_comes_when_that_hour_would_be_over() {
    let mut plan = saying("Hi");
    plan.policy = Policy::Off;
    plan.local_start = Some("2027-03-14T02:30:00".parse().unwrap());
    let verdict = verdict(&plan, &person(NEW_YORK, json!({})), "2027-03-13T00:00:00Z");
    assert_eq!(waits_until(&verdict), Some((at("2027-03-14T07:30:00Z"), Reason::LocalTime)));
}

fn content(plan: &Plan, person: &Person, variables: Value) -> (Content, Option<Rendered>) {
    let circumstances =
        Circumstances { variables: variables.as_object().unwrap().clone(), ..Circumstances::default() };
    let (facts, rendered) = plan.judge(person, &circumstances, &presets(), at("2026-11-23T15:00:00Z"));
    (facts.content, rendered)
}

#[test]
fn parts_are_counted_by_the_alphabet_that_the_text_needs() {
    let table = [
        ("a".repeat(160), 1),
        ("a".repeat(161), 2),
        ("a".repeat(307), 3),
        ("я".repeat(70), 1),
        ("я".repeat(71), 2),
        ("a".repeat(1_600), 11),
    ];
    for (body, parts) in table {
        let found = content(&saying(&body), &person(NEW_YORK, json!({})), json!({})).0;
        assert_eq!(found, Content::Ready { parts }, "{} characters", body.chars().count());
    }
    let mut plan = saying(&"я".repeat(500));
    plan.channel = Channel::Whatsapp;
    assert_eq!(content(&plan, &person(NEW_YORK, json!({})), json!({})).0, Content::Ready { parts: 1 });
}

#[test]
fn every_missing_variable_is_named_and_an_empty_one_is_missing() {
    let plan = saying("{name} {shop} {city|default(\"here\")}");
    let found = content(&plan, &person(NEW_YORK, json!({"name": "", "shop": null})), json!({})).0;
    assert_eq!(found, Content::Missing(vec!["name".to_owned(), "shop".to_owned()]));
}

#[test]
fn a_messages_own_variables_go_before_the_persons_attributes() {
    let plan = saying("{name} {order} {phone}");
    let ana = person(NEW_YORK, json!({"name": "Ana", "order": "old"}));
    let (_, rendered) = content(&plan, &ana, json!({"order": "A-1"}));
    assert_eq!(rendered.unwrap().body, "Ana A-1 +12125550101");
}

#[test]
fn a_text_that_is_too_long_or_empty_for_one_person_is_held_back_for_that_person() {
    let plan = saying("{text}");
    let say = |text: String| content(&plan, &person(NEW_YORK, json!({"text": text})), json!({})).0;
    assert_eq!(say("x".repeat(1_601)), Content::TooLong);
    assert_eq!(say(" \n ".to_owned()), Content::Broken);
    assert_eq!(say("x".to_owned()), Content::Ready { parts: 1 });
}

#[test]
fn a_first_message_is_introduced_in_texts_and_not_in_content_templates() {
    let introduction =
        Introduction { sender_name: "Acme".to_owned(), opt_out_line: "Reply STOP to end.".to_owned() };
    let circumstances =
        Circumstances { introduction: Some(Arc::new(introduction)), ..Circumstances::default() };
    let ana = person(NEW_YORK, json!({}));
    let say = |plan: &Plan| plan.judge(&ana, &circumstances, &presets(), at("2026-11-23T15:00:00Z"));
    let (_, rendered) = say(&saying(&"a".repeat(150)));
    let rendered = rendered.unwrap();
    assert!(rendered.body.starts_with("Acme: a") && rendered.body.ends_with("a\nReply STOP to end."));
    assert_eq!(rendered.parts, 2);
    // It must fit beside the text, and an empty text stays empty.
    assert_eq!(say(&saying(&"a".repeat(1_590))).0.content, Content::TooLong);
    assert_eq!(say(&saying("{x|default(\"\")}")).0.content, Content::Broken);
    let mut plan = saying("Hi");
    plan.channel = Channel::Whatsapp;
    plan.text = Arc::new(Text::Template {
        body: Template::parse("Hi").unwrap(),
        media_urls: Vec::new(),
        content: Some(("HX1".to_owned(), ContentVariables::parse(&Map::new()).unwrap())),
        known: None,
    });
    assert_eq!(say(&plan).1.unwrap().body, "Hi");
}

#[test]
fn the_address_fits_the_channel() {
    let mut plan = saying("Hi");
    let rendered = |plan: &Plan, person: &Person| content(plan, person, json!({})).1.unwrap().to;
    assert_eq!(rendered(&plan, &person(NEW_YORK, json!({}))), "+12125550101");
    let mut stranger = person(NEW_YORK, json!({}));
    (stranger.phone, stranger.channel_address) = (None, Some("whatsapp:US.1349".to_owned()));
    let (facts, _) = plan.judge(&stranger, &Circumstances::default(), &presets(), 0);
    assert!(!facts.has_address);
    plan.channel = Channel::Whatsapp;
    assert_eq!(rendered(&plan, &person(NEW_YORK, json!({}))), "whatsapp:+12125550101");
    assert_eq!(rendered(&plan, &stranger), "whatsapp:US.1349");
}

#[test]
fn membership_follows_the_topics_rule() {
    let table = [
        (None, Some(true), Membership::NoTopic),
        (Some(true), None, Membership::OpenToOptedIn),
        (Some(false), None, Membership::NotJoined),
        (Some(false), Some(true), Membership::Subscribed),
        (Some(true), Some(false), Membership::Unsubscribed),
    ];
    for (is_open, is_subscribed, expected) in table {
        let mut plan = saying("Hi");
        plan.topic = is_open.map(|is_open_to_opted_in| TopicRule { is_open_to_opted_in });
        let mut ana = person(NEW_YORK, json!({}));
        ana.is_subscribed = is_subscribed;
        let (facts, _) = plan.judge(&ana, &Circumstances::default(), &presets(), 0);
        assert_eq!(facts.membership, expected, "{is_open:?} {is_subscribed:?}");
    }
}
