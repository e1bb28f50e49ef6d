//! Our client's reading side against the stand-in, and against servers that answer strangely.

use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::lookup::{ListQuery, LookupError};
use url::Url;

use super::{ALICE, Receiver, SENDER, Twilio};

fn client(base: &str, twilio: &Twilio) -> Client {
    let options = &twilio.options;
    Client::new(Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid.clone(),
        password: options.auth_token.clone().into(),
        api_base: Url::parse(base).unwrap(),
    })
    .unwrap()
}

fn to_alice(page_size: u16) -> ListQuery {
    ListQuery { to: Some(ALICE.to_owned()), page_size, ..ListQuery::default() }
}

#[tokio::test]
async fn a_list_is_walked_page_by_page_newest_first() {
    let twilio = Twilio::start().await;
    for number in 0..5 {
        twilio.text(ALICE, &format!("Hello {number}")).await;
    }
    twilio.text("+14155550102", "Somebody else").await;
    let client = client(&twilio.simulator.base_url(), &twilio);
    let mut page = client.list(&to_alice(2)).await.unwrap();
    let mut bodies = Vec::new();
    loop {
        assert!(page.answered_at.is_some());
        for message in &page.messages {
            assert!(message.created_at().unwrap() > 0 && !message.is_inbound());
            assert_eq!(message.from.as_deref(), Some(SENDER));
        }
        bodies.extend(page.messages.iter().filter_map(|message| message.body.clone()));
        let Some(next) = page.next else { break };
        page = client.next_page(&next).await.unwrap();
    }
    assert_eq!(bodies, ["Hello 4", "Hello 3", "Hello 2", "Hello 1", "Hello 0"]);
    let future = ListQuery { sent_since: Some(4_102_444_800_000), ..to_alice(2) };
    assert!(client.list(&future).await.unwrap().messages.is_empty());
}

#[tokio::test]
async fn one_message_is_fetched_and_an_unknown_one_is_nobody() {
    let twilio = Twilio::start().await;
    let message = twilio.text(ALICE, "Hello").await;
    let sid = message["sid"].as_str().unwrap();
    let client = client(&twilio.simulator.base_url(), &twilio);
    let found = client.fetch(sid).await.unwrap().unwrap();
    assert_eq!((found.sid.as_str(), found.body.as_deref()), (sid, Some("Hello")));
    assert!(client.fetch("SM00000000000000000000000000000000").await.unwrap().is_none());
    assert!(client.media(sid).await.unwrap().is_empty());
    for hostile in ["", "../Calls", "SM1?x=", "SM1/Media"] {
        let found = client.fetch(hostile).await;
        assert!(matches!(found, Ok(None)), "{hostile:?}: {found:?}");
    }
}

#[tokio::test]
async fn the_attachments_of_a_message_have_addresses_of_twilio() {
    let twilio = Twilio::start().await;
    let form = [("To", ALICE), ("From", SENDER), ("Body", "x"), ("MediaUrl", "https://e.example/a.jpg")];
    let message = twilio.accepted(&form).await;
    let client = client(&twilio.simulator.base_url(), &twilio);
    let media = client.media(message["sid"].as_str().unwrap()).await.unwrap();
    assert_eq!(media.len(), 1);
    assert!(media[0].url.starts_with(&twilio.simulator.base_url()) && !media[0].url.ends_with(".json"));
    assert_eq!(media[0].content_type, "image/jpeg");
}

#[tokio::test]
async fn refusals_and_troubles_are_told_apart() {
    let twilio = Twilio::start().await;
    let receiver = Receiver::start(|number| match number {
        1 => (429, "application/json", r#"{"code":20429,"message":"Too Many Requests","status":429}"#),
        2 => (503, "text/plain", "down"),
        3 => (401, "application/json", r#"{"code":20003,"message":"Authenticate","status":401}"#),
        4 => (200, "text/html", "<html>a captive portal</html>"),
        _ => (200, "application/json", r#"{"messages":[],"next_page_uri":"https://elsewhere.example/x"}"#),
    })
    .await;
    let client = client(&receiver.url("/"), &twilio);
    let mut errors = Vec::new();
    for _ in 0..5 {
        errors.push(client.list(&to_alice(50)).await.unwrap_err());
    }
    assert!(matches!(errors[0], LookupError::Throttled { retry_after: None }));
    assert!(matches!(errors[1], LookupError::Unavailable(_)));
    assert!(matches!(errors[2], LookupError::Refused { http_status: 401, code: 20003, .. }));
    assert!(matches!(errors[3], LookupError::Unreadable(_)) && errors[3].is_about_one());
    // Credentials are never carried to another server.
    assert!(matches!(&errors[4], LookupError::Unreadable(why) if why.contains("leads away")));
    receiver.stop().await;
    assert!(matches!(client.list(&to_alice(50)).await, Err(LookupError::Unavailable(_))));
}
