//! One message as Twilio keeps it: its words, its SID, and its JSON.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::chance;

/// `SM` or, with media, `MM`, and 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sid {
    has_media: bool,
    pub(super) bits: u128,
}

impl Sid {
    /// The SID of the `number`-th message of a simulator with this identity.
    pub(super) fn draw(identity: u64, number: u64, has_media: bool) -> Sid {
        Sid { has_media, bits: chance::identity(identity, number) }
    }

    /// Reads `SM…` or `MM…`; anything else is no message.
    pub(super) fn parse(text: &str) -> Option<Sid> {
        let (has_media, digits) = match text.strip_prefix("SM") {
            Some(digits) => (false, digits),
            None => (true, text.strip_prefix("MM")?),
        };
        let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = is_hex.then(|| u128::from_str_radix(digits, 16).ok()).flatten()?;
        Some(Sid { has_media, bits })
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.has_media { "MM" } else { "SM" };
        write!(formatter, "{prefix}{:032x}", self.bits)
    }
}

impl Serialize for Sid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a message stands, in Twilio's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its time.
    Scheduled,
    /// Taken by a Messaging Service that has not picked a sender.
    Accepted,
    /// Waits for its sender's turn.
    Queued,
    /// Handed to the carrier.
    Sent,
    /// On the handset.
    Delivered,
    /// Seen by the person; WhatsApp only.
    Read,
    /// Found impossible before sending.
    Failed,
    /// Given up by the carrier.
    Undelivered,
    /// Cancelled before its time.
    Canceled,
    /// Inbound.
    Received,
}

impl Status {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Scheduled => "scheduled",
            Status::Accepted => "accepted",
            Status::Queued => "queued",
            Status::Sent => "sent",
            Status::Delivered => "delivered",
            Status::Read => "read",
            Status::Failed => "failed",
            Status::Undelivered => "undelivered",
            Status::Canceled => "canceled",
            Status::Received => "received",
        }
    }

    /// Whether it can still be cancelled.
    pub(super) fn is_waiting(self) -> bool {
        matches!(self, Status::Scheduled | Status::Accepted | Status::Queued)
    }
}

/// Who sent it, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// By the person.
    Inbound,
    /// By the REST API.
    OutboundApi,
    /// By the answer to an inbound webhook.
    OutboundReply,
}

/// A message of either direction.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) sid: Sid,
    pub(super) service: Option<Arc<str>>,
    pub(super) to: Arc<str>,
    /// None until a Messaging Service picked one.
    pub(super) from: Option<Arc<str>>,
    pub(super) body: Box<str>,
    pub(super) content_sid: Option<Box<str>>,
    pub(super) media: Vec<String>,
    pub(super) status: Status,
    pub(super) direction: Direction,
    /// 0 until a Messaging Service picked a sender.
    pub(super) parts: u32,
    pub(super) error: Option<u32>,
    /// Milliseconds since 1970, as all times here.
    pub(super) created: i64,
    pub(super) updated: i64,
    pub(super) sent: Option<i64>,
    pub(super) status_callback: Option<Arc<str>>,
    pub(super) validity_seconds: u32,
    pub(super) is_deleted: bool,
}

impl Message {
    /// The person at the other end.
    pub(super) fn person(&self) -> &str {
        match self.direction {
            Direction::Inbound => self.from.as_deref().unwrap_or_default(),
            Direction::OutboundApi | Direction::OutboundReply => &self.to,
        }
    }

    /// The account's own number or address, once known.
    pub(super) fn sender(&self) -> Option<&str> {
        match self.direction {
            Direction::Inbound => Some(&self.to),
            Direction::OutboundApi | Direction::OutboundReply => self.from.as_deref(),
        }
    }

    /// The moment that `DateSent` filters go by: sent, or created while it is not sent.
    pub(super) fn sent_or_created(&self) -> i64 {
        self.sent.unwrap_or(self.created)
    }

    /// The resource, its 20 fields.
    pub(super) fn resource<'a>(&'a self, account_sid: &'a str) -> Resource<'a> {
        let base = format!("/2010-04-01/Accounts/{account_sid}/Messages/{}", self.sid);
        let is_priced = matches!(
            self.status,
            Status::Sent | Status::Delivered | Status::Read | Status::Undelivered | Status::Received
        );
        Resource {
            body: &self.body,
            num_segments: self.parts.to_string(),
            direction: self.direction,
            from: self.from.as_deref(),
            to: &self.to,
            date_updated: rfc_2822(self.updated),
            price: is_priced.then(|| price(self.parts)),
            error_message: self.error.map(super::errors::text),
            uri: format!("{base}.json"),
            account_sid,
            num_media: self.media.len().to_string(),
            status: self.status,
            messaging_service_sid: self.service.as_deref(),
            sid: self.sid,
            date_sent: self.sent.map(rfc_2822),
            date_created: rfc_2822(self.created),
            error_code: self.error,
            price_unit: "USD",
            api_version: "2010-04-01",
            subresource_uris: Subresources {
                media: format!("{base}/Media.json"),
                feedback: format!("{base}/Feedback.json"),
            },
        }
    }
}

/// A made-up price: 0.0075 dollars a part, negative as Twilio writes what it charges.
fn price(parts: u32) -> String {
    let hundred_thousandths = u64::from(parts) * 750;
    format!("-{}.{:05}", hundred_thousandths / 100_000, hundred_thousandths % 100_000)
}

/// The Message resource
/// (<https://www.twilio.com/docs/messaging/api/message-resource#message-properties>).
#[derive(Serialize)]
pub(super) struct Resource<'a> {
    body: &'a str,
    num_segments: String,
    direction: Direction,
    from: Option<&'a str>,
    to: &'a str,
    date_updated: String,
    price: Option<String>,
    error_message: Option<String>,
    uri: String,
    account_sid: &'a str,
    num_media: String,
    status: Status,
    messaging_service_sid: Option<&'a str>,
    sid: Sid,
    date_sent: Option<String>,
    date_created: String,
    error_code: Option<u32>,
    price_unit: &'static str,
    api_version: &'static str,
    subresource_uris: Subresources,
}

#[derive(Serialize)]
struct Subresources {
    media: String,
    feedback: String,
}

/// `Thu, 24 Aug 2023 05:01:45 +0000`
pub(super) fn rfc_2822(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or_default();
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// `2026-11-23T09:30:00.123Z`
pub(super) fn rfc_3339(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_are_34_characters_and_read_back() {
        for has_media in [false, true] {
            let sid = Sid::draw(1, 7, has_media);
            let text = sid.to_string();
            assert_eq!(text.len(), 34);
            assert_eq!(Sid::parse(&text), Some(sid));
        }
        for wrong in ["", "SM", "SM+123", "XX00000000000000000000000000000001"] {
            assert_eq!(Sid::parse(wrong), None);
        }
    }

    #[test]
    fn dates_and_prices_are_written_as_twilio_does() {
        assert_eq!(rfc_2822(1_692_853_305_000), "Thu, 24 Aug 2023 05:01:45 +0000");
        assert_eq!(rfc_2822(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(price(1), "-0.00750");
        assert_eq!(price(134), "-1.00500");
    }
}
