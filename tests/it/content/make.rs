//! Making templates at Twilio and submitting them, whatever is lost on the way.

use actix_web::web::{Data, get};
use actix_web::{App, HttpResponse, HttpServer};
use event_stream_engine::clock::Clock;
use event_stream_engine::content::{Contents, Submission};
use event_stream_engine::domain::content::Approval;
use event_stream_engine::simulator::{Faults, Simulator};
use event_stream_engine::store::{Store, StoreError, content_templates};
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::content::ContentClient;
use serde_json::{Value, json};

use super::{ORDER, app_with_twilio};
use crate::support::api::{TestApp, send};
use crate::support::{Engine, quick_simulator};

fn wanted() -> Value {
    json!({"name": "news", "language": "en", "body": "Hello {{1}}, there is news for you.",
        "variables": {"1": "Ana"}, "category": "UTILITY"})
}

/// How many templates of this name Twilio has.
fn count(simulator: &Simulator, name: &str) -> usize {
    simulator.contents().iter().filter(|content| content.friendly_name == name).count()
}

async fn keyed(app: &TestApp, path: &str, key: &str, body: &Value) -> crate::support::api::Answer {
    send(app.request("POST", path).header("idempotency-key", key).json(body)).await
}

#[actix_web::test]
async fn a_template_is_made_shown_and_submitted_once() {
    let (app, simulator) = app_with_twilio().await;
    let made = app.post("/content-templates", &wanted()).await;
    let location = made.header("location").unwrap().to_owned();
    let made = made.expect(201);
    let sid = made["sid"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/api/v1/content-templates/{sid}"));
    assert_eq!((&made["status"], &made["category"]), (&json!("unsubmitted"), &json!("UTILITY")));
    let again = app.post("/content-templates", &wanted()).await.problem(409);
    assert_eq!((&again["code"], &again["sid"]), (&json!("duplicate"), &json!(sid)));
    let mut other = wanted();
    other["body"] = json!("Hello {{1}}, this is another text.");
    assert_eq!(app.post("/content-templates", &other).await.problem(409)["code"], "duplicate");
    let submit = format!("/content-templates/{sid}/submit");
    for _ in 0..2 {
        let submitted = app.post(&submit, &json!({})).await.expect(202);
        assert_eq!(submitted["status"], "received");
    }
    let kept = &simulator.contents()[4];
    assert_eq!((kept.whatsapp_name.as_str(), kept.category.as_str()), ("news", "UTILITY"));
    simulator.judge(&sid, "rejected", "no").unwrap();
    app.post(&submit, &json!({})).await.problem(409);
    let shown = app.get(&format!("/content-templates/{sid}")).await.expect(200);
    assert_eq!((&shown["status"], &shown["rejection_reason"]), (&json!("rejected"), &json!("no")));
    app.post("/content-templates/HX1/submit", &json!({})).await.problem(404);
    assert_eq!(count(&simulator, "news"), 1);
    simulator.stop().await;
}

#[actix_web::test]
async fn every_wrong_field_is_named_before_twilio_is_asked() {
    let (app, simulator) = app_with_twilio().await;
    assert_eq!(app.post("/content-templates", &json!({})).await.fields(), ["name", "language", "body"]);
    for (field, value, named) in [
        ("language", json!("English"), vec!["language"]),
        ("body", json!("{{1}} is at the beginning of this text"), vec!["body"]),
        ("variables", json!({}), vec!["variables.1"]),
        ("variables", json!({"1": 5}), vec!["variables"]),
        ("variables", json!({"1": "a", "2": "b"}), vec!["variables.2"]),
        ("category", json!("NEWS"), vec!["category"]),
        ("typo", json!(1), vec!["typo"]),
    ] {
        let mut body = wanted();
        body[field] = value;
        assert_eq!(app.post("/content-templates", &body).await.fields(), named, "{field}");
    }
    let mut plain = wanted();
    plain.as_object_mut().unwrap().remove("category");
    let made = app.post("/content-templates", &plain).await.expect(201);
    let submit = format!("/content-templates/{}/submit", made["sid"].as_str().unwrap());
    assert_eq!(app.post(&submit, &json!({})).await.fields(), ["category"]);
    assert_eq!(
        app.post(&submit, &json!({"category": "UTILITY", "name": "Not Fit"})).await.fields(),
        ["name"]
    );
    assert_eq!(count(&simulator, "news"), 1);
    simulator.stop().await;
}

#[actix_web::test]
async fn two_equal_requests_at_once_make_one_template_and_get_one_answer() {
    let (app, simulator) = app_with_twilio().await;
    let body = wanted();
    let asked = (0..4).map(|_| keyed(&app, "/content-templates", "k", &body));
    let answers = futures_util::future::join_all(asked).await;
    let sids: Vec<Value> = answers.into_iter().map(|answer| answer.expect(201)["sid"].clone()).collect();
    assert!(sids.iter().all(|sid| sid == &sids[0] && sid.is_string()), "{sids:?}");
    assert_eq!(count(&simulator, "news"), 1);
    simulator.stop().await;
}

#[actix_web::test]
async fn a_lost_answer_makes_no_second_template() {
    let (app, simulator) = app_with_twilio().await;
    let once = |faults| Faults { count: Some(1), ..faults };
    simulator.set_faults(once(Faults { drop_after_accept_percent: 100.0, ..Faults::default() }));
    let lost = keyed(&app, "/content-templates", "k", &wanted()).await.problem(503);
    assert_eq!(lost["code"], "twilio_unavailable");
    assert!(app.get("/content-templates").await.expect(200)["data"].as_array().unwrap().is_empty());
    // The same request finds what was made.
    let made = keyed(&app, "/content-templates", "k", &wanted()).await.expect(201);
    assert_eq!(made["category"], "UTILITY");
    assert_eq!(count(&simulator, "news"), 1);
    simulator.stop().await;
}

#[actix_web::test]
async fn what_was_lost_before_it_was_made_is_made_once_when_that_is_certain() {
    let (app, simulator) = app_with_twilio().await;
    let once = |faults| Faults { count: Some(1), ..faults };
    simulator.set_faults(once(Faults { error_500_before_percent: 100.0, ..Faults::default() }));
    app.post("/content-templates", &wanted()).await.problem(503);
    // It may still be under way: a list that does not show it proves nothing yet.
    app.post("/content-templates", &wanted()).await.problem(503);
    assert_eq!(count(&simulator, "news"), 0);
    app.clock.advance(61_000);
    let mut other = wanted();
    other["body"] = json!("Hello {{1}}, this is what I meant.");
    app.post("/content-templates", &other).await.expect(201);
    assert_eq!(count(&simulator, "news"), 1);
    // What Twilio surely did not take leaves nothing behind.
    let mut third = wanted();
    third["name"] = json!("third");
    simulator.set_faults(once(Faults { rate_429_percent: 100.0, ..Faults::default() }));
    app.post("/content-templates", &third).await.problem(503);
    app.post("/content-templates", &third).await.expect(201);
    simulator.stop().await;
}

#[actix_web::test]
async fn a_sync_between_the_loss_and_the_repetition_leaves_one_row() {
    let (app, simulator) = app_with_twilio().await;
    simulator.set_faults(Faults { drop_after_accept_percent: 100.0, count: Some(1), ..Faults::default() });
    app.post("/content-templates", &wanted()).await.problem(503);
    app.post("/content-templates/sync", &json!({})).await.expect(200);
    let made = app.post("/content-templates", &wanted()).await.expect(201);
    assert_eq!((&made["name"], &made["category"]), (&json!("news"), &json!("UTILITY")));
    let listed = app.get("/content-templates").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 5);
    assert_eq!(count(&simulator, "news"), 1);
    simulator.stop().await;
}

/// Twilio's answer about a template is under way when a sending is refused with 63041.
#[actix_web::test]
async fn a_judgement_that_comes_while_twilio_is_asked_is_not_undone_by_the_older_answer() {
    let engine = Engine::start().await;
    super::contents(&engine).sync().await.unwrap();
    let heard = Data::new((engine.store.clone(), engine.clock.clone()));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&heard))
            .route("/v1/Content/{sid}", get().to(async || HttpResponse::Ok().json(json!({"sid": ORDER}))))
            .route("/v1/Content/{sid}/ApprovalRequests", get().to(approved_until_now))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let base: url::Url = format!("http://{}", server.addrs()[0]).parse().unwrap();
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    let options = quick_simulator();
    let credentials = Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid,
        password: options.auth_token.into(),
        api_base: base.clone(),
    };
    let client = ContentClient::new(Client::new(credentials).unwrap(), base);
    let contents = Contents::new(engine.store.clone(), Some(client));
    let row = contents.submit(ORDER, &Submission::default()).await;
    let status: String = engine.value(&format!("SELECT status FROM content_templates WHERE sid = '{ORDER}'"));
    assert_eq!(status, "paused", "{row:?}");
    handle.stop(false).await;
    engine.check_and_stop().await;
}

async fn approved_until_now(heard: Data<(Store, Clock)>) -> HttpResponse {
    heard.1.advance(1_000);
    let judged =
        heard.0.write::<_, _, StoreError>(|tx| content_templates::judged(tx, ORDER, Approval::Paused));
    judged.await.unwrap();
    HttpResponse::Ok().json(json!({"whatsapp": {"status": "approved"}}))
}
