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

mod browser;
mod campaigns;
mod dashboard;
mod desk;
mod door;
mod imports;
mod inbox;
mod live;
mod monitoring;
mod people;
mod segments;
mod session;
mod settings;
mod setup;
mod templates;
mod visitor;
mod watch;
