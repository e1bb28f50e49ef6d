//! README's walk with curl, run word by word, so that it can't rot: every block of its section in one shell,
//! with the ports of this test. A call that fails ends the script, and what the answers must say is below.

use std::fmt::Write;
use std::process::{Command, Stdio};

/// What a block must print; the block is the one that holds the first text.
const SAYS: &[(&str, &str)] = &[
    ("imports/1 ", "\"created\":3"),
    ("templates/1/preview", "Hi Ana, we open early on Friday."),
    ("campaigns/1/report", "\"consent_unknown\":1"),
    ("_control/inbound", "\"consent\":\"stop\""),
];

/// The section's blocks for a shell.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let section = readme.split("\n## The whole job with curl\n").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap();
    section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One script of all blocks. Those that end with a server leave it running beside.
fn script(blocks: &[String], (server, simulator, hooks): (u16, u16, u16)) -> String {
    let mut script = String::from(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n\
         answers() { for _ in $(seq 300); do curl --silent --output /dev/null \"$1\" && return; sleep 0.1; done; exit 9; }\n",
    );
    for (number, block) in blocks.iter().enumerate() {
        let (before, last) = block.trim_end().rsplit_once('\n').unwrap_or(("", block.trim_end()));
        writeln!(script, "echo '### {number}'\n{before}").unwrap();
        if last.starts_with("ese simulate") {
            let port = "http://127.0.0.1:9010/_control/messages";
            writeln!(script, "{last} --listen 127.0.0.1:9010 > simulator.log 2>&1 &\nanswers {port}")
                .unwrap();
        } else if last.starts_with("ese ") && last.ends_with(" serve") {
            script.push_str("export ESE_SERVER__LISTEN=127.0.0.1:8080 ESE_SERVER__PUBLIC_BASE_URL=http://127.0.0.1:8080\n");
            writeln!(script, "{last} > server.log 2>&1 &\nanswers http://127.0.0.1:8080/healthz").unwrap();
        } else {
            writeln!(script, "{last}").unwrap();
        }
    }
    let port = |number: u16| format!(":{number}");
    script.replace(":8080", &port(server)).replace(":9010", &port(simulator)).replace(":9020", &port(hooks))
}

#[test]
fn the_walk_with_curl_does_what_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI needs curl");
        println!("skipped: there is no curl on this machine");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let blocks = blocks();
    assert!(blocks.len() > 5, "the blocks were not found");
    let text = script(&blocks, (free_port(), free_port(), free_port()));
    std::fs::write(dir.path().join("walk.sh"), text).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_ese")).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args(["120", "bash", "walk.sh"])
        .current_dir(dir.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{printed}\n{faults}", output.status);
    let answers: Vec<&str> = printed.split("### ").skip(1).collect();
    assert_eq!(answers.len(), blocks.len(), "{printed}");
    for (block, words) in SAYS {
        let number = blocks.iter().position(|text| text.contains(block)).expect(block);
        assert!(answers[number].contains(words), "{block} does not say {words}:\n{}", answers[number]);
    }
}
