//! Conversations as templates see them: the rows of the list, what was said, and a few facts about the person.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Value, context};
use serde_json::{Value as Json, json};

use super::compose::compose;
use super::thread::{THREAD, View, Whole};
use super::{Tab, with_query};
use crate::clock::Millis;
use crate::domain::attachment::{Sort, shown_as};
use crate::domain::phone::Phone;
use crate::domain::timezone::{candidates, zone_by_name};
use crate::store::conversations::State;
use crate::store::operators::Role;
use crate::store::reports::inbound::InboundView;
use crate::store::reports::inbox::{Listed, Unmatched};
use crate::store::reports::messages::MessageView;
use crate::store::reports::thread::Said;
use crate::store::users::User;
use crate::web::admin::format;
use crate::web::admin::page::Page;
use crate::web::admin::words;
use crate::web::page::encode;

/// Facts about a person that stand beside the conversation.
const FACTS: usize = 6;
/// Characters of such a fact.
const LONGEST_FACT: usize = 80;

/// How a person is called: by name, or else by number.
pub(super) fn title(page: &Page, user: &User) -> String {
    let name = user.attributes.get("name").and_then(Json::as_str);
    called(page, name, user.phone.as_deref().or(user.channel_address.as_deref()))
}

fn called(page: &Page, name: Option<&str>, address: Option<&str>) -> String {
    match (name.map(str::trim).filter(|name| !name.is_empty()), address) {
        (Some(name), _) => name.to_owned(),
        (None, Some(address)) => format::phone(address, page.is_masked()),
        (None, None) => "Erased".to_owned(),
    }
}

/// The part of an address before the `@`: operators know each other by it.
fn short(email: &str) -> &str {
    email.split('@').next().unwrap_or(email)
}

/// A row of the list.
pub(super) fn row(page: &Page, row: &Listed, tab: Tab, selected: Option<i64>) -> Value {
    let address = row.phone.as_deref().or(row.channel_address.as_deref());
    let is_ours = match (&row.heard, &row.said) {
        (Some(heard), Some(said)) => said.at > heard.at,
        (None, Some(_)) => true,
        _ => false,
    };
    let words = if is_ours { &row.said } else { &row.heard };
    let excerpt =
        words.as_ref().and_then(|words| words.excerpt.clone()).filter(|text| !text.trim().is_empty());
    let attachment =
        words.as_ref().and_then(|words| words.attachment.as_deref()).map(|kind| Sort::of(kind).word());
    let state = match (row.is_held, row.consent.as_str()) {
        (true, _) => Some("review"),
        (false, state @ ("stop" | "unknown")) => Some(state),
        _ => None,
    };
    context! {
        user_id => row.user_id,
        href => tab.href_of(row.user_id),
        is_here => selected == Some(row.user_id),
        title => called(page, row.name.as_deref(), address),
        has_name => row.name.is_some(),
        is_unread => row.state == Some(State::Unread),
        at => row.last_at,
        when => when(row.last_at, &page.zone, page.now()),
        is_ours,
        excerpt, attachment,
        state,
        assigned_to => row.assigned_to.as_deref().map(short),
    }
}

/// A message of nobody we know.
pub(super) fn unmatched(row: &Unmatched) -> Value {
    context! {
        id => row.id, from => row.from_address.clone(), body => row.body.clone(), at => row.received_at,
        is_pending => row.is_pending,
    }
}

/// When something was, as short as a list needs it: the hour today, the day this week, else the date.
fn when(at: Millis, zone: &TimeZone, now: Millis) -> String {
    let zoned = |at| Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone.clone()));
    let (Ok(at), Ok(now)) = (zoned(at), zoned(now)) else {
        return String::new();
    };
    let days = (now.date() - at.date()).get_days();
    let format = match days {
        0 => "%H:%M",
        1..=6 => "%a",
        _ if at.year() == now.year() => "%-d %b",
        _ => "%-d %b %Y",
    };
    at.strftime(format).to_string()
}

/// The conversation, and all that is beside it.
pub(super) fn thread(page: &Page, whole: &Whole, view: View) -> Value {
    let user = &whole.user;
    let conversation = whole.conversation.as_ref();
    let title = title(page, user);
    let read_id = conversation.map_or(i64::MAX, |conversation| conversation.read_id);
    let is_newest = view.place == crate::store::reports::thread::Place::START;
    let earlier = whole.earlier.map(|place| {
        let cursor = encode(THREAD, &[json!(place.inbound), json!(place.message)]);
        with_query(&view.tab.href_of(user.id), "cursor", &cursor)
    });
    let assigned = conversation.and_then(|conversation| conversation.assigned_to);
    let assigned = whole.operators.iter().find(|operator| Some(operator.id) == assigned);
    context! {
        user_id => user.id,
        title,
        address => user.phone.clone().or_else(|| user.channel_address.clone()),
        channel => whole.footing.as_ref().ok().map(|footing| footing.channel.as_str()),
        tab => view.tab.as_str(),
        back => view.tab.href(),
        here => view.tab.href_of(user.id),
        state => conversation.map(|conversation| conversation.state.as_str()),
        last_inbound_id => conversation.and_then(|conversation| conversation.last_inbound_id).unwrap_or(0),
        consent => user.consent.as_str(),
        is_held => user.hold.is_some(),
        doubt => whole.doubt.as_ref().map(|doubt| context! { body => doubt.body.clone(), at => doubt.received_at }),
        stopped_at => whole.stopped_at,
        entries => entries(page, &whole.said, (user.id, read_id), is_newest),
        is_newest, earlier,
        assigned_to => assigned.map(|operator| short(&operator.email)),
        assigned_id => assigned.map(|operator| operator.id),
        operators => whole.operators.iter().map(|operator| context! {
            id => operator.id, email => operator.email.clone(),
            is_me => page.viewer.as_ref().is_some_and(|viewer| viewer.operator.id == operator.id),
        }).collect::<Vec<_>>(),
        may => page.may(Role::Operator),
        box_ => compose(page, whole, view),
        facts => facts(user),
        since => whole.since.as_ref().map(|row| context! { at => row.obtained_at.unwrap_or(row.at), source => row.source.clone() }),
        topics => whole.topics.join(", "),
        local => local_time(user, page.now()),
        created_at => user.created_at,
    }
}

/// What was said, the oldest first, with a line where a day begins and one where the unread begins.
fn entries(page: &Page, said: &[Said], (user_id, read_id): (i64, i64), is_newest: bool) -> Vec<Value> {
    let mut found = Vec::new();
    let (mut day, mut is_divided) = (None, !is_newest);
    for one in said.iter().rev() {
        let at = Timestamp::from_millisecond(one.at()).map(|at| at.to_zoned(page.zone.clone()));
        if let Ok(at) = at.as_ref().map(|at| at.date())
            && day != Some(at)
        {
            day = Some(at);
            found.push(context! { kind => "day", text => day_name(one.at(), &page.zone, page.now()) });
        }
        match one {
            Said::ByPerson(inbound) => {
                if inbound.id > read_id && !is_divided {
                    is_divided = true;
                    found.push(context! { kind => "new" });
                }
                found.push(by_person(page, inbound, user_id));
            }
            Said::ByUs(message, author) => found.push(by_us(page, message, author.as_deref())),
        }
    }
    found
}

/// `Today, times in PST`.
fn day_name(at: Millis, zone: &TimeZone, now: Millis) -> String {
    let zoned = |at| Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone.clone()));
    let (Ok(at), Ok(now)) = (zoned(at), zoned(now)) else {
        return String::new();
    };
    let letters = at.strftime("%Z");
    let day = match (now.date() - at.date()).get_days() {
        0 => "Today".to_owned(),
        1 => "Yesterday".to_owned(),
        _ if at.year() == now.year() => at.strftime("%a %-d %b").to_string(),
        _ => at.strftime("%a %-d %b %Y").to_string(),
    };
    format!("{day}, times in {letters}")
}

fn clock(at: Millis, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(at)
        .map(|at| at.to_zoned(zone.clone()).strftime("%H:%M").to_string())
        .unwrap_or_default()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

fn by_person(page: &Page, inbound: &InboundView, user_id: i64) -> Value {
    let media: Vec<Value> = inbound
        .media
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(number, pair)| {
            let kind = pair.get(1).and_then(Json::as_str).unwrap_or_default();
            context! {
                href => format!("/admin/inbox/{user_id}/media/{}/{number}", inbound.id),
                word => Sort::of(kind).word(),
                is_shown => shown_as(kind).is_some(),
            }
        })
        .collect();
    let body = inbound.body.as_deref().filter(|body| !body.trim().is_empty());
    let understood = match inbound.kind.as_deref() {
        Some("stop") => Some(("consent", "stop")),
        Some("review") => Some(("consent", "review")),
        _ => None,
    };
    context! {
        kind => "in",
        id => inbound.id,
        lines => body.map(lines),
        is_gone => body.is_none() && media.is_empty() && inbound.body.is_none(),
        media,
        at => inbound.received_at,
        clock => clock(inbound.received_at, &page.zone),
        understood => understood.map(|(kind, state)| context! { kind, state }),
        is_start => inbound.kind.as_deref() == Some("start"),
        answer => inbound.reply.as_deref().map(lines),
        channel => inbound.channel.clone(),
    }
}

fn by_us(page: &Page, message: &MessageView, author: Option<&str>) -> Value {
    let at = message.sent_at.or(message.accepted_at).unwrap_or(message.created_at);
    let who = match (author, &message.campaign_name, message.kind.as_str()) {
        (Some(email), _, _) => short(email).to_owned(),
        (None, Some(campaign), _) => campaign.clone(),
        (None, None, "confirmation") => "Confirmation".to_owned(),
        (None, None, _) => "API".to_owned(),
    };
    // What never left is a line, not a speech.
    let is_unsent = matches!(message.status.as_str(), "skipped" | "cancelled" | "expired");
    context! {
        kind => if is_unsent { "unsent" } else { "out" },
        id => message.id,
        lines => message.body.as_deref().map(lines),
        is_gone => message.body_removed_at.is_some(),
        status => message.status.clone(),
        reason => message.reason.as_deref().and_then(words::reason),
        error_code => message.error_code,
        who,
        campaign_id => message.campaign_id,
        at,
        clock => clock(at, &page.zone),
    }
}

/// A few facts that fit beside a conversation: the first ones of one line each, but for those told already.
fn facts(user: &User) -> Vec<Value> {
    let shown = user.attributes.iter().filter(|(name, _)| !matches!(name.as_str(), "name" | "timezone"));
    shown
        .filter_map(|(name, value)| {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
                _ => return None,
            };
            let text: String = text.chars().take(LONGEST_FACT).collect();
            Some(context! { name => name.replace('_', " "), text })
        })
        .take(FACTS)
        .collect()
}

/// What the clock shows where the person is, if that is one place.
fn local_time(user: &User, now: Millis) -> Option<Value> {
    let named = user.attributes.get("timezone").and_then(Json::as_str);
    let phone = user.phone.as_deref().and_then(Phone::from_e164);
    let zone = match (named, &phone) {
        (Some(name), _) => zone_by_name(name).map(|zone| (name.to_owned(), zone))?,
        (None, Some(phone)) => {
            let [only] = candidates(phone) else { return None };
            (only.name().to_owned(), zone_by_name(only.name())?)
        }
        (None, None) => return None,
    };
    let place = zone.0.rsplit('/').next().unwrap_or_default().replace('_', " ");
    Some(context! { place, clock => clock(now, &zone.1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_a_list_are_as_short_as_they_can_be() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let now = at("2026-11-23T18:12:40Z");
        for (given, shown) in [
            ("2026-11-23T18:12:40Z", "10:12"),
            ("2026-11-23T08:01:00Z", "00:01"),
            ("2026-11-23T07:59:00Z", "Sun"),
            ("2026-11-17T18:00:00Z", "Tue"),
            ("2026-11-16T18:00:00Z", "16 Nov"),
            ("2025-11-16T18:00:00Z", "16 Nov 2025"),
        ] {
            assert_eq!(when(at(given), &zone, now), shown, "{given}");
        }
        assert_eq!(day_name(at("2026-11-23T07:59:00Z"), &zone, now), "Yesterday, times in PST");
    }
}
