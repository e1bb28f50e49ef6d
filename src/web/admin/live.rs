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
//! In the table of routes `"/live/dashboard" { get Viewer => dashboard::live, }`, and the handler:
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

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use tokio::sync::{Notify, watch};

use super::Answer;
use super::failure::Failure;
use super::page::Page;
use crate::store::operators::Role;
use crate::store::{Store, sessions};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::streams::{Slot, Streams};

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

/// The parts as they are now, each as it is sent, with the number of its last change.
#[derive(Clone, Debug, Default)]
struct Picture {
    pieces: Vec<Piece>,
    changes: u64,
}

#[derive(Clone, Debug)]
struct Piece {
    id: String,
    change: u64,
    frame: Bytes,
}

/// An element of a page.
#[derive(Debug)]
pub(super) struct Part {
    id: String,
    html: String,
}

impl Part {
    /// The element with this id, which the HTML carries too.
    pub(super) fn new(id: impl Into<String>, html: String) -> Part {
        Part { id: id.into(), html }
    }

    /// As an event of a stream (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). A line break of
    /// any kind ends a field there, so each line gets a field of its own.
    fn frame(&self) -> String {
        let mut frame = format!("event: {}\n", self.id);
        for line in self.html.replace("\r\n", "\n").split(['\n', '\r']) {
            let line = line.trim();
            if !line.is_empty() {
                frame.push_str("data: ");
                frame.push_str(line);
                frame.push('\n');
            }
        }
        frame.push('\n');
        frame
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

/// Makes the parts of one look.
type Painter = Box<dyn Fn(&Page) -> Result<Vec<Part>, Failure> + Send + Sync>;
type Asking = Pin<Box<dyn Future<Output = Result<Painter, Failure>> + Send>>;

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
    let body = stream::unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<_, Problem>(chunk), follower))
    });
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // Proxies that collect an answer before they pass it on would show nothing.
        .insert_header(("X-Accel-Buffering", "no"))
        .force_close()
        .streaming(body))
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

    /// Whether the session is in force and its operator has the role with which it began. One query answers for all
    /// sessions that watch, now and then; between two of them the last answer holds.
    async fn session_holds(&self, store: &Store, session: ([u8; 32], Role)) -> bool {
        let mut checked = self.sessions.lock().await;
        checked.asked.insert(session.0);
        let is_known = checked.roles.contains_key(&session.0);
        if !is_known || checked.at.is_none_or(|at| at.elapsed() >= self.streams.pace().key_check) {
            let asked: Vec<[u8; 32]> = checked.asked.drain().chain([session.0]).collect();
            let now = store.clock().now();
            let Ok(roles) = store.read(move |conn| sessions::roles(conn, &asked, now)).await else {
                return false;
            };
            checked.roles = roles;
            checked.at = Some(Instant::now());
        }
        checked.roles.get(&session.0) == Some(&session.1)
    }
}

/// What was found out about sessions last.
#[derive(Debug, Default)]
struct Checked {
    at: Option<Instant>,
    roles: HashMap<[u8; 32], Role>,
    /// Who asked since.
    asked: std::collections::HashSet<[u8; 32]>,
}

/// The task of a topic.
struct Task {
    watchers: Watchers,
    topic: Topic,
    number: u64,
    joined: Arc<Notify>,
    store: Store,
}

/// On every way out, a panic too, the topic goes, and with it the streams that wait for it.
impl Drop for Task {
    fn drop(&mut self) {
        let mut topics = self.watchers.live();
        if topics.get(&self.topic.key).is_some_and(|live| live.task == self.number) {
            topics.remove(&self.topic.key);
        }
    }
}

impl Task {
    async fn run(self, ask: impl Fn() -> Asking) {
        let mut newest = self.store.watch_events();
        let mut closed = self.watchers.streams.closed();
        loop {
            // Seen before the question: what is committed after it wakes the wait below.
            newest.mark_unchanged();
            self.watchers.counts.queries.fetch_add(1, Ordering::Relaxed);
            let painted = match ask().await {
                Ok(painter) => self.paint(&painter, false).map(|()| painter),
                Err(failure) => Err(failure),
            };
            let painter = match painted {
                Ok(painter) => painter,
                Err(failure) => {
                    tracing::warn!(topic = %self.topic.key, error = %failure, "a live page could not be brought up to date");
                    return;
                }
            };
            let due = tokio::time::Instant::now() + self.topic.every;
            let event = async {
                match self.topic.rest {
                    Some(rest) => {
                        tokio::time::sleep(rest).await;
                        if newest.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(event);
            loop {
                tokio::select! {
                    _ = closed.wait_for(|is_closed| *is_closed) => return,
                    () = tokio::time::sleep_until(due) => break,
                    () = &mut event => break,
                    () = self.joined.notified() => {
                        if self.paint(&painter, true).is_err() {
                            return;
                        }
                    }
                }
            }
            if self.is_alone() {
                return;
            }
        }
    }

    /// Makes the parts for each look that has watchers, or for those alone that have none yet.
    fn paint(&self, painter: &Painter, only_new: bool) -> Result<(), Failure> {
        let now = self.store.clock().now();
        let looks: Vec<(Look, Page)> = {
            let topics = self.watchers.live();
            let looks = topics.get(&self.topic.key).map(|live| &live.looks);
            let wanted = looks
                .into_iter()
                .flatten()
                .filter(|(_, seat)| seat.picture.receiver_count() > 0 && !(only_new && seat.is_painted));
            wanted.map(|(look, seat)| (look.clone(), seat.page.for_all(now))).collect()
        };
        for (look, page) in looks {
            self.watchers.counts.paints.fetch_add(1, Ordering::Relaxed);
            let parts = painter(&page)?;
            let mut topics = self.watchers.live();
            let seat = topics.get_mut(&self.topic.key).and_then(|live| live.looks.get_mut(&look));
            if let Some(seat) = seat {
                seat.is_painted = true;
                seat.picture.send_if_modified(|picture| picture.take(parts));
            }
        }
        Ok(())
    }

    /// Nobody looks any more. Told under the lock of those who come, so that none joins a task that is about to end.
    fn is_alone(&self) -> bool {
        let mut topics = self.watchers.live();
        let Some(live) = topics.get_mut(&self.topic.key) else {
            return true;
        };
        live.looks.retain(|_, seat| seat.picture.receiver_count() > 0);
        if live.looks.is_empty() {
            topics.remove(&self.topic.key);
            return true;
        }
        false
    }
}

impl Picture {
    /// Takes what differs. Returns whether anything did.
    fn take(&mut self, parts: Vec<Part>) -> bool {
        let before = self.changes;
        for part in parts {
            let frame = part.frame();
            match self.pieces.iter_mut().find(|piece| piece.id == part.id) {
                Some(piece) if piece.frame == frame.as_bytes() => {}
                Some(piece) => {
                    self.changes += 1;
                    (piece.change, piece.frame) = (self.changes, frame.into());
                }
                None => {
                    self.changes += 1;
                    self.pieces.push(Piece { id: part.id, change: self.changes, frame: frame.into() });
                }
            }
        }
        self.changes != before
    }
}

/// One open stream.
struct Follower {
    store: Store,
    watchers: Watchers,
    session: ([u8; 32], Role),
    picture: watch::Receiver<Picture>,
    /// The change up to which each part was sent.
    seen: HashMap<String, u64>,
    /// Frames that are sent next, the first last.
    waiting: Vec<Bytes>,
    slot: Slot,
    greeted: bool,
}

impl Follower {
    /// What is sent next, when there is something. `None`: the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(b": parts follow\n\n"));
        }
        let (mut silence, pace) = (Duration::ZERO, self.slot.pace);
        while !self.slot.is_closed() && self.watchers.session_holds(&self.store, self.session).await {
            self.look();
            if let Some(frame) = self.waiting.pop() {
                self.slot.count(1);
                return Some(frame);
            }
            let began = Instant::now();
            let patience = pace.key_check.min(pace.heartbeat.saturating_sub(silence));
            let mut is_over = false;
            let picture = &mut self.picture;
            self.slot.wait(patience, async { is_over = picture.changed().await.is_err() }).await;
            if is_over {
                return None;
            }
            silence += began.elapsed();
            if silence >= pace.heartbeat && !self.slot.is_closed() {
                return Some(Bytes::from_static(b"event: beat\ndata: 1\n\n"));
            }
        }
        None
    }

    /// Queues the parts that differ from what was sent.
    fn look(&mut self) {
        if !self.waiting.is_empty() {
            return;
        }
        let picture = self.picture.borrow_and_update();
        for piece in picture.pieces.iter().rev() {
            if self.seen.get(&piece.id) != Some(&piece.change) {
                self.seen.insert(piece.id.clone(), piece.change);
                self.waiting.push(piece.frame.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_event_however_its_lines_end() {
        let part = Part::new("running", "<p>\r\n  a\rb\n\n</p>".to_owned());
        assert_eq!(part.frame(), "event: running\ndata: <p>\ndata: a\ndata: b\ndata: </p>\n\n");
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let mut picture = Picture::default();
        let parts = |a: &str, b: &str| vec![Part::new("a", a.to_owned()), Part::new("b", b.to_owned())];
        assert!(picture.take(parts("1", "1")));
        assert!(!picture.take(parts("1", "1")));
        assert!(picture.take(parts("1", "2")));
        let changes: Vec<_> = picture.pieces.iter().map(|piece| (piece.id.as_str(), piece.change)).collect();
        assert_eq!(changes, [("a", 1), ("b", 3)]);
    }
}
