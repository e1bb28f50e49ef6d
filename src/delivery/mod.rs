//! Flow: from a queued row to Twilio, and what came of it.
