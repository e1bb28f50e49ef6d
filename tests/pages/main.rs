//! The pages by HTTP: each area has a file.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    dead_code,
    unused_imports
)]

#[path = "../it/support/mod.rs"]
mod support;

mod campaigns;
mod imports;
mod inbox;
mod visitor;
