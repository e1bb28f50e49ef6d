//! Content templates: texts that live at Twilio and that WhatsApp approves. What a judgement means for
//! sending, what a text has to look like to be taken, and the road from `{name}` to `{{1}}`.
//! <https://www.twilio.com/docs/content/using-variables-with-content-api>

mod known;
mod wording;

pub use known::{Approval, Category, KnownContent, Refusal, Standing};
pub use wording::{DraftError, Wording, faults, variables_of};
