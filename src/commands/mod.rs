//! Commands.
pub mod simulate;
