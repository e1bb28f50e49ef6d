//! The HTTP API, over real HTTP against a real file.

mod audience;
mod basics;
mod campaigns;
mod caps;
mod hostile;
mod idempotency;
mod imports;
mod lists;
mod messages;
mod segments;
mod settings;
mod stream;
mod suppressions;
mod templates;
mod topics;
mod triggers;
mod users;
