//! The drill in its short form: the whole product as processes, killed in the middle, both sides compared.

use std::path::Path;
use std::process::{Command, Stdio};

const KILLS: usize = 3;
const PEOPLE: usize = 240;

fn drill(dir: &Path, report: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_ese"))
        .args(["drill", "--kills", &KILLS.to_string(), "--people", &PEOPLE.to_string(), "--seed", "4"])
        .arg("--dir")
        .arg(dir)
        .arg("--report")
        .arg(report)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The number before `words` in the numbers of the check that begins with `check`.
fn number(report: &str, check: &str, words: &str) -> usize {
    let row = report.lines().find(|line| line.contains(&format!("| {check}"))).unwrap();
    let numbers = row.split('|').nth(3).unwrap();
    let at = numbers.find(words).unwrap_or_else(|| panic!("{words:?} is not in {numbers}"));
    let digits = numbers[..at].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("no number before {words:?} in {numbers}"))
}

#[test]
fn killed_three_times_while_everything_goes_wrong_both_sides_agree() {
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.md");
    let output = drill(&dir.path().join("files"), &report);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let report = std::fs::read_to_string(&report).unwrap();
    assert_eq!(report.lines().filter(|line| line.starts_with("| ok |")).count(), 17, "{report}");
    assert!(!report.contains("FAILED"), "{report}");
    // The checks had something to look at.
    let at_least = [
        ("Each campaign has exactly one message", " messages", PEOPLE * 2),
        ("Nobody got a message twice", " messages at Twilio", PEOPLE * 3 / 2),
        ("Each Idempotency-Key", " keys", 3),
        ("At least 99 % of the deliverable", " of ", PEOPLE),
        ("Every status callback", " answered", PEOPLE),
        ("Everything that people wrote", " of them to a dead server", 3),
        ("Everything that people wrote", " were caught up with", 3),
        ("Nobody got marketing after the start", " STOPs unheard", 3),
        ("In the order of the file", " changes to stop", 3),
        ("After every kill the server came back", " kills", KILLS),
    ];
    for (check, words, least) in at_least {
        let found = number(&report, check, words);
        assert!(found >= least, "{check}: {found} {words}, at least {least} were expected\n{report}");
    }
}

#[test]
fn a_folder_that_holds_data_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ese.db"), "mine").unwrap();
    let output = drill(dir.path(), &dir.path().join("report.md"));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a folder of its own"));
    assert_eq!(std::fs::read_to_string(dir.path().join("ese.db")).unwrap(), "mine");
}
