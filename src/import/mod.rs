//! Flow: from a file to users.
