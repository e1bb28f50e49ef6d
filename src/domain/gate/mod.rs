//! The gate: may this message go to this person now? One pure function with two uses: it stops a message
//! at send time, and it explains an audience before launch.

mod words;

use super::consent::Consent;
use super::content::Standing;
use super::message::Kind;
use super::phone::Channel;
use crate::domain::quiet_hours::Decision;

/// A reply answers a message of the last 24 hours, in milliseconds. WhatsApp takes free text for as long.
pub const REPLY_WINDOW: i64 = 86_400_000;
/// Less time than this before the hours close is too little for the provider's queue, in milliseconds.
pub const LEAST_VALIDITY: i64 = 120_000;

/// How a person stands to the message's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The message has no topic.
    NoTopic,
    /// Joined.
    Subscribed,
    /// Left.
    Unsubscribed,
    /// Neither, and the topic is open to all who opted in.
    OpenToOptedIn,
    /// Neither, and the topic is for those who joined.
    NotJoined,
}

/// What came of rendering the text for this person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It can go out, in so many SMS parts (1 for WhatsApp).
    Ready {
        /// SMS parts.
        parts: u32,
    },
    /// Variables without a value or fallback.
    Missing(Vec<String>),
    /// Longer than the channel takes.
    TooLong,
    /// Rendered to nothing, or could not be rendered.
    Broken,
}

/// Everything that the gate looks at. Times are milliseconds since 1970, UTC.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Why it is sent.
    pub kind: Kind,
    /// Over which channel.
    pub channel: Channel,
    /// The person's consent.
    pub consent: Consent,
    /// False once erased.
    pub has_address: bool,
    /// On the list of numbers never sent to.
    pub is_suppressed: bool,
    /// An operator has yet to decide what the person meant.
    pub is_held: bool,
    /// False once the number proved dead.
    pub is_reachable: bool,
    /// The person and the topic.
    pub membership: Membership,
    /// After this it is no use any more.
    pub expires_at: Option<i64>,
    /// The text for this person.
    pub content: Content,
    /// The person's last message to us.
    pub last_inbound_at: Option<i64>,
    /// The last one over WhatsApp: opens 24 hours for free text.
    pub last_whatsapp_inbound_at: Option<i64>,
    /// A Content template, which needs no window once it is approved.
    pub has_content_template: bool,
    /// How that template stands with WhatsApp.
    pub template_standing: Standing,
    /// WhatsApp counts that template as marketing, whatever we call the message.
    pub is_marketing_template: bool,
    /// Country by the number, ISO 3166 alpha-2.
    pub is_us_number: bool,
    /// The campaign's local time in this person's zone, if it goes by that.
    pub not_before: Option<i64>,
    /// What the person's hours say; `None` without quiet hours.
    pub hours: Option<Decision>,
    /// The sender has written to as many people today as it may: when there is room again.
    pub daily_limit_until: Option<i64>,
    /// The person has had as many marketing messages as they may: when the next may come.
    pub frequency_cap_until: Option<i64>,
    /// The one confirmation of this STOP went out already, from us or from Twilio.
    pub is_confirmed: bool,
}

/// The gate's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Now; the hours close at `closes_at`, if they do.
    Send {
        /// The first instant at which it would no longer be allowed.
        closes_at: Option<i64>,
    },
    /// Not before `until`.
    Defer {
        /// When to ask again.
        until: i64,
        /// Why.
        reason: Reason,
        /// The end of the window that begins then.
        closes_at: Option<i64>,
    },
    /// Never.
    Skip(Reason),
    /// Too late, or it would be: `reason` says what it waited for.
    Expire(Reason),
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a message did not go out, or not yet. The texts are public.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The word of the tables and the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The person was erased or has no address on this channel.
    NoAddress => "no_address",
    /// On the list of numbers never sent to.
    Suppressed => "suppressed",
    /// The person said STOP.
    Stop => "stop",
    /// The person opted out of marketing.
    OptedOut => "opted_out",
    /// Nobody knows whether the person agreed.
    ConsentUnknown => "consent_unknown",
    /// Not subscribed to the topic.
    NotSubscribed => "not_subscribed",
    /// On hold until an operator decides what the person meant.
    Held => "held",
    /// The number proved dead.
    Unreachable => "unreachable",
    /// The deadline passed.
    Deadline => "deadline",
    /// The person's own message is older than 24 hours.
    ReplyWindowClosed => "reply_window_closed",
    /// The STOP was confirmed already.
    AlreadyConfirmed => "already_confirmed",
    /// A variable without value or fallback.
    MissingVariable => "missing_variable",
    /// The text is longer than the channel takes.
    ContentTooLong => "content_too_long",
    /// The text is empty or could not be made.
    ContentBroken => "content_broken",
    /// Free text outside WhatsApp's 24 hours.
    OutsideWhatsappWindow => "outside_whatsapp_window",
    /// WhatsApp delivers no marketing to US numbers (63049).
    WhatsappUsMarketing => "whatsapp_us_marketing",
    /// The Content template is not approved, or was paused, disabled or deleted.
    TemplateNotApproved => "template_not_approved",
    /// The number fits too many time zones to leave two hours a day.
    ZoneTooWide => "zone_too_wide",
    /// The campaign's hour has not come where the person is.
    LocalTime => "local_time",
    /// It is night where the person is, or another hour at which nobody is written to.
    QuietHours => "quiet_hours",
    /// The sender has written to as many people as it may in 24 hours.
    DailyLimit => "daily_limit",
    /// The person has had enough marketing for now.
    FrequencyCap => "frequency_cap",
    /// What may be spent on a day is spent. No step of the gate: it is about all messages, not this person.
    SpendingCap => "spending_cap",
    /// A cap on spending is in force, and nobody knows what this message costs.
    PriceUnknown => "price_unknown",
}

/// One question that the gate asks, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Is there somewhere to send to, and may that address be used at all?
    Address,
    /// Does the person's consent cover this kind?
    Consent,
    /// Do they want this topic?
    Topic,
    /// Has an operator to decide first?
    Hold,
    /// Is the number alive?
    Reachable,
    /// Is there still time?
    Deadline,
    /// Is there a text for this person?
    Content,
    /// Does WhatsApp take it?
    Whatsapp,
    /// Has the person room for one more?
    FrequencyCap,
    /// Is it the hour?
    Hours,
    /// May the sender write to one more person today?
    DailyLimit,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 11] = [
        Step::Address,
        Step::Consent,
        Step::Topic,
        Step::Hold,
        Step::Reachable,
        Step::Deadline,
        Step::Content,
        Step::Whatsapp,
        Step::FrequencyCap,
        Step::Hours,
        Step::DailyLimit,
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Address => "address",
            Step::Consent => "consent",
            Step::Topic => "topic",
            Step::Hold => "hold",
            Step::Reachable => "reachable",
            Step::Deadline => "deadline",
            Step::Content => "content",
            Step::Whatsapp => "whatsapp",
            Step::FrequencyCap => "frequency_cap",
            Step::Hours => "hours",
            Step::DailyLimit => "daily_limit",
        }
    }
}

/// The first step that does not say `Send` decides; the hours tell when sending ends.
pub fn gate(facts: &Facts, now: i64) -> Verdict {
    let mut closes_at = None;
    for step in Step::ALL {
        match check(step, facts, now) {
            Verdict::Send { closes_at: end } => closes_at = closes_at.or(end),
            Verdict::Defer { until, reason, .. } if facts.expires_at.is_some_and(|end| until >= end) => {
                return Verdict::Expire(reason);
            }
            verdict => return verdict,
        }
    }
    Verdict::Send { closes_at }
}

/// What one step says by itself.
pub fn check(step: Step, facts: &Facts, now: i64) -> Verdict {
    let refused = match step {
        Step::Address => address(facts),
        Step::Consent => consent(facts, now),
        Step::Topic => topic(facts),
        Step::Hold => (facts.kind == Kind::Marketing && facts.is_held).then_some(Reason::Held),
        Step::Reachable => (!facts.is_reachable).then_some(Reason::Unreachable),
        Step::Deadline => {
            if facts.expires_at.is_some_and(|end| now >= end) {
                return Verdict::Expire(Reason::Deadline);
            }
            None
        }
        Step::Content => match &facts.content {
            Content::Ready { .. } => None,
            Content::Missing(_) => Some(Reason::MissingVariable),
            Content::TooLong => Some(Reason::ContentTooLong),
            Content::Broken => Some(Reason::ContentBroken),
        },
        Step::Whatsapp => whatsapp(facts, now),
        Step::FrequencyCap => return frequency_cap(facts, now),
        Step::Hours => return hours(facts, now),
        Step::DailyLimit => return daily_limit(facts, now),
    };
    refused.map_or(Verdict::Send { closes_at: None }, Verdict::Skip)
}

fn address(facts: &Facts) -> Option<Reason> {
    if !facts.has_address {
        Some(Reason::NoAddress)
    } else if facts.is_suppressed {
        Some(Reason::Suppressed)
    } else {
        None
    }
}

/// The table of kinds and consents.
fn consent(facts: &Facts, now: i64) -> Option<Reason> {
    match (facts.kind, facts.consent) {
        (Kind::Confirmation, Consent::Stop) => facts.is_confirmed.then_some(Reason::AlreadyConfirmed),
        (Kind::Confirmation, _) => Some(Reason::AlreadyConfirmed),
        (_, Consent::Stop) => Some(Reason::Stop),
        (Kind::Marketing, Consent::Unknown) => Some(Reason::ConsentUnknown),
        (Kind::Marketing, Consent::OptOut) => Some(Reason::OptedOut),
        (Kind::Reply, _) => {
            let is_answered = facts.last_inbound_at.is_some_and(|at| now - at < REPLY_WINDOW);
            (!is_answered).then_some(Reason::ReplyWindowClosed)
        }
        (Kind::Marketing, Consent::OptIn) | (Kind::Transactional, _) => None,
    }
}

fn topic(facts: &Facts) -> Option<Reason> {
    let is_wanted = match facts.membership {
        Membership::NoTopic | Membership::Subscribed => true,
        Membership::OpenToOptedIn => facts.consent == Consent::OptIn,
        Membership::Unsubscribed | Membership::NotJoined => false,
    };
    (facts.kind == Kind::Marketing && !is_wanted).then_some(Reason::NotSubscribed)
}

/// Free text only within 24 hours of the person's last WhatsApp message
/// (<https://www.twilio.com/docs/api/errors/63016>); no marketing template to US numbers since
/// 2025-04-01 (<https://www.twilio.com/docs/api/errors/63049>). A template that is not approved is free text; one
/// that was paused or disabled goes to nobody (<https://www.twilio.com/docs/api/errors/63041>).
fn whatsapp(facts: &Facts, now: i64) -> Option<Reason> {
    if facts.channel != Channel::Whatsapp {
        return None;
    }
    let is_window_open = facts.last_whatsapp_inbound_at.is_some_and(|at| now - at < REPLY_WINDOW);
    let is_free_answer = is_window_open && !facts.has_content_template;
    let is_marketing = facts.kind == Kind::Marketing || facts.is_marketing_template;
    if facts.has_content_template && facts.template_standing == Standing::Withdrawn {
        Some(Reason::TemplateNotApproved)
    } else if facts.is_us_number && is_marketing && !is_free_answer {
        Some(Reason::WhatsappUsMarketing)
    } else if facts.has_content_template && facts.template_standing == Standing::Unapproved && !is_window_open
    {
        Some(Reason::TemplateNotApproved)
    } else if !facts.has_content_template && !is_window_open {
        Some(Reason::OutsideWhatsappWindow)
    } else {
        None
    }
}

fn frequency_cap(facts: &Facts, now: i64) -> Verdict {
    match facts.frequency_cap_until {
        Some(until) if facts.kind == Kind::Marketing && until > now => {
            Verdict::Defer { until, reason: Reason::FrequencyCap, closes_at: None }
        }
        _ => Verdict::Send { closes_at: None },
    }
}

fn hours(facts: &Facts, now: i64) -> Verdict {
    if matches!(facts.kind, Kind::Reply | Kind::Confirmation) {
        return Verdict::Send { closes_at: None };
    }
    if facts.hours == Some(Decision::ZoneTooWide) {
        return Verdict::Skip(Reason::ZoneTooWide);
    }
    if let Some(until) = facts.not_before.filter(|until| *until > now) {
        return Verdict::Defer { until, reason: Reason::LocalTime, closes_at: None };
    }
    match facts.hours {
        Some(Decision::Wait { until, closes_at }) => {
            Verdict::Defer { until, reason: Reason::QuietHours, closes_at: Some(closes_at) }
        }
        Some(Decision::Open { closes_at }) => Verdict::Send { closes_at: Some(closes_at) },
        Some(Decision::ZoneTooWide) | None => Verdict::Send { closes_at: None },
    }
}

fn daily_limit(facts: &Facts, now: i64) -> Verdict {
    match facts.daily_limit_until {
        Some(until) if until > now && facts.kind != Kind::Reply => {
            Verdict::Defer { until, reason: Reason::DailyLimit, closes_at: None }
        }
        _ => Verdict::Send { closes_at: None },
    }
}

#[cfg(test)]
mod tests;
