//! Flow: from Twilio to rows. `receive` takes what people write, `status` what becomes of our messages,
//! `replay` tries again what failed, `catch_up` fetches what was missed.

mod catch_up;
mod receive;
mod replay;
mod status;

pub use catch_up::CatchUp;
pub use receive::{Heard, Received, Source, receive};
pub use replay::{Replayed, replay};
pub use status::{Told, status};
