//! Imports: whole files into a real store, by the same calls as the API and the command.

mod consent;
mod drafts;
mod files;
mod interrupted;
mod rows;
mod undo;

use std::io::{Cursor, Write};
use std::sync::atomic::Ordering;

use event_stream_engine::clock::Clock;
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::import::{self, NewImport, Options, Pace, QueueError, Spool, Spooled};
use event_stream_engine::store::imports::{self, ImportRow, ImportState, Issue};
use event_stream_engine::store::ledger::{self, ConsentChange};
use event_stream_engine::store::users::{self, User, UserKey};
use event_stream_engine::store::{Store, StorePaths};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const HOUR: i64 = 3_600_000;

/// A store of its own, and what the tests do to it.
struct Shop {
    dir: TempDir,
    store: Store,
    clock: Clock,
}

impl Shop {
    fn new() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let store = Store::open(StorePaths::inside(dir.path()), clock.clone()).unwrap();
        Shop { dir, store, clock }
    }

    fn spool(&self, file: &[u8]) -> Spooled {
        let mut spool = Spool::create(&import::spool_dir(self.store.paths()), 1 << 30).unwrap();
        spool.write(file).unwrap();
        spool.finish().unwrap()
    }

    async fn try_queue(&self, file: &[u8], options: Value) -> Result<i64, QueueError> {
        let import = NewImport {
            file_name: "people.csv".to_owned(),
            file: self.spool(file),
            options: Options::parse(&options).unwrap(),
            actor: "key:1".to_owned(),
        };
        self.store.write(move |tx| import::queue(tx, &import)).await
    }

    async fn queue(&self, file: impl AsRef<[u8]>, options: Value) -> i64 {
        self.try_queue(file.as_ref(), options).await.unwrap()
    }

    /// Queues and runs to the end. Whatever it came to, the counters add up and the file is gone.
    async fn import(&self, file: impl AsRef<[u8]>, options: Value) -> ImportRow {
        let id = self.queue(file, options).await;
        import::run_queued(&self.store, &Pace::default()).await.unwrap();
        let row = self.row(id).await;
        self.check(&row);
        row
    }

    fn check(&self, row: &ImportRow) {
        let tally = &row.tally;
        assert_eq!(
            tally.rows,
            tally.created + tally.updated + tally.unchanged + tally.duplicates + tally.rejected,
            "{tally:?}"
        );
        assert!(matches!(row.state, ImportState::Finished | ImportState::Failed), "{row:?}");
        assert_eq!(row.spool_path, None);
        let left = std::fs::read_dir(import::spool_dir(self.store.paths())).unwrap().count();
        assert_eq!(left, 0, "the spool is empty");
    }

    async fn row(&self, id: i64) -> ImportRow {
        self.store.read(move |conn| imports::find(conn, id)).await.unwrap().unwrap()
    }

    async fn issues(&self, id: i64) -> Vec<Issue> {
        self.store.read(move |conn| imports::issues(conn, id, (0, ""), 1_000)).await.unwrap()
    }

    /// Reasons with their rows.
    async fn reasons(&self, id: i64) -> Vec<(i64, String)> {
        self.issues(id).await.into_iter().map(|issue| (issue.row, issue.reason)).collect()
    }

    async fn user(&self, phone: &str) -> Option<User> {
        let key = UserKey::Phone(phone.to_owned());
        self.store.read(move |conn| users::find(conn, &key)).await.unwrap()
    }

    async fn attributes(&self, phone: &str) -> Value {
        self.user(phone).await.map_or(Value::Null, |user| Value::Object(user.attributes))
    }

    async fn consent(&self, phone: &str) -> Consent {
        self.user(phone).await.unwrap().consent
    }

    async fn count_users(&self) -> i64 {
        let counts = self.store.read(users::counts).await.unwrap();
        counts.iter().map(|(_, n)| n).sum()
    }

    /// Somebody whom the API added before.
    async fn add(&self, phone: &'static str, consent: Consent, attributes: Value) -> i64 {
        let attributes: Map<String, Value> = attributes.as_object().unwrap().clone();
        self.store
            .write(move |tx| {
                let change = ConsentChange {
                    state: consent,
                    source: "api",
                    actor: "key:1",
                    evidence: Some("told us"),
                    obtained_at: None,
                };
                let user = users::NewUser {
                    phone: Some(phone),
                    channel_address: None,
                    country: Some("LK"),
                    attributes: &attributes,
                    consent: (consent != Consent::Unknown).then_some(change),
                    actor: "key:1",
                    import: None,
                };
                users::insert(tx, &user)
            })
            .await
            .unwrap()
    }

    async fn ledger(&self, phone: &str) -> Vec<ledger::LedgerRow> {
        let id = self.user(phone).await.unwrap().id;
        self.store.read(move |conn| ledger::list(conn, id, i64::MAX, 50)).await.unwrap()
    }
}

/// An Excel workbook of one sheet: `rows` is the XML inside of `sheetData`, `texts` the shared strings.
fn workbook(rows: &str, texts: &[&str]) -> Vec<u8> {
    let texts: String = texts.iter().map(|text| format!("<si><t>{text}</t></si>")).collect();
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006/relationships";
    let parts = [
        (
            "_rels/.rels",
            format!(
                r#"<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
            ),
        ),
        (
            "xl/workbook.xml",
            format!(
                r#"<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="People" sheetId="1" r:id="rId1"/></sheets></workbook>"#
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            format!(
                r#"<Relationships xmlns="{package}"><Relationship Id="rId1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#
            ),
        ),
        (
            "xl/styles.xml",
            format!(
                r#"<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#
            ),
        ),
        ("xl/sharedStrings.xml", format!(r#"<sst xmlns="{main}">{texts}</sst>"#)),
        (
            "xl/worksheets/sheet1.xml",
            format!(r#"<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>"#),
        ),
    ];
    archive(&parts.each_ref().map(|(name, text)| (*name, text.as_str())))
}

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
