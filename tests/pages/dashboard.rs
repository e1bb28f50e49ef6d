//! The dashboard: what goes out, what needs somebody, the last days; the numbers of the side bar; the search on top.

use event_stream_engine::store::StoreError;
use event_stream_engine::store::reports::figures;

use event_stream_engine::simulator::Options;

use crate::support::api::TestApp;
use crate::support::{Engine, Wanted, quick_simulator};
use crate::watch::{Looker, change};

/// A campaign that runs, with a name that a stranger made up, on the day of the tests.
const WORK: &str = "
  INSERT INTO templates (id, name, created_at, updated_at) VALUES (50, 't', 0, 0);
  INSERT INTO segments (id, name, definition, created_at, updated_at) VALUES (50, 's', '{}', 0, 0);
  INSERT INTO campaigns (id, name, status, kind, channel, template_id, segment_id, rate_limit_per_second,
                         created_at, updated_at, launched_at) VALUES
    (50, '<script>alert(1)</script>', 'running', 'marketing', 'sms', 50, 50, 10, 0, 0, 1795435200000);
  INSERT INTO campaign_counts VALUES (50, 'delivered', '', 0, 6817), (50, 'sent', '', 0, 250),
    (50, 'failed', 'provider_error', 30003, 185), (50, 'queued', '', 0, 4116), (50, 'queued', 'quiet_hours', 0, 318);
  INSERT INTO campaign_sums (campaign_id, accepted, first_accepted_at, last_accepted_at)
    VALUES (50, 7253, 1795435200000, 1795435926000);
  INSERT INTO daily_counts (day, type, n) VALUES (20780, 'message.accepted', 45304), (20780, 'message.delivered', 44508),
    (20780, 'message.read', 5535), (20780, 'message.failed', 796), (20780, 'inbound.received', 1161), (20780, 'opt_out', 138);
  INSERT INTO imports (state, file_name, options, actor, rejected, created_at, finished_at)
    VALUES ('finished', '<b>october</b>.xlsx', '{}', 'x', 26, 1795435200000, 1795435200000);";

/// The text of an element with this id, roughly.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let at = page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let rest = &page[at..];
    rest.find("</section>").map_or(rest, |end| &rest[..end])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_dashboard_says_what_to_do_next() {
    let app = TestApp::start().await;
    let page = Looker::enter(&app, "ops", "operator").await.page("/admin").await;
    assert!(page.contains("No messages yet") && page.contains("href=\"/admin/imports/new\""), "{page}");
    assert!(!page.contains("data-plot"), "nothing is there to draw");
    let viewer = Looker::enter(&app, "vic", "viewer").await.page("/admin").await;
    assert!(viewer.contains("No messages yet") && !viewer.contains("/admin/imports/new"), "{viewer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_shown_with_its_parts_its_pace_and_its_end() {
    let app = TestApp::start().await;
    change(&app, WORK).await;
    let page = Looker::enter(&app, "ops", "operator").await.page("/admin").await;
    let running = part(&page, "running");
    for shown in [
        "<b data-k>6,817</b>",
        "<b data-k>250</b>",
        "<b data-k>185</b>",
        "<b data-k>4,434</b>",
        "318 wait for the morning",
        "of 10 per second",
        "done by",
    ] {
        assert!(running.contains(shown), "{shown} in {running}");
    }
    assert!(running.contains("action=\"/admin/campaigns/50/pause\""), "{running}");
    for shown in ["45,304", "of 45,304 with an answer", "5,535", "1,161", "138"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.contains("1 campaign is going out"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_text() {
    let app = TestApp::start().await;
    change(&app, WORK).await;
    app.add_user("+14155550101", "opt_in").await;
    change(&app, "UPDATE users SET attributes = jsonb('{\"name\":\"<img src=x onerror=alert(1)>\"}')").await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    for path in [
        "/admin",
        "/admin/monitoring",
        "/admin/monitoring/events",
        "/admin/search?q=%3Cscript%3E",
        "/admin/search?q=415",
    ] {
        let page = looker.page(path).await;
        for evil in ["<script>alert", "<img src=x", "<b>october"] {
            assert!(!page.contains(evil), "{path} holds {evil}");
        }
    }
    assert!(looker.page("/admin").await.contains("&lt;script&gt;alert(1)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_no_whole_number_and_no_button() {
    let app = TestApp::start().await;
    change(&app, WORK).await;
    app.add_user("+14155550101", "opt_in").await;
    let viewer = Looker::enter(&app, "vic", "viewer").await;
    for path in ["/admin", "/admin/monitoring", "/admin/monitoring/events", "/admin/search?q=4155550"] {
        let page = viewer.page(path).await;
        assert!(!page.contains("5550101") && !page.contains("555 0101"), "{path}");
        assert!(!page.contains("/pause\""), "{path}");
    }
    assert!(viewer.page("/admin").await.contains("··01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_somebody_stands_on_the_page_and_in_the_side_bar() {
    let app = TestApp::start().await;
    change(&app, WORK).await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    let page = looker.page("/admin").await;
    let attention = part(&page, "attention");
    assert!(
        attention.contains("26 import rows were rejected") && attention.contains("1 open"),
        "{attention}"
    );
    assert!(page.contains("title=\"1 need attention\"") && page.contains("title=\"1 running\""), "{page}");
    change(&app, "DELETE FROM imports; UPDATE account SET pause_reason = 'Twilio refused the token.'").await;
    app.state.badges.forget();
    let page = looker.page("/admin").await;
    let attention = part(&page, "attention");
    assert!(
        attention.contains("All sending stands still") && attention.contains("Twilio refused the token."),
        "{attention}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_the_side_bar_are_read_once_a_second_at_most() {
    let app = TestApp::start().await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    looker.page("/admin/search").await;
    let before = app.store.reads();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        looker.page("/admin/search").await;
    }
    // Each page reads its session and its own; the numbers come with a second's end.
    let (reads, seconds) = (app.store.reads() - before, began.elapsed().as_secs() + 1);
    assert!(reads <= 40 + seconds, "{reads} reads in {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_number_leads_to_its_person_and_a_name_to_a_list() {
    let app = TestApp::start().await;
    change(&app, WORK).await;
    let id = app.add_user("+14155550101", "opt_in").await;
    let looker = Looker::enter(&app, "ops", "operator").await;
    let answer = looker.ask_plainly("/admin/search?q=%2B1+415+555-0101").await;
    assert_eq!(answer.status().as_u16(), 303);
    assert_eq!(answer.headers()["location"], format!("/admin/users/{id}"));
    let page = looker.page("/admin/search?q=+415555").await;
    assert!(!page.contains(&format!("/admin/users/{id}")), "a number begins with its country");
    assert!(looker.page("/admin/search?q=1415555").await.contains(&format!("/admin/users/{id}")));
    assert!(looker.page("/admin/search?q=SCRIPT").await.contains("/admin/campaigns/50"));
    assert!(looker.page("/admin/search?q=nobody").await.contains("Nothing fits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_end_messages_are_counted_by_day_in_the_write_that_ends_them() {
    let silent = Options { callback_delay_ms: 600_000, ..quick_simulator() };
    let mut engine = Engine::start_with(Wanted { simulator: silent, ..Wanted::default() }).await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.drain().await;
    for (message, code) in [(1, "30005"), (2, "30005"), (3, "30007")] {
        let sid: String = engine.value(&format!("SELECT sid FROM attempts WHERE message_id = {message}"));
        let news = [("MessageSid", sid.as_str()), ("MessageStatus", "undelivered"), ("ErrorCode", code)];
        assert_eq!(engine.callback(message, 1, &news).await, 200);
        // Told again, it is counted once.
        assert_eq!(engine.callback(message, 1, &news).await, 200);
    }
    let ended: i64 = engine.value("SELECT count(*) FROM messages WHERE error_code IS NOT NULL");
    let counted: Vec<(i64, i64)> = engine.store.read_here(|conn| figures::errors(conn, 0)).unwrap();
    assert_eq!(counted.iter().map(|(_, n)| n).sum::<i64>(), ended);
    assert_eq!(ended, 3);
    engine.check_and_stop().await;
}
