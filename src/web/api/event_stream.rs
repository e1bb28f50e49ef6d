//! `/events/stream`: the same events as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), with the same ids.
//!
//! The file is the queue. A stream reads one page when its socket takes more, and holds nothing but that page
//! and its place; who reads slowly costs that much and no more, and who comes back with `Last-Event-ID` goes on
//! behind it.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use tokio::sync::watch;

use super::events::{begin, read_types};
use crate::domain::event::EventType;
use crate::store::events::{self, Event};
use crate::store::{Store, api_keys};
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::events as shapes;
use crate::web::page::Query;
use crate::web::streams::{Follow, Full, MOST_OF_KEY, MOST_STREAMS, Slot, server_sent};

/// Events of one page.
const PAGE: usize = 100;
/// The rest between two looks at the head: a campaign commits hundreds of times a second, and every
/// look of every stream is a read.
const REST: Duration = Duration::from_millis(50);
/// What a client waits before it comes back, in milliseconds.
const GREETING: &str = ": events follow\nretry: 1000\n\n";

/// Follows the events as they happen.
///
/// Server-sent events with the ids of `/events`. Without `Last-Event-ID` or `after` it begins with the oldest event
/// that is kept; with them it goes on behind that id, so who comes back misses nothing and sees nothing twice.
/// Silence is filled with comments. The stream ends when the key is revoked or expires.
#[utoipa::path(get, path = "/events/stream", operation_id = "stream_events",
    params(("after" = Option<i64>, Query, description = "The last id that you have.", minimum = 0),
        ("types" = Option<String>, Query, description = "Only these, with commas between."),
        ("Last-Event-ID" = Option<String>, Header,
            description = "The last id that you have; it goes before `after`. Browsers send it by themselves.")),
    responses((status = 200, body = shapes::EventStream, content_type = "text/event-stream"),
        (status = 410, description = "Not all behind the id is kept any more, or no event has it yet; \
            `oldest_id` says where to go on."),
        (status = 429, description = "Too many streams are open, in all or with this key, or too many requests with it.")))]
pub(super) async fn show(
    caller: Scoped<Read>,
    state: Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request)?;
    let given = query.integer("after");
    let types = read_types(&mut query);
    query.finish()?;
    // A browser that comes back repeats its first address: the header knows better.
    let after = last_event_id(&request)?.or(given);
    let slot = state.streams.take(caller.id).map_err(too_many)?;
    let newest = state.store.watch_events();
    let after = state.store.read(move |conn| begin(conn, after)).await?;
    let follower = Follower {
        store: state.store.clone(),
        key_id: caller.id,
        types,
        after,
        newest,
        slot,
        greeted: false,
        key_checked: Instant::now(),
    };
    Ok(server_sent(follower))
}

fn too_many(full: Full) -> Problem {
    let open = match full {
        Full::OfKey => format!("{MOST_OF_KEY} streams are open with this key"),
        Full::OfAll => format!("{MOST_STREAMS} streams are open"),
    };
    let detail = format!("{open} already. Close one, or read /events instead.");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).with_code("too_many_streams")
}

fn last_event_id(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get("Last-Event-ID") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(id) if id >= 0 => Ok(Some(id)),
        _ => Err(Problem::field("Last-Event-ID", "must be the id of an event")),
    }
}

/// One open stream.
struct Follower {
    store: Store,
    key_id: i64,
    types: Vec<EventType>,
    /// The last id that was sent or passed over.
    after: i64,
    newest: watch::Receiver<i64>,
    slot: Slot,
    greeted: bool,
    key_checked: Instant,
}

impl Follow for Follower {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.greeted {
            self.greeted = true;
            return Some(Bytes::from_static(GREETING.as_bytes()));
        }
        let (mut silence, pace) = (Duration::ZERO, self.slot.pace);
        while !self.slot.is_closed() && self.key_holds().await {
            // Seen before the read: what is committed after it wakes the wait below.
            self.newest.mark_unchanged();
            let before = self.after;
            let page = self.page().await?;
            if !page.is_empty() {
                self.slot.count(page.len());
                return Some(page.iter().map(frame).collect::<String>().into());
            }
            if self.after != before {
                // A window without any of the wanted types; there may be more.
                continue;
            }
            let began = Instant::now();
            let newest = &mut self.newest;
            let patience = pace.key_check.min(pace.heartbeat.saturating_sub(silence));
            // The store outlives its streams; if it were gone, waiting would be right.
            let changed = async {
                if newest.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            if self.slot.wait(patience, changed).await {
                self.slot.wait(REST, std::future::pending()).await;
            }
            silence += began.elapsed();
            if silence >= pace.heartbeat && !self.slot.is_closed() {
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
        None
    }
}

impl Follower {
    /// The next page. `None`: it can't be had, or lies before what is kept; the client comes back and is told.
    async fn page(&mut self) -> Option<Vec<Event>> {
        let (after, types) = (self.after, self.types.clone());
        let read = self.store.read(move |conn| {
            begin(conn, Some(after))?;
            Ok::<_, Problem>(events::list_after(conn, after, &types, PAGE)?)
        });
        let (page, looked) = read.await.ok()?;
        self.after = looked;
        Some(page)
    }

    /// Whether the key was neither revoked nor expired, asked now and then.
    async fn key_holds(&mut self) -> bool {
        if self.key_checked.elapsed() < self.slot.pace.key_check {
            return true;
        }
        self.key_checked = Instant::now();
        let (id, now) = (self.key_id, self.store.clock().now());
        self.store.read(move |conn| api_keys::is_in_force(conn, id, now)).await.unwrap_or(false)
    }
}

/// An event on the wire. JSON has no line breaks of its own, so one `data` line holds it.
fn frame(event: &Event) -> String {
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind, event.to_json())
}
