//! `/events` and `/events/stream`: resume, filters, what is too old, slow readers, keys that end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use event_stream_engine::app::App;
use event_stream_engine::clock::Clock;
use event_stream_engine::config::Config;
use event_stream_engine::domain::event::EventType;
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::events::{self, NewEvent};
use event_stream_engine::store::{Store, StoreError, StorePaths};
use event_stream_engine::web::streams::{MOST_OF_KEY, MOST_STREAMS};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::api::{TestApp, send};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Writes `n` events that say `text`.
async fn happen(store: &Store, kind: EventType, n: usize, text: &str) -> i64 {
    let text = text.to_owned();
    store
        .write::<_, _, StoreError>(move |tx| {
            let mut last = 0;
            for _ in 0..n {
                let data = Some(json!({"text": text}));
                last = events::append(tx, kind, NewEvent { data, ..NewEvent::default() })?;
            }
            Ok(last)
        })
        .await
        .unwrap()
}

fn all_ids(store: &Store) -> Vec<i64> {
    store
        .read_here(|conn| events::list_after(conn, 0, &[], 100_000))
        .unwrap()
        .0
        .iter()
        .map(|e| e.id)
        .collect()
}

/// Forgets events up to `id`, as retention does.
async fn forget_through(store: &Store, id: i64) {
    store
        .write::<_, _, StoreError>(move |tx| {
            tx.conn().execute("INSERT INTO guards (name, upto) VALUES ('retention', ?1)", [id])?;
            tx.conn().execute("DELETE FROM events WHERE id <= ?1", [id])?;
            tx.conn().execute("DELETE FROM guards", [])?;
            Ok(())
        })
        .await
        .unwrap();
}

/// A reader of server-sent events.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    async fn open(request: reqwest::RequestBuilder) -> Reader {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Reader { response, text: String::new() }
    }

    /// The next block, comments too. `None`: the server ended the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let rest = self.text.split_off(end + 2);
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("nothing came");
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()?).unwrap());
        }
    }

    /// The next event: its id and its data.
    async fn event(&mut self) -> Option<(i64, Value)> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let Some(data) = field("data:") {
                let data: Value = serde_json::from_str(data).unwrap();
                let id: i64 = field("id:").unwrap().parse().unwrap();
                assert_eq!(data["id"], id);
                assert_eq!(data["type"], field("event:").unwrap());
                return Some((id, data));
            }
        }
    }
}

fn stream(app: &TestApp, query: &str) -> reqwest::RequestBuilder {
    app.request("GET", &format!("/events/stream{query}"))
}

#[actix_web::test]
async fn a_consumer_that_is_killed_and_comes_back_misses_nothing_and_sees_nothing_twice() {
    let app = TestApp::start().await;
    let store = app.store.clone();
    let writer = tokio::spawn(async move {
        for n in 0..300 {
            happen(&store, EventType::UserUpdated, 1 + n % 7, "x").await;
        }
        happen(&store, EventType::CampaignFinished, 1, "last").await
    });
    let (mut seen, mut last) = (Vec::new(), String::new());
    let mut kills = 0;
    'consumer: loop {
        let mut reader = Reader::open(stream(&app, "").header("Last-Event-ID", &last)).await;
        // Cut off after an odd number of events, wherever that is in a page.
        for _ in 0..37 + 10 * (kills % 5) {
            let (id, event) = reader.event().await.unwrap();
            seen.push(id);
            last = id.to_string();
            if event["data"]["text"] == "last" {
                break 'consumer;
            }
        }
        kills += 1;
    }
    writer.await.unwrap();
    assert!(kills > 10, "{kills}");
    assert_eq!(seen, all_ids(&app.store));
}

#[actix_web::test]
async fn the_list_and_the_stream_tell_the_same_events() {
    let app = TestApp::start().await;
    let id = app.add_user("+14155550101", "opt_in").await;
    app.patch(&format!("/users/{id}"), &json!({"attributes": {"name": "Ana"}})).await.expect(200);
    let listed = app.get("/events").await.expect(200);
    let listed = listed["data"].as_array().unwrap();
    assert!(listed.len() >= 3);
    let mut reader = Reader::open(stream(&app, "")).await;
    for expected in listed {
        assert_eq!(&reader.event().await.unwrap().1, expected);
    }
}

#[actix_web::test]
async fn types_filter_and_the_header_knows_better_than_the_address() {
    let app = TestApp::start().await;
    // More than one window of the store's look lies between the two that are wanted.
    let first = happen(&app.store, EventType::CampaignPaused, 1, "a").await;
    for _ in 0..21 {
        happen(&app.store, EventType::UserUpdated, 1_000, "between").await;
    }
    let second = happen(&app.store, EventType::CampaignResumed, 1, "b").await;
    let wanted = "types=campaign.paused,campaign.resumed";
    let mut reader = Reader::open(stream(&app, &format!("?{wanted}"))).await;
    assert_eq!(reader.event().await.unwrap().0, first);
    assert_eq!(reader.event().await.unwrap().0, second);
    let mut reader =
        Reader::open(stream(&app, &format!("?after=0&{wanted}")).header("Last-Event-ID", first)).await;
    assert_eq!(reader.event().await.unwrap().0, second);
    let mut reader = Reader::open(stream(&app, &format!("?after={first}&{wanted}"))).await;
    assert_eq!(reader.event().await.unwrap().0, second);
    // A live reader at the head gets what comes.
    let third = happen(&app.store, EventType::CampaignPaused, 1, "c").await;
    assert_eq!(reader.event().await.unwrap().0, third);
    let page = app.get(&format!("/events?after={first}&{wanted}&limit=1")).await.expect(200);
    let mut after = page["next_after"].as_i64().unwrap();
    let mut found = page["data"].as_array().unwrap().clone();
    while found.is_empty() {
        let page = app.get(&format!("/events?after={after}&{wanted}&limit=1")).await.expect(200);
        after = page["next_after"].as_i64().unwrap();
        found = page["data"].as_array().unwrap().clone();
    }
    assert_eq!(found[0]["id"], second);
}

#[actix_web::test]
async fn what_is_asked_wrongly_is_named() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/events/stream?types=user.flew").await.fields(), ["types"]);
    assert_eq!(app.get("/events/stream?after=-1").await.fields(), ["after"]);
    assert_eq!(app.get("/events/stream?limit=5").await.fields(), ["limit"]);
    for id in ["x", "-3", "1.5", "99999999999999999999"] {
        let answer = send(stream(&app, "").header("Last-Event-ID", id)).await;
        assert_eq!(answer.fields(), ["Last-Event-ID"], "{id}");
    }
}

#[actix_web::test]
async fn who_saw_more_than_there_is_is_told_so_and_where_to_go_on() {
    let app = TestApp::start().await;
    let last = happen(&app.store, EventType::UserUpdated, 5, "x").await;
    for after in [last + 1, i64::MAX] {
        for path in ["/events", "/events/stream"] {
            let told = app.get(&format!("{path}?after={after}")).await.problem(410);
            assert_eq!(told["oldest_id"], 1, "{told}");
        }
    }
    let page = app.get(&format!("/events?after={last}")).await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next_after"]), (0, &json!(last)));
    forget_through(&app.store, last).await;
    app.get(&format!("/events?after={last}")).await.expect(200);
    assert_eq!(app.get(&format!("/events?after={}", last + 1)).await.problem(410)["oldest_id"], last + 1);
}

#[actix_web::test]
async fn who_stands_before_what_is_kept_is_told_where_to_go_on() {
    let app = TestApp::start().await;
    let last = happen(&app.store, EventType::UserUpdated, 50, "x").await;
    let mut behind = Reader::open(stream(&app, &format!("?after={}", last - 1))).await;
    assert_eq!(behind.event().await.unwrap().0, last);
    forget_through(&app.store, last - 10).await;
    for path in ["/events?after=3", "/events/stream?after=3"] {
        let body = app.get(path).await.problem(410);
        assert_eq!(body["oldest_id"], last - 9, "{body}");
    }
    send(stream(&app, "?after=999").header("Last-Event-ID", "3")).await.problem(410);
    // The last id that is gone is the one right before the oldest: nothing is missing behind it.
    let page = app.get(&format!("/events?after={}", last - 10)).await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 10);
    // Also when nothing is kept at all.
    forget_through(&app.store, last).await;
    assert_eq!(app.get("/events?after=3").await.problem(410)["oldest_id"], last + 1);
    let page = app.get("/events").await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next_after"]), (0, &json!(last)));
    let next = happen(&app.store, EventType::UserUpdated, 1, "x").await;
    assert_eq!(behind.event().await.unwrap().0, next);
}

#[actix_web::test]
async fn a_stream_ends_when_it_is_overtaken_by_what_is_forgotten() {
    let app = TestApp::start().await;
    let last = happen(&app.store, EventType::UserUpdated, 10, "x").await;
    let mut reader = Reader::open(stream(&app, &format!("?after={last}"))).await;
    reader.block().await.unwrap();
    // In one commit, so that the stream can't have read what it missed.
    app.store
        .write::<_, _, StoreError>(move |tx| {
            for _ in 0..5 {
                events::append(tx, EventType::UserUpdated, NewEvent::default())?;
            }
            tx.conn().execute("INSERT INTO guards (name, upto) VALUES ('retention', ?1)", [last + 3])?;
            tx.conn().execute("DELETE FROM events WHERE id <= ?1", [last + 3])?;
            tx.conn().execute("DELETE FROM guards", [])?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(reader.event().await, None);
    send(stream(&app, "").header("Last-Event-ID", last)).await.problem(410);
}

#[actix_web::test]
async fn silence_is_filled_with_comments() {
    let app = TestApp::start().await;
    let newest = *all_ids(&app.store).last().unwrap();
    let mut reader = Reader::open(stream(&app, &format!("?after={newest}"))).await;
    assert!(reader.block().await.unwrap().contains("retry: 1000\n"));
    for _ in 0..2 {
        let block = reader.block().await.unwrap();
        assert!(block.starts_with(':') && !block.contains("data:") && !block.contains("id:"), "{block}");
    }
}

#[actix_web::test]
async fn a_stream_ends_with_its_key() {
    let app = TestApp::start().await;
    let short = app.add_key(&[Scope::Read], Some(app.clock.now() + 60_000)).await;
    let revoked = app.add_key(&[Scope::Read], None).await;
    let id = app.store.read(api_keys::list).await.unwrap().last().unwrap().id;
    let open = async |key: &str| {
        let request = app.bare("GET", "/api/v1/events/stream?after=3").bearer_auth(key);
        let mut reader = Reader::open(request).await;
        reader.block().await.unwrap();
        reader
    };
    let (mut first, mut second) = (open(&short).await, open(&revoked).await);
    let mut third = open(&app.key).await;
    app.clock.advance(60_000);
    while first.block().await.is_some() {}
    assert!(second.block().await.is_some());
    app.store.write(move |tx| api_keys::revoke(tx, id, "test")).await.unwrap();
    while second.block().await.is_some() {}
    assert!(third.block().await.is_some());
}

#[actix_web::test]
async fn streams_are_counted_and_one_too_many_is_refused_of_a_key_and_of_all() {
    let app = TestApp::start().await;
    let mut open = Vec::new();
    let path = "/api/v1/events/stream";
    while open.len() < MOST_STREAMS {
        let key = app.add_key(&[Scope::Read], None).await;
        for _ in 0..MOST_OF_KEY.min(MOST_STREAMS - open.len()) {
            open.push(Reader::open(app.bare("GET", path).bearer_auth(&key)).await);
        }
        let refused = tokio::time::timeout(PATIENCE, send(app.bare("GET", path).bearer_auth(&key))).await;
        let refused = refused.expect("one more was opened");
        assert!(refused.header("retry-after").is_some());
        let refused = refused.problem(429);
        assert_eq!(refused["code"], "too_many_streams");
        assert!(refused["detail"].as_str().unwrap().contains("with this key"), "{refused}");
    }
    // Another key's turn: all places are taken.
    let refused = app.get("/events/stream").await.problem(429);
    assert_eq!(refused["code"], "too_many_streams");
    assert!(!refused["detail"].as_str().unwrap().contains("with this key"), "{refused}");
    app.get("/events").await.expect(200);
    open.pop();
    let end = Instant::now() + PATIENCE;
    while app.streams.open() == MOST_STREAMS {
        assert!(Instant::now() < end, "a closed connection keeps its place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Reader::open(stream(&app, "")).await;
}

#[actix_web::test]
async fn a_consumer_that_does_not_read_makes_nobody_read_ahead() {
    let app = TestApp::start().await;
    let text = "x".repeat(4_000);
    for _ in 0..60 {
        happen(&app.store, EventType::UserUpdated, 250, &text).await;
    }
    let total = all_ids(&app.store).len() as u64;
    let mut socket = TcpStream::connect(app.base.strip_prefix("http://").unwrap()).unwrap();
    write!(
        socket,
        "GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        app.key
    )
    .unwrap();
    // Until the buffers of the system are full and nothing moves any more.
    let mut before = u64::MAX;
    while before != app.streams.sent() || before == 0 {
        before = app.streams.sent();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // 60 MB wait; what the system buffers on a loopback connection is some megabytes.
    assert!(before < total / 3, "{before} of {total} events were read for a socket that takes none");
    // Others are served meanwhile, and the slow one still gets everything.
    let mut other = Reader::open(stream(&app, "")).await;
    other.event().await.unwrap();
    let received = tokio::task::spawn_blocking(move || {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut buffer, mut bytes, mut tail) = (vec![0; 1 << 20], 0, String::new());
        while !tail.contains(&format!("id: {total}\n")) {
            let n = socket.read(&mut buffer).unwrap();
            assert!(n > 0, "ended after {bytes} bytes");
            bytes += n;
            let keep = tail.len().saturating_sub(30);
            tail = tail.get(keep..).unwrap_or_default().to_owned() + &String::from_utf8_lossy(&buffer[..n]);
        }
        bytes
    })
    .await
    .unwrap();
    assert!(received > 60_000_000);
}

#[tokio::test]
async fn a_stop_ends_open_streams_at_once_and_another_process_is_heard() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("own.toml");
    let place = dir.path().display();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"{place}/ese.db\"\nkey_file = \"{place}/ese.key\"\n"
    );
    std::fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), []).unwrap();
    let app = App::start(config, Clock::system()).await.unwrap();
    let (_, key) =
        app.store.write(|tx| api_keys::insert(tx, "k", &[Scope::Read], None, "test")).await.unwrap();
    let url = format!("http://{}/api/v1/events/stream?after=1", app.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut reader = Reader::open(client.get(&url).bearer_auth(key.expose_secret())).await;
    reader.block().await.unwrap();
    // A second opening of the file stands for another process: nothing in this one tells the server of it.
    let other = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
    let began = Instant::now();
    let id = happen(&other, EventType::UserUpdated, 1, "from elsewhere").await;
    assert_eq!(reader.event().await.unwrap().0, id);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    other.close().await.unwrap();
    let began = Instant::now();
    app.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2), "the stop took {:?}", began.elapsed());
    assert_eq!(reader.event().await, None);
}
