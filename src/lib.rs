//! WhatsApp and SMS campaigns over Twilio: one process, one SQLite file.
//!
//! Reading order, from the words of the field to the edge where things happen:
//! [`domain`] decides, [`store`] keeps, [`twilio`] speaks the wire; the flows [`import`],
//! [`campaign`], [`content`], [`delivery`], [`inbound`] and [`publish`] join them over rows; `web` and `commands` are the
//! doors, and `app` puts the process together. `ARCHITECTURE.md` tells the whole story.

pub mod clock;
pub mod config;
pub mod domain;
pub mod live;
pub mod metrics;
pub mod store;
pub mod twilio;
pub mod vitals;

pub mod campaign;
pub mod catalogue;
pub mod content;
pub mod delivery;
pub mod import;
pub mod inbound;
pub mod people;
pub mod privacy;
pub mod publish;

pub mod simulator;
pub mod stand_in;
pub mod ticker;
pub mod web;

pub mod app;
pub mod commands;
