//! Undo: what an import changed about attributes goes back, where it still is as the import wrote it.

use event_stream_engine::import::{UndoError, Undoable};
use event_stream_engine::privacy;

use super::*;

const ANA: &str = "+94771100001";
const BO: &str = "+94771100002";
const CY: &str = "+94771100003";

impl Shop {
    async fn set(&self, phone: &'static str, attributes: Value) {
        let id = self.user(phone).await.unwrap().id;
        let attributes = attributes.as_object().unwrap().clone();
        self.store.write(move |tx| users::set_attributes(tx, id, &attributes, "key:1")).await.unwrap();
    }

    async fn ask_undo(&self, id: i64) -> Result<(), UndoError> {
        self.store.write(move |tx| import::undo(tx, id, 30, "operator:1")).await
    }

    /// Restored and kept.
    async fn undo(&self, id: i64) -> (u64, u64) {
        self.ask_undo(id).await.unwrap();
        import::run_undos(&self.store, &Pace::default()).await.unwrap();
        let undo = self.store.read(move |conn| imports::find_undo(conn, id)).await.unwrap().unwrap();
        assert!(undo.finished_at.is_some());
        (undo.restored, undo.kept)
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let conn = rusqlite::Connection::open(&self.store.paths().path).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

const CHANGES: &str = "SELECT count(*) FROM import_changes";

#[tokio::test]
async fn an_undo_leads_back_attributes_and_nothing_else() {
    let shop = Shop::new();
    shop.store
        .write(|tx| event_stream_engine::store::topics::insert(tx, "news", false))
        .await
        .unwrap()
        .unwrap();
    shop.add(ANA, Consent::OptIn, json!({"name": "Ana", "city": "Galle"})).await;
    shop.add(BO, Consent::OptIn, json!({"name": "Bo", "city": "Galle", "tier": "gold"})).await;
    let file = "phone,city,plan,consent\n\
        +94771100001,Kandy,a,\n\
        +94771100002,Kandy,,no\n\
        +94771100003,Jaffna,b,yes\n";
    let row = shop.import(file, json!({"topics": ["news"]})).await;
    assert_eq!(row.tally.details.attributes, 2);
    assert_eq!(shop.count(CHANGES).await, 2);
    assert_eq!(shop.undo(row.id).await, (2, 0));
    assert_eq!(shop.attributes(ANA).await, json!({"name": "Ana", "city": "Galle"}));
    assert_eq!(shop.attributes(BO).await, json!({"name": "Bo", "city": "Galle", "tier": "gold"}));
    // Who was added stays, consent and topics stay.
    assert_eq!(shop.attributes(CY).await, json!({"city": "Jaffna", "plan": "b"}));
    assert_eq!((shop.consent(BO).await, shop.consent(CY).await), (Consent::OptOut, Consent::OptIn));
    assert_eq!(shop.count("SELECT count(*) FROM subscriptions").await, 3);
    assert_eq!(shop.count(CHANGES).await, 0);
    assert_eq!(shop.count("SELECT count(*) FROM events WHERE type = 'import.undone'").await, 1);
}

#[tokio::test]
async fn what_somebody_changed_since_stays() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"name": "Ana", "city": "Galle"})).await;
    shop.add(BO, Consent::OptIn, json!({"city": "Galle", "plan": "x"})).await;
    let row = shop.import("phone,city,plan\n+94771100001,Kandy,a\n+94771100002,Kandy,a\n", json!({})).await;
    shop.set(ANA, json!({"name": "Ana", "city": "Jaffna", "plan": "a"})).await;
    assert_eq!(shop.undo(row.id).await, (2, 1));
    assert_eq!(shop.attributes(ANA).await, json!({"name": "Ana", "city": "Jaffna"}));
    assert_eq!(shop.attributes(BO).await, json!({"city": "Galle", "plan": "x"}));
}

#[tokio::test]
async fn a_number_that_stands_twice_goes_back_to_where_it_stood_before_the_file() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"city": "Galle"})).await;
    let row = shop
        .import(
            "phone,city,plan\n+94771100001,Kandy,\n+94771100001,Jaffna,a\n+94771100003,x,\n+94771100003,y,\n",
            json!({}),
        )
        .await;
    assert_eq!(shop.attributes(ANA).await, json!({"city": "Jaffna", "plan": "a"}));
    assert_eq!(shop.count(CHANGES).await, 1, "nothing to go back to for whom the file brought");
    assert_eq!(row.tally.details.changes, 1);
    assert_eq!(shop.undo(row.id).await, (1, 0));
    assert_eq!(shop.attributes(ANA).await, json!({"city": "Galle"}));
}

#[tokio::test]
async fn replaced_attributes_come_back() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"city": "Galle", "tier": {"level": 2}})).await;
    let row = shop.import("phone,plan\n+94771100001,a\n", json!({"mode": "replace"})).await;
    assert_eq!(shop.attributes(ANA).await, json!({"plan": "a"}));
    shop.undo(row.id).await;
    assert_eq!(shop.attributes(ANA).await, json!({"city": "Galle", "tier": {"level": 2}}));
}

#[tokio::test]
async fn imports_are_undone_each_for_itself_in_any_order() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"city": "Galle"})).await;
    let first = shop.import("phone,city\n+94771100001,Kandy\n", json!({})).await;
    let second = shop.import("phone,city\n+94771100001,Jaffna\n", json!({})).await;
    assert_eq!(shop.undo(first.id).await, (0, 1), "the later import changed it since");
    assert_eq!(shop.attributes(ANA).await, json!({"city": "Jaffna"}));
    assert_eq!(shop.undo(second.id).await, (1, 0));
    assert_eq!(shop.attributes(ANA).await, json!({"city": "Kandy"}));
}

#[tokio::test]
async fn an_undo_goes_on_behind_its_last_write_and_is_asked_for_once() {
    let shop = Shop::new();
    let people: Vec<String> = (0..50).map(|n| format!("+9477110{n:04}")).collect();
    let file = |city: &str| {
        let rows: String = people.iter().map(|phone| format!("{phone},{city}\n")).collect();
        format!("phone,city\n{rows}")
    };
    shop.import(file("Galle"), json!({})).await;
    let row = shop.import(file("Kandy"), json!({})).await;
    assert_eq!(row.tally.details.attributes, 50);
    shop.ask_undo(row.id).await.unwrap();
    shop.ask_undo(row.id).await.unwrap();
    let pace = Pace { rows_per_chunk: 7, chunks: Some(3), ..Pace::default() };
    assert_eq!(import::run_undos(&shop.store, &pace).await.unwrap(), 0);
    let id = row.id;
    let undo = shop.store.read(move |conn| imports::find_undo(conn, id)).await.unwrap().unwrap();
    assert!(undo.restored > 0 && undo.restored < 50 && undo.finished_at.is_none(), "{undo:?}");
    let Shop { dir, store, clock } = shop;
    drop(store);
    let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
    let shop = Shop { dir, store, clock };
    assert_eq!(import::run_undos(&shop.store, &pace).await.unwrap(), 0);
    assert_eq!(import::run_undos(&shop.store, &Pace::default()).await.unwrap(), 1);
    let undo = shop.store.read(move |conn| imports::find_undo(conn, id)).await.unwrap().unwrap();
    assert_eq!((undo.restored, undo.kept), (50, 0));
    assert_eq!(shop.attributes("+94771100049").await, json!({"city": "Galle"}));
    assert_eq!(import::run_undos(&shop.store, &Pace::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn an_undo_is_offered_while_changes_are_kept_and_refused_in_words_else() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"city": "Galle"})).await;
    let brings = shop.import("phone,city\n+94771100003,Kandy\n", json!({})).await;
    assert!(matches!(shop.ask_undo(brings.id).await, Err(UndoError::Nothing)));
    let dry = shop.import("phone,city\n+94771100001,Kandy\n", json!({"dry_run": true})).await;
    assert!(matches!(shop.ask_undo(dry.id).await, Err(UndoError::NotYet)));
    assert!(matches!(shop.ask_undo(99).await, Err(UndoError::Unknown(99))));
    let row = shop.import("phone,city\n+94771100001,Kandy\n", json!({})).await;
    let until = row.finished_at.unwrap() + 30 * 86_400_000;
    assert_eq!(import::undoable(&row, None, 30, until - 1), Undoable::Until(Some(until)));
    assert_eq!(import::undoable(&row, None, 30, until), Undoable::TooLate);
    assert_eq!(import::undoable(&row, None, 0, until), Undoable::Until(None));
    shop.clock.advance(HOUR * (30 * 24));
    assert!(matches!(shop.ask_undo(row.id).await, Err(UndoError::TooLate)));
}

#[tokio::test]
async fn changes_go_when_they_are_over_and_not_before() {
    use std::sync::atomic::AtomicBool;
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"city": "Galle"})).await;
    shop.add(BO, Consent::OptIn, json!({"city": "Galle"})).await;
    shop.import("phone,city\n+94771100001,Kandy\n+94771100002,Kandy\n", json!({})).await;
    shop.clock.advance(HOUR * (10 * 24));
    shop.import("phone,city\n+94771100002,Jaffna\n", json!({})).await;
    let limits = event_stream_engine::domain::retention::RetentionDays {
        raw_webhooks_days: 0,
        bodies_days: 0,
        events_days: 0,
        import_issues_days: 0,
        import_changes_days: 30,
        trigger_data_days: 0,
    };
    let metrics = event_stream_engine::metrics::Metrics::default();
    let stop = AtomicBool::new(false);
    for (hours, left) in [(19 * 24, 3), (2 * 24, 1), (0, 1), (10 * 24, 0)] {
        shop.clock.advance(HOUR * hours);
        privacy::retain(&shop.store, &limits, &metrics, &stop).await.unwrap();
        assert_eq!(shop.count(CHANGES).await, left, "after {hours} more hours");
    }
}

#[tokio::test]
async fn an_erasure_takes_what_imports_changed_about_the_person() {
    let shop = Shop::new();
    let id = shop.add(ANA, Consent::OptIn, json!({"city": "Galle"})).await;
    shop.add(BO, Consent::OptIn, json!({"city": "Galle"})).await;
    let row = shop.import("phone,city\n+94771100001,Kandy\n+94771100002,Kandy\n", json!({})).await;
    privacy::erase(&shop.store, id, "operator:1").await.unwrap();
    assert_eq!(shop.count(CHANGES).await, 1);
    assert_eq!(shop.undo(row.id).await, (1, 0));
}
