//! Every test that needs more than one module: one binary, files that mirror `src/`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod api;
mod architecture;
mod audience;
mod backups;
mod campaigns;
mod caps;
mod catch_up;
mod content;
mod delivery;
mod drill;
mod gate_property;
mod hold;
mod hours;
mod imports;
mod inbound;
mod interleavings;
mod openapi;
mod privacy;
mod process;
mod publish;
mod readme;
mod schedule;
mod segments;
mod sequences;
mod simulator;
mod store;
#[cfg(target_os = "linux")]
mod stress;
mod support;
mod triggers;
mod webhooks;
