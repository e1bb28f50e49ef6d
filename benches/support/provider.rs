//! The provider: the simulator in a process of its own, which is this program again with other arguments. It
//! ends when its standard input closes, so none outlives a benchmark.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use event_stream_engine::simulator::{Faults, Options, Simulator};

use super::{ACCOUNT, TOKEN, runtime};

const ARGUMENT: &str = "--as-provider";

/// A simulator in another process.
pub struct Provider {
    child: Child,
    pub address: SocketAddr,
}

impl Provider {
    /// Starts one that takes `latency_ms` for each request.
    pub fn start(latency_ms: u64, has_callbacks: bool) -> Provider {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, &latency_ms.to_string(), &has_callbacks.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").parse().unwrap();
        Provider { child, address }
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Call first: true when this process was the provider, and is at its end.
pub fn was_provider() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == ARGUMENT) else {
        return false;
    };
    let has_callbacks = arguments[at + 2] == "true";
    let options = Options {
        account_sid: ACCOUNT.to_owned(),
        auth_token: TOKEN.to_owned(),
        latency_ms: arguments[at + 1].parse().unwrap(),
        callback_log: 1_000,
        faults: Faults {
            callbacks_missing_percent: if has_callbacks { 0.0 } else { 100.0 },
            ..Faults::default()
        },
        ..Options::default()
    };
    runtime().block_on(async {
        let simulator = Simulator::start(options).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{}", simulator.base_url()).unwrap();
        out.flush().unwrap();
        let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = closed.await;
        simulator.stop().await;
    });
    true
}
