//! The life of a message: its states, and which news from the provider may change them.

/// Where a message stands. *Open* are `queued`, `sending` and `uncertain`; from `accepted` on the
/// provider decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Waits for its turn, or for the hour.
    Queued,
    /// Claimed: its request is about to begin or under way.
    Sending,
    /// The provider's answer was lost.
    Uncertain,
    /// The provider took it.
    Accepted,
    /// The carrier took it.
    Sent,
    /// It reached the phone.
    Delivered,
    /// The person opened it.
    Read,
    /// Refused or given up.
    Failed,
    /// The carrier could not deliver it.
    Undelivered,
    /// Its deadline passed.
    Expired,
    /// The gate refused it.
    Skipped,
    /// Taken back.
    Cancelled,
}

impl Status {
    /// Every state, in the order in which reports list them.
    pub const ALL: [Status; 12] = [
        Status::Queued,
        Status::Sending,
        Status::Uncertain,
        Status::Accepted,
        Status::Sent,
        Status::Delivered,
        Status::Read,
        Status::Failed,
        Status::Undelivered,
        Status::Expired,
        Status::Skipped,
        Status::Cancelled,
    ];

    /// The word of the tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Sending => "sending",
            Status::Uncertain => "uncertain",
            Status::Accepted => "accepted",
            Status::Sent => "sent",
            Status::Delivered => "delivered",
            Status::Read => "read",
            Status::Failed => "failed",
            Status::Undelivered => "undelivered",
            Status::Expired => "expired",
            Status::Skipped => "skipped",
            Status::Cancelled => "cancelled",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// True while it is ours to decide what becomes of the message.
    pub fn is_open(self) -> bool {
        matches!(self, Status::Queued | Status::Sending | Status::Uncertain)
    }

    /// How far along a state is, as news from the provider goes. News of a lower or equal rank than what
    /// is known is late or repeated and changes nothing: callbacks come in any order
    /// (<https://www.twilio.com/docs/messaging/guides/track-outbound-message-status>).
    /// Open states rank lowest; our own exits can't be left.
    pub fn rank(self) -> u8 {
        match self {
            Status::Queued | Status::Sending | Status::Uncertain => 1,
            Status::Accepted => 2,
            Status::Sent => 3,
            Status::Failed | Status::Undelivered | Status::Expired => 4,
            Status::Delivered => 5,
            Status::Read => 6,
            Status::Skipped | Status::Cancelled => 7,
        }
    }

    /// What Twilio's word means here; `None` for words that this release does not know.
    pub fn from_twilio(word: &str, error_code: Option<i64>) -> Option<Status> {
        /// The validity period ended before Twilio could send.
        const VALIDITY_EXPIRED: i64 = 30036;
        match word {
            "accepted" | "scheduled" | "queued" | "sending" => Some(Status::Accepted),
            "sent" => Some(Status::Sent),
            "delivered" => Some(Status::Delivered),
            "read" => Some(Status::Read),
            "failed" | "undelivered" if error_code == Some(VALIDITY_EXPIRED) => Some(Status::Expired),
            "failed" => Some(Status::Failed),
            "undelivered" => Some(Status::Undelivered),
            "canceled" => Some(Status::Failed),
            _ => None,
        }
    }
}

/// Why a message is sent: decides which consent it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Advertising and news: opted-in people only.
    Marketing,
    /// Something the person asked for or has to know.
    Transactional,
    /// An answer to the person's own message of the last 24 hours.
    Reply,
    /// The one confirmation of a STOP.
    Confirmation,
}

impl Kind {
    /// The word of the tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Marketing => "marketing",
            Kind::Transactional => "transactional",
            Kind::Reply => "reply",
            Kind::Confirmation => "confirmation",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Kind> {
        [Kind::Marketing, Kind::Transactional, Kind::Reply, Kind::Confirmation]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_ranks_as_twilio_can_send_it_in_any_order() {
        let order = ["accepted", "sent", "failed", "delivered", "read"];
        let ranks: Vec<u8> =
            order.iter().map(|word| Status::from_twilio(word, None).unwrap().rank()).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        assert_eq!(Status::Failed.rank(), Status::Undelivered.rank());
        assert_eq!(Status::Failed.rank(), Status::Expired.rank());
        assert!(Status::ALL.iter().filter(|s| s.is_open()).all(|s| s.rank() < Status::Accepted.rank()));
    }

    #[test]
    fn unknown_words_are_never_read_as_failed() {
        for word in ["partially_delivered", "receiving", "", "DELIVERED", "teleported"] {
            assert_eq!(Status::from_twilio(word, None), None, "{word}");
        }
        assert_eq!(Status::from_twilio("failed", Some(30036)), Some(Status::Expired));
    }

    #[test]
    fn every_state_reads_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
    }
}
