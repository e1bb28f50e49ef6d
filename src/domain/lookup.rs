//! How a message whose answer was lost is recognised in the provider's list, and when it is looked for.
//!
//! Twilio has no key that makes a request idempotent, and its list shows neither our own ids nor the Content
//! template of a message. What is left is what everybody can see: to whom, from whom, which text, since when.

use std::cmp::Ordering;

use super::encoding::smart_encode;

/// The first look after the answer was lost, in milliseconds: most messages are listed by then.
pub const FIRST_LOOK: i64 = 2_000;
/// All looks before the last one.
const LOOKS: [i64; 3] = [FIRST_LOOK, 15_000, 60_000];
/// How much earlier than its request a message may seem to be made, in milliseconds: Twilio tells whole
/// seconds, as does the header that its clock is read from, and both clocks may drift in between.
const TOLERANCE: i64 = 5_000;
/// How long after its request a message may be made whose text says nothing, in milliseconds. A request is
/// given up after 15 s.
const CONTENT_WINDOW: i64 = 60_000;
/// What Twilio puts before every text of a trial account.
const TRIAL_PREFIX: &str = "Sent from your Twilio trial account - ";

/// An attempt whose answer was lost. All that are compared are to the same address.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// Wire address of the sender, or `MG…` for a Messaging Service.
    pub from: &'a str,
    /// The text as it went out.
    pub text: &'a str,
    /// Sent as a Content template: Twilio made the text from its own copy, which may differ from ours.
    pub is_content: bool,
    /// When the attempt began, in milliseconds by our clock.
    pub started_at: i64,
}

/// A message in the provider's list: made by the API, to that address, and no other attempt's own.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Wire address of the sender; `None` while a Messaging Service has not picked one.
    pub from: Option<&'a str>,
    /// The Messaging Service, as far as the list tells.
    pub service: Option<&'a str>,
    /// The text as Twilio keeps it.
    pub text: &'a str,
    /// When Twilio made it, in milliseconds by its own clock.
    pub created_at: i64,
}

/// Since when, by the provider's clock, a message may have been made by an attempt that began at
/// `started_at`. `ahead` is how far the provider's clock is ahead of ours, in milliseconds. It only ever
/// widens: a clock that was set right in between must not hide a message.
pub fn earliest(started_at: i64, ahead: i64) -> i64 {
    started_at - started_at.rem_euclid(1_000) + ahead.min(0) - TOLERANCE
}

/// What the list says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It made the listed message at this index.
    At(usize),
    /// There is a message that it may have made, and nothing that tells: nobody may be sent to again, and nothing
    /// says that they got it.
    Unclear,
    /// Nothing in the list is of it.
    Nowhere,
}

/// Which listed message each attempt made, if any: one to one, in order. `sought` is in the order in which
/// the attempts began, `listed` oldest first.
///
/// Equal texts to one person can't be told apart and need not be: what counts is how many of them arrived.
/// A Content template is recognised by its text where that is the same as ours; else by sender and time
/// alone, within a minute of its request. A message without an owner that is later than that leaves it unclear:
/// our clock may have been set right since, or another program wrote to the person.
pub fn assign(sought: &[Sought<'_>], listed: &[Listed<'_>], ahead: i64) -> Vec<Place> {
    let texts: Vec<String> = listed
        .iter()
        .map(|listed| plain(listed.text.strip_prefix(TRIAL_PREFIX).unwrap_or(listed.text)))
        .collect();
    let mut is_taken = vec![false; listed.len()];
    let mut take = |sought: &Sought<'_>, fits: &dyn Fn(usize, &Listed<'_>) -> bool| {
        let since = earliest(sought.started_at, ahead);
        let found = listed.iter().enumerate().position(|(at, listed)| {
            !is_taken.get(at).is_some_and(|taken| *taken)
                && listed.created_at >= since
                && is_from(sought.from, listed)
                && fits(at, listed)
        });
        if let Some(taken) = found.and_then(|at| is_taken.get_mut(at)) {
            *taken = true;
        }
        found
    };
    let mut assigned: Vec<Option<usize>> = sought
        .iter()
        .map(|sought| {
            let text = plain(sought.text);
            take(sought, &|at, _| texts.get(at) == Some(&text))
        })
        .collect();
    for (sought, assigned) in sought.iter().zip(&mut assigned) {
        if sought.is_content && assigned.is_none() {
            let until = sought.started_at + ahead.max(0) + CONTENT_WINDOW;
            *assigned = take(sought, &|_, listed| listed.created_at <= until);
        }
    }
    let mut place = |(sought, assigned): (&Sought<'_>, Option<usize>)| match assigned {
        Some(at) => Place::At(at),
        None if sought.is_content && take(sought, &|_, _| true).is_some() => Place::Unclear,
        None => Place::Nowhere,
    };
    sought.iter().zip(assigned).map(&mut place).collect()
}

/// Without what Twilio may change on the way: Smart Encoding of a Messaging Service, and spaces.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for word in smart_encode(text).split_whitespace() {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(word);
    }
    plain
}

fn is_from(sender: &str, listed: &Listed<'_>) -> bool {
    if sender.starts_with("MG") {
        listed.service.is_none_or(|service| service == sender)
    } else {
        listed.from == Some(sender)
    }
}

/// What a look that found nothing leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again then, in milliseconds.
    Look(i64),
    /// Time is up, and the list was seen at or after that moment.
    Decide,
}

/// What comes after a look that was asked at `asked_at`. `since` is when the answer was lost, `after` how long
/// to look, in milliseconds.
pub fn after_look(since: i64, after: i64, asked_at: i64) -> Next {
    let last = since.saturating_add(after);
    match asked_at.cmp(&last) {
        Ordering::Less => {
            let next = LOOKS.iter().map(|look| since + look).find(|look| *look > asked_at);
            Next::Look(next.map_or(last, |next| next.min(last)))
        }
        Ordering::Equal | Ordering::Greater => Next::Decide,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM: &str = "+14155550100";
    const SERVICE: &str = "MG00000000000000000000000000000001";
    /// Half past a second, so that rounding shows.
    const START: i64 = 1_000_500;

    fn sought(text: &str) -> Sought<'_> {
        Sought { from: FROM, text, is_content: false, started_at: START }
    }

    fn listed(text: &str, created_at: i64) -> Listed<'_> {
        Listed { from: Some(FROM), service: None, text, created_at }
    }

    #[test]
    fn text_sender_and_clock_have_to_fit() {
        let other = Some("+14155550111");
        let table = [
            ("the same", listed("Hi", START), 0, true),
            ("another text", listed("Ho", START), 0, false),
            ("another sender", Listed { from: other, ..listed("Hi", START) }, 0, false),
            (
                "no sender yet, though ours is a number",
                Listed { from: None, ..listed("Hi", START) },
                0,
                false,
            ),
            ("the earliest second", listed("Hi", 995_000), 0, true),
            ("a second too early", listed("Hi", 994_999), 0, false),
            ("long after", listed("Hi", START + 900_000), 0, true),
            ("a provider whose clock is a minute behind", listed("Hi", START - 60_000), -60_000, true),
            ("one whose clock is ahead narrows nothing", listed("Hi", START), 60_000, true),
            ("a trial account", listed("Sent from your Twilio trial account - Hi", START), 0, true),
        ];
        for (name, listed, ahead, expected) in table {
            assert_eq!(assign(&[sought("Hi")], &[listed], ahead) == [Place::At(0)], expected, "{name}");
        }
    }

    #[test]
    fn what_twilio_changes_in_a_text_makes_it_no_other_text() {
        let ours = "“Hi”\u{a0}there \u{2013} bye\n";
        assert_eq!(assign(&[sought(ours)], &[listed("\"Hi\" there - bye", START)], 0), [Place::At(0)]);
        assert_eq!(assign(&[sought("Hi there")], &[listed("Hithere", START)], 0), [Place::Nowhere]);
    }

    #[test]
    fn a_messaging_service_may_pick_any_sender_but_is_no_other_service() {
        let ours = Sought { from: SERVICE, ..sought("Hi") };
        let fits = |from, service| assign(&[ours], &[Listed { from, service, ..listed("Hi", START) }], 0);
        assert_eq!(fits(None, Some(SERVICE)), [Place::At(0)]);
        assert_eq!(fits(Some("+15005550006"), Some(SERVICE)), [Place::At(0)]);
        assert_eq!(fits(Some("+15005550006"), None), [Place::At(0)]);
        assert_eq!(fits(None, Some("MG00000000000000000000000000000002")), [Place::Nowhere]);
    }

    #[test]
    fn of_two_equal_attempts_and_one_message_the_first_gets_it() {
        let second = Sought { started_at: START + 3_000, ..sought("Hi") };
        assert_eq!(
            assign(&[sought("Hi"), second], &[listed("Hi", START + 3_000)], 0),
            [Place::At(0), Place::Nowhere]
        );
        let both = [listed("Hi", START), listed("Hi", START + 3_000)];
        assert_eq!(assign(&[sought("Hi"), second], &both, 0), [Place::At(0), Place::At(1)]);
    }

    #[test]
    fn a_content_template_is_known_by_its_text_or_else_by_sender_and_time() {
        let content = Sought { is_content: true, ..sought("Hi Ann") };
        let table = [
            (vec![listed("Hello Ann!", START + 3_000)], Place::At(0)),
            (vec![listed("Hello Ann!", START), listed("Hi Ann", START + 20_000)], Place::At(1)),
            (vec![listed("Hello Ann!", START + 61_000)], Place::Unclear),
            (
                vec![Listed { from: Some("+14155550111"), ..listed("Hello Ann!", START + 61_000) }],
                Place::Nowhere,
            ),
            (vec![listed("Hello Ann!", START - 6_000)], Place::Nowhere),
            (vec![Listed { from: None, ..listed("Hello Ann!", START) }], Place::Nowhere),
        ];
        for (listed, expected) in table {
            assert_eq!(assign(&[content], &listed, 0), [expected], "{listed:?}");
        }
        // A plain message of the same minute is recognised first, whoever was earlier.
        let plain = Sought { started_at: START + 1_000, ..sought("Bye") };
        assert_eq!(
            assign(&[content, plain], &[listed("Bye", START + 1_000)], 0),
            [Place::Nowhere, Place::At(0)]
        );
    }

    #[test]
    fn looks_come_early_then_seldom_and_the_last_decides() {
        let since = 10_000;
        for (asked_at, next) in [
            (since, Next::Look(since + 2_000)),
            (since + 2_000, Next::Look(since + 15_000)),
            (since + 14_000, Next::Look(since + 15_000)),
            (since + 16_000, Next::Look(since + 60_000)),
            (since + 60_000, Next::Look(since + 120_000)),
            (since + 119_999, Next::Look(since + 120_000)),
            (since + 120_000, Next::Decide),
            (since + 999_000, Next::Decide),
            // A clock that was set back looks again and decides nothing.
            (since - 50_000, Next::Look(since + 2_000)),
        ] {
            assert_eq!(after_look(since, 120_000, asked_at), next, "{asked_at}");
        }
        assert_eq!(after_look(since, 10_000, since + 3_000), Next::Look(since + 10_000));
        assert_eq!(after_look(since, 1_000, since), Next::Look(since + 1_000));
    }

    fn attempts() -> impl Strategy<Value = Vec<(u8, i64)>> {
        let attempt = (0..2_u8, 0..40_000_i64);
        proptest::collection::vec(attempt, 0..7).prop_map(|mut attempts| {
            attempts.sort_by_key(|(_, started_at)| *started_at);
            attempts
        })
    }

    /// The most pairs that there can be, tried out.
    fn most(fits: &[Vec<bool>], taken: u32) -> usize {
        let Some((first, rest)) = fits.split_first() else { return 0 };
        let with = (0..first.len())
            .filter(|at| first[*at] && taken & (1 << at) == 0)
            .map(|at| 1 + most(rest, taken | 1 << at));
        with.max().unwrap_or(0).max(most(rest, taken))
    }

    proptest! {
        #[test]
        fn assignment_is_one_to_one_in_order_and_misses_nobody(
            ours in attempts(), theirs in attempts(), ahead in -10_000..10_000_i64,
        ) {
            let word = |word: u8| if word == 0 { "Hi" } else { "Ho" };
            let sought: Vec<Sought<'_>> = ours
                .iter()
                .map(|(text, at)| Sought { started_at: *at, ..sought(word(*text)) })
                .collect();
            let listed: Vec<Listed<'_>> =
                theirs.iter().map(|(text, at)| listed(word(*text), at - at % 1_000)).collect();
            let assigned = assign(&sought, &listed, ahead);
            let fits = |ours: &Sought<'_>, theirs: &Listed<'_>| {
                ours.text == theirs.text && theirs.created_at >= earliest(ours.started_at, ahead)
            };
            let pairs: Vec<(usize, usize)> =
                assigned
                    .iter()
                    .enumerate()
                    .filter_map(|(a, place)| if let Place::At(l) = place { Some((a, *l)) } else { None })
                    .collect();
            for (number, (a, l)) in pairs.iter().enumerate() {
                prop_assert!(fits(&sought[*a], &listed[*l]));
                for (b, m) in &pairs[number + 1..] {
                    prop_assert!(l != m, "one message, two attempts");
                    prop_assert!(sought[*a].text != sought[*b].text || l < m, "out of order");
                }
            }
            let table: Vec<Vec<bool>> = sought
                .iter()
                .map(|ours| listed.iter().map(|theirs| fits(ours, theirs)).collect())
                .collect();
            prop_assert_eq!(pairs.len(), most(&table, 0), "a message was missed");
        }
    }
}
