//! What the approval of a template means for the campaigns and messages that send it.

use event_stream_engine::campaign::{self, CampaignError};
use event_stream_engine::domain::campaign::CampaignStatus;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::simulator::{ErrorFault, Faults};
use event_stream_engine::store::StoreError;
use event_stream_engine::store::campaigns::{self, CampaignRow};
use event_stream_engine::store::templates::TemplateText;
use serde_json::{Value, json};

use super::{OFFER, ORDER, VISIT, app_with_twilio, by_content, contents, order_draft};
use crate::support::{Engine, Wanted, phone};

async fn try_launch(engine: &Engine, id: i64) -> Result<CampaignRow, CampaignError> {
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::launch(tx, id, &setup)).await
}

async fn try_resume(engine: &Engine, id: i64) -> Result<CampaignRow, CampaignError> {
    let setup = engine.setup.clone();
    engine.store.write(move |tx| campaign::resume(tx, id, &setup, "test")).await
}

/// Twilio's word now, learned.
async fn judged(engine: &Engine, sid: &str, status: &str) {
    engine.clock.advance(1_000);
    engine.simulator.judge(sid, status, "").unwrap();
    contents(engine).sync().await.unwrap();
}

#[tokio::test]
async fn a_campaign_is_launched_only_with_a_template_that_is_approved_or_never_seen() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    let unseen = order_draft(&engine).await;
    engine.simulator.judge(ORDER, "approved", "").unwrap();
    try_launch(&engine, unseen).await.unwrap();
    engine.drain().await;
    for status in ["unsubmitted", "received", "pending", "rejected", "paused", "disabled"] {
        judged(&engine, ORDER, status).await;
        let id = order_draft(&engine).await;
        let refused = try_launch(&engine, id).await.unwrap_err();
        assert!(
            matches!(&refused, CampaignError::TemplateNotApproved(refusal) if refusal.status == status),
            "{status}: {refused}"
        );
        assert_eq!(engine.campaign(id).status, CampaignStatus::Draft, "{status}");
    }
    judged(&engine, ORDER, "approved").await;
    let id = order_draft(&engine).await;
    try_launch(&engine, id).await.unwrap();
    engine.settle().await;
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_template_that_is_paused_stops_its_campaign_before_the_next_send() {
    let wanted = Wanted { rate: 10.0, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(30).await;
    contents(&engine).sync().await.unwrap();
    let id = order_draft(&engine).await;
    try_launch(&engine, id).await.unwrap();
    campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
    for _ in 0..10 {
        engine.dispatcher.tick().await.unwrap();
        engine.dispatcher.settle().await;
        engine.clock.advance(100);
    }
    let before = engine.simulator.messages().len();
    assert!((1..30).contains(&before), "{before}");
    judged(&engine, ORDER, "paused").await;
    let stopped = engine.campaign(id);
    assert_eq!(stopped.status, CampaignStatus::Paused);
    let reason = stopped.pause_reason.unwrap();
    assert!(reason.contains(ORDER) && reason.contains("paused"), "{reason}");
    engine.drain().await;
    assert_eq!(engine.simulator.messages().len(), before, "something was sent after the pause");
    let refused = try_resume(&engine, id).await.unwrap_err();
    assert!(matches!(refused, CampaignError::TemplateNotApproved(_)), "{refused}");
    judged(&engine, ORDER, "approved").await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Paused, "nobody but a person resumes");
    try_resume(&engine, id).await.unwrap();
    engine.settle().await;
    for _ in 0..10 {
        engine.drain_after(1).await;
    }
    engine.settle().await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    assert!(engine.simulator.counts().values().all(|n| *n == 1));
    assert_eq!(engine.simulator.counts().len(), 30);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_template_that_is_gone_at_twilio_stops_its_campaign() {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    contents(&engine).sync().await.unwrap();
    let id = order_draft(&engine).await;
    try_launch(&engine, id).await.unwrap();
    let url = format!("{}/v1/Content/{ORDER}", engine.simulator.base_url());
    let options = crate::support::quick_simulator();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer =
        client.delete(url).basic_auth(options.account_sid, Some(options.auth_token)).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    engine.clock.advance(1_000);
    assert_eq!(contents(&engine).sync().await.unwrap().deleted, 1);
    let stopped = engine.campaign(id);
    assert_eq!(stopped.status, CampaignStatus::Paused);
    assert!(stopped.pause_reason.unwrap().contains("deleted"));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn twilios_word_at_sending_stops_every_campaign_of_the_template() {
    let wanted = Wanted { max_in_flight: 1, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(5).await;
    contents(&engine).sync().await.unwrap();
    let (first, second) = (order_draft(&engine).await, order_draft(&engine).await);
    let other = engine
        .draft_with(by_content(OFFER, json!({"1": "{name}"})), |plan| plan.kind = Kind::Transactional)
        .await;
    for id in [first, second, other] {
        try_launch(&engine, id).await.unwrap();
    }
    engine.clock.advance(1_000);
    engine.simulator.set_faults(Faults {
        errors: vec![ErrorFault { code: 63042, count: Some(1), ..ErrorFault::default() }],
        ..Faults::default()
    });
    engine.settle().await;
    let stopped: i64 = engine.value("SELECT count(*) FROM events WHERE type = 'content.status_changed'");
    assert_eq!(stopped, 1);
    let status: String = engine.value("SELECT status FROM content_templates WHERE status = 'disabled'");
    assert_eq!(status, "disabled");
    let paused = [first, second].map(|id| engine.campaign(id).status == CampaignStatus::Paused);
    assert_eq!(paused, [true, true]);
    assert_ne!(engine.campaign(other).status, CampaignStatus::Paused, "it sends another template");
    for id in [first, second] {
        let refused = try_resume(&engine, id).await.unwrap_err();
        assert!(matches!(refused, CampaignError::TemplateNotApproved(_)), "{refused}");
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_unseen_template_that_whatsapp_takes_for_free_text_stops_at_the_first_message() {
    let wanted = Wanted { max_in_flight: 1, ..Wanted::default() };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(5).await;
    let text = by_content(VISIT, json!({"1": "{name}", "2": "10:30"}));
    let id = engine
        .draft_with(text, |plan| {
            plan.kind = Kind::Transactional;
            plan.rate_limit_per_second = Some(1.0);
        })
        .await;
    try_launch(&engine, id).await.unwrap();
    for _ in 0..20 {
        engine.dispatcher.tick().await.unwrap();
        campaign::freeze_all(&engine.store, &crate::support::presets(), true).await.unwrap();
        engine.dispatcher.settle().await;
        engine.simulator.wait_until_quiet().await;
        engine
            .until("the receipt", |engine| {
                engine.value::<i64>(
                    "SELECT count(*) FROM messages WHERE status IN ('sending', 'accepted', 'sent')",
                ) == 0
            })
            .await;
        engine.clock.advance(200);
    }
    let stopped = engine.campaign(id);
    assert_eq!(stopped.status, CampaignStatus::Paused, "{:?}", engine.reasons(id));
    assert!(stopped.pause_reason.unwrap().contains("63016"));
    assert_eq!(engine.reasons(id).get("failed:63016"), Some(&1), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn free_text_after_the_window_fails_alone() {
    let mut engine = Engine::start().await;
    engine.add_many(2).await;
    for n in 0..2 {
        let person = format!("whatsapp:{}", phone(n));
        engine.simulator.inbound(&person, crate::support::WHATSAPP_SENDER, "Hello").await;
    }
    let text = TemplateText::plain(Channel::Whatsapp, "Yes, we are open.");
    let id = engine.draft_with(text, |plan| plan.kind = Kind::Transactional).await;
    engine.simulator.set_faults(Faults {
        errors: vec![ErrorFault { code: 63016, count: Some(1), ..ErrorFault::default() }],
        ..Faults::default()
    });
    try_launch(&engine, id).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    assert_eq!(engine.reasons(id).get("failed:63016"), Some(&1), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn whatsapp_marketing_to_us_numbers_is_refused_by_kind_and_by_category() {
    let mut engine = Engine::start().await;
    engine.add(&phone(0), Consent::OptIn, json!({"name": "Ann"})).await;
    engine.add("+447911123456", Consent::OptIn, json!({"name": "Bo"})).await;
    contents(&engine).sync().await.unwrap();
    let by_kind = engine
        .draft_with(by_content(ORDER, json!({"1": "{name}", "2": "A-1"})), |plan| {
            plan.quiet_hours = "off".into();
        })
        .await;
    let by_category = engine
        .draft_with(by_content(OFFER, json!({"1": "{name}"})), |plan| plan.kind = Kind::Transactional)
        .await;
    for id in [by_kind, by_category] {
        try_launch(&engine, id).await.unwrap();
    }
    engine.settle().await;
    for id in [by_kind, by_category] {
        let reasons = engine.reasons(id);
        assert_eq!(reasons.get("skipped:whatsapp_us_marketing"), Some(&1), "{id}: {reasons:?}");
        assert_eq!(engine.campaign(id).status, CampaignStatus::Finished);
    }
    assert!(engine.simulator.messages_to(&phone(0)).is_empty());
    assert_eq!(engine.simulator.messages_to("+447911123456").len(), 2);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_scheduled_campaign_whose_template_was_paused_stops_at_its_start() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    contents(&engine).sync().await.unwrap();
    let text = by_content(ORDER, json!({"1": "{name}", "2": "A-1"}));
    let at = engine.clock.now() + 60_000;
    let id = engine
        .draft_with(text, move |plan| {
            plan.kind = Kind::Transactional;
            plan.schedule = Some(("2026-11-23T12:01:00".to_owned(), "America/New_York".to_owned()));
            plan.starts_at = Some(at);
        })
        .await;
    try_launch(&engine, id).await.unwrap();
    judged(&engine, ORDER, "paused").await;
    assert_eq!(engine.campaign(id).status, CampaignStatus::Scheduled, "there is time until it starts");
    engine.drain_after(60).await;
    let stopped = engine.campaign(id);
    assert_eq!(stopped.status, CampaignStatus::Paused);
    assert!(stopped.pause_reason.unwrap().contains("paused at Twilio"));
    assert!(engine.simulator.messages().is_empty());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_rest_that_ends_by_itself_does_not_go_on_with_a_template_that_was_paused_meanwhile() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    contents(&engine).sync().await.unwrap();
    let id = order_draft(&engine).await;
    try_launch(&engine, id).await.unwrap();
    let until = engine.clock.now() + 60_000;
    engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            let rest = campaigns::Rest { reason: "The cap of the day is reached.", until: Some(until) };
            campaigns::rest(tx, id, &rest)
        })
        .await
        .unwrap();
    judged(&engine, ORDER, "paused").await;
    engine.drain_after(120).await;
    let standing = engine.campaign(id);
    assert_eq!((standing.status, standing.paused_until), (CampaignStatus::Paused, None));
    let reason = standing.pause_reason.unwrap();
    assert!(reason.contains(ORDER) && reason.contains("Then resume"), "{reason}");
    assert_eq!(engine.reasons(id).get("skipped:template_not_approved"), None, "{:?}", engine.reasons(id));
    judged(&engine, ORDER, "approved").await;
    try_resume(&engine, id).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.counts(id).get("delivered"), Some(&3), "{:?}", engine.reasons(id));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn failed_messages_are_not_queued_again_with_a_template_that_is_not_approved() {
    let mut engine = Engine::start().await;
    engine.add_many(1).await;
    contents(&engine).sync().await.unwrap();
    let id = order_draft(&engine).await;
    engine.simulator.set_faults(Faults {
        errors: vec![ErrorFault { code: 63005, ..ErrorFault::default() }],
        ..Faults::default()
    });
    try_launch(&engine, id).await.unwrap();
    engine.settle().await;
    assert_eq!(engine.counts(id).get("failed"), Some(&1), "{:?}", engine.reasons(id));
    judged(&engine, ORDER, "rejected").await;
    let refused =
        campaign::retry_failed(&engine.store, &crate::support::presets(), id, "test".to_owned()).await;
    assert!(matches!(refused, Err(CampaignError::TemplateNotApproved(_))));
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn a_refused_launch_says_status_reason_and_what_to_do() {
    let (app, simulator) = app_with_twilio().await;
    simulator.judge(ORDER, "rejected", "INVALID_FORMAT").unwrap();
    let template = template(&app, "order", ORDER, &json!({"1": "{name}", "2": "A"})).await;
    let segment = app.add_segment("all", json!({"all": []})).await;
    let campaign = json!({"name": "c", "channel": "whatsapp", "template_id": template["id"], "segment_id": segment,
        "kind": "transactional"});
    let made = app.post("/campaigns", &campaign).await.expect(201);
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(warning.contains("Nothing is known of HX"), "{warning}");
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    let refused = app.post(&format!("/campaigns/{}/launch", made["id"]), &json!({})).await.problem(409);
    for (field, value) in [
        ("code", json!("template_not_approved")),
        ("content_sid", json!(ORDER)),
        ("content_status", json!("rejected")),
        ("reason", json!("INVALID_FORMAT")),
    ] {
        assert_eq!(refused[field], value, "{field}");
    }
    assert!(refused["what_to_do"].as_str().unwrap().contains("Change the text"));
    let shown = app.get(&format!("/templates/{}", template["id"])).await.expect(200);
    assert_eq!(
        (&shown["approval"]["status"], &shown["approval"]["reason"]),
        (&json!("rejected"), &json!("INVALID_FORMAT"))
    );
    assert!(shown["approval"]["synced_at"].is_string());
    simulator.stop().await;
}

#[actix_web::test]
async fn a_campaign_warns_when_whatsapp_counts_its_template_otherwise() {
    let (app, simulator) = app_with_twilio().await;
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    let segment = app.add_segment("all", json!({"all": []})).await;
    for (sid, kind, part) in [
        (OFFER, "transactional", Some("MARKETING")),
        (ORDER, "marketing", Some("UTILITY")),
        (ORDER, "transactional", None),
        (OFFER, "marketing", None),
    ] {
        let template = template(&app, &format!("{sid} {kind}"), sid, &json!({"1": "{name}"})).await;
        let body = json!({"name": "c", "channel": "whatsapp", "template_id": template["id"],
            "segment_id": segment, "kind": kind});
        let made = app.post("/campaigns", &body).await.expect(201);
        let warnings = made["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), usize::from(part.is_some()), "{sid} {kind}: {warnings:?}");
        assert!(part.is_none_or(|part| warnings[0].as_str().unwrap().contains(part)));
    }
    simulator.stop().await;
}

#[actix_web::test]
async fn a_single_message_of_an_unapproved_template_is_skipped_and_within_the_window_it_goes() {
    let (app, simulator) = app_with_twilio().await;
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    let template = template(&app, "visit", VISIT, &json!({"1": "{name}", "2": "10:30"})).await;
    let attributes = json!({"name": "Ana"});
    for phone in ["+447911123456", "+447911123457"] {
        app.post("/users", &json!({"phone": phone, "attributes": attributes})).await.expect(201);
    }
    app.store
        .write::<_, _, event_stream_engine::store::StoreError>(|tx| {
            let sql = "UPDATE users SET last_whatsapp_inbound_at = ?1 WHERE phone = '+447911123457'";
            Ok(tx.conn().execute(sql, [tx.now() - 1_000]).map(drop)?)
        })
        .await
        .unwrap();
    let send = async |to: &str| {
        let body =
            json!({"to": to, "channel": "whatsapp", "template_id": template["id"], "kind": "transactional"});
        app.post("/messages", &body).await.expect(202)
    };
    let refused = send("+447911123456").await;
    assert_eq!(
        (&refused["status"], &refused["reason"]),
        (&json!("skipped"), &json!("template_not_approved"))
    );
    assert_eq!(send("+447911123457").await["status"], "queued");
    simulator.judge(VISIT, "paused", "").unwrap();
    app.clock.advance(1_000);
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    assert_eq!(send("+447911123457").await["reason"], "template_not_approved");
    simulator.stop().await;
}

#[actix_web::test]
async fn variables_that_the_template_does_not_have_are_refused_and_those_left_out_are_told() {
    let (app, simulator) = app_with_twilio().await;
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    let body = |variables: Value| {
        json!({"name": "order", "channel": "whatsapp", "body": "Hi", "content_sid": ORDER,
            "content_variables": variables})
    };
    let fields = app.post("/templates", &body(json!({"1": "{name}", "3": "x"}))).await.fields();
    assert_eq!(fields, ["content_variables.3"]);
    let made = app.post("/templates", &body(json!({"1": "{name}"}))).await.expect(201);
    let shown = app.get(&format!("/templates/{}", made["id"])).await.expect(200);
    let warnings = shown["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|w| w.as_str().unwrap().ends_with("leaves out: 2")), "{warnings:?}");
    let edited = app.put(&format!("/templates/{}", made["id"]), &body(json!({"9": "x"}))).await.fields();
    assert_eq!(edited, ["content_variables.9"]);
    simulator.stop().await;
}

/// A template of ours that is sent by `sid`.
async fn template(app: &crate::support::api::TestApp, name: &str, sid: &str, variables: &Value) -> Value {
    let body = json!({"name": name, "channel": "whatsapp", "body": "Hello {name|default(\"you\")}",
        "content_sid": sid, "content_variables": variables});
    app.post("/templates", &body).await.expect(201)
}
