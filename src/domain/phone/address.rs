//! Channel addresses, as Twilio writes them in `From` and `To`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Phone;

/// The prefix by which Twilio tells WhatsApp addresses from SMS ones.
const WHATSAPP: &str = "whatsapp:";

/// Longest address that is kept, in bytes.
const LONGEST: usize = 256;

/// The road that a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// SMS and MMS.
    Sms,
    /// WhatsApp.
    Whatsapp,
}

/// The text names no channel of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a channel: write sms or whatsapp")]
pub struct UnknownChannel(String);

impl Channel {
    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Channel::Sms => "sms",
            Channel::Whatsapp => "whatsapp",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = UnknownChannel;

    fn from_str(text: &str) -> Result<Channel, UnknownChannel> {
        match text {
            "sms" => Ok(Channel::Sms),
            "whatsapp" => Ok(Channel::Whatsapp),
            other => Err(UnknownChannel(other.chars().take(40).collect())),
        }
    }
}

/// Who is at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Someone with a phone number.
    Phone(Phone),
    /// A short code, an alphanumeric sender, a Messaging Service, or a WhatsApp user id such as
    /// `US.1349…`, which WhatsApp sends instead of a number for people who hide theirs.
    Id(String),
}

/// A party on a channel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The road.
    pub channel: Channel,
    /// Who is at its end.
    pub party: Party,
}

impl Address {
    /// A phone on a channel.
    pub fn of(channel: Channel, phone: &Phone) -> Address {
        Address { channel, party: Party::Phone(phone.clone()) }
    }

    /// Reads an address from the wire. Whatever is no E.164 number is kept as an id. None only
    /// for text that is blank or longer than 256 bytes.
    pub fn parse_wire(text: &str) -> Option<Address> {
        if text.len() > LONGEST {
            return None;
        }
        let mut channel = Channel::Sms;
        let mut rest = text.trim();
        while let Some((prefix, after)) = rest.split_at_checked(WHATSAPP.len())
            && prefix.eq_ignore_ascii_case(WHATSAPP)
        {
            channel = Channel::Whatsapp;
            rest = after.trim_start();
        }
        if rest.is_empty() {
            return None;
        }
        let party = match Phone::from_e164(rest) {
            Some(phone) => Party::Phone(phone),
            None => Party::Id(rest.to_owned()),
        };
        Some(Address { channel, party })
    }

    /// The address as Twilio writes it. The only place that writes `whatsapp:`.
    pub fn wire(&self) -> String {
        let party = match &self.party {
            Party::Phone(phone) => phone.as_str(),
            Party::Id(id) => id,
        };
        match self.channel {
            Channel::Sms => party.to_owned(),
            Channel::Whatsapp => format!("{WHATSAPP}{party}"),
        }
    }

    /// The phone number, if the party has one.
    pub fn phone(&self) -> Option<&Phone> {
        match &self.party {
            Party::Phone(phone) => Some(phone),
            Party::Id(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read_from_the_wire_and_written_back() {
        for (text, channel, is_phone, wire) in [
            ("+14155550101", Channel::Sms, true, "+14155550101"),
            ("whatsapp:+14155550101", Channel::Whatsapp, true, "whatsapp:+14155550101"),
            ("whatsapp:whatsapp:+14155550101", Channel::Whatsapp, true, "whatsapp:+14155550101"),
            ("WhatsApp: +14155550101 ", Channel::Whatsapp, true, "whatsapp:+14155550101"),
            (
                "whatsapp:US.13491208655302741918",
                Channel::Whatsapp,
                false,
                "whatsapp:US.13491208655302741918",
            ),
            ("12345", Channel::Sms, false, "12345"),
            ("ACME", Channel::Sms, false, "ACME"),
            ("Grüße", Channel::Sms, false, "Grüße"),
        ] {
            let address = Address::parse_wire(text).unwrap();
            assert_eq!(address.channel, channel, "{text}");
            assert_eq!(address.phone().is_some(), is_phone, "{text}");
            assert_eq!(address.wire(), wire);
        }
        for text in ["", "  ", "whatsapp:", &"9".repeat(257)] {
            assert_eq!(Address::parse_wire(text), None);
        }
    }

    #[test]
    fn a_phone_on_whatsapp_gets_the_prefix_once() {
        let phone = Phone::from_e164("+14155550101").unwrap();
        let address = Address::of(Channel::Whatsapp, &phone);
        assert_eq!(address.wire(), "whatsapp:+14155550101");
        assert_eq!(Address::parse_wire(&address.wire()), Some(address));
    }

    #[test]
    fn channels_have_one_name_each() {
        for channel in [Channel::Sms, Channel::Whatsapp] {
            assert_eq!(channel.as_str().parse(), Ok(channel));
            assert_eq!(serde_json::to_value(channel).unwrap(), serde_json::json!(channel.as_str()));
        }
        assert!("fax".parse::<Channel>().is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_the_same(text in "\\PC{0,80}") {
            if let Some(address) = Address::parse_wire(&text) {
                prop_assert_eq!(Address::parse_wire(&address.wire()), Some(address));
            }
        }
    }
}
