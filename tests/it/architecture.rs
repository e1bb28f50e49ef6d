//! The rules of ARCHITECTURE.md that sources can be asked about: who may import whom, and where SQL, HTTP,
//! pages and files have their place.

use std::path::{Path, PathBuf};

/// A source file: its path below `src/`, and its lines without comments and without its tests.
struct Source {
    path: String,
    first_line: String,
    lines: Vec<(usize, String)>,
}

impl Source {
    /// The first folder or file name: `store`, `web`, `config`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Lines that hold `needle`, each as `path:line: text`.
    fn find(&self, needle: &str) -> Vec<String> {
        let found = self.lines.iter().filter(|(_, line)| line.contains(needle));
        found.map(|(number, line)| format!("src/{}:{number}: {}", self.path, line.trim())).collect()
    }

    /// Modules of ours that it names: the word behind `crate::`.
    fn imports(&self) -> Vec<(&str, String)> {
        let mut found = Vec::new();
        for (number, line) in &self.lines {
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                found.push((&rest[..end], format!("src/{}:{number}: {}", self.path, line.trim())));
            }
        }
        found
    }
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Every source but files of tests.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    assert!(paths.len() > 100, "the sources were not found");
    let mut sources = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        if name.ends_with("/tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text
            .lines()
            .enumerate()
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line.to_owned()))
            .collect();
        let first_line = text.lines().next().unwrap_or_default().to_owned();
        sources.push(Source { path: name, first_line, lines });
    }
    sources
}

fn assert_none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}\n{}", problems.join("\n"));
}

/// What each module may name beside itself. The order is that of the plan, from the edge inwards.
const MAY_IMPORT: [(&str, &[&str]); 24] = [
    ("domain", &[]),
    ("clock", &[]),
    ("live", &[]),
    ("metrics", &[]),
    ("ticker", &[]),
    ("vitals", &["clock"]),
    ("config", &["domain", "twilio", "live"]),
    ("twilio", &["domain"]),
    ("store", &["domain", "clock"]),
    ("simulator", &["twilio", "domain"]),
    ("stand_in", &["simulator"]),
    ("import", &["store", "domain", "clock"]),
    ("campaign", &["store", "domain", "clock"]),
    ("catalogue", &["store", "domain", "clock"]),
    ("content", &["store", "twilio", "domain", "clock", "live"]),
    ("people", &["store", "domain", "clock"]),
    ("privacy", &["store", "domain", "clock", "live", "metrics"]),
    ("delivery", &["store", "twilio", "domain", "clock", "live", "metrics"]),
    ("inbound", &["store", "twilio", "domain", "clock", "live", "metrics"]),
    ("publish", &["store", "domain", "clock", "live", "metrics"]),
    (
        "web",
        &[
            "import", "campaign", "content", "inbound", "people", "privacy", "publish", "store", "twilio",
            "domain", "clock", "config", "live", "metrics", "stand_in", "vitals",
        ],
    ),
    (
        "app",
        &[
            "web",
            "import",
            "campaign",
            "catalogue",
            "content",
            "delivery",
            "inbound",
            "people",
            "privacy",
            "publish",
            "store",
            "twilio",
            "domain",
            "clock",
            "config",
            "live",
            "metrics",
            "vitals",
            "ticker",
            "simulator",
            "stand_in",
        ],
    ),
    (
        "commands",
        &[
            "app",
            "web",
            "import",
            "campaign",
            "catalogue",
            "content",
            "delivery",
            "inbound",
            "people",
            "privacy",
            "publish",
            "store",
            "twilio",
            "domain",
            "clock",
            "config",
            "live",
            "metrics",
            "vitals",
            "ticker",
            "simulator",
            "stand_in",
        ],
    ),
    ("main", &["commands"]),
];

#[test]
fn imports_point_right_only_and_flows_never_import_each_other() {
    let mut problems = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            problems.push(format!("src/{}: no rule for this module; add it to the plan", source.path));
            continue;
        };
        for (target, at) in source.imports() {
            let is_ours = MAY_IMPORT.iter().any(|(name, _)| *name == target);
            if is_ours && target != module && !allowed.contains(&target) {
                problems.push(format!("{module} must not know {target}: {at}"));
            }
        }
    }
    assert_none(&problems, "imports point right only");
}

#[test]
fn api_webhooks_and_pages_never_import_each_other() {
    let doors = ["api", "webhooks", "admin"];
    let mut problems = Vec::new();
    for source in sources() {
        let Some(own) = doors.iter().find(|door| source.path.starts_with(&format!("web/{door}"))) else {
            continue;
        };
        // Pages read and write by the functions of the API, so that both take and refuse the same.
        for other in doors.iter().filter(|door| *door != own && (*own, **door) != ("admin", "api")) {
            problems.extend(source.find(&format!("web::{other}::")));
            problems.extend(source.find(&format!("super::{other}::")));
        }
    }
    assert_none(&problems, "web/api and web/webhooks never import each other, and neither imports web/admin");
}

#[test]
fn only_app_commands_and_web_see_the_configuration() {
    let mut problems = Vec::new();
    for source in sources() {
        if !["app", "commands", "web", "config"].contains(&source.module()) {
            problems.extend(source.find("crate::config"));
        }
    }
    assert_none(&problems, "only app, commands and web see config");
}

/// Statements as they begin. Prose has none of these.
const SQL: [&str; 10] = [
    "SELECT ",
    "INSERT INTO",
    "INSERT OR",
    "UPDATE users",
    "UPDATE messages",
    "UPDATE campaigns",
    "DELETE FROM",
    "CREATE TABLE",
    "PRAGMA ",
    "BEGIN IMMEDIATE",
];

#[test]
fn sql_is_written_in_the_store_and_nowhere_else() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| source.module() != "store") {
        for word in SQL {
            problems.extend(source.find(word));
        }
    }
    assert_none(&problems, "SQL text only in src/store");
}

#[test]
fn each_library_has_its_place() {
    // Library, where it may be named, and a form of it that may stand anywhere.
    let table: [(&str, &[&str]); 5] = [
        ("rusqlite", &["store/"]),
        ("reqwest", &["twilio/", "publish/", "simulator/callbacks.rs", "commands/drill/client.rs"]),
        ("actix_web", &["web/", "simulator/", "app"]),
        ("minijinja", &["web/admin", "web/pages", "domain/template"]),
        ("r2d2", &["store/"]),
    ];
    let mut problems = Vec::new();
    for source in sources() {
        for (library, places) in table {
            if !places.iter().any(|place| source.path.starts_with(place)) {
                problems.extend(source.find(&format!("{library}::")));
            }
        }
    }
    assert_none(&problems, "a library is named outside its place");
}

#[test]
fn every_file_says_first_what_lives_in_it() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.first_line.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert_none(&silent, "the first line of a file is its `//!`");
}

#[test]
fn no_file_outgrows_400_lines() {
    const MOST: usize = 400;
    let long: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.lines.len() > MOST)
        .map(|source| format!("src/{}: {} lines without comments and tests", source.path, source.lines.len()))
        .collect();
    assert_none(&long, "a file past 400 lines is split by action");
}

#[test]
fn no_module_is_named_after_nothing() {
    let vague = ["utils", "util", "common", "helpers", "helper", "core", "manager", "misc"];
    let found: Vec<String> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.trim_end_matches(".rs").split('/').any(|part| vague.contains(&part)))
        .collect();
    assert_none(&found, "a module is named after what it holds");
}
