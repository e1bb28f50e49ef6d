//! The store under stress: disks that are full, read-only or broken, neighbours that hold the lock, files
//! that are moved away. The real server works under it with real signed webhooks, and what it answered is
//! compared with what is in the file.
//!
//! Faults come from `tests/shim/disk.c`, preloaded into the server. `ESE_STRESS_ROUNDS` and
//! `ESE_STRESS_SEED` ask for more of the random ones.

mod moved;
mod neighbours;
mod power;
mod traffic;
mod troubles;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use event_stream_engine::clock::Clock;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::simulator::{Options, Simulator};
use event_stream_engine::store::api_keys::{self, Scope};
use event_stream_engine::store::ledger::ConsentChange;
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{Store, StoreError, StorePaths, campaigns, segments, templates};
use rusqlite::{Connection, OpenFlags};
use secrecy::ExposeSecret;

/// The longest that anything here may take that should take seconds at most.
const PATIENCE: Duration = Duration::from_secs(40);
/// People of the campaign that is sent all the while.
const PEOPLE: usize = 600;

/// A folder with data file, key and configuration, and a stand-in for Twilio in this process.
struct Place {
    dir: PathBuf,
    port: u16,
    key: String,
    simulator: Simulator,
    account: String,
    token: String,
    kept: Option<tempfile::TempDir>,
}

/// The server as a process; killed when dropped.
struct Server {
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let end: Vec<&str> = log.lines().rev().take(40).collect();
            println!("the end of the log, newest first:\n{}", end.join("\n"));
        }
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Builds the shim, once.
fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/disk.c");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = target.join(format!("disk-{}.so", std::process::id()));
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&built, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler is needed, as it is for SQLite itself");
        assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
        // One name for all runs, so that they don't pile up; renaming is atomic.
        let shared = target.join("disk.so");
        std::fs::rename(&built, &shared).unwrap();
        shared
    })
}

impl Place {
    /// In a folder of its own, with a campaign under way.
    async fn new() -> Place {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().to_owned();
        let mut place = Place::at(&path).await;
        place.kept = Some(dir);
        place
    }

    /// In `dir`, which the caller keeps.
    async fn at(dir: &Path) -> Place {
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            callback_delay_ms: 20,
            latency_ms: 20,
            fail_percent: 0.0,
            ..Options::default()
        };
        let (account, token) = (options.account_sid.clone(), options.auth_token.clone());
        let simulator = Simulator::start(options).await.unwrap();
        let port = free_port();
        let dir = dir.canonicalize().unwrap();
        let mut place = Place { dir, port, key: String::new(), simulator, account, token, kept: None };
        place.write_configuration();
        place.key = place.prepare().await;
        place
    }

    fn write_configuration(&self) {
        let Place { port, account, token, .. } = self;
        let api = self.simulator.base_url();
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\npublic_base_url = \"http://127.0.0.1:{port}\"\n\
             [store]\npath = \"{0}/ese.db\"\nkey_file = \"{0}/ese.key\"\n\
             [twilio]\naccount_sid = \"{account}\"\nauth_token = \"{token}\"\n\
             api_base = \"{api}\"\ncontent_base = \"{api}\"\n\
             [[senders]]\naddress = \"+18885550100\"\nkind = \"toll_free\"\nrate_per_second = 30.0\n",
            self.dir.display()
        );
        std::fs::write(self.path("own.toml"), text).unwrap();
    }

    /// People, a campaign that runs for long, and a key; returns the key.
    async fn prepare(&self) -> String {
        let store = Store::open(StorePaths::inside(&self.dir), Clock::system()).unwrap();
        let numbers: Vec<usize> = (0..PEOPLE).collect();
        for chunk in numbers.chunks(500) {
            let chunk = chunk.to_vec();
            store
                .write::<_, _, StoreError>(move |tx| chunk.into_iter().try_for_each(|n| add(tx, n)))
                .await
                .unwrap();
        }
        let made = store.write::<_, _, StoreError>(|tx| {
            let segment_id = segments::insert(tx, "Everybody", &serde_json::json!({"all": []}))?;
            let text = templates::TemplateText::plain(Channel::Sms, "Hi {name|default(\"there\")}");
            let template_id = templates::insert(tx, "Hello", &text)?;
            let plan = campaigns::CampaignPlan {
                kind: Kind::Transactional,
                quiet_hours: serde_json::json!("off"),
                ..campaigns::CampaignPlan::new("Hello", segment_id, template_id)
            };
            campaigns::insert(tx, &plan)?;
            let scopes = [Scope::Read, Scope::Write, Scope::Send];
            Ok(api_keys::insert(tx, "stress", &scopes, None, "test")?.1)
        });
        made.await.unwrap().expose_secret().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ese"));
        command.stdin(Stdio::null()).arg("--config").arg(self.path("own.toml")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The server on a disk in order, which [`Place::disk`] can break.
    fn serve(&self) -> Server {
        self.disk("");
        for file in ["undo.db", "undo.wal"] {
            let _ = std::fs::remove_file(self.path(file));
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self
            .command(&["serve"])
            .env("LD_PRELOAD", shim())
            .env("SHIM_FILE", self.path("ese.db"))
            .env("SHIM_CONTROL", self.path("control"))
            .env("SHIM_UNDO", self.path("undo"))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let greeting = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(greeting.contains("is serving"), "{greeting:?}: {}", self.log());
        std::thread::spawn(move || lines.for_each(drop));
        Server { child }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Breaks the disk by these rules of the shim, or mends it with none.
    fn disk(&self, rules: &str) {
        let next = self.path("control.next");
        let mut file = std::fs::File::create(&next).unwrap();
        file.write_all(rules.as_bytes()).unwrap();
        std::fs::rename(next, self.path("control")).unwrap();
    }

    /// Puts back what was written and never synced: what a power cut may leave.
    fn cut_power(&self) {
        for (file, undo) in [("ese.db", "undo.db"), ("ese.db-wal", "undo.wal")] {
            let notes = std::fs::read(self.path(undo)).unwrap_or_default();
            let Ok(file) = std::fs::OpenOptions::new().write(true).open(self.path(file)) else { continue };
            for (offset, old, size) in read_notes(&notes).into_iter().rev() {
                file.write_all_at(&old, offset).unwrap();
                file.set_len(size).unwrap();
            }
        }
    }

    /// The file as another process sees it.
    fn look(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(self.path("ese.db"), flags).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn
    }

    fn value(&self, sql: &str) -> i64 {
        self.look().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn launch(&self) {
        let launched = self.run(&["campaign", "launch", "1"]);
        assert!(launched.status.success(), "{}", text(&launched));
    }

    /// The server is gone: file, chain and counts are whole, and nobody was sent to twice or unbeknown.
    fn check_whole(&self) {
        let verified = self.run(&["verify"]);
        assert!(verified.status.success(), "{}", text(&verified));
        let conn = self.look();
        let mut statuses = conn
            .prepare("SELECT u.phone, m.status FROM messages m JOIN users u ON u.id = m.user_id WHERE m.campaign_id = 1")
            .unwrap();
        let statuses: std::collections::HashMap<String, String> = statuses
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for (phone, times) in self.simulator.counts() {
            assert_eq!(times, 1, "{phone} was sent to {times} times");
            let status = statuses.get(&phone).map_or("missing", String::as_str);
            let is_known =
                ["sending", "uncertain", "accepted", "sent", "delivered", "read"].contains(&status);
            assert!(is_known, "{phone} was sent to, and the file says {status}");
        }
    }
}

fn add(tx: &event_stream_engine::store::Tx<'_>, n: usize) -> Result<(), StoreError> {
    let phone = Phone::parse(&format!("+1646{:07}", 3_000_000 + n), None).unwrap();
    let given = ConsentChange {
        state: Consent::OptIn,
        source: "test",
        actor: "test",
        evidence: Some("said so"),
        obtained_at: None,
    };
    let user = NewUser {
        phone: Some(phone.as_str()),
        channel_address: None,
        country: phone.country(),
        attributes: &serde_json::Map::new(),
        consent: Some(given),
        actor: "test",
        import: None,
    };
    users::insert(tx, &user).map(drop)
}

/// What `disk.c` noted: where, the bytes that stood there, and how long the file was.
fn read_notes(mut notes: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    let mut found = Vec::new();
    while let Some((head, rest)) = notes.split_at_checked(24) {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let Some((old, rest)) = rest.split_at_checked(number(8) as usize) else { break };
        found.push((number(0), old.to_vec(), number(16)));
        notes = rest;
    }
    found
}

impl Server {
    fn signal(&self, name: &str) {
        let told = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    fn kill(mut self) {
        self.signal("-KILL");
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits for `condition`, which another process brings about.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
