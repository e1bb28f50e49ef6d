//! Flow: from Twilio to rows. `receive` takes what people write, `status` what becomes of our messages,
//! `replay` tries again what failed.

mod receive;
mod replay;
mod status;

pub use receive::{Heard, Received, Source, receive};
pub use replay::{Replayed, replay};
pub use status::status;
