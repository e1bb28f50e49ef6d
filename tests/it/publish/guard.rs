//! No way through an endpoint into the network behind the server.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use event_stream_engine::domain::webhook::address::Policy;
use event_stream_engine::live::Live;
use event_stream_engine::metrics::Metrics;
use event_stream_engine::publish::{Lookup, Publisher, Settings};
use event_stream_engine::store::StoreError;
use serde_json::json;

use super::{Receiver, World, happen, publish, settings};
use crate::support::api::TestApp;
use event_stream_engine::domain::event::EventType;

/// A name server that leads every name to these addresses, and counts how often it is asked.
fn leads_to(addresses: &'static [&'static str], asked: &Arc<AtomicUsize>) -> Lookup {
    let asked = Arc::clone(asked);
    Arc::new(move |_| {
        asked.fetch_add(1, Ordering::SeqCst);
        Ok(addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect())
    })
}

#[actix_web::test]
async fn private_addresses_are_refused_when_they_are_set() {
    let app = TestApp::start().await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://localhost/",
        "https://10.0.0.8:8443/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::10.0.0.1]/",
        "https://[fd00::1]/",
        "https://metadata.google.internal/",
    ] {
        assert_eq!(app.post("/webhook-endpoints", &json!({"url": url})).await.fields(), ["url"], "{url}");
    }
    let made =
        app.post("/webhook-endpoints", &json!({"url": "https://93.184.216.34/hook"})).await.expect(201);
    let path = format!("/webhook-endpoints/{}", made["id"]);
    assert_eq!(app.patch(&path, &json!({"url": "https://192.168.1.1/"})).await.fields(), ["url"]);
}

#[actix_web::test]
async fn a_name_that_leads_inside_at_the_time_of_the_request_is_not_called() {
    let world = World::start().await;
    let port = world.receiver.base.rsplit(':').next().unwrap().to_owned();
    let url = format!("http://rebound.example:{port}/hook");
    let (id, _) = world.add(json!({"url": url})).await;
    world.happen(1).await;
    // The name itself may be called without TLS here; where it leads to is judged all the same.
    let strict = Settings { policy: Policy::default(), ..settings() };
    let asked = Arc::new(AtomicUsize::new(0));
    let make = |settings: Settings, addresses| {
        let lookup = leads_to(addresses, &asked);
        Publisher::with_lookup(world.app.store.clone(), Live::new(settings), Metrics::default(), lookup)
            .unwrap()
    };
    publish(&make(strict, &["127.0.0.1"])).await;
    assert!(world.receiver.received().is_empty());
    let log = world.deliveries(id, "").await;
    assert_eq!(log[0]["error"], "the URL must begin with https://", "{log:?}");
    // With https the door is reached, and is shut before any connection.
    let url = format!("https://rebound.example:{port}/hook");
    let change = format!("UPDATE webhook_endpoints SET url = '{url}'; DELETE FROM webhook_deliveries");
    world.app.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(&change)?)).await.unwrap();
    world.happen(1).await;
    let strict = Settings { policy: Policy::default(), ..settings() };
    publish(&make(strict, &["127.0.0.1", "::1", "169.254.169.254"])).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let log = world.deliveries(id, "").await;
    let error = log[0]["error"].as_str().unwrap();
    assert!(error.contains("is not an address of the public internet"), "{error}");
    // An address in the URL never asks the name server, and is judged as well.
    let change = format!(
        "UPDATE webhook_endpoints SET url = 'https://127.0.0.1:{port}/'; DELETE FROM webhook_deliveries"
    );
    world.app.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(&change)?)).await.unwrap();
    world.app.clock.advance(60_000);
    world.happen(1).await;
    let strict = Settings { policy: Policy::default(), ..settings() };
    publish(&make(strict, &["93.184.216.34"])).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let log = world.deliveries(id, "").await;
    assert!(log[0]["error"].as_str().unwrap().contains("127.0.0.1 is not"), "{log:?}");
    assert!(world.receiver.received().is_empty());
}

#[actix_web::test]
async fn an_allowed_name_is_called_wherever_it_leads() {
    let world = World::start().await;
    let port = world.receiver.base.rsplit(':').next().unwrap().to_owned();
    world.add(json!({"url": format!("http://hooks.example.internal:{port}/hook")})).await;
    world.happen(1).await;
    let policy = Policy { allowed_hosts: vec!["hooks.example.internal".to_owned()], ..Policy::default() };
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup = leads_to(&["127.0.0.1"], &asked);
    let live = Live::new(Settings { policy, ..settings() });
    let publisher =
        Publisher::with_lookup(world.app.store.clone(), live, Metrics::default(), lookup).unwrap();
    publish(&publisher).await;
    assert_eq!(world.receiver.received().len(), 1);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn a_proxy_of_the_environment_gets_nothing() {
    // The variables hold for a whole process, so this one speaks to a process of its own.
    let proxy = Receiver::start().await;
    let receiver = Receiver::start().await;
    let place = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = place.path().join("own.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_base_url = \"http://127.0.0.1:{port}\"\n\
         [store]\npath = \"{0}/ese.db\"\nkey_file = \"{0}/ese.key\"\n[webhooks]\nallow_private = true\n",
        place.path().display()
    );
    std::fs::write(&config, text).unwrap();
    let ese = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ese"));
        command.arg("--config").arg(&config).stdin(std::process::Stdio::null());
        command
    };
    let key = ese().args(["key", "add", "k", "--scope", "admin,read"]).output().unwrap();
    let key = String::from_utf8(key.stdout).unwrap().lines().last().unwrap().trim().to_owned();
    let mut server = ese()
        .arg("serve")
        .env("HTTP_PROXY", &proxy.base)
        .env("http_proxy", &proxy.base)
        .env("ALL_PROXY", &proxy.base)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://127.0.0.1:{port}");
    let mut is_up = false;
    for _ in 0..500 {
        is_up = client.get(format!("{base}/healthz")).send().await.is_ok();
        if is_up {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let url = format!("{base}/api/v1/webhook-endpoints");
    let body = json!({"url": format!("{}/hook", receiver.base)});
    let answer = client.post(&url).bearer_auth(&key).json(&body).send().await.unwrap();
    let (status, made) = (answer.status(), answer.json::<serde_json::Value>().await.unwrap());
    let test = format!("{url}/{}/test", made["id"]);
    let asked = client.post(test).bearer_auth(&key).send().await.unwrap().status();
    for _ in 0..500 {
        if !receiver.received().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let _ = server.kill();
    let _ = server.wait();
    assert!(is_up && status == 201 && asked == 202, "{is_up} {status} {asked} {made}");
    assert_eq!(receiver.received().len(), 1);
    assert!(proxy.received().is_empty());
}

#[actix_web::test]
async fn a_url_is_not_told_in_events() {
    let world = World::start().await;
    let url = format!("{}/hook?token=very-secret", world.receiver.base);
    let (id, _) = world.add(json!({"url": url})).await;
    world.app.patch(&format!("/webhook-endpoints/{id}"), &json!({"description": "x"})).await.expect(200);
    happen(&world.app.store, EventType::UserUpdated, 1).await;
    let events = world.app.get("/events?limit=200").await.text;
    assert!(!events.contains("very-secret") && events.contains("webhook_endpoint_id"));
}
