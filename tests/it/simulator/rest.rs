//! Create, fetch, list, delete, cancel, content, errors.

use event_stream_engine::simulator::{Options, Simulator};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{ALICE, SENDER, SERVICE, Twilio, WHATSAPP_ALICE, WHATSAPP_SENDER};

const FIELDS: [&str; 20] = [
    "account_sid",
    "api_version",
    "body",
    "date_created",
    "date_sent",
    "date_updated",
    "direction",
    "error_code",
    "error_message",
    "from",
    "messaging_service_sid",
    "num_media",
    "num_segments",
    "price",
    "price_unit",
    "sid",
    "status",
    "subresource_uris",
    "to",
    "uri",
];

#[tokio::test]
async fn a_created_message_has_twilios_twenty_fields() {
    let twilio = Twilio::start().await;
    let message = twilio.text(ALICE, "Hello 👍").await;
    let mut fields: Vec<&str> = message.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, FIELDS);
    assert_eq!(message["status"], "queued");
    assert_eq!(message["direction"], "outbound-api");
    assert_eq!(message["num_segments"], "1");
    assert_eq!(message["num_media"], "0");
    assert_eq!(message["error_code"], Value::Null);
    assert_eq!(message["from"], SENDER);
    assert_eq!(message["body"], "Hello 👍");
    let sid = message["sid"].as_str().unwrap();
    assert!(sid.starts_with("SM") && sid.len() == 34);
    let date = message["date_created"].as_str().unwrap();
    assert!(jiff::fmt::rfc2822::parse(date).is_ok() && date.ends_with(" +0000"));
    assert_eq!(
        message["uri"],
        format!("/2010-04-01/Accounts/{}/Messages/{sid}.json", twilio.options.account_sid)
    );
}

#[tokio::test]
async fn a_message_by_service_has_no_sender_until_one_is_picked() {
    let twilio = Twilio::start().await;
    let form = [("To", ALICE), ("MessagingServiceSid", SERVICE), ("Body", "x")];
    let message = twilio.accepted(&form).await;
    assert_eq!(message["status"], "accepted");
    assert_eq!(message["from"], Value::Null);
    assert_eq!(message["num_segments"], "0");
    twilio.simulator.wait_until_quiet().await;
    let message = twilio.fetch(&message).await;
    assert_eq!(message["status"], "delivered");
    assert_eq!(message["from"], SENDER);
    assert_eq!(message["num_segments"], "1");
    assert_eq!(message["messaging_service_sid"], SERVICE);
}

#[tokio::test]
async fn wrong_credentials_accounts_and_paths_are_told_apart() {
    let twilio = Twilio::with(Options {
        api_key: Some(("SK1".to_owned(), "secret".to_owned())),
        ..Options::default()
    })
    .await;
    let url = twilio.url("/Messages.json");
    let ask = |user: &'static str, password: &'static str| {
        let request = twilio.client.get(&url).basic_auth(user, Some(password));
        async move { request.send().await.unwrap() }
    };
    let refused = ask("AC1", "wrong").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key("www-authenticate"));
    assert_eq!(Twilio::code(refused).await, 20003);
    assert_eq!(ask("SK1", "secret").await.status(), StatusCode::OK);
    let without = twilio.client.get(&url).send().await.unwrap();
    assert_eq!(Twilio::code(without).await, 20003);

    let base = twilio.simulator.base_url();
    for path in [
        "/2010-04-01/Accounts/AC99999999999999999999999999999999/Messages.json",
        &format!("/2010-04-01/Accounts/{}/Messages", twilio.options.account_sid),
        "/elsewhere",
    ] {
        let response = twilio.get_url(&format!("{base}{path}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(Twilio::code(response).await, 20404, "{path}");
    }
    let put = twilio.signed_in(twilio.client.put(&url)).send().await;
    assert_eq!(Twilio::code(put.unwrap()).await, 20004);
    let account = twilio.get(".json").await.json::<Value>().await.unwrap();
    assert_eq!(account["status"], "active");
}

#[tokio::test]
async fn refusals_are_twilios_error_json_and_leave_nothing_behind() {
    let twilio = Twilio::start().await;
    let long = "a".repeat(1601);
    let table: [(&[(&str, &str)], u64); 5] = [
        (&[("From", SENDER), ("Body", "x")], 21604),
        (&[("To", ALICE), ("Body", "x")], 21603),
        (&[("To", ALICE), ("From", SENDER)], 21619),
        (&[("To", ALICE), ("From", SENDER), ("Body", &long)], 21617),
        (&[("To", ALICE), ("From", SENDER), ("ContentSid", "HX99999999999999999999999999999999")], 21655),
    ];
    for (form, code) in table {
        let response = twilio.create(form).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(Twilio::code(response).await, code);
    }
    let json = twilio
        .client
        .post(twilio.url("/Messages.json"))
        .json(&json!({"To": ALICE, "From": SENDER, "Body": "x"}));
    let response = twilio.signed_in(json).send().await.unwrap();
    assert_eq!(Twilio::code(response).await, 21604);
    assert!(twilio.simulator.messages().is_empty());
}

#[tokio::test]
async fn only_own_senders_are_taken_when_they_are_named() {
    let twilio = Twilio::with(Options { senders: vec![SENDER.to_owned()], ..Options::default() }).await;
    twilio.text(ALICE, "x").await;
    let table = [(ALICE, "+15005550099", 21606), (WHATSAPP_ALICE, WHATSAPP_SENDER, 63007)];
    for (to, from, code) in table {
        let form = [("To", to), ("From", from), ("Body", "x")];
        assert_eq!(Twilio::code(twilio.create(&form).await).await, code);
    }
}

#[tokio::test]
async fn pages_go_forth_and_back_and_stay_put_while_messages_are_added() {
    let twilio = Twilio::start().await;
    let mut newest_first = Vec::new();
    for number in 0..5 {
        let message = twilio.text(ALICE, &number.to_string()).await;
        twilio.text("+14155550199", "somebody else's").await;
        newest_first.insert(0, message["sid"].clone());
    }
    let base = twilio.simulator.base_url();
    let first = format!("{}?To=%2B14155550101&PageSize=2", twilio.url("/Messages.json"));
    let mut url = first.clone();
    let mut seen = Vec::new();
    let mut last = Value::Null;
    for number in 0..3 {
        let page: Value = twilio.get_url(&url).await.json().await.unwrap();
        assert_eq!(page["page"], number);
        assert_eq!(page["page_size"], 2);
        assert_eq!(page["start"], number * 2);
        seen.extend(page["messages"].as_array().unwrap().iter().cloned());
        // What arrives meanwhile belongs before the first page.
        twilio.text(ALICE, "late").await;
        url = format!("{base}{}", page["next_page_uri"].as_str().unwrap_or_default());
        last = page;
    }
    assert_eq!(last["next_page_uri"], Value::Null);
    let seen: Vec<Value> = seen.iter().map(|message| message["sid"].clone()).collect();
    assert_eq!(seen, newest_first);

    let back = last["previous_page_uri"].as_str().unwrap();
    let page: Value = twilio.get_url(&format!("{base}{back}")).await.json().await.unwrap();
    let sids: Vec<&Value> =
        page["messages"].as_array().unwrap().iter().map(|message| &message["sid"]).collect();
    assert_eq!(sids, [&newest_first[2], &newest_first[3]]);

    let blind = twilio.get_url(&format!("{first}&Page=1")).await;
    assert_eq!(blind.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn lists_are_filtered_by_sender_receiver_and_date() {
    let twilio = Twilio::start().await;
    twilio.text(ALICE, "out").await;
    twilio.simulator.inbound(ALICE, SENDER, "in").await;
    twilio.simulator.wait_until_quiet().await;
    let now = jiff::Timestamp::now();
    let before = (now - jiff::Span::new().minutes(1)).strftime("%Y-%m-%dT%H:%M:%SZ");
    let after = (now + jiff::Span::new().minutes(1)).strftime("%Y-%m-%dT%H:%M:%SZ");
    let today = now.strftime("%Y-%m-%d");
    let table = [
        (String::new(), 2),
        ("To=%2B14155550101".to_owned(), 1),
        ("From=%2B14155550101&To=%2B15005550006".to_owned(), 1),
        ("From=%2B15005550006".to_owned(), 1),
        ("To=%2B14155550199".to_owned(), 0),
        (format!("DateSent%3E={before}"), 2),
        (format!("DateSent%3C={before}"), 0),
        (format!("DateSent%3E={after}"), 0),
        (format!("DateSent%3C={after}&DateSent%3E={before}"), 2),
        (format!("DateSent={today}"), 2),
        ("DateSent=2020-01-01".to_owned(), 0),
    ];
    for (query, expected) in table {
        let response = twilio.get(&format!("/Messages.json?{query}")).await;
        let page: Value = response.json().await.unwrap();
        let found = page["messages"].as_array().unwrap().len();
        assert_eq!(found, expected, "{query}");
        if expected == 0 {
            assert_eq!((&page["start"], &page["end"]), (&json!(0), &json!(0)));
        }
    }
}

#[tokio::test]
async fn a_deleted_message_is_gone_from_fetch_and_list() {
    let twilio = Twilio::start().await;
    let message = twilio.text(ALICE, "x").await;
    let tail = format!("/Messages/{}.json", message["sid"].as_str().unwrap());
    let request = twilio.client.delete(twilio.url(&tail));
    let response = twilio.signed_in(request).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(Twilio::code(twilio.get(&tail).await).await, 20404);
    let page: Value = twilio.get("/Messages.json").await.json().await.unwrap();
    assert_eq!(page["messages"], json!([]));
    assert!(twilio.simulator.messages_to(ALICE)[0].deleted);
}

#[tokio::test]
async fn a_waiting_message_can_be_cancelled_and_a_sent_one_only_redacted() {
    let twilio = Twilio::start().await;
    let at = (jiff::Timestamp::now() + jiff::Span::new().hours(1)).to_string();
    let scheduled = twilio
        .accepted(&[
            ("To", ALICE),
            ("MessagingServiceSid", SERVICE),
            ("Body", "x"),
            ("ScheduleType", "fixed"),
            ("SendAt", &at),
        ])
        .await;
    assert_eq!(scheduled["status"], "scheduled");
    let tail = format!("/Messages/{}.json", scheduled["sid"].as_str().unwrap());
    let cancelled = twilio.post(&tail, &[("Status", "canceled")]).await;
    assert_eq!(cancelled.json::<Value>().await.unwrap()["status"], "canceled");

    let twilio = Twilio::start().await;
    let sent = twilio.text(ALICE, "secret").await;
    twilio.simulator.wait_until_quiet().await;
    let tail = format!("/Messages/{}.json", sent["sid"].as_str().unwrap());
    let refused = twilio.post(&tail, &[("Status", "canceled")]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let redacted = twilio.post(&tail, &[("Body", "")]).await;
    assert_eq!(redacted.json::<Value>().await.unwrap()["body"], "");
    let refused = twilio.post(&tail, &[("Body", "other")]).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn media_make_an_mm_sid_and_are_listed() {
    let twilio = Twilio::start().await;
    let message = twilio
        .accepted(&[
            ("To", ALICE),
            ("From", SENDER),
            ("MediaUrl", "https://e.example/a.jpg"),
            ("MediaUrl", "https://e.example/b.jpg"),
        ])
        .await;
    let sid = message["sid"].as_str().unwrap();
    assert!(sid.starts_with("MM"));
    assert_eq!(message["num_media"], "2");
    let list = twilio.get(&format!("/Messages/{sid}/Media.json")).await;
    let list: Value = list.json().await.unwrap();
    assert_eq!(list["media_list"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn content_is_listed_in_pages_with_absolute_links() {
    let twilio = Twilio::start().await;
    let base = twilio.simulator.base_url();
    let mut url = format!("{base}/v1/ContentAndApprovals?PageSize=3");
    let mut statuses = Vec::new();
    loop {
        let page: Value = twilio.get_url(&url).await.json().await.unwrap();
        assert_eq!(page["meta"]["key"], "contents");
        for content in page["contents"].as_array().unwrap() {
            statuses.push(content["approval_requests"]["status"].clone());
        }
        match page["meta"]["next_page_url"].as_str() {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(statuses, ["approved", "approved", "approved", "pending"]);

    let list = twilio.get_url(&format!("{base}/v1/Content")).await;
    let list: Value = list.json().await.unwrap();
    let approval = list["contents"][0]["links"]["approval_fetch"].as_str().unwrap();
    let approval: Value = twilio.get_url(approval).await.json().await.unwrap();
    assert_eq!(approval["whatsapp"]["category"], "UTILITY");
    let one = twilio.get_url(list["contents"][0]["url"].as_str().unwrap()).await;
    assert_eq!(one.json::<Value>().await.unwrap(), list["contents"][0]);
}

#[tokio::test]
async fn requests_beyond_the_concurrency_limit_are_429() {
    let twilio =
        Twilio::with(Options { latency_ms: 600, concurrency_limit: Some(2), ..Options::default() }).await;
    let ask = || twilio.get("/Messages.json");
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    let mut statuses = [one.status(), two.status(), three.status()].map(|s| s.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);
}

#[tokio::test]
async fn it_listens_on_loopback_only_unless_told_otherwise() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let refused = Simulator::start(Options { listen, ..Options::default() });
    assert!(refused.await.is_err());
    let allowed = Simulator::start(Options { listen, allow_remote: true, ..Options::default() });
    allowed.await.unwrap().stop().await;
}

#[tokio::test]
async fn a_restarted_simulator_repeats_no_sid() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2 {
        let twilio = Twilio::start().await;
        for _ in 0..5 {
            let message = twilio.accepted(&[("To", ALICE), ("From", SENDER), ("Body", "x")]).await;
            assert!(seen.insert(message["sid"].as_str().unwrap().to_owned()), "{message}");
        }
    }
}

#[tokio::test]
async fn the_engine_sends_with_an_api_key_as_well_as_with_the_token() {
    use event_stream_engine::twilio::client::{Client, Credentials, OutgoingMessage, SendOutcome};
    let options = Options { api_key: Some(("SK1".to_owned(), "secret".to_owned())), ..Options::default() };
    let twilio = Twilio::with(options).await;
    for (password, is_taken) in [("secret", true), ("wrong", false)] {
        let client = Client::new(Credentials {
            account_sid: Options::default().account_sid,
            user: "SK1".to_owned(),
            password: password.into(),
            api_base: twilio.simulator.base_url().parse().unwrap(),
        });
        let message = OutgoingMessage {
            to: ALICE.to_owned(),
            from: SENDER.to_owned(),
            body: "x".to_owned(),
            status_callback: "http://127.0.0.1:1/".to_owned(),
            validity_period: 60,
            ..OutgoingMessage::default()
        };
        let outcome = client.unwrap().send(&message).await;
        match outcome {
            SendOutcome::Accepted(_) => assert!(is_taken),
            SendOutcome::Refused { code, .. } => assert_eq!((is_taken, code), (false, 20003)),
            other => panic!("{other:?}"),
        }
    }
}
