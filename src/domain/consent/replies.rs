//! What people are answered at once, without anybody at a desk.

use serde::Deserialize;

/// What people are answered by the server itself; '' for nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replies {
    /// After STOP.
    pub stop: String,
    /// After START.
    pub start: String,
    /// After HELP.
    pub help: String,
    /// After SUBSCRIBE and a topic; `{topic}` is its name.
    pub subscribe: String,
    /// After UNSUBSCRIBE and a topic.
    pub unsubscribe: String,
    /// Twilio answers STOP, START and HELP on SMS itself.
    pub twilio_answers_sms_keywords: bool,
}
