//! What a refusal or a failed delivery means for the message, its sender and the account, and when a limit
//! that is used up renews.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// How long to rest when nobody knows when a limit renews. What is asked too early costs one refusal.
const STEP: i64 = 4 * HOUR;
/// The shortest rest: a window that moves gives back little at a time.
const SHORTEST: i64 = 15 * MINUTE;

/// When a limit of the provider that is used up is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Renewal {
    /// At midnight in California, where the day of American carriers begins
    /// (<https://www.twilio.com/docs/api/errors/30023>, `30027`).
    PacificMidnight,
    /// When conversations that we began leave a window of 24 hours; all senders of a business share it, and a
    /// pace that was too high is told alike (<https://www.twilio.com/docs/api/errors/63018>).
    Conversations,
    /// Within a day, nobody knows when: it is asked every few hours
    /// (<https://www.twilio.com/docs/api/errors/63038>).
    Unknown,
}

impl Renewal {
    /// The instant after `now` from which it is worth asking again, in milliseconds UTC. `oldest`: when the
    /// first conversation was begun that still counts.
    pub fn after(self, now: i64, oldest: Option<i64>) -> i64 {
        match self {
            Renewal::PacificMidnight => pacific_midnight(now).unwrap_or(now + STEP),
            Renewal::Conversations => {
                let frees = oldest.map_or(now + STEP, |at| at + DAY);
                frees.clamp(now + SHORTEST, now + STEP)
            }
            Renewal::Unknown => now + STEP,
        }
    }
}

/// The next midnight in California. The zone is part of the program.
fn pacific_midnight(now: i64) -> Option<i64> {
    let zone = TimeZone::get("America/Los_Angeles").ok()?;
    let local = Timestamp::from_millisecond(now).ok()?.to_zoned(zone);
    Some(local.tomorrow().ok()?.start_of_day().ok()?.timestamp().as_millisecond())
}

/// What to do about an error of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Busy: try again within minutes.
    Retry,
    /// The phone is off or a queue is full: try again within hours.
    Later,
    /// The person opted out at the provider or on the channel: recorded as `stop`.
    OptedOut,
    /// The number is no use: marked unreachable until somebody clears it.
    InvalidNumber,
    /// This sender can't send.
    PauseSender {
        /// A limit is used up, and it goes on by itself; `None`: until somebody mends it.
        renews: Option<Renewal>,
    },
    /// Nothing can be sent on this account.
    PauseAccount {
        /// A limit is used up, and it goes on by itself; `None`: until somebody mends it.
        renews: Option<Renewal>,
    },
    /// The template is at fault: whatever uses it stops.
    FixTemplate,
    /// A setting is at fault: the campaign stops at the first message.
    FixConfig,
    /// The provider gave it up as too late; with time left it may go once more.
    TooLate,
    /// This message failed for good; others may not.
    Fail,
}

/// An error of the provider, explained.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The provider's number, 0 without one.
    pub code: i64,
    /// What happened, in words.
    pub text: String,
    /// What a person should do about it.
    pub what_to_do: &'static str,
    /// What the engine does about it.
    pub meaning: Meaning,
    /// It says something about the person's phone: after several in a row the number is left alone.
    pub is_about_the_phone: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_carriers_day_ends_at_midnight_in_california_also_when_clocks_change() {
        for (now, midnight) in [
            ("2026-11-23T17:00:00Z", "2026-11-24T08:00:00Z"),
            ("2026-11-24T07:59:59Z", "2026-11-24T08:00:00Z"),
            ("2026-11-24T08:00:00Z", "2026-11-25T08:00:00Z"),
            // Summer time ends on the 1st: that day has 25 hours.
            ("2026-10-31T17:00:00Z", "2026-11-01T07:00:00Z"),
            ("2026-11-01T17:00:00Z", "2026-11-02T08:00:00Z"),
            ("2026-07-01T12:00:00Z", "2026-07-02T07:00:00Z"),
        ] {
            assert_eq!(Renewal::PacificMidnight.after(at(now), None), at(midnight), "{now}");
        }
    }

    #[test]
    fn conversations_renew_when_the_oldest_leaves_the_window_but_neither_at_once_nor_much_later() {
        let now = at("2026-11-23T17:00:00Z");
        for (oldest, wait) in [
            (None, STEP),
            (Some(now - DAY + 2 * HOUR), 2 * HOUR),
            (Some(now - DAY + MINUTE), SHORTEST),
            (Some(now - MINUTE), STEP),
        ] {
            assert_eq!(Renewal::Conversations.after(now, oldest), now + wait, "{oldest:?}");
        }
        assert_eq!(Renewal::Unknown.after(now, Some(now)), now + STEP);
    }
}
