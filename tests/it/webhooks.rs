//! The door that Twilio knocks on: who is let in, and what a hostile body can do.

use event_stream_engine::store::StoreError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Engine, SENDER, Wanted};

const INBOUND: &str = "/webhooks/twilio/inbound";
const STATUS: &str = "/webhooks/twilio/status";

fn form<'a>(engine: &'a Engine, sid: &'a str, body: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("MessageSid", sid),
        ("AccountSid", engine.account_sid()),
        ("From", "+12125550101"),
        ("To", SENDER),
        ("Body", body),
    ]
}

fn kept(engine: &Engine) -> i64 {
    engine.value("SELECT (SELECT count(*) FROM inbound) + (SELECT count(*) FROM receipts) + (SELECT count(*) FROM users)")
}

#[tokio::test]
async fn an_unsigned_badly_signed_or_foreign_request_is_refused_and_leaves_nothing() {
    let engine = Engine::start().await;
    let fine = form(&engine, "SM1", "STOP");
    let url = format!("{}{INBOUND}", engine.base_url);
    let token = "simulated-auth-token";
    assert_eq!(engine.post_raw(INBOUND, None, b"MessageSid=SM1".to_vec()).await.0, 403);
    assert_eq!(engine.post_raw(INBOUND, Some(""), b"MessageSid=SM1".to_vec()).await.0, 403);
    assert_eq!(engine.post_raw(INBOUND, Some("AAAAAAAAAAAAAAAAAAAAAAAAAAA="), vec![]).await.0, 403);
    assert_eq!(engine.post_signed(INBOUND, &url, "another token", &fine).await.0, 403);
    assert_eq!(engine.post_signed(INBOUND, &url, "", &fine).await.0, 403);
    let elsewhere = [
        format!("https://elsewhere.example{INBOUND}"),
        format!("{}{STATUS}", engine.base_url),
        format!("{url}?message=1"),
    ];
    for signed_url in elsewhere {
        assert_eq!(engine.post_signed(INBOUND, &signed_url, token, &fine).await.0, 403, "{signed_url}");
    }
    let mut foreign = fine.clone();
    foreign[1].1 = "AC99999999999999999999999999999999";
    assert_eq!(engine.post(INBOUND, &foreign).await.0, 403);
    let foreign = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("AccountSid", "AC9")];
    assert_eq!(engine.post(STATUS, &foreign).await.0, 403);
    assert_eq!(kept(&engine), 0);
    // The same request, signed as it should be, is taken.
    assert_eq!(engine.post_signed(INBOUND, &url, token, &fine).await.0, 200);
    assert_eq!(kept(&engine), 2);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_secondary_token_counts_during_a_rotation() {
    let environment = vec![("ESE_TWILIO__AUTH_TOKEN_SECONDARY", "the next token".to_owned())];
    let engine = Engine::start_with(Wanted { environment, ..Wanted::default() }).await;
    let url = format!("{}{INBOUND}", engine.base_url);
    for (token, expected) in [("simulated-auth-token", 200), ("the next token", 200), ("a third", 403)] {
        let form = form(&engine, token, "Hi");
        assert_eq!(engine.post_signed(INBOUND, &url, token, &form).await.0, expected, "{token}");
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn behind_a_proxy_the_configured_url_counts_and_not_the_headers() {
    let environment = vec![("ESE_SERVER__PUBLIC_BASE_URL", "https://texts.example.com/engine/".to_owned())];
    let engine = Engine::start_with(Wanted { environment, ..Wanted::default() }).await;
    let token = "simulated-auth-token";
    let table = [
        (format!("https://texts.example.com/engine{INBOUND}"), 200),
        (format!("https://texts.example.com{INBOUND}"), 403),
        (format!("http://texts.example.com/engine{INBOUND}"), 403),
        (format!("{}{INBOUND}", engine.base_url), 403),
    ];
    for (signed_url, expected) in table {
        let form = form(&engine, "SM1", "Hi");
        assert_eq!(engine.post_signed(INBOUND, &signed_url, token, &form).await.0, expected, "{signed_url}");
    }
    let path = format!("{STATUS}?message=7&attempt=1");
    let news = [("MessageSid", "SM2"), ("MessageStatus", "sent"), ("AccountSid", engine.account_sid())];
    let signed_url = format!("https://texts.example.com/engine{path}");
    assert_eq!(engine.post_signed(&path, &signed_url, token, &news).await.0, 200);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn only_forms_by_post_that_name_their_message_are_taken() {
    let engine = Engine::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in [INBOUND, STATUS] {
        let status = client.get(format!("{}{path}", engine.base_url)).send().await.unwrap().status().as_u16();
        assert!(matches!(status, 404 | 405), "{status}");
        let json = client
            .post(format!("{}{path}", engine.base_url))
            .header("content-type", "application/json")
            .header("x-twilio-signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
            .body("{}");
        assert_eq!(json.send().await.unwrap().status().as_u16(), 415);
    }
    let account = engine.account_sid().to_owned();
    let without = |path, missing| {
        let form: Vec<(&str, &str)> =
            form(&engine, "SM1", "Hi").into_iter().filter(|(key, _)| *key != missing).collect();
        let engine = &engine;
        async move { engine.post(path, &form).await }
    };
    for missing in ["MessageSid", "AccountSid", "From"] {
        let (status, body) = without(INBOUND, missing).await;
        assert_eq!(status, 400, "{missing}");
        assert!(body.contains(missing), "{body}");
    }
    assert_eq!(engine.post(STATUS, &[("AccountSid", account.as_str()), ("MessageSid", "SM1")]).await.0, 400);
    assert_eq!(engine.post(INBOUND, &[]).await.0, 400);
    assert_eq!(kept(&engine), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn hostile_bodies_are_kept_as_they_are_and_break_nothing() {
    let engine = Engine::start().await;
    let long = "a".repeat(60_000);
    let emoji = "😀".repeat(4_000);
    let bodies = [
        "nul \0 in the middle",
        "'; DROP TABLE users; --",
        "<script>alert(1)</script> & ]]>",
        "{{ 7 * 7 }} {name} %s %n",
        "\u{202e}\u{feff}\u{fffd}\r\n\t",
        "",
        long.as_str(),
        emoji.as_str(),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let sid = format!("SM{number}");
        let (status, answer) = engine.post(INBOUND, &form(&engine, &sid, body)).await;
        assert_eq!(status, 200, "{number}");
        assert!(!answer.contains("script"), "{answer}");
        let same: bool = engine
            .store
            .read_here(|conn| {
                Ok::<_, StoreError>(conn.query_row(
                    "SELECT body = ?2 AND json_valid(params) AND state = 'done' FROM inbound WHERE message_sid = ?1",
                    (&sid, body),
                    |row| row.get(0),
                )?)
            })
            .unwrap();
        assert!(same, "{number}");
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_utf_8_are_replaced_and_the_rest_is_read() {
    let engine = Engine::start().await;
    let sid = engine.account_sid().to_owned();
    let raw = format!("MessageSid=SM1&AccountSid={sid}&From=%2B12125550101&To=%2B1&Body=%ff%fe+STOP%C0");
    // Twilio would have signed the decoded text; whoever sends such bytes has only that to sign.
    let pairs: Vec<(String, String)> = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
    let url = format!("{}{INBOUND}", engine.base_url);
    let signature = event_stream_engine::twilio::signature::sign("simulated-auth-token", &url, &pairs);
    assert_eq!(engine.post_raw(INBOUND, Some(&signature), raw.into_bytes()).await.0, 200);
    let body: String = engine.value("SELECT body FROM inbound");
    assert_eq!(body, "\u{fffd}\u{fffd} STOP\u{fffd}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_body_over_64_kib_is_413_however_it_is_announced() {
    let engine = Engine::start().await;
    let form = form(&engine, "SM1", "");
    let size = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish().len();
    let fits = "a".repeat(64 * 1024 - size);
    let too_long = "a".repeat(64 * 1024 - size + 1);
    for (body, expected) in [(too_long, 413), (fits, 200)] {
        let mut form = form.clone();
        form[4].1 = &body;
        assert_eq!(engine.post(INBOUND, &form).await.0, expected, "{}", body.len());
    }
    // Without a length: the bytes are counted as they come.
    let address = engine.base_url.trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST {INBOUND} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         x-twilio-signature: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..5 {
        let chunk = format!("4000\r\n{}\r\n", "a".repeat(0x4000));
        if socket.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 64];
    let read = socket.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(kept(&engine), 2);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_store_that_can_not_write_answers_503_and_the_second_try_is_taken() {
    let engine = Engine::start().await;
    // Another process holds the lock for longer than the writer waits.
    let other = rusqlite::Connection::open(engine.dir().join("ese.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (status, body) = engine.post(INBOUND, &form(&engine, "SM1", "STOP")).await;
    assert_eq!(status, 503, "{body}");
    assert!(!body.contains("lock"), "nothing of the inside is told: {body}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(engine.post(INBOUND, &form(&engine, "SM1", "STOP")).await.0, 200);
    assert_eq!(engine.consent("+12125550101"), "stop");
    engine.check_and_stop().await;
}
