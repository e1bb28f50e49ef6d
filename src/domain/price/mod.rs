//! What messages cost: the operator's table of prices, and sums in which an unknown price stays unknown.
//!
//! Amounts are millionths of the currency's unit. Twilio's prices differ by account and month
//! (<https://www.twilio.com/en-us/pricing>), so no number comes with the program.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::message::Kind;
use super::phone::{Channel, Phone};
use super::plan::{Person, Plan, Rendered};

/// The key of the price of all numbers that nothing else fits.
const ELSEWHERE: &str = "*";
/// Nothing costs more than this, in units: a slip of the comma is found, and no sum overflows.
const DEAREST: f64 = 1_000.0;

/// A currency by its code of ISO 4217, such as `USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Reads a code of three letters, in any case.
    pub fn parse(code: &str) -> Option<Currency> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Currency(letters.map(|b| b.to_ascii_uppercase())))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Millionths as people write them: two digits behind the point, more where they are needed.
pub fn amount(micros: i64) -> String {
    let whole = format!("{}.{:06}", micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let cents = whole.len() - 4;
    let kept = whole.trim_end_matches('0').len().max(cents);
    format!("{}{}", if micros < 0 { "-" } else { "" }, whole.get(..kept).unwrap_or(&whole))
}

/// An amount of the configuration or the API in millionths; `None` for what is none.
pub fn micros(units: f64) -> Option<i64> {
    const MOST: f64 = 1e12;
    (units.is_finite() && (0.0..=MOST).contains(&units)).then(|| (units * 1e6).round() as i64)
}

/// The section `[prices]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Section", into = "Section")]
pub struct PriceTable {
    section: Section,
    currency: Currency,
    sms: Prices,
    mms: Prices,
    whatsapp: Prices,
}

/// The section as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    currency: String,
    sms: BTreeMap<String, f64>,
    mms: BTreeMap<String, f64>,
    whatsapp: BTreeMap<String, Whatsapp>,
}

/// A WhatsApp message has one price, or one by category
/// (<https://www.twilio.com/en-us/whatsapp/pricing>).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "a price, or { marketing = …, utility = …, service = … }")]
enum Whatsapp {
    Any(f64),
    ByCategory(BTreeMap<Category, f64>),
}

/// What WhatsApp takes a message for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Category {
    /// A template of a marketing message.
    Marketing,
    /// A template of any other.
    Utility,
    /// Free text within 24 hours of the person's own.
    Service,
}

/// Prices by country, by prefix and elsewhere; the longest prefix counts, then the country.
#[derive(Clone, Debug, Default)]
struct Prices {
    /// The longest first, each with its `+`.
    prefixes: Vec<(String, Price)>,
    countries: BTreeMap<String, Price>,
    elsewhere: Option<Price>,
}

/// Millionths by category; SMS and MMS have one for all.
#[derive(Clone, Copy, Debug)]
enum Price {
    Any(i64),
    By { marketing: Option<i64>, utility: Option<i64>, service: Option<i64> },
}

/// What is wrong in the section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not three letters.
    #[error("prices.currency: “{0}” is not a code of three letters such as USD")]
    Currency(String),
    /// Neither a country, a prefix nor everywhere else.
    #[error("prices.{0}: “{1}” is neither a country such as \"US\", a prefix such as \"+1\", nor \"*\"")]
    Place(&'static str, String),
    /// Below nothing, or beyond belief.
    #[error("prices.{0}.\"{1}\": must be a price from 0 to 1000")]
    Amount(&'static str, String),
}

/// What is sent, as far as its price asks.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// Over which channel.
    pub channel: Channel,
    /// Why.
    pub kind: Kind,
    /// SMS parts.
    pub parts: u32,
    /// It has attachments: on a number that is MMS.
    pub has_media: bool,
    /// An approved Content template.
    pub has_content: bool,
    /// To where, ISO 3166 alpha-2.
    pub country: Option<&'a str>,
    /// To which number.
    pub phone: Option<&'a Phone>,
}

impl<'a> Parcel<'a> {
    /// A message as it was rendered for somebody.
    pub fn of(plan: &Plan, person: &'a Person, rendered: &Rendered) -> Parcel<'a> {
        Parcel {
            channel: plan.channel,
            kind: plan.kind,
            parts: rendered.parts,
            has_media: !rendered.media_urls.is_empty(),
            has_content: rendered.content.is_some(),
            country: person.country.as_deref(),
            phone: person.phone.as_ref(),
        }
    }

    /// What it is and where it goes, in words: "SMS to LK".
    pub fn words(&self) -> String {
        let what = match self.channel {
            Channel::Sms if self.has_media => "MMS",
            Channel::Sms => "SMS",
            Channel::Whatsapp => "WhatsApp",
        };
        format!("{what} to {}", self.country.unwrap_or("numbers of no country"))
    }

    fn category(&self) -> Category {
        match self.kind {
            _ if !self.has_content => Category::Service,
            Kind::Marketing => Category::Marketing,
            _ => Category::Utility,
        }
    }
}

impl PriceTable {
    /// The currency of the table, in which Twilio bills the account.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// True while it names no price at all.
    pub fn is_empty(&self) -> bool {
        [&self.sms, &self.mms, &self.whatsapp].iter().all(|prices| prices.is_empty())
    }

    /// What handing this over costs, in millionths; `None`: the table doesn't say.
    pub fn price(&self, parcel: &Parcel<'_>) -> Option<i64> {
        let (prices, times) = match parcel.channel {
            Channel::Sms if parcel.has_media => (&self.mms, 1),
            Channel::Sms => (&self.sms, i64::from(parcel.parts.max(1))),
            Channel::Whatsapp => (&self.whatsapp, 1),
        };
        let price = match *prices.find(parcel.phone, parcel.country)? {
            Price::Any(price) => Some(price),
            Price::By { marketing, utility, service } => match parcel.category() {
                Category::Marketing => marketing,
                Category::Utility => utility,
                Category::Service => service,
            },
        }?;
        Some(price * times)
    }
}

impl Prices {
    fn is_empty(&self) -> bool {
        self.prefixes.is_empty() && self.countries.is_empty() && self.elsewhere.is_none()
    }

    fn find(&self, phone: Option<&Phone>, country: Option<&str>) -> Option<&Price> {
        let by_prefix = phone.and_then(|phone| {
            self.prefixes.iter().find(|(prefix, _)| phone.as_str().starts_with(prefix.as_str()))
        });
        by_prefix
            .map(|(_, price)| price)
            .or_else(|| country.and_then(|country| self.countries.get(country)))
            .or(self.elsewhere.as_ref())
    }

    fn read<'a>(
        table: &'static str,
        rows: impl Iterator<Item = (&'a String, Option<Price>)>,
    ) -> Result<Prices, PriceError> {
        let mut prices = Prices::default();
        for (place, price) in rows {
            let price = price.ok_or_else(|| PriceError::Amount(table, place.clone()))?;
            let is_prefix = place.strip_prefix('+').is_some_and(|digits| {
                !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit())
            });
            if place == ELSEWHERE {
                prices.elsewhere = Some(price);
            } else if is_prefix {
                prices.prefixes.push((place.clone(), price));
            } else if place.len() == 2 && Phone::knows_region(place) {
                prices.countries.insert(place.to_ascii_uppercase(), price);
            } else {
                return Err(PriceError::Place(table, place.clone()));
            }
        }
        prices.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(prices)
    }
}

/// A price of the table in millionths.
fn read_price(units: f64) -> Option<i64> {
    micros(units).filter(|_| units <= DEAREST)
}

impl Whatsapp {
    fn read(&self) -> Option<Price> {
        match self {
            Whatsapp::Any(units) => read_price(*units).map(Price::Any),
            Whatsapp::ByCategory(by) => {
                let each = |category| by.get(&category).map(|units| read_price(*units));
                let read = |category| each(category).map_or(Some(None), |price| price.map(Some));
                Some(Price::By {
                    marketing: read(Category::Marketing)?,
                    utility: read(Category::Utility)?,
                    service: read(Category::Service)?,
                })
            }
        }
    }
}

impl TryFrom<Section> for PriceTable {
    type Error = PriceError;

    fn try_from(section: Section) -> Result<PriceTable, PriceError> {
        let currency = Currency::parse(&section.currency)
            .ok_or_else(|| PriceError::Currency(section.currency.clone()))?;
        let one = |units: &f64| read_price(*units).map(Price::Any);
        let sms = Prices::read("sms", section.sms.iter().map(|(place, units)| (place, one(units))))?;
        let mms = Prices::read("mms", section.mms.iter().map(|(place, units)| (place, one(units))))?;
        let whatsapp =
            Prices::read("whatsapp", section.whatsapp.iter().map(|(place, price)| (place, price.read())))?;
        Ok(PriceTable { section, currency, sms, mms, whatsapp })
    }
}

impl From<PriceTable> for Section {
    fn from(table: PriceTable) -> Section {
        table.section
    }
}

/// A sum of prices of which some may be unknown. An unknown one is counted and never taken for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The known ones together, in millionths.
    pub known_micros: i64,
    /// How many messages have no known price.
    pub unknown: i64,
}

impl Cost {
    /// Adds `times` messages of this price.
    pub fn add(&mut self, price: Option<i64>, times: i64) {
        match price {
            Some(price) => self.known_micros = self.known_micros.saturating_add(price.saturating_mul(times)),
            None => self.unknown += times,
        }
    }

    /// The whole, if every price is known.
    pub fn total(&self) -> Option<i64> {
        (self.unknown == 0).then_some(self.known_micros)
    }
}

#[cfg(test)]
mod tests;
