//! What people wrote while nobody here listened: fetched from Twilio's list, understood as if it had come in
//! time, and before any marketing goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_stream_engine::domain::consent::{Consent, KeywordTable};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::inbound::{self, CatchUp};
use event_stream_engine::simulator::{Faults, Inbound, Options};
use event_stream_engine::store::ledger::{self, ConsentChange};
use event_stream_engine::store::outcomes::RetryPolicy;
use event_stream_engine::store::users::{self, UserKey};
use event_stream_engine::store::{Gap, StoreError};
use serde_json::{Value, json};

use crate::support::{Engine, SENDER, WHATSAPP_SENDER, Wanted, phone, quick_simulator};

const SERVICE: &str = "MG00000000000000000000000000000001";
const POOL: &str = "+15005550006";
const MINUTE: i64 = 60_000;

/// An engine whose clock starts with the simulator's, which goes by the real one.
async fn engine_with(wanted: Wanted) -> Engine {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    Engine::start_with(Wanted { now: Some(now), ..wanted }).await
}

async fn engine() -> Engine {
    engine_with(Wanted::default()).await
}

/// Writes as a person whose webhook gets lost, `ago` milliseconds before the engine's clock.
async fn missed(engine: &Engine, from: &str, to: &str, body: &str, ago: i64) -> String {
    let inbound = Inbound {
        deliver: false,
        created_ms: Some(engine.clock.now() - ago),
        ..Inbound::text(from, to, body)
    };
    engine.simulator.inbound_message(inbound).await.message_sid
}

/// A marketing campaign that no hour holds back.
async fn launch(engine: &Engine, kind: Kind) -> i64 {
    let id = engine
        .draft(move |plan| {
            plan.kind = kind;
            plan.quiet_hours = json!("off");
        })
        .await;
    engine.launch(id).await;
    id
}

/// Lets the next look be due, whatever rest there was.
async fn look(engine: &Engine, catch_up: &CatchUp) {
    for _ in 0..120 {
        engine.clock.advance(10_000);
        // Somebody is always awake, or it would be a standstill.
        engine.store.gaps().beat();
        catch_up.tick().await;
    }
}

fn attempts_to(engine: &Engine, phone: &str) -> i64 {
    engine.value(&format!(
        "SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id
           JOIN users u ON u.id = m.user_id WHERE u.phone = '{phone}'"
    ))
}

fn kept(engine: &Engine) -> i64 {
    engine.value("SELECT count(*) FROM inbound")
}

fn sum(metrics: &str, line: &str) -> bool {
    metrics.lines().any(|found| found == line)
}

#[tokio::test]
async fn a_stop_sent_while_the_server_was_dead_comes_before_the_first_message() {
    let engine = engine().await;
    engine.add_many(3).await;
    let id = launch(&engine, Kind::Marketing).await;
    // Dead: the campaign runs, and nobody listens.
    missed(&engine, &phone(0), SENDER, "STOP", 0).await;
    let mut engine = engine.restart().await;
    let catch_up = engine.catch_up();
    engine.drain().await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM attempts"), 0, "marketing did not wait");
    catch_up.tick().await;
    engine.settle().await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    assert_eq!(attempts_to(&engine, &phone(0)), 0);
    assert_eq!(engine.reasons(id).get("cancelled:stop"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&2));
    let (source, replies): (String, i64) = (
        engine.value("SELECT source FROM inbound"),
        engine.value("SELECT count(*) FROM inbound WHERE reply IS NOT NULL"),
    );
    assert_eq!((source.as_str(), replies), ("catch_up", 0));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn while_the_list_is_out_of_reach_marketing_waits_and_the_rest_goes_on() {
    let mut engine = engine().await;
    engine.add_many(2).await;
    // On WhatsApp nobody but us keeps a STOP.
    missed(&engine, &format!("whatsapp:{}", phone(0)), WHATSAPP_SENDER, "STOP", 5 * MINUTE).await;
    let catch_up = engine.catch_up();
    for faults in [
        Faults { read_500_percent: 100.0, ..Faults::default() },
        Faults { read_429_percent: 100.0, ..Faults::default() },
    ] {
        engine.simulator.set_faults(faults);
        look(&engine, &catch_up).await;
    }
    let marketing = launch(&engine, Kind::Marketing).await;
    let transactional = launch(&engine, Kind::Transactional).await;
    engine.settle().await;
    assert_eq!(engine.reasons(marketing).get("queued:"), Some(&2), "{:?}", engine.reasons(marketing));
    assert_eq!(engine.reasons(transactional).get("delivered:"), Some(&2));
    let trouble = engine.store.gaps().open().unwrap().trouble.unwrap();
    assert!(trouble.contains("429"), "{trouble}");
    engine.simulator.set_faults(Faults::default());
    look(&engine, &catch_up).await;
    engine.settle().await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    assert_eq!(engine.reasons(marketing).get("delivered:"), Some(&1), "{:?}", engine.reasons(marketing));
    assert_eq!(engine.reasons(marketing).get("queued:"), None);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_answer_to_a_person_does_not_wait_for_the_list_and_marketing_to_one_does() {
    use event_stream_engine::campaign::{self, SingleMessage};
    use event_stream_engine::domain::phone::{Channel, Phone};

    let mut engine = engine().await;
    engine.add_many(1).await;
    engine.change("UPDATE users SET last_inbound_at = (SELECT max(created_at) FROM users)").await;
    let catch_up = engine.catch_up();
    for kind in [Kind::Marketing, Kind::Reply, Kind::Transactional] {
        let (rules, setup) = (crate::support::rules(), engine.setup.clone());
        let message = SingleMessage {
            to: Phone::parse(&phone(0), None).unwrap().into(),
            from: None,
            channel: Channel::Sms,
            body: Some(kind.as_str().to_owned()),
            media_urls: Vec::new(),
            template_id: None,
            variables: serde_json::Map::new(),
            topic: None,
            kind,
            reference: None,
            send_at: None,
            expires_at: None,
        };
        let sent = engine.store.write(move |tx| campaign::send_single(tx, &message, &rules, &setup, "test"));
        sent.await.unwrap();
    }
    engine.settle().await;
    let went: Vec<String> = engine.simulator.messages().into_iter().map(|sent| sent.body).collect();
    assert_eq!(went, ["reply", "transactional"]);
    drop(catch_up);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_list_that_may_not_be_read_is_asked_for_ever_more_rarely() {
    let engine =
        engine_with(Wanted { password: Some("of another account".to_owned()), ..Wanted::default() }).await;
    let catch_up = engine.catch_up();
    look(&engine, &catch_up).await;
    assert!(engine.store.gaps().hold_marketing());
    let looks: Vec<String> = engine.metrics.encode().lines().map(str::to_owned).collect();
    let failed = looks.iter().find_map(|line| line.strip_prefix("ese_catch_ups_total{outcome=\"failed\"} "));
    let failed: u64 = failed.unwrap().parse().unwrap();
    assert!((15..50).contains(&failed), "{failed} looks in twenty minutes");
    assert!(engine.store.gaps().open().unwrap().trouble.unwrap().contains("20003"));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_webhook_that_could_not_be_kept_is_a_gap_and_its_message_is_fetched() {
    let mut engine = engine().await;
    engine.add_many(2).await;
    let catch_up = engine.catch_up();
    catch_up.tick().await;
    assert!(!engine.store.gaps().hold_marketing());
    // Another process holds the lock for longer than the writer waits.
    let other = rusqlite::Connection::open(engine.dir().join("ese.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    assert_eq!(answer.status, Some(503));
    other.execute_batch("ROLLBACK").unwrap();
    let id = launch(&engine, Kind::Marketing).await;
    engine.drain().await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM attempts"), 0, "marketing did not wait");
    catch_up.tick().await;
    assert_eq!(engine.consent(&phone(0)), "opt_in", "Twilio gets a moment to call again by itself");
    engine.clock.advance(20_000);
    catch_up.tick().await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(attempts_to(&engine, &phone(0)), 0);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_look_that_is_due_anyway_does_not_close_a_gap_that_twilio_may_still_mend() {
    let engine = engine().await;
    let catch_up = engine.catch_up();
    catch_up.tick().await;
    let pass = |seconds: i64| {
        for _ in 0..seconds / 10 {
            engine.clock.advance(10_000);
            engine.store.gaps().beat();
        }
    };
    pass(170);
    engine.store.gaps().note(Gap::Webhook);
    pass(10);
    catch_up.tick().await;
    assert!(engine.store.gaps().hold_marketing());
    pass(10);
    catch_up.tick().await;
    assert!(!engine.store.gaps().hold_marketing());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_machine_that_was_asleep_looks_before_it_sends() {
    let mut engine = engine().await;
    engine.add_many(2).await;
    let catch_up = engine.catch_up();
    catch_up.tick().await;
    let id = launch(&engine, Kind::Marketing).await;
    missed(&engine, &phone(0), SENDER, "STOP", 0).await;
    // The lid was closed for an hour; the dispatcher is the first to wake up.
    engine.clock.advance(60 * MINUTE);
    engine.drain().await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM attempts"), 0, "marketing did not wait");
    catch_up.tick().await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("cancelled:stop"), Some(&1), "{:?}", engine.reasons(id));
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn what_came_by_webhook_or_was_fetched_before_changes_nothing() {
    let engine = engine().await;
    engine.add_many(2).await;
    engine.simulator.inbound(&phone(0), SENDER, "STOP").await;
    engine.simulator.inbound(&phone(0), SENDER, "START").await;
    missed(&engine, &phone(1), SENDER, "STOP", MINUTE).await;
    engine.catch_up().tick().await;
    let counts = |engine: &Engine| -> (i64, i64, i64) {
        (
            kept(engine),
            engine.value("SELECT count(*) FROM events"),
            engine.value("SELECT count(*) FROM consent_ledger"),
        )
    };
    let before = counts(&engine);
    assert_eq!(before.0, 3);
    let engine = engine.restart().await;
    let catch_up = engine.catch_up();
    look(&engine, &catch_up).await;
    assert_eq!(counts(&engine), before);
    assert_eq!((engine.consent(&phone(0)), engine.consent(&phone(1))), ("opt_in".into(), "stop".into()));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn thousands_of_missed_messages_come_over_several_pages_in_small_writes() {
    const MESSAGES: usize = 2_500;
    let engine = engine().await;
    engine.add_many(50).await;
    for n in 0..MESSAGES {
        // The oldest says STOP, and it lies on the last page.
        let body = if n == 0 { "STOP".to_owned() } else { format!("Hello {n}") };
        missed(&engine, &phone(n % 50), SENDER, &body, (MESSAGES - n) as i64 * 1_000).await;
    }
    let writes = engine.store.commits().1;
    engine.catch_up().tick().await;
    assert_eq!(kept(&engine), MESSAGES as i64);
    assert_eq!(engine.consent(&phone(0)), "stop");
    let stops: i64 = engine.value("SELECT count(*) FROM users WHERE consent = 'stop'");
    assert_eq!(stops, 1);
    let writes = engine.store.commits().1 - writes;
    assert!(writes >= 50, "{writes} writes hold the writer for long");
    let first: String = engine.value("SELECT body FROM inbound ORDER BY id LIMIT 1");
    assert_eq!(first, "STOP", "oldest first");
    let engine = engine.restart().await;
    engine.catch_up().tick().await;
    assert_eq!(kept(&engine), MESSAGES as i64);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_last_word_of_a_person_counts_whatever_way_and_in_whatever_order_it_came() {
    // What was said, how many seconds ago, and whether its webhook came (at that time) or was missed.
    type Said = (&'static str, i64, bool);
    let table: [(&str, &[Said], &str); 10] = [
        ("both missed", &[("STOP", 60, false), ("START", 50, false)], "opt_in"),
        ("both missed, the other way round", &[("START", 60, false), ("STOP", 50, false)], "stop"),
        ("within one second", &[("STOP", 60, false), ("START", 60, false)], "opt_in"),
        ("a later START came in time", &[("STOP", 1_200, false), ("START", 600, true)], "opt_in"),
        (
            "a START so close that two clocks decide",
            &[("STOP", 1_200, false), ("START", 1_190, true)],
            "stop",
        ),
        ("a later STOP came in time", &[("START", 1_200, false), ("STOP", 600, true)], "stop"),
        (
            "a STOP that was none any more",
            &[("STOP", 1_800, true), ("START", 1_200, false), ("STOP", 600, true)],
            "stop",
        ),
        (
            "a missed START between two STOPs that came",
            &[("STOP", 1_800, true), ("STOP", 1_200, true), ("START", 600, false)],
            "opt_in",
        ),
        (
            "talk of stopping before a START",
            &[("please stop texting me", 1_200, false), ("START", 600, true)],
            "opt_in",
        ),
        ("a mere YES undoes no STOP that came later", &[("YES", 1_200, false), ("STOP", 600, false)], "stop"),
    ];
    let engine = engine().await;
    let now = engine.clock.now();
    for (n, (what, said, _)) in table.iter().enumerate() {
        engine.add(&phone(n), Consent::OptIn, json!({"what": what})).await;
        for (body, ago, is_delivered) in *said {
            engine.clock.set(jiff::Timestamp::from_millisecond(now - ago * 1_000).unwrap());
            // Senders of both channels, as people use what is at hand.
            let (from, to) = match ago % 20 {
                0 => (phone(n), SENDER),
                _ => (format!("whatsapp:{}", phone(n)), WHATSAPP_SENDER),
            };
            match is_delivered {
                true => drop(engine.simulator.inbound(&from, to, body).await),
                false => drop(missed(&engine, &from, to, body, 0).await),
            }
        }
    }
    engine.clock.set(jiff::Timestamp::from_millisecond(now).unwrap());
    engine.catch_up().tick().await;
    for (n, (what, _, expected)) in table.iter().enumerate() {
        assert_eq!(engine.consent(&phone(n)), *expected, "{what}");
    }
    let held: i64 = engine.value("SELECT count(*) FROM users WHERE hold IS NOT NULL");
    assert_eq!(held, 0, "a START has settled what was meant");
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            let keywords = KeywordTable::default();
            let policy = RetryPolicy { random: 0.5, ..RetryPolicy::of(&crate::support::rules(), 3) };
            inbound::replay(tx, Some(0), (0, 0), &keywords, &policy)
        })
        .await
        .unwrap();
    for (n, (what, _, expected)) in table.iter().enumerate() {
        assert_eq!(engine.consent(&phone(n)), *expected, "{what}, replayed");
    }
    engine.check_and_stop().await;
}

async fn record(engine: &Engine, phone: &str, state: Consent) {
    let key = UserKey::Phone(phone.to_owned());
    engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            let user = users::find(tx.conn(), &key)?.unwrap();
            let change = ConsentChange {
                state,
                source: "website",
                actor: "key:1",
                evidence: Some("form"),
                obtained_at: None,
            };
            ledger::record(tx, user.id, user.consent, &change)
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn what_others_recorded_since_undoes_no_stop_but_holds_against_a_start() {
    let engine = engine().await;
    for n in 0..3 {
        engine.add(&phone(n), Consent::Unknown, json!({})).await;
    }
    missed(&engine, &phone(0), SENDER, "STOP", 30 * MINUTE).await;
    missed(&engine, &phone(1), SENDER, "START", 30 * MINUTE).await;
    missed(&engine, &phone(2), SENDER, "START", 30 * MINUTE).await;
    record(&engine, &phone(0), Consent::OptIn).await;
    record(&engine, &phone(1), Consent::OptOut).await;
    engine.catch_up().tick().await;
    let consents: Vec<String> = (0..3).map(|n| engine.consent(&phone(n))).collect();
    assert_eq!(consents, ["stop", "opt_out", "opt_in"]);
    let obtained: (i64, i64) = (
        engine.value("SELECT obtained_at FROM consent_ledger WHERE state = 'stop'"),
        engine.value("SELECT at FROM consent_ledger WHERE state = 'stop'"),
    );
    assert_eq!(obtained, (engine.clock.now() - 30 * MINUTE, engine.clock.now()));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn topics_and_the_whatsapp_window_go_by_the_moment_of_writing() {
    let engine = engine().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.add(&phone(1), Consent::OptIn, json!({})).await;
    let whatsapp = format!("whatsapp:{}", phone(0));
    missed(&engine, &whatsapp, WHATSAPP_SENDER, "UNSUBSCRIBE general", 30 * MINUTE).await;
    missed(&engine, &phone(0), SENDER, "SUBSCRIBE general", 20 * MINUTE).await;
    missed(&engine, &phone(1), SENDER, "SUBSCRIBE general", 20 * MINUTE).await;
    engine.simulator.inbound(&phone(1), SENDER, "UNSUBSCRIBE general").await;
    engine.catch_up().tick().await;
    let state = |n: usize| -> String {
        engine.value(&format!(
            "SELECT s.state FROM subscriptions s JOIN users u ON u.id = s.user_id WHERE u.phone = '{}'",
            phone(n)
        ))
    };
    assert_eq!((state(0).as_str(), state(1).as_str()), ("subscribed", "unsubscribed"));
    let heard: (i64, i64) = (
        engine.value("SELECT last_whatsapp_inbound_at FROM users WHERE id = 1"),
        engine.value("SELECT last_inbound_at FROM users WHERE id = 1"),
    );
    assert_eq!(heard, (engine.clock.now() - 30 * MINUTE, engine.clock.now() - 20 * MINUTE));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_young_message_is_left_to_its_webhook_unless_there_was_a_gap() {
    let engine = engine().await;
    let catch_up = engine.catch_up();
    missed(&engine, &phone(0), SENDER, "At the start", 0).await;
    catch_up.tick().await;
    assert_eq!(kept(&engine), 1);
    // The webhook of this one is under way. The simulator's clock stands still beside ours, so it stays young.
    missed(&engine, &phone(0), SENDER, "HELP", 0).await;
    look(&engine, &catch_up).await;
    assert_eq!(kept(&engine), 1, "an answer was taken away");
    // It stays to be seen, though others were.
    missed(&engine, &phone(0), SENDER, "Older", 30 * MINUTE).await;
    look(&engine, &catch_up).await;
    assert_eq!(kept(&engine), 2);
    engine.store.gaps().note(Gap::Standstill);
    catch_up.tick().await;
    assert_eq!(kept(&engine), 3);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn the_first_look_goes_back_a_day_and_later_ones_to_where_the_last_ended() {
    let engine = engine().await;
    missed(&engine, &phone(0), SENDER, "From another system's time", 25 * 60 * MINUTE).await;
    missed(&engine, &phone(0), SENDER, "Since the export", 23 * 60 * MINUTE).await;
    engine.catch_up().tick().await;
    assert_eq!(kept(&engine), 1);
    // Three days down; Twilio's clock can't be moved, so everything else goes back.
    engine.change("UPDATE cursors SET position = position - 3 * 86400000").await;
    let engine = engine.restart().await;
    missed(&engine, &phone(1), SENDER, "STOP", 2 * 1_440 * MINUTE).await;
    engine.catch_up().tick().await;
    assert_eq!(engine.consent(&phone(1)), "stop");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_look_cut_short_is_taken_up_from_the_beginning() {
    let engine = engine().await;
    engine.add_many(1).await;
    missed(&engine, &phone(0), SENDER, "STOP", 5 * MINUTE).await;
    let catch_up = engine.catch_up();
    engine
        .change("CREATE TRIGGER broken BEFORE INSERT ON inbound BEGIN SELECT RAISE(ABORT, 'broken'); END")
        .await;
    catch_up.tick().await;
    assert!(engine.store.gaps().hold_marketing(), "what could not be kept counts as seen");
    let cursors: i64 = engine.value("SELECT count(*) FROM cursors");
    assert_eq!(cursors, 0);
    engine.change("DROP TRIGGER broken").await;
    look(&engine, &catch_up).await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    assert!(!engine.store.gaps().hold_marketing());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn attachments_are_asked_for() {
    let engine = engine().await;
    let inbound = Inbound {
        deliver: false,
        media: vec!["https://e.example/a.jpg".to_owned(), "https://e.example/b.jpg".to_owned()],
        ..Inbound::text(&phone(0), SENDER, "Look")
    };
    engine.simulator.inbound_message(inbound).await;
    engine.catch_up().tick().await;
    let media: String = engine.value("SELECT media FROM inbound");
    let media: Vec<(String, String)> = serde_json::from_str(&media).unwrap();
    assert_eq!(media.len(), 2);
    assert!(media[0].0.starts_with(&engine.simulator.base_url()) && media[0].0.contains("/Media/ME"));
    assert_eq!(media[0].1, "image/jpeg");
    engine.check_and_stop().await;
}

/// A Twilio whose list never changes, and which has lost its attachments; it counts who asks for them.
fn frozen_twilio(messages: Value) -> (String, Arc<AtomicUsize>) {
    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let answer = move |request: HttpRequest| {
        counted.fetch_add(usize::from(request.path().ends_with("/Media.json")), Ordering::SeqCst);
        let list = json!({"messages": messages.clone(), "next_page_uri": null});
        async move {
            match request.path().ends_with("/Media.json") {
                true => HttpResponse::InternalServerError().finish(),
                false => HttpResponse::Ok().json(list),
            }
        }
    };
    let server = HttpServer::new(move || App::new().default_service(web::to(answer.clone())))
        .workers(1)
        .disable_signals();
    tokio::spawn(server.listen(listener).unwrap().run());
    (base, asked)
}

fn listed(sid: &str, body: &str, media: u32) -> Value {
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    json!({
        "sid": sid, "status": "received", "direction": "inbound", "from": phone(0), "to": SENDER, "body": body,
        "num_media": media.to_string(), "date_created": jiff::fmt::rfc2822::to_string(&now).unwrap(),
    })
}

#[tokio::test]
async fn a_message_whose_attachments_are_lost_is_kept_and_twilio_is_not_asked_without_end() {
    let engine = engine().await;
    engine.add_many(1).await;
    let mut messages: Vec<Value> = (0..20).map(|n| listed(&format!("MM{n:032x}"), "Look", 1)).collect();
    messages.push(listed(&format!("MM{:032x}", 99), "STOP", 3));
    // Nobody can be told who wrote this one; it must not keep the others.
    messages.push(json!({"sid": "SM1", "status": "received", "direction": "inbound",
                         "date_created": messages[0]["date_created"]}));
    let (base, asked) = frozen_twilio(Value::Array(messages));
    engine.catch_up_from(&base).tick().await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!((kept(&engine), engine.consent(&phone(0)).as_str()), (21, "stop"));
    assert!(!engine.store.gaps().hold_marketing());
    engine.check_and_stop().await;
}

#[tokio::test]
async fn numbers_of_a_messaging_service_are_learned_from_what_it_sent() {
    let simulator = Options { service_senders: vec![POOL.to_owned()], ..quick_simulator() };
    let wanted = Wanted { simulator, senders: vec![(SERVICE, "service")], ..Wanted::default() };
    let mut engine = engine_with(wanted).await;
    engine.add_many(3).await;
    let id = engine
        .draft(|plan| {
            plan.sender = Some(SERVICE.to_owned());
            plan.quiet_hours = json!("off");
        })
        .await;
    engine.launch(id).await;
    engine.settle().await;
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&3), "{:?}", engine.reasons(id));
    let learned = |engine: &Engine| -> i64 {
        engine.value(&format!("SELECT count(*) FROM cursors WHERE name = 'inbound:{POOL}'"))
    };
    assert_eq!(learned(&engine), 1, "a receipt tells of the number");
    missed(&engine, &phone(0), POOL, "STOP", 0).await;
    // The process ended before any receipt: the list of the account tells of it.
    engine.change("DELETE FROM cursors").await;
    let engine = engine.restart().await;
    engine.catch_up().tick().await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    engine.change("DELETE FROM cursors").await;
    let answered = Inbound {
        messaging_service_sid: Some(SERVICE.to_owned()),
        ..Inbound::text(&phone(1), POOL, "Hello")
    };
    engine.simulator.inbound_message(answered).await;
    assert_eq!(learned(&engine), 1, "a person's webhook tells of the number");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_gap_and_its_end_are_seen_from_outside() {
    let environment = vec![("ESE_SERVER__METRICS_TOKEN", "metrics-token".to_owned())];
    let engine = engine_with(Wanted { environment, ..Wanted::default() }).await;
    let get = async |path: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}{path}", engine.base_url)).bearer_auth("metrics-token");
        answer.send().await.unwrap().text().await.unwrap()
    };
    let ready = async || -> Value { serde_json::from_str(&get("/readyz").await).unwrap() };
    assert_eq!(ready().await["inbound"], json!({"state": "ok"}), "nothing waits where nobody looks");
    missed(&engine, &phone(0), SENDER, "Hello", MINUTE).await;
    let catch_up = engine.catch_up();
    engine.simulator.set_faults(Faults { read_500_percent: 100.0, ..Faults::default() });
    catch_up.tick().await;
    let shown = ready().await;
    assert_eq!(shown["status"], "ready");
    assert_eq!(
        (&shown["inbound"]["state"], &shown["inbound"]["gap"]),
        (&json!("catching_up"), &json!("start"))
    );
    assert!(shown["inbound"]["detail"].as_str().unwrap().contains("HTTP 500"), "{shown}");
    assert!(shown["inbound"]["since"].is_string());
    let metrics = get("/metrics").await;
    for line in [
        "ese_gaps_total{gap=\"start\"} 1",
        "ese_marketing_waits 1",
        "ese_catch_ups_total{outcome=\"failed\"} 1",
        "ese_caught_up_messages_total 0",
    ] {
        assert!(sum(&metrics, line), "{line} in {metrics}");
    }
    engine.simulator.set_faults(Faults::default());
    look(&engine, &catch_up).await;
    assert_eq!(ready().await["inbound"], json!({"state": "ok"}));
    let metrics = get("/metrics").await;
    for line in ["ese_gaps_total{gap=\"start\"} 1", "ese_marketing_waits 0", "ese_caught_up_messages_total 1"]
    {
        assert!(sum(&metrics, line), "{line} in {metrics}");
    }
    engine.check_and_stop().await;
}
