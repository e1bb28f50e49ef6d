//! The integration tests: real HTTP, real files, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its support code too"
)]

mod simulator;
