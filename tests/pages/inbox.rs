//! The inbox: who wants an answer, what may be answered, and what strangers send.

use std::time::Duration;

use event_stream_engine::domain::consent::{KeywordTable, Replies};
use event_stream_engine::inbound::{self, Heard, Source};
use event_stream_engine::privacy;
use event_stream_engine::simulator::{Inbound, Options, Simulator};
use event_stream_engine::store::StoreError;
use event_stream_engine::twilio::client::{Client, Credentials};
use event_stream_engine::twilio::webhook::InboundForm;
use serde_json::json;

use crate::session::Session;
use crate::support::api::TestApp;

const ANN: &str = "+14155550101";
const OUR_SMS: &str = "+15005550006";
const OUR_WHATSAPP: &str = "whatsapp:+14155238886";
const DAY: i64 = 86_400_000;

/// Somebody at the inbox.
struct Desk {
    session: Session,
    csrf: String,
}

struct Seen {
    status: u16,
    location: String,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Desk {
    async fn open(app: &TestApp, name: &str, role: &'static str) -> Desk {
        let session = Session::begin(&app.store, &app.base, (name, role)).await;
        let mut desk = Desk { session: session.in_zone("America/Los_Angeles"), csrf: String::new() };
        let page = desk.get("/admin/inbox").await;
        let at = page.text.split("name=\"_csrf\" value=\"").nth(1).unwrap();
        desk.csrf = at.split('"').next().unwrap().to_owned();
        desk
    }

    async fn get(&self, path: &str) -> Seen {
        Desk::seen(self.session.get(path).await).await
    }

    /// A page that is there, within its budget.
    async fn page(&self, path: &str) -> String {
        let seen = self.get(path).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text);
        assert!(seen.text.len() <= 100 * 1024, "{path} has {} bytes", seen.text.len());
        seen.text
    }

    /// Posts fields as one click.
    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        self.click(path, fields, &rand::random::<u64>().to_string()).await
    }

    async fn click(&self, path: &str, fields: &[(&str, &str)], once: &str) -> Seen {
        let mut form = vec![("_csrf", self.csrf.as_str()), ("_once", once)];
        form.extend_from_slice(fields);
        Desk::seen(self.session.post(path, &form).await).await
    }

    async fn seen(answer: reqwest::Response) -> Seen {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let location = headers.get("location").map(|value| value.to_str().unwrap().to_owned());
        // Templates write a slash so; to a browser it is the same.
        let text = String::from_utf8_lossy(&answer.bytes().await.unwrap()).replace("&#x2f;", "/");
        Seen { status, location: location.unwrap_or_default(), headers, text }
    }
}

/// A message from a person comes in.
async fn write(app: &TestApp, from: &str, body: &str) {
    write_with(app, from, body, Vec::new()).await;
}

async fn write_with(app: &TestApp, from: &str, body: &str, media: Vec<(String, String)>) {
    let to = if from.starts_with("whatsapp:") { OUR_WHATSAPP } else { OUR_SMS };
    let sid = format!("SM{:032x}", rand::random::<u128>());
    let form = InboundForm {
        message_sid: sid,
        account_sid: "AC00000000000000000000000000000001".to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        body: body.to_owned(),
        opt_out_type: None,
        media,
    };
    let heard = Heard::new(form, &Vec::new(), &KeywordTable::default());
    app.store
        .write(move |tx| inbound::receive(tx, &heard, Source::Webhook, &Replies::default()))
        .await
        .unwrap();
}

/// One value out of the data file.
fn value<T: rusqlite::types::FromSql>(app: &TestApp, sql: &str) -> T {
    app.store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
}

fn user_id(app: &TestApp, phone: &str) -> i64 {
    value(app, &format!("SELECT id FROM users WHERE phone = '{phone}'"))
}

fn main_of(page: &str) -> &str {
    page.split("<main").nth(1).unwrap()
}

#[actix_web::test]
async fn a_conversation_is_read_assigned_closed_and_comes_back_when_they_write() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    let empty = mara.page("/admin/inbox").await;
    assert!(empty.contains("Replies arrive here within a second."), "{empty}");
    write(&app, ANN, "Is the shop open?").await;
    let id = user_id(&app, ANN);
    let list = mara.page("/admin/inbox").await;
    assert!(list.contains("1 unread") && list.contains("Is the shop open?"), "{list}");
    assert!(list.contains("<span class=\"visually-hidden\"> unread</span>"));
    let thread = mara.page(&format!("/admin/inbox/{id}")).await;
    for shown in ["Is the shop open?", "+1 415 555 0101", "SMS has no window", "<span>New</span>"] {
        assert!(thread.contains(shown), "{shown} in {thread}");
    }

    let newest: i64 = value(&app, "SELECT max(id) FROM inbound");
    mara.post(&format!("/admin/inbox/{id}/read"), &[("upto", &newest.to_string())]).await;
    let list = mara.page("/admin/inbox").await;
    assert!(list.contains("Everything is read") && !main_of(&list).contains("> unread<"), "{list}");

    let assigned = mara.post(&format!("/admin/inbox/{id}/assign"), &[("operator_id", "me")]).await;
    assert_eq!((assigned.status, assigned.location.as_str()), (303, format!("/admin/inbox/{id}").as_str()));
    assert!(mara.page("/admin/inbox?filter=mine").await.contains("Is the shop open?"));
    let tom = Desk::open(&app, "tom", "viewer").await;
    let viewer: i64 = value(&app, "SELECT id FROM operators WHERE email = 'tom@example.com'");
    let refused =
        mara.post(&format!("/admin/inbox/{id}/assign"), &[("operator_id", &viewer.to_string())]).await;
    assert_eq!(refused.status, 409, "a viewer can't answer");
    assert!(!tom.page("/admin/inbox?filter=mine").await.contains("Is the shop open?"));

    let closed = mara.post(&format!("/admin/inbox/{id}/close"), &[]).await;
    assert_eq!((closed.status, closed.location.as_str()), (303, "/admin/inbox"));
    assert!(!mara.page("/admin/inbox").await.contains("Is the shop open?"));
    assert!(mara.page("/admin/inbox?filter=closed").await.contains("Is the shop open?"));
    write(&app, ANN, "Hello?").await;
    let list = mara.page("/admin/inbox?filter=mine").await;
    assert!(list.contains("Hello?") && list.contains("1 unread"), "still hers: {list}");
    let actors: String = value(
        &app,
        "SELECT group_concat(data ->> '$.changed' || ' ' || (data ->> '$.actor')) FROM events WHERE type = 'conversation.changed'",
    );
    assert_eq!(actors, "assigned operator:1,closed operator:1");
}

#[actix_web::test]
async fn an_answer_goes_out_once_by_the_door_they_came_in_by_and_marks_as_read() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    write(&app, &format!("whatsapp:{ANN}"), "Can I add a second bag?").await;
    let id = user_id(&app, ANN);
    let path = format!("/admin/inbox/{id}/reply");
    for _ in 0..2 {
        let sent = mara.click(&path, &[("body", "Yes, until noon.\r\nSee you")], "one click").await;
        assert_eq!((sent.status, sent.location.as_str()), (303, format!("/admin/inbox/{id}#last").as_str()));
    }
    let row: String = value(
        &app,
        "SELECT group_concat(m.kind || ' ' || m.channel || ' ' || s.address || ' ' || m.status || ' ' || m.body)
         FROM messages m JOIN senders s ON s.id = m.sender_id",
    );
    assert_eq!(row, format!("reply whatsapp {OUR_WHATSAPP} queued Yes, until noon.\nSee you"));
    let author: String =
        value(&app, "SELECT o.email FROM replies r JOIN operators o ON o.id = r.operator_id");
    assert_eq!(author, "mara@example.com");
    assert_eq!(value::<String>(&app, "SELECT state FROM conversations"), "read");
    let thread = mara.page(&format!("/admin/inbox/{id}")).await;
    assert!(thread.contains("Yes, until noon.<br>See you"), "{thread}");
    let again = mara.click(&path, &[("body", "Another")], "one click").await;
    assert_eq!(again.status, 422, "one click is one text");
    let blank = mara.post(&path, &[("body", "  \n")]).await;
    assert!(blank.status == 422 && blank.text.contains("Write something."), "{}", blank.text);
    let long = "x".repeat(1_601);
    let refused = mara.post(&path, &[("body", &long)]).await;
    assert!(refused.status == 422 && refused.text.contains(&long), "what was written is kept");
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM messages"), 1);
}

#[actix_web::test]
async fn after_stop_nothing_can_be_written_and_what_was_written_is_kept() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    write(&app, ANN, "Hi").await;
    let id = user_id(&app, ANN);
    assert!(mara.page(&format!("/admin/inbox/{id}")).await.contains("name=\"body\""));
    write(&app, ANN, "STOP").await;
    let thread = mara.page(&format!("/admin/inbox/{id}")).await;
    assert!(!thread.contains("name=\"body\"") && !thread.contains("template_id"), "{thread}");
    assert!(thread.contains("said STOP on") && thread.contains("Only their own message can reopen this."));
    let refused = mara.post(&format!("/admin/inbox/{id}/reply"), &[("body", "Wait, one thing")]).await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("Wait, one thing") && refused.text.contains("The person said STOP."));
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM messages"), 0);
    write(&app, ANN, "START").await;
    let sent = mara.post(&format!("/admin/inbox/{id}/reply"), &[("body", "Welcome back")]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
}

#[actix_web::test]
async fn the_window_of_whatsapp_closes_to_the_millisecond_and_leaves_templates() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    write(&app, &format!("whatsapp:{ANN}"), "Hi").await;
    let id = user_id(&app, ANN);
    let (page, path) = (format!("/admin/inbox/{id}"), format!("/admin/inbox/{id}/reply"));
    let body = json!({"name": "order", "channel": "whatsapp", "body": "Order {order} is on its way",
        "content_sid": "HX00000000000000000000000000000001", "content_variables": {"1": "{order}"}});
    let template = app.post("/templates", &body).await.expect(201)["id"].to_string();
    assert!(mara.page(&page).await.contains("Open for 1 d"), "a whole day is left");
    app.clock.advance(60_000);
    assert!(mara.page(&page).await.contains("Open for 23 h 59 min"));
    app.clock.advance(DAY - 60_000 - 1);
    let mara = Desk::open(&app, "mara", "operator").await;
    assert!(mara.page(&page).await.contains("name=\"body\""));
    assert_eq!(mara.post(&path, &[("body", "in time")]).await.status, 303);
    app.clock.advance(1);
    let closed = mara.page(&page).await;
    assert!(!closed.contains("name=\"body\"") && closed.contains("Window closed"), "{closed}");
    assert!(closed.contains("WhatsApp took free text until") && closed.contains("var."), "{closed}");
    let late = mara.post(&path, &[("body", "too late")]).await;
    assert!(late.status == 409 && late.text.contains("Send a template instead."), "{}", late.text);
    let lacking = mara.post(&path, &[("template_id", &template)]).await;
    assert!(lacking.status == 409 && lacking.text.contains("needs a value"), "{}", lacking.text);
    let field = format!("var.{template}.order");
    let sent = mara.post(&path, &[("template_id", &template), (&field, "20418")]).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    assert_eq!(mara.post(&path, &[("template_id", "x")]).await.status, 422);
    let kinds: String =
        value(&app, "SELECT group_concat(kind || ' ' || coalesce(body, variables)) FROM messages");
    assert_eq!(kinds, "reply in time,transactional {\"order\":\"20418\"}");
}

#[actix_web::test]
async fn sms_has_no_window() {
    let app = TestApp::start().await;
    write(&app, ANN, "Hi").await;
    let id = user_id(&app, ANN);
    app.clock.advance(DAY);
    let mara = Desk::open(&app, "mara", "operator").await;
    let page = mara.page(&format!("/admin/inbox/{id}")).await;
    assert!(page.contains("Goes out as SMS at once.") && page.contains("SMS has no window"), "{page}");
    assert_eq!(mara.post(&format!("/admin/inbox/{id}/reply"), &[("body", "Good morning")]).await.status, 303);
    assert_eq!(value::<String>(&app, "SELECT kind FROM messages"), "transactional");
}

#[actix_web::test]
async fn an_opt_out_in_other_words_is_decided_with_a_reason_that_the_ledger_keeps() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    let (samir, lena) = ("+14155550102", "+14155550103");
    for phone in [samir, lena] {
        app.add_user(phone, "opt_in").await;
        write(&app, phone, "please stop sending these ok").await;
    }
    let (samir, lena) = (user_id(&app, samir), user_id(&app, lena));
    let queued = app
        .post(
            "/messages",
            &json!({"to": "+14155550102", "channel": "sms", "body": "x", "kind": "transactional"}),
        )
        .await
        .expect(202);
    assert_eq!(queued["status"], "queued");
    let review = mara.page("/admin/inbox/review").await;
    assert!(review.contains("2 possible opt-outs wait for a decision"), "{review}");
    assert!(review.contains(&format!("/admin/inbox/{samir}?filter=review")));
    let path = format!("/admin/inbox/{samir}/judge");
    let bare = mara.post(&path, &[("judgement", "opt_out")]).await;
    assert!(bare.status == 422 && bare.text.contains("the ledger keeps it"), "{}", bare.text);
    let done = mara.post(&path, &[("judgement", "opt_out"), ("reason", "clear words")]).await;
    assert_eq!((done.status, done.location.as_str()), (303, "/admin/inbox/review"));
    let done = mara
        .post(&format!("/admin/inbox/{lena}/judge"), &[("judgement", "not_opt_out"), ("reason", "a joke")])
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    for (id, consent, reason) in [(samir, "stop", "clear words"), (lena, "opt_in", "a joke")] {
        let sql = format!("SELECT consent || ' ' || coalesce(hold, '-') FROM users WHERE id = {id}");
        assert_eq!(value::<String>(&app, &sql), format!("{consent} -"));
        let sql = format!(
            "SELECT actor || ' ' || source || ' ' || state || ' ' || evidence FROM consent_ledger
             WHERE user_id = {id} ORDER BY id DESC LIMIT 1"
        );
        let kept: String = value(&app, &sql);
        assert!(kept.starts_with(&format!("operator:1 operator {consent} ")), "{kept}");
        assert!(kept.contains(reason) && kept.contains("please stop sending these ok"), "{kept}");
    }
    let states: String = value(&app, "SELECT group_concat(status || ' ' || reason) FROM messages");
    assert_eq!(states, "cancelled stop");
    let twice = mara.post(&path, &[("judgement", "not_opt_out"), ("reason", "changed my mind")]).await;
    assert!(twice.status == 409 && twice.text.contains("Nothing waits for a decision here any more."));
    assert!(mara.page("/admin/inbox/review").await.contains("Nothing to decide"));
}

#[actix_web::test]
async fn what_strangers_send_is_text_and_viewers_see_no_number() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    let tom = Desk::open(&app, "tom", "viewer").await;
    let hostile = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&{{ 7*7 }}";
    app.post("/users", &json!({"phone": ANN, "attributes": {"name": hostile, "ci\"ty<": hostile}}))
        .await
        .expect(201);
    let media = vec![
        ("javascript:alert(1)".to_owned(), "image/png\"><script>".to_owned()),
        ("https://evil.example/x".to_owned(), "text/html".to_owned()),
    ];
    write_with(&app, ANN, hostile, media).await;
    write(&app, "whatsapp:US.13491208655302741918", hostile).await;
    app.post("/templates", &json!({"name": hostile, "channel": "sms", "body": "Hi"})).await.expect(201);
    mara.post("/admin/inbox/replies", &[("name", "<b>x</b>"), ("body", "<i>y</i>")]).await;
    let id = user_id(&app, ANN);
    let thread = format!("/admin/inbox/{id}");
    for desk in [&mara, &tom] {
        for path in ["/admin/inbox", &thread, "/admin/inbox/unmatched", "/admin/inbox/replies"] {
            let page = desk.page(path).await;
            for raw in
                ["<script>alert", "<img src=x", "evil.example", "javascript:", "<b>x</b>", "<i>y</i>", "49 "]
            {
                assert!(!page.contains(raw), "{raw} on {path}: {page}");
            }
        }
        assert!(desk.page(&thread).await.contains("&lt;script&gt;"), "shown as text");
    }
    app.post("/users", &json!({"phone": "+14155550177"})).await.expect(201);
    write(&app, "+14155550177", "no name").await;
    let nameless = user_id(&app, "+14155550177");
    for path in ["/admin/inbox".to_owned(), thread, format!("/admin/inbox/{nameless}")] {
        let page = tom.page(&path).await;
        for digits in ["4155550101", "415 555 0101", "4155550177", "415 555 0177", "13491208655302741918"] {
            assert!(!page.contains(digits), "{digits} on {path}");
        }
        assert!(!main_of(&page).contains("<form"), "{path} offers a viewer a form: {page}");
    }
    for action in ["reply", "read", "unread", "close", "reopen", "assign", "judge"] {
        let refused = tom.post(&format!("/admin/inbox/{id}/{action}"), &[("body", "x")]).await;
        assert_eq!(refused.status, 403, "{action}");
    }
    assert_eq!(tom.get(&format!("/admin/inbox/{id}/canned/1")).await.status, 403);
}

#[actix_web::test]
async fn attachments_come_from_twilio_alone_and_do_nothing_in_our_name() {
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), seed: 1, ..Options::default() };
    let simulator = Simulator::start(options.clone()).await.unwrap();
    let app = TestApp::with_config(&format!(
        "[twilio]\naccount_sid = \"{}\"\nauth_token = \"{}\"\napi_base = \"{}\"\n[[senders]]\naddress = \"{OUR_SMS}\"\nkind = \"long_code\"\n",
        options.account_sid,
        options.auth_token,
        simulator.base_url(),
    ))
    .await;
    let tom = Desk::open(&app, "tom", "viewer").await;
    let kinds =
        ["image/png", "image/svg+xml", "text/html", "audio/ogg", "video/mp4 40000000", "image/gif 9000000"];
    let told = simulator
        .inbound_message(Inbound {
            media: kinds.map(str::to_owned).to_vec(),
            deliver: false,
            ..Inbound::text(ANN, OUR_SMS, "")
        })
        .await;
    let client = Client::new(Credentials {
        account_sid: options.account_sid.clone(),
        user: options.account_sid.clone(),
        password: options.auth_token.clone().into(),
        api_base: simulator.base_url().parse().unwrap(),
    })
    .unwrap();
    let mut media: Vec<(String, String)> = client
        .media(&told.message_sid)
        .await
        .unwrap()
        .into_iter()
        .map(|item| (item.url, item.content_type))
        .collect();
    for elsewhere in ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd"] {
        media.push((elsewhere.to_owned(), "image/png".to_owned()));
    }
    // The right server, but nothing of a message: no other path gets our password.
    media.push((format!("{}/_control/messages", simulator.base_url()), "image/png".to_owned()));
    write_with(&app, ANN, "", media).await;
    let id = user_id(&app, ANN);
    let thread = tom.page(&format!("/admin/inbox/{id}")).await;
    assert_eq!(thread.matches("<img ").count(), 5, "the two pictures, and what pretends to be one: {thread}");
    let inbound: i64 = value(&app, "SELECT max(id) FROM inbound");
    let fetch = async |number: usize| tom.get(&format!("/admin/inbox/{id}/media/{inbound}/{number}")).await;
    for (number, kind, disposition) in [
        (0, "image/png", "inline; filename=\"message-1-1.png\""),
        (1, "application/octet-stream", "attachment; filename=\"message-1-2.bin\""),
        (2, "application/octet-stream", "attachment; filename=\"message-1-3.bin\""),
        (3, "application/octet-stream", "attachment; filename=\"message-1-4.ogg\""),
        (5, "image/gif", "inline; filename=\"message-1-6.gif\""),
    ] {
        let seen = fetch(number).await;
        assert_eq!(seen.status, 200, "{number}: {}", seen.text);
        let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
        assert_eq!(
            (header("content-type").as_str(), header("content-disposition").as_str()),
            (kind, disposition)
        );
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("content-security-policy"), "default-src 'none'; sandbox");
        assert!(header("cache-control").starts_with("private"));
    }
    assert_eq!(fetch(4).await.status, 502, "larger than anything that is handed on");
    for number in [6, 7, 8, 9] {
        assert_eq!(fetch(number).await.status, 404, "{number}");
    }
    app.add_user("+14155550150", "unknown").await;
    let other = user_id(&app, "+14155550150");
    assert_eq!(tom.get(&format!("/admin/inbox/{other}/media/{inbound}/0")).await.status, 404, "not theirs");
    simulator.stop().await;
}

#[actix_web::test]
async fn an_erased_person_leaves_no_conversation_behind() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    write(&app, ANN, "My secret").await;
    let id = user_id(&app, ANN);
    mara.post(&format!("/admin/inbox/{id}/reply"), &[("body", "An answer")]).await;
    let exported: i64 = value(&app, "SELECT count(*) FROM conversations");
    assert_eq!(exported, 1);
    privacy::erase(&app.store, id, "operator:1").await.unwrap();
    assert_eq!(value::<i64>(&app, "SELECT count(*) FROM conversations"), 0);
    let gone = mara.get(&format!("/admin/inbox/{id}")).await;
    assert!(gone.status == 404 && gone.text.contains("was erased"), "{}", gone.text);
    assert!(mara.page("/admin/inbox").await.contains("No messages yet"));
    assert_eq!(mara.post(&format!("/admin/inbox/{id}/reply"), &[("body", "x")]).await.status, 404);
    assert_eq!(mara.get("/admin/inbox/999").await.status, 404);
}

#[actix_web::test]
async fn unknown_senders_are_seen_and_become_a_conversation_once_they_are_known() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    let address = "whatsapp:US.13491208655302741918";
    write(&app, address, "Who are you?").await;
    assert!(mara.page("/admin/inbox").await.contains("Unknown senders"));
    let page = mara.page("/admin/inbox/unmatched").await;
    assert!(page.contains("Who are you?") && page.contains("US.13491208655302741918"), "{page}");
}

#[actix_web::test]
async fn canned_replies_are_kept_filled_in_and_not_overwritten() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    app.post("/users", &json!({"phone": ANN, "attributes": {"name": "Ann"}})).await.expect(201);
    write(&app, ANN, "When do you open?").await;
    let id = user_id(&app, ANN);
    let home = "/admin/inbox/replies";
    assert!(mara.page(home).await.contains("No canned replies yet"));
    let broken = mara.post(home, &[("name", "Hours"), ("body", "Hi {name")]).await;
    assert!(broken.status == 422 && broken.text.contains("Hi {name"), "{}", broken.text);
    let text = "Hi {name|default(\"there\")}, we open at 9.";
    assert_eq!(mara.post(home, &[("name", "Hours"), ("body", text)]).await.status, 303);
    let taken = mara.post(home, &[("name", "HOURS"), ("body", "x")]).await;
    assert!(taken.status == 422 && taken.text.contains("There is one of this name already."));
    let filled = mara.get(&format!("/admin/inbox/{id}/canned/1")).await;
    assert_eq!(filled.text, "Hi Ann, we open at 9.");
    assert_eq!(filled.headers["content-type"], "text/plain; charset=utf-8");
    let chosen = mara.page(&format!("/admin/inbox/{id}?canned=1")).await;
    assert!(chosen.contains("\nHi Ann, we open at 9.</textarea>"), "without scripts too: {chosen}");
    let edit = |version: &'static str, body: &'static str| {
        let fields = [("name", "Hours"), ("body", body), ("version", version)];
        let mara = &mara;
        async move { mara.post("/admin/inbox/replies/1", &fields).await }
    };
    assert_eq!(edit("1", "We open at 10.").await.status, 303);
    let stale = edit("1", "We open at 11.").await;
    assert!(stale.status == 409 && stale.text.contains("We open at 11."), "{}", stale.text);
    assert_eq!(mara.post("/admin/inbox/replies/1/remove", &[]).await.status, 303);
    assert_eq!(mara.get("/admin/inbox/replies/1").await.status, 404);
}

#[actix_web::test]
async fn a_new_message_is_on_the_page_within_a_second() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    write(&app, ANN, "first").await;
    let id = user_id(&app, ANN);
    let url = format!("/admin/live/inbox?filter=open&person={id}");
    let mut stream = mara.session.get(&url).await;
    assert_eq!(stream.status().as_u16(), 200);
    let mut text = String::new();
    let mut until = async |wanted: &str, parts: &[&str]| {
        let all = async {
            loop {
                let is_there = |id: &&str| {
                    text.split("\n\n")
                        .any(|frame| frame.starts_with(&format!("event: {id}\n")) && frame.contains(wanted))
                };
                if parts.iter().all(is_there) {
                    return;
                }
                text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(10), all).await;
        assert!(seen.is_ok(), "no {wanted} in {parts:?}");
    };
    until("first", &["inbox-list", "inbox-messages"]).await;
    let began = std::time::Instant::now();
    write(&app, ANN, "second").await;
    until("second", &["inbox-list", "inbox-messages"]).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    write(&app, ANN, "STOP").await;
    until("STOP", &["inbox-window"]).await;
}

#[actix_web::test]
async fn long_lists_and_conversations_stay_within_their_budget_and_go_on_by_links() {
    let app = TestApp::start().await;
    let mara = Desk::open(&app, "mara", "operator").await;
    let words = "Words that fill a line of the list and go on for quite a while. ".repeat(4);
    for n in 0..56 {
        app.clock.advance(1_000);
        write(&app, &format!("+1415555{:04}", 200 + n), &words).await;
    }
    for n in 0..40 {
        app.clock.advance(1_000);
        write(&app, ANN, &format!("{n}: {words}")).await;
    }
    let id = user_id(&app, ANN);
    let list = mara.page("/admin/inbox").await;
    assert!(list.contains("57 unread") && list.contains("href=\"/admin/inbox?cursor="), "{list}");
    let next = list.split("href=\"/admin/inbox?cursor=").nth(1).unwrap().split('"').next().unwrap();
    let rest = mara.page(&format!("/admin/inbox?cursor={next}")).await;
    assert_eq!(rest.matches("<li class=\"unread\">").count(), 7);
    let thread = mara.page(&format!("/admin/inbox/{id}")).await;
    assert!(thread.contains("39: Words") && !thread.contains(">9: Words"), "the newest thirty");
    let link = format!("/admin/inbox/{id}?cursor=");
    let earlier = thread.split(&link).nth(1).map(|rest| rest.split('"').next().unwrap()).unwrap();
    let before = mara.page(&format!("/admin/inbox/{id}?cursor={earlier}")).await;
    assert!(before.contains("9: Words") && before.contains("0: Words") && !before.contains("hx-sse:connect"));
    assert_eq!(mara.get("/admin/inbox?cursor=nonsense").await.status, 422);
    assert_eq!(mara.get("/admin/inbox?filter=wrong").await.status, 422);
}
