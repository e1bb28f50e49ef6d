//! Imports that are stopped, crash, or lose their file.

use super::*;

fn file(rows: usize) -> String {
    let people: String = (0..rows).map(|n| format!("+9477{:07},n{n},yes\n", 1_000_000 + n)).collect();
    format!("phone,name,consent\n{people}")
}

#[tokio::test]
async fn an_import_goes_on_behind_its_last_chunk_after_a_restart() {
    let mut shop = Shop::new();
    let text = file(40) + "+94771000003,again,\nbad,x,\n+94771000039,again,\n";
    let id = shop.queue(&text, json!({})).await;
    let mut rows = 0;
    for _ in 0..4 {
        let pace = Pace { rows_per_chunk: 7, chunks: Some(1), ..Pace::default() };
        assert_eq!(import::run_queued(&shop.store, &pace).await.unwrap(), 0);
        let row = shop.row(id).await;
        rows += 7;
        assert_eq!((row.state, row.tally.rows), (ImportState::Running, rows));
        assert_eq!(shop.count_users().await, i64::try_from(rows).unwrap());
        assert!(row.progress() > 0.0 && row.progress() < 1.0, "{}", row.progress());
        let Shop { dir, store, clock } = shop;
        drop(store);
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        shop = Shop { dir, store, clock };
    }
    assert_eq!(import::run_queued(&shop.store, &Pace::default()).await.unwrap(), 1);
    let row = shop.row(id).await;
    shop.check(&row);
    let tally = &row.tally;
    assert_eq!((tally.rows, tally.created, tally.duplicates, tally.rejected), (43, 40, 2, 1));
    assert_eq!(row.progress(), 1.0);
    assert_eq!(shop.reasons(id).await.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [42, 43, 44]);
    assert_eq!(shop.ledger("+94771000000").await.len(), 1);
}

#[tokio::test]
async fn a_dry_run_begins_anew_after_a_restart() {
    let shop = Shop::new();
    let id = shop.queue(file(20) + "bad,,\n+94771000001,,\n", json!({"dry_run": true})).await;
    let pace = Pace { rows_per_chunk: 21, chunks: Some(1), ..Pace::default() };
    import::run_queued(&shop.store, &pace).await.unwrap();
    assert_eq!(shop.row(id).await.tally.rows, 21);
    import::run_queued(&shop.store, &Pace::default()).await.unwrap();
    let tally = shop.row(id).await.tally;
    assert_eq!((tally.rows, tally.created, tally.duplicates, tally.rejected), (22, 20, 1, 1));
    assert_eq!(shop.reasons(id).await.len(), 2);
}

#[tokio::test]
async fn a_shutdown_stops_an_import_between_two_chunks() {
    let shop = Shop::new();
    let id = shop.queue(file(10), json!({})).await;
    let pace = Pace { rows_per_chunk: 3, ..Pace::default() };
    pace.stop.store(true, Ordering::Relaxed);
    assert_eq!(import::run_queued(&shop.store, &pace).await.unwrap(), 0);
    let row = shop.row(id).await;
    assert_eq!((row.state, row.tally.rows), (ImportState::Running, 0));
    pace.stop.store(false, Ordering::Relaxed);
    assert_eq!(import::run_queued(&shop.store, &pace).await.unwrap(), 1);
    assert_eq!(shop.count_users().await, 10);
}

#[tokio::test]
async fn an_import_that_loses_its_file_says_how_far_it_got() {
    let shop = Shop::new();
    let id = shop.queue(file(1_500), json!({})).await;
    let pace = Pace { rows_per_chunk: 150, chunks: Some(8), ..Pace::default() };
    import::run_queued(&shop.store, &pace).await.unwrap();
    std::fs::remove_file(shop.row(id).await.spool_path.unwrap()).unwrap();
    import::run_queued(&shop.store, &Pace::default()).await.unwrap();
    let row = shop.row(id).await;
    shop.check(&row);
    assert_eq!(
        row.error.as_deref(),
        Some(
            "The uploaded file is gone. Choose it again. The first 1,200 rows are in; nothing behind them was imported."
        )
    );
    assert_eq!((row.state, row.tally.created), (ImportState::Failed, 1_200));
}

#[tokio::test]
async fn two_processes_on_one_import_take_each_row_in_once() {
    let shop = Shop::new();
    let id = shop.queue(file(500), json!({})).await;
    let second = Store::open(StorePaths::inside(shop.dir.path()), shop.clock.clone()).unwrap();
    let pace = Pace { rows_per_chunk: 20, ..Pace::default() };
    let (one, other) =
        tokio::join!(import::run_queued(&shop.store, &pace), import::run_queued(&second, &pace));
    one.unwrap();
    other.unwrap();
    import::run_queued(&shop.store, &pace).await.unwrap();
    let row = shop.row(id).await;
    shop.check(&row);
    assert_eq!(row.state, ImportState::Finished, "{:?}", row.error);
    assert_eq!((row.tally.rows, row.tally.created, row.tally.duplicates), (500, 500, 0));
    assert_eq!(shop.count_users().await, 500);
}

#[tokio::test]
async fn imports_run_in_the_order_in_which_they_were_asked_for() {
    let shop = Shop::new();
    shop.queue("phone,name\n+94771100001,first\n", json!({})).await;
    shop.queue("%PDF", json!({})).await;
    shop.queue("phone,name\n+94771100001,second\n", json!({})).await;
    assert_eq!(import::run_queued(&shop.store, &Pace::default()).await.unwrap(), 3);
    assert_eq!(shop.attributes("+94771100001").await, json!({"name": "second"}));
    let newest = shop.store.read(|conn| imports::list(conn, i64::MAX, 2)).await.unwrap();
    assert_eq!(newest.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 2]);
}

#[tokio::test]
async fn uploads_that_nobody_queued_are_swept_up_once_they_are_old() {
    let shop = Shop::new();
    let wanted = shop.queue("phone\n+94771100001\n", json!({})).await;
    let fresh = shop.spool(b"x");
    let old = shop.spool(b"y");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 3_600);
    let wanted = shop.row(wanted).await.spool_path.unwrap();
    for path in [&old.path, &wanted] {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    assert_eq!(import::sweep_spool(&shop.store).await.unwrap(), 1);
    assert!(wanted.exists() && fresh.path.exists() && !old.path.exists());
}
