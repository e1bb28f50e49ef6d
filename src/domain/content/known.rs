//! What was last seen of a template at Twilio, and whether it may be sent.

/// How WhatsApp judges a template. Twilio's own words, from its Content API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approval {
    /// Nobody asked WhatsApp yet.
    Unsubmitted,
    /// Twilio has the request.
    Received,
    /// WhatsApp looks at it.
    Pending,
    /// May be sent to anybody who agreed.
    Approved,
    /// WhatsApp said no.
    Rejected,
    /// WhatsApp stopped it for a while, because people complained.
    Paused,
    /// WhatsApp stopped it for good.
    Disabled,
}

impl Approval {
    /// Every word.
    pub const ALL: [Approval; 7] = [
        Approval::Unsubmitted,
        Approval::Received,
        Approval::Pending,
        Approval::Approved,
        Approval::Rejected,
        Approval::Paused,
        Approval::Disabled,
    ];

    /// Twilio's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Approval::Unsubmitted => "unsubmitted",
            Approval::Received => "received",
            Approval::Pending => "pending",
            Approval::Approved => "approved",
            Approval::Rejected => "rejected",
            Approval::Paused => "paused",
            Approval::Disabled => "disabled",
        }
    }

    /// The judgement with this word; `None` for one that this release does not know.
    pub fn parse(word: &str) -> Option<Approval> {
        Approval::ALL.into_iter().find(|approval| approval.as_str() == word)
    }

    /// The judgement that an error at sending tells of
    /// (<https://www.twilio.com/docs/api/errors/63041> and its neighbours).
    pub fn of_error(code: i64) -> Option<Approval> {
        match code {
            63040 => Some(Approval::Rejected),
            63041 => Some(Approval::Paused),
            63042 => Some(Approval::Disabled),
            _ => None,
        }
    }

    /// True while a request for approval would be no use: it was made, or came through.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Approval::Received | Approval::Pending | Approval::Approved)
    }
}

/// What WhatsApp charges a template as. The category of the template counts at WhatsApp, whatever we call
/// the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// About something that the person did.
    Utility,
    /// Offers, news.
    Marketing,
    /// Codes to log in.
    Authentication,
}

impl Category {
    /// Every word of the API, in the order of the documentation.
    pub const WORDS: [&str; 3] = ["UTILITY", "MARKETING", "AUTHENTICATION"];

    /// Twilio's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Utility => "UTILITY",
            Category::Marketing => "MARKETING",
            Category::Authentication => "AUTHENTICATION",
        }
    }

    /// The category with this word. `TRANSACTIONAL` is an older word for the first.
    pub fn parse(word: &str) -> Option<Category> {
        match word {
            "UTILITY" | "TRANSACTIONAL" => Some(Category::Utility),
            "MARKETING" => Some(Category::Marketing),
            "AUTHENTICATION" => Some(Category::Authentication),
            _ => None,
        }
    }
}

/// What the gate asks about a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Never seen at Twilio, or judged by a word that we don't know: sent, and the first refusal stops it.
    #[default]
    Unknown,
    /// Approved.
    Approved,
    /// Not approved: goes as free text, within the 24 hours of the person's last message alone.
    Unapproved,
    /// Paused, disabled or deleted: goes to nobody.
    Withdrawn,
}

/// A template as it was last seen at Twilio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownContent {
    /// `HX…`.
    pub sid: String,
    /// Twilio's word; one that this release does not know is kept.
    pub status: String,
    /// Why WhatsApp said no.
    pub reason: Option<String>,
    /// Twilio's word.
    pub category: Option<String>,
    /// Names of its variables, with or without a sample.
    pub variables: Vec<String>,
    /// It is gone at Twilio.
    pub is_deleted: bool,
    /// When it was last seen, in milliseconds UTC.
    pub synced_at: Option<i64>,
}

/// Why a template can't be sent to everybody, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `HX…`.
    pub sid: String,
    /// Twilio's word, or `deleted`.
    pub status: String,
    /// WhatsApp's reason, if it gave one.
    pub reason: Option<String>,
    /// One sentence.
    pub what_to_do: &'static str,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The content template {} is {} at Twilio", self.sid, self.status)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        write!(f, ". {}", self.what_to_do)
    }
}

impl KnownContent {
    /// The judgement; `None` for a word that this release does not know.
    pub fn approval(&self) -> Option<Approval> {
        Approval::parse(&self.status)
    }

    /// What the gate asks.
    pub fn standing(&self) -> Standing {
        match self.approval() {
            _ if self.is_deleted => Standing::Withdrawn,
            None => Standing::Unknown,
            Some(Approval::Approved) => Standing::Approved,
            Some(Approval::Paused | Approval::Disabled) => Standing::Withdrawn,
            Some(_) => Standing::Unapproved,
        }
    }

    /// True when WhatsApp counts it as marketing.
    pub fn is_marketing(&self) -> bool {
        self.category.as_deref().and_then(Category::parse) == Some(Category::Marketing)
    }

    /// A warning for variables that nobody fills: Twilio sends their sample instead.
    pub fn unfilled<'a>(&self, given: impl Iterator<Item = &'a String>) -> Option<String> {
        let given: Vec<&String> = given.collect();
        let left: Vec<&str> =
            self.variables.iter().filter(|name| !given.contains(name)).map(String::as_str).collect();
        (!left.is_empty()).then(|| {
            format!("Twilio sends its sample for what content_variables leaves out: {}", left.join(", "))
        })
    }

    /// Why no campaign may be sent with it, if so.
    pub fn refusal(&self) -> Option<Refusal> {
        let what_to_do = match self.approval() {
            _ if self.is_deleted => "Use another one, or create it anew and submit it.",
            None | Some(Approval::Approved) => return None,
            Some(Approval::Unsubmitted) => "Submit it for approval and wait for WhatsApp's answer.",
            Some(Approval::Received | Approval::Pending) => {
                "Wait for WhatsApp's answer; it mostly takes minutes, at most two days."
            }
            Some(Approval::Rejected) => "Change the text and submit it as a new one.",
            Some(Approval::Paused) => {
                "WhatsApp pauses what people complain about. Wait until it is approved again, or use another one."
            }
            Some(Approval::Disabled) => "WhatsApp disabled it for good. Use another one.",
        };
        let status = if self.is_deleted { "deleted".to_owned() } else { self.status.clone() };
        let reason = self.reason.clone().filter(|reason| !reason.is_empty());
        Some(Refusal { sid: self.sid.clone(), status, reason, what_to_do })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(status: &str) -> KnownContent {
        KnownContent {
            sid: "HX1".to_owned(),
            status: status.to_owned(),
            reason: None,
            category: None,
            variables: Vec::new(),
            is_deleted: false,
            synced_at: None,
        }
    }

    #[test]
    fn every_word_has_its_standing_and_only_approved_and_unknown_words_are_launched() {
        let table = [
            ("unsubmitted", Standing::Unapproved, true),
            ("received", Standing::Unapproved, true),
            ("pending", Standing::Unapproved, true),
            ("approved", Standing::Approved, false),
            ("rejected", Standing::Unapproved, true),
            ("paused", Standing::Withdrawn, true),
            ("disabled", Standing::Withdrawn, true),
            ("in_appeal", Standing::Unknown, false),
        ];
        for (word, standing, is_refused) in table {
            assert_eq!(known(word).standing(), standing, "{word}");
            assert_eq!(known(word).refusal().is_some(), is_refused, "{word}");
            let gone = KnownContent { is_deleted: true, ..known(word) };
            assert_eq!(gone.standing(), Standing::Withdrawn, "{word}");
            assert_eq!(gone.refusal().unwrap().status, "deleted", "{word}");
        }
        for approval in Approval::ALL {
            assert_eq!(Approval::parse(approval.as_str()), Some(approval));
        }
    }

    #[test]
    fn a_refusal_says_status_reason_and_what_to_do() {
        let rejected = KnownContent { reason: Some("INVALID_FORMAT".to_owned()), ..known("rejected") }
            .refusal()
            .unwrap();
        let text = rejected.to_string();
        for part in ["HX1 is rejected at Twilio", "(INVALID_FORMAT)", "Change the text"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn errors_at_sending_tell_of_the_judgement() {
        let told = [63040, 63041, 63042, 63016].map(Approval::of_error);
        let expected = [Some(Approval::Rejected), Some(Approval::Paused), Some(Approval::Disabled), None];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_older_word_for_utility_is_known() {
        assert_eq!(Category::parse("TRANSACTIONAL"), Some(Category::Utility));
        for word in Category::WORDS {
            assert_eq!(Category::parse(word).unwrap().as_str(), word);
        }
        assert_eq!(Category::parse("marketing"), None);
    }
}
