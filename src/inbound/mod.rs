//! Flow: from Twilio to rows.
