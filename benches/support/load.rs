//! The load client: requests are bytes, answers are looked at no further than they must be. It runs on one
//! thread of the process that it loads, so it takes from the same two cores as the server; a ceiling and
//! its figure share the same client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One kept-alive HTTP/1.1 connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, buffer: Vec::with_capacity(4_096) }
    }

    /// Sends one request and reads its answer: status, and the whole of it.
    pub async fn exchange(&mut self, request: &[u8]) -> (u16, &[u8]) {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server closed a kept-alive connection");
            if let Some(head) = find(&self.buffer, b"\r\n\r\n")
                && self.buffer.len() >= head + 4 + content_length(&self.buffer[..head])
            {
                break;
            }
        }
        let digits = std::str::from_utf8(&self.buffer[9..12]).unwrap();
        (digits.parse().unwrap(), &self.buffer)
    }
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length: ";
    let at = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME));
    let at = at.expect("every answer here says how long it is") + NAME.len();
    head[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After so many requests.
    Count(u64),
}

/// What is sent.
pub struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub until: Until,
    /// Pause of each connection between two requests.
    pub pause: Duration,
    /// The bytes of request `n`.
    pub request: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub answered: u64,
    pub refused: u64,
    pub seconds: f64,
    /// Microseconds, ascending.
    latencies: Vec<u32>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Milliseconds within which this share of the answers came.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.latencies.len() as f64 * share) as usize;
        let at = at.min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
    }
}

/// Runs a load on a thread of its own and waits for its end.
pub async fn run(plan: Plan) -> Outcome {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(all(plan))
    })
    .await
    .unwrap()
}

async fn all(plan: Plan) -> Outcome {
    let plan = Arc::new(plan);
    let next = Arc::new(AtomicU64::new(0));
    let mut wires = Vec::new();
    for _ in 0..plan.connections {
        wires.push(Wire::connect(plan.address).await);
    }
    let start = Instant::now();
    let tasks: Vec<_> =
        wires.into_iter().map(|wire| tokio::spawn(one(wire, plan.clone(), next.clone(), start))).collect();
    let mut whole = Outcome::default();
    for task in tasks {
        let part = task.await.unwrap();
        whole.answered += part.answered;
        whole.refused += part.refused;
        whole.latencies.extend(part.latencies);
    }
    whole.seconds = start.elapsed().as_secs_f64();
    whole.latencies.sort_unstable();
    whole
}

async fn one(mut wire: Wire, plan: Arc<Plan>, next: Arc<AtomicU64>, start: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let is_over = match plan.until {
            Until::Time(time) => start.elapsed() >= time,
            Until::Count(count) => n >= count,
        };
        if is_over {
            return outcome;
        }
        let request = (plan.request)(n);
        let sent = Instant::now();
        let (status, _) = wire.exchange(&request).await;
        outcome.latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        if status == 200 {
            outcome.answered += 1;
        } else {
            outcome.refused += 1;
        }
        if !plan.pause.is_zero() {
            tokio::time::sleep(plan.pause).await;
        }
    }
}
