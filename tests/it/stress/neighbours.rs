//! Others on the same file: a process that holds the lock, and a second server.

use std::io::Read;
use std::process::Stdio;

use rusqlite::Connection;

use super::traffic::{Ask, Traffic};
use super::{Place, text, until};

#[tokio::test]
async fn while_another_process_holds_the_lock_writes_are_503_and_reads_go_on() {
    let place = Place::new().await;
    let server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    traffic.until_more("a calm beginning", &Ask::WRITES, 3, Traffic::taken).await;
    let other = Connection::open(place.path("ese.db")).unwrap();
    other.busy_timeout(super::PATIENCE).unwrap();
    // In WAL mode EXCLUSIVE is the most that a process can take, and readers still read.
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let taken = traffic.promises();
    traffic.until_more("writes refused", &Ask::WRITES, 1, Traffic::refused).await;
    assert!(traffic.promises() - taken < 5, "something was taken while another process held the lock");
    traffic.until_more("reads go on", &[Ask::Read], 8, Traffic::taken).await;
    assert_eq!(traffic.refused(Ask::Read), 0);
    other.execute_batch("COMMIT").unwrap();
    drop(other);
    traffic.until_more("goes on", &Ask::WRITES, 3, Traffic::taken).await;
    server.kill();
    traffic.end_and_check(&place.look()).await;
    place.check_whole();
}

/// Another server on another port, by another way to the same file: ends with 1. What it said.
async fn refused_elsewhere(place: &Place) -> String {
    let link = place.path("link.db");
    let _ = std::os::unix::fs::symlink(place.path("ese.db"), &link);
    let mut command = place.command(&["serve"]);
    command.env("ESE_SERVER__LISTEN", "127.0.0.1:0").env("ESE_STORE__PATH", link);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut second = super::Server { child };
    until("the second server to give up", || second.child.try_wait().unwrap().is_some()).await;
    let mut said = String::new();
    second.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(second.child.wait().unwrap().code(), Some(1), "{said}");
    said
}

#[tokio::test]
async fn a_file_is_served_once_and_commands_may_run_beside() {
    let place = Place::new().await;
    let first = place.serve();
    let pending = "SELECT count(*) FROM events WHERE type = 'message.uncertain'";
    place.launch();
    until("messages under way", || !place.simulator.counts().is_empty()).await;
    let said = refused_elsewhere(&place).await;
    let number = first.child.id().to_string();
    assert!(said.contains("already served by process") && said.contains(&number), "{said}");
    assert_eq!(place.value(pending), 0, "the second server took what was under way for the trace of a crash");
    let beside = place.run(&["key", "add", "beside", "--scope", "read"]);
    assert!(beside.status.success(), "{}", text(&beside));
    // A crash leaves the lock's file and not the lock.
    first.kill();
    assert!(place.path("ese.db-lock").exists());
    let next = place.serve();
    refused_elsewhere(&place).await;
    next.stop();
    assert!(!place.path("ese.db-lock").exists(), "an orderly end leaves no lock behind");
    place.check_whole();
}
