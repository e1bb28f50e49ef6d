//! Settings: what the file and the environment leave open is changed while the server runs.

use event_stream_engine::app;
use event_stream_engine::config::{Config, Setter, Settings};
use event_stream_engine::domain::consent::Intent;
use event_stream_engine::store::api_keys::Scope;
use event_stream_engine::store::{StoreError, settings};
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

/// The data of every `admin.changed` about a setting, oldest first.
async fn trail(app: &TestApp) -> Vec<Value> {
    let events = app.get("/events?types=admin.changed").await.expect(200);
    let data = events["data"].as_array().unwrap().iter().map(|event| event["data"].clone());
    data.filter(|data| data.get("setting").is_some()).collect()
}

async fn setting(app: &TestApp, key: &str) -> Value {
    app.get("/settings").await.expect(200)["settings"][key].clone()
}

#[actix_web::test]
async fn a_setting_takes_effect_at_once_and_is_on_record() {
    let app = TestApp::start().await;
    let before = setting(&app, "delivery.account_rate_per_second").await;
    assert_eq!((&before["value"], &before["origin"]), (&json!(100.0), &json!("default")));
    assert_eq!(before["locked_by"], Value::Null);
    assert_eq!(before["description"], "Parts a second over all senders.");
    let patch = json!({
        "delivery.account_rate_per_second": 40,
        "delivery": {"max_attempts": 9},
        "replies.help": "Call us.",
        "keywords.stop": ["basta ya"],
        "quiet_hours": {"presets": {"night": {"*": {"daily": "22:00-23:00"}}}, "marketing": "night"},
        "senders": {"+15005550006": {"rate_per_second": 7.5}},
    });
    let answer = app.patch("/settings", &patch).await;
    assert_eq!(answer.header("etag"), Some("\"1\""));
    let after = answer.expect(200)["settings"].clone();
    assert_eq!(after["delivery.account_rate_per_second"]["value"], 40.0);
    assert_eq!(after["delivery.account_rate_per_second"]["origin"], "settings");
    assert_eq!(after["quiet_hours.presets.night"]["value"], json!({"*": {"daily": "22:00-23:00"}}));
    let delivery = app.delivery.get();
    assert_eq!((delivery.account_rate_per_second, delivery.max_attempts), (40.0, 9));
    assert_eq!(delivery.senders["+15005550006"].rate_per_second, 7.5);
    assert_eq!(app.state.config.get().delivery.max_attempts, 9);
    assert_eq!(app.state.rules.get().replies.help, "Call us.");
    let said = app.state.keywords.get().classify("Basta, ya!", &[] as &[&str]);
    assert_eq!(said, Intent::Stop);
    let trail = trail(&app).await;
    assert_eq!(trail.len(), 7, "{trail:?}");
    let rate = trail.iter().find(|data| data["setting"] == "delivery.account_rate_per_second").unwrap();
    assert_eq!((&rate["old"], &rate["new"], &rate["actor"]), (&json!(100.0), &json!(40.0), &json!("key:1")));
}

#[actix_web::test]
async fn null_goes_back_to_the_default_and_the_same_again_is_no_change() {
    let app = TestApp::start().await;
    let patch = json!({"delivery.max_attempts": 9});
    app.patch("/settings", &patch).await.expect(200);
    assert_eq!(app.patch("/settings", &patch).await.header("etag"), Some("\"1\""));
    assert_eq!(app.patch("/settings", &json!({})).await.header("etag"), Some("\"1\""));
    let back = app.patch("/settings", &json!({"delivery.max_attempts": null})).await;
    assert_eq!(back.header("etag"), Some("\"2\""));
    let back = back.expect(200)["settings"]["delivery.max_attempts"].clone();
    assert_eq!((&back["value"], &back["origin"]), (&json!(5), &json!("default")));
    assert_eq!(app.delivery.get().max_attempts, 5);
    assert_eq!(trail(&app).await.len(), 2);
}

#[actix_web::test]
async fn what_file_or_environment_fixes_is_refused_and_says_who_fixes_it() {
    let app = TestApp::with_config(
        "[delivery]\nmax_attempts = 3\n[[senders]]\naddress = '+15005550006'\nkind = 'long_code'\nrate_per_second = 2.0",
    )
    .await;
    for key in ["delivery.max_attempts", "senders.+15005550006.rate_per_second"] {
        assert_eq!(setting(&app, key).await["locked_by"], "file");
        let refused = app.patch("/settings", &json!({key: 4, "delivery.catch_up": false})).await.problem(409);
        assert_eq!((&refused["code"], &refused["locked_by"]), (&json!("locked"), &json!("file")));
        assert_eq!(refused["field"], key);
    }
    assert_eq!(setting(&app, "delivery.catch_up").await["origin"], "default");
    app.patch("/settings", &json!({"senders.+15005550006.recipients_per_day": 9})).await.expect(200);
    assert_eq!(app.delivery.get().senders["+15005550006"].recipients_per_day, Some(9));
}

#[actix_web::test]
async fn every_fault_is_named_and_nothing_is_written() {
    let app = TestApp::start().await;
    let patch = json!({
        "delivery.max_atempts": 3,
        "server.listen": "0.0.0.0:80",
        "twilio.api_key_secret": "x",
        "store": {"path": "/tmp/x"},
        "webhooks": {"allow_private": true, "timeout_seconds": 20},
        "senders.+19995550000.rate_per_second": 3,
        "senders.+15005550006.address": "+1",
        "delivery.max_in_flight": 3,
    });
    let problem = app.patch("/settings", &patch).await.problem(422);
    let mut named: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "delivery.max_atempts",
            "senders.+15005550006.address",
            "senders.+19995550000.rate_per_second",
            "server.listen",
            "store.path",
            "twilio.api_key_secret",
            "webhooks.allow_private",
        ]
    );
    assert!(problem.to_string().contains("Did you mean delivery.max_attempts?"), "{problem}");
    for (patch, named) in [
        (json!({"delivery.max_attempts": "3"}), vec!["delivery.max_attempts"]),
        (json!({"delivery.max_attempts": 0, "delivery.catch_up": true}), vec!["delivery.max_attempts"]),
        (
            json!({"delivery.max_attempts": 0, "delivery.account_rate_per_second": -1}),
            vec!["delivery.account_rate_per_second", "delivery.max_attempts"],
        ),
        (json!({"delivery.max_attempts": 1e300}), vec!["delivery.max_attempts"]),
        (json!({"delivery.uncertain_policy": "pray"}), vec!["delivery.uncertain_policy"]),
        (json!({"delivery": 5}), vec!["delivery"]),
        (json!({"replies.stop": ["x"]}), vec!["replies.stop"]),
        (json!({"replies.stop": {"x": 1}}), vec!["replies.stop"]),
        (json!({"keywords.help": ["stop"]}), vec!["keywords.help"]),
        (json!({"keywords.help": ["  !"]}), vec!["keywords.help"]),
        (json!({"quiet_hours.marketing": "nobody"}), vec!["quiet_hours.marketing"]),
        (json!({"quiet_hours.presets.a.b": {}}), vec!["quiet_hours.presets.a.b"]),
        (json!({"quiet_hours.presets.x": {"*": {"daily": "soon"}}}), vec!["quiet_hours.presets.x"]),
        (json!({"senders.+15005550006.rate_per_second": 0}), vec!["senders.+15005550006.rate_per_second"]),
    ] {
        let mut fields = app.patch("/settings", &patch).await.fields();
        fields.sort_unstable();
        assert_eq!(fields, named, "{patch}");
    }
    assert_eq!(app.get("/settings").await.header("etag"), Some("\"0\""));
    assert!(trail(&app).await.is_empty());
}

#[actix_web::test]
async fn a_stale_edit_is_refused() {
    let app = TestApp::start().await;
    let patch = async |tag: &str, n: i64| {
        let body = json!({"delivery.max_attempts": n});
        send(app.request("PATCH", "/settings").header("if-match", tag).json(&body)).await
    };
    patch("\"0\"", 6).await.expect(200);
    patch("\"0\"", 7).await.problem(412);
    patch("W/\"1\"", 7).await.problem(412);
    patch("\"1\"", 7).await.expect(200);
    patch("*", 8).await.expect(200);
    let at_once = async |n: i64| app.patch("/settings", &json!({"delivery.max_attempts": n})).await.status;
    let statuses: [u16; 4] = tokio::join!(at_once(11), at_once(12), at_once(13), at_once(14)).into();
    assert_eq!(statuses, [200; 4]);
    let file = app.store.read(settings::all).await.unwrap();
    assert_eq!(file.values["delivery.max_attempts"], app.state.config.get().delivery.max_attempts);
    assert_eq!(file.version, app.state.in_force.get().settings.version);
}

#[actix_web::test]
async fn only_an_admin_changes_settings_and_secrets_are_never_told() {
    let app = TestApp::start().await;
    let others = app.add_key(&[Scope::Read, Scope::Write, Scope::Send], None).await;
    let body = json!({"delivery.max_attempts": 6});
    send(app.bare("PATCH", "/api/v1/settings").bearer_auth(&others).json(&body)).await.problem(403);
    let seen = send(app.bare("GET", "/api/v1/settings").bearer_auth(&others)).await;
    assert!(!seen.text.contains("metrics-token"), "{}", seen.text);
    let seen = seen.expect(200)["settings"]["server.metrics_token"].clone();
    assert_eq!(
        (&seen["value"], &seen["secret"], &seen["locked_by"]),
        (&Value::Null, &json!(true), &json!("file"))
    );
}

#[actix_web::test]
async fn a_change_of_another_process_is_taken_up_and_a_start_finds_it() {
    let app = TestApp::start().await;
    let change = settings::Change {
        key: "delivery.max_attempts".to_owned(),
        value: json!(11),
        is_secret: false,
        from_to: (json!(5), json!(11)),
    };
    let odd = settings::Change {
        key: "delivery.gone_since".to_owned(),
        value: json!(true),
        is_secret: false,
        from_to: (Value::Null, json!(true)),
    };
    app.store
        .write::<_, _, StoreError>(move |tx| settings::write(tx, 0, &[change, odd], "command:ops"))
        .await
        .unwrap();
    assert_eq!(app.delivery.get().max_attempts, 5);
    app::take_up_settings(&app.store, &app.state.in_force).await.unwrap();
    assert_eq!(app.delivery.get().max_attempts, 11);
    // A start, and a command: they read the rows and lay them under file and environment.
    let rows = settings::peek(&app.store.paths().path, &app.store.paths().key_file).unwrap();
    let started = app::with_settings(&Config::load(None, []).unwrap(), rows.clone()).unwrap();
    assert_eq!(started.config.delivery.max_attempts, 11);
    assert!(started.describe().contains("max_attempts = 11   # from the settings"), "{}", started.describe());
    let environment = [("ESE_DELIVERY__MAX_ATTEMPTS".to_owned(), "12".to_owned())];
    let fixed = app::with_settings(&Config::load(None, environment).unwrap(), rows).unwrap();
    assert_eq!(fixed.config.delivery.max_attempts, 12);
    assert_eq!(fixed.locked_by("delivery.max_attempts"), Some("environment"));
    assert!(fixed.patched(&[("replies.help".to_owned(), json!("x"))].into(), Setter::Operator).is_ok());
}

#[test]
fn a_later_change_is_not_undone_by_an_earlier_one_that_arrives_late() {
    let loaded = Config::load(None, []).unwrap();
    let with = |version, n: i64| {
        let values = [("delivery.max_attempts".to_owned(), json!(n))].into();
        loaded.with_settings(Settings { version, values }).unwrap()
    };
    let in_force = event_stream_engine::config::InForce::new(loaded.clone(), |_| ());
    in_force.put(with(2, 7));
    in_force.put(with(1, 6));
    assert_eq!(in_force.get().config.delivery.max_attempts, 7);
}
