//! Files that somebody moves, deletes or replaces under the running server: an operator's slip.

use std::fs;

use super::traffic::{Ask, Traffic, get};
use super::{Place, until};

/// A server with traffic, and whatever `slip` does to its files noticed: writes are refused, reads go on.
async fn after(slip: impl FnOnce(&Place)) -> (Place, super::Server, Traffic) {
    let place = Place::new().await;
    let server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    traffic.until_more("a calm beginning", &Ask::WRITES, 10, Traffic::taken).await;
    slip(&place);
    traffic.until_more("writes refused", &Ask::WRITES, 3, Traffic::refused).await;
    let taken = traffic.promises();
    traffic.until_more("reads go on", &[Ask::Read], 8, Traffic::taken).await;
    traffic.until_more("writes still refused", &Ask::WRITES, 3, Traffic::refused).await;
    assert_eq!(traffic.promises(), taken, "something was taken for a file that nobody will find");
    assert_eq!(traffic.refused(Ask::Read), 0);
    assert_eq!(get(&place, "/readyz").await, 503);
    (place, server, traffic)
}

#[tokio::test]
async fn a_data_file_moved_away_and_back_is_gone_on_with() {
    let (place, server, traffic) =
        after(|place| fs::rename(place.path("ese.db"), place.path("away.db")).unwrap()).await;
    assert!(!place.path("ese.db").exists(), "an empty file was put in its place");
    fs::rename(place.path("away.db"), place.path("ese.db")).unwrap();
    traffic.until_more("goes on", &Ask::WRITES, 3, Traffic::taken).await;
    assert_eq!(get(&place, "/readyz").await, 200);
    server.kill();
    traffic.end_and_check(&place.look()).await;
    place.check_whole();
}

#[tokio::test]
async fn a_data_file_moved_away_without_its_log_has_everything_in_it() {
    let (place, server, traffic) =
        after(|place| fs::rename(place.path("ese.db"), place.path("away.db")).unwrap()).await;
    server.kill();
    // What lies beside the old name is left there, as whoever moved the file left it.
    fs::create_dir(place.path("other")).unwrap();
    fs::rename(place.path("away.db"), place.path("other/ese.db")).unwrap();
    let conn = rusqlite::Connection::open(place.path("other/ese.db")).unwrap();
    traffic.end_and_check(&conn).await;
    assert_eq!(fs::metadata(place.path("ese.db-wal")).map_or(0, |data| data.len()), 0);
}

#[tokio::test]
async fn a_log_that_was_deleted_takes_nothing_with_it() {
    let (place, server, traffic) = after(|place| fs::remove_file(place.path("ese.db-wal")).unwrap()).await;
    until("the log to be moved into the file", || place.log().contains("restart")).await;
    server.kill();
    traffic.check(&place.look());
    let server = place.serve();
    traffic.until_more("goes on after a restart", &Ask::WRITES, 3, Traffic::taken).await;
    server.kill();
    traffic.end_and_check(&place.look()).await;
    place.check_whole();
}

#[tokio::test]
async fn another_file_in_its_place_is_left_alone() {
    // A copy made beforehand is put in place while the server runs, and the old log with it is not removed.
    let (place, server, traffic) = after(|place| {
        let conn = place.look();
        conn.execute("VACUUM INTO ?1", [place.path("copy.db").to_str().unwrap()]).unwrap();
        fs::rename(place.path("ese.db"), place.path("away.db")).unwrap();
        fs::rename(place.path("copy.db"), place.path("ese.db")).unwrap();
    })
    .await;
    let copy = fs::read(place.path("ese.db")).unwrap();
    server.stop();
    assert!(fs::read(place.path("ese.db")).unwrap() == copy, "the file that was put in place was written to");
    let conn = rusqlite::Connection::open(place.path("ese.db")).unwrap();
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    traffic.end_and_check(&rusqlite::Connection::open(place.path("away.db")).unwrap()).await;
}
