//! The sections of settings that are plain forms: which keys stand where, and how they are called.

use super::fields::{Field, Kind};

/// A heading with its fields.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) fields: &'static [Field],
}

/// A page of its own.
pub(super) struct Section {
    /// Below `/admin/settings`.
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) groups: &'static [Group],
}

const fn field(key: &'static str, label: &'static str, kind: Kind, help: &'static str) -> Field {
    Field { key, label, help, kind }
}

/// Who we are at Twilio.
pub(super) const ACCOUNT: &[Field] = &[
    field(
        "twilio.account_sid",
        "Account SID",
        Kind::Text,
        "AC and 32 digits, from the first page of the Twilio console.",
    ),
    field(
        "twilio.auth_token",
        "Auth token",
        Kind::Secret,
        "Beside it. It also checks that webhooks come from Twilio.",
    ),
];
/// What few need.
pub(super) const ACCOUNT_MORE: &[Field] = &[
    field(
        "twilio.api_key_sid",
        "API key SID",
        Kind::Text,
        "SK…, to send with instead of the token. It has to be allowed to read messages too.",
    ),
    field(
        "twilio.api_key_secret",
        "API key secret",
        Kind::Secret,
        "Twilio shows it once, when the key is made.",
    ),
    field(
        "twilio.auth_token_secondary",
        "Secondary auth token",
        Kind::Secret,
        "While a token is being rotated: the other one, accepted for signatures.",
    ),
    field(
        "twilio.api_base",
        "Messages API",
        Kind::Text,
        "Another region of Twilio, or a simulator on this machine. Give the token again with it.",
    ),
    field("twilio.content_base", "Content API", Kind::Text, "Templates for WhatsApp and their approval."),
    field(
        "twilio.content_sync_minutes",
        "Look at templates every … minutes",
        Kind::Whole,
        "0: only when asked.",
    ),
    field(
        "twilio.request_timeout_seconds",
        "Wait for an answer, seconds",
        Kind::Whole,
        "1 to 60. After it nobody knows whether Twilio took the message, so it is looked for.",
    ),
];
/// Where Twilio reaches us.
pub(super) const PUBLIC_URL: &[Field] = &[field(
    "server.public_base_url",
    "Public URL",
    Kind::Text,
    "The https address under which Twilio reaches this server, such as https://messages.shop.example.",
)];

const POLICIES: &[(&str, &str)] =
    &[("resend", "Send it again, once Twilio's list was seen without it"), ("hold", "Hold it as uncertain")];

/// Every plain section, in the order of the list.
pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "keywords",
        title: "Keywords and answers",
        lead: "Words that people send, beside those of many languages that are built in, and what they are answered. \
               A word counts when it is the whole message.",
        groups: &[
            Group {
                title: "Words of your own",
                lead: "One to a line.",
                fields: &[
                    field("keywords.stop", "STOP: no more messages at all", Kind::Lines, ""),
                    field("keywords.start", "START: subscribe again, from any state", Kind::Lines, ""),
                    field("keywords.yes", "YES: subscribe again after STOP", Kind::Lines, ""),
                    field("keywords.help", "HELP", Kind::Lines, ""),
                    field("keywords.subscribe", "In front of a topic to subscribe to it", Kind::Lines, ""),
                    field("keywords.unsubscribe", "In front of a topic to leave it", Kind::Lines, ""),
                    field(
                        "keywords.revocation",
                        "Anywhere in a message: for review",
                        Kind::Lines,
                        "Puts the message before an operator as a possible opt-out.",
                    ),
                ],
            },
            Group {
                title: "Answers",
                lead: "Empty: nothing is answered.",
                fields: &[
                    field("replies.stop", "After STOP", Kind::Words, ""),
                    field("replies.start", "After START", Kind::Words, ""),
                    field("replies.help", "After HELP", Kind::Words, ""),
                    field(
                        "replies.subscribe",
                        "After subscribing to a topic",
                        Kind::Words,
                        "{topic} is its name.",
                    ),
                    field(
                        "replies.unsubscribe",
                        "After leaving a topic",
                        Kind::Words,
                        "{topic} is its name.",
                    ),
                    field(
                        "replies.twilio_answers_sms_keywords",
                        "Twilio answers STOP and START on SMS itself",
                        Kind::Switch,
                        "Switch it off where that was switched off at Twilio, as for short codes.",
                    ),
                ],
            },
        ],
    },
    Section {
        path: "first-message",
        title: "First message",
        lead: "The first marketing message to a person says who writes and how to end it: laws and carriers ask for both.",
        groups: &[Group {
            title: "Added to the text",
            lead: "Nothing is added that the text says already, and nothing to a Content template.",
            fields: &[
                field("first_message.enabled", "Add it", Kind::Switch, ""),
                field(
                    "first_message.sender_name",
                    "Who writes",
                    Kind::Text,
                    "Stands in front, as \"Acme: …\". Empty for templates that name the sender themselves.",
                ),
                field(
                    "first_message.opt_out_line",
                    "How to end it",
                    Kind::Text,
                    "Stands behind the text, on a line of its own.",
                ),
            ],
        }],
    },
    Section {
        path: "prices",
        title: "Prices and caps",
        lead: "What messages cost, and how much may go out. What has no price is unknown: it is never counted as free, \
               and where a cap is in force it is not sent.",
        groups: &[
            Group {
                title: "Caps",
                lead: "",
                fields: &[
                    field(
                        "spending.cap_per_day",
                        "Spend at most, a UTC day",
                        Kind::Decimal,
                        "In the currency below. Marketing beyond it waits for the next day. 0: no cap.",
                    ),
                    field(
                        "frequency_cap.messages",
                        "Marketing messages to one person, at most",
                        Kind::Whole,
                        "Over all campaigns. 0: no cap.",
                    ),
                    field("frequency_cap.hours", "… within so many hours", Kind::Decimal, ""),
                ],
            },
            Group {
                title: "Price table",
                lead: "From your contract or Twilio's price list. One line for each country, calling prefix (the longest \
                       that fits counts first), or * for everywhere else: US = 0.0083.",
                fields: &[
                    field(
                        "prices.currency",
                        "Currency",
                        Kind::Text,
                        "In which Twilio bills the account, such as USD.",
                    ),
                    field("prices.sms", "SMS, by part", Kind::Entries, ""),
                    field("prices.mms", "MMS, by message", Kind::Entries, ""),
                    field(
                        "prices.whatsapp",
                        "WhatsApp, by message",
                        Kind::Entries,
                        "One price, or by category: DE = { marketing = 0.14, utility = 0.06, service = 0.005 }.",
                    ),
                ],
            },
        ],
    },
    Section {
        path: "delivery",
        title: "Delivery limits",
        lead: "How fast messages go out over all senders, and how often one is tried. Senders have their own pace.",
        groups: &[
            Group {
                title: "Pace",
                lead: "",
                fields: &[
                    field(
                        "delivery.account_rate_per_second",
                        "SMS parts a second, over all senders",
                        Kind::Decimal,
                        "",
                    ),
                    field(
                        "delivery.max_in_flight",
                        "Requests to Twilio at the same time",
                        Kind::Whole,
                        "At most; the engine finds its own ceiling below it.",
                    ),
                ],
            },
            Group {
                title: "Patience",
                lead: "",
                fields: &[
                    field("delivery.max_attempts", "Hand a message over at most … times", Kind::Whole, ""),
                    field(
                        "delivery.unreachable_after",
                        "Set a number unreachable after … failures in a row",
                        Kind::Whole,
                        "Of messages that failed because the phone could not be reached. 0: never.",
                    ),
                    field(
                        "delivery.uncertain_after_seconds",
                        "Look for a lost answer, seconds",
                        Kind::Whole,
                        "How long Twilio's list is searched before the next line decides.",
                    ),
                    field(
                        "delivery.uncertain_policy",
                        "What the list does not show",
                        Kind::Choice(POLICIES),
                        "",
                    ),
                ],
            },
        ],
    },
    Section {
        path: "retention",
        title: "Retention",
        lead: "How long what is kept about people is kept, in days. 0: for good. The consent record stays in any case.",
        groups: &[Group {
            title: "Days",
            lead: "",
            fields: &[
                field(
                    "retention.raw_webhooks_days",
                    "Raw webhooks",
                    Kind::Whole,
                    "They hold the words too: no longer than texts.",
                ),
                field("retention.bodies_days", "Texts of messages, both ways", Kind::Whole, ""),
                field(
                    "retention.events_days",
                    "Events",
                    Kind::Whole,
                    "At least 7. A consumer that is further behind is told so.",
                ),
                field("retention.import_issues_days", "Rejected rows of imports", Kind::Whole, ""),
                field(
                    "retention.trigger_data_days",
                    "Data of business events",
                    Kind::Whole,
                    "Once nothing of it waits.",
                ),
                field("webhooks.log_days", "Log of outbound webhooks", Kind::Whole, ""),
            ],
        }],
    },
];

/// When somebody is told.
pub(super) const ALERTS: &[Field] = &[
    field(
        "alerts.backup_max_age_hours",
        "Tell when the last backup is older than … hours",
        Kind::Whole,
        "0: never.",
    ),
    field(
        "alerts.disk_free_mb",
        "Tell when less than … MB are free",
        Kind::Whole,
        "On the disk of the data file. 0: never.",
    ),
];

/// What a plain section at `path` is.
pub(super) fn find(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::web::admin::settings::fields::keys;

    #[test]
    fn every_field_is_a_key_of_the_configuration() {
        let keys = keys(&Config::load(None, []).unwrap());
        let plain = SECTIONS.iter().flat_map(|section| section.groups).flat_map(|group| group.fields);
        for field in plain.chain(ACCOUNT).chain(ACCOUNT_MORE).chain(PUBLIC_URL).chain(ALERTS) {
            let is_table = field.kind == Kind::Entries;
            assert!(is_table || keys.contains_key(field.key), "{}", field.key);
        }
    }
}
