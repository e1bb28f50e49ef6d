//! `POST /triggers`: business events that start messages, as NDJSON or as one JSON array. The body is read as it
//! comes and taken in batches, so it may be long and is never held; each line has its own result.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::rt::task::JoinHandle;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Answer;
use super::trigger_line::{check_segment, read, sentence};
use crate::campaign::{self, CampaignError, Intake, Made, Taken, Trigger, Whom};
use crate::domain::rules::Rules;
use crate::domain::trigger::MAX_ID;
use crate::store::Store;
use crate::web::State;
use crate::web::auth::{Scoped, Send};
use crate::web::error::Problem;
use crate::web::idempotency::Once;
use crate::web::openapi::shapes::triggers as shapes;
use crate::web::page::Query;
use crate::web::pieces::{Cutter, Format, Piece};
use crate::web::reply::Reply;

/// Largest body, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Longest line or element, in bytes.
const MAX_LINE: usize = 16 * 1024;
/// Lines of one request.
const MAX_LINES: usize = 50_000;
/// Lines of one batch: one is written while the next is read.
const BATCH: usize = 256;
/// A write should not hold the writer longer than this.
const LONGEST: Duration = Duration::from_millis(12);
/// Said with the answer to a key that came before, where the first answer was long.
const SHORTENED: &str = "The results of so many lines are told once. For those of single lines send the body again without the key: an id that was taken is told as a duplicate.";
const LINES: [&str; 3] = ["application/x-ndjson", "application/jsonl", "application/x-jsonlines"];

/// Takes business events that start messages.
///
/// At most 50,000 lines of 16 KiB, 64 MiB together, read as they come. A line that can't be taken is rejected and
/// the others go on; what follows a break in an array is not taken. An `id` is taken once for good, so a body may
/// be sent again whole. A campaign that begins later sends nothing for earlier events; one that is paused queues.
#[utoipa::path(post, path = "/triggers", operation_id = "create_triggers",
    request_body(content((Vec<shapes::NewTrigger> = "application/json"), (shapes::TriggerLines = "application/x-ndjson"),
        (shapes::TriggerLines = "application/jsonl"))),
    responses((status = 200, body = shapes::TriggersTaken), (status = 409, description = "Something is not set up.")))]
pub(super) async fn receive(
    caller: Scoped<Send>,
    state: Data<State>,
    request: HttpRequest,
    payload: Payload,
) -> Answer {
    Query::of(&request)?.finish()?;
    let format = read_format(&request)?;
    let once = Once::of(&request)?;
    let mut body = Incoming::of(&request, payload)?;
    if let Some(kept) = once.kept(&state.store).await? {
        while body.next().await?.is_some() {}
        return once.say_again(body.digest(), &kept);
    }
    let setup = state.setup.get();
    if let Some(problem) = &setup.problem {
        return Err(CampaignError::SetupIncomplete(problem.clone()).into());
    }
    let context = Context {
        store: state.store.clone(),
        rules: state.rules.get(),
        is_simulated: setup.is_simulated,
        actor: caller.actor(),
    };
    let mut receiver = Receiver::new(context);
    receiver.receive(&mut body, format).await?;
    let counts = receiver.counts();
    once.settle(&state.store, body.digest(), Reply::ok(receiver.answer()), || shortened(counts)).await
}

/// What is kept of a long answer. Nothing is lost with the rest: a line is told again by its id.
fn shortened(mut counts: Value) -> Reply {
    set(&mut counts, "results", json!([]));
    set(&mut counts, "note", json!(SHORTENED));
    Reply::ok(counts)
}

fn read_format(request: &HttpRequest) -> Result<Format, Problem> {
    let given = request.content_type().to_ascii_lowercase();
    if LINES.contains(&given.as_str()) {
        return Ok(Format::Lines);
    }
    if given == "application/json" {
        return Ok(Format::Array);
    }
    let detail =
        "Send one JSON object a line as application/x-ndjson, or an array of them as application/json.";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is larger than {MAX_BODY} bytes."))
}

/// The body on its way in, with its length and digest so far.
struct Incoming {
    payload: Payload,
    length: usize,
    digest: Sha256,
}

impl Incoming {
    fn of(request: &HttpRequest, payload: Payload) -> Result<Incoming, Problem> {
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > MAX_BODY as u64)
        {
            return Err(too_large());
        }
        let mut digest = Sha256::new();
        // The same lines may be an array or not.
        digest.update(request.content_type().to_ascii_lowercase());
        digest.update([0]);
        Ok(Incoming { payload, length: 0, digest })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let Some(chunk) = self.payload.next().await else {
            return Ok(None);
        };
        let chunk = chunk.map_err(|_| Problem::unreadable("The body ended early."))?;
        self.length += chunk.len();
        if self.length > MAX_BODY {
            return Err(too_large());
        }
        self.digest.update(&chunk);
        Ok(Some(chunk))
    }

    fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }
}

/// What the writes of one request need.
#[derive(Clone)]
struct Context {
    store: Store,
    rules: Arc<Rules>,
    is_simulated: bool,
    actor: String,
}

/// A line that was read: an event, or the result of one that can't be taken.
enum Line {
    Event(usize, Box<Trigger>),
    Rejected(Value),
}

/// Gathers lines to batches and their results in order.
struct Receiver {
    context: Context,
    lines: usize,
    batch: Vec<Line>,
    writing: Option<JoinHandle<Result<Vec<Value>, Problem>>>,
    results: Vec<Value>,
}

impl Receiver {
    fn new(context: Context) -> Receiver {
        Receiver { context, lines: 0, batch: Vec::new(), writing: None, results: Vec::new() }
    }

    /// Takes the whole body. Where it breaks off, what came before stays, and the problem says how much that was.
    async fn receive(&mut self, body: &mut Incoming, format: Format) -> Result<(), Problem> {
        let outcome = self.read(body, format).await;
        // Whatever happened, nobody is answered while something of it is still being written.
        let written = self.write_batch().await.and(self.written().await);
        match outcome.and(written) {
            Err(problem) if self.results.is_empty() => Err(problem),
            Err(problem) => {
                let counts = self.counts();
                Err(problem.with("taken_so_far", counts))
            }
            Ok(()) => Ok(()),
        }
    }

    async fn read(&mut self, body: &mut Incoming, format: Format) -> Result<(), Problem> {
        let (mut cutter, mut pieces) = (Cutter::new(format, MAX_LINE), VecDeque::new());
        let mut is_over = false;
        while !is_over {
            match body.next().await? {
                Some(chunk) => cutter.push(&chunk, &mut pieces).map_err(|error| no_array(&error))?,
                None => {
                    is_over = true;
                    // What is left of the cutter is taken out, and nothing is pushed any more.
                    let last = std::mem::replace(&mut cutter, Cutter::new(format, MAX_LINE));
                    last.finish(&mut pieces).map_err(|error| no_array(&error))?;
                }
            }
            while let Some(piece) = pieces.pop_front() {
                if !self.take(piece, format).await? {
                    // The rest is read, so that the answer finds somebody who listens, and looked at no more.
                    while body.next().await?.is_some() {}
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads one piece. Returns whether the next one can be told from it.
    async fn take(&mut self, piece: Piece, format: Format) -> Result<bool, Problem> {
        if self.lines == MAX_LINES {
            let detail = format!("At most {MAX_LINES} lines in one request; send the rest in another.");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        self.lines += 1;
        let (line, goes_on) = match piece {
            Piece::TooLong(line) => (rejected(line, None, format!("longer than {MAX_LINE} bytes")), true),
            Piece::Broken(line, why) => (rejected(line, None, broken(why)), false),
            Piece::Text(line, text) => match serde_json::from_slice::<Value>(&text) {
                Ok(value) => (self.read_event(line, value).await?, true),
                Err(error) if format == Format::Lines => {
                    (rejected(line, None, format!("is not JSON: {error}")), true)
                }
                // Where an element ends is uncertain now, and so is where the next begins.
                Err(error) => (rejected(line, None, broken(&format!("is not JSON: {error}"))), false),
            },
        };
        self.batch.push(line);
        if self.batch.len() >= BATCH {
            self.write_batch().await?;
        }
        Ok(goes_on)
    }

    async fn read_event(&self, line: usize, value: Value) -> Result<Line, Problem> {
        let id = value
            .get("id")
            .and_then(Value::as_str)
            .filter(|id| id.chars().count() <= MAX_ID)
            .map(str::to_owned);
        let event = match read(value, self.context.store.clock().now()) {
            Ok(event) => event,
            Err(problem) => return Ok(rejected(line, id, sentence(problem))),
        };
        if let Whom::Segment(definition) = &event.whom {
            let definition = definition.clone();
            let checked = self.context.store.read(move |conn| check_segment(conn, &definition)).await;
            if let Err(problem) = checked {
                if problem.status() != StatusCode::UNPROCESSABLE_ENTITY {
                    return Err(problem);
                }
                return Ok(rejected(line, id, sentence(problem)));
            }
        }
        Ok(Line::Event(line, Box::new(event)))
    }

    /// Begins to write the batch at hand, once the one before it is written.
    async fn write_batch(&mut self) -> Result<(), Problem> {
        self.written().await?;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            self.writing = Some(actix_web::rt::spawn(write(self.context.clone(), batch)));
        }
        Ok(())
    }

    async fn written(&mut self) -> Result<(), Problem> {
        if let Some(writing) = self.writing.take() {
            let results = writing
                .await
                .map_err(|error| crate::store::StoreError::Internal(format!("a batch ended: {error}")))??;
            self.results.extend(results);
        }
        Ok(())
    }

    fn count(&self, word: &str) -> usize {
        self.results.iter().filter(|result| result.get("result").is_some_and(|found| found == word)).count()
    }

    fn counts(&self) -> Value {
        json!({
            "accepted": self.count("accepted"),
            "duplicate": self.count("duplicate"),
            "rejected": self.count("rejected"),
        })
    }

    fn answer(self) -> Value {
        let mut answer = self.counts();
        set(&mut answer, "results", Value::Array(self.results));
        answer
    }
}

/// Sets a member of an object.
fn set(object: &mut Value, member: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(member.to_owned(), value);
    }
}

fn no_array(error: &crate::web::pieces::NoArray) -> Problem {
    match error {
        crate::web::pieces::NoArray::OtherJson => Problem::field("", error.to_string()),
        crate::web::pieces::NoArray::NoJson => Problem::unreadable(error.to_string()),
    }
}

fn broken(why: &str) -> String {
    format!("{why}; the array can't be read from here on, and nothing behind this was taken")
}

fn rejected(line: usize, id: Option<String>, message: String) -> Line {
    Line::Rejected(json!({"line": line, "id": id, "result": "rejected", "message": message}))
}

/// Writes a batch in as many writes as it takes, and returns the results of all its lines in order.
async fn write(context: Context, batch: Vec<Line>) -> Result<Vec<Value>, Problem> {
    let mut results = Vec::with_capacity(batch.len());
    let mut events = Vec::with_capacity(batch.len());
    for line in batch {
        match line {
            Line::Rejected(result) => results.push(result),
            Line::Event(line, event) => {
                results.push(json!({"line": line, "id": event.id}));
                events.push(*event);
            }
        }
    }
    let outcomes = take_all(&context, events).await?;
    let open = results.iter_mut().filter(|result| result.get("result").is_none());
    for (result, outcome) in open.zip(outcomes) {
        tell(result, &outcome);
    }
    Ok(results)
}

/// What became of each event; `None`: a defect, which is logged.
async fn take_all(context: &Context, events: Vec<Trigger>) -> Result<Vec<Option<Taken>>, Problem> {
    let events = Arc::new(events);
    let mut outcomes: Vec<Option<Taken>> = Vec::with_capacity(events.len());
    let mut most = usize::MAX;
    while outcomes.len() < events.len() {
        let from = outcomes.len();
        let (events, own) = (Arc::clone(&events), context.clone());
        let taken = context.store.write(move |tx| {
            let intake = Intake { rules: &own.rules, is_simulated: own.is_simulated, actor: &own.actor };
            let to = events.len().min(from.saturating_add(most));
            campaign::take(tx, events.get(from..to).unwrap_or_default(), &intake, Instant::now() + LONGEST)
        });
        match taken.await {
            Ok(taken) => outcomes.extend(taken.into_iter().map(Some)),
            Err(CampaignError::Store(error)) if error.is_transient() => return Err(error.into()),
            // One of them can't be taken for a defect: one by one shows which.
            Err(_) if most > 1 => most = 1,
            Err(error) => {
                tracing::error!(%error, "an event could not be taken");
                outcomes.push(None);
            }
        }
    }
    Ok(outcomes)
}

fn message(made: &Made) -> Value {
    json!({
        "id": made.id,
        "campaign_id": made.campaign_id,
        "status": made.status.as_str(),
        "reason": made.reason,
    })
}

/// Completes the result of a line.
fn tell(result: &mut Value, outcome: &Option<Taken>) {
    let Some(taken) = outcome else {
        set(result, "result", json!("rejected"));
        set(
            result,
            "message",
            json!("Something went wrong here; it is logged. Nothing of this event was kept."),
        );
        return;
    };
    set(result, "result", json!(if taken.is_duplicate { "duplicate" } else { "accepted" }));
    set(result, "message", taken.made.first().map_or(Value::Null, message));
    if let Some(more) = taken.made.get(1..).filter(|more| !more.is_empty()) {
        set(result, "more_messages", more.iter().map(message).collect());
    }
    if let Some(taken_back) = taken.taken_back {
        set(result, "cancelled", json!(taken_back));
    }
    if !taken.notes.is_empty() {
        set(result, "note", json!(taken.notes.join(" ")));
    }
}
