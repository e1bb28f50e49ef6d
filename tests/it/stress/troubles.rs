//! One trouble of the disk after the other, on the running server.

use super::traffic::{Ask, Traffic, get};
use super::{Place, Server, until};

/// A trouble during which nothing can be written, and what it is.
const TOTAL: [(&str, &str); 6] = [
    ("the disk is full", "on=write errno=28 after=20000"),
    ("the file system became read-only", "on=write,truncate,sync errno=30"),
    ("the disk can't be written", "on=write errno=5"),
    ("nothing reaches the disk and what was written is lost", "on=sync errno=5 lose=1"),
    ("the disk is full in the middle of a page", "on=write short=1 count=1\non=write errno=28"),
    (
        "permission is lost, and the file can't even be opened",
        "on=write,sync,truncate errno=13\non=open errno=13",
    ),
];

/// Troubles that come and go by themselves; some requests are refused, and the rest is taken.
const PASSING: [(&str, &str); 5] = [
    ("one sync of the log fails and loses what was written", "on=sync file=wal errno=5 count=1 lose=1"),
    ("one sync of the data file fails and loses what was written", "on=sync file=db errno=5 count=1 lose=1"),
    ("one write in twenty fails", "on=write errno=5 percent=5 seed=3"),
    ("one sync in five fails and loses what was written", "on=sync errno=5 percent=20 seed=4 lose=1"),
    ("writes are cut short", "on=write short=1 percent=30 seed=5"),
];

#[tokio::test]
async fn while_the_disk_fails_writes_are_503_reads_go_on_and_afterwards_everything_goes_on() {
    let place = Place::new().await;
    let mut server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    for (name, rules) in TOTAL {
        traffic.until_more(name, &Ask::WRITES, 3, Traffic::taken).await;
        place.disk(rules);
        traffic.until_more(&format!("{name}: writes refused"), &Ask::WRITES, 3, Traffic::refused).await;
        let taken = traffic.promises();
        traffic.until_more(&format!("{name}: reads go on"), &[Ask::Read], 8, Traffic::taken).await;
        assert_eq!(traffic.refused(Ask::Read), 0, "{name}: a read was refused");
        assert_eq!(traffic.promises(), taken, "{name}: something was taken on a disk that takes nothing");
        assert_eq!((get(&place, "/readyz").await, get(&place, "/healthz").await), (503, 200), "{name}");
        place.disk("");
        traffic.until_more(&format!("{name}: goes on"), &Ask::WRITES, 3, Traffic::taken).await;
        assert_eq!(get(&place, "/readyz").await, 200, "{name}");
        traffic.check(&place.look());
        server.kill();
        traffic.check(&place.look());
        server = place.serve();
    }
    finish(place, server, traffic).await;
}

#[tokio::test]
async fn a_disk_that_fails_now_and_then_loses_nothing_that_was_answered() {
    let place = Place::new().await;
    let mut server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    for (name, rules) in PASSING {
        traffic.until_more(name, &Ask::WRITES, 3, Traffic::taken).await;
        place.disk(rules);
        traffic.until_more(&format!("{name}: goes on"), &Ask::WRITES, 15, Traffic::taken).await;
        place.disk("");
        traffic.until_more(&format!("{name}: mended"), &Ask::WRITES, 3, Traffic::taken).await;
        server.kill();
        traffic.check(&place.look());
        server = place.serve();
    }
    finish(place, server, traffic).await;
}

#[tokio::test]
async fn whatever_the_disk_does_in_whatever_order_no_2xx_is_lost() {
    let number = |name: &str, otherwise| {
        std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(otherwise)
    };
    let (seed, rounds) = (number("ESE_STRESS_SEED", 1), number("ESE_STRESS_ROUNDS", 4));
    let place = Place::new().await;
    let mut server = place.serve();
    place.launch();
    let traffic = Traffic::start(&place);
    for round in seed..seed + rounds {
        let rules = random_rules(round);
        println!("round {round}: {rules:?}");
        place.disk(&rules);
        let before: u64 = Ask::WRITES.iter().map(|ask| traffic.count(*ask, |_| true)).sum();
        until("some answers", || {
            Ask::WRITES.iter().map(|ask| traffic.count(*ask, |_| true)).sum::<u64>() > before + 60
        })
        .await;
        if round % 2 == 0 {
            place.disk("");
            traffic.until_more(&format!("{rules:?}: mended"), &Ask::WRITES, 3, Traffic::taken).await;
        }
        server.kill();
        if round % 3 == 0 {
            place.cut_power();
        }
        traffic.check(&place.look());
        server = place.serve();
    }
    finish(place, server, traffic).await;
}

/// Two or three rules drawn from `seed`.
fn random_rules(seed: u64) -> String {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let mut random = StdRng::seed_from_u64(seed);
    let mut pick = |words: &[&str]| words[random.random_range(0..words.len())].to_owned();
    let mut rules = String::new();
    for _ in 0..2 {
        let (on, file, errno) = (
            pick(&["write", "sync", "truncate", "read", "write,sync"]),
            pick(&["db", "wal", "db,wal"]),
            pick(&["5", "28", "30"]),
        );
        let (percent, after, way) =
            (pick(&["3", "20", "60"]), pick(&["0", "9000", "70000"]), pick(&["", "short=1", "lose=1"]));
        rules.push_str(&format!(
            "on={on} file={file} errno={errno} percent={percent} after={after} seed={seed} {way}\n"
        ));
    }
    rules
}

/// The last kill, and everything compared.
async fn finish(place: Place, server: Server, traffic: Traffic) {
    traffic.until_more("the end", &Ask::WRITES, 3, Traffic::taken).await;
    server.kill();
    let told = traffic.end_and_check(&place.look()).await;
    println!("{told}");
    place.check_whole();
    // Once more, orderly: whatever was left open is looked after, and one file remains.
    place.serve().stop();
    assert!(!place.path("ese.db-wal").exists(), "a stop leaves one file");
    place.check_whole();
}
