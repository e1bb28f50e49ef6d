//! What a refusal or a failed delivery means for the message, its sender and the account.

/// What to do about an error of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Busy: try again within minutes.
    Retry,
    /// The phone is off or a queue is full: try again within hours.
    Later,
    /// The person opted out at the provider or on the channel: recorded as `stop`.
    OptedOut,
    /// The number is no use: marked unreachable until somebody clears it.
    InvalidNumber,
    /// This sender can't send. With `until_tomorrow`, its daily limit is used up.
    PauseSender {
        /// True when it goes on by itself the next day.
        until_tomorrow: bool,
    },
    /// Nothing can be sent on this account.
    PauseAccount {
        /// True when it goes on by itself the next day.
        until_tomorrow: bool,
    },
    /// The template is at fault: whatever uses it stops.
    FixTemplate,
    /// A setting is at fault: the campaign stops at the first message.
    FixConfig,
    /// The provider gave it up as too late; with time left it may go once more.
    TooLate,
    /// This message failed for good; others may not.
    Fail,
}

/// An error of the provider, explained.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The provider's number, 0 without one.
    pub code: i64,
    /// What happened, in words.
    pub text: String,
    /// What a person should do about it.
    pub what_to_do: &'static str,
    /// What the engine does about it.
    pub meaning: Meaning,
}
