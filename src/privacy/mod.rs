//! Flow: what is kept about people, told and taken away. `proof` answers a complaint, `export` hands out all that
//! is held of one person, `erase` removes it, `retention` removes what is over.

mod erase;
mod export;
mod proof;
mod retention;

pub use erase::{empty_log, erase};
pub use export::{Export, PAGE as EXPORT_PAGE};
pub use proof::{MAX_MESSAGES, proof};
pub use retention::retain;
