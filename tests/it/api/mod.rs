//! The HTTP API, over real HTTP against a real file.

mod api_keys;
mod audience;
mod auth;
mod basics;
mod campaigns;
mod caps;
mod hostile;
mod idempotency;
mod imports;
mod lists;
mod merging;
mod messages;
mod overview;
mod segments;
mod senders;
mod settings;
mod stream;
mod suppressions;
mod templates;
mod topics;
mod triggers;
mod users;
