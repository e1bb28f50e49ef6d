//! Flow: from a plan to queued rows.
