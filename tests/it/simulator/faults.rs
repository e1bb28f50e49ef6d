//! What goes wrong on purpose.

use std::time::Duration;

use event_stream_engine::simulator::{ErrorFault, Faults, Options, Status};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ALICE, Receiver, SENDER, SERVICE, Twilio};

const BOB: &str = "+14155550102";

async fn faulty(faults: Faults) -> Twilio {
    let twilio = Twilio::start().await;
    twilio.simulator.set_faults(faults);
    twilio
}

fn form(to: &str) -> [(&str, &str); 3] {
    [("To", to), ("From", SENDER), ("Body", "x")]
}

#[tokio::test]
async fn a_429_accepts_nothing_and_ends_with_its_count() {
    let twilio = faulty(Faults { rate_429_percent: 100.0, count: Some(2), ..Faults::default() }).await;
    for _ in 0..2 {
        let response = twilio.create(&form(ALICE)).await;
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(!response.headers().contains_key("retry-after"));
        assert_eq!(Twilio::code(response).await, 20429);
    }
    assert!(twilio.simulator.messages().is_empty());
    twilio.accepted(&form(ALICE)).await;
    assert_eq!(twilio.simulator.faults().count, Some(0));
}

#[tokio::test]
async fn a_500_comes_before_or_after_acceptance() {
    for (faults, accepted) in [
        (Faults { error_500_before_percent: 100.0, ..Faults::default() }, 0),
        (Faults { error_500_after_accept_percent: 100.0, ..Faults::default() }, 1),
    ] {
        let twilio = faulty(faults).await;
        let response = twilio.create(&form(ALICE)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(twilio.simulator.messages_to(ALICE).len(), accepted);
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_an_accepted_message_that_is_delivered_and_listed() {
    let twilio = faulty(Faults { timeout_after_accept_percent: 100.0, ..Faults::default() }).await;
    let request = twilio
        .client
        .post(twilio.url("/Messages.json"))
        .form(&form(ALICE))
        .timeout(Duration::from_millis(800));
    let error = twilio.signed_in(request).send().await.unwrap_err();
    assert!(error.is_timeout());
    twilio.simulator.wait_until_quiet().await;
    let page = twilio.get("/Messages.json?To=%2B14155550101").await;
    let page: Value = page.json().await.unwrap();
    assert_eq!(page["messages"][0]["status"], "delivered");
}

#[tokio::test]
async fn a_dropped_connection_accepts_nothing_and_answers_nothing() {
    let twilio = faulty(Faults { drop_connection_percent: 100.0, count: Some(1), ..Faults::default() }).await;
    let request = twilio.client.post(twilio.url("/Messages.json")).form(&form(ALICE));
    let error = twilio.signed_in(request).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect());
    assert!(twilio.simulator.messages().is_empty());
    twilio.accepted(&form(ALICE)).await;
}

#[tokio::test]
async fn a_connection_lost_after_acceptance_leaves_a_message() {
    let twilio =
        faulty(Faults { drop_after_accept_percent: 100.0, count: Some(1), ..Faults::default() }).await;
    let request = twilio.client.post(twilio.url("/Messages.json")).form(&form(ALICE));
    let error = twilio.signed_in(request).send().await.unwrap_err();
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect());
    assert_eq!(twilio.simulator.messages_to(ALICE).len(), 1);
}

#[tokio::test]
async fn an_answer_lost_before_acceptance_leaves_nothing() {
    let twilio = faulty(Faults { timeout_before_accept_percent: 100.0, ..Faults::default() }).await;
    let request = twilio
        .client
        .post(twilio.url("/Messages.json"))
        .form(&form(ALICE))
        .timeout(Duration::from_millis(300));
    let error = twilio.signed_in(request).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert!(twilio.simulator.messages().is_empty());
}

#[tokio::test]
async fn a_slow_twilio_takes_longer_over_each_message() {
    let twilio = faulty(Faults { latency_ms: 200, ..Faults::default() }).await;
    let began = std::time::Instant::now();
    twilio.accepted(&form(ALICE)).await;
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_late_list_leaves_out_what_is_young() {
    let twilio = faulty(Faults { list_late_ms: 60_000, ..Faults::default() }).await;
    twilio.accepted(&form(ALICE)).await;
    let listed = async || {
        let page: Value = twilio.get("/Messages.json").await.json().await.unwrap();
        page["messages"].as_array().unwrap().len()
    };
    assert_eq!(listed().await, 0);
    twilio.simulator.set_faults(Faults::default());
    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn what_a_person_writes_may_be_announced_twice() {
    let receiver = Receiver::content().await;
    let twilio = Twilio::with(Options {
        inbound_url: Some(receiver.url("/inbound")),
        faults: Faults { inbound_doubled_percent: 100.0, ..Faults::default() },
        ..Options::default()
    })
    .await;
    let result = twilio.simulator.inbound(ALICE, SENDER, "Hello").await;
    let sids: Vec<String> =
        receiver.received().iter().map(|one| one.param("MessageSid").to_owned()).collect();
    assert_eq!(sids, [result.message_sid.clone(), result.message_sid]);
}

#[tokio::test]
async fn every_request_is_on_record_and_every_fault_that_struck_is_counted() {
    let twilio = faulty(Faults { rate_429_percent: 100.0, count: Some(1), ..Faults::default() }).await;
    let callback = "http://127.0.0.1:9/status?message=7&attempt=1";
    let asked = [form(ALICE).as_slice(), &[("StatusCallback", callback)]].concat();
    assert_eq!(Twilio::code(twilio.create(&asked).await).await, 20429);
    let sid = twilio.accepted(&form(BOB)).await["sid"].clone();
    let base = twilio.simulator.base_url();
    let ask = async |path: &str| {
        let answer = twilio.client.get(format!("{base}/_control/{path}")).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    let record = ask("requests").await;
    assert_eq!(record["total"], 2);
    let (first, second) = (&record["requests"][0], &record["requests"][1]);
    assert_eq!((&first["to"], &first["code"], &first["sid"]), (&json!(ALICE), &json!(20429), &Value::Null));
    assert_eq!(first["status_callback"], callback);
    assert_eq!((&second["to"], &second["code"], &second["sid"]), (&json!(BOB), &Value::Null, &sid));
    assert!(first["at_ms"].as_i64().unwrap() <= second["at_ms"].as_i64().unwrap());
    let page = ask("requests?first=1&limit=5").await;
    assert_eq!(page["requests"], json!([second]));
    assert_eq!(ask("struck").await, json!({"rate_429_percent": 1}));
    twilio.simulator.wait_until_quiet().await;
    assert_eq!(ask("busy").await, json!({"accepted": 1, "ahead": 0}));
}

#[tokio::test]
async fn errors_by_code_strike_whom_they_name_at_once_or_later() {
    let twilio = faulty(Faults {
        errors: vec![
            ErrorFault { code: 21614, to: Some(BOB.to_owned()), ..ErrorFault::default() },
            ErrorFault { code: 30005, to: Some(ALICE.to_owned()), count: Some(1), ..ErrorFault::default() },
        ],
        ..Faults::default()
    })
    .await;
    assert_eq!(Twilio::code(twilio.create(&form(BOB)).await).await, 21614);
    twilio.accepted(&form(ALICE)).await;
    twilio.accepted(&form(ALICE)).await;
    twilio.simulator.wait_until_quiet().await;
    let ends: Vec<_> = twilio
        .simulator
        .messages_to(ALICE)
        .iter()
        .map(|message| (message.status, message.error_code))
        .collect();
    assert_eq!(ends, [(Status::Undelivered, Some(30005)), (Status::Delivered, None)]);
    let by_service = [("To", BOB), ("MessagingServiceSid", SERVICE), ("Body", "x")];
    assert_eq!(Twilio::code(twilio.create(&by_service).await).await, 21614);
}

#[tokio::test]
async fn callbacks_are_doubled_missing_shuffled_or_late() {
    let table = [
        (
            Faults { callbacks_doubled_percent: 100.0, ..Faults::default() },
            vec!["sent", "sent", "delivered", "delivered"],
        ),
        (Faults { callbacks_missing_percent: 100.0, ..Faults::default() }, vec![]),
        (Faults { callbacks_shuffled: true, ..Faults::default() }, vec!["delivered", "sent"]),
        (Faults { callbacks_late_ms: 300, ..Faults::default() }, vec!["sent", "delivered"]),
    ];
    for (faults, expected) in table {
        let late = Duration::from_millis(faults.callbacks_late_ms);
        let twilio = faulty(faults).await;
        let receiver = Receiver::content().await;
        let callback = receiver.url("/");
        let began = std::time::Instant::now();
        let form = [form(ALICE).as_slice(), &[("StatusCallback", &callback)]].concat();
        twilio.accepted(&form).await;
        twilio.simulator.wait_until_quiet().await;
        assert_eq!(receiver.statuses(), expected);
        assert!(began.elapsed() >= late);
        let message = &twilio.simulator.messages_to(ALICE)[0];
        assert_eq!(message.status, Status::Delivered);
    }
}

#[tokio::test]
async fn reads_have_faults_of_their_own() {
    let twilio = faulty(Faults { read_429_percent: 100.0, ..Faults::default() }).await;
    twilio.accepted(&form(ALICE)).await;
    assert_eq!(Twilio::code(twilio.get("/Messages.json").await).await, 20429);
    twilio.simulator.set_faults(Faults { read_500_percent: 100.0, ..Faults::default() });
    assert_eq!(Twilio::code(twilio.get("/Messages.json").await).await, 20500);
}

#[tokio::test]
async fn the_control_api_shows_and_replaces_faults() {
    let twilio = Twilio::start().await;
    let url = format!("{}/_control/faults", twilio.simulator.base_url());
    let set = json!({"errors": [{"code": 21610, "to": ALICE}], "count": 3});
    let response = twilio.client.post(&url).json(&set).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let shown: Value = twilio.client.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["errors"][0]["percent"], 100.0);
    assert_eq!(shown["count"], 3);
    assert_eq!(Twilio::code(twilio.create(&form(ALICE)).await).await, 21610);

    let none = twilio.client.post(&url).json(&json!({})).send().await.unwrap();
    assert_eq!(none.json::<Value>().await.unwrap()["errors"], json!([]));
    let misspelt = json!({"rate_429": 10});
    let refused = twilio.client.post(&url).json(&misspelt).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let error: Value = refused.json().await.unwrap();
    assert!(error["error"].as_str().unwrap().contains("rate_429"));
    let foreign = twilio.client.post(&url).header("Origin", "http://evil.example");
    let foreign = foreign.json(&json!({})).send().await.unwrap();
    assert_ne!(foreign.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_control_api_counts_what_each_number_got() {
    let twilio = Twilio::start().await;
    for to in [ALICE, ALICE, BOB] {
        twilio.accepted(&form(to)).await;
    }
    let base = twilio.simulator.base_url();
    let ask = |query: &str| {
        let request = twilio.client.get(format!("{base}/_control/messages{query}"));
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let all = ask("").await;
    assert_eq!(all["counts"], json!({ALICE: 2, BOB: 1}));
    assert_eq!(all["total"], 3);
    for query in ["?to=%2B14155550102", "?to=+14155550102"] {
        let bobs = ask(query).await;
        assert_eq!(bobs["counts"], json!({BOB: 1}));
        assert_eq!(bobs["messages"][0]["to"], BOB);
    }
}
