//! Numbers, times, phones and money as pages show them. Times stand in the viewer's zone, with its letters.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Environment, Error, State, Value};

use crate::clock::Millis;
use crate::domain::phone::Phone;
use crate::domain::price;

/// What stands where nothing is known.
const NOTHING: &str = "–";

/// Makes the filters known to templates.
pub(super) fn add_to(pages: &mut Environment<'static>) {
    pages.add_filter("number", number_filter);
    pages.add_filter("percent", percent_filter);
    pages.add_filter("money", money_filter);
    pages.add_filter("bytes", bytes_filter);
    pages.add_filter("duration", |value: Value| integer(&value).map_or_else(nothing, duration));
    pages.add_filter("time", |state: &State<'_, '_>, at: Value| shown(state, &at, Fineness::Minute));
    pages.add_filter("seconds", |state: &State<'_, '_>, at: Value| shown(state, &at, Fineness::Second));
    pages.add_filter("day", |state: &State<'_, '_>, at: Value| shown(state, &at, Fineness::Day));
    pages.add_filter("clock", |state: &State<'_, '_>, at: Value| shown(state, &at, Fineness::Clock));
    pages.add_filter("clock_zone", clock_zone_filter);
    pages.add_filter("ago", ago_filter);
    pages.add_filter("utc", |at: Value| millis(&at).map_or_else(String::new, utc));
    pages.add_filter("phone", phone_filter);
    pages.add_filter("initial", |text: String| initial(&text));
}

fn nothing() -> String {
    NOTHING.to_owned()
}

fn integer(value: &Value) -> Option<i64> {
    i64::try_from(value.clone()).ok()
}

/// 12480 as `12,480`.
pub(super) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whole numbers in groups, others with one decimal.
fn number_filter(value: Value) -> String {
    if let Some(whole) = integer(&value) {
        return number(whole);
    }
    match f64::try_from(value) {
        Ok(found) if found.is_finite() => {
            let tenths = (found * 10.0).round() / 10.0;
            let whole = tenths.trunc();
            format!("{}.{}", number(whole as i64), ((tenths - whole).abs() * 10.0).round() as i64)
        }
        _ => nothing(),
    }
}

/// `part|percent(of)`: one decimal; nothing of nothing is nothing.
fn percent_filter(part: Value, of: Value) -> String {
    match (integer(&part), integer(&of)) {
        (Some(part), Some(of)) if of > 0 => percent(part, of),
        _ => nothing(),
    }
}

/// A share with one decimal: never 100.0 % while somebody is missing, nor 0.0 % while somebody is there.
pub(super) fn percent(part: i64, of: i64) -> String {
    if of <= 0 {
        return nothing();
    }
    let share = part as f64 / of as f64 * 100.0;
    let shown = if part > 0 && part < of { share.clamp(0.1, 99.9) } else { share };
    format!("{shown:.1} %")
}

/// `micros|money('USD')`: millionths of a currency's unit.
fn money_filter(micros: Value, currency: Option<String>) -> String {
    integer(&micros)
        .map_or_else(|| "unknown".to_owned(), |micros| money(micros, currency.as_deref().unwrap_or("USD")))
}

/// An amount in millionths, with the sign of its currency; fractions of a cent only below one.
pub(super) fn money(micros: i64, currency: &str) -> String {
    let sign = match currency {
        "USD" => "$".to_owned(),
        "EUR" => "€".to_owned(),
        "GBP" => "£".to_owned(),
        other => format!("{other} "),
    };
    if micros != 0 && micros.abs() < 10_000 {
        return format!("{sign}{}", price::amount(micros));
    }
    let cents = (micros as f64 / 10_000.0).round() as i64;
    let minus = if cents < 0 { "−" } else { "" };
    format!("{minus}{sign}{}.{:02}", number(cents.abs() / 100), cents.abs() % 100)
}

fn bytes_filter(value: Value) -> String {
    integer(&value).map_or_else(nothing, bytes)
}

/// Bytes in the unit that reads best.
pub(super) fn bytes(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1_000.0 {
            return if unit == "B" { format!("{size:.0} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1_000.0;
    }
    format!("{size:.1} TB")
}

/// A length of time in milliseconds, in its two largest units.
pub(super) fn duration(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if millis < 1_000 => format!("{millis} ms"),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Milliseconds, or a time as JSON has it.
fn millis(value: &Value) -> Option<Millis> {
    integer(value).or_else(|| value.as_str()?.parse::<Timestamp>().ok().map(|at| at.as_millisecond()))
}

fn utc(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// How finely a time is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fineness {
    /// `Mon 23 Nov`
    Day,
    /// `Mon 23 Nov 10:12 PST`
    Minute,
    /// `Mon 23 Nov 10:12:40 PST`
    Second,
    /// `10:12:40`
    Clock,
}

/// A time in a zone; the year only if it is not this one.
pub(super) fn time(at: Millis, zone: &TimeZone, now: Millis, fineness: Fineness) -> String {
    let zoned = |at| Timestamp::from_millisecond(at).map(|at| at.to_zoned(zone.clone()));
    let (Ok(at), Ok(now)) = (zoned(at), zoned(now)) else {
        return nothing();
    };
    let year = if at.year() == now.year() { "" } else { " %Y" };
    let format = match fineness {
        Fineness::Day => format!("%a %-d %b{year}"),
        Fineness::Minute => format!("%a %-d %b{year} %H:%M %Z"),
        Fineness::Second => format!("%a %-d %b{year} %H:%M:%S %Z"),
        Fineness::Clock => "%H:%M:%S".to_owned(),
    };
    at.strftime(&format).to_string()
}

/// `2026-12-01T09:00:00` as `Tue 1 Dec 09:00`: what a clock on a wall shows, wherever it hangs.
pub(super) fn wall_clock(at: &str, zone: &TimeZone, now: Millis) -> String {
    let (Ok(at), Ok(now)) = (at.parse::<jiff::civil::DateTime>(), Timestamp::from_millisecond(now)) else {
        return at.replace('T', " ");
    };
    let is_this_year = now.to_zoned(zone.clone()).year() == at.year();
    at.strftime(if is_this_year { "%a %-d %b %H:%M" } else { "%a %-d %b %Y %H:%M" }).to_string()
}

fn page_value(state: &State<'_, '_>, name: &str) -> Value {
    state.lookup("page").and_then(|page| page.get_attr(name).ok()).unwrap_or_default()
}

/// The zone of the page that is rendered.
fn zone(state: &State<'_, '_>) -> TimeZone {
    let name = page_value(state, "zone");
    name.as_str().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// `<time>` with the instant in UTC for machines.
fn shown(state: &State<'_, '_>, at: &Value, fineness: Fineness) -> Result<Value, Error> {
    let Some(at) = millis(at) else {
        return Ok(Value::from(NOTHING));
    };
    let now = integer(&page_value(state, "now")).unwrap_or(at);
    let text = time(at, &zone(state), now, fineness);
    Ok(Value::from_safe_string(format!("<time datetime=\"{}\">{text}</time>", utc(at))))
}

/// `10:12 PST · Los Angeles`: the time, and whose it is.
fn clock_zone_filter(state: &State<'_, '_>, at: Value) -> String {
    let zone = zone(state);
    let Some(Ok(at)) = millis(&at).map(Timestamp::from_millisecond) else {
        return nothing();
    };
    let place = zone.iana_name().unwrap_or("UTC").rsplit('/').next().unwrap_or("UTC").replace('_', " ");
    let clock = at.to_zoned(zone).strftime("%H:%M %Z").to_string();
    if place == "UTC" { clock } else { format!("{clock} · {place}") }
}

/// `2 s ago` below a minute, a time above.
fn ago_filter(state: &State<'_, '_>, at: Value) -> Result<Value, Error> {
    let now = integer(&page_value(state, "now"));
    if let Some((at, now)) = millis(&at).zip(now).filter(|(at, now)| (0..60_000).contains(&(now - at))) {
        let seconds = (now - at) / 1_000;
        return Ok(Value::from_safe_string(format!("<time datetime=\"{}\">{seconds} s ago</time>", utc(at))));
    }
    shown(state, &at, Fineness::Minute)
}

/// A number in groups; masked for who may only look. Takes wire addresses too, without their prefix.
fn phone_filter(state: &State<'_, '_>, value: Value) -> String {
    let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
        return nothing();
    };
    phone(text, page_value(state, "is_masked").is_true())
}

/// The same for texts made in Rust.
pub(super) fn phone(text: &str, is_masked: bool) -> String {
    let bare = text.strip_prefix("whatsapp:").unwrap_or(text);
    match Phone::from_e164(bare) {
        Some(phone) if is_masked => phone.masked(),
        Some(phone) => phone.grouped(),
        None if is_masked => "···".to_owned(),
        None => bare.to_owned(),
    }
}

/// The first letter, for the round sign beside a name.
fn initial(text: &str) -> String {
    let first = text.chars().find(|c| c.is_alphanumeric());
    first.map_or_else(|| "·".to_owned(), |c| c.to_uppercase().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_of_three() {
        for (given, shown) in [(0, "0"), (999, "999"), (12_480, "12,480"), (-1_234_567, "−1,234,567")] {
            assert_eq!(number(given), shown);
        }
        assert_eq!(number_filter(Value::from(1234.56)), "1,234.6");
        assert_eq!(number_filter(Value::from(9.96)), "10.0");
    }

    #[test]
    fn a_share_is_whole_only_when_nobody_is_missing() {
        for (part, of, shown) in [
            (1, 100_000, "0.1 %"),
            (99_999, 100_000, "99.9 %"),
            (5, 5, "100.0 %"),
            (0, 5, "0.0 %"),
            (0, 0, "–"),
        ] {
            assert_eq!(percent(part, of), shown);
        }
    }

    #[test]
    fn money_says_its_currency_and_parts_of_a_cent() {
        for (micros, currency, shown) in [
            (57_290_000, "USD", "$57.29"),
            (7_900, "USD", "$0.0079"),
            (1_234_567_890_000, "EUR", "€1,234,567.89"),
            (1_500_000, "CHF", "CHF 1.50"),
            (0, "USD", "$0.00"),
        ] {
            assert_eq!(money(micros, currency), shown);
        }
    }

    #[test]
    fn a_time_stands_in_the_viewers_zone_with_its_letters_and_its_year_if_another() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let now = at("2026-11-23T18:12:40Z");
        for (given, fineness, shown) in [
            ("2026-11-23T18:12:40Z", Fineness::Minute, "Mon 23 Nov 10:12 PST"),
            ("2026-07-01T18:12:40Z", Fineness::Second, "Wed 1 Jul 11:12:40 PDT"),
            ("2025-01-01T03:00:00Z", Fineness::Minute, "Tue 31 Dec 2024 19:00 PST"),
            ("2026-11-24T07:59:00Z", Fineness::Day, "Mon 23 Nov"),
        ] {
            assert_eq!(time(at(given), &zone, now, fineness), shown);
        }
    }

    #[test]
    fn lengths_have_two_units() {
        for (millis, shown) in [
            (18, "18 ms"),
            (59_000, "59 s"),
            (60_000, "1 min"),
            (86_340_000, "23 h 59 min"),
            (90_000_000, "1 d 1 h"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(duration(millis), shown);
        }
        for (given, shown) in [(999, "999 B"), (1_500, "1.5 KB"), (2_000_000_000, "2.0 GB")] {
            assert_eq!(bytes(given), shown);
        }
    }

    #[test]
    fn phones_are_grouped_for_operators_and_masked_for_viewers() {
        assert_eq!(phone("whatsapp:+14155550101", false), "+1 415 555 0101");
        assert_eq!(phone("+14155550101", true), "+1 415 ··· ··01");
        assert_eq!(phone("whatsapp:US.13491208655302741918", true), "···");
    }
}
