//! What the walk over an audience found, drawn: the waterfall, a line for each exit, and the zones with their hours.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Value as Shown, context};

use super::reasons::word;
use crate::campaign::{Bucket, Example, Waterfall, Way};
use crate::clock::Millis;
use crate::domain::gate::Reason;
use crate::store::reports::campaigns::CampaignView;
use crate::web::admin::format::{self, Fineness};

/// Zones of the forecast that are named; the rest is one line.
const ZONES: usize = 12;

/// The waterfall: a line for each exit, with how many are left behind it, and bars in thousandths of all people.
pub(super) fn lines(seen: &Waterfall, view: &CampaignView) -> Vec<Shown> {
    let all = seen.people.max(1);
    let share = |people: i64| people as f64 * 1_000.0 / all as f64;
    let mut left = seen.people;
    let mut rows = Vec::new();
    let mut fall = |word: String, says: String, what_to_do: String, kind: &str, bucket: &Bucket| {
        left -= bucket.people;
        context! {
            word,
            says,
            what_to_do,
            kind,
            people => bucket.people,
            left,
            x => format!("{:.1}", share(left)),
            width => format!("{:.1}", share(bucket.people)),
            sample => people(&bucket.sample),
        }
    };
    for excluded in &seen.excluded {
        let what_to_do = "Leave the segment out of the exclusions, or narrow it.".to_owned();
        let mut row = fall(
            excluded.name.clone(),
            "Taken out by the excluded segment.".to_owned(),
            what_to_do,
            "excluded",
            &excluded.bucket,
        );
        row = context! { segment_id => excluded.segment_id, ..row };
        rows.push(row);
    }
    let ends = seen.exits.iter().filter(|(way, ..)| *way != Way::Deferred);
    for (way, reason, bucket) in ends {
        let kind = if *way == Way::Expired { "expired" } else { "skipped" };
        let word = word(*reason, view);
        let says = if *way == Way::Expired {
            "Their hours leave no time before the deadline.".to_owned()
        } else {
            reason.says().to_owned()
        };
        let mut row = fall(word, says, reason.what_to_do().to_owned(), kind, bucket);
        if *reason == Reason::MissingVariable {
            let names: Vec<String> = seen.missing.keys().cloned().collect();
            row = context! { variables => names, ..row };
        }
        row = context! { reason => reason.as_str(), ..row };
        rows.push(row);
    }
    rows
}

fn people(sample: &[Example]) -> Vec<Shown> {
    sample.iter().map(|one| context! { id => one.user_id, phone => one.phone.clone() }).collect()
}

/// When those of each zone may have it, on their clocks and on the viewer's.
pub(super) fn zones(seen: &Waterfall, zone: &TimeZone, now: Millis) -> Vec<Shown> {
    let mut rows: Vec<Shown> = Vec::new();
    for row in seen.zones.iter().take(ZONES) {
        let own = row.zones.first().and_then(|name| TimeZone::get(name).ok());
        let local = row.opens.zip(own.as_ref()).map(|(opens, own)| clock(opens, own));
        rows.push(context! {
            name => zone_words(&row.zones),
            people => row.people,
            local,
            yours => row.opens.map(|opens| format::time(opens, zone, now, Fineness::Minute)),
            is_open => row.opens.is_some_and(|opens| opens <= seen.at),
            is_never => row.opens.is_none(),
        });
    }
    let rest: i64 = seen.zones.iter().skip(ZONES).map(|row| row.people).sum();
    if rest > 0 {
        let opens = seen.zones.iter().skip(ZONES).filter_map(|row| row.opens).min();
        rows.push(context! {
            name => format!("{} other zones", seen.zones.len() - ZONES),
            people => rest,
            yours => opens.map(|opens| format::time(opens, zone, now, Fineness::Minute)),
            is_rest => true,
        });
    }
    rows
}

/// The hour with the letters of its zone.
fn clock(at: Millis, zone: &TimeZone) -> String {
    let zoned = Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone.clone()));
    zoned.map(|at| at.strftime("%H:%M %Z").to_string()).unwrap_or_default()
}

/// A zone by its town; several by the first of them and how many there are.
fn zone_words(zones: &[String]) -> String {
    let town = |name: &str| name.rsplit('/').next().unwrap_or(name).replace('_', " ");
    match zones {
        [] => "Zone unknown".to_owned(),
        [one] => town(one),
        [first, rest @ ..] => format!("{} and {} more", town(first), rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_called_by_their_town() {
        for (zones, words) in [
            (vec![], "Zone unknown"),
            (vec!["America/New_York"], "New York"),
            (vec!["America/Chicago", "America/Denver"], "Chicago and 1 more"),
        ] {
            let zones: Vec<String> = zones.into_iter().map(str::to_owned).collect();
            assert_eq!(zone_words(&zones), words);
        }
    }
}
