//! People, their consent and their story.

use utoipa::{IntoParams, ToSchema};

use super::events::Event;
use super::messages::{Inbound, TimelineMessage};
use super::{Attributes, Phone, Time, shape, words};
use crate::domain::consent::Consent as State;

shape! {
    /// What a person said about being written to. Out of `stop` leads only their own START.
    Consent = words(State::ALL.map(State::as_str));
    /// `review`: they wrote something that may mean no; marketing waits until an operator decides.
    Hold = words(["review"]);
}

/// A person.
#[derive(Debug, ToSchema)]
pub struct User {
    /// Key; it may stand in paths instead of the number.
    #[schema(example = 17)]
    pub id: i64,
    /// Their number; null for one who came through an address without a number.
    pub phone: Option<Phone>,
    /// ISO 3166 alpha-2, by the number.
    #[schema(example = "US")]
    pub country: Option<String>,
    /// What they said about being written to.
    pub consent: Consent,
    /// False once the number failed for good.
    #[schema(example = true)]
    pub reachable: bool,
    /// Why marketing waits.
    pub hold: Option<Hold>,
    /// What is known of them.
    pub attributes: Attributes,
    /// Topics to which they belong now.
    #[schema(example = json!(["general"]))]
    pub topics: Vec<String>,
    /// When they were added.
    pub created_at: Time,
    /// When anything of this last changed.
    pub updated_at: Time,
    /// When they last wrote to us.
    pub last_inbound_at: Option<Time>,
}

/// A person to be.
#[derive(Debug, ToSchema)]
pub struct NewUser {
    /// A number with its country code, or as it is written in `default_region`.
    #[schema(example = "+14155550101", max_length = 100)]
    pub phone: String,
    /// ISO 3166 alpha-2: the country of a number without a country code.
    #[schema(example = json!(null), max_length = 2)]
    pub default_region: Option<String>,
    /// What is known of them.
    pub attributes: Option<Attributes>,
    /// What they said; `unknown` if left out.
    pub consent: Option<ConsentWish>,
    /// Topics that they join.
    #[schema(example = json!(["general"]), max_items = 100)]
    pub topics: Option<Vec<String>>,
}

/// A consent: the state alone, or with where it comes from.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"state": "opt_in", "source": "paper form", "evidence": "Form 12, signed"}))]
#[serde(untagged)]
pub enum ConsentWish {
    /// The state alone.
    State(Consent),
    /// With where it comes from.
    Told(NewConsent),
}

/// What changes of a person; what is left out stays.
#[derive(Debug, ToSchema)]
pub struct UserPatch {
    /// A merge patch (RFC 7396): null takes an attribute away.
    pub attributes: Option<Attributes>,
    /// 409 for one who said STOP.
    pub consent: Option<ConsentWish>,
    /// Null takes the hold away.
    pub hold: Option<Hold>,
    /// Only true: a dead number is found out by sending.
    #[schema(example = true)]
    pub reachable: Option<bool>,
}

/// A consent that you tell of.
#[derive(Debug, ToSchema)]
pub struct NewConsent {
    /// The state from now on.
    pub state: Consent,
    /// Where it comes from; `api` if left out.
    #[schema(example = "paper form", max_length = 100)]
    pub source: Option<String>,
    /// The words or the document that show it.
    #[schema(example = "Form 12, signed", max_length = 4000)]
    pub evidence: Option<String>,
    /// When the person said so, if it was earlier.
    pub obtained_at: Option<Time>,
}

/// A row of the ledger of consent.
#[derive(Debug, ToSchema)]
pub struct ConsentEntry {
    /// In order of recording.
    pub id: i64,
    /// The state after.
    pub state: Consent,
    /// The state before.
    pub previous: Consent,
    /// Where it came from.
    #[schema(example = "paper form")]
    pub source: String,
    /// Who recorded it.
    #[schema(example = "key:1")]
    pub actor: String,
    /// What shows it; null once it was erased.
    #[schema(example = "Form 12, signed")]
    pub evidence: Option<String>,
    /// When the person said so, if that was told.
    pub obtained_at: Option<Time>,
    /// When it was recorded.
    pub at: Time,
}

/// The filters of people.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserFilters {
    /// Of this consent.
    pub consent: Option<Consent>,
    /// Who belong to this topic.
    pub topic: Option<String>,
    /// ISO 3166 alpha-2.
    pub country: Option<String>,
    /// Part of a number, or of the attribute `name`.
    pub q: Option<String>,
    /// Who are in this segment.
    #[param(minimum = 0)]
    pub segment_id: Option<i64>,
}

/// One thing that happened with a person.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"at": "2026-11-23T09:30:00Z", "type": "consent", "data": {
    "id": 1, "state": "opt_in", "previous": "unknown", "source": "paper form", "actor": "key:1",
    "evidence": "Form 12, signed", "obtained_at": null, "at": "2026-11-23T09:30:00Z"}}))]
pub struct TimelineEntry {
    /// When.
    pub at: Time,
    /// What `data` is.
    pub r#type: TimelineKind,
    /// The thing itself.
    pub data: TimelineData,
}

shape! {
    /// What an entry of the timeline is about.
    TimelineKind = words(["message", "inbound", "consent", "event"]);
}

/// A message, an answer, a change of consent, or another event.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum TimelineData {
    /// A message to the person, with what happened to it.
    Message(Box<TimelineMessage>),
    /// What the person wrote.
    Inbound(Inbound),
    /// A change of their consent.
    Consent(ConsentEntry),
    /// Something else.
    Event(Event),
}
