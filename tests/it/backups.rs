//! A copy made while the server runs, and the way back: whole, in its place, and silent until somebody says so. As
//! real processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::{Store, StoreError, StorePaths};
use serde_json::{Value, json};

const ACCOUNT: &str = "AC00000000000000000000000000000009";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Started with its first line read.
    fn start(mut command: Command) -> Process {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        Process(child)
    }

    fn terminate(mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

struct Place {
    dir: tempfile::TempDir,
    port: u16,
    simulator_port: u16,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A request over HTTP/1.0 with a JSON body, so that no client library is needed.
fn request(port: u16, head: &str, key: &str, body: &str) -> (u16, Value) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "{head} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Place {
    fn new() -> Place {
        let (dir, port, simulator_port) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_base_url = \"http://127.0.0.1:{port}\"\n\
             [store]\npath = \"{0}/ese.db\"\nkey_file = \"{0}/ese.key\"\n\
             [twilio]\naccount_sid = \"{ACCOUNT}\"\nauth_token = \"{TOKEN}\"\n\
             api_base = \"http://127.0.0.1:{simulator_port}\"\n\
             [[senders]]\naddress = \"+18885550100\"\nkind = \"toll_free\"\nrate_per_second = 200.0\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("own.toml"), text).unwrap();
        Place { dir, port, simulator_port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ese"));
        command.arg("--config").arg(self.path("own.toml")).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to fail and say why.
    fn refused(&self, arguments: &[&str], why: &str) {
        let output = self.run(arguments);
        assert!(output.status.code() == Some(1) && text(&output).contains(why), "{}", text(&output));
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn serve(&self) -> Process {
        Process::start(self.command(&["serve"]))
    }

    fn simulate(&self) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ese"));
        command
            .args(["simulate", "--listen", &format!("127.0.0.1:{}", self.simulator_port)])
            .args(["--account-sid", ACCOUNT, "--auth-token", TOKEN])
            .args(["--inbound-url", &format!("http://127.0.0.1:{}/webhooks/twilio/inbound", self.port)]);
        let process = Process::start(command);
        until("the simulator", || std::net::TcpStream::connect(("127.0.0.1", self.simulator_port)).is_ok());
        process
    }

    fn key(&self) -> String {
        self.done(&["key", "add", "test", "--scope", "read,write,send"]).lines().last().unwrap().to_owned()
    }

    fn store(&self, name: &str) -> Store {
        let paths = StorePaths { path: self.path(name), key_file: self.path("ese.key") };
        Store::open(paths, Clock::system()).unwrap()
    }
}

fn value(store: &Store, sql: &str) -> i64 {
    store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
}

#[tokio::test]
async fn a_restored_file_sends_nothing_until_stops_sent_since_were_fetched_and_it_is_released() {
    let place = Place::new();
    let _simulator = place.simulate();
    let server = place.serve();
    let key = place.key();
    let send = |body: &Value| request(place.port, "POST /api/v1/messages", &key, &body.to_string());
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(20);
    for phone in ["+12125550101", "+12125550102"] {
        let body = json!({"to": phone, "channel": "sms", "body": "Hi", "send_at": later.to_string()});
        assert_eq!(send(&body).0, 202);
    }
    // While the server runs, and while somebody writes without a rest.
    let target = place.path("copy.db");
    let (copy, name) = (target.to_str().unwrap(), "copy.db");
    let said = place.done(&["backup", copy]);
    assert!(said.contains("whole"), "{said}");
    place.refused(&["backup", copy], "--force");
    place.done(&["backup", copy, "--force"]);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.path("copy.db.part").exists() && !place.path("copy.db-wal").exists());
    let noted = value(&place.store("ese.db"), "SELECT position FROM cursors WHERE name = 'last_backup_at'");
    assert!(noted > 1_700_000_000_000);
    place.refused(&["restore", copy], "already served by process");
    // After the copy: one says STOP, and somebody new comes.
    let stop = json!({"from": "+12125550101", "to": "+18885550100", "body": "STOP"});
    let (status, _) = request(place.simulator_port, "POST /_control/inbound", "", &stop.to_string());
    assert_eq!(status, 200);
    until("the STOP", || {
        value(&place.store("ese.db"), "SELECT count(*) FROM users WHERE consent = 'stop'") == 1
    });
    server.terminate();

    let said = place.done(&["restore", copy]);
    assert!(said.contains("safe hold") && said.contains("before-restore-"), "{said}");
    let store = place.store("ese.db");
    assert_eq!(value(&store, "SELECT safe_hold FROM store_identity"), 1);
    assert_eq!(value(&store, "SELECT count(*) FROM users WHERE consent = 'stop'"), 0);
    drop(store);
    place.refused(&["release"], "not fetched yet");
    let server = place.serve();
    let (status, ready) = request(place.port, "GET /readyz", "", "");
    assert_eq!((status, &ready["sending"]["state"]), (200, &json!("safe_hold")));
    let (status, refused) = send(&json!({"to": "+12125550103", "channel": "sms", "body": "Hi"}));
    assert_eq!((status, &refused["code"]), (409, &json!("safe_hold")));
    until("the catch-up", || {
        value(&place.store("ese.db"), "SELECT count(*) FROM users WHERE consent = 'stop'") == 1
    });
    until("the note of it", || {
        value(&place.store("ese.db"), "SELECT count(*) FROM cursors WHERE name = 'safe_hold.caught_up'") == 1
    });
    place.refused(&["release"], "1 single messages wait");
    let said = place.done(&["release", "--cancel-waiting"]);
    assert!(said.contains("Released") && said.contains("1 that waited"), "{said}");
    let (status, sent) = send(&json!({"to": "+12125550103", "channel": "sms", "body": "Hi"}));
    assert_eq!((status, &sent["status"]), (202, &json!("queued")));
    until("the message to go out", || {
        let (_, taken) = request(place.simulator_port, "GET /_control/messages?limit=1", "", "");
        taken["counts"]["+12125550103"] == 1
    });
    assert!(place.done(&["release"]).contains("Nothing is held"));
    assert!(place.done(&["verify"]).contains("whole"));
    let proof: Value = serde_json::from_str(&place.done(&["proof", "+12125550101"])).unwrap();
    assert_eq!(
        (&proof["consent"]["state"], &proof["stops"][0]["source"]),
        (&json!("stop"), &json!("catch_up"))
    );
    let page = place.path("proof.html");
    place.done(&["proof", "+12125550101", "--html", page.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!doctype html>"));
    place.refused(&["proof", "+12125550199"], "nothing is known");
    server.terminate();
    drop(place.store(name));
}

#[tokio::test]
async fn what_can_not_be_restored_leaves_everything_as_it_was() {
    let place = Place::new();
    place.done(&["key", "add", "first", "--scope", "read"]);
    let copy = place.path("copy.db");
    place.done(&["backup", copy.to_str().unwrap()]);
    place.done(&["key", "add", "second", "--scope", "read"]);
    let whole = std::fs::read(&copy).unwrap();
    // Broken in the middle, something else, nothing, of a later version, of another key, itself.
    let mut torn = whole.clone();
    let half = torn.len() / 2;
    torn[half..half + 3_000].fill(0xAA);
    std::fs::write(place.path("torn.db"), torn).unwrap();
    std::fs::write(place.path("other.db"), "name,phone\n".repeat(500)).unwrap();
    std::fs::write(place.path("empty.db"), "").unwrap();
    std::fs::write(place.path("later.db"), &whole).unwrap();
    let later = rusqlite::Connection::open(place.path("later.db")).unwrap();
    later.pragma_update(None, "user_version", 1_000).unwrap();
    drop(later);
    for (name, why) in [
        ("torn.db", ""),
        ("other.db", "not a database"),
        ("empty.db", "not a data file of this program"),
        ("later.db", "has schema 1000"),
        ("missing.db", "missing.db"),
        ("ese.db", "is there already"),
    ] {
        place.refused(&["restore", place.path(name).to_str().unwrap()], why);
        assert_eq!(value(&place.store("ese.db"), "SELECT count(*) FROM api_keys"), 2, "{name}");
        assert_eq!(value(&place.store("ese.db"), "SELECT safe_hold FROM store_identity"), 0, "{name}");
    }
    let key = std::fs::read(place.path("ese.key")).unwrap();
    std::fs::write(place.path("ese.key"), "0".repeat(64)).unwrap();
    place.refused(&["restore", copy.to_str().unwrap()], "is not the key");
    std::fs::write(place.path("ese.key"), key).unwrap();
    let left: Vec<String> = std::fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("restor") || name.contains(".part") || name.contains("-lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    place.done(&["restore", copy.to_str().unwrap()]);
    assert_eq!(value(&place.store("ese.db"), "SELECT count(*) FROM api_keys"), 1);
}

#[tokio::test]
async fn a_copy_is_one_moment_of_the_file_while_others_write_without_a_rest() {
    use event_stream_engine::store::backup;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
    let grow =
        "INSERT INTO settings (key, value, version, updated_at) VALUES (hex(randomblob(8)), json_quote(hex(zeroblob(3000))), 1, 0);
                INSERT INTO cursors (name, position) VALUES ('rows', 1)
                  ON CONFLICT (name) DO UPDATE SET position = position + 1";
    for _ in 0..800 {
        store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(grow)?)).await.unwrap();
    }
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (writing, over) = (store.clone(), is_over.clone());
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !over.load(std::sync::atomic::Ordering::SeqCst) {
            writing.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(grow)?)).await.unwrap();
            written += 1;
        }
        written
    });
    let target = dir.path().join("copy.db");
    let (copying, to) = (store.clone(), target.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let mut steps = 0;
        let told = |_: u64, _: u64| {
            steps += 1;
            std::thread::sleep(Duration::from_millis(5));
        };
        tokio::runtime::Handle::current().block_on(backup::back_up(&copying, &to, false, told)).unwrap();
        steps
    });
    let steps = copied.await.unwrap();
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    let written = writer.await.unwrap();
    assert!(steps > 3 && written > 0, "{steps} steps, {written} writes meanwhile");
    let conn = rusqlite::Connection::open(&target).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM settings"),
        count("SELECT position FROM cursors WHERE name = 'rows'")
    );
}
