//! Live parts: many look, one question is asked.

use crate::support::api::TestApp;
use crate::watch::{Looker, Stream, change, until};

const DASHBOARD: &str = "/admin/live/dashboard";

async fn watchers(app: &TestApp, n: usize) -> Vec<Stream> {
    let mut streams = Vec::new();
    for ten in 0..n.div_ceil(10) {
        let looker = Looker::enter(app, &format!("looker{ten}"), "operator").await;
        for _ in 0..10.min(n - ten * 10) {
            let mut stream = looker.watch(DASHBOARD).await;
            stream.part("events", "<section").await;
            streams.push(stream);
        }
    }
    streams
}

/// What it costs to show something new to so many.
async fn cost(app: &TestApp, n: usize) -> (u64, u64) {
    let mut streams = watchers(app, n).await;
    let before = app.state.watchers.work();
    let phone = format!("+1415555{:04}", 1_000 + n);
    app.add_user(&phone, "opt_in").await;
    let shown = format!("+1 415 555 {:04}", 1_000 + n);
    for stream in &mut streams {
        stream.part("events", &shown).await;
    }
    let after = app.state.watchers.work();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_who_look_at_a_page_cost_one_question_and_one_render() {
    let app = TestApp::start().await;
    let (questions, renders) = cost(&app, 20).await;
    // The new person, and at most two looks that were due by the clock meanwhile.
    assert!((1..=3).contains(&questions), "{questions} questions");
    assert_eq!(renders, questions);
    assert_eq!(app.state.watchers.topics(), 1);
    assert_eq!(app.state.watchers.open(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_see_it_differently_share_the_question_and_viewers_see_no_number() {
    let app = TestApp::start().await;
    let operator = Looker::enter(&app, "ops", "operator").await;
    let viewer = Looker::enter(&app, "vic", "viewer").await;
    let (mut first, mut second) = (operator.watch(DASHBOARD).await, viewer.watch(DASHBOARD).await);
    first.part("events", "<section").await;
    second.part("events", "<section").await;
    let before = app.state.watchers.work();
    app.add_user("+14155550101", "opt_in").await;
    first.part("events", "+1 415 555 0101").await;
    let seen = second.part("events", "··01").await;
    assert!(!seen.contains("555 01") && !seen.contains("5550101"), "{seen}");
    let after = app.state.watchers.work();
    assert_eq!(after.1 - before.1, 2 * (after.0 - before.0));
    assert_eq!(app.state.watchers.topics(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_looks_and_nothing_is_asked() {
    let app = TestApp::start().await;
    let streams = watchers(&app, 2).await;
    drop(streams);
    until("the topic goes with the last who looks", || app.state.watchers.topics() == 0).await;
    until("every place is free", || app.state.watchers.open() == 0).await;
    let before = app.state.watchers.work();
    app.add_user("+14155550101", "opt_in").await;
    assert_eq!(app.state.watchers.work(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_gets_every_part_as_it_is() {
    let app = TestApp::start().await;
    let _streams = watchers(&app, 1).await;
    app.add_user("+14155550101", "opt_in").await;
    let late = Looker::enter(&app, "late", "admin").await;
    let mut stream = late.watch(DASHBOARD).await;
    for id in ["summary", "running", "attention", "health"] {
        stream.part(id, &format!("id=\"{id}\"")).await;
    }
    stream.part("events", "+1 415 555 0101").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_or_may_less_ends_its_stream() {
    let app = TestApp::start().await;
    let leaver = Looker::enter(&app, "leaver", "operator").await;
    let lowered = Looker::enter(&app, "lowered", "operator").await;
    let stays = Looker::enter(&app, "stays", "operator").await;
    let (mut left, mut low) = (leaver.watch(DASHBOARD).await, lowered.watch(DASHBOARD).await);
    let mut kept = stays.watch(DASHBOARD).await;
    change(
        &app,
        "DELETE FROM sessions WHERE operator_id = (SELECT id FROM operators WHERE email LIKE 'leaver%');
                  UPDATE operators SET role = 'viewer' WHERE email LIKE 'lowered%'",
    )
    .await;
    left.end().await;
    low.end().await;
    app.add_user("+14155550101", "opt_in").await;
    kept.part("events", "+1 415 555 0101").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_process_ends_every_stream() {
    let app = TestApp::start().await;
    let mut streams = watchers(&app, 3).await;
    app.state.watchers.close();
    for stream in &mut streams {
        stream.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_one_more_is_no_error() {
    let app = TestApp::start().await;
    let looker = Looker::enter(&app, "many", "viewer").await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(looker.watch(DASHBOARD).await);
    }
    assert_eq!(looker.ask(DASHBOARD).await.status().as_u16(), 204);
    streams.pop();
    until("a place is free again", || app.state.watchers.open() == 15).await;
    looker.watch(DASHBOARD).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_there_is_nothing_to_see() {
    let app = TestApp::start().await;
    for path in [DASHBOARD, "/admin/live/monitoring", "/admin/live/events"] {
        let answer = reqwest::Client::new().get(format!("{}{path}", app.base)).header("hx-request", "true");
        assert_eq!(answer.send().await.unwrap().status().as_u16(), 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_filled_so_that_a_dead_connection_is_noticed() {
    let app = TestApp::start().await;
    let mut streams = watchers(&app, 1).await;
    streams[0].part("beat", "data: 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_fails_ends_its_streams_and_the_next_look_asks_again() {
    let app = TestApp::start().await;
    let mut streams = watchers(&app, 1).await;
    change(&app, "ALTER TABLE events RENAME TO away").await;
    app.store.plan_changed();
    streams[0].end().await;
    until("the topic is gone", || app.state.watchers.topics() == 0).await;
    change(&app, "ALTER TABLE away RENAME TO events").await;
    watchers(&app, 11).await;
}
