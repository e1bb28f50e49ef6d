//! The official libraries of the Standard Webhooks specification verify what was posted.
//!
//! `tests/clients/install.sh` installs them. Where they are missing these tests say so and pass, except under
//! `CI=true`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use event_stream_engine::clock::Clock;
use event_stream_engine::store::webhook_endpoints::{self, Wish};
use event_stream_engine::store::{Store, StoreError, StorePaths};
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Receiver, publish, publisher};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn installed() -> PathBuf {
    std::env::var_os("TWILIO_CLIENTS_DIR").map_or_else(scripts, PathBuf::from)
}

/// The program, if the library is there.
fn program(probe: &str, program: &str) -> Option<PathBuf> {
    let root = installed();
    let is_there = match probe.split_once('*') {
        None => root.join(probe).exists(),
        // The folder of Python packages has the version in its name.
        Some((before, after)) => std::fs::read_dir(root.join(before))
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().join(after).exists()),
    };
    if is_there {
        return Some(if program.starts_with('.') { root.join(program) } else { PathBuf::from(program) });
    }
    let must_run = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must_run, "{probe} is missing in {}: run tests/clients/install.sh", root.display());
    eprintln!("skipped: {probe} is missing; run tests/clients/install.sh");
    None
}

/// Posts an event before, within and after a rotation, and lets `script` verify each with its secrets.
async fn verify(program: &Path, script: &str) {
    let dir = tempfile::tempdir().unwrap();
    // The libraries look at the time, so this is the real one.
    let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
    let receiver = Receiver::start().await;
    let wish = Wish {
        url: format!("{}/hook", receiver.base),
        description: String::new(),
        types: vec!["user.updated".to_owned()],
        is_enabled: true,
    };
    let (id, old) = store.write(move |tx| webhook_endpoints::insert(tx, &wish, "test")).await.unwrap();
    let publisher = publisher(&store);
    super::happen(&store, event_stream_engine::domain::event::EventType::UserUpdated, 1).await;
    publish(&publisher).await;
    let new = store.write(move |tx| webhook_endpoints::rotate(tx, id, "test")).await.unwrap();
    super::happen(&store, event_stream_engine::domain::event::EventType::UserUpdated, 1).await;
    publish(&publisher).await;
    let over = "UPDATE webhook_endpoints SET previous_secret_until = 0";
    store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(over)?)).await.unwrap();
    super::happen(&store, event_stream_engine::domain::event::EventType::UserUpdated, 1).await;
    publish(&publisher).await;
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    let cases: Vec<_> = received
        .iter()
        .zip([(true, false), (true, true), (false, true)])
        .map(|(one, (by_old, by_new))| {
            json!({
                "headers": {"webhook-id": one.id, "webhook-timestamp": one.timestamp, "webhook-signature": one.signature},
                "body": one.body,
                "secrets": [[old.expose_secret(), by_old], [new.expose_secret(), by_new]],
            })
        })
        .collect();
    let mut command = Command::new(program);
    command.arg(scripts().join(script)).env("CLIENTS_DIR", installed());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(json!(cases).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim_end().ends_with("all checks passed"), "{said}{complained}");
}

#[actix_web::test]
async fn the_official_python_library_verifies_what_was_posted() {
    if let Some(python) = program(".venv/lib/*site-packages/standardwebhooks", ".venv/bin/python") {
        verify(&python, "standardwebhooks_python.py").await;
    }
}

#[actix_web::test]
async fn the_official_node_library_verifies_what_was_posted() {
    if let Some(node) = program("node_modules/standardwebhooks", "node") {
        verify(&node, "standardwebhooks_node.mjs").await;
    }
}
