//! One binary for all tests that need a real store: its files mirror `src/`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod segments;
