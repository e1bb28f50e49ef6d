//! The resource: what is shown, what is refused, secrets, filters, tests, resending, the log.

use event_stream_engine::domain::event::EventType;
use event_stream_engine::publish;
use event_stream_engine::store::StoreError;
use serde_json::json;
use standardwebhooks::Webhook;

use super::{Say, World, evt, happen};
use crate::support::api::send;

/// Whether a request carries a signature of this secret; the time is the clock's of the test.
fn is_signed_by(secret: &str, one: &super::Received) -> bool {
    let expected = Webhook::new(secret)
        .unwrap()
        .sign(&one.id, one.timestamp.parse().unwrap(), one.body.as_bytes())
        .unwrap();
    one.signature.split(' ').any(|signature| signature == expected)
}

#[actix_web::test]
async fn events_arrive_in_order_signed_once_and_as_they_are_listed() {
    let world = World::start().await;
    let before = world.happen(3).await;
    let (id, secret) = world.add(json!({"description": "CRM"})).await;
    let ids = world.happen(45).await;
    world.publish().await;
    let received = world.receiver.received();
    assert_eq!(world.receiver.ids(), evt(&ids), "{before:?} came before the endpoint");
    let listed = world.app.get(&format!("/events?after={}&limit=200", ids[0] - 1)).await.expect(200);
    for (one, listed) in received.iter().zip(listed["data"].as_array().unwrap()) {
        assert!(is_signed_by(&secret, one));
        assert_eq!(one.path, "/hook");
        let body = one.json();
        assert_eq!(
            (&body["data"], &body["type"], &body["timestamp"]),
            (listed, &listed["type"], &listed["at"])
        );
    }
    world.publish().await;
    assert_eq!(world.receiver.received().len(), 45);
    let log = world.deliveries(id, "?limit=200").await;
    assert_eq!(log.len(), 45);
    assert_eq!((&log[0]["event_id"], &log[0]["status"]), (&json!(ids[44]), &json!("delivered")));
    assert_eq!((&log[0]["http_status"], &log[0]["attempts"]), (&json!(200), &json!(1)));
    assert!(log[0]["latency_ms"].is_i64() && log[0]["next_attempt_at"].is_null());
    let shown = world.endpoint(id).await;
    assert_eq!((&shown["last_event_id"], &shown["waiting"]), (&json!(ids[44]), &json!(0)));
    assert!(shown["last_success_at"].is_string() && shown["failing_since"].is_null());
}

#[actix_web::test]
async fn a_filter_lets_through_what_it_names_and_what_it_passes_over_costs_no_row() {
    let world = World::start().await;
    let (some, _) = world.add(json!({"types": ["campaign.paused", "alert.*"]})).await;
    let store = &world.app.store;
    happen(store, EventType::UserUpdated, 500).await;
    let mut wanted = happen(store, EventType::CampaignPaused, 2).await;
    happen(store, EventType::UserUpdated, 500).await;
    wanted.extend(happen(store, EventType::AlertDiskLow, 1).await);
    world.publish().await;
    assert_eq!(world.receiver.ids(), evt(&wanted));
    assert_eq!(world.deliveries(some, "?limit=200").await.len(), 3);
    // What was passed over is written down after a long stretch, and not looked at again and again before.
    for _ in 0..11 {
        happen(store, EventType::UserUpdated, 1_000).await;
    }
    world.publish().await;
    assert!(world.endpoint(some).await["last_event_id"].as_i64().unwrap() > wanted[2] + 10_000);
}

#[actix_web::test]
async fn the_secret_is_shown_once_and_kept_sealed() {
    let world = World::start().await;
    let body = json!({"url": format!("{}/hook", world.receiver.base)});
    let make = || {
        let request = world.app.request("POST", "/webhook-endpoints");
        send(request.header("Idempotency-Key", "a").json(&body))
    };
    let first = make().await.expect(201);
    let secret = first["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    let again = make().await.expect(201);
    assert_eq!(again["id"], first["id"]);
    assert!(again["secret"].is_null(), "{again}");
    let path = format!("/webhook-endpoints/{}", first["id"]);
    assert!(world.app.get(&path).await.expect(200).get("secret").is_none());
    // Nowhere in the file, neither the text nor its bytes.
    world.app.store.checkpoint().await.unwrap();
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(world.app.dir.path()).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let tail = &secret.as_bytes()[6..];
    assert!(bytes.len() > 4_096 && !bytes.windows(tail.len()).any(|part| part == tail));
    let told = world.told("admin.changed").await;
    assert!(told.iter().any(|data| data["change"] == "added" && data["webhook_endpoint_id"] == first["id"]));
}

#[actix_web::test]
async fn while_a_secret_is_rotated_both_sign_and_after_a_day_only_the_new_one() {
    let world = World::start().await;
    let (id, old) = world.add(json!({})).await;
    let rotated =
        world.app.post(&format!("/webhook-endpoints/{id}/rotate-secret"), &json!({})).await.expect(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    assert_eq!(rotated["previous_secret_expires_at"], "2026-11-24T12:00:00Z");
    world.publish().await;
    world.publish_after(86_399).await;
    world.happen(1).await;
    world.publish().await;
    world.app.clock.advance(1_000);
    world.happen(1).await;
    world.publish().await;
    let received = world.receiver.received();
    let (last, both) = received.split_last().unwrap();
    assert!(!both.is_empty());
    for one in both {
        assert!(is_signed_by(&old, one) && is_signed_by(&new, one), "{one:?}");
    }
    assert!(!is_signed_by(&old, last) && is_signed_by(&new, last));
}

#[actix_web::test]
async fn what_is_wrong_with_an_endpoint_is_named() {
    let world = World::start().await;
    let post = async |body: serde_json::Value| world.app.post("/webhook-endpoints", &body).await;
    assert_eq!(post(json!({})).await.fields(), ["url"]);
    assert_eq!(post(json!({"url": "nonsense"})).await.fields(), ["url"]);
    assert_eq!(post(json!({"url": "ftp://127.0.0.1/"})).await.fields(), ["url"]);
    assert_eq!(post(json!({"url": "http://a:b@127.0.0.1/"})).await.fields(), ["url"]);
    assert_eq!(
        post(json!({"url": format!("https://example.com/{}", "x".repeat(2_000))})).await.fields(),
        ["url"]
    );
    let body =
        json!({"url": "http://127.0.0.1/", "types": ["user.created", "user.flew", "*"], "secret": "x"});
    assert_eq!(post(body).await.fields(), ["types[1]", "types[2]", "secret"]);
    let (id, _) = world.add(json!({})).await;
    let path = format!("/webhook-endpoints/{id}");
    assert_eq!(world.app.patch(&path, &json!({"url": null})).await.fields(), ["url"]);
    assert_eq!(world.app.patch(&path, &json!({"enabled": "yes", "id": 3})).await.fields(), ["enabled", "id"]);
    assert_eq!(world.app.get(&format!("{path}/deliveries?status=lost")).await.fields(), ["status"]);
    for path in
        ["/webhook-endpoints/99", "/webhook-endpoints/99/deliveries", "/webhook-endpoints/1/deliveries/7"]
    {
        world.app.get(path).await.problem(404);
    }
    world.app.post("/webhook-endpoints/99/test", &json!({})).await.problem(404);
    world.app.post(&format!("{path}/deliveries/999999/resend"), &json!({})).await.problem(404);
    world.app.delete("/webhook-endpoints/99").await.problem(404);
    for n in 1..50 {
        world.add(json!({"description": n.to_string()})).await;
    }
    let body = json!({"url": "http://127.0.0.1/"});
    assert_eq!(post(body).await.problem(409)["code"], "too_many");
}

#[actix_web::test]
async fn an_endpoint_is_changed_listed_and_removed_with_its_log() {
    let world = World::start().await;
    let (id, _) = world.add(json!({"types": ["user.updated"], "description": "a"})).await;
    let (second, _) = world.add(json!({"enabled": false})).await;
    let listed = world.app.get("/webhook-endpoints?limit=1").await.expect(200);
    assert_eq!(listed["data"][0]["id"], second);
    let cursor = listed["next_cursor"].as_str().unwrap();
    let listed = world.app.get(&format!("/webhook-endpoints?cursor={cursor}")).await.expect(200);
    assert_eq!((listed["data"][0]["id"].as_i64(), &listed["next_cursor"]), (Some(id), &json!(null)));
    world.happen(2_100).await;
    world.publish().await;
    assert_eq!(world.receiver.received().len(), 2_100);
    let path = format!("/webhook-endpoints/{id}");
    let patched = world.app.patch(&path, &json!({"description": "b", "types": null})).await.expect(200);
    assert_eq!((&patched["description"], &patched["types"]), (&json!("b"), &json!([])));
    assert_eq!(patched["url"], format!("{}/hook", world.receiver.base));
    assert_eq!(world.app.delete(&path).await.status, 204);
    world.app.get(&path).await.problem(404);
    let left: i64 = world
        .app
        .store
        .read_here(|conn| {
            Ok::<_, StoreError>(conn.query_row("SELECT count(*) FROM webhook_deliveries", [], |r| r.get(0))?)
        })
        .unwrap();
    assert_eq!(left, 0);
    world.happen(1).await;
    world.publish().await;
    assert_eq!(world.receiver.received().len(), 2_100, "the other one is disabled");
}

#[actix_web::test]
async fn a_disabled_endpoint_gets_nothing_and_goes_on_where_it_stood() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    let path = format!("/webhook-endpoints/{id}");
    let off = world.app.patch(&path, &json!({"enabled": false})).await.expect(200);
    assert_eq!(off["disabled_reason"], "Disabled by key:1.");
    let ids = world.happen(3).await;
    world.publish().await;
    assert!(world.receiver.received().is_empty());
    world.app.post(&format!("{path}/test"), &json!({})).await.problem(409);
    let on = world.app.patch(&path, &json!({"enabled": true})).await.expect(200);
    assert!(on["disabled_reason"].is_null() && on["enabled"] == true);
    world.publish().await;
    let received = world.receiver.ids();
    assert!(evt(&ids).iter().all(|id| received.contains(id)), "{received:?}");
}

#[actix_web::test]
async fn a_trial_goes_to_its_endpoint_alone_by_the_same_road() {
    let world = World::start().await;
    let (id, secret) = world.add(json!({"types": ["campaign.finished"]})).await;
    world.add(json!({"url": format!("{}/other", world.receiver.base)})).await;
    world.publish().await;
    world.receiver.forget();
    let asked = world.app.post(&format!("/webhook-endpoints/{id}/test"), &json!({})).await.expect(202);
    assert_eq!((&asked["event_type"], &asked["status"]), (&json!("webhook.tested"), &json!("pending")));
    world.publish().await;
    let received = world.receiver.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (&received[0].id, received[0].path.as_str()),
        (&evt(&[asked["id"].as_i64().unwrap()])[0], "/hook")
    );
    assert_eq!(received[0].json()["type"], "webhook.tested");
    assert!(is_signed_by(&secret, &received[0]));
    let path = format!("/webhook-endpoints/{id}/deliveries/{}", asked["id"]);
    assert_eq!(world.app.get(&path).await.expect(200)["status"], "delivered");
    // Nor can it be had by somebody else later.
    let path = format!("/webhook-endpoints/{}/deliveries/{}/resend", id + 1, asked["id"]);
    world.app.post(&path, &json!({})).await.problem(404);
}

#[actix_web::test]
async fn an_event_is_sent_again_when_somebody_asks_under_the_same_id() {
    let world = World::start().await;
    let earlier = world.happen(1).await;
    let (id, _) = world.add(json!({})).await;
    let ids = world.happen(1).await;
    world.publish().await;
    for event in [ids[0], earlier[0]] {
        let path = format!("/webhook-endpoints/{id}/deliveries/{event}/resend");
        let asked = world.app.post(&path, &json!({})).await.expect(202);
        assert_eq!((&asked["id"], &asked["status"]), (&json!(event), &json!("pending")));
        world.publish().await;
    }
    assert_eq!(world.receiver.ids(), evt(&[ids[0], ids[0], earlier[0]]));
    assert_eq!(world.receiver.received()[0].body, world.receiver.received()[1].body);
    assert_eq!(world.deliveries(id, "").await[0]["attempts"], 2);
}

#[actix_web::test]
async fn the_log_forgets_what_is_old_and_waits_for_nothing() {
    let world = World::start().await;
    let (id, _) = world.add(json!({})).await;
    world.receiver.say(|one| if one.id.ends_with('7') { Say::Status(500) } else { Say::Status(204) });
    let ids = world.happen(2_500).await;
    world.publish().await;
    world.app.clock.advance(8 * 86_400_000);
    let young = world.happen(2).await;
    // The tries that are due fail again and stay.
    let waiting = world.deliveries(id, "?status=pending&limit=200").await.len();
    assert!(waiting > 100, "{waiting}");
    assert_eq!(waiting as i64, world.endpoint(id).await["waiting"].as_i64().unwrap().min(200));
    for _ in 0..3 {
        world.publish_after(2).await;
    }
    publish::prune_log(&world.app.store, 7 * 86_400_000).await.unwrap();
    let left = world.deliveries(id, "?status=delivered&limit=200").await;
    assert!(left.iter().all(|row| young.contains(&row["event_id"].as_i64().unwrap())), "{left:?}");
    assert!(left.len() == 1 || left.len() == 2, "one of two may end in a 7");
    let pending = world.deliveries(id, "?status=pending&limit=200").await;
    assert!(pending.iter().any(|row| ids.contains(&row["event_id"].as_i64().unwrap())));
}
