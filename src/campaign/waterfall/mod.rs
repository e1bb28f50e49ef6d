//! Who would get a campaign, who not, and why: everybody of its audience through the gate, before anything is
//! launched. The same plan and gate as at the sending, so nothing is sampled and nothing guessed.
//!
//! A million people take some seconds. They are walked by id in pieces, each a snapshot of its own and short
//! enough to keep no other request waiting; one look goes at a time, with at most one launch beside it, and a caller
//! who leaves ends it.

mod walk;

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::domain::encoding::Encoding;
use crate::domain::forecast::Forecast;
use crate::domain::gate::Reason;
use crate::domain::price::{Cost, Currency};

pub(super) use walk::walk;

/// Somebody, to look them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The key.
    pub user_id: i64,
    /// The number, if there is one.
    pub phone: Option<String>,
}

/// People who leave in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many.
    pub people: i64,
    /// Some of them.
    pub sample: Vec<Example>,
}

/// What the gate says to a person, without the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Never.
    Skipped,
    /// It would be too late.
    Expired,
    /// Not yet.
    Deferred,
}

/// The exclude segment that takes people out.
#[derive(Clone, Debug)]
pub struct Excluded {
    /// The segment.
    pub segment_id: i64,
    /// Its name.
    pub name: String,
    /// Whom it takes, of those whom none before it took.
    pub bucket: Bucket,
}

/// People whose hours are those of the same zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneOutlook {
    /// IANA names: several where a number fits several zones and all have to allow; none where none is known.
    pub zones: Vec<String>,
    /// How many of them would get it, now or later.
    pub people: i64,
    /// From when on, as far as their hours decide; `None`: never.
    pub opens: Option<Millis>,
}

/// What a launch would do.
#[derive(Clone, Debug)]
pub struct Waterfall {
    /// The version of the plan that was looked at.
    pub version: i64,
    /// People with ids up to this one were looked at.
    pub through: i64,
    /// At which moment its people were judged: at its start, or now.
    pub at: Millis,
    /// When what still waits expires.
    pub expires_at: Option<Millis>,
    /// How many people the segment has.
    pub people: i64,
    /// Who is taken out by the exclude segments.
    pub excluded: Vec<Excluded>,
    /// Who leaves at the gate, or waits there.
    pub exits: Vec<(Way, Reason, Bucket)>,
    /// Who goes now.
    pub now: Bucket,
    /// SMS parts of all who go or wait; messages, on WhatsApp.
    pub parts: i64,
    /// The parts by the alphabet that the text forces; nothing on WhatsApp.
    pub parts_by_encoding: Vec<(Encoding, i64)>,
    /// How many people lack each variable.
    pub missing: BTreeMap<String, i64>,
    /// When the first and the last one go; `None` where no sender fits.
    pub forecast: Option<Forecast>,
    /// The same people by where they are, the most first.
    pub zones: Vec<ZoneOutlook>,
    /// How many would wait until it is too late, by their hours or by the forecast.
    pub would_expire: i64,
    /// Messages that wait for the same sender already.
    pub queue_ahead: i64,
    /// What those parts cost by the price table.
    pub cost: Cost,
    /// The currency of the table.
    pub currency: Currency,
    /// What a launch would be refused for or pause at, beside what would expire: the code and a sentence.
    pub obstacles: Vec<(&'static str, String)>,
}

impl Waterfall {
    /// How many have a message made for them at the launch.
    pub fn audience(&self) -> i64 {
        self.people - self.excluded.iter().map(|excluded| excluded.bucket.people).sum::<i64>()
    }

    /// How many leave or wait in this way.
    pub fn in_way(&self, way: Way) -> i64 {
        self.exits.iter().filter(|(one, ..)| *one == way).map(|(.., bucket)| bucket.people).sum()
    }

    /// How many would get it, now or later, if it does not become too late.
    pub fn would_send(&self) -> i64 {
        self.now.people + self.in_way(Way::Deferred)
    }
}

impl Bucket {
    fn add(&mut self, sample: usize, example: impl FnOnce() -> Example) {
        self.people += 1;
        if self.sample.len() < sample {
            self.sample.push(example());
        }
    }

    /// Takes in `people` more, of whom the first of `examples` are some.
    fn absorb(&mut self, sample: usize, people: i64, examples: Vec<Example>) {
        self.people += people;
        let room = sample.saturating_sub(self.sample.len());
        self.sample.extend(examples.into_iter().take(room.min(usize::try_from(people).unwrap_or(0))));
    }
}
