//! One binary for all tests that need a real store: its files mirror `src/`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test may panic, and tables of cases are long"
)]

mod api;
mod segments;
mod support;
