//! What people write: how it is understood on each channel, what it changes, and what is answered.

use event_stream_engine::domain::consent::Replies;
use event_stream_engine::domain::consent::{Consent, KeywordTable};
use event_stream_engine::domain::message::Kind;
use event_stream_engine::inbound::{self, Replayed};
use event_stream_engine::store::outcomes::RetryPolicy;
use event_stream_engine::store::topics;
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{StoreError, ledger};
use serde_json::json;

use crate::support::{Engine, SENDER, WHATSAPP_SENDER, Wanted, phone, quick_simulator};

const INBOUND: &str = "/webhooks/twilio/inbound";

fn answers() -> Replies {
    Replies {
        stop: "You are out.".to_owned(),
        start: "Welcome back.".to_owned(),
        help: "Ask us at the counter.".to_owned(),
        subscribe: "You get {topic}.".to_owned(),
        unsubscribe: "No more {topic}.".to_owned(),
        twilio_answers_sms_keywords: false,
    }
}

async fn answering() -> Engine {
    Engine::start_with(Wanted { replies: answers(), ..Wanted::default() }).await
}

async fn write(engine: &Engine, sid: &str, from: &str, body: &str, more: &[(&str, &str)]) -> String {
    let to = if from.starts_with("whatsapp:") { WHATSAPP_SENDER } else { SENDER };
    let mut form = vec![
        ("MessageSid", sid),
        ("AccountSid", engine.account_sid()),
        ("From", from),
        ("To", to),
        ("Body", body),
    ];
    form.extend(more);
    let (status, answer) = engine.post(INBOUND, &form).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

fn last_kind(engine: &Engine) -> String {
    engine.value("SELECT kind FROM inbound ORDER BY id DESC LIMIT 1")
}

#[tokio::test]
async fn keywords_are_understood_on_both_channels() {
    // What somebody writes whose consent was this; how it is read, the consent after, the answer.
    let table = [
        ("STOP", Consent::OptIn, "stop", "stop", Some("You are out.")),
        (" Stop. ", Consent::Unknown, "stop", "stop", Some("You are out.")),
        ("stopall", Consent::OptOut, "stop", "stop", Some("You are out.")),
        ("OPT OUT", Consent::OptIn, "stop", "stop", Some("You are out.")),
        ("Revoke!", Consent::OptIn, "stop", "stop", Some("You are out.")),
        ("STOP", Consent::Stop, "stop", "stop", None),
        ("START", Consent::Unknown, "start", "opt_in", Some("Welcome back.")),
        ("unstop", Consent::Stop, "start", "opt_in", Some("Welcome back.")),
        ("YES", Consent::Stop, "start", "opt_in", Some("Welcome back.")),
        ("YES", Consent::OptOut, "message", "opt_out", None),
        ("yes", Consent::Unknown, "message", "unknown", None),
        ("Help", Consent::OptIn, "help", "opt_in", Some("Ask us at the counter.")),
        ("Have a nice weekend", Consent::OptIn, "message", "opt_in", None),
        ("stop please", Consent::OptIn, "review", "opt_in", None),
        ("stop please", Consent::Stop, "message", "stop", None),
    ];
    let engine = answering().await;
    for prefix in ["", "whatsapp:"] {
        for (number, (body, before, kind, after, reply)) in table.into_iter().enumerate() {
            let phone = format!("+1{}5550{number:03}", if prefix.is_empty() { 212 } else { 415 });
            engine.add(&phone, before, json!({})).await;
            let sid = format!("SM{prefix}{number}");
            let answer = write(&engine, &sid, &format!("{prefix}{phone}"), body, &[]).await;
            let case = format!("{prefix} {body:?} from {before:?}");
            assert_eq!(last_kind(&engine), kind, "{case}");
            assert_eq!(engine.consent(&phone), after, "{case}");
            match reply {
                Some(text) => {
                    assert!(answer.contains(&format!("<Message>{text}</Message>")), "{case}: {answer}")
                }
                None => assert!(answer.ends_with("<Response/>"), "{case}: {answer}"),
            }
        }
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn twilios_own_reading_counts_and_silences_ours() {
    let mut simulator = quick_simulator();
    simulator.advanced_opt_out = true;
    let wanted = Wanted { simulator, replies: answers(), ..Wanted::default() };
    let engine = Engine::start_with(wanted).await;
    for (from, to) in
        [(phone(0), SENDER.to_owned()), (format!("whatsapp:{}", phone(1)), WHATSAPP_SENDER.to_owned())]
    {
        for (body, consent) in [("STOP", "stop"), ("START", "opt_in"), ("HELP", "opt_in")] {
            let result = engine.simulator.inbound(&from, &to, body).await;
            assert_eq!((result.status, result.reply), (Some(200), None), "{from} {body}");
            assert_eq!(engine.consent(from.trim_start_matches("whatsapp:")), consent, "{from} {body}");
        }
    }
    let sources: i64 = engine.value("SELECT count(*) FROM consent_ledger WHERE source = 'twilio'");
    assert_eq!(sources, 4);
    // Advanced Opt-Out knows words of the customer's own, which we need not know.
    write(&engine, "SMown", &phone(2), "genug", &[("OptOutType", "STOP")]).await;
    assert_eq!(engine.consent(&phone(2)), "stop");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn where_twilio_answers_keywords_on_sms_we_answer_them_on_whatsapp_alone() {
    let replies = Replies { twilio_answers_sms_keywords: true, ..answers() };
    let engine = Engine::start_with(Wanted { replies, ..Wanted::default() }).await;
    let sms = write(&engine, "SM1", &phone(0), "STOP", &[]).await;
    assert!(sms.ends_with("<Response/>"), "{sms}");
    let whatsapp = write(&engine, "SM2", &format!("whatsapp:{}", phone(1)), "STOP", &[]).await;
    assert!(whatsapp.contains("You are out."), "{whatsapp}");
    // Twilio's list is short and exact: what it leaves out, and HELP, we answer.
    for (n, (words, answer)) in
        [("UNSUBSCRIBE general", "No more general."), ("Stop.", "You are out."), ("ARRET", "You are out.")]
            .into_iter()
            .enumerate()
    {
        let ours = write(&engine, &format!("SM3{n}"), &phone(2 + n), words, &[]).await;
        assert!(ours.contains(answer), "{words}: {ours}");
    }
    let help = write(&engine, "SM4", &phone(9), "help", &[]).await;
    assert!(help.contains("<Message>"), "{help}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_from_a_stranger_outlives_the_import_that_brings_them() {
    use event_stream_engine::import::{self, NewImport, Options, Pace, Spool};
    let engine = Engine::start().await;
    engine.simulator.inbound("+94771234567", SENDER, "STOP").await;
    assert_eq!(engine.consent("+94771234567"), "stop");
    let mut spool = Spool::create(&import::spool_dir(engine.store.paths()), 1 << 30).unwrap();
    spool.write(b"phone,consent,name\n+94771234567,opt_in,Ana\n+94771234568,opt_in,Ben\n").unwrap();
    let file = NewImport {
        file_name: "people.csv".to_owned(),
        file: spool.finish().unwrap(),
        options: Options::parse(&json!({"consent": {"loosen": true, "evidence": "form", "source": "form"}}))
            .unwrap(),
        actor: "key:1".to_owned(),
    };
    engine.store.write(move |tx| import::queue(tx, &file)).await.unwrap();
    import::run_queued(&engine.store, &Pace::default()).await.unwrap();
    assert_eq!(engine.consent("+94771234567"), "stop");
    assert_eq!(engine.consent("+94771234568"), "opt_in");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn senders_without_a_number_are_kept_and_listed_as_unmatched() {
    let engine = answering().await;
    let senders = ["whatsapp:US.1349ABC", "12345", "MyBank", "whatsapp:", "+", "sip:ana@example.com"];
    for (number, from) in senders.into_iter().enumerate() {
        let answer = write(&engine, &format!("SM{number}"), from, "Hello", &[]).await;
        assert!(answer.ends_with("<Response/>"), "{from}: {answer}");
        assert_eq!(last_kind(&engine), "unmatched", "{from}");
        let kept: String = engine.value("SELECT from_address FROM inbound ORDER BY id DESC LIMIT 1");
        assert_eq!(kept, from);
    }
    let people: i64 = engine.value("SELECT count(*) FROM users");
    assert_eq!(people, 0);
    assert_eq!(engine.events("inbound.received"), senders.len() as i64);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_from_an_unmatched_address_holds_for_whoever_comes_with_it_later() {
    let engine = answering().await;
    write(&engine, "SM1", "whatsapp:US.1349ABC", "STOP", &[]).await;
    let suppressed: i64 = engine.value("SELECT count(*) FROM suppressions");
    assert_eq!(suppressed, 1);
    let is_suppressed: bool = {
        engine
            .store
            .write::<_, _, StoreError>(|tx| {
                let new = NewUser {
                    phone: None,
                    channel_address: Some("whatsapp:US.1349ABC"),
                    country: None,
                    attributes: &serde_json::Map::new(),
                    consent: None,
                    actor: "test",
                    import: None,
                };
                users::insert(tx, &new)
            })
            .await
            .unwrap();
        engine.value("SELECT suppressed FROM users")
    };
    assert!(is_suppressed);
    // Now that the address has an owner, a message finds them.
    write(&engine, "SM2", "whatsapp:US.1349ABC", "Hello", &[]).await;
    assert_eq!(last_kind(&engine), "message");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn topic_words_change_that_topic_alone() {
    let engine = answering().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.store.write::<_, _, StoreError>(|tx| topics::insert(tx, "News", false)).await.unwrap();
    let topics_of =
        |engine: &Engine| engine.store.read_here(|conn| users::topics(conn, 1, Consent::OptIn)).unwrap();
    let table = [
        ("SUBSCRIBE news", "subscribe", vec!["general", "News"]),
        ("unsubscribe general", "unsubscribe", vec!["News"]),
        ("STOP NEWS", "unsubscribe", vec![]),
        ("SUBSCRIBE general", "subscribe", vec!["general"]),
    ];
    for (number, (body, kind, expected)) in table.into_iter().enumerate() {
        write(&engine, &format!("SM{number}"), &phone(0), body, &[]).await;
        assert_eq!(last_kind(&engine), kind, "{body}");
        assert_eq!(topics_of(&engine), expected, "{body}");
        assert_eq!(engine.consent(&phone(0)), "opt_in", "{body}");
    }
    // No such topic: somebody wants less, and an operator has to see of what.
    write(&engine, "SM9", &phone(0), "STOP weather", &[]).await;
    assert_eq!(last_kind(&engine), "review");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_text_that_smells_of_revocation_holds_marketing_back_and_nothing_else() {
    let mut engine = answering().await;
    engine.add_many(1).await;
    engine.simulator.inbound(&phone(0), SENDER, "please stop texting me").await;
    let hold: String = engine.value("SELECT hold FROM users");
    assert_eq!((hold.as_str(), engine.consent(&phone(0)).as_str()), ("review", "opt_in"));
    let marketing = engine.draft(|_| {}).await;
    let transactional = engine.draft(|plan| plan.kind = Kind::Transactional).await;
    engine.launch(marketing).await;
    engine.launch(transactional).await;
    engine.settle().await;
    assert_eq!(engine.reasons(marketing).get("skipped:held"), Some(&1), "{:?}", engine.reasons(marketing));
    assert_eq!(engine.reasons(transactional).get("delivered:"), Some(&1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn two_machines_do_not_talk_to_each_other_for_ever() {
    let engine = answering().await;
    let mut answered = 0;
    for number in 0..10 {
        let answer = write(&engine, &format!("SM{number}"), &phone(0), "HELP", &[]).await;
        answered += usize::from(answer.contains("<Message>"));
    }
    assert_eq!(answered, 4);
    let other = write(&engine, "SMother", &phone(1), "HELP", &[]).await;
    assert!(other.contains("<Message>"), "one chatterbox silences nobody else");
    engine.clock.advance(3_600_001);
    let later = write(&engine, "SMlater", &phone(0), "HELP", &[]).await;
    assert!(later.contains("<Message>"), "{later}");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_repeated_message_sid_changes_nothing() {
    let engine = answering().await;
    write(&engine, "SM1", &phone(0), "STOP", &[]).await;
    write(&engine, "SM2", &phone(0), "START", &[]).await;
    let before: (i64, i64) =
        (engine.value("SELECT count(*) FROM events"), engine.value("SELECT count(*) FROM consent_ledger"));
    let answer = write(&engine, "SM1", &phone(0), "STOP", &[]).await;
    assert!(answer.ends_with("<Response/>"), "{answer}");
    assert_eq!(engine.consent(&phone(0)), "opt_in");
    let after: (i64, i64) =
        (engine.value("SELECT count(*) FROM events"), engine.value("SELECT count(*) FROM consent_ledger"));
    assert_eq!(before, after);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_stop_takes_back_everything_that_waits_for_that_person() {
    let mut engine = answering().await;
    engine.add_many(2).await;
    let first = engine.draft(|plan| plan.rate_limit_per_second = Some(0.000_1)).await;
    let second = engine
        .draft(|plan| {
            plan.rate_limit_per_second = Some(0.000_1);
            plan.kind = Kind::Transactional;
        })
        .await;
    engine.launch(first).await;
    engine.launch(second).await;
    engine.drain().await;
    engine.simulator.inbound(&format!("whatsapp:{}", phone(0)), WHATSAPP_SENDER, "STOP").await;
    for id in [first, second] {
        assert_eq!(engine.reasons(id).get("cancelled:stop"), Some(&1), "{:?}", engine.reasons(id));
        assert_eq!(engine.reasons(id).get("queued:"), Some(&1));
    }
    let rows = engine.store.read_here(|conn| ledger::list(conn, 1, i64::MAX, 1)).unwrap();
    assert_eq!((rows[0].state.as_str(), rows[0].source.as_str()), ("stop", "keyword"));
    assert!(rows[0].evidence.as_deref().unwrap().ends_with(": STOP"));
    engine.check_and_stop().await;
}

async fn replay(engine: &Engine, since: Option<i64>) -> Replayed {
    engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            let keywords = KeywordTable::default();
            let policy = RetryPolicy { random: 0.5, ..RetryPolicy::of(&crate::support::rules(), 3) };
            inbound::replay(tx, since, (0, 0), &keywords, &policy)
        })
        .await
        .unwrap()
}

/// While this stands, no change of consent can be recorded.
const BROKEN: &str = "CREATE TRIGGER broken BEFORE INSERT ON consent_ledger
    BEGIN SELECT RAISE(ABORT, 'broken'); END";

#[tokio::test]
async fn a_stop_whose_effect_fails_is_kept_and_replayed() {
    let engine = answering().await;
    engine.add(&phone(0), Consent::OptIn, json!({})).await;
    engine.change(BROKEN).await;
    let answer = write(&engine, "SM1", &phone(0), "STOP", &[]).await;
    assert!(answer.ends_with("<Response/>"), "no confirmation of what was not done: {answer}");
    let state: String = engine.value("SELECT state FROM inbound");
    assert_eq!((state.as_str(), engine.consent(&phone(0)).as_str()), ("pending", "opt_in"));
    let heard: i64 = engine.value("SELECT count(*) FROM users WHERE last_inbound_at IS NOT NULL");
    assert_eq!(heard, 0, "half an effect was kept");
    assert_eq!(replay(&engine, None).await.changed, 0, "still broken");
    engine.change("DROP TRIGGER broken").await;
    assert_eq!(replay(&engine, None).await.changed, 1);
    assert_eq!(engine.consent(&phone(0)), "stop");
    let unanswered: i64 = engine.value("SELECT count(*) FROM inbound WHERE state = 'done' AND reply IS NULL");
    assert_eq!(unanswered, 1, "a reply is noted that nobody got");
    assert_eq!(replay(&engine, None).await.changed, 0, "once is enough");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn an_old_message_that_is_replayed_never_undoes_a_later_one_that_tightened() {
    let engine = answering().await;
    engine.add(&phone(0), Consent::Unknown, json!({})).await;
    engine.change(BROKEN).await;
    write(&engine, "SM1", &phone(0), "START", &[]).await;
    engine.change("DROP TRIGGER broken").await;
    engine
        .change(
            "CREATE TRIGGER broken BEFORE INSERT ON subscriptions BEGIN SELECT RAISE(ABORT, 'broken'); END",
        )
        .await;
    write(&engine, "SM2", &phone(0), "SUBSCRIBE general", &[]).await;
    engine.change("DROP TRIGGER broken").await;
    engine.clock.advance(1_000);
    write(&engine, "SM3", &phone(0), "UNSUBSCRIBE general", &[]).await;
    write(&engine, "SM4", &phone(0), "STOP", &[]).await;
    engine.clock.advance(1_000);
    replay(&engine, None).await;
    replay(&engine, Some(0)).await;
    assert_eq!(engine.consent(&phone(0)), "stop");
    let state: String = engine.value("SELECT state FROM subscriptions");
    assert_eq!(state, "unsubscribed");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_replay_of_everything_changes_nothing_that_was_understood() {
    let engine = answering().await;
    let bodies = ["STOP", "YES", "HELP", "Hello", "stop please", "START", "UNSUBSCRIBE general"];
    for (number, body) in bodies.into_iter().enumerate() {
        write(&engine, &format!("SM{number}"), &phone(number % 2), body, &[]).await;
        engine.clock.advance(1_000);
    }
    let before: i64 = engine.value("SELECT count(*) FROM events");
    assert_eq!(replay(&engine, Some(0)).await.changed, 0);
    let after: i64 = engine.value("SELECT count(*) FROM events");
    assert_eq!(before, after);
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_receipt_whose_effect_fails_is_replayed_even_if_only_its_url_named_the_message() {
    let mut engine = answering().await;
    engine.add_many(1).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.simulator.set_faults(
        serde_json::from_value(
            json!({"error_500_after_accept_percent": 100.0, "callbacks_missing_percent": 100.0}),
        )
        .unwrap(),
    );
    engine.drain().await;
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine
        .change(
            "CREATE TRIGGER broken BEFORE INSERT ON events WHEN NEW.type = 'message.delivered'
             BEGIN SELECT RAISE(ABORT, 'broken'); END",
        )
        .await;
    let message: i64 = engine.value("SELECT id FROM messages");
    let news = [("MessageSid", "SM1"), ("MessageStatus", "delivered")];
    assert_eq!(engine.callback(message, 1, &news).await, 200);
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine.change("DROP TRIGGER broken").await;
    assert_eq!(replay(&engine, None).await.changed, 1);
    assert_eq!(engine.message_to(0).0, "delivered");
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_reply_is_credited_to_the_campaign_that_it_follows() {
    let mut engine = answering().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.settle().await;
    engine.simulator.inbound(&phone(0), SENDER, "How much is it?").await;
    engine.simulator.inbound(&phone(1), SENDER, "STOP").await;
    engine.clock.advance(3 * 86_400_000);
    engine.simulator.inbound(&phone(2), SENDER, "Hello?").await;
    let sums: (i64, i64) = (
        engine.value(&format!("SELECT replies FROM campaign_sums WHERE campaign_id = {id}")),
        engine.value(&format!("SELECT opt_outs FROM campaign_sums WHERE campaign_id = {id}")),
    );
    assert_eq!(sums, (2, 1));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_start_of_their_own_brings_an_erased_person_back_but_not_past_the_list_of_the_house() {
    use event_stream_engine::store::{erasure, suppressions, users::UserKey};
    let engine = answering().await;
    // On the list why, whether erased as well, and whether a START leads back.
    let table = [
        (None, true, true),
        (Some("opted_out_elsewhere"), false, true),
        (Some("opted_out_elsewhere"), true, true),
        (Some("do_not_contact"), false, false),
        (Some("complaint"), true, false),
    ];
    for (n, (reason, is_erased, leads_back)) in table.into_iter().enumerate() {
        let from = phone(n);
        let id = engine.add(&from, Consent::OptIn, json!({})).await;
        let number = from.clone();
        engine
            .store
            .write::<_, _, StoreError>(move |tx| {
                if let Some(reason) = reason {
                    suppressions::insert(tx, &number, reason, "list")?;
                }
                if is_erased {
                    let user = users::find(tx.conn(), &UserKey::Id(id))?.unwrap();
                    erasure::erase(tx, &user, "test")?;
                }
                Ok(())
            })
            .await
            .unwrap();
        engine.clock.advance(1_000);
        write(&engine, &format!("SMstart{n}"), &from, "START", &[]).await;
        assert_eq!(engine.consent(&from), "opt_in");
        let suppressed: i64 = engine.value(&format!("SELECT suppressed FROM users WHERE phone = '{from}'"));
        assert_eq!(suppressed == 0, leads_back, "{reason:?}, erased: {is_erased}");
        let rows: i64 = engine.value("SELECT count(*) FROM suppressions");
        let kept = table[..=n].iter().filter(|row| !row.2).count();
        assert_eq!(rows, kept as i64);
    }
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_start_that_is_older_than_the_erasure_changes_nothing() {
    use event_stream_engine::store::suppressions;
    let engine = answering().await;
    let (from, said_at) = (phone(0), engine.clock.now());
    engine.clock.advance(1_000);
    let lifted = engine
        .store
        .write::<_, _, StoreError>(move |tx| {
            suppressions::insert(tx, &from, "erased", "test")?;
            let before = suppressions::lift_by_person(tx, &from, said_at)?;
            Ok((before, suppressions::lift_by_person(tx, &from, tx.now())?))
        })
        .await
        .unwrap();
    assert_eq!(lifted, (false, true));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn a_start_from_an_address_without_a_number_ends_what_its_own_stop_began() {
    let engine = answering().await;
    write(&engine, "SMidstop", "whatsapp:US.1349", "STOP", &[]).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM suppressions"), 1);
    engine.clock.advance(1_000);
    write(&engine, "SMidstart", "whatsapp:US.1349", "START", &[]).await;
    assert_eq!(engine.value::<i64>("SELECT count(*) FROM suppressions"), 0);
    engine.check_and_stop().await;
}
