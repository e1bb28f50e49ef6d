//! Monitoring: figures with their limits, plots from tables, events with filters, webhooks.

use event_stream_engine::vitals::Sample;

use crate::support::api::TestApp;
use crate::watch::{Looker, change};

#[tokio::test(flavor = "multi_thread")]
async fn figures_name_their_limits_and_plots_have_tables() {
    let app = TestApp::start().await;
    for second in 0..=40 {
        let sample = Sample {
            queued: 4_000 - second,
            accepted: second as u64 * 9,
            limit: Some(10.0),
            in_flight: 37,
            ceiling: 64,
            campaigns: Vec::new(),
        };
        app.state.vitals.note(1_795_435_200_000 + second * 1_000, sample);
    }
    app.state.vitals.note_webhook(app.clock.now(), 18.0, true);
    let page = Looker::enter(&app, "ops", "operator").await.page("/admin/monitoring").await;
    for shown in ["3,960", "9 / s", "of 10 the account may", "18 ms", "Show as a table"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert_eq!(page.matches("data-plot=\"lines\"").count(), 4);
    assert_eq!(page.matches("data-v=\"9.0\"").count(), 4, "one for each ten seconds");
    assert_eq!(page.matches("data-v=\"64\"").count(), 4);
    assert!(page.contains("+1 500 555 0006"), "senders stand there with their number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_history_is_within_the_budget() {
    let app = TestApp::start().await;
    for second in 0..2_000 {
        let sample = Sample {
            queued: 1_234_567,
            accepted: second as u64 * 900,
            limit: Some(1_000.0),
            in_flight: 256,
            ceiling: 256,
            campaigns: Vec::new(),
        };
        app.state.vitals.note(1_795_435_200_000 + second * 1_000, sample);
        app.state.vitals.note_webhook(1_795_435_200_000 + second * 1_000, 123.456, true);
    }
    // The budget is held by the looker.
    Looker::enter(&app, "ops", "operator").await.page("/admin/monitoring").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_sentences_with_filters_and_a_way_on() {
    let app = TestApp::start().await;
    for n in 0..60 {
        app.add_user(&format!("+1415555{:04}", 1_000 + n), "unknown").await;
    }
    let looker = Looker::enter(&app, "ops", "operator").await;
    let first = looker.page("/admin/monitoring/events?group=people").await;
    assert!(first.contains("+1 415 555 1059") && !first.contains("+1 415 555 1009"), "{first}");
    let links =
        first.split("href=\"/admin/monitoring/events?").skip(1).map(|rest| rest.split('"').next().unwrap());
    let next = links.into_iter().find(|link| link.contains("before=")).unwrap().replace("&amp;", "&");
    let second = looker.page(&format!("/admin/monitoring/events?{next}")).await;
    assert!(second.contains("+1 415 555 1009") && !second.contains("+1 415 555 1059"), "{second}");
    let none = looker.page("/admin/monitoring/events?group=replies").await;
    assert!(none.contains("Nothing fits") && none.contains("Clear filters"), "{none}");
    let person = looker.page("/admin/monitoring/events?person=1&campaign=&group=").await;
    assert!(person.contains("+1 415 555 1000") && !person.contains("+1 415 555 1001"), "{person}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_follow_the_filters_of_their_page() {
    let app = TestApp::start().await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    let mut people = looker.watch("/admin/live/events?group=people").await;
    let mut replies = looker.watch("/admin/live/events?group=replies").await;
    replies.part("events", "Nothing fits").await;
    app.add_user("+14155550101", "unknown").await;
    people.part("events", "+1 415 555 0101").await;
    change(&app, "INSERT INTO events (type, at, user_id, data) VALUES ('inbound.received', 0, 1, '{\"kind\":\"message\"}')").await;
    app.store.plan_changed();
    let seen = replies.part("events", "Reply from").await;
    assert!(!seen.contains("was added"), "{seen}");
    assert_eq!(app.state.watchers.topics(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_listed_whether_or_not_they_were_applied() {
    let app = TestApp::start().await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    let empty = looker.page("/admin/monitoring/webhooks").await;
    assert!(empty.contains("None has come yet") && empty.contains("/webhooks/twilio/inbound"), "{empty}");
    change(&app, "INSERT INTO receipts (sid, status, error_code, state, received_at) VALUES ('SM1', 'undelivered', 30003, 'done', 0);
                  INSERT INTO inbound (message_sid, state, source, kind, error, received_at)
                    VALUES ('SM2', 'pending', 'webhook', 'message', 'busy', 5);
                  INSERT INTO webhook_endpoints (url, secret, position, created_at, updated_at, failures, is_alerted, failing_since)
                    VALUES ('https://hooks.example.com/token-in-path', x'00', 0, 0, 0, 7, 1, 0)").await;
    app.state.badges.forget();
    let page = looker.page("/admin/monitoring/webhooks").await;
    for shown in [
        "Receipt: undelivered, code 30003",
        "Message from nobody we know",
        "busy",
        "1 could not be applied",
        "hooks.example.com",
        "7 times in a row",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(!page.contains("token-in-path"));
}
