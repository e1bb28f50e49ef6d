//! A provider that notes the moment at which the first byte of each request arrives, and answers by chance:
//! at once, late, too busy, refused, or lost after it took the message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::probe::scramble;

/// A request as the provider saw it.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Of our attempt, by the callback URL.
    pub(super) attempt: u32,
    /// When its first byte came.
    pub(super) at: Instant,
    /// Whether the message was taken.
    pub(super) is_taken: bool,
}

/// The provider, listening on a free port.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) base_url: String,
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    arrivals: Mutex<HashMap<i64, Vec<Arrival>>>,
    steps: Notify,
}

/// What a request meets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Taken,
    Busy,
    Refused(u32),
    LostAfterTaken,
}

impl Answer {
    fn of(drawn: u64) -> Answer {
        match drawn % 100 {
            0..2 => Answer::Busy,
            // "Too many": tried again soon.
            2..10 => Answer::Refused(63017),
            // No such number: over.
            10..12 => Answer::Refused(21211),
            12 => Answer::LostAfterTaken,
            _ => Answer::Taken,
        }
    }

    fn response(self, sid: &str) -> String {
        let (status, body) = match self {
            Answer::Taken => (201, format!(r#"{{"sid":"{sid}","status":"queued","num_segments":"1"}}"#)),
            Answer::Busy => (429, r#"{"code":20429,"message":"Too Many Requests"}"#.to_owned()),
            Answer::Refused(code) => (400, format!(r#"{{"code":{code},"message":"no"}}"#)),
            Answer::LostAfterTaken => (500, "{}".to_owned()),
        };
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Provider {
    /// Listens. `seed` decides about every answer.
    pub(super) async fn start(seed: u64) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { seed, arrivals: Mutex::default(), steps: Notify::new() });
        let served = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let shared = Arc::clone(&served);
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        Provider { base_url, shared }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Vec<Arrival>>> {
        self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests for a message, in the order of their arrival.
    pub(super) fn arrivals(&self, message: i64) -> Vec<Arrival> {
        self.lock().get(&message).cloned().unwrap_or_default()
    }

    /// Whether `n` requests for one of these messages arrived.
    pub(super) fn has_seen(&self, messages: &[i64], n: usize) -> bool {
        let arrivals = self.lock();
        messages.iter().any(|id| arrivals.get(id).is_some_and(|seen| seen.len() >= n))
    }

    /// Wakes whoever waits for a request.
    pub(super) fn steps(&self) -> &Notify {
        &self.shared.steps
    }
}

/// One connection: request after request until the client closes it.
async fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut buffer = Vec::new();
    while let Some((at, request)) = read_request(&mut stream, &mut buffer).await {
        let (message, attempt) = named(&request);
        let drawn = scramble(shared.seed ^ (message as u64).wrapping_mul(31) ^ u64::from(attempt));
        let answer = Answer::of(drawn);
        let is_taken = matches!(answer, Answer::Taken | Answer::LostAfterTaken);
        shared
            .arrivals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(message)
            .or_default()
            .push(Arrival { attempt, at, is_taken });
        shared.steps.notify_waiters();
        if (drawn / 100).is_multiple_of(4) {
            tokio::time::sleep(Duration::from_micros(drawn / 400 % 3_000)).await;
        }
        let response = answer.response(&format!("SM{message:016x}{attempt:016x}"));
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A whole request, and when its first byte came. `None`: the client closed.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Instant, String)> {
    let mut at = (!buffer.is_empty()).then(Instant::now);
    loop {
        if let Some(end) = whole_request(buffer) {
            let rest = buffer.split_off(end);
            let request = std::mem::replace(buffer, rest);
            return Some((at?, String::from_utf8_lossy(&request).into_owned()));
        }
        let mut chunk = [0_u8; 4_096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        at.get_or_insert_with(Instant::now);
        buffer.extend_from_slice(&chunk[..read]);
    }
}

/// Where the first request in `buffer` ends, if it is all there.
fn whole_request(buffer: &[u8]) -> Option<usize> {
    let head_end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..head_end]).to_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    (buffer.len() >= head_end + length).then_some(head_end + length)
}

/// Our message and attempt, by the callback URL in the form.
fn named(request: &str) -> (i64, u32) {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let callback: url::Url = form["StatusCallback"].parse().unwrap();
    let named: HashMap<String, String> = callback.query_pairs().into_owned().collect();
    (named["message"].parse().unwrap(), named["attempt"].parse().unwrap())
}
