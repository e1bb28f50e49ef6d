//! What Twilio calls: inbound messages and status callbacks.
