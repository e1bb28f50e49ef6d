//! Flow: from Twilio to rows. `receive` takes what people write, `status` what becomes of our messages,
//! `replay` tries again what failed, `catch_up` fetches what was missed, `review` takes an operator's word on what may
//! be an opt-out, `attachments` fetches what came with a message.

mod attachments;
mod catch_up;
mod receive;
mod replay;
mod review;
mod status;

pub use attachments::{AttachmentError, Attachments, Opened};
pub use catch_up::CatchUp;
pub use receive::{Heard, Received, Source, receive};
pub use replay::{Replayed, replay};
pub use review::{Judgement, ReviewError, judge};
pub use status::{Told, status};
