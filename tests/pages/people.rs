//! People: found, shown, changed one by one and many at once, and never more than the viewer may.

use std::sync::atomic::AtomicBool;

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::people::{self, BulkPace};
use event_stream_engine::store::ledger::ConsentChange;
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{StoreError, topics};
use serde_json::{Value, json};

use crate::visitor::{Seen, Visitor};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

/// Adds a person and lets the search know.
async fn add(visitor: &Visitor, phone: &str, attributes: Value, consent: Consent) -> i64 {
    let phone = phone.to_owned();
    let id = visitor
        .app
        .store
        .write::<_, _, StoreError>(move |tx| {
            let change = ConsentChange {
                state: consent,
                source: "test",
                actor: "test",
                evidence: None,
                obtained_at: None,
            };
            let new = NewUser {
                phone: Some(&phone),
                channel_address: None,
                country: Some("US"),
                attributes: attributes.as_object().unwrap(),
                consent: Some(change),
                actor: "test",
                import: None,
            };
            users::insert(tx, &new)
        })
        .await
        .unwrap();
    people::index(&visitor.app.store, &AtomicBool::new(false)).await.unwrap();
    id
}

async fn run_bulk(visitor: &Visitor) {
    people::run_bulk(&visitor.app.store, &BulkPace::default()).await.unwrap();
}

/// The value of one cell.
async fn value<T: rusqlite::types::FromSql + Send + 'static>(visitor: &Visitor, sql: &str) -> T {
    let sql = sql.to_owned();
    let read =
        move |conn: &rusqlite::Connection| Ok::<T, StoreError>(conn.query_row(&sql, [], |row| row.get(0))?);
    visitor.app.store.read(read).await.unwrap()
}

/// A page that is there, within its budget.
async fn page(visitor: &Visitor, path: &str) -> String {
    let seen = visitor.get(path).await;
    assert_eq!(seen.status, 200, "{path}: {}", seen.text);
    assert!(seen.text.len() <= 100 * 1024, "{path} has {} bytes", seen.text.len());
    seen.text.replace("&#x2f;", "/")
}

/// Posts the form of a page with these fields in place of its own.
async fn send(visitor: &Visitor, on: &str, to: &str, fields: &[(&str, &str)]) -> Seen {
    let mut form = visitor.get(on).await.form_to(to);
    for (name, _) in fields {
        form.retain(|(given, _)| given != name);
    }
    form.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    visitor.post(to, &form).await
}

#[tokio::test]
async fn people_are_found_as_one_types_and_every_filter_can_be_taken_off() {
    let visitor = Visitor::operator().await;
    let empty = page(&visitor, "/admin/users").await;
    assert!(empty.contains("Nobody here yet") && empty.contains("/admin/imports/new"));
    let ana =
        add(&visitor, "+14155550101", json!({"name": "Ána Perera", "city": "Galle"}), Consent::OptIn).await;
    let bo =
        add(&visitor, "+94771234567", json!({"first_name": "Bo", "last_name": "Silva"}), Consent::Stop).await;
    let (ana, bo) = (format!("/admin/users/{ana}\""), format!("/admin/users/{bo}\""));
    for (query, finds_ana, finds_bo) in [
        ("", true, true),
        ("?q=ana", true, false),
        ("?q=PER", true, false),
        ("?q=silva+bo", false, true),
        ("?q=0101", true, false),
        ("?q=415+555", true, false),
        ("?q=077+123", false, true),
        ("?consent=stop", false, true),
        ("?topic=general", true, false),
        ("?attribute.city=Galle", true, false),
        ("?attribute.city=", true, false),
        ("?heard=never", true, true),
        ("?q=nobody", false, false),
    ] {
        let found = page(&visitor, &format!("/admin/users{query}")).await;
        assert_eq!((found.contains(&ana), found.contains(&bo)), (finds_ana, finds_bo), "{query}");
    }
    let found = page(&visitor, "/admin/users?q=ana&consent=opt_in&attribute.city=Galle").await;
    for way in [
        "/admin/users?consent=opt_in&amp;attribute.city=Galle",
        "/admin/users?q=ana&amp;attribute.city=Galle",
        "/admin/users?q=ana&amp;consent=opt_in\"",
    ] {
        assert!(found.contains(way), "{way}: {found}");
    }
    // The form leaves blanks behind: the address is told without them.
    let seen = visitor.get("/admin/users?q=ana&consent=&topic=&attribute=city&value=Galle").await;
    assert_eq!(seen.location(), "/admin/users?q=ana&attribute.city=Galle");
}

#[tokio::test]
async fn a_filter_that_can_not_be_read_shows_nobody() {
    let visitor = Visitor::operator().await;
    add(&visitor, "+14155550101", json!({"name": "Ana"}), Consent::OptIn).await;
    for query in ["conset=opt_in", "consent=yes", "topic=gone", "segment=99", "country=Ceylon"] {
        let seen = visitor.get(&format!("/admin/users?{query}")).await;
        assert_eq!(seen.status, 422, "{query}");
        assert!(!seen.text.contains("Ana<"), "{query}");
        assert!(visitor.get(&format!("/admin/users/export?{query}")).await.status >= 400, "{query}");
        assert!(visitor.get(&format!("/admin/users/bulk?{query}")).await.status >= 400, "{query}");
    }
}

#[tokio::test]
async fn a_viewer_sees_no_whole_number_and_changes_nothing() {
    let operator = Visitor::operator().await;
    let id = add(&operator, "+14155550101", json!({"name": "Ana"}), Consent::OptIn).await;
    let viewer = operator.viewer().await;
    for path in
        ["/admin/users".to_owned(), format!("/admin/users/{id}"), format!("/admin/users/{id}/explain")]
    {
        let seen = page(&viewer, &path).await;
        assert!(seen.contains("+1 415 ··· ··01") || path.ends_with("explain"), "{path}: {seen}");
        for whole in ["555 0101", "5550101"] {
            assert!(!seen.contains(whole), "{path} shows {whole}");
        }
        for forbidden in ["/edit\"", "/bulk", "/erase", "/export", "Add person"] {
            assert!(!seen.contains(forbidden), "{path} offers {forbidden}");
        }
    }
    for path in ["edit", "consent", "suppress", "erase", "proof", "export"] {
        assert_eq!(viewer.get(&format!("/admin/users/{id}/{path}")).await.status, 403, "{path}");
    }
    assert_eq!(
        operator.get(&format!("/admin/users/{id}/erase")).await.status,
        403,
        "an operator does not erase"
    );
    for path in ["new", "bulk", "export"] {
        assert_eq!(viewer.get(&format!("/admin/users/{path}")).await.status, 403, "{path}");
    }
    let csrf = viewer.get("/admin").await.text;
    let csrf = csrf.split("name=\"_csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for path in ["edit", "consent", "topics", "reachable", "suppress", "unsuppress", "erase"] {
        let form = [("_csrf".to_owned(), csrf.clone())];
        assert_eq!(viewer.post(&format!("/admin/users/{id}/{path}"), &form).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn what_strangers_wrote_is_text_on_every_page() {
    let visitor = Visitor::operator().await;
    let attributes = json!({"name": HOSTILE, HOSTILE: HOSTILE, "list": [HOSTILE]});
    let id = add(&visitor, "+14155550101", attributes, Consent::OptIn).await;
    visitor
        .app
        .store
        .write::<_, _, StoreError>(move |tx| {
            tx.conn().execute(
                "INSERT INTO inbound (message_sid, state, source, user_id, body, kind, channel, received_at)
                 VALUES ('SM1', 'done', 'webhook', ?1, ?2, 'message', 'sms', 5)",
                (id, HOSTILE),
            )?;
            users::note_inbound(tx, id, 5, false)?;
            topics::insert(tx, HOSTILE, false)?;
            Ok(())
        })
        .await
        .unwrap();
    let sought: String = form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    for path in [
        "/admin/users".to_owned(),
        format!("/admin/users?q={sought}"),
        format!("/admin/users?attribute.name={sought}"),
        format!("/admin/users?column={sought}"),
        format!("/admin/users/{id}"),
        format!("/admin/users/{id}?show=messages"),
        format!("/admin/users/{id}/edit"),
        format!("/admin/users/{id}/consent"),
        format!("/admin/users/{id}/explain"),
        "/admin/users/new".to_owned(),
        format!("/admin/users/bulk?attribute.name={sought}"),
    ] {
        let seen = page(&visitor, &path).await;
        assert!(!seen.contains("<script>alert") && !seen.contains("<img src=x"), "{path}: {seen}");
    }
    assert!(page(&visitor, &format!("/admin/users/{id}")).await.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn a_person_is_added_once_and_nothing_that_was_typed_is_lost() {
    let visitor = Visitor::operator().await;
    let fields =
        [("phone", "12"), ("attribute", "city"), ("type", "number"), ("text", "Galle"), ("state", "opt_in")];
    let seen = send(&visitor, "/admin/users/new", "/admin/users", &fields).await;
    assert_eq!(seen.status, 422);
    assert!(seen.text.contains("value=\"12\"") && seen.text.contains("Galle"), "{}", seen.text);
    assert!(seen.text.contains("is no number") && seen.text.contains("e-phone"), "{}", seen.text);
    let fields = [
        ("phone", "(415) 555-0101"),
        ("default_region", "US"),
        ("attribute", "city"),
        ("type", "text"),
        ("text", "Galle"),
        ("state", "opt_in"),
        ("source", "paper form"),
        ("evidence", "Yes, text me."),
        ("obtained_on", "2026-03-04"),
        ("topics", "general"),
    ];
    let seen = send(&visitor, "/admin/users/new", "/admin/users", &fields).await;
    let person = seen.location().to_owned();
    let shown = page(&visitor, &person).await;
    for text in [
        "+1 415 555 0101",
        "Galle",
        "Opted in",
        "paper form",
        "Yes, text me.",
        "Recorded by operator@example.com",
    ] {
        assert!(shown.contains(text) || text.starts_with("Recorded"), "{text}: {shown}");
    }
    // The same number again leads to the same person.
    let again = send(&visitor, "/admin/users/new", "/admin/users", &[("phone", "+14155550101")]).await;
    assert_eq!(again.location(), person);
    assert_eq!(value::<i64>(&visitor, "SELECT count(*) FROM users").await, 1);
}

#[tokio::test]
async fn attributes_keep_their_types_and_a_change_in_between_is_not_written_over() {
    let visitor = Visitor::operator().await;
    let attributes = json!({"name": "Ana", "points": 280, "vip": true, "tags": ["a", "b"], "born": "1990-02-03",
                            "note": null, "deep": {"x": [1]}});
    let id = add(&visitor, "+14155550101", attributes.clone(), Consent::OptIn).await;
    let edit = format!("/admin/users/{id}/edit");
    let kept = "SELECT json(attributes) FROM users";
    let form = visitor.get(&edit).await.form_to(&edit);
    // As it stands it changes nothing, and is no event.
    assert_eq!(visitor.post(&edit, &form).await.location(), format!("/admin/users/{id}"));
    let now: Value = serde_json::from_str(&value::<String>(&visitor, kept).await).unwrap();
    assert_eq!(now, attributes);
    assert_eq!(value::<i64>(&visitor, "SELECT count(*) FROM events WHERE type = 'user.updated'").await, 0);
    // Two people open it; the second to save is told, and keeps what was typed.
    let mut first = visitor.get(&edit).await.form_to(&edit);
    let mut second = visitor.get(&edit).await.form_to(&edit);
    let set = |form: &mut Vec<(String, String)>, attribute: &str, field: &str, to: &str| {
        let at = form.iter().position(|(name, value)| name == "attribute" && value == attribute).unwrap();
        let found = form[at..].iter_mut().find(|(name, _)| name == field).unwrap();
        found.1 = to.to_owned();
    };
    set(&mut first, "points", "text", "1,300");
    set(&mut first, "vip", "text", "no");
    set(&mut first, "tags", "text", "a\r\nc, d");
    set(&mut first, "born", "type", "remove");
    set(&mut second, "name", "text", "Anabel");
    assert_eq!(visitor.post(&edit, &first).await.status, 303);
    let now: Value = serde_json::from_str(&value::<String>(&visitor, kept).await).unwrap();
    assert_eq!(
        now,
        json!({"name": "Ana", "points": 1300, "vip": false, "tags": ["a", "c, d"], "note": null, "deep": {"x": [1]}})
    );
    let late = visitor.post(&edit, &second).await;
    assert_eq!(late.status, 409);
    assert!(
        late.text.contains("changed this person meanwhile") && late.text.contains("Anabel"),
        "{}",
        late.text
    );
    // What can't be kept is told beside its field.
    let mut wrong = visitor.get(&edit).await.form_to(&edit);
    set(&mut wrong, "points", "text", "many");
    let refused = visitor.post(&edit, &wrong).await;
    assert_eq!(refused.status, 422);
    assert!(
        refused.text.contains("is no number") && refused.text.contains("many</textarea>"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_consent_is_recorded_with_its_words_and_a_stop_stays() {
    let visitor = Visitor::operator().await;
    let id = add(&visitor, "+14155550101", json!({"name": "Ana"}), Consent::Unknown).await;
    let path = format!("/admin/users/{id}/consent");
    let bare = send(&visitor, &path, &path, &[("state", "opt_in")]).await;
    assert_eq!(bare.status, 422);
    assert!(bare.text.contains("e-evidence"), "{}", bare.text);
    let future = [("state", "opt_in"), ("evidence", "yes"), ("obtained_on", "2099-01-01")];
    assert!(send(&visitor, &path, &path, &future).await.text.contains("Lies in the future."));
    let given = [("state", "opt_in"), ("evidence", "Yes, text me."), ("source", "by phone")];
    assert_eq!(send(&visitor, &path, &path, &given).await.location(), format!("/admin/users/{id}"));
    let row = "SELECT state || ' ' || source || ' ' || evidence || ' ' || actor FROM consent_ledger ORDER BY id DESC LIMIT 1";
    let told: String = value(&visitor, row).await;
    assert!(told.starts_with("opt_in by phone Yes, text me. operator:"), "{told}");
    // An old page of before the STOP can't undo it.
    let mut old = visitor.get(&path).await.form_to(&path);
    old.iter_mut().find(|(name, _)| name == "evidence").unwrap().1 = "on paper".to_owned();
    assert_eq!(
        send(&visitor, &path, &path, &[("state", "stop"), ("evidence", "asked by phone")]).await.status,
        303
    );
    let refused = visitor.post(&path, &old).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("by texting START"), "{}", refused.text);
    assert_eq!(value::<String>(&visitor, "SELECT consent FROM users").await, "stop");
}

#[tokio::test]
async fn topics_suppression_and_a_dead_number_are_changed_with_a_click() {
    let visitor = Visitor::operator().await;
    let id = add(&visitor, "+14155550101", json!({"name": "Ana"}), Consent::OptIn).await;
    let person = format!("/admin/users/{id}");
    visitor
        .app
        .store
        .write::<_, _, StoreError>(move |tx| users::set_reachable(tx, id, Some("30005"), "test"))
        .await
        .unwrap();
    let to = |end: &str| format!("{person}/{end}");
    assert_eq!(send(&visitor, &person, &to("topics"), &[]).await.status, 303);
    assert_eq!(value::<String>(&visitor, "SELECT state FROM subscriptions").await, "unsubscribed");
    assert_eq!(send(&visitor, &person, &to("topics"), &[]).await.status, 303);
    assert_eq!(value::<String>(&visitor, "SELECT state FROM subscriptions").await, "subscribed");
    assert_eq!(send(&visitor, &person, &to("reachable"), &[]).await.status, 303);
    assert_eq!(value::<i64>(&visitor, "SELECT reachable FROM users").await, 1);
    let nothing = send(&visitor, &to("suppress"), &to("suppress"), &[("reason", "")]).await;
    assert_eq!(nothing.status, 422);
    assert_eq!(
        send(&visitor, &to("suppress"), &to("suppress"), &[("reason", "complaint")]).await.status,
        303
    );
    assert_eq!(value::<i64>(&visitor, "SELECT suppressed FROM users").await, 1);
    let shown = page(&visitor, &person).await;
    for text in ["Suppressed", "After a complaint", "Left “general”", "Joined “general”", "Number cleared"]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert_eq!(send(&visitor, &person, &to("unsuppress"), &[]).await.status, 303);
    assert_eq!(value::<i64>(&visitor, "SELECT suppressed FROM users").await, 0);
}

#[tokio::test]
async fn an_action_on_many_says_how_many_and_leaves_stop_alone() {
    let visitor = Visitor::operator().await;
    for i in 0..30 {
        let consent = if i % 10 == 0 { Consent::Stop } else { Consent::OptIn };
        let city = if i < 20 { "Galle" } else { "Kandy" };
        add(&visitor, &format!("+141555501{i:02}"), json!({"name": format!("P{i}"), "city": city}), consent)
            .await;
    }
    let list = page(&visitor, "/admin/users?attribute.city=Galle").await;
    assert!(list.contains("Do for all 20…"), "{list}");
    let ask = "/admin/users/bulk?attribute.city=Galle";
    let shown = page(&visitor, ask).await;
    for text in ["20 people fit", "Do it for 20 people", "city is Galle", "The newest 10 of them"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let bare = send(&visitor, ask, "/admin/users/bulk", &[("action", "consent"), ("state", "opt_out")]).await;
    assert_eq!(bare.status, 422, "without a reason");
    let stop = [("action", "consent"), ("state", "stop"), ("reason", "x")];
    assert_eq!(send(&visitor, ask, "/admin/users/bulk", &stop).await.status, 422);
    let fields = [("action", "consent"), ("state", "opt_out"), ("reason", "the shop in Galle closed")];
    let seen = send(&visitor, ask, "/admin/users/bulk", &fields).await;
    let way = seen.location().to_owned();
    assert!(page(&visitor, &way).await.contains("Stop it here"));
    run_bulk(&visitor).await;
    let done = page(&visitor, &way).await;
    for text in ["Finished", "said STOP", "the shop in Galle closed", "operator@example.com"] {
        assert!(done.contains(text), "{text}: {done}");
    }
    let count = |state: &str| format!("SELECT count(*) FROM users WHERE consent = '{state}'");
    assert_eq!(value::<i64>(&visitor, &count("opt_out")).await, 18);
    assert_eq!(value::<i64>(&visitor, &count("stop")).await, 3);
    // What was typed to search is no filter of an action: it may be a number, and actions are kept.
    let fields = [("action", "suppress"), ("reason", "x"), ("filter.q", "P1")];
    let refused = send(&visitor, ask, "/admin/users/bulk", &fields).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("Clear the search first"), "{}", refused.text);
}

#[tokio::test]
async fn from_a_thousand_people_on_their_number_is_typed() {
    let visitor = Visitor::operator().await;
    visitor
        .app
        .store
        .write::<_, _, StoreError>(|tx| {
            tx.conn().execute_batch(
                "INSERT INTO users (phone, consent, attributes, created_at, updated_at)
                   WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
                   SELECT '+1' || (4155550000 + i), 'unknown', jsonb('{\"city\":\"Galle\"}'), 0, 0 FROM n;
                 UPDATE user_counts SET n = 1200 WHERE consent = 'unknown'",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    let ask = "/admin/users/bulk?attribute.city=Galle";
    let fields = [("action", "remove"), ("attribute", "city"), ("reason", "moved")];
    let refused = send(&visitor, ask, "/admin/users/bulk", &fields).await;
    assert_eq!(refused.status, 422);
    assert!(refused.text.contains("1200: that many people change"), "{}", refused.text);
    let typed = [("action", "remove"), ("attribute", "city"), ("reason", "moved"), ("typed", "1,200")];
    assert_eq!(send(&visitor, ask, "/admin/users/bulk", &typed).await.status, 303);
    run_bulk(&visitor).await;
    assert_eq!(
        value::<i64>(&visitor, "SELECT count(*) FROM users WHERE json(attributes) = '{}'").await,
        1_200
    );
    assert_eq!(value::<i64>(&visitor, "SELECT count(*) FROM events WHERE type = 'people.changed'").await, 1);
}

#[tokio::test]
async fn a_sheet_of_people_runs_nothing_in_a_spreadsheet() {
    let visitor = Visitor::operator().await;
    add(
        &visitor,
        "+14155550101",
        json!({"name": "=cmd|'/c calc'!A1", "=key": "-1+1", "n": 5}),
        Consent::OptIn,
    )
    .await;
    add(&visitor, "+14155550102", json!({"name": "Bo, \"B\""}), Consent::Stop).await;
    let seen = visitor.get("/admin/users/export?consent=opt_in").await;
    assert_eq!(seen.status, 200);
    assert!(seen.header("content-disposition").unwrap().contains("people.csv"));
    let lines: Vec<&str> = seen.text.lines().collect();
    assert_eq!(
        lines[0],
        "phone,country,consent,topics,reachable,suppressed,created_at,last_inbound_at,'=key,n,name,more"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("'+14155550101,US,opt_in,general,true,false,"), "{}", lines[1]);
    assert!(lines[1].ends_with(",,'-1+1,5,'=cmd|'/c calc'!A1,"), "{}", lines[1]);
}

#[tokio::test]
async fn an_erased_person_is_found_nowhere() {
    let operator = Visitor::operator().await;
    let admin = Visitor::enter(operator.app.clone(), "admin").await;
    let id = add(&admin, "+14155550101", json!({"name": "Xylophina"}), Consent::OptIn).await;
    let path = format!("/admin/users/{id}/erase");
    let wrong = send(&admin, &path, &path, &[("number", "+14155550102")]).await;
    assert_eq!(wrong.status, 422);
    assert!(!wrong.text.contains("0102"), "{}", wrong.text);
    assert_eq!(send(&admin, &path, &path, &[("number", "+1 415 555 0101")]).await.location(), "/admin/users");
    assert_eq!(admin.get(&format!("/admin/users/{id}")).await.status, 404);
    for query in ["", "?q=xylo", "?q=0101", "?q=%2B1415", "?mark=suppressed"] {
        let seen = page(&admin, &format!("/admin/users{query}")).await;
        assert!(!seen.contains(&format!("/admin/users/{id}\"")), "{query}");
    }
    let words: i64 =
        value(&admin, "SELECT count(*) FROM user_words WHERE user_words MATCH 'xylophina'").await;
    assert_eq!(words, 0);
}

#[tokio::test]
async fn a_timeline_can_be_narrowed_and_goes_on() {
    let visitor = Visitor::operator().await;
    let id = add(&visitor, "+14155550101", json!({"name": "Ana"}), Consent::OptIn).await;
    visitor
        .app
        .store
        .write::<_, _, StoreError>(move |tx| {
            for i in 0..40 {
                let attributes = json!({"name": "Ana", "n": i});
                users::set_attributes(tx, id, attributes.as_object().unwrap(), "operator:1")?;
            }
            users::set_hold(tx, id, Some("review"), "user")
        })
        .await
        .unwrap();
    let all = page(&visitor, &format!("/admin/users/{id}")).await;
    assert!(all.contains("Put on review") && all.contains("Older"), "{all}");
    let consent = page(&visitor, &format!("/admin/users/{id}?show=consent")).await;
    assert!(consent.contains("Put on review") && consent.contains("Opted in, was unknown"));
    assert!(!consent.contains("<b>Changed</b>") && !consent.contains("Older"));
    let changes = page(&visitor, &format!("/admin/users/{id}?show=changes")).await;
    assert_eq!(changes.matches("<b>Changed</b>").count(), 25);
    let older = changes.split("href=\"").find(|way| way.contains("cursor=")).unwrap();
    let older = older.split('"').next().unwrap().replace("&amp;", "&");
    let rest = page(&visitor, &older).await;
    assert_eq!(rest.matches("<b>Changed</b>").count(), 15);
    assert!(rest.contains("<b>Added</b>") && !rest.contains("Older"), "{rest}");
    let messages = page(&visitor, &format!("/admin/users/{id}?show=messages")).await;
    assert!(messages.contains("Nothing of this kind yet."));
}
