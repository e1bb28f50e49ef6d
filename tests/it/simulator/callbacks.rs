//! Status callbacks: what they say, in which order, how they are signed and retried.

use event_stream_engine::simulator::Options;
use event_stream_engine::twilio::signature;

use super::{ALICE, Receiver, SENDER, SERVICE, Twilio, WHATSAPP_ALICE, WHATSAPP_SENDER};

#[tokio::test]
async fn each_status_after_the_first_is_called_back_and_signed() {
    let twilio = Twilio::start().await;
    let receiver = Receiver::content().await;
    let url = receiver.url("/status?message=7&attempt=1");
    let message = twilio
        .accepted(&[
            ("To", ALICE),
            ("From", SENDER),
            ("Body", "x"),
            ("StatusCallback", &format!("{url}#rc=2&rp=5xx,ct,rt")),
        ])
        .await;
    twilio.simulator.wait_until_quiet().await;
    assert_eq!(receiver.statuses(), ["sent", "delivered"]);
    for received in receiver.received() {
        assert_eq!(received.target, "/status?message=7&attempt=1");
        assert_eq!(received.param("MessageSid"), message["sid"]);
        assert_eq!(received.param("AccountSid"), twilio.options.account_sid);
        assert_eq!(received.param("SmsStatus"), received.param("MessageStatus"));
        assert_eq!((received.param("To"), received.param("From")), (ALICE, SENDER));
        let token = twilio.options.auth_token.as_str();
        let signed = signature::verify_form(&[token], &url, &received.params, &received.signature);
        assert!(signed);
        let forged = signature::verify_form(&["other"], &url, &received.params, &received.signature);
        assert!(!forged);
    }
    let log = twilio.simulator.callbacks();
    assert_eq!(log.len(), 2);
    assert_eq!((log[0].url.as_str(), log[0].status), (url.as_str(), Some(200)));
}

#[tokio::test]
async fn a_service_calls_back_queued_first() {
    let twilio = Twilio::start().await;
    let receiver = Receiver::content().await;
    let form = [
        ("To", ALICE),
        ("MessagingServiceSid", SERVICE),
        ("Body", "x"),
        ("StatusCallback", &receiver.url("/")),
    ];
    twilio.accepted(&form).await;
    twilio.simulator.wait_until_quiet().await;
    assert_eq!(receiver.statuses(), ["queued", "sent", "delivered"]);
    assert_eq!(receiver.received()[0].param("MessagingServiceSid"), SERVICE);
}

#[tokio::test]
async fn whatsapp_messages_are_read_by_the_share_asked_for() {
    for (read_percent, expected) in
        [(100.0, vec!["sent", "delivered", "read"]), (0.0, vec!["sent", "delivered"])]
    {
        let twilio = Twilio::with(Options { read_percent, window_open: true, ..Options::default() }).await;
        let receiver = Receiver::content().await;
        let form = [
            ("To", WHATSAPP_ALICE),
            ("From", WHATSAPP_SENDER),
            ("Body", "x"),
            ("StatusCallback", &receiver.url("/")),
        ];
        twilio.accepted(&form).await;
        twilio.simulator.wait_until_quiet().await;
        assert_eq!(receiver.statuses(), expected);
        let first = &receiver.received()[0];
        assert_eq!(first.param("ChannelPrefix"), "whatsapp");
        assert_eq!(first.param("ChannelToAddress"), "+9477123XXXX");
    }
}

#[tokio::test]
async fn a_seed_decides_who_fails_and_with_what() {
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let twilio =
            Twilio::with(Options { fail_percent: 50.0, callback_delay_ms: 1, seed, ..Options::default() })
                .await;
        for number in 0..40 {
            twilio.text(&format!("+141555501{number:02}"), "x").await;
        }
        twilio.simulator.wait_until_quiet().await;
        let ends: Vec<_> =
            twilio.simulator.messages().iter().map(|message| (message.status, message.error_code)).collect();
        runs.push(ends);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let failed = runs[0].iter().filter(|(_, code)| code.is_some()).count();
    assert!((8..=32).contains(&failed), "{failed} of 40 failed");
}

#[tokio::test]
async fn a_callback_is_retried_only_as_its_fragment_says() {
    let table = [("", 1), ("#rc=2&rp=ct", 1), ("#rc=2&rp=5xx,ct,rt", 3), ("#rp=all", 2), ("#rc=0&rp=all", 1)];
    for (fragment, attempts) in table {
        let twilio = Twilio::start().await;
        let receiver = Receiver::start(|_| (503, "text/plain", "")).await;
        let form = [
            ("To", ALICE),
            ("From", SENDER),
            ("Body", "x"),
            ("StatusCallback", &receiver.url(&format!("/{fragment}"))),
        ];
        twilio.accepted(&form).await;
        twilio.simulator.wait_until_quiet().await;
        let received = receiver.received();
        // Two statuses, each with so many attempts.
        assert_eq!(received.len(), attempts * 2, "{fragment}");
        assert!(received[..attempts].iter().all(|r| r.token == received[0].token));
        assert_ne!(received[0].token, received[attempts].token, "{fragment}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_retried_once_by_default() {
    let twilio = Twilio::start().await;
    let receiver = Receiver::content().await;
    receiver.stop().await;
    let form = [("To", ALICE), ("From", SENDER), ("Body", "x"), ("StatusCallback", &receiver.url("/"))];
    twilio.accepted(&form).await;
    twilio.simulator.wait_until_quiet().await;
    let log = twilio.simulator.callbacks();
    assert_eq!(log.len(), 4);
    assert!(log.iter().all(|attempt| attempt.status.is_none() && attempt.error.is_some()));
    assert_eq!((log[0].attempt, log[1].attempt), (1, 2));
}

#[tokio::test]
async fn a_sender_sends_no_faster_than_its_rate() {
    let twilio =
        Twilio::with(Options { sender_rate: Some(50.0), callback_delay_ms: 0, ..Options::default() }).await;
    let began = std::time::Instant::now();
    for _ in 0..10 {
        // Three parts each.
        twilio.text(ALICE, &"a".repeat(400)).await;
    }
    twilio.simulator.wait_until_quiet().await;
    // The last message waits for 27 parts at 50 a second.
    assert!(began.elapsed().as_millis() >= 540);
}

#[tokio::test]
async fn what_waits_longer_than_its_validity_expires() {
    let twilio =
        Twilio::with(Options { sender_rate: Some(0.1), callback_delay_ms: 0, ..Options::default() }).await;
    let form = [("To", ALICE), ("From", SENDER), ("Body", "x"), ("ValidityPeriod", "1")];
    twilio.accepted(&form).await;
    let late = twilio.accepted(&form).await;
    twilio.simulator.wait_until_quiet().await;
    let late = twilio.fetch(&late).await;
    assert_eq!((&late["status"], &late["error_code"]), (&"failed".into(), &30036.into()));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_or_later_by_service() {
    let twilio = Twilio::with(Options {
        // One part fills more than ten hours.
        sender_rate: Some(1.0 / 40_000.0),
        callback_delay_ms: 0,
        ..Options::default()
    })
    .await;
    twilio.text(ALICE, "x").await;
    let form = [("To", ALICE), ("From", SENDER), ("Body", "x")];
    assert_eq!(Twilio::code(twilio.create(&form).await).await, 21611);
    let form = [("To", ALICE), ("MessagingServiceSid", SERVICE), ("Body", "x")];
    let message = twilio.accepted(&form).await;
    twilio.simulator.wait_until_quiet().await;
    assert_eq!(twilio.fetch(&message).await["error_code"], 30001);
}
