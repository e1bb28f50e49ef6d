//! The phone page: what a number received, and answering as that person.

use event_stream_engine::simulator::Options;
use reqwest::StatusCode;
use reqwest::redirect::Policy;

use super::{ALICE, Receiver, SENDER, Twilio, WHATSAPP_SENDER};

#[tokio::test]
async fn a_phone_shows_what_it_got_and_answers_as_the_person() {
    let receiver = Receiver::content().await;
    let twilio = Twilio::with(Options {
        inbound_url: Some(receiver.url("/inbound")),
        window_open: true,
        ..Options::default()
    })
    .await;
    twilio.text(ALICE, "<script>alert(1)</script> & \"hi\"").await;
    let whatsapp = [("To", "whatsapp:+14155550101"), ("From", WHATSAPP_SENDER), ("Body", "on WhatsApp")];
    twilio.accepted(&whatsapp).await;
    twilio.simulator.wait_until_quiet().await;

    let base = twilio.simulator.base_url();
    let list = twilio.client.get(&base).send().await.unwrap();
    let list = list.text().await.unwrap();
    assert_eq!(list.matches("href=\"/phone/+14155550101\"").count(), 1);

    let url = twilio.simulator.phone_url(ALICE);
    let page = twilio.client.get(&url).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    let html = page.text().await.unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;hi&quot;"));
    assert!(!html.contains("<script"));
    assert!(html.contains("on WhatsApp"));

    let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let answered = client
        .post(format!("{url}/reply"))
        .form(&[("to", WHATSAPP_SENDER), ("body", "Hello")])
        .send()
        .await
        .unwrap();
    assert_eq!(answered.status(), StatusCode::SEE_OTHER);
    let received = receiver.received().remove(0);
    assert_eq!(received.param("From"), "whatsapp:+14155550101");
    assert_eq!((received.param("To"), received.param("Body")), (WHATSAPP_SENDER, "Hello"));

    let foreign = client
        .post(format!("{url}/reply"))
        .header("Origin", "http://evil.example")
        .form(&[("to", SENDER), ("body", "STOP")])
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
}
