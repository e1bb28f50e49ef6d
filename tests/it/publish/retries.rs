//! What fails is tried again; what fails for long is given up; a crash repeats and never forgets.

use std::collections::HashSet;
use std::time::Duration;

use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::publish::{Publisher, Settings};
use event_stream_engine::store::StoreError;
use serde_json::{Value, json};

use super::{Say, World, evt, publisher, settings};

#[actix_web::test]
async fn one_event_that_fails_is_put_aside_and_later_ones_go_on() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    let ids = world.happen(4).await;
    let poison = evt(&ids)[1].clone();
    world.receiver.say(move |one| if one.id == poison { Say::Status(500) } else { Say::Status(200) });
    world.publish().await;
    assert_eq!(world.receiver.ids(), evt(&ids));
    let log = world.deliveries(id, "?status=pending").await;
    assert_eq!(log.len(), 1);
    assert_eq!((&log[0]["event_id"], &log[0]["error"]), (&json!(ids[1]), &json!("answered 500")));
    // Not before its time.
    world.publish_after(4).await;
    assert_eq!(world.receiver.received().len(), 4);
    let body = world.receiver.received()[1].body.clone();
    world.receiver.forget();
    world.receiver.say(|_| Say::Status(204));
    world.publish_after(3).await;
    let again = world.receiver.received();
    assert_eq!((again.len(), &again[0].id, &again[0].body), (1, &evt(&ids)[1], &body));
    let row = world.app.get(&format!("/webhook-endpoints/{id}/deliveries/{}", ids[1])).await.expect(200);
    assert_eq!(
        (&row["status"], &row["attempts"], &row["http_status"]),
        (&json!("delivered"), &json!(2), &json!(204))
    );
    assert!(row["error"].is_null());
}

#[actix_web::test]
async fn a_delivery_is_tried_over_three_days_and_then_given_up_and_can_be_asked_for_again() {
    let world = World::start().await;
    let (id, _) = world.add(json!({"types": ["user.updated"]})).await;
    world.receiver.say(|_| Say::Status(503));
    let ids = world.happen(1).await;
    let mut times = Vec::new();
    for minute in 0..4 * 24 * 60 {
        world.publish().await;
        if world.receiver.received().len() > times.len() {
            times.push(minute);
        }
        world.app.clock.advance(60_000);
    }
    assert_eq!(times.len(), 10, "{times:?}");
    let hours = times[9] / 60;
    assert!((75..=92).contains(&hours), "{times:?}");
    let row = world.deliveries(id, "").await.remove(0);
    assert_eq!((&row["status"], &row["attempts"]), (&json!("failed"), &json!(10)));
    world.receiver.say(|_| Say::Status(200));
    world
        .app
        .post(&format!("/webhook-endpoints/{id}/deliveries/{}/resend", ids[0]), &json!({}))
        .await
        .expect(202);
    world.publish().await;
    let row = world.deliveries(id, "").await.remove(0);
    assert_eq!((&row["status"], &row["attempts"]), (&json!("delivered"), &json!(11)));
}

#[actix_web::test]
async fn an_endpoint_that_is_down_is_asked_seldom_and_gets_everything_once_it_is_back() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    world.receiver.say(|_| Say::Status(502));
    let ids = world.happen(3_000).await;
    for _ in 0..60 {
        world.publish_after(60).await;
    }
    let asked = world.receiver.received().len();
    assert!((20..=70).contains(&asked), "{asked} requests in an hour");
    let failing = world.endpoint(id).await;
    assert!(failing["failing_since"].is_string() && failing["enabled"] == true);
    assert!(failing["waiting"].as_i64().unwrap() < 70);
    world.receiver.forget();
    world.receiver.say(|_| Say::Status(200));
    world.publish_after(60).await;
    let received: HashSet<String> = world.receiver.ids().into_iter().collect();
    assert!(evt(&ids).iter().all(|id| received.contains(id)));
    assert_eq!(world.endpoint(id).await["waiting"], 0);
    // New ones in their order, behind those that had failed.
    let new: Vec<String> =
        world.receiver.ids().into_iter().skip_while(|id| *id != evt(&ids)[asked]).collect();
    assert!(new.len() > 2_900);
}

#[actix_web::test]
async fn with_a_thousand_put_aside_an_endpoint_reads_no_further() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    // Every other answer is good, so that it never counts as down.
    world.receiver.say(|one| {
        let number: i64 = one.id.trim_start_matches("evt_").parse().unwrap();
        Say::Status(if number % 2 == 0 { 500 } else { 200 })
    });
    let ids = world.happen(3_000).await;
    world.publish().await;
    let shown = world.endpoint(id).await;
    let waiting = shown["waiting"].as_i64().unwrap();
    assert!((1_000..1_020).contains(&waiting), "{waiting}");
    assert!(shown["last_event_id"].as_i64().unwrap() < ids[2_100], "it reads on and on");
    world.receiver.say(|_| Say::Status(200));
    world.publish_after(10).await;
    let received: HashSet<String> = world.receiver.ids().into_iter().collect();
    assert!(evt(&ids).iter().all(|id| received.contains(id)));
}

#[actix_web::test]
async fn events_that_an_endpoint_can_not_take_do_not_keep_later_ones_from_it() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    // Every other event of sixty is refused, for good: none of them looks like an endpoint that is down, but
    // afterwards thirty are due at the same time.
    let bad: HashSet<String> = evt(&world.happen(60).await).into_iter().step_by(2).collect();
    let refused = bad.clone();
    world.receiver.say(move |one| Say::Status(if refused.contains(&one.id) { 500 } else { 200 }));
    world.publish().await;
    assert_eq!(world.endpoint(id).await["waiting"], 30);
    let mut good = Vec::new();
    for _ in 0..10 {
        good.extend(evt(&world.happen(20).await));
        for _ in 0..10 {
            world.publish_after(7).await;
        }
    }
    let received: HashSet<String> = world.receiver.ids().into_iter().collect();
    let missing = good.iter().filter(|id| !received.contains(*id)).count();
    assert_eq!(missing, 0);
    // And they keep to their own schedule: some ten minutes are three tries, and a fourth is far off.
    let tries = world.receiver.ids().iter().filter(|id| bad.contains(*id)).count();
    assert!(tries <= 30 * 3, "{tries}");
    assert_eq!(world.endpoint(id).await["waiting"], 30);
}

#[actix_web::test]
async fn days_of_nothing_but_failures_disable_with_a_reason_that_is_seen() {
    let world = World::start().await;
    let (id, _) = world.add(json!({"types": ["user.*"]})).await;
    let (watcher, _) =
        world.add(json!({"url": format!("{}/watch", world.receiver.base), "types": ["alert.*"]})).await;
    world.receiver.say(|one| if one.path == "/watch" { Say::Status(200) } else { Say::Status(500) });
    for _ in 0..130 {
        world.happen(1).await;
        world.publish_after(3_600).await;
    }
    let shown = world.endpoint(id).await;
    assert_eq!(shown["enabled"], false);
    let reason = shown["disabled_reason"].as_str().unwrap();
    assert!(reason.contains("5 days") && reason.contains("answered 500"), "{reason}");
    assert_eq!(world.told("alert.webhook_failing").await.len(), 1);
    let told = world.told("alert.webhook_disabled").await;
    assert_eq!(told, [json!({"endpoint_id": id, "reason": reason})]);
    let types: Vec<Value> = world
        .receiver
        .received()
        .iter()
        .filter(|one| one.path == "/watch")
        .map(|one| one.json()["type"].clone())
        .collect();
    assert_eq!(types, ["alert.webhook_failing", "alert.webhook_disabled"]);
    assert!(world.endpoint(watcher).await["enabled"] == true);
    // Enabled again it begins with a clean sheet, and is not disabled by its next failure.
    world.receiver.forget();
    world.app.patch(&format!("/webhook-endpoints/{id}"), &json!({"enabled": true})).await.expect(200);
    world.publish_after(1).await;
    let shown = world.endpoint(id).await;
    assert!(shown["enabled"] == true && !world.receiver.received().is_empty(), "{shown}");
}

#[actix_web::test]
async fn gone_disables_at_once_and_nothing_more_is_sent() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    world.receiver.say(|_| Say::Status(410));
    world.happen(5).await;
    world.publish().await;
    assert_eq!(world.receiver.received().len(), 1);
    let shown = world.endpoint(id).await;
    assert_eq!(shown["enabled"], false);
    assert!(shown["disabled_reason"].as_str().unwrap().contains("410"));
    assert_eq!(world.deliveries(id, "").await[0]["status"], "failed");
    assert_eq!(world.told("alert.webhook_disabled").await.len(), 1);
}

/// The verdict comes late: the address is changed while the request is under way.
#[actix_web::test]
async fn what_the_address_before_answers_says_nothing_about_the_new_one() {
    for say in [410, 500, 429] {
        let world = World::start().await;
        let (id, _) = world.add(json!({"types": ["user.updated"]})).await;
        // The last failure of five days, if it counted.
        let long = world.app.clock.now() - 6 * 86_400_000;
        world
            .app
            .store
            .write::<_, _, StoreError>(move |tx| {
                let sql = "UPDATE webhook_endpoints SET failures = 99, failing_since = ?1, is_alerted = 1";
                tx.conn().execute(sql, [long])?;
                Ok(())
            })
            .await
            .unwrap();
        let ids = world.happen(1).await;
        // While the old address thinks, somebody writes the new one.
        let (asked, has_asked) = std::sync::mpsc::channel();
        let (moved, has_moved) = std::sync::mpsc::channel::<()>();
        let has_moved = std::sync::Mutex::new(has_moved);
        world.receiver.say(move |one| {
            if one.path == "/hook" {
                asked.send(()).unwrap();
                has_moved.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap();
                Say::Status(say)
            } else {
                Say::Status(200)
            }
        });
        world.publisher.tick().await.unwrap();
        tokio::task::spawn_blocking(move || has_asked.recv_timeout(Duration::from_secs(5)).unwrap())
            .await
            .unwrap();
        let url = json!({"url": format!("{}/new", world.receiver.base)});
        world.app.patch(&format!("/webhook-endpoints/{id}"), &url).await.expect(200);
        moved.send(()).unwrap();
        world.publisher.settle().await;
        let shown = world.endpoint(id).await;
        assert_eq!((&shown["enabled"], &shown["disabled_reason"]), (&json!(true), &Value::Null), "{say}");
        assert!(world.told("alert.webhook_disabled").await.is_empty(), "{say}");
        world.publish_after(if say == 410 { 1 } else { 60 }).await;
        let last = world.receiver.received().pop().unwrap();
        assert_eq!((last.path.as_str(), &last.id), ("/new", &evt(&ids)[0]), "{say}");
        assert_eq!(world.deliveries(id, "").await[0]["status"], "delivered", "{say}");
    }
}

#[actix_web::test]
async fn who_asks_for_a_rest_gets_it() {
    let world = World::start().await;
    world.add(json!({})).await;
    world.receiver.say(|_| Say::RetryAfter(429, 120));
    world.happen(5).await;
    world.publish().await;
    world.publish_after(100).await;
    assert_eq!(world.receiver.received().len(), 1, "everything rests");
    world.receiver.say(|_| Say::Status(200));
    world.publish_after(25).await;
    assert_eq!(world.receiver.received().len(), 6);
    // Of one event with 503, only that one waits.
    world.receiver.forget();
    let ids = world.happen(3).await;
    let first = evt(&ids)[0].clone();
    world.receiver.say(move |one| if one.id == first { Say::RetryAfter(503, 600) } else { Say::Status(200) });
    world.publish().await;
    world.publish_after(599).await;
    assert_eq!(world.receiver.received().len(), 3);
    world.publish_after(2).await;
    assert_eq!(world.receiver.received().len(), 4);
}

#[actix_web::test]
async fn redirects_silence_and_closed_doors_are_failures() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    let elsewhere = format!("{}/elsewhere", world.receiver.base);
    world.receiver.say(move |_| Say::Redirect(elsewhere.clone()));
    world.happen(1).await;
    world.publish().await;
    assert_eq!(world.receiver.received().len(), 1, "a redirect is not followed");
    world.receiver.say(|_| Say::Silence);
    world.happen(1).await;
    world.publish().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/secret-token");
    world.app.patch(&format!("/webhook-endpoints/{id}"), &json!({"url": url})).await.expect(200);
    world.publish().await;
    let errors: Vec<String> =
        world.deliveries(id, "").await.iter().map(|row| row["error"].as_str().unwrap().to_owned()).collect();
    assert!(errors.iter().all(|error| error.starts_with("no connection: ")), "{errors:?}");
    assert!(errors.iter().all(|error| !error.contains("secret-token")), "{errors:?}");
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    let elsewhere = format!("{}/elsewhere", world.receiver.base);
    let first = evt(&world.happen(2).await)[0].clone();
    world.receiver.say(
        move |one| {
            if one.id == first { Say::Redirect(elsewhere.clone()) } else { Say::Silence }
        },
    );
    world.publish().await;
    let log = world.deliveries(id, "").await;
    assert_eq!(log[1]["error"], "answered 302; redirects are not followed");
    assert_eq!((&log[0]["error"], &log[0]["http_status"]), (&json!("no answer in time"), &json!(null)));
}

#[actix_web::test]
async fn a_crash_between_a_request_and_its_note_sends_the_same_event_again() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    let ids = world.happen(30).await;
    // The store takes no note of deliveries: what a crash before the commit leaves behind.
    let refuse =
        "CREATE TRIGGER crash BEFORE INSERT ON webhook_deliveries BEGIN SELECT RAISE(ABORT, 'crash'); END";
    let change = async |sql: &'static str| {
        world.app.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(sql)?)).await.unwrap();
    };
    change(refuse).await;
    world.publisher.tick().await.unwrap();
    world.publisher.settle().await;
    let first = world.receiver.ids();
    assert!(!first.is_empty());
    assert!(world.deliveries(id, "").await.is_empty());
    change("DROP TRIGGER crash").await;
    // Another process after the crash.
    super::publish(&publisher(&world.app.store)).await;
    let received = world.receiver.ids();
    assert_eq!(received[first.len()..], evt(&ids), "everything, under the same ids");
}

#[actix_web::test]
async fn killed_again_and_again_nothing_is_forgotten() {
    let world = World::start().await;
    world.add(json!({})).await;
    let ids = world.happen(300).await;
    let mut kills = 0;
    for round in 0..200 {
        let publisher = publisher(&world.app.store);
        publisher.tick().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1 + round % 13)).await;
        // Dropped with requests under way, and with it every round.
        drop(publisher);
        kills += 1;
        if world.receiver.ids().contains(&format!("evt_{}", ids[299])) {
            break;
        }
    }
    world.publish().await;
    assert!(kills > 3, "{kills}");
    let received = world.receiver.received();
    let distinct: HashSet<&String> = received.iter().map(|one| &one.id).collect();
    assert!(evt(&ids).iter().all(|id| distinct.contains(id)));
    // Who is sent twice is sent the same.
    for id in distinct {
        let bodies: HashSet<&String> =
            received.iter().filter(|one| one.id == *id).map(|one| &one.body).collect();
        assert_eq!(bodies.len(), 1);
    }
}

#[actix_web::test]
async fn several_at_a_time_are_faster_and_lose_nothing() {
    let world = World::start().await;
    world.add(json!({})).await;
    let live = Live::new(Settings { in_flight_per_endpoint: 4, ..settings() });
    let publisher = Publisher::new(world.app.store.clone(), live, Metrics::default()).unwrap();
    let ids = world.happen(100).await;
    let poison = evt(&ids)[50].clone();
    world.receiver.say(move |one| if one.id == poison { Say::Status(500) } else { Say::Status(200) });
    super::publish(&publisher).await;
    let mut received = world.receiver.ids();
    received.sort_by_key(|id| id[4..].parse::<i64>().unwrap());
    assert_eq!(received, evt(&ids));
}

#[actix_web::test]
async fn events_that_were_forgotten_before_they_were_delivered_are_told() {
    let world = World::start().await;
    let (id, _) = world.add(json!({"types": ["user.updated"]})).await;
    let path = format!("/webhook-endpoints/{id}");
    world.app.patch(&path, &json!({"enabled": false})).await.expect(200);
    let ids = world.happen(10).await;
    let last = ids[4];
    world
        .app
        .store
        .write::<_, _, StoreError>(move |tx| {
            tx.conn().execute("INSERT INTO guards (name, upto) VALUES ('retention', ?1)", [last])?;
            tx.conn().execute("DELETE FROM events WHERE id <= ?1", [last])?;
            tx.conn().execute("DELETE FROM guards", [])?;
            Ok(())
        })
        .await
        .unwrap();
    world.app.patch(&path, &json!({"enabled": true})).await.expect(200);
    world.publish().await;
    assert_eq!(world.receiver.ids(), evt(&(ids[5]..=ids[9]).collect::<Vec<_>>()));
    let told = world.told("alert.webhook_failing").await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0]["reason"].as_str().unwrap().contains(&format!("to {} were not delivered", ids[4])),
        "{told:?}"
    );
}
