//! A plan: what a campaign or a single message wants to say, ready to be judged for any person.
//!
//! The one road from a person to the gate. Whoever sends and whoever explains goes along it.

mod closings;
mod introduction;
mod places;
mod timetable;
mod timing;

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::consent::Consent;
use super::content::{KnownContent, Standing};
use super::encoding;
use super::frequency::Recent;
use super::gate::{Content, Facts, Membership};
use super::message::Kind;
use super::phone::{Address, Channel, Phone};
use super::quiet_hours::{Policy, Presets, Whereabouts};
use super::template::{ContentVariables, RenderError, Template};

pub use closings::Closings;
pub use introduction::Introduction;
pub use timetable::{Hours, PlaceNumber, Timetable};
pub use timing::Timing;

/// Characters that Twilio takes in one body (<https://www.twilio.com/docs/api/errors/21617>).
pub const MAX_BODY: usize = 1_600;

/// A topic as the gate needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// Everybody who opted in is in until they leave.
    pub is_open_to_opted_in: bool,
}

/// What is said.
#[derive(Debug)]
pub enum Text {
    /// The same words for everybody.
    Literal {
        /// The words.
        body: String,
        /// Attachments.
        media_urls: Vec<String>,
    },
    /// Words with placeholders.
    Template {
        /// The words.
        body: Template,
        /// Attachments.
        media_urls: Vec<String>,
        /// A Content template and its variables.
        content: Option<(String, ContentVariables)>,
        /// What is known of that template at Twilio.
        known: Option<Box<KnownContent>>,
    },
}

/// What is wanted, the same for everybody.
#[derive(Debug)]
pub struct Plan {
    /// Why.
    pub kind: Kind,
    /// Over which channel.
    pub channel: Channel,
    /// About what.
    pub topic: Option<TopicRule>,
    /// The words, shared by all who say them.
    pub text: Arc<Text>,
    /// When not.
    pub policy: Policy,
    /// The campaign's own zone: decides where the number does not.
    pub zone: Option<TimeZone>,
    /// Not before this civil time where the person is.
    pub local_start: Option<DateTime>,
}

/// A person as the gate needs them.
#[derive(Clone, Debug)]
pub struct Person {
    /// E.164.
    pub phone: Option<Phone>,
    /// Address of somebody without a number: `whatsapp:US.1349…`.
    pub channel_address: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// May we write of our own accord.
    pub consent: Consent,
    /// On hold for review.
    pub is_held: bool,
    /// The number works as far as we know.
    pub is_reachable: bool,
    /// Never to be sent to.
    pub is_suppressed: bool,
    /// Free-form facts.
    pub attributes: Map<String, Value>,
    /// Last message from the person.
    pub last_inbound_at: Option<i64>,
    /// The same over WhatsApp.
    pub last_whatsapp_inbound_at: Option<i64>,
    /// Joined (true) or left (false) the topic; `None`: neither.
    pub is_subscribed: Option<bool>,
    /// The marketing message that was their first, if one was handed over.
    pub first_marketing_id: Option<i64>,
    /// The last ones, as far as they are kept; a loader completes them.
    pub recent_marketing: Recent,
}

/// What holds for this one message at this moment.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Variables beside the person's attributes: a single message's, or a trigger's data.
    pub variables: Map<String, Value>,
    /// The deadline.
    pub expires_at: Option<i64>,
    /// The sender's daily limit is used up until then.
    pub daily_limit_until: Option<i64>,
    /// The person has had enough marketing until then.
    pub frequency_cap_until: Option<i64>,
    /// It would be the first marketing message to the person: what it says beside its text.
    pub introduction: Option<Arc<Introduction>>,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Wire address of the person.
    pub to: String,
    /// The text, also kept where a Content template is sent.
    pub body: String,
    /// SMS parts; 1 on WhatsApp.
    pub parts: u32,
    /// `HX…` and its variables.
    pub content: Option<(String, String)>,
    /// Attachments.
    pub media_urls: Vec<String>,
    /// It says what a first message has to say, added or in words of its own. What a Content template lacks it
    /// lacks: it goes out as it was approved.
    pub is_introducing: bool,
}

impl Plan {
    /// Gathers what the gate asks about, and renders the text. `now` is milliseconds UTC.
    pub fn judge(
        &self,
        person: &Person,
        circumstances: &Circumstances,
        presets: &Presets,
        now: i64,
    ) -> (Facts, Option<Rendered>) {
        let hours = self.timing(presets).hours(&person.whereabouts(), now);
        self.judge_within(person, circumstances, hours)
    }

    /// The same for whoever knows already what the person's hours say.
    pub fn judge_within(
        &self,
        person: &Person,
        circumstances: &Circumstances,
        hours: Hours,
    ) -> (Facts, Option<Rendered>) {
        let address = self.address(person);
        let (content, rendered) = self.content(person, circumstances, address.as_deref());
        let facts = Facts {
            kind: self.kind,
            channel: self.channel,
            consent: person.consent,
            has_address: address.is_some(),
            is_suppressed: person.is_suppressed,
            is_held: person.is_held,
            is_reachable: person.is_reachable,
            membership: self.membership(person),
            expires_at: circumstances.expires_at,
            content,
            last_inbound_at: person.last_inbound_at,
            last_whatsapp_inbound_at: person.last_whatsapp_inbound_at,
            has_content_template: matches!(&*self.text, Text::Template { content: Some(_), .. }),
            template_standing: self.known().map_or(Standing::Unknown, KnownContent::standing),
            is_marketing_template: self.known().is_some_and(KnownContent::is_marketing),
            is_us_number: person.country.as_deref() == Some("US"),
            not_before: hours.not_before,
            hours: hours.decision,
            daily_limit_until: circumstances.daily_limit_until,
            frequency_cap_until: circumstances.frequency_cap_until,
            is_confirmed: false,
        };
        (facts, rendered)
    }

    /// What is known of its Content template.
    fn known(&self) -> Option<&KnownContent> {
        match &*self.text {
            Text::Template { known, .. } => known.as_deref(),
            Text::Literal { .. } => None,
        }
    }

    fn address(&self, person: &Person) -> Option<String> {
        match (&person.phone, self.channel) {
            (Some(phone), channel) => Some(Address::of(channel, phone).wire()),
            (None, Channel::Whatsapp) => person.channel_address.clone(),
            (None, Channel::Sms) => None,
        }
    }

    fn membership(&self, person: &Person) -> Membership {
        match (self.topic, person.is_subscribed) {
            (None, _) => Membership::NoTopic,
            (Some(_), Some(true)) => Membership::Subscribed,
            (Some(_), Some(false)) => Membership::Unsubscribed,
            (Some(topic), None) if topic.is_open_to_opted_in => Membership::OpenToOptedIn,
            (Some(_), None) => Membership::NotJoined,
        }
    }

    fn content(
        &self,
        person: &Person,
        circumstances: &Circumstances,
        address: Option<&str>,
    ) -> (Content, Option<Rendered>) {
        let to = address.unwrap_or_default().to_owned();
        let (body, content, media_urls) = match &*self.text {
            Text::Literal { body, media_urls } => (Ok(body.clone()), Ok(None), media_urls),
            Text::Template { body, media_urls, content, .. } => {
                let context = context(person, circumstances);
                let variables = match content {
                    Some((sid, variables)) => {
                        variables.render(&context).map(|variables| Some((sid.clone(), variables)))
                    }
                    None => Ok(None),
                };
                (body.render(&context), variables, media_urls)
            }
        };
        let (body, content) = match (body, content) {
            (Ok(body), Ok(content)) => (body, content),
            (Err(error), _) | (_, Err(error)) => return (refusal(error), None),
        };
        if body.trim().is_empty() && content.is_none() && media_urls.is_empty() {
            return (Content::Broken, None);
        }
        // A Content template goes out with the words that were approved.
        let whole = circumstances.introduction.as_deref().map(|introduction| introduction.around(&body));
        let (body, is_introducing) = match whole {
            Some(whole) if content.is_none() || whole == body => (whole, true),
            _ => (body, false),
        };
        if body.chars().count() > MAX_BODY {
            return (Content::TooLong, None);
        }
        let parts = match self.channel {
            Channel::Sms => encoding::count(&body).parts.max(1),
            Channel::Whatsapp => 1,
        };
        let media_urls = media_urls.clone();
        (Content::Ready { parts }, Some(Rendered { to, body, parts, content, media_urls, is_introducing }))
    }

    /// The part of it that says when.
    pub fn timing<'a>(&'a self, presets: &'a Presets) -> Timing<'a> {
        Timing {
            kind: self.kind,
            policy: &self.policy,
            zone: self.zone.as_ref(),
            local_start: self.local_start,
            presets,
        }
    }
}

impl Person {
    /// What hours ask about the person.
    pub fn whereabouts(&self) -> Whereabouts<'_> {
        let text = |name: &str| self.attributes.get(name).and_then(Value::as_str);
        Whereabouts {
            phone: self.phone.as_ref(),
            country: self.country.as_deref(),
            timezone: text("timezone"),
            state: text("state").or_else(|| text("region")),
        }
    }
}

/// Attributes, the number, and the message's own variables, which win.
fn context(person: &Person, circumstances: &Circumstances) -> Map<String, Value> {
    let mut context = person.attributes.clone();
    if let Some(phone) = &person.phone {
        context.insert("phone".to_owned(), Value::String(phone.as_str().to_owned()));
    }
    context.extend(circumstances.variables.clone());
    context
}

fn refusal(error: RenderError) -> Content {
    match error {
        RenderError::Missing(variables) => Content::Missing(variables),
        RenderError::TooLong => Content::TooLong,
        RenderError::Failed(_) => Content::Broken,
    }
}

#[cfg(test)]
mod tests;
