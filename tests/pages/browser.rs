//! The pages in a real Chromium, driven by Playwright: two servers of the real program, one with a finished demo and
//! one with an empty file, and every `tests/browser/*.spec.mjs` against the one it is for.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const EMAIL: &str = "admin@example.com";
const PASSWORD: &str = "correct horse battery";
/// Specs that begin with an empty file; the others want people and a campaign.
const OF_EMPTY: [&str; 1] = ["setup.spec.mjs"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// What is missing to run a browser, if anything.
fn missing() -> Option<&'static str> {
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Some("Chromium");
    }
    (!folder().join("node_modules/@playwright/test").exists()).then_some("Playwright")
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ese"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ESE_")) {
        command.env_remove(name);
    }
    command
}

/// A server that ends with the test.
struct Server {
    child: Child,
    base: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program and waits for the line that tells where it listens.
fn start(mut command: Command, sign: &str) -> Server {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.trim().starts_with(sign));
    let base = line.and_then(|line| Some(line[line.find("http://")?..].split("/api").next()?.to_owned()));
    let base = base.expect("the program says where it listens");
    // Read on, so that the program never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    Server { child, base }
}

fn add_operator(config: &Path) {
    let arguments = [
        "--config",
        config.to_str().unwrap(),
        "operator",
        "add",
        EMAIL,
        "--role",
        "admin",
        "--password-stdin",
    ];
    let mut child = program(&arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Runs specs against a server; their output is the test's.
fn play(server: &Server, simulator: &str, specs: &[String]) {
    let status = Command::new("npx")
        .args(["playwright", "test"])
        .args(specs)
        .current_dir(folder())
        .env("PAGES_URL", &server.base)
        .env("PAGES_EMAIL", EMAIL)
        .env("PAGES_PASSWORD", PASSWORD)
        .env("PAGES_SIMULATOR", simulator)
        .env("PAGES_SENDER", "+18885550100")
        .status()
        .unwrap();
    assert!(status.success(), "{specs:?} failed");
}

fn specs(is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let names =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter(|name| name.ends_with(".spec.mjs") && is_wanted(name)).collect();
    names.sort();
    names
}

/// True when the test is to be left out; under CI it never is.
fn is_skipped() -> bool {
    let Some(missing) = missing() else {
        return false;
    };
    assert!(std::env::var_os("CI").is_none(), "{missing} is missing; run tests/browser/install.sh");
    eprintln!("skipped: {missing} is missing; run tests/browser/install.sh");
    true
}

#[test]
fn the_pages_work_in_a_browser_with_a_finished_demo() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = start(program(&["demo", "--dir", dir.path().to_str().unwrap()]), "API");
    let config = dir.path().join("config.toml");
    add_operator(&config);
    let text = std::fs::read_to_string(&config).unwrap();
    let simulator = text.lines().find_map(|line| line.strip_prefix("api_base = ")).unwrap().trim_matches('"');
    play(&server, simulator, &specs(|name| !OF_EMPTY.contains(&name)));
}

#[test]
fn the_pages_work_in_a_browser_from_an_empty_file() {
    if is_skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\npath = {:?}\nkey_file = {:?}\n",
        path("ese.db"),
        path("ese.key")
    );
    std::fs::write(&config, text).unwrap();
    add_operator(&config);
    let server = start(program(&["--config", config.to_str().unwrap(), "serve"]), "API");
    play(&server, "", &specs(|name| OF_EMPTY.contains(&name)));
}
