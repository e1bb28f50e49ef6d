//! `/admin/settings/quiet-hours`: when people are written to, by preset. A line is a calling prefix and its hours:
//! `+1  mon_sat 09:00-20:00, sun 12:00-20:00`.

use actix_web::web::Data;
use minijinja::{Value, context};
use serde_json::{Map, Value as Json};

use super::super::Answer;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::fields::{keys, locked};
use crate::config::{Loaded, Origin, Shown};
use crate::web::State;
use crate::web::api::settings::{By, Patch, change};
use crate::web::error::Problem;
use crate::web::etag::IfMatch;

const HERE: &str = "/admin/settings/quiet-hours";
const PRESETS: &str = "quiet_hours.presets.";
const REGIONS: &str = "quiet_hours.regions.";
/// Keys of which preset holds, by kind.
const KINDS: [&str; 2] = ["quiet_hours.marketing", "quiet_hours.transactional"];

/// `mon_sat 09:00-20:00, sun 12:00-20:00` as `{"mon_sat": "09:00-20:00", …}`.
fn read_days(text: &str) -> Option<Json> {
    let mut days = Map::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (day, hours) = part.split_once(char::is_whitespace)?;
        days.insert(day.to_owned(), Json::from(hours.trim()));
    }
    (!days.is_empty()).then_some(Json::Object(days))
}

fn days_text(value: &Json) -> String {
    let days = value.as_object().into_iter().flatten();
    let days = days.map(|(day, hours)| format!("{day} {}", hours.as_str().unwrap_or_default()));
    days.collect::<Vec<_>>().join(", ")
}

/// Lines of a prefix or a region and its hours.
fn read_lines(text: &str) -> Result<Map<String, Json>, String> {
    let mut lines = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let days =
            line.split_once(char::is_whitespace).and_then(|(name, rest)| Some((name, read_days(rest)?)));
        let Some((name, days)) = days else {
            return Err(format!("{line:?} is not a prefix and its hours, such as: +1 mon_sat 09:00-20:00"));
        };
        lines.insert(name.trim_matches('"').to_owned(), days);
    }
    Ok(lines)
}

fn lines_text(value: &Json) -> String {
    let lines = value.as_object().into_iter().flatten();
    lines.map(|(prefix, days)| format!("{prefix}  {}\n", days_text(days))).collect()
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>) -> Answer {
    let loaded = state.in_force.get();
    render(&page, &loaded, &filled(&loaded))
}

fn is_own(shown: &Shown) -> bool {
    shown.origin == Origin::Settings
}

fn filled(loaded: &Loaded) -> Filled {
    let keys = keys(loaded);
    let own: String = keys
        .iter()
        .filter(|(_, shown)| is_own(shown))
        .filter_map(|(key, shown)| {
            Some(format!("{}  {}\n", key.strip_prefix(REGIONS)?, days_text(&shown.value)))
        })
        .collect();
    let chosen = KINDS.map(|key| (key, loaded.value_of(key).as_str().unwrap_or_default().to_owned()));
    Filled::with(chosen.into_iter().chain([("regions", own)]))
}

fn render(page: &Page, loaded: &Loaded, filled: &Filled) -> Answer {
    let keys = keys(loaded);
    let presets: Vec<Value> = keys
        .iter()
        .filter_map(|(key, shown)| {
            let name = key.strip_prefix(PRESETS)?;
            Some(context! {
                name => name,
                lines => lines_text(&shown.value),
                locked => shown.locked_by().map(locked),
                is_own => is_own(shown),
                is_shipped => !shown.default.is_null(),
            })
        })
        .collect();
    let regions: Vec<Value> = keys
        .iter()
        .filter_map(|(key, shown)| {
            let code = key.strip_prefix(REGIONS)?;
            Some(context! {
                code => code,
                hours => days_text(&shown.value),
                locked => shown.locked_by().map(locked),
                is_own => is_own(shown),
            })
        })
        .collect();
    let names: Vec<String> = loaded.config.quiet_hours.names().map(str::to_owned).collect();
    let values = context! {
        title => "Quiet hours",
        section => "settings",
        area => "quiet-hours",
        presets => presets,
        regions => regions,
        names => names,
        locked => KINDS.map(|key| loaded.locked_by(key).map(locked)),
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/quiet_hours.html", values)
}

async fn write(page: &Page, state: &State, patch: Patch) -> Result<(), Problem> {
    let by = By::operator(page.actor());
    change(state, &by, IfMatch::of_version(None), patch, None).await.map(drop)
}

/// Which preset holds for messages that say nothing themselves, and the regions of one's own.
pub(in crate::web::admin) async fn save(page: Page, state: Data<State>, form: Form) -> Answer {
    let loaded = state.in_force.get();
    let saved = match read_house(&form, &loaded) {
        Ok(patch) => write(&page, &state, patch).await.map_err(in_regions),
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(()) => page.go_to(HERE, "Saved. It holds for every message that is still to go."),
        Err(problem) => render(&page, &state.in_force.get(), &Filled::refused(&form, problem)?),
    }
}

fn in_regions(problem: Problem) -> Problem {
    problem.map_fields(|key| if key.starts_with(REGIONS) { "regions".to_owned() } else { key.clone() })
}

fn read_house(form: &Form, loaded: &Loaded) -> Result<Patch, Problem> {
    let mut patch = Patch::new();
    for key in KINDS {
        if let Some(chosen) = form.text(key).filter(|_| loaded.locked_by(key).is_none())
            && loaded.value_of(key).as_str() != Some(&chosen)
        {
            patch.insert(key.to_owned(), Json::from(chosen));
        }
    }
    let wanted = read_lines(form.raw("regions").unwrap_or_default());
    let wanted = wanted.map_err(|message| Problem::field("regions", message))?;
    let keys = keys(loaded);
    for key in keys.iter().filter(|(_, shown)| is_own(shown)).map(|(key, _)| key) {
        if key.strip_prefix(REGIONS).is_some_and(|code| !wanted.contains_key(code)) {
            patch.insert(key.clone(), Json::Null);
        }
    }
    for (code, days) in wanted {
        let key = format!("{REGIONS}{code}");
        if loaded.value_of(&key) != days {
            patch.insert(key, days);
        }
    }
    Ok(patch)
}

/// Adds a preset, changes one, or takes one away; one that came with the program goes back to what it was.
pub(in crate::web::admin) async fn save_preset(page: Page, state: Data<State>, form: Form) -> Answer {
    let name = form.text("name").unwrap_or_default();
    let is_removed = form.is_on("remove");
    let patch = match read_lines(form.raw("lines").unwrap_or_default()) {
        _ if name.is_empty() => Err(Problem::field("name", "give it a name")),
        _ if is_removed => Ok(Json::Null),
        Ok(lines) if lines.is_empty() => {
            Err(Problem::field("lines", "give at least one line, such as: * daily 08:00-21:00"))
        }
        Ok(lines) => Ok(Json::Object(lines)),
        Err(message) => Err(Problem::field("lines", message)),
    };
    let saved = match patch {
        Ok(value) => {
            let patch = Patch::from([(format!("{PRESETS}{name}"), value)]);
            let named =
                |key: &String| if key.starts_with(PRESETS) { "lines".to_owned() } else { key.clone() };
            write(&page, &state, patch).await.map_err(|problem| problem.map_fields(named))
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(()) if is_removed => page.go_to(HERE, &format!("Removed what was set for {name}.")),
        Ok(()) => page.go_to(HERE, &format!("Saved the preset {name}.")),
        Err(problem) => {
            let loaded = state.in_force.get();
            let mut refused = Filled::refused(&form, problem)?;
            refused.fill(filled(&loaded));
            render(&page, &loaded, &refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_of_hours_are_read_as_they_are_shown() {
        let text = "+1  mon_sat 09:00-20:00, sun 12:00-20:00\n*  daily 08:00-21:00\n";
        let read = Json::Object(read_lines(text).unwrap());
        assert_eq!(
            read,
            json!({"+1": {"mon_sat": "09:00-20:00", "sun": "12:00-20:00"}, "*": {"daily": "08:00-21:00"}})
        );
        assert_eq!(Json::Object(read_lines(&lines_text(&read)).unwrap()), read);
        for wrong in ["+1", "+1 daily", "+1 daily09:00-20:00"] {
            assert!(read_lines(wrong).is_err(), "{wrong}");
        }
    }
}
