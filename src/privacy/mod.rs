//! Flow: what is kept about people, told and taken away. `proof` answers a complaint.

mod proof;

pub use proof::{MAX_MESSAGES, proof};
