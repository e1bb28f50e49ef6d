//! `/admin/settings/backup`: copies of the data file, made while it is served; and the release of one that was put
//! back. Copies lie in the folder `backups` beside the data file; the key is in none of them.

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use futures_util::stream;
use minijinja::{Value, context};

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::section::{filled, refill, save_fields, values};
use super::sections::ALERTS;
use crate::clock::Millis;
use crate::store::hold::{self, Release, Terms};
use crate::store::{Store, StoreError, backup};
use crate::web::State;
use crate::web::error::Problem;

const HERE: &str = "/admin/settings/backup";
/// Bytes of one piece of a download.
const PIECE: usize = 256 * 1024;
/// Copies in the list.
const MOST_LISTED: usize = 50;
/// Messages cancelled in one write.
const CHUNK: usize = 500;

/// How a copy that is being made, or was made last, stands.
#[derive(Clone, Debug, Default)]
struct Progress {
    is_running: bool,
    percent: u64,
    failed: Option<String>,
}

/// At most one copy is made at a time. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Backups(Arc<Mutex<Progress>>);

impl Backups {
    fn get(&self) -> Progress {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// Claims the turn; `false` when a copy is being made already.
    fn begin(&self) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = !held.is_running;
        if is_free {
            *held = Progress { is_running: true, ..Progress::default() };
        }
        is_free
    }
}

fn folder(store: &Store) -> PathBuf {
    store.paths().path.parent().map_or_else(|| PathBuf::from("backups"), |dir| dir.join("backups"))
}

/// `ese-2026-11-23T10-12-36Z.db`: sorted by name they are sorted by time.
fn name_at(at: Millis) -> String {
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
    format!("ese-{}.db", at.strftime("%Y-%m-%dT%H-%M-%SZ"))
}

/// A name that is one of ours, and leads nowhere else.
fn is_name(name: &str) -> bool {
    let inner = name.strip_prefix("ese-").and_then(|rest| rest.strip_suffix(".db"));
    inner.is_some_and(|inner| {
        inner.len() == 20 && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

struct Copy {
    name: String,
    bytes: u64,
}

/// The copies, newest first.
fn copies(dir: &FilePath) -> Vec<Copy> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<Copy> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| is_name(name))?;
            Some(Copy { name, bytes: entry.metadata().ok()?.len() })
        })
        .collect();
    found.sort_by(|a, b| b.name.cmp(&a.name));
    found.truncate(MOST_LISTED);
    found
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>) -> Answer {
    let form = filled(ALERTS, &state.in_force.get());
    render(&page, &state, &form).await
}

async fn render(page: &Page, state: &State, form: &Filled) -> Answer {
    let dir = folder(&state.store);
    let (last, held, listed) = state
        .store
        .read(move |conn| {
            Ok::<_, StoreError>((backup::last_backup_at(conn)?, hold::since(conn)?, copies(&dir)))
        })
        .await?;
    let copies: Vec<Value> =
        listed.iter().map(|copy| context! { name => copy.name.clone(), bytes => copy.bytes }).collect();
    let progress = state.backups.get();
    let values = context! {
        title => "Backup",
        section => "settings",
        area => "backup",
        last => last,
        held => held,
        copies => copies,
        folder => folder(&state.store).display().to_string(),
        key_file => state.store.paths().key_file.display().to_string(),
        is_running => progress.is_running,
        percent => progress.percent,
        failed => progress.failed,
        fields => values(ALERTS, &state.in_force.get()),
        form => form.value(),
    };
    page.show_as(form.status(), "settings/backup.html", values)
}

pub(in crate::web::admin) async fn save(page: Page, state: Data<State>, form: Form) -> Answer {
    match save_fields(&page, &state, ALERTS, &form, None).await {
        Ok(()) => page.go_to(HERE, "Saved. It holds from now on."),
        Err(problem) => {
            let refused = refill(Filled::refused(&form, problem)?, ALERTS, &state.in_force.get());
            render(&page, &state, &refused).await
        }
    }
}

/// Begins a copy. It goes on when the page is closed.
pub(in crate::web::admin) async fn make(page: Page, state: Data<State>, _form: Form) -> Answer {
    if !state.backups.begin() {
        return page.go_to(HERE, "A copy is being made already.");
    }
    let (store, backups) = (state.store.clone(), state.backups.clone());
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let told = |done: u64, total: u64| {
            backups.set(Progress { is_running: true, percent: done * 100 / total.max(1), failed: None });
        };
        let made = runtime.block_on(copy(&store, told));
        let failed = made.err();
        if let Some(error) = &failed {
            tracing::error!(error, "no backup was made");
        }
        backups.set(Progress { is_running: false, percent: 100, failed });
    });
    page.go_to(HERE, "The copy is being made. Messages go on meanwhile.")
}

async fn copy(store: &Store, told: impl FnMut(u64, u64)) -> Result<(), String> {
    let dir = folder(store);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let target = dir.join(name_at(store.clock().now()));
    backup::back_up(store, &target, false, told).await.map(drop).map_err(|error| error.to_string())
}

fn named(state: &State, name: &str) -> Result<PathBuf, Failure> {
    let path = folder(&state.store).join(name);
    if is_name(name) && path.is_file() { Ok(path) } else { Err(Failure::not_found("There is no such copy.")) }
}

/// A copy, piece by piece.
pub(in crate::web::admin) async fn download(state: Data<State>, name: Path<String>) -> Answer {
    let path = named(&state, &name)?;
    let failed = |error: std::io::Error| Failure::from(StoreError::Internal(error.to_string()));
    let file = std::fs::File::open(&path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let pieces = stream::try_unfold(file, |mut file| async move {
        let read = tokio::task::spawn_blocking(move || {
            use std::io::Read;
            let mut piece = vec![0; PIECE];
            let n = file.read(&mut piece)?;
            piece.truncate(n);
            Ok::<_, std::io::Error>((piece, file))
        });
        let (piece, file) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/vnd.sqlite3"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .no_chunking(bytes)
        .streaming(pieces))
}

/// Deletes a copy.
pub(in crate::web::admin) async fn remove(
    page: Page,
    state: Data<State>,
    name: Path<String>,
    _form: Form,
) -> Answer {
    let path = named(&state, &name)?;
    std::fs::remove_file(&path).map_err(|error| StoreError::Internal(error.to_string()))?;
    page.go_to(HERE, &format!("{name} is deleted."))
}

/// Lets a file that was put back send again.
pub(in crate::web::admin) async fn release(page: Page, state: Data<State>, form: Form) -> Answer {
    match try_release(&state, &form, &page.actor()).await {
        Ok(said) => page.go_to(HERE, &said),
        Err(problem) => {
            let refused = refill(Filled::refused(&form, problem)?, ALERTS, &state.in_force.get());
            render(&page, &state, &refused).await
        }
    }
}

async fn try_release(state: &State, form: &Form, actor: &str) -> Result<String, Problem> {
    let waiting = form.text("waiting").unwrap_or_default();
    let terms = Terms { without_catch_up: form.is_on("without_catch_up"), sends_waiting: waiting == "send" };
    let attempt = async || {
        let actor = actor.to_owned();
        state.store.write::<_, _, StoreError>(move |tx| hold::release(tx, terms, &actor)).await
    };
    let mut released = attempt().await?;
    let mut cancelled = 0;
    if let (Release::Waiting(_), "cancel") = (released, waiting.as_str()) {
        loop {
            let n = state.store.write(|tx| hold::cancel_waiting(tx, CHUNK)).await?;
            cancelled += n;
            if n < CHUNK {
                break;
            }
        }
        released = attempt().await?;
    }
    match released {
        Release::Released => Ok(format!(
            "Released: messages go out again. {cancelled} that waited were cancelled. Campaigns stay paused until they are resumed."
        )),
        Release::NotHeld => Ok("Nothing is held.".to_owned()),
        Release::NotCaughtUp => Err(Problem::field(
            "without_catch_up",
            "what people wrote since the copy was made was not fetched yet, so their STOPs may be missing. It is fetched within a minute once Twilio answers; or say here that you go on without",
        )),
        Release::Waiting(n) => Err(Problem::field(
            "waiting",
            format!(
                "{n} single messages wait from before the copy was made, and may have been sent since. Say what becomes of them"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_a_copy_and_nowhere_else() {
        assert!(is_name(&name_at(1_795_000_000_000)));
        for name in [
            "ese.db",
            "../ese.db",
            "ese-../../../../etc/pw.db",
            "ese-2026-11-23T10-12-36Z.db-wal",
            "ese-2026/11/23T10-12-36Z.db",
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
