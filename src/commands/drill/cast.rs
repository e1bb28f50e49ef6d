//! Who is in the drill: made-up people with fictional numbers, what each of them is like, and which
//! campaigns mean them.

use std::fmt::Write;

use anyhow::{Result, bail};

use super::dice::Dice;
use crate::domain::phone::Phone;
use crate::simulator::ErrorFault;

/// The number that texts go out from: fictional, as all numbers here.
pub(super) const SMS_SENDER: &str = "+18885550100";
/// The same on WhatsApp.
pub(super) const WHATSAPP_SENDER: &str = "whatsapp:+18885550100";
/// The topic that people have to ask for.
pub(super) const TOPIC: &str = "offers";

/// Why some people can't be reached, and how many in a hundred.
const FATES: [(Fate, f64); 5] = [
    (Fate::Refused(21614), 1.0),
    (Fate::Refused(30006), 1.0),
    (Fate::Refused(30007), 0.5),
    (Fate::Refused(63024), 0.5),
    (Fate::Refused(21610), 0.5),
];
/// People without a recorded consent, in a hundred.
const UNKNOWN_PERCENT: f64 = 4.0;
/// People who asked for the topic, in a hundred.
const TOPIC_PERCENT: f64 = 50.0;

/// What Twilio makes of messages to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They arrive.
    Reachable,
    /// They fail for good with this code.
    Refused(u32),
}

/// Somebody in the drill.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// E.164.
    pub(super) phone: String,
    /// What decides which campaigns mean the person.
    pub(super) wave: usize,
    /// Said yes to marketing.
    pub(super) is_opted_in: bool,
    /// Asked for the topic.
    pub(super) has_topic: bool,
    /// What Twilio makes of messages.
    pub(super) fate: Fate,
}

/// Makes up so many people.
///
/// # Errors
/// More people than there are fictional numbers.
pub(super) fn people(count: usize, seed: u64) -> Result<Vec<Person>> {
    let mut dice = Dice::new(seed, "people");
    let phones: Vec<String> = fictional_numbers().take(count).collect();
    if phones.len() < count {
        bail!("there are {} fictional numbers; ask for so many people at most", phones.len());
    }
    Ok(phones
        .into_iter()
        .enumerate()
        .map(|(number, phone)| Person {
            phone,
            wave: number % 6,
            is_opted_in: !dice.percent(UNKNOWN_PERCENT),
            has_topic: dice.percent(TOPIC_PERCENT),
            fate: fate(&mut dice),
        })
        .collect())
}

fn fate(dice: &mut Dice) -> Fate {
    let mut throw = dice.between(0.0, 100.0);
    for (fate, percent) in FATES {
        if throw < percent {
            return fate;
        }
        throw -= percent;
    }
    Fate::Reachable
}

/// 555-0100 to 555-0199 of every area code of the United States: set aside for fiction
/// (<https://nationalnanpa.com>).
fn fictional_numbers() -> impl Iterator<Item = String> {
    let is_valid = |area: &u32| {
        Phone::parse(&format!("+1{area}5550100"), None)
            .is_ok_and(|phone| phone.country() == Some("US") && !phone.as_str().starts_with("+18"))
    };
    (201..=989).filter(is_valid).flat_map(|area| (100..200).map(move |line| format!("+1{area}5550{line}")))
}

/// The people as a sheet for `ese import`.
pub(super) fn sheet(people: &[Person]) -> String {
    let mut text = String::from("phone,name,wave,order,consent,topics\n");
    for (number, person) in people.iter().enumerate() {
        let consent = if person.is_opted_in { "yes" } else { "" };
        let topics = if person.has_topic { TOPIC } else { "" };
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "{},Person {number},w{},A-{},{consent},{topics}",
            person.phone,
            person.wave,
            1_000 + number
        );
    }
    text
}

/// Refusals for good, as the simulator is told of them.
pub(super) fn refusals(people: &[Person]) -> Vec<ErrorFault> {
    people
        .iter()
        .filter_map(|person| match person.fate {
            Fate::Reachable => None,
            Fate::Refused(code) => {
                Some(ErrorFault { code, percent: 100.0, to: Some(person.phone.clone()), count: None })
            }
        })
        .collect()
}

/// One of the campaigns.
#[derive(Debug)]
pub(super) struct Plan {
    /// Its name.
    pub(super) name: &'static str,
    /// `sms` or `whatsapp`.
    pub(super) channel: &'static str,
    /// `marketing` or `transactional`.
    pub(super) kind: &'static str,
    /// The topic that it is about, if people have to ask for it.
    pub(super) topic: Option<&'static str>,
    /// The waves that it means.
    pub(super) waves: &'static [usize],
    /// The text, or the template of the provider.
    pub(super) words: Words,
    /// It is launched when so much of the drill is over.
    pub(super) launched_at: f64,
}

/// What a campaign says.
#[derive(Debug)]
pub(super) enum Words {
    /// A text of ours.
    Text(&'static str),
    /// A template that the provider approved, with its values.
    Content(&'static str, &'static [(&'static str, &'static str)]),
}

/// All campaigns: marketing to everybody, two parts to half of the people, WhatsApp to a third, and a
/// topic that half of its people never asked for.
pub(super) const PLANS: [Plan; 4] = [
    Plan {
        name: "Spring (marketing, SMS)",
        channel: "sms",
        kind: "marketing",
        topic: None,
        waves: &[0, 1, 2, 3, 4, 5],
        words: Words::Text("Hi {name|default(\"there\")}, spring is here. Reply STOP to leave."),
        launched_at: 0.0,
    },
    Plan {
        name: "Notice (transactional, SMS of two parts)",
        channel: "sms",
        kind: "transactional",
        topic: None,
        waves: &[0, 2, 4],
        words: Words::Text(
            "Dear {name|default(\"customer\")}, on Monday we move to our new building. The entrance is on the \
             north side, the car park behind the house. Orders that you left with us move along and wait for \
             you at the counter on the first floor.",
        ),
        launched_at: 0.2,
    },
    Plan {
        name: "Parcel (transactional, WhatsApp)",
        channel: "whatsapp",
        kind: "transactional",
        topic: None,
        waves: &[1, 4],
        words: Words::Content("HX00000000000000000000000000000001", &[("1", "{name}"), ("2", "{order}")]),
        launched_at: 0.4,
    },
    Plan {
        name: "Offers (marketing with a topic, SMS)",
        channel: "sms",
        kind: "marketing",
        topic: Some(TOPIC),
        waves: &[0, 1, 2],
        words: Words::Text("{name|default(\"Hello\")}: this week only, two for one. Reply STOP to leave."),
        launched_at: 0.6,
    },
];

impl Plan {
    /// Whether the campaign means this person.
    pub(super) fn means(&self, person: &Person) -> bool {
        self.waves.contains(&person.wave)
    }

    /// Whether the person may get it: the gate skips the others, with a reason.
    pub(super) fn may_reach(&self, person: &Person) -> bool {
        self.means(person)
            && (self.kind != "marketing" || person.is_opted_in)
            && (self.topic.is_none() || person.has_topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_fictional_valid_and_enough() {
        let people = people(20_000, 1).unwrap();
        let phones: std::collections::HashSet<&str> =
            people.iter().map(|person| person.phone.as_str()).collect();
        assert_eq!(phones.len(), 20_000);
        assert!(phones.iter().all(|phone| phone.contains("55501") && Phone::parse(phone, None).is_ok()));
        assert!(super::people(100_000, 1).is_err());
    }

    #[test]
    fn everybody_is_meant_by_some_campaign_and_every_fate_occurs() {
        let people = people(2_000, 1).unwrap();
        assert!(people.iter().all(|person| PLANS.iter().any(|plan| plan.means(person))));
        let unreachable = people.iter().filter(|person| person.fate != Fate::Reachable).count();
        assert!((40..110).contains(&unreachable), "{unreachable}");
        assert_eq!(refusals(&people).len(), unreachable);
        for plan in &PLANS {
            let means = people.iter().filter(|person| plan.means(person)).count();
            let reaches = people.iter().filter(|person| plan.may_reach(person)).count();
            assert!(reaches > means / 3 && reaches <= means, "{}", plan.name);
        }
    }
}
