//! Twilio's own Python and Node libraries against the stand-in, and its answers against Twilio's
//! OpenAPI document.
//!
//! `tests/clients/install.sh` installs them. Where they are missing these tests say so and pass,
//! except under `CI=true`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use event_stream_engine::simulator::Options;

use super::{Receiver, Twilio};

const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

pub(crate) fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where the libraries are installed.
pub(crate) fn installed() -> PathBuf {
    std::env::var_os("TWILIO_CLIENTS_DIR").map_or_else(scripts, PathBuf::from)
}

/// The interpreter of one of the languages, if its libraries are installed.
pub(crate) fn interpreter(probe: &str, program: &str) -> Option<PathBuf> {
    if installed().join(probe).exists() {
        let is_installed_here = program.starts_with('.');
        return Some(if is_installed_here { installed().join(program) } else { PathBuf::from(program) });
    }
    let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must_run, "{probe} is missing in {}: run tests/clients/install.sh", installed().display());
    eprintln!("skipped: {probe} is missing; run tests/clients/install.sh");
    None
}

/// Runs a script with the address of a simulator, and of a receiver for signed webhooks whose
/// record it reads from the control API.
async fn run(interpreter: &Path, script: &str) {
    let receiver = Receiver::start(|_| (200, "text/xml", EMPTY)).await;
    let twilio = Twilio::with(Options {
        inbound_url: Some(receiver.url("/inbound?x=1")),
        window_open: true,
        callback_delay_ms: 5,
        ..Options::default()
    })
    .await;
    let mut command = Command::new(interpreter);
    command
        .arg(scripts().join(script))
        .env("SIMULATOR_URL", twilio.simulator.base_url())
        .env("ACCOUNT_SID", &twilio.options.account_sid)
        .env("AUTH_TOKEN", &twilio.options.auth_token)
        .env("RECEIVER_URL", receiver.url("/status?message=1"))
        .env("CLIENTS_DIR", installed())
        .stdin(Stdio::null());
    // Beside the runtime, which has callbacks to send meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{script} failed\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    // A script that does nothing would succeed too.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.trim_end().ends_with("all checks passed"), "{said}");
    assert!(!twilio.simulator.messages().is_empty());
}

#[tokio::test]
async fn the_official_python_library_works_without_complaint() {
    if let Some(python) = interpreter(".venv/bin/python", ".venv/bin/python") {
        run(&python, "twilio_python.py").await;
    }
}

#[tokio::test]
async fn the_official_node_library_works_without_complaint() {
    if let Some(node) = interpreter("node_modules/twilio", "node") {
        run(&node, "twilio_node.mjs").await;
    }
}

#[tokio::test]
async fn answers_validate_against_twilios_openapi_document() {
    if let Some(python) = interpreter(".venv/bin/python", ".venv/bin/python") {
        run(&python, "openapi_validate.py").await;
    }
}
