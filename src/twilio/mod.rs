//! All knowledge of Twilio's wire: requests, answers, errors, signatures, webhook forms.

pub mod account;
pub mod client;
pub mod content;
pub mod error;
pub mod lookup;
pub mod media;
pub mod round_trip;
pub mod signature;
pub mod webhook;
