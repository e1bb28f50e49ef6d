//! What may happen, one step at a time, as proptest draws and shrinks it.

use proptest::prelude::*;

/// People of the world.
pub(super) const PEOPLE: usize = 8;
/// Campaigns that are there from the start; clones are added behind them.
pub(super) const CAMPAIGNS: usize = 3;
/// Campaigns at most.
pub(super) const MOST_CAMPAIGNS: usize = 6;

/// Somebody does something, time passes, or the process dies.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A file with these people and words of consent.
    Import {
        rows: Vec<(usize, u8)>,
        mode: u8,
    },
    Launch(usize),
    Pause(usize),
    Resume(usize),
    Cancel(usize),
    RetryFailed(usize),
    CloneAndLaunch(usize),
    TestSend(usize, usize),
    /// A person writes one of a few texts; `true`: Twilio calls twice.
    Text {
        person: usize,
        words: u8,
        is_doubled: bool,
    },
    /// The API tells of a consent.
    Consent(usize, u8),
    Topic(usize, bool),
    /// A message to one person: transactional or marketing, in so many minutes.
    Single {
        person: usize,
        is_marketing: bool,
        minutes: i64,
    },
    CancelSingle(usize),
    Erase(usize),
    /// The calendar and the dispatcher look once; Twilio does so to the next `count` messages.
    Tick {
        fault: Fault,
        count: u64,
    },
    /// Twilio tells about messages that it took: the `which`th, from word `from` on, so many words, at
    /// times in the wrong order and twice.
    Receipts {
        which: usize,
        from: u8,
        many: u8,
    },
    /// Time passes, in seconds; a little back, if negative.
    Clock(i64),
    /// The loops that look after what was left.
    LookAfter,
    /// The process dies and starts again.
    Crash,
    /// It dies in the middle of a step: after so many moments.
    CrashDuring(Box<Step>, u16),
}

/// What Twilio does to a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    /// 429.
    Busy,
    /// 500, and it took the message all the same.
    LostAfterAccept,
    /// 500, and nothing was taken.
    LostBefore,
    /// The connection closes without an answer.
    Dropped,
    /// A code, at once or as the message's fate.
    Code(u32),
}

/// Retry, opt-out, unreachable, account, sender, set-up, later: one of each meaning, and fates of messages that were taken.
const CODES: [u32; 14] =
    [20003, 21211, 21408, 21606, 21610, 21611, 63017, 63038, 30003, 30005, 30007, 30008, 30036, 63014];

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => Just(Fault::Busy),
        3 => Just(Fault::LostAfterAccept),
        1 => Just(Fault::LostBefore),
        1 => Just(Fault::Dropped),
        6 => proptest::sample::select(&CODES[..]).prop_map(Fault::Code),
    ]
}

fn calm() -> impl Strategy<Value = Step> {
    let campaign = || 0..MOST_CAMPAIGNS;
    let person = || 0..PEOPLE;
    prop_oneof![
        2 => (prop::collection::vec((person(), any::<u8>()), 1..5), any::<u8>())
            .prop_map(|(rows, mode)| Step::Import { rows, mode }),
        6 => (0..CAMPAIGNS).prop_map(Step::Launch),
        3 => campaign().prop_map(Step::Pause),
        5 => campaign().prop_map(Step::Resume),
        2 => campaign().prop_map(Step::Cancel),
        3 => campaign().prop_map(Step::RetryFailed),
        1 => campaign().prop_map(Step::CloneAndLaunch),
        1 => (campaign(), person()).prop_map(|(campaign, person)| Step::TestSend(campaign, person)),
        7 => (person(), any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(person, words, is_doubled)| Step::Text { person, words, is_doubled }),
        2 => (person(), any::<u8>()).prop_map(|(person, state)| Step::Consent(person, state)),
        1 => (person(), any::<bool>()).prop_map(|(person, joins)| Step::Topic(person, joins)),
        3 => (person(), any::<bool>(), prop_oneof![Just(0_i64), 0..2_000_i64])
            .prop_map(|(person, is_marketing, minutes)| Step::Single { person, is_marketing, minutes }),
        1 => any::<usize>().prop_map(Step::CancelSingle),
        1 => person().prop_map(Step::Erase),
        16 => (fault(), 1..5_u64).prop_map(|(fault, count)| Step::Tick { fault, count }),
        8 => (any::<usize>(), any::<u8>(), 1..4_u8)
            .prop_map(|(which, from, many)| Step::Receipts { which, from, many }),
        6 => prop_oneof![1..120_i64, 600..7_200_i64, 36_000..90_000_i64, -120..0_i64].prop_map(Step::Clock),
        3 => Just(Step::LookAfter),
    ]
}

/// One step.
pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => calm(),
        1 => Just(Step::Crash),
        2 => (calm(), 0..150_u16).prop_map(|(step, moments)| Step::CrashDuring(Box::new(step), moments)),
    ]
}
