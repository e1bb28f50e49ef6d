//! The minutes of a week in which messages are allowed.

use std::collections::BTreeMap;
use std::fmt;

/// Minutes in a day.
pub(super) const DAY: u16 = 24 * 60;

/// Allowed minutes of one day: from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    pub(super) start: u16,
    pub(super) end: u16,
}

/// For each weekday the minutes in which messages are allowed. At least one minute a week is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeekHours {
    /// Monday first; the ranges of a day ascend and don't touch.
    days: [Vec<Range>; 7],
}

/// Why a text does not tell hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// No time of day.
    #[error("“{0}” is not a time of day: write it like 21:00")]
    Time(String),
    /// No range of times.
    #[error("“{0}” is not a range of times: write it like 09:00-20:00")]
    Range(String),
    /// Start and end are the same, which could mean always or never.
    #[error("start and end are both {0}: say \"off\" for no quiet hours")]
    Same(String),
    /// No such day or group of days.
    #[error("“{0}” is not a day: write daily, mon_fri, mon_sat, sat_sun, or mon to sun")]
    Day(String),
    /// Nothing is allowed all week.
    #[error("these hours allow no minute of the week")]
    Never,
}

/// Names of days in presets with the first and last day that they cover, the widest first: a
/// narrower name overrules a wider one.
const DAYS: [(&str, usize, usize); 11] = [
    ("daily", 0, 6),
    ("mon_sat", 0, 5),
    ("mon_fri", 0, 4),
    ("sat_sun", 5, 6),
    ("mon", 0, 0),
    ("tue", 1, 1),
    ("wed", 2, 2),
    ("thu", 3, 3),
    ("fri", 4, 4),
    ("sat", 5, 5),
    ("sun", 6, 6),
];

impl WeekHours {
    /// Every day all but the quiet window, which may cross midnight. Times are `HH:MM`.
    pub fn outside(start: &str, end: &str) -> Result<WeekHours, HoursError> {
        let (quiet_from, quiet_to) = (time(start)? % DAY, time(end)? % DAY);
        if quiet_from == quiet_to {
            return Err(HoursError::Same(start.to_owned()));
        }
        WeekHours::build(&[(0..=6).collect()], &[vec![(quiet_to, quiet_from)]])
    }

    /// Allowed hours by name of day, such as `mon_sat = "09:00-20:00"`, `sun = "closed"` or
    /// `daily = "09:00-12:00, 14:00-20:00"`. A range that ends before it starts runs into the
    /// next day. Days without a name are closed.
    pub fn from_days(table: &BTreeMap<String, String>) -> Result<WeekHours, HoursError> {
        if let Some(unknown) = table.keys().find(|name| DAYS.iter().all(|(day, ..)| day != name)) {
            return Err(HoursError::Day(unknown.clone()));
        }
        let mut days = [const { Vec::new() }; 7];
        for (name, first, last) in DAYS {
            let Some(text) = table.get(name) else {
                continue;
            };
            let ranges = ranges(text)?;
            for day in days.iter_mut().take(last + 1).skip(first) {
                day.clone_from(&ranges);
            }
        }
        let each: Vec<Vec<usize>> = (0..7).map(|day| vec![day]).collect();
        WeekHours::build(&each, &days)
    }

    /// `ranges[i]` holds on all of `on[i]`; an end not after its start is on the next day.
    fn build(on: &[Vec<usize>], ranges: &[Vec<(u16, u16)>]) -> Result<WeekHours, HoursError> {
        let mut days = [const { Vec::new() }; 7];
        let mut add = |day: usize, start: u16, end: u16| {
            if let Some(day) = days.get_mut(day % 7).filter(|_| start < end) {
                day.push(Range { start, end });
            }
        };
        for (on, ranges) in on.iter().zip(ranges) {
            for &day in on {
                for &(start, end) in ranges {
                    if start < end {
                        add(day, start, end);
                    } else {
                        add(day, start, DAY);
                        add(day + 1, 0, end);
                    }
                }
            }
        }
        if days.iter().all(Vec::is_empty) {
            return Err(HoursError::Never);
        }
        Ok(WeekHours { days: days.map(joined) })
    }

    /// The minutes that both allow; `None` if there are none all week.
    pub fn intersection(&self, other: &WeekHours) -> Option<WeekHours> {
        let mut days = [const { Vec::new() }; 7];
        for (weekday, day) in days.iter_mut().enumerate() {
            for one in self.on(weekday) {
                for another in other.on(weekday) {
                    let (start, end) = (one.start.max(another.start), one.end.min(another.end));
                    if start < end {
                        day.push(Range { start, end });
                    }
                }
            }
        }
        (!days.iter().all(Vec::is_empty)).then_some(WeekHours { days })
    }

    /// The allowed ranges of a weekday, Monday = 0.
    pub(super) fn on(&self, weekday: usize) -> &[Range] {
        self.days.get(weekday).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many weekdays have hours at all.
    pub(super) fn open_days(&self) -> usize {
        self.days.iter().filter(|day| !day.is_empty()).count()
    }

    /// Whether this minute of this weekday (Monday = 0) is allowed.
    pub fn allows(&self, weekday: usize, minute: u16) -> bool {
        self.on(weekday).iter().any(|range| range.start <= minute && minute < range.end)
    }
}

/// As a person reads it: `mon-sat 09:00-20:00, sun 12:00-20:00`. Closed days are left out.
impl fmt::Display for WeekHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let mut days = self.days.iter().zip(NAMES).peekable();
        let mut is_first = true;
        while let Some((hours, first)) = days.next() {
            let mut last = first;
            while let Some((_, name)) = days.next_if(|(next, _)| *next == hours) {
                last = name;
            }
            if hours.is_empty() {
                continue;
            }
            f.write_str(if is_first { "" } else { ", " })?;
            is_first = false;
            match (first, last) {
                ("mon", "sun") => f.write_str("daily")?,
                _ if first == last => f.write_str(first)?,
                _ => write!(f, "{first}-{last}")?,
            }
            for (number, range) in hours.iter().enumerate() {
                let and = if number == 0 { " " } else { " and " };
                let time = |at: u16| format!("{:02}:{:02}", at / 60, at % 60);
                write!(f, "{and}{}-{}", time(range.start), time(range.end))?;
            }
        }
        Ok(())
    }
}

fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

/// `HH:MM` from 00:00 to 24:00, as minutes.
fn time(text: &str) -> Result<u16, HoursError> {
    let wrong = || HoursError::Time(text.chars().take(20).collect());
    let number = |part: &str| {
        (part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (hours, minutes) = text.trim().split_once(':').ok_or_else(wrong)?;
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
    let at = hours * 60 + minutes;
    (minutes < 60 && at <= DAY).then_some(at).ok_or_else(wrong)
}

fn ranges(text: &str) -> Result<Vec<(u16, u16)>, HoursError> {
    if text.trim() == "closed" {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|range| {
            let (start, end) =
                range.split_once('-').ok_or_else(|| HoursError::Range(text.chars().take(40).collect()))?;
            let (start_at, end_at) = (time(start)? % DAY, time(end)?);
            if start_at == end_at {
                return Err(HoursError::Same(start.trim().to_owned()));
            }
            Ok((start_at, end_at))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(rows: &[(&str, &str)]) -> Result<WeekHours, HoursError> {
        WeekHours::from_days(
            &rows.iter().map(|(day, text)| ((*day).to_owned(), (*text).to_owned())).collect(),
        )
    }

    #[test]
    fn a_quiet_window_leaves_the_rest_of_each_day() {
        let night = WeekHours::outside("21:00", "08:00").unwrap();
        let noon = WeekHours::outside("12:00", "14:00").unwrap();
        let until_midnight = WeekHours::outside("20:00", "24:00").unwrap();
        for day in 0..7 {
            for (minute, night_open, noon_open, evening_open) in [
                (0, false, true, true),
                (479, false, true, true),
                (480, true, true, true),
                (720, true, false, true),
                (839, true, false, true),
                (840, true, true, true),
                (1199, true, true, true),
                (1200, true, true, false),
                (1260, false, true, false),
                (1439, false, true, false),
            ] {
                assert_eq!(night.allows(day, minute), night_open, "{minute}");
                assert_eq!(noon.allows(day, minute), noon_open, "{minute}");
                assert_eq!(until_midnight.allows(day, minute), evening_open, "{minute}");
            }
        }
    }

    #[test]
    fn narrower_names_of_days_overrule_wider_ones() {
        let hours = days(&[
            ("daily", "08:00-21:00"),
            ("sat_sun", "10:00-18:00"),
            ("sun", "closed"),
            ("fri", "20:00-02:00"),
        ])
        .unwrap();
        assert!(hours.allows(0, 480));
        assert!(!hours.allows(4, 480));
        assert!(hours.allows(4, 1439));
        assert!(hours.allows(5, 119), "Friday's range runs into Saturday");
        assert!(!hours.allows(5, 120));
        assert!(hours.allows(5, 600));
        assert!(hours.on(6).is_empty());
        assert_eq!(hours.open_days(), 6);
    }

    #[test]
    fn wrong_hours_say_what_is_wrong() {
        let same = |text: &str| Err(HoursError::Same(text.to_owned()));
        assert_eq!(WeekHours::outside("21:00", "21:00"), same("21:00"));
        assert_eq!(WeekHours::outside("00:00", "24:00"), same("00:00"));
        for time in ["9:00", "24:01", "12:60", "noon", "", "12:00:00", "+9:00"] {
            assert_eq!(WeekHours::outside(time, "08:00"), Err(HoursError::Time(time.to_owned())));
        }
        assert_eq!(days(&[("sun", "closed")]), Err(HoursError::Never));
        assert_eq!(days(&[]), Err(HoursError::Never));
        assert_eq!(days(&[("someday", "09:00-10:00")]), Err(HoursError::Day("someday".to_owned())));
        assert_eq!(days(&[("sun", "always")]), Err(HoursError::Range("always".to_owned())));
    }

    #[test]
    fn what_two_weeks_share_is_what_both_allow() {
        let house = days(&[("mon_sat", "09:00-20:00"), ("sun", "12:00-20:00")]).unwrap();
        let short = days(&[("mon_fri", "10:00-13:00, 14:00-21:00"), ("sat", "20:00-22:00")]).unwrap();
        let both = house.intersection(&short).unwrap();
        for day in 0..7 {
            for minute in 0..DAY {
                let expected = house.allows(day, minute) && short.allows(day, minute);
                assert_eq!(both.allows(day, minute), expected, "{day} {minute}");
            }
        }
        assert_eq!(house.intersection(&days(&[("daily", "21:00-22:00")]).unwrap()), None);
    }

    #[test]
    fn hours_are_told_in_a_line() {
        for (table, line) in [
            (vec![("daily", "08:00-21:00")], "daily 08:00-21:00"),
            (
                vec![("mon_sat", "09:00-20:00"), ("sun", "12:00-20:00")],
                "mon-sat 09:00-20:00, sun 12:00-20:00",
            ),
            (vec![("mon_fri", "10:00-13:00, 14:00-20:00")], "mon-fri 10:00-13:00 and 14:00-20:00"),
            (vec![("wed", "00:00-24:00")], "wed 00:00-24:00"),
        ] {
            assert_eq!(days(&table).unwrap().to_string(), line);
        }
    }

    #[test]
    fn touching_ranges_are_one() {
        let hours = days(&[("mon", "09:00-12:00, 12:00-14:00, 13:00-15:00")]).unwrap();
        assert_eq!(hours.on(0), [Range { start: 540, end: 900 }]);
        let whole = days(&[("daily", "00:00-24:00")]).unwrap();
        assert_eq!(whole.on(3), [Range { start: 0, end: 1440 }]);
    }
}
