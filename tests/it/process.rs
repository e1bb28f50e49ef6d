//! The binary itself, as real processes: what a person at a terminal sees, and what a SIGKILL leaves behind.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::{Store, StoreError, StorePaths};
use serde_json::Value;

const ACCOUNT: &str = "AC00000000000000000000000000000009";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with a configuration, and the commands on it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) port: u16,
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn ese() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ese"));
    command.stdin(Stdio::null());
    command
}

impl Place {
    pub(crate) fn new(simulator_port: u16) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_base_url = \"http://127.0.0.1:{port}\"\n\
             api_requests_per_second = 0.0\nwrong_keys_per_minute = 0\n\
             [store]\npath = \"{0}/ese.db\"\nkey_file = \"{0}/ese.key\"\n\
             [twilio]\naccount_sid = \"{ACCOUNT}\"\nauth_token = \"{TOKEN}\"\n\
             api_base = \"http://127.0.0.1:{simulator_port}\"\ncontent_base = \"http://127.0.0.1:{simulator_port}\"\n\
             [[senders]]\naddress = \"+18885550100\"\nkind = \"toll_free\"\nrate_per_second = 200.0\n\
             [delivery]\naccount_rate_per_second = 500.0\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("own.toml"), text).unwrap();
        Place { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = ese();
        command.arg("--config").arg(self.path("own.toml")).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn serve(&self) -> Process {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting = lines.next().unwrap().unwrap();
        assert!(greeting.contains("is serving"), "{greeting}");
        // Whatever else it says is read, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        Process(child)
    }

    fn store(&self) -> Store {
        Store::open(StorePaths::inside(self.dir.path()), Clock::system()).unwrap()
    }
}

pub(crate) fn simulate(port: u16, inbound: u16, more: &[&str]) -> Process {
    let mut child = ese()
        .args(["simulate", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--account-sid", ACCOUNT, "--auth-token", TOKEN])
        .args(["--inbound-url", &format!("http://127.0.0.1:{inbound}/webhooks/twilio/inbound")])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let process = Process(child);
    until("the simulator to answer", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `GET` over HTTP/1.0, so that no client library is needed.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    get_with(port, path, "")
}

fn get_with(port: u16, path: &str, head: &str) -> Option<(u16, String)> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{head}\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// How often the simulator took a message for each number.
fn taken(port: u16) -> HashMap<String, u64> {
    let (_, body) = get(port, "/_control/messages?limit=1").unwrap_or_default();
    let value: Value = serde_json::from_str(&body).unwrap_or_default();
    serde_json::from_value(value["counts"].clone()).unwrap_or_default()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn signal(process: &Process, name: &str) {
    let done = Command::new("kill").args([name, &process.0.id().to_string()]).status().unwrap();
    assert!(done.success());
}

fn value(store: &Store, sql: &str) -> i64 {
    store.read_here(|conn| Ok::<_, StoreError>(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
}

/// Whom the API lists as uncertain.
fn uncertain_by_api(place: &Place) -> Vec<String> {
    let key = place.run(&["key", "add", "test", "--scope", "read"]);
    let key = String::from_utf8(key.stdout).unwrap().lines().last().unwrap().to_owned();
    let head = format!("Authorization: Bearer {key}\r\n");
    let (status, body) = get_with(place.port, "/api/v1/messages?status=uncertain&limit=200", &head).unwrap();
    assert_eq!(status, 200, "{body}");
    let page: Value = serde_json::from_str(&body).unwrap();
    let phone = |message: &Value| message["phone"].as_str().unwrap().to_owned();
    page["data"].as_array().unwrap().iter().map(phone).collect()
}

/// Saves a campaign for everybody who was imported, at any hour.
async fn save_campaign(store: &Store, kind: event_stream_engine::domain::message::Kind) -> i64 {
    use event_stream_engine::domain::phone::Channel;
    use event_stream_engine::store::{campaigns, segments, templates};
    store
        .write::<_, _, StoreError>(move |tx| {
            let segment_id = segments::insert(tx, "Everybody", &serde_json::json!({"all": []}))?;
            let body = templates::TemplateText::plain(Channel::Sms, "Hi {name|default(\"there\")}");
            let template_id = templates::insert(tx, "Hello", &body)?;
            let plan = campaigns::CampaignPlan {
                kind,
                quiet_hours: serde_json::json!("off"),
                ..campaigns::CampaignPlan::new("Hello", segment_id, template_id)
            };
            campaigns::insert(tx, &plan)
        })
        .await
        .unwrap()
}

fn write_people(path: &Path, people: usize) {
    let mut text = String::from("name,phone\n");
    for n in 0..people {
        text.push_str(&format!("P{n},{}\n", crate::support::phone(n)));
    }
    std::fs::write(path, text).unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_of_a_campaign_nobody_is_sent_to_twice_and_nobody_is_forgotten() {
    use event_stream_engine::domain::message::Kind;
    const PEOPLE: usize = 800;
    let simulator_port = free_port();
    let place = Place::new(simulator_port);
    let _simulator =
        simulate(simulator_port, place.port, &["--latency-ms", "150", "--callback-delay-ms", "60"]);
    write_people(&place.path("people.csv"), PEOPLE);
    let people = place.path("people.csv");
    let imported = place.run(&["import", people.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", text(&imported));
    let store = place.store();
    let id = save_campaign(&store, Kind::Transactional).await;
    let server = place.serve();
    let launched = place.run(&["campaign", "launch", &id.to_string()]);
    assert!(launched.status.success(), "{}", text(&launched));
    until("a third of the campaign to be out", || taken(simulator_port).len() > PEOPLE / 3);
    signal(&server, "-KILL");
    drop(server);
    let sent_before = taken(simulator_port).len();
    assert!(sent_before < PEOPLE, "the campaign was over before the kill");
    let _server = place.serve();
    let open = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending')";
    until("the rest of the campaign to be out", || value(&store, open) == 0);
    let counts = taken(simulator_port);
    let twice: Vec<_> = counts.iter().filter(|(_, n)| **n > 1).collect();
    assert!(twice.is_empty(), "sent to twice: {twice:?}");
    // Everybody has a row. Whoever is not uncertain was sent to; whoever was not is uncertain, and is listed.
    assert_eq!(value(&store, "SELECT count(*) FROM messages"), PEOPLE as i64);
    let listed = uncertain_by_api(&place);
    // Receipts that come after the restart settle some of them, maybe all.
    let doubts = value(&store, "SELECT count(*) FROM events WHERE type = 'message.uncertain'");
    assert!(doubts > 0, "the kill left nothing in the dark, so nothing is shown");
    for n in 0..PEOPLE {
        let phone = crate::support::phone(n);
        assert!(counts.contains_key(&phone) || listed.contains(&phone), "{phone} was forgotten");
    }
    let dark = value(&store, "SELECT count(*) FROM messages WHERE status = 'uncertain'");
    assert_eq!(dark, listed.len() as i64);
    let failed = "SELECT count(*) FROM messages WHERE status NOT IN ('accepted', 'sent', 'delivered', 'read', 'uncertain')";
    assert_eq!(value(&store, failed), 0);
    let verified = place.run(&["verify"]);
    assert!(verified.status.success(), "{}", text(&verified));
}

/// Writes as a person; the webhook is called, and reaches whoever is there.
fn write_as_person(simulator_port: u16, from: &str, body: &str) {
    let json = format!(r#"{{"from":"{from}","to":"+18885550100","body":"{body}"}}"#);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", simulator_port)).unwrap();
    write!(
        stream,
        "POST /_control/inbound HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{json}",
        json.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test]
async fn a_stop_sent_while_the_process_was_dead_is_honoured_before_the_first_message() {
    use event_stream_engine::domain::message::Kind;
    const PEOPLE: usize = 400;
    const STOPPED: i64 = 20;
    let simulator_port = free_port();
    let place = Place::new(simulator_port);
    let _simulator = simulate(simulator_port, place.port, &["--latency-ms", "100"]);
    let mut text_of_people = String::from("name,phone,consent\n");
    for n in 0..PEOPLE {
        text_of_people.push_str(&format!("P{n},{},yes\n", crate::support::phone(n)));
    }
    std::fs::write(place.path("people.csv"), text_of_people).unwrap();
    let people = place.path("people.csv");
    assert!(place.run(&["import", people.to_str().unwrap()]).status.success());
    let store = place.store();
    let id = save_campaign(&store, Kind::Marketing).await;
    let server = place.serve();
    assert!(place.run(&["campaign", "launch", &id.to_string()]).status.success());
    until("some to be out", || taken(simulator_port).len() > 40);
    signal(&server, "-KILL");
    drop(server);
    let stopped: Vec<(i64, String)> = store
        .read_here(|conn| {
            conn.prepare(
                "SELECT u.id, u.phone FROM messages m JOIN users u ON u.id = m.user_id
                 WHERE m.status = 'queued' AND m.attempts = 0 ORDER BY m.due_at, m.id LIMIT ?1",
            )?
            .query_map([STOPPED], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()
            .map_err(StoreError::from)
        })
        .unwrap();
    assert_eq!(stopped.len() as i64, STOPPED, "the campaign was over before the kill");
    for (_, phone) in &stopped {
        write_as_person(simulator_port, phone, "STOP");
    }
    let _server = place.serve();
    let open = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending')";
    until("the rest of the campaign to be out", || value(&store, open) == 0);
    for (id, phone) in &stopped {
        let begun = format!(
            "SELECT count(*) FROM attempts a JOIN messages m ON m.id = a.message_id WHERE m.user_id = {id}"
        );
        assert_eq!(value(&store, &begun), 0, "a message to {phone} began");
        let consent = format!("SELECT consent = 'stop' FROM users WHERE id = {id}");
        assert_eq!(value(&store, &consent), 1, "{phone}");
    }
    let verified = place.run(&["verify"]);
    assert!(verified.status.success(), "{}", text(&verified));
}

#[tokio::test]
async fn sigterm_drains_within_ten_seconds_and_leaves_nothing_half_done() {
    use event_stream_engine::domain::message::Kind;
    const PEOPLE: usize = 600;
    let simulator_port = free_port();
    let place = Place::new(simulator_port);
    let _simulator = simulate(simulator_port, place.port, &["--latency-ms", "300"]);
    write_people(&place.path("people.csv"), PEOPLE);
    let people = place.path("people.csv");
    assert!(place.run(&["import", people.to_str().unwrap()]).status.success());
    let store = place.store();
    let id = save_campaign(&store, Kind::Transactional).await;
    let mut server = place.serve();
    assert!(place.run(&["campaign", "launch", &id.to_string()]).status.success());
    until("some to be out", || taken(simulator_port).len() > 20);
    let asked = Instant::now();
    signal(&server, "-TERM");
    let status = server.0.wait().unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(10), "took {:?}", asked.elapsed());
    let half_done = "SELECT count(*) FROM messages WHERE status IN ('sending', 'uncertain')";
    assert_eq!(value(&store, half_done), 0);
    let accepted = value(&store, "SELECT count(*) FROM attempts WHERE outcome IN ('accepted', 'settled')");
    assert_eq!(taken(simulator_port).len() as i64, accepted);
}

#[test]
fn the_demo_ends_with_zero_and_everything_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let output = ese().args(["demo", "--exit", "--dir"]).arg(dir.path()).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in ["996  new", "finished", "delivered", "consent opt_in → stop by user", "Everything adds up"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn a_demo_killed_in_the_middle_is_taken_up_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let demo = || {
        let mut command = ese();
        command.args(["demo", "--exit", "--dir"]).arg(dir.path());
        command
    };
    let child = demo().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let process = Process(child);
    until("the demo's campaign to be under way", || {
        let paths = StorePaths::inside(dir.path());
        paths.key_file.exists()
            && rusqlite::Connection::open(&paths.path)
                .and_then(|conn| {
                    conn.query_row("SELECT count(*) FROM attempts WHERE sid IS NOT NULL", [], |row| {
                        row.get::<_, i64>(0)
                    })
                })
                .is_ok_and(|n| n > 100)
    });
    signal(&process, "-KILL");
    drop(process);
    let output = demo().output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in ["going on with it", "766  people", "Everything adds up"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn the_demo_takes_ones_own_sheet_through_the_same_import() {
    let dir = tempfile::tempdir().unwrap();
    let sheet = dir.path().join("own.csv");
    std::fs::write(&sheet, "Vorname;Handy;consent\nAna;+49 1512 3456789;yes\nBen;0151 23456780;ja\n")
        .unwrap();
    let output = ese()
        .args(["demo", "--exit", "--region", "DE", "--dir"])
        .arg(dir.path().join("files"))
        .arg(&sheet)
        .output()
        .unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("2 rows") && said.contains("1  delivered"), "{said}");
    assert!(said.contains("consent unclear") && said.contains("consent unknown"), "{said}");
}

#[test]
fn the_secret_of_a_new_key_stands_alone_on_the_last_line() {
    let place = Place::new(9);
    let output = place.run(&["key", "add", "shop", "--scope", "read,send"]);
    assert!(output.status.success(), "{}", text(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    let secret = said.lines().last().unwrap();
    assert!(secret.len() >= 40 && !secret.contains(' '), "{secret:?}");
    let unknown = place.run(&["key", "add", "shop", "--scope", "fly"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn a_time_that_can_not_be_read_is_a_mistake_of_use() {
    let place = Place::new(9);
    for (since, code) in [("yesterday", 2), ("2026-11-23", 0), ("2026-11-23T09:30:00Z", 0)] {
        let output = place.run(&["replay", "--since", since]);
        assert_eq!(output.status.code(), Some(code), "{since}: {}", text(&output));
    }
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let place = Place::new(9);
    let mut child = place
        .command(&["serve"])
        .stdout(Stdio::piped())
        .stderr(Stdio::from(std::fs::File::create(place.path("log")).unwrap()))
        .spawn()
        .unwrap();
    let greeting = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let process = Process(child);
    assert!(greeting.contains("is serving"), "{greeting}");
    until("a line in the log", || {
        std::fs::read_to_string(place.path("log")).is_ok_and(|log| log.contains("INFO"))
    });
    assert!(!std::fs::read_to_string(place.path("log")).unwrap().contains('\u{1b}'));
    drop(process);
}

#[test]
fn an_operator_is_added_with_a_password_from_standard_input() {
    let place = Place::new(9);
    let add = |password: &str| {
        let mut child = place
            .command(&["operator", "add", "ana@example.com", "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let short = add("hunter2");
    assert_eq!(short.status.code(), Some(1));
    assert!(text(&short).contains("12 to 256 characters"), "{}", text(&short));
    assert!(add("correct horse battery\n").status.success());
    let again = add("correct horse battery\n");
    assert!(text(&again).contains("already"), "{}", text(&again));
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let place = Place::new(9);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", place.port)).unwrap();
    let output = place.run(&["serve"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains(&place.port.to_string()) && said.contains("[server] listen"), "{said}");
}

#[test]
fn a_mistake_in_the_configuration_is_named_by_its_key() {
    let place = Place::new(9);
    std::fs::write(place.path("own.toml"), "[server]\nlissen = \"127.0.0.1:1\"\n").unwrap();
    let output = place.run(&["config"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("server.lissen. Did you mean listen?"), "{}", text(&output));
    let missing = ese().args(["--config", "/nowhere.toml", "config"]).output().unwrap();
    assert!(text(&missing).contains("/nowhere.toml"), "{}", text(&missing));
}

#[test]
fn a_newer_or_foreign_or_unwritable_file_is_refused_in_words() {
    let place = Place::new(9);
    assert!(place.run(&["key", "add", "x", "--scope", "read"]).status.success());
    let conn = rusqlite::Connection::open(place.path("ese.db")).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let newer = text(&place.run(&["verify"]));
    assert!(newer.contains("has schema 99") && newer.contains("newer program"), "{newer}");
    std::fs::write(place.path("ese.db"), "no database at all, but long enough to have a header".repeat(9))
        .unwrap();
    let foreign = text(&place.run(&["verify"]));
    assert!(foreign.contains("not a data file"), "{foreign}");
    std::fs::remove_file(place.path("ese.db")).unwrap();
    std::fs::create_dir(place.path("ese.db")).unwrap();
    let unwritable = text(&place.run(&["verify"]));
    assert!(unwritable.contains("ese.db"), "{unwritable}");
}

#[test]
fn check_names_wrong_credentials_and_open_permissions() {
    let simulator_port = free_port();
    let place = Place::new(simulator_port);
    let _simulator = simulate(simulator_port, place.port, &[]);
    let good = place.run(&["check"]);
    assert!(good.status.success(), "{}", text(&good));
    assert!(text(&good).contains("Ready to send"), "{}", text(&good));
    let wrong = place.command(&["check"]).env("ESE_TWILIO__AUTH_TOKEN", "wrong").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("20003"), "{}", text(&wrong));
    let open = Command::new("chmod").arg("644").arg(place.path("ese.key")).status().unwrap();
    assert!(open.success());
    let open = place.run(&["check"]);
    assert!(text(&open).contains("chmod 600"), "{}", text(&open));
}

#[test]
fn every_command_explains_itself_and_wrong_usage_is_two() {
    for command in [
        "serve", "demo", "simulate", "import", "campaign", "operator", "key", "check", "config", "replay",
        "verify",
    ] {
        let output = ese().args([command, "--help"]).output().unwrap();
        assert!(output.status.success(), "{command}");
        assert!(text(&output).contains("Usage: ese"), "{command}: {}", text(&output));
    }
    assert_eq!(ese().arg("fly").output().unwrap().status.code(), Some(2));
    assert_eq!(ese().output().unwrap().status.code(), Some(2));
}

#[test]
fn an_import_says_what_came_of_every_row() {
    let place = Place::new(9);
    let sheet = place.path("people.csv");
    std::fs::write(&sheet, "Name,Phone\nAna,+14155550101\nBen,4.15556E+10\nCy,+14155550101\n").unwrap();
    let sheet = sheet.to_str().unwrap();
    let rehearsed = text(&place.run(&["import", sheet, "--dry-run"]));
    assert!(rehearsed.contains("nothing was changed") && rehearsed.contains("1  new"), "{rehearsed}");
    let output = place.run(&["import", sheet]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in ["3 rows", "1  new", "1  twice in the file", "1  rejected", "scientific notation"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let missing = place.run(&["import", "/nowhere.csv"]);
    assert_eq!(missing.status.code(), Some(1));
}
