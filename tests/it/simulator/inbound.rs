//! People who write: webhooks, replies, STOP, the 24-hour window.

use event_stream_engine::simulator::{Direction, Inbound, Options, Status};
use event_stream_engine::twilio::signature;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ALICE, Receiver, SENDER, SERVICE, Twilio, WHATSAPP_ALICE, WHATSAPP_SENDER};

const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

async fn wired(options: Options, receiver: &Receiver) -> Twilio {
    Twilio::with(Options { inbound_url: Some(receiver.url("/inbound?x=1#rc=2&rp=5xx")), ..options }).await
}

#[tokio::test]
async fn an_inbound_message_is_listed_and_announced_with_a_good_signature() {
    let receiver = Receiver::start(|_| (200, "text/xml", EMPTY)).await;
    let twilio = wired(Options::default(), &receiver).await;
    let result = twilio.simulator.inbound(ALICE, SENDER, "Hello").await;
    assert_eq!((result.status, result.reply, result.warning), (Some(200), None, None));
    let received = receiver.received().remove(0);
    assert_eq!(received.param("Body"), "Hello");
    assert_eq!(received.param("SmsStatus"), "received");
    for name in ["MessageSid", "SmsSid", "SmsMessageSid"] {
        assert_eq!(received.param(name), result.message_sid);
    }
    // Places are sent empty, and signed.
    assert!(received.params.contains(&("FromCity".to_owned(), String::new())));
    let token = twilio.options.auth_token.as_str();
    let url = receiver.url("/inbound?x=1");
    assert!(signature::verify_form(&[token], &url, &received.params, &received.signature));
    let page: Value = twilio.get("/Messages.json?To=%2B15005550006").await.json().await.unwrap();
    assert_eq!(page["messages"][0]["direction"], "inbound");
    assert_eq!(page["messages"][0]["status"], "received");
}

#[tokio::test]
async fn a_reply_in_twiml_or_plain_text_reaches_the_person() {
    let receiver = Receiver::start(|number| match number {
        1 => (200, "text/xml", "<Response><Message>a &lt; b</Message></Response>"),
        _ => (200, "text/plain", "plain"),
    })
    .await;
    let twilio = wired(Options::default(), &receiver).await;
    for expected in ["a < b", "plain"] {
        let result = twilio.simulator.inbound(ALICE, SENDER, "Hi").await;
        assert_eq!(result.reply.as_deref(), Some(expected));
    }
    twilio.simulator.wait_until_quiet().await;
    let page: Value = twilio.get("/Messages.json?To=%2B14155550101").await.json().await.unwrap();
    assert_eq!(page["messages"][0]["body"], "plain");
    assert_eq!(page["messages"][0]["direction"], "outbound-reply");
    assert_eq!(page["messages"][1]["status"], "delivered");
    // Replies are not messages that the REST API accepted.
    assert!(twilio.simulator.messages().is_empty());
}

#[tokio::test]
async fn a_failing_webhook_is_retried_as_its_fragment_says_and_reported() {
    let receiver = Receiver::start(|number| match number {
        1 => (500, "text/plain", ""),
        _ => (200, "text/xml", EMPTY),
    })
    .await;
    let twilio = wired(Options::default(), &receiver).await;
    let result = twilio.simulator.inbound(ALICE, SENDER, "Hi").await;
    assert_eq!((result.status, result.warning), (Some(200), None));
    let received = receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].token, received[1].token);

    // Nobody listens on port 1; one that was just freed may be another test's by now.
    twilio.simulator.set_inbound_url("http://127.0.0.1:1/");
    let result = twilio.simulator.inbound(ALICE, SENDER, "Hi").await;
    assert_eq!((result.status, result.warning), (None, Some(11205)));
}

#[tokio::test]
async fn an_undelivered_inbound_message_is_only_in_the_list() {
    let receiver = Receiver::content().await;
    let twilio = wired(Options::default(), &receiver).await;
    let url = format!("{}/_control/inbound", twilio.simulator.base_url());
    let asked = json!({"from": ALICE, "to": SENDER, "body": "STOP", "deliver": false});
    let result = twilio.client.post(&url).json(&asked).send().await.unwrap();
    let result: Value = result.json().await.unwrap();
    assert_eq!(result["status"], Value::Null);
    assert!(receiver.received().is_empty());
    let fetched = twilio.fetch(&json!({"sid": result["message_sid"]})).await;
    assert_eq!(fetched["body"], "STOP");

    let crossed = json!({"from": ALICE, "to": WHATSAPP_SENDER, "body": "x"});
    let refused = twilio.client.post(&url).json(&crossed).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn stop_closes_a_sender_to_one_person_until_start() {
    let receiver =
        Receiver::start(|_| (200, "text/xml", "<Response><Message>bye</Message></Response>")).await;
    let twilio = wired(Options::default(), &receiver).await;
    let form = [("To", ALICE), ("From", SENDER), ("Body", "x")];
    let code = |form| async move { Twilio::code(form).await };

    twilio.simulator.inbound(ALICE, SENDER, "Stop please").await;
    twilio.accepted(&form).await;
    let result = twilio.simulator.inbound(ALICE, SENDER, " stop ").await;
    assert_eq!(receiver.received().last().unwrap().param("OptOutType"), "");
    let refused = twilio.create(&form).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(code(refused).await, 21610);
    // Another sender, or another person, is not closed.
    twilio.accepted(&[("To", ALICE), ("From", "+15005550099"), ("Body", "x")]).await;
    twilio.text("+14155550199", "x").await;
    // A service notices later; a reply to the STOP is lost too.
    let by_service = [("To", ALICE), ("MessagingServiceSid", SERVICE), ("Body", "x")];
    let message = twilio.accepted(&by_service).await;
    twilio.simulator.wait_until_quiet().await;
    let message = twilio.fetch(&message).await;
    assert_eq!((&message["status"], &message["error_code"]), (&json!("failed"), &json!(21610)));
    assert_eq!(result.reply.as_deref(), Some("bye"));
    let replies: Value = twilio.get("/Messages.json?To=%2B14155550101").await.json().await.unwrap();
    let reply = replies["messages"]
        .as_array()
        .unwrap()
        .iter()
        .find(|message| message["direction"] == "outbound-reply")
        .unwrap();
    assert_eq!(reply["error_code"], 21610);

    twilio.simulator.inbound(ALICE, SENDER, "START").await;
    twilio.accepted(&form).await;
}

#[tokio::test]
async fn stop_to_one_sender_of_a_service_closes_the_service() {
    let senders = [SENDER, "+15005550099"];
    for stopped in senders {
        let twilio = Twilio::with(Options {
            service_senders: senders.map(str::to_owned).to_vec(),
            ..Options::default()
        })
        .await;
        twilio.simulator.inbound(ALICE, stopped, "STOP").await;
        let form = [("To", ALICE), ("MessagingServiceSid", SERVICE), ("Body", "x")];
        let message = twilio.accepted(&form).await;
        twilio.simulator.wait_until_quiet().await;
        assert_eq!(twilio.fetch(&message).await["error_code"], 21610);
    }
}

#[tokio::test]
async fn advanced_opt_out_names_the_keyword_and_covers_whatsapp() {
    let receiver = Receiver::start(|_| (200, "text/xml", EMPTY)).await;
    let plain = wired(Options::default(), &receiver).await;
    plain.simulator.inbound(WHATSAPP_ALICE, WHATSAPP_SENDER, "STOP").await;
    let form = [("To", WHATSAPP_ALICE), ("From", WHATSAPP_SENDER), ("Body", "x")];
    plain.accepted(&form).await;

    let advanced = Options { advanced_opt_out: true, ..Options::default() };
    let twilio = wired(advanced, &receiver).await;
    twilio.simulator.inbound(WHATSAPP_ALICE, WHATSAPP_SENDER, "STOP").await;
    assert_eq!(receiver.received().last().unwrap().param("OptOutType"), "STOP");
    assert_eq!(Twilio::code(twilio.create(&form).await).await, 21610);
}

#[tokio::test]
async fn yes_reopens_a_long_code_and_not_a_toll_free_number() {
    let twilio = Twilio::start().await;
    for (sender, status) in [(SENDER, StatusCode::CREATED), ("+18885550100", StatusCode::BAD_REQUEST)] {
        twilio.simulator.inbound(ALICE, sender, "STOP").await;
        twilio.simulator.inbound(ALICE, sender, "YES").await;
        let response = twilio.create(&[("To", ALICE), ("From", sender), ("Body", "x")]).await;
        assert_eq!(response.status(), status, "{sender}");
    }
}

#[tokio::test]
async fn whatsapp_takes_free_text_only_after_the_person_wrote() {
    let twilio = Twilio::start().await;
    let text = [("To", WHATSAPP_ALICE), ("From", WHATSAPP_SENDER), ("Body", "x")];
    let content = |sid| {
        [
            ("To", WHATSAPP_ALICE),
            ("From", WHATSAPP_SENDER),
            ("ContentSid", sid),
            ("ContentVariables", r#"{"1":"Bo"}"#),
        ]
    };
    let approved = "HX00000000000000000000000000000002";
    let pending = "HX00000000000000000000000000000004";
    let ends = async |form: &[(&str, &str)]| {
        let message = twilio.accepted(form).await;
        twilio.simulator.wait_until_quiet().await;
        twilio.fetch(&message).await
    };
    for (form, code) in [
        (text.as_slice(), json!(63016)),
        (&content(approved), Value::Null),
        (&content(pending), json!(63016)),
    ] {
        let end = ends(form).await;
        assert_eq!(end["error_code"], code);
        assert_eq!(end["status"] == "failed", code.is_number());
    }
    let rendered = ends(&content(approved)).await;
    assert!(rendered["body"].as_str().unwrap().starts_with("Hi Bo, "));
    twilio.simulator.inbound(WHATSAPP_ALICE, WHATSAPP_SENDER, "Hello").await;
    assert_eq!(ends(&text).await["error_code"], Value::Null);
    // The window is one sender's.
    let other = [("From", "whatsapp:+14155230000")];
    let end = ends(&[text.as_slice(), &other].concat()).await;
    assert_eq!(end["error_code"], 63016);
}

#[tokio::test]
async fn whatsapp_marketing_to_the_united_states_is_never_delivered() {
    let twilio = Twilio::start().await;
    let form = [
        ("To", "whatsapp:+14155550101"),
        ("From", WHATSAPP_SENDER),
        ("ContentSid", "HX00000000000000000000000000000002"),
    ];
    twilio.accepted(&form).await;
    twilio.simulator.wait_until_quiet().await;
    let message = &twilio.simulator.messages_to(ALICE)[0];
    assert_eq!((message.status, message.error_code), (Status::Undelivered, Some(63049)));
    assert_eq!(message.direction, Direction::OutboundApi);
}

#[tokio::test]
async fn a_rich_inbound_message_carries_its_extras() {
    let receiver = Receiver::start(|_| (200, "text/xml", EMPTY)).await;
    let twilio = wired(Options::default(), &receiver).await;
    let inbound = Inbound {
        media: vec!["https://e.example/a.jpg".to_owned()],
        profile_name: Some("Ana".to_owned()),
        button: Some("yes-payload".to_owned()),
        replied_sid: Some("SM00000000000000000000000000000001".to_owned()),
        ..Inbound::text(WHATSAPP_ALICE, WHATSAPP_SENDER, "Yes")
    };
    let result = twilio.simulator.inbound_message(inbound).await;
    assert!(result.message_sid.starts_with("MM"));
    let received = receiver.received().remove(0);
    for (name, value) in [
        ("ProfileName", "Ana"),
        ("WaId", "94771234567"),
        ("ButtonPayload", "yes-payload"),
        ("ButtonText", "Yes"),
        ("NumMedia", "1"),
        ("MediaUrl0", "https://e.example/a.jpg"),
        ("OriginalRepliedMessageSid", "SM00000000000000000000000000000001"),
    ] {
        assert_eq!(received.param(name), value, "{name}");
    }
}
