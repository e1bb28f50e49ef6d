//! Business events over HTTP: what a line may say, what comes of each, and bodies that are long, broken or sent
//! twice.

use reqwest::Body;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::api::{Answer, TestApp, send};

const NDJSON: &str = "application/x-ndjson";

async fn post_raw(app: &TestApp, content_type: &str, body: impl Into<Body>) -> Answer {
    send(app.request("POST", "/triggers").header("content-type", content_type).body(body)).await
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

async fn post(app: &TestApp, events: &[Value]) -> Value {
    post_raw(app, NDJSON, lines(events)).await.expect(200)
}

fn words(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["result"].as_str().unwrap()).collect()
}

/// A running campaign that events of `kind` start; answers the id.
async fn running(app: &TestApp, name: &str, kind: &str, change: Value) -> i64 {
    let template = app.add_template(&format!("{name} text"), "{name}: order {order.id}").await;
    let mut body = json!({"name": name, "channel": "sms", "template_id": template, "quiet_hours": "off",
        "kind": "transactional", "trigger": {"type": kind}});
    body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let id = app.post("/campaigns", &body).await.expect(201)["id"].as_i64().unwrap();
    let launched = app.post(&format!("/campaigns/{id}/launch"), &json!({})).await;
    assert_eq!(launched.json()["status"], "running", "{}", launched.text);
    id
}

fn paid(id: &str, phone: &str) -> Value {
    json!({"id": id, "type": "order.paid", "phone": phone, "data": {"name": "Ana", "order": {"id": 7}}})
}

fn count(app: &TestApp, sql: &str) -> i64 {
    app.store
        .read_here(|conn| {
            Ok::<_, event_stream_engine::store::StoreError>(conn.query_row(sql, [], |r| r.get(0))?)
        })
        .unwrap()
}

#[actix_web::test]
async fn an_event_starts_a_message_of_every_campaign_that_waits_for_it() {
    let app = TestApp::start().await;
    let first = running(&app, "first", "order.paid", json!({"expires_after_hours": 2})).await;
    let second = running(&app, "second", "order.paid", json!({"kind": "marketing"})).await;
    running(&app, "other", "order.sent", json!({})).await;
    app.add_user("+14155550101", "opt_in").await;
    let mut event = paid("e1", "+14155550101");
    event["occurred_at"] = json!("2026-11-23T11:59:00Z");
    let answer = post(&app, &[event, paid("e2", "+14155550102")]).await;
    assert_eq!(
        answer,
        json!({"accepted": 2, "duplicate": 0, "rejected": 0, "results": [
            {"line": 1, "id": "e1", "result": "accepted",
             "message": {"id": 1, "campaign_id": first, "status": "queued", "reason": null},
             "more_messages": [{"id": 2, "campaign_id": second, "status": "queued", "reason": null}]},
            {"line": 2, "id": "e2", "result": "accepted",
             "message": {"id": 3, "campaign_id": first, "status": "queued", "reason": null},
             "more_messages": [{"id": 4, "campaign_id": second, "status": "skipped", "reason": "consent_unknown"}]},
        ]})
    );
    let message = app.get("/messages/1").await.expect(200);
    assert_eq!(
        (&message["campaign_id"], &message["kind"], &message["send_at"]),
        (&json!(first), &json!("transactional"), &json!("2026-11-23T12:00:00Z"))
    );
    assert_eq!(count(&app, "SELECT expires_at - due_at FROM messages WHERE id = 1"), 7_200_000);
    // Whom nobody knew is somebody of unknown consent now, as with POST /messages.
    assert_eq!(app.get("/users/+14155550102").await.expect(200)["consent"], "unknown");
    let events = app.get("/events?types=trigger.received").await.expect(200);
    assert_eq!(
        (
            &events["data"][0]["phone"],
            &events["data"][0]["data"]["id"],
            &events["data"][0]["data"]["messages"]
        ),
        (&json!("+14155550101"), &json!("e1"), &json!(2))
    );
    assert_eq!(count(&app, "SELECT occurred_at FROM triggers WHERE id = 'e1'"), 1_795_435_140_000);
}

#[actix_web::test]
async fn what_the_gate_refuses_at_once_is_told_at_once() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    app.add_user("+14155550101", "stop").await;
    let stopped = post(&app, &[paid("e1", "+14155550101")]).await;
    assert_eq!(stopped["results"][0]["message"]["reason"], "stop");
    let mut nothing_to_say = paid("e2", "+14155550102");
    nothing_to_say["data"] = json!({"name": "Ana"});
    let missing = post(&app, &[nothing_to_say.clone()]).await;
    assert_eq!(missing["results"][0]["message"]["reason"], "missing_variable");
    // What is for later is judged later.
    nothing_to_say["id"] = json!("e3");
    nothing_to_say["send_at"] = json!("2026-11-24T12:00:00Z");
    let later = post(&app, &[nothing_to_say]).await;
    assert_eq!(later["results"][0]["message"]["status"], "queued");
    let found = app.get(&format!("/messages/{}", later["results"][0]["message"]["id"])).await.expect(200);
    assert_eq!(found["send_at"], "2026-11-24T12:00:00Z");
    // A reminder whose time was long ago is too late by its own time, not by ours.
    running(&app, "short", "order.late", json!({"expires_after_hours": 1})).await;
    let mut late = paid("e4", "+14155550102");
    late["type"] = json!("order.late");
    late["send_at"] = json!("2026-11-23T10:00:00Z");
    let late = post(&app, &[late]).await;
    assert_eq!(
        (&late["results"][0]["message"]["status"], &late["results"][0]["message"]["reason"]),
        (&json!("expired"), &json!("deadline"))
    );
}

#[actix_web::test]
async fn an_id_is_taken_once_for_good() {
    let app = TestApp::start().await;
    let campaign = running(&app, "paid", "order.paid", json!({})).await;
    let answer =
        post(&app, &[paid("e1", "+14155550101"), paid("e1", "+14155550102"), paid("e2", "+14155550101")])
            .await;
    assert_eq!(words(&answer), ["accepted", "duplicate", "accepted"]);
    assert_eq!(answer["results"][1]["message"]["id"], 1, "what the first one started is told again");
    app.clock.advance(400 * 86_400_000);
    let again =
        post(&app, &[paid("e1", "+14155550103"), json!({"id": "e2", "type": "x", "phone": "+14155550101"})])
            .await;
    assert_eq!((words(&again), &again["duplicate"]), (vec!["duplicate", "duplicate"], &json!(2)));
    let batch: Vec<Value> = (0..300).map(|n| paid(&format!("n{n}"), "+14155550104")).collect();
    let (first, second) = tokio::join!(post(&app, &batch), post(&app, &batch));
    let accepted = first["accepted"].as_i64().unwrap() + second["accepted"].as_i64().unwrap();
    let duplicate = first["duplicate"].as_i64().unwrap() + second["duplicate"].as_i64().unwrap();
    assert_eq!((accepted, duplicate), (300, 300));
    assert_eq!(count(&app, &format!("SELECT count(*) FROM messages WHERE campaign_id = {campaign}")), 302);
    assert_eq!(count(&app, "SELECT count(*) FROM users"), 2);
}

#[actix_web::test]
async fn a_rejected_line_says_why_and_the_others_go_on() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let with = |patch: Value| {
        let mut event = paid("bad", "+14155550101");
        event.as_object_mut().unwrap().extend(patch.as_object().unwrap().clone());
        event.to_string()
    };
    let deep = format!("{{\"id\":\"deep\",\"type\":\"a\",\"data\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let bad = [
        ("not json".to_owned(), "not JSON"),
        ("[1]".to_owned(), "must be a JSON object"),
        ("17".to_owned(), "must be a JSON object"),
        ("{\"id\":\"a\u{1}\"}".to_owned(), "not JSON"),
        (deep, "not JSON"),
        (
            "{\"id\":\"big\",\"type\":\"a\",\"phone\":\"+14155550101\",\"data\":{\"n\":1e999}}".to_owned(),
            "not JSON",
        ),
        (with(json!({"id": null})), "id: missing"),
        (with(json!({"id": 17})), "id: must be a text"),
        (with(json!({"id": "test:1"})), "id: test: at the beginning is reserved"),
        (with(json!({"id": "i".repeat(201)})), "id: at most 200 characters"),
        (with(json!({"id": "a\0"})), "id: a NUL character"),
        (with(json!({"type": "order paid"})), "type: must be a word"),
        (with(json!({"type": null})), "type: missing"),
        (with(json!({"occurred_at": "yesterday"})), "occurred_at: must be a time"),
        (with(json!({"send_at": "2028-01-01T00:00:00Z"})), "send_at: at most 366 days ahead"),
        (with(json!({"data": [1]})), "data: must be an object"),
        (with(json!({"data": {"a": "x\0"}})), "data.a: a NUL character"),
        (with(json!({"data": {"": 1}})), "data.: a name has"),
        (with(json!({"phone": "12"})), "phone: "),
        (with(json!({"phone": null})), "phone: missing; give phone or segment"),
        (with(json!({"segment": {"all": []}})), "segment: give either phone or segment"),
        (with(json!({"phone": null, "segment": {"feild": "phone"}})), "segment"),
        (
            with(json!({"phone": null, "segment": {"not": {"engagement": "sent", "campaign_id": 99}}})),
            "segment: there is no campaign 99",
        ),
        (with(json!({"phone": null, "segment": "all"})), "segment: must be an object"),
        (with(json!({"cancels": "bad"})), "cancels: an event can't take itself back"),
        (with(json!({"cancels": 5})), "cancels: must be a text"),
        (with(json!({"phnoe": 1, "priority": 2})), "phnoe: unknown field; priority: unknown field"),
        (with(json!({"data": {"long": "x".repeat(17_000)}})), "longer than 16384 bytes"),
        ("'; DROP TABLE triggers; --".to_owned(), "not JSON"),
    ];
    let mut body = Vec::new();
    for (number, (line, _)) in bad.iter().enumerate() {
        body.extend(format!("{}\n{line}\n", paid(&format!("good{number}"), "+14155550101")).into_bytes());
    }
    body.extend(b"\xff\xfe{}\n".iter());
    body.extend(paid("last", "+14155550101").to_string().into_bytes());
    let answer = post_raw(&app, NDJSON, body).await.expect(200);
    let results = answer["results"].as_array().unwrap();
    for (number, (line, why)) in bad.iter().enumerate() {
        let (good, bad) = (&results[2 * number], &results[2 * number + 1]);
        assert_eq!((&good["result"], &good["line"]), (&json!("accepted"), &json!(2 * number + 1)), "{good}");
        assert_eq!((&bad["result"], &bad["line"]), (&json!("rejected"), &json!(2 * number + 2)), "{bad}");
        assert!(bad["message"].as_str().unwrap().contains(why), "{line:.200} got {bad}");
    }
    assert_eq!(results[2 * bad.len()]["message"].as_str().map(|text| text.contains("not JSON")), Some(true));
    assert_eq!(
        (&answer["accepted"], &answer["rejected"], &answer["duplicate"]),
        (&json!(bad.len() + 1), &json!(bad.len() + 1), &json!(0))
    );
    assert_eq!(results.iter().filter(|result| result["id"] == "bad").count(), 16);
    // A rejected id is free: the line may come again, mended.
    assert_eq!(words(&post(&app, &[paid("bad", "+14155550101")]).await), ["accepted"]);
}

#[actix_web::test]
async fn lines_and_arrays_say_the_same() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let array = json!([paid("a1", "+14155550101"), {"id": "a2"}, paid("a3", "+14155550101")]);
    let answer = post_raw(&app, "application/json", format!(" {array:#}\n")).await.expect(200);
    assert_eq!(words(&answer), ["accepted", "rejected", "accepted"]);
    assert_eq!(answer["results"][2]["line"], 3);
    for content_type in ["application/jsonl", "application/x-ndjson; charset=utf-8"] {
        let body = format!("\u{feff}\r\n\n{}\r\n", paid(content_type, "+14155550101"));
        let answer = post_raw(&app, content_type, body).await.expect(200);
        assert_eq!((words(&answer), &answer["results"][0]["line"]), (vec!["accepted"], &json!(3)));
    }
    for (content_type, body) in [("application/json", "[]"), (NDJSON, ""), (NDJSON, "\n\n")] {
        let nothing = json!({"accepted": 0, "duplicate": 0, "rejected": 0, "results": []});
        assert_eq!(post_raw(&app, content_type, body).await.expect(200), nothing);
    }
    post_raw(&app, "text/csv", "id,type").await.problem(415);
    post_raw(&app, "application/json", "").await.problem(400);
    post_raw(&app, "application/json", "nonsense").await.problem(400);
    assert_eq!(post_raw(&app, "application/json", paid("x", "+1").to_string()).await.fields(), [""]);
    let query = app.request("POST", "/triggers?dry_run=1").header("content-type", NDJSON).body("");
    assert_eq!(send(query).await.fields(), ["dry_run"]);
}

#[actix_web::test]
async fn an_array_that_breaks_off_is_taken_up_to_there_and_says_so() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let (one, two) = (paid("1", "+14155550101"), paid("2", "+14155550101"));
    for (number, rest) in
        [", {\"id\": \"x\" \"type\"}, {}]", ",", "", "] trailing", ",]"].into_iter().enumerate()
    {
        let mut one = one.clone();
        one["id"] = json!(format!("one {number}"));
        let mut two = two.clone();
        two["id"] = json!(format!("two {number}"));
        let answer = post_raw(&app, "application/json", format!("[{one},{two}{rest}")).await.expect(200);
        let results = answer["results"].as_array().unwrap();
        if rest.is_empty() {
            // Without its end it can't be known whether the second one is whole.
            assert_eq!(words(&answer), ["accepted", "rejected"], "{answer}");
        } else {
            assert_eq!(words(&answer), ["accepted", "accepted", "rejected"], "{rest:?}: {answer}");
        }
        let last = results.last().unwrap();
        assert!(last["message"].as_str().unwrap().contains("nothing behind this was taken"), "{last}");
    }
}

#[actix_web::test]
async fn without_a_campaign_an_event_is_kept_and_a_later_launch_sends_nothing_for_it() {
    let app = TestApp::start().await;
    let kept = post(&app, &[paid("e1", "+14155550101")]).await;
    assert_eq!((words(&kept), &kept["results"][0]["message"]), (vec!["accepted"], &Value::Null));
    assert!(kept["results"][0]["note"].as_str().unwrap().contains("No campaign that runs"), "{kept}");
    running(&app, "paid", "order.paid", json!({})).await;
    assert_eq!(words(&post(&app, &[paid("e1", "+14155550101")]).await), ["duplicate"]);
    assert_eq!(count(&app, "SELECT count(*) FROM messages"), 0);
    let counted = json!({"definition": {"trigger": "order.paid"}});
    assert_eq!(app.post("/segments/preview", &counted).await.expect(200)["count"], 1);
    // One that was ended starts nothing either.
    app.post("/campaigns/1/cancel", &json!({})).await.expect(200);
    let ended = post(&app, &[paid("e2", "+14155550101")]).await;
    assert_eq!(ended["results"][0]["message"], Value::Null);
}

#[actix_web::test]
async fn a_paused_campaign_queues_and_goes_on_with_it() {
    let app = TestApp::start().await;
    let id = running(&app, "paid", "order.paid", json!({})).await;
    app.post(&format!("/campaigns/{id}/pause"), &json!({})).await.expect(200);
    let queued = post(&app, &[paid("e1", "+14155550101")]).await;
    assert_eq!(queued["results"][0]["message"]["status"], "queued");
    assert!(queued["results"][0]["note"].as_str().unwrap().contains("paused"), "{queued}");
    let resumed = app.post(&format!("/campaigns/{id}/resume"), &json!({})).await.expect(200);
    assert_eq!(resumed["status"], "running", "it has no audience to freeze");
}

#[actix_web::test]
async fn people_whom_a_campaign_leaves_out_get_nothing() {
    let app = TestApp::start().await;
    app.post("/users", &json!({"phone": "+14155550101", "attributes": {"vip": true}})).await.expect(201);
    let vip = json!({"attribute": "vip", "operator": "equals", "value": true});
    let segment = app.add_segment("vip", vip).await;
    running(&app, "paid", "order.paid", json!({"exclude_segment_ids": [segment]})).await;
    let answer = post(&app, &[paid("e1", "+14155550101"), paid("e2", "+14155550102")]).await;
    assert_eq!(answer["results"][0]["message"], Value::Null);
    assert!(answer["results"][0]["note"].as_str().unwrap().contains("leaves this person out"));
    assert_eq!(answer["results"][1]["message"]["status"], "queued");
}

fn cancelling(id: &str, target: &str) -> Value {
    json!({"id": id, "type": "order.cancelled", "cancels": target})
}

#[actix_web::test]
async fn an_event_takes_another_one_back() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let answer =
        post(&app, &[paid("e1", "+14155550101"), cancelling("c1", "e1"), cancelling("c2", "e1")]).await;
    assert_eq!(words(&answer), ["accepted"; 3]);
    assert_eq!(
        (&answer["results"][1]["cancelled"], &answer["results"][2]["cancelled"]),
        (&json!(1), &json!(0))
    );
    assert!(answer["results"][2]["note"].as_str().unwrap().contains("taken back before, by c1"));
    let message = app.get("/messages/1").await.expect(200);
    assert_eq!((&message["status"], &message["reason"]), (&json!("cancelled"), &json!("trigger_cancelled")));
    assert_eq!(message["events"][0]["data"]["cancelled_by"], "c1");
    let told = app.get("/events?types=trigger.cancelled").await.expect(200);
    assert_eq!(
        (&told["data"][0]["data"]["id"], &told["data"][0]["phone"]),
        (&json!("e1"), &json!("+14155550101"))
    );
    assert_eq!(told["data"].as_array().unwrap().len(), 1);
    // One event may replace another.
    let mut moved = paid("e3", "+14155550101");
    moved["cancels"] = json!("e2");
    let answer = post(&app, &[paid("e2", "+14155550101"), moved]).await;
    assert_eq!(answer["results"][1]["cancelled"], 1);
    assert_eq!(answer["results"][1]["message"]["status"], "queued");
    // What has left is not taken back, and nobody says that it was.
    app.store
        .write(|tx| {
            Ok::<_, event_stream_engine::store::StoreError>(
                tx.conn().execute("UPDATE messages SET status = 'sent' WHERE occasion = 'e3'", [])?,
            )
        })
        .await
        .unwrap();
    let late = post(&app, &[cancelling("c3", "e3")]).await;
    assert_eq!(late["results"][0]["cancelled"], 0);
    assert!(late["results"][0]["note"].as_str().unwrap().contains("had left already"), "{late}");
}

#[actix_web::test]
async fn a_cancel_that_comes_before_its_event_holds() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let early = post(&app, &[cancelling("c1", "e1")]).await;
    assert!(
        early["results"][0]["note"].as_str().unwrap().contains("If it comes, it starts nothing"),
        "{early}"
    );
    let late = post(&app, &[paid("e1", "+14155550101"), paid("e2", "+14155550101")]).await;
    assert_eq!(words(&late), ["accepted", "accepted"]);
    assert_eq!(late["results"][0]["message"], Value::Null);
    assert!(late["results"][0]["note"].as_str().unwrap().contains("c1 took this event back"), "{late}");
    assert_eq!(late["results"][1]["message"]["status"], "queued");
}

#[actix_web::test]
async fn nothing_is_taken_while_the_set_up_is_incomplete_or_the_scope_is_missing() {
    let app = TestApp::with_config("").await;
    assert_eq!(
        post_raw(&app, NDJSON, lines(&[paid("e1", "+1")])).await.problem(409)["code"],
        "setup_incomplete"
    );
    use event_stream_engine::store::api_keys::Scope;
    let app = TestApp::start().await;
    let key = app.add_key(&[Scope::Read, Scope::Write], None).await;
    let request = app.bare("POST", "/api/v1/triggers").bearer_auth(key).header("content-type", NDJSON);
    assert_eq!(send(request.body(lines(&[paid("e1", "+1")]))).await.problem(403)["missing_scope"], "send");
}

#[actix_web::test]
async fn the_same_request_again_gets_the_same_answer() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let request = |body: String| {
        send(
            app.request("POST", "/triggers")
                .header("content-type", NDJSON)
                .header("idempotency-key", "k")
                .body(body),
        )
    };
    let body = lines(&[paid("e1", "+14155550101"), json!({"id": "e2"})]);
    let first = request(body.clone()).await;
    let again = request(body.clone()).await;
    assert_eq!((first.status, &first.text), (200, &again.text));
    assert_eq!(request(lines(&[paid("e3", "+14155550101")])).await.fields(), ["Idempotency-Key"]);
    assert_eq!(
        words(&post(&app, &[paid("e3", "+14155550101")]).await),
        ["accepted"],
        "nothing of it was taken"
    );
    let other = lines(&[paid("e4", "+14155550101")]);
    let at_once = |body: String| {
        send(
            app.request("POST", "/triggers")
                .header("content-type", NDJSON)
                .header("idempotency-key", "l")
                .body(body),
        )
    };
    let (first, second) = tokio::join!(at_once(other.clone()), at_once(other.clone()));
    assert_eq!((first.status, &first.text), (200, &second.text));
    // Without the key, a repetition is told line by line.
    assert_eq!(words(&post_raw(&app, NDJSON, body).await.expect(200)), ["duplicate", "rejected"]);
}

/// Whether the answer is there to its last byte.
fn is_whole(raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw);
    text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        head.lines()
            .filter_map(|line| line.strip_prefix("content-length: "))
            .any(|length| length.parse() == Ok(body.len()))
    })
}

/// Posts a body of unknown length that is produced while it is sent, and reads the answer, which may come before
/// its end.
async fn post_streamed(app: &TestApp, pieces: impl Iterator<Item = String>) -> Answer {
    let mut socket = TcpStream::connect(app.base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /api/v1/triggers HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: {NDJSON}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        app.key
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut from, mut to) = socket.into_split();
    let sending = async {
        for piece in pieces {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            if to.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let _ = to.write_all(b"0\r\n\r\n").await;
        std::future::pending::<()>().await;
    };
    let mut raw = Vec::new();
    let reading = async {
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            raw.extend_from_slice(&buffer[..n]);
            if is_whole(&raw) {
                break;
            }
        }
    };
    // A server that cuts a body off answers before all of it was sent.
    tokio::select! {
        () = sending => {}
        () = reading => {}
    }
    let raw = String::from_utf8(raw).unwrap();
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let mut head = head.lines();
    let status = head.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = head
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect::<HeaderMap>();
    assert!(!headers.contains_key("transfer-encoding"), "the answer has a length");
    Answer { status, headers, text: body.to_owned() }
}

#[actix_web::test]
async fn ten_thousand_lines_are_taken_as_they_come() {
    let app = TestApp::start().await;
    running(&app, "paid", "order.paid", json!({})).await;
    let line = |n: usize| format!("{}\n", paid(&format!("e{n}"), &format!("+1415555{:04}", n % 1_000 + 100)));
    let answer = post_streamed(&app, (0..10_000).map(line)).await.expect(200);
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(10_000), &json!(0)));
    let results = answer["results"].as_array().unwrap();
    assert!(results.iter().zip(1..).all(|(result, line)| result["line"] == line));
    assert_eq!(count(&app, "SELECT count(*) FROM messages WHERE status = 'queued'"), 10_000);
    assert_eq!(count(&app, "SELECT n FROM campaign_counts WHERE status = 'queued'"), 10_000);
    let (batches, closures) = app.store.commits();
    assert!(closures < 5_000, "{closures} writes in {batches} commits");
}

#[actix_web::test]
async fn a_body_beyond_the_limits_is_cut_off_and_says_what_was_taken() {
    let app = TestApp::start().await;
    let refused = post_streamed(&app, (0..501).map(|_| "7\n".repeat(100))).await.problem(413);
    assert_eq!(refused["taken_so_far"], json!({"accepted": 0, "duplicate": 0, "rejected": 50_000}));
    let announced = app
        .request("POST", "/triggers")
        .header("content-type", NDJSON)
        .header("content-length", (64 * 1024 * 1024 + 1).to_string())
        .body(" ".repeat(64 * 1024 * 1024 + 1));
    // Nobody may be listening any more when the last of it is sent.
    assert!(announced.send().await.is_ok_and(|answer| answer.status() == 413));
    // Blank lines count for the length, and lines without end are not held.
    let first = std::iter::once(lines(&[json!({"id": "a", "type": "t", "cancels": "b"})]));
    let endless = first.chain((0..65).map(|_| " ".repeat(1024 * 1024)));
    let refused = post_streamed(&app, endless).await.problem(413);
    assert_eq!(refused["taken_so_far"]["accepted"], 1);
}

#[actix_web::test]
async fn a_long_answer_is_kept_by_its_counts() {
    let app = TestApp::start().await;
    let body: String = (0..4_000).map(|n| format!("{{\"id\": \"e{n}\"}}\n")).collect();
    let request = || {
        let request = app.request("POST", "/triggers").header("content-type", NDJSON);
        send(request.header("idempotency-key", "long").body(body.clone()))
    };
    let first = request().await.expect(200);
    assert_eq!(first["results"].as_array().unwrap().len(), 4_000);
    let again = request().await.expect(200);
    assert_eq!((&again["rejected"], &again["results"]), (&json!(4_000), &json!([])));
    assert!(again["note"].as_str().unwrap().contains("without the key"), "{again}");
    assert!(count(&app, "SELECT max(length(body)) FROM idempotency_keys") < 1_000);
}
