//! One binary for all tests that need a real store: its files mirror `src/`.

mod imports;
mod segments;
