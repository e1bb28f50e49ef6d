//! `/admin/settings/senders`: numbers and services to send from. Those of the file are shown locked, others are
//! added, changed and taken away here.

use actix_web::web::{Data, Path};
use minijinja::{Value, context};
use serde_json::Value as Json;

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{Filled, Form};
use super::super::page::Page;
use super::fields::locked;
use crate::config::{Loaded, Sender};
use crate::store::StoreError;
use crate::store::senders::{self, SenderRow};
use crate::web::State;
use crate::web::api::senders::waiting;
use crate::web::api::settings::{By, Patch, change};
use crate::web::error::Problem;
use crate::web::etag::IfMatch;

const HERE: &str = "/admin/settings/senders";
/// The span of the limit on people, in milliseconds.
const DAY: i64 = 86_400_000;

/// Kinds of senders, with their names and what is usual for each.
pub(super) const KINDS: &[(&str, &str, &str)] = &[
    ("long_code", "Plain number", "1 part a second"),
    ("ten_dlc", "US 10DLC number", "1 part a second"),
    ("toll_free", "Toll-free number", "3 parts a second"),
    ("short_code", "Short code", "100 parts a second"),
    ("service", "Messaging Service (MG…)", "1 part a second"),
    ("whatsapp", "WhatsApp sender", "80 a second, 250 new people a day"),
    ("sandbox", "WhatsApp sandbox", "one message in 3 seconds"),
];

/// What a kind is called.
pub(super) fn kind_name(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(word, ..)| *word == kind).map(|(_, name, _)| *name)
}

fn key(address: &str, field: &str) -> String {
    format!("senders.{address}.{field}")
}

/// An address as it is configured: a number for WhatsApp gets its prefix, spaces go.
fn address_of(text: &str, kind: &str) -> String {
    let is_whatsapp = matches!(kind, "whatsapp" | "sandbox");
    let bare: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '-' | '(' | ')')).collect();
    match bare.strip_prefix("whatsapp:") {
        None if is_whatsapp => format!("whatsapp:{bare}"),
        _ => bare,
    }
}

/// What a form says about a sender, as settings. Blank means: as usual for the kind.
fn read(form: &Form, address: &str, with_kind: bool) -> Result<Patch, Problem> {
    let mut patch = Patch::new();
    if with_kind {
        let kind = form.text("kind").map_or(Json::Null, Json::from);
        patch.insert(key(address, "kind"), kind);
    }
    let number = |field: &str, whole: bool| -> Result<Json, Problem> {
        let Some(text) = form.text(field) else {
            return Ok(Json::Null);
        };
        let text = text.replace(',', ".");
        let read = if whole {
            text.parse::<i64>().ok().map(Json::from)
        } else {
            text.parse::<f64>().ok().map(Json::from)
        };
        read.ok_or_else(|| Problem::field(field, "must be a number"))
    };
    patch.insert(key(address, "rate_per_second"), number("rate_per_second", false)?);
    patch.insert(key(address, "recipients_per_day"), number("recipients_per_day", true)?);
    Ok(patch)
}

/// Adds the sender of `form`.
///
/// # Errors
/// 422 by the names of the form, 409 for one that is there.
pub(super) async fn add(page: &Page, state: &State, form: &Form) -> Result<String, Problem> {
    let kind = form.text("kind").unwrap_or_default();
    let address = address_of(&form.text("address").unwrap_or_default(), &kind);
    if address.is_empty() || address.contains('.') {
        return Err(Problem::field(
            "address",
            "a number such as +1 415 555 0110, or MG… for a Messaging Service",
        ));
    }
    if state.in_force.get().config.senders.iter().any(|sender| sender.address == address) {
        return Err(Problem::field("address", "is a sender already"));
    }
    let mut patch = read(form, &address, true)?;
    patch.retain(|_, value| !value.is_null());
    write(page, state, patch, &address).await?;
    Ok(address)
}

async fn write(page: &Page, state: &State, patch: Patch, address: &str) -> Result<(), Problem> {
    let by = By::operator(page.actor());
    let changed = change(state, &by, IfMatch::of_version(None), patch, None).await;
    let named = |field: &String| match field.strip_prefix(&key(address, "")) {
        // The address and its kind are checked together.
        Some("kind") => "address".to_owned(),
        Some(rest) => rest.to_owned(),
        None => field.clone(),
    };
    changed.map(drop).map_err(|problem| problem.map_fields(named))
}

pub(in crate::web::admin) async fn list(page: Page, state: Data<State>) -> Answer {
    render_list(&page, &state, &Filled::default()).await
}

pub(in crate::web::admin) async fn create(page: Page, state: Data<State>, form: Form) -> Answer {
    match add(&page, &state, &form).await {
        Ok(address) => page.go_to(HERE, &format!("{} sends from now on.", shown(&address))),
        Err(problem) => render_list(&page, &state, &Filled::refused(&form, problem)?).await,
    }
}

fn shown(address: &str) -> String {
    super::super::format::phone(address.trim_start_matches("whatsapp:"), false)
}

async fn render_list(page: &Page, state: &State, filled: &Filled) -> Answer {
    let (loaded, now) = (state.in_force.get(), page.now());
    let rows = state
        .store
        .read(move |conn| {
            let mut rows = Vec::new();
            for sender in senders::list(conn)? {
                let configured = loaded.config.senders.iter().find(|one| one.address == sender.address);
                if configured.is_none() && !sender.is_paused(now) {
                    continue;
                }
                let people = senders::recipients(conn, sender.id, now - DAY)?;
                rows.push(row(&loaded, &sender, configured, (people, waiting(conn, &sender)?), now));
            }
            Ok::<_, StoreError>(rows)
        })
        .await?;
    let values = context! {
        title => "Senders",
        section => "settings",
        area => "senders",
        rows => rows,
        kinds => KINDS.to_vec(),
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/senders.html", values)
}

fn row(
    loaded: &Loaded,
    sender: &SenderRow,
    configured: Option<&Sender>,
    (people, waiting): (i64, i64),
    now: i64,
) -> Value {
    let is_paused = sender.is_paused(now);
    context! {
        id => sender.id,
        address => sender.address.trim_start_matches("whatsapp:"),
        kind => kind_name(&sender.kind),
        channel => sender.channel().as_str(),
        is_configured => configured.is_some(),
        rate => configured.map(|one| one.rate_per_second().to_string()),
        most => configured.and_then(Sender::recipients_per_day),
        people => people,
        waiting => waiting,
        locked => loaded.locked_by(&key(&sender.address, "kind")).map(locked),
        pause_reason => sender.pause_reason.as_ref().filter(|_| is_paused),
        paused_until => sender.paused_until.filter(|_| is_paused),
    }
}

async fn find(state: &State, id: i64) -> Result<SenderRow, Failure> {
    let rows = state.store.read(senders::list).await?;
    rows.into_iter().find(|row| row.id == id).ok_or_else(|| Failure::not_found("There is no such sender."))
}

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let sender = find(&state, *id).await?;
    let loaded = state.in_force.get();
    let text = |field: &str| {
        let value = loaded.settings.values.get(&key(&sender.address, field));
        value.map(Json::to_string).unwrap_or_default()
    };
    let filled = Filled::with([
        ("rate_per_second", text("rate_per_second")),
        ("recipients_per_day", text("recipients_per_day")),
    ]);
    render_one(&page, &loaded, &sender, &filled)
}

fn render_one(page: &Page, loaded: &Loaded, sender: &SenderRow, filled: &Filled) -> Answer {
    let configured = loaded.config.senders.iter().find(|one| one.address == sender.address);
    let lock = |field: &str| loaded.locked_by(&key(&sender.address, field)).map(locked);
    let values = context! {
        title => shown(&sender.address),
        section => "settings",
        area => "senders",
        sender => row(loaded, sender, configured, (0, 0), page.now()),
        locked => context! {
            kind => lock("kind"),
            rate => lock("rate_per_second"),
            people => lock("recipients_per_day"),
        },
        form => filled.value(),
    };
    page.show_as(filled.status(), "settings/sender.html", values)
}

pub(in crate::web::admin) async fn save(page: Page, state: Data<State>, id: Path<i64>, form: Form) -> Answer {
    let sender = find(&state, *id).await?;
    let loaded = state.in_force.get();
    let saved = match read(&form, &sender.address, false) {
        Ok(mut patch) => {
            patch.retain(|key, _| loaded.locked_by(key).is_none());
            write(&page, &state, patch, &sender.address).await
        }
        Err(problem) => Err(problem),
    };
    match saved {
        Ok(()) => page.go_to(HERE, "Saved. It holds from now on."),
        Err(problem) => render_one(&page, &state.in_force.get(), &sender, &Filled::refused(&form, problem)?),
    }
}

/// Stops a sender until somebody lets it go on, or lets it go on.
pub(in crate::web::admin) async fn pause(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    form: Form,
) -> Answer {
    let sender = find(&state, *id).await?;
    let (is_pause, actor) = (form.is_on("pause"), page.actor());
    let written = state.store.write::<_, _, StoreError>(move |tx| match is_pause {
        true => senders::pause_by_operator(tx, sender.id, &actor),
        false => senders::resume(tx, sender.id, &actor),
    });
    written.await?;
    page.go_to(HERE, if is_pause { "Paused. Its messages wait." } else { "It sends again." })
}

/// Takes away a sender that was added here and for which nothing waits.
pub(in crate::web::admin) async fn remove(
    page: Page,
    state: Data<State>,
    id: Path<i64>,
    _form: Form,
) -> Answer {
    let sender = find(&state, *id).await?;
    let fields = ["kind", "rate_per_second", "recipients_per_day"];
    let patch = fields.into_iter().map(|field| (key(&sender.address, field), Json::Null)).collect();
    write(&page, &state, patch, &sender.address).await?;
    page.go_to(HERE, &format!("{} sends no more.", shown(&sender.address)))
}

#[cfg(test)]
mod tests {
    use super::address_of;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (text, kind, address) in [
            ("+1 (415) 555-0110", "long_code", "+14155550110"),
            ("+1 415 555 0110", "whatsapp", "whatsapp:+14155550110"),
            ("whatsapp:+14155550110", "sandbox", "whatsapp:+14155550110"),
            (" 12345 ", "short_code", "12345"),
        ] {
            assert_eq!(address_of(text, kind), address);
        }
    }
}
