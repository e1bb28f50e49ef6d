//! What somebody should look at comes as an event of its own, once.

use event_stream_engine::clock::Clock;
use event_stream_engine::publish::watch::{Thresholds, look};
use event_stream_engine::store::backup::LAST_BACKUP;
use event_stream_engine::store::{Store, StoreError, StorePaths, cursors};
use serde_json::{Value, json};

use crate::support::{Engine, Wanted};

fn told(store: &Store, kind: &str) -> Vec<Value> {
    let kind = kind.to_owned();
    store
        .read_here(|conn| {
            let texts: Vec<String> = conn
                .prepare("SELECT data FROM events WHERE type = ?1 ORDER BY id")?
                .query_map([&kind], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok::<_, StoreError>(texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect())
        })
        .unwrap()
}

#[tokio::test]
async fn a_full_disk_and_an_old_backup_are_told_once_until_they_are_over() {
    const GB: u64 = 1_000_000_000;
    const HOUR: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
    assert!(store.free_bytes().unwrap() > 0);
    let thresholds = Thresholds { disk_free_mb: 1_000, backup_max_age_hours: 26 };
    let counts = || (told(&store, "alert.disk_low").len(), told(&store, "alert.backup_old").len());
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    look(&store, thresholds, None).await.unwrap();
    assert_eq!(counts(), (0, 0));
    for _ in 0..3 {
        look(&store, thresholds, Some(GB / 2)).await.unwrap();
    }
    assert_eq!(counts(), (1, 0));
    assert_eq!(told(&store, "alert.disk_low")[0], json!({"free_mb": 500, "threshold_mb": 1_000}));
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    look(&store, thresholds, Some(GB / 2)).await.unwrap();
    assert_eq!(counts(), (2, 0));
    // A file that never had a backup is as old as itself.
    clock.advance(26 * HOUR);
    let backup = async |at: i64| {
        store.write::<_, _, StoreError>(move |tx| cursors::set(tx, LAST_BACKUP, at)).await.unwrap();
    };
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    assert_eq!(counts(), (2, 1));
    backup(clock.now()).await;
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    clock.advance(25 * HOUR);
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    assert_eq!(counts(), (2, 1));
    clock.advance(HOUR);
    look(&store, thresholds, Some(2 * GB)).await.unwrap();
    // A restart tells nothing anew.
    let again = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
    look(&again, thresholds, Some(2 * GB)).await.unwrap();
    assert_eq!(counts(), (2, 2));
    assert_eq!(told(&store, "alert.backup_old")[1]["age_hours"], 26);
    let off = Thresholds { disk_free_mb: 0, backup_max_age_hours: 0 };
    clock.advance(1_000 * HOUR);
    look(&store, off, Some(0)).await.unwrap();
    assert_eq!(counts(), (2, 2));
}

#[actix_web::test]
async fn a_campaign_that_ends_is_an_alert_and_one_that_somebody_paused_is_none() {
    let mut engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    let pause = move |tx: &event_stream_engine::store::Tx<'_>| {
        event_stream_engine::campaign::pause(tx, id, "key:1").map(drop)
    };
    engine.store.write(pause).await.unwrap();
    let setup = engine.setup.clone();
    engine
        .store
        .write(move |tx| event_stream_engine::campaign::resume(tx, id, &setup, "key:1").map(drop))
        .await
        .unwrap();
    assert_eq!(engine.events("campaign.paused"), 1);
    assert_eq!(engine.events("alert.campaign_paused"), 0);
    engine.settle().await;
    assert_eq!(told(&engine.store, "alert.campaign_finished"), [json!({"name": "Test"})]);
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn wrong_credentials_alert_of_the_account_and_of_what_it_stopped() {
    let mut engine =
        Engine::start_with(Wanted { password: Some("wrong".to_owned()), ..Wanted::default() }).await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    engine.drain().await;
    let account = told(&engine.store, "alert.account_paused");
    assert_eq!(account.len(), 1);
    assert_eq!(told(&engine.store, "account.paused"), account);
    let campaign = told(&engine.store, "alert.campaign_paused");
    assert_eq!((campaign.len(), &campaign[0]["name"]), (1, &json!("Test")));
    assert_eq!(campaign[0]["reason"], account[0]["reason"]);
    engine.check_and_stop().await;
}
