//! Settings by forms: what holds at once, what is refused with the input kept, who may, and copies of the file.

use event_stream_engine::store::{StoreError, hold};
use serde_json::json;

use crate::desk::{Desk, until};
use crate::support::api::TestApp;

async fn admin() -> (TestApp, Desk) {
    let app = TestApp::with_config("[delivery]\nmax_attempts = 3\n[prices.sms]\n'US' = 0.0083").await;
    let desk = Desk::new(&app.store, &app.base, "admin").await;
    (app, desk)
}

const PATHS: [&str; 11] = [
    "setup",
    "twilio",
    "senders",
    "topics",
    "keywords",
    "first-message",
    "quiet-hours",
    "prices",
    "delivery",
    "retention",
    "backup",
];

#[actix_web::test]
async fn every_section_is_small_and_shows_what_the_file_fixes() {
    let (_app, desk) = admin().await;
    for path in PATHS {
        let page = desk.get(&format!("/settings/{path}")).await;
        page.is(200).says("aria-current=\"page\"").says("<h1>");
        assert!(page.text.len() < 100 * 1024, "{path}: {} bytes", page.text.len());
    }
    desk.get("/settings/delivery").await.says("set in config.toml");
    desk.get("/settings/prices").await.says("US = 0.0083").says("set in config.toml");
    assert_eq!(desk.get("/settings").await.location, "/admin/settings/setup");
}

#[actix_web::test]
async fn only_an_admin_comes_to_settings_and_no_other_site_posts_to_them() {
    let (app, _) = admin().await;
    for (role, path, status) in [
        ("viewer", "setup", 403),
        ("viewer", "topics", 403),
        ("operator", "setup", 200),
        ("operator", "topics", 200),
        ("operator", "twilio", 403),
        ("operator", "backup", 403),
        ("operator", "backup/ese-2026-11-23T10-12-36Z.db", 403),
    ] {
        let desk = Desk::new(&app.store, &app.base, role).await;
        desk.get(&format!("/settings/{path}")).await.is(status);
    }
    let desk = Desk::new(&app.store, &app.base, "admin").await;
    desk.post_bare("/settings/delivery", &[("delivery.max_in_flight", "9")]).await.is(403);
    assert_eq!(app.state.config.get().delivery.max_in_flight, 256);
}

#[actix_web::test]
async fn a_setting_holds_at_once_and_what_is_wrong_keeps_the_input() {
    let (app, desk) = admin().await;
    let saved = desk.post(
        "/settings/delivery",
        &[
            ("delivery.account_rate_per_second", "40"),
            ("delivery.max_in_flight", "256"),
            ("delivery.max_attempts", "9"),
            ("delivery.uncertain_policy", "hold"),
        ],
    );
    assert_eq!(saved.await.is(303).location, "/admin/settings/delivery");
    let config = app.state.config.get();
    assert_eq!(config.delivery.account_rate_per_second, 40.0);
    assert_eq!(config.delivery.max_attempts, 3, "the file fixes it");
    // What stayed as it was became no setting.
    let set: Vec<String> = app.state.in_force.get().settings.values.keys().cloned().collect();
    assert_eq!(set, ["delivery.account_rate_per_second", "delivery.uncertain_policy"]);
    for (path, field, value, says) in [
        ("delivery", "delivery.max_in_flight", "many", "A whole number"),
        ("delivery", "delivery.account_rate_per_second", "-2", "not more than 0"),
        ("retention", "retention.events_days", "3", "At least 7"),
        ("prices", "prices.currency", "dollars", "dollars"),
        ("prices", "prices.whatsapp", "DE: 3", "is not name = value"),
        ("prices", "prices.sms", "Mars = 1", "Mars"),
        ("keywords", "keywords.help", "stop", "stop"),
    ] {
        let refused = desk.post(&format!("/settings/{path}"), &[(field, value)]).await;
        refused.is(422).says(&format!("id=\"e-{field}\"")).says(value).says(says);
    }
    assert_eq!(app.state.in_force.get().settings.values.len(), 2);
    let actors = app.get("/events?types=admin.changed").await.expect(200).to_string();
    assert!(actors.contains("operator:1"), "{actors}");
}

#[actix_web::test]
async fn tables_of_ones_own_are_lines_and_a_line_that_goes_is_taken_away() {
    let (app, desk) = admin().await;
    let sms = |text: &'static str| [("prices.sms", text)];
    desk.post("/settings/prices", &sms("DE = 0.09\n\"+1787\" = 0.05\n")).await.is(303);
    desk.post(
        "/settings/prices",
        &[("prices.whatsapp", "DE = { marketing = 0.14, utility = 0.06, service = 0.005 }")],
    )
    .await
    .is(303);
    let page = desk.get("/settings/prices").await;
    page.says("+1787 = 0.05").says("marketing = 0.14");
    desk.post("/settings/prices", &sms("DE = 0.08")).await.is(303);
    let values = app.state.in_force.get().settings.values.clone();
    assert_eq!(values["prices.sms.DE"], 0.08);
    assert!(!values.contains_key("prices.sms.+1787"), "{values:?}");
    assert!(app.state.in_force.get().value_of("prices.sms.US").is_number(), "the file's row stays");
}

#[actix_web::test]
async fn quiet_hours_are_lines_of_prefix_and_hours() {
    let (app, desk) = admin().await;
    let late = [("name", "late"), ("lines", "+1  mon_fri 12:00-22:00\n* daily 12:00-21:00")];
    desk.post("/settings/quiet-hours/preset", &late).await.is(303);
    let house = [("quiet_hours.marketing", "late"), ("regions", "DE mon_sat 10:00-19:00")];
    desk.post("/settings/quiet-hours", &house).await.is(303);
    let values = app.state.in_force.get().settings.values.clone();
    assert_eq!(values["quiet_hours.presets.late"]["+1"], json!({"mon_fri": "12:00-22:00"}));
    assert_eq!(values["quiet_hours.regions.DE"], json!({"mon_sat": "10:00-19:00"}));
    desk.get("/settings/quiet-hours").await.says("DE  mon_sat 10:00-19:00");
    let wrong = [("name", "late"), ("lines", "+1 daily soon")];
    desk.post("/settings/quiet-hours/preset", &wrong).await.is(422).says("+1 daily soon");
    // The preset that is in use stays.
    let gone = [("name", "late"), ("remove", "1")];
    desk.post("/settings/quiet-hours/preset", &gone).await.is(422);
    desk.post("/settings/quiet-hours", &[("quiet_hours.marketing", "house"), ("regions", "")]).await.is(303);
    desk.post("/settings/quiet-hours/preset", &gone).await.is(303);
    assert!(
        app.state
            .in_force
            .get()
            .settings
            .values
            .keys()
            .all(|key| !key.contains("late") && !key.contains("DE"))
    );
}

#[actix_web::test]
async fn topics_are_added_renamed_and_deleted_as_by_the_api() {
    let (app, desk) = admin().await;
    desk.post("/settings/topics", &[("name", "offers <b>"), ("default", "opt_in_required")]).await.is(303);
    desk.get("/settings/topics").await.says("offers &lt;b&gt;").lacks("<b>offers");
    desk.post("/settings/topics", &[("name", "OFFERS <b>")]).await.is(409).says("already");
    desk.post("/settings/topics", &[("name", "a/b")]).await.is(422).says("a&#x2f;b");
    let renamed = [("name", "deals"), ("default", "all_opted_in")];
    desk.post("/settings/topics/offers%20%3Cb%3E", &renamed).await.is(303);
    assert_eq!(app.get("/topics/deals").await.expect(200)["default"], "all_opted_in");
    desk.post("/settings/topics/deals/remove", &[]).await.is(303);
    app.get("/topics/deals").await.problem(404);
}

#[actix_web::test]
async fn a_sender_is_added_paused_and_taken_away() {
    let (app, desk) = admin().await;
    for (address, kind, says) in [
        ("", "long_code", "A number such as"),
        ("+1 415 555 0110", "short_code", "does not fit kind"),
        ("pigeon", "long_code", "does not fit kind"),
    ] {
        desk.post("/settings/senders", &[("address", address), ("kind", kind)]).await.is(422).says(says);
    }
    let sender = [("address", "+1 (415) 555-0110"), ("kind", "toll_free"), ("recipients_per_day", "50")];
    desk.post("/settings/senders", &sender).await.is(303);
    desk.post("/settings/senders", &sender).await.is(422).says("sender already");
    desk.get("/settings/senders").await.says("+1 415 555 0110").says("0 of 50");
    assert_eq!(app.delivery.get().senders["+14155550110"].rate_per_second, 3.0);
    desk.post("/settings/senders/1", &[("rate_per_second", "fast")]).await.is(422).says("fast");
    desk.post("/settings/senders/1", &[("rate_per_second", "1.5")]).await.is(303);
    assert_eq!(app.delivery.get().senders["+14155550110"].rate_per_second, 1.5);
    assert_eq!(app.delivery.get().senders["+14155550110"].recipients_per_day, None);
    desk.post("/settings/senders/1/pause", &[("pause", "1")]).await.is(303);
    assert_eq!(app.get("/senders/1").await.expect(200)["paused"], true);
    desk.post("/settings/senders/1/pause", &[]).await.is(303);
    desk.post("/settings/senders/1/remove", &[]).await.is(303);
    assert!(app.state.config.get().senders.is_empty());
    desk.get("/settings/senders/9").await.is(404);
}

#[actix_web::test]
async fn a_copy_is_made_downloaded_and_deleted_and_a_name_leads_nowhere_else() {
    let (app, desk) = admin().await;
    desk.post("/settings/backup/make", &[]).await.is(303);
    let name = "ese-2026-11-23T12-00-00Z.db";
    until("the copy", async || desk.get("/settings/backup").await.text.contains(&format!("backup/{name}\"")))
        .await;
    desk.get("/settings/backup").await.says("The last good copy was made");
    assert!(desk.bytes(&format!("/settings/backup/{name}")).await.starts_with(b"SQLite format 3\0"));
    for name in ["ese.db", "..%2Fese.db", "ese-2026-11-23T12-00-01Z.db", "ese.key"] {
        desk.get(&format!("/settings/backup/{name}")).await.is(404);
        desk.post(&format!("/settings/backup/{name}/remove"), &[]).await.is(404);
    }
    desk.post(&format!("/settings/backup/{name}/remove"), &[]).await.is(303);
    desk.get(&format!("/settings/backup/{name}")).await.is(404);
    assert!(app.dir.path().join("ese.db").exists());
}

#[actix_web::test]
async fn a_file_in_safe_hold_says_so_and_is_released_with_open_eyes() {
    let (app, desk) = admin().await;
    app.store.write::<_, _, StoreError>(|tx| hold::begin(tx, "test")).await.unwrap();
    desk.get("/settings/backup").await.says("Safe hold");
    desk.post("/settings/backup/release", &[]).await.is(422).says("STOPs may be missing");
    desk.post("/settings/backup/release", &[("without_catch_up", "1")]).await.is(303);
    assert_eq!(app.store.read(hold::since).await.unwrap(), None);
}
