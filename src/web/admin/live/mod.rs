//! Live parts of pages: what many people look at is read once and rendered once, however many they are, and only while
//! somebody looks.
//!
//! A **topic** is a question, such as `dashboard` or `campaign:7`. While it has watchers, one task asks it by one
//! query, every so often or when something happened, and hands the answer to a painter. The painter makes **parts**:
//! elements with an id, as HTML. It is called once for each *look*, which is what makes two renders differ: the zone
//! in which times are told, and the role, by which numbers are masked and buttons shown. Watchers are sent those
//! parts that differ from what they have.
//!
//! A page uses it so. In the template, an element that connects, and the parts with their ids:
//!
//! ```html
//! <div hx-sse:connect="/admin/live/dashboard" hx-swap="none" data-live></div>
//! <section id="running">…</section>      {# the same file as the part: {% include "dashboard/_running.html" %} #}
//! <span id="live-state"></span>           {# m.live() of the macros: "Live", or "Connection lost, trying again" #}
//! ```
//!
//! In the table of routes `"/live/dashboard" { get Viewer => dashboard::live }`, and the handler:
//!
//! ```ignore
//! pub(super) async fn live(page: Page, state: Data<State>) -> Answer {
//!     let topic = Topic::every("dashboard", Duration::from_secs(5)).or_on_events(Duration::from_secs(1));
//!     live::stream(&page, &state, topic, async |state: Data<State>| {
//!         let work = state.store.read(|conn| running::work(conn, 5)).await?;        // once for all who look
//!         Ok(move |page: &Page| Ok(vec![Part::new("running", page.part_text("dashboard/_running.html", context! { work })?)]))
//!     })
//! }
//! ```
//!
//! The page of a part knows zone, role and moment and nobody in person: it has no session, so its forms come with
//! empty fields for CSRF and idempotency, and `live.js` fills them with those of the page. A part holds one element,
//! which has the part's id. `live.js` morphs it, keeps what is open in it, and leaves it alone while the focus is
//! inside. A watcher gets every part once when it connects, so a page that was in the background is right again.
//! When the query fails, the streams of the topic end, and browsers come back by themselves.
//!
//! `task` asks and paints, `part` keeps what was painted, `follower` sends it to one watcher.

mod follower;
mod part;
mod task;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use tokio::sync::{Notify, watch};

pub(super) use part::Part;

use super::Answer;
use super::failure::Failure;
use super::page::Page;
use crate::store::operators::Role;
use crate::web::State;
use crate::web::streams::{Streams, server_sent};
use follower::{Checked, Follower};
use part::Picture;
use task::{Asking, Painter, Task};

/// Streams of pages at once, in all and of one operator. A page in the background has none.
const MOST_STREAMS: usize = 256;
const MOST_OF_OPERATOR: usize = 16;
/// A word is sent after this much silence, so that `live.js` notices a connection that is dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often is asked whether the sessions that watch still hold: by one query for all of them.
const SESSION_CHECK: Duration = Duration::from_secs(3);

/// Everybody who watches. Clones share it.
#[derive(Clone, Debug)]
pub struct Watchers {
    topics: Arc<Mutex<HashMap<String, Live>>>,
    streams: Streams,
    sessions: Arc<tokio::sync::Mutex<Checked>>,
    counts: Arc<Counts>,
}

/// What was done since the start.
#[derive(Debug, Default)]
struct Counts {
    queries: AtomicU64,
    paints: AtomicU64,
    tasks: AtomicU64,
}

/// A topic with watchers.
#[derive(Debug)]
struct Live {
    /// Tells the task of one topic from that of a later one with the same key.
    task: u64,
    looks: HashMap<Look, Seat>,
    joined: Arc<Notify>,
}

/// What makes two renders of the same answer differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    zone: String,
    role: &'static str,
}

/// Those who look alike.
struct Seat {
    page: Page,
    picture: watch::Sender<Picture>,
    is_painted: bool,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("watchers", &self.picture.receiver_count()).finish()
    }
}

/// A question that is asked again and again while somebody looks.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    key: String,
    every: Duration,
    rest: Option<Duration>,
}

impl Topic {
    /// Asked every so often. All that makes the answer differ must be in the key, but for zone and role.
    pub(super) fn every(key: impl Into<String>, every: Duration) -> Topic {
        Topic { key: key.into(), every, rest: None }
    }

    /// Asked as well when an event was written, and then not again for `rest`: a campaign writes hundreds a second.
    pub(super) fn or_on_events(mut self, rest: Duration) -> Topic {
        self.rest = Some(rest);
        self
    }
}

/// Follows a topic until the session ends, the page is closed or goes to the background, or the process ends.
///
/// `ask` runs once for all who look at the topic, and returns what makes the parts of one look. Too many streams:
/// 204, and the page stays as it is.
pub(super) fn stream<A, F, P>(page: &Page, state: &Data<State>, topic: Topic, ask: A) -> Answer
where
    A: Fn(Data<State>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<P, Failure>> + Send + 'static,
    P: Fn(&Page) -> Result<Vec<Part>, Failure> + Send + Sync + 'static,
{
    let Some(viewer) = page.viewer.as_ref() else {
        return Err(Failure::forbidden("Log in to see this page.".to_owned()));
    };
    let watchers = state.watchers.clone();
    let Ok(slot) = watchers.streams.take(viewer.operator.id) else {
        tracing::info!("too many live pages are open; one more stays as it was loaded");
        return Ok(HttpResponse::NoContent().finish());
    };
    let asked = state.clone();
    let ask = move || -> Asking {
        let answer = ask(asked.clone());
        Box::pin(async move { Ok(Box::new(answer.await?) as Painter) })
    };
    let picture = watchers.join(page, topic, state, ask);
    let follower = Follower {
        store: state.store.clone(),
        watchers,
        session: (viewer.token_hash, viewer.operator.role),
        picture,
        seen: HashMap::new(),
        waiting: Vec::new(),
        slot,
        greeted: false,
    };
    Ok(server_sent(follower))
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers::new(HEARTBEAT, SESSION_CHECK)
    }
}

impl Watchers {
    /// Watchers with another pace than usual: how much silence ends in a word, and how often sessions are looked at.
    pub fn new(heartbeat: Duration, session_check: Duration) -> Watchers {
        Watchers {
            topics: Arc::default(),
            streams: Streams::new(heartbeat, session_check).with_room(MOST_STREAMS, MOST_OF_OPERATOR),
            sessions: Arc::default(),
            counts: Arc::default(),
        }
    }

    /// Ends every stream, those to come as well.
    pub fn close(&self) {
        self.streams.close();
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.streams.open()
    }

    /// Topics that somebody looks at.
    pub fn topics(&self) -> usize {
        self.live().len()
    }

    /// How often a topic was asked, and how often its parts were made for a look, since the start.
    pub fn work(&self) -> (u64, u64) {
        (self.counts.queries.load(Ordering::Relaxed), self.counts.paints.load(Ordering::Relaxed))
    }

    fn live(&self) -> MutexGuard<'_, HashMap<String, Live>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among those who look alike. The first of a topic begins its task.
    fn join(
        &self,
        page: &Page,
        topic: Topic,
        state: &Data<State>,
        ask: impl Fn() -> Asking + Send + Sync + 'static,
    ) -> watch::Receiver<Picture> {
        let shared = page.for_all(page.now());
        let role = page.viewer.as_ref().map_or(Role::Viewer, |viewer| viewer.operator.role);
        let zone = page.zone.iana_name().unwrap_or("UTC").to_owned();
        let look = Look { zone, role: role.as_str() };
        let mut topics = self.live();
        let live = topics.entry(topic.key.clone()).or_insert_with(|| {
            let task = self.counts.tasks.fetch_add(1, Ordering::Relaxed);
            let joined = Arc::new(Notify::new());
            let work = Task {
                watchers: self.clone(),
                topic,
                number: task,
                joined: Arc::clone(&joined),
                store: state.store.clone(),
            };
            tokio::spawn(work.run(ask));
            Live { task, looks: HashMap::new(), joined }
        });
        let seat = live.looks.entry(look).or_insert_with(|| Seat {
            page: shared,
            picture: watch::channel(Picture::default()).0,
            is_painted: false,
        });
        let picture = seat.picture.subscribe();
        live.joined.notify_one();
        picture
    }
}
