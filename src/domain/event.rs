//! The closed list of things that happen. Each is a row in `events` with its reason in `data`.

macro_rules! event_types {
    ($($(#[doc = $doc:literal])+ $name:ident => $text:literal,)*) => {
        /// What happened. The texts are public: the event stream and outbound webhooks carry them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventType { $($(#[doc = $doc])+ $name,)* }

        impl EventType {
            /// Every type, in the order of the documentation.
            pub const ALL: &'static [EventType] = &[$(EventType::$name,)*];

            /// The public text, such as `message.sent`.
            pub fn as_str(self) -> &'static str {
                match self { $(EventType::$name => $text,)* }
            }

            /// What it tells, in a sentence or two: the documentation of the list.
            pub fn describe(self) -> &'static str {
                match self { $(EventType::$name => concat!($($doc),+).trim_ascii(),)* }
            }

            /// The type with this text.
            pub fn parse(text: &str) -> Option<EventType> {
                match text { $($text => Some(EventType::$name),)* _ => None }
            }
        }
    };
}

event_types! {
    /// A person was added, by whom.
    UserCreated => "user.created",
    /// Attributes, reachability or hold of a person changed; `data.changed` names what.
    UserUpdated => "user.updated",
    /// An operator did something to everybody who fits a filter; `data` holds action, filter, reason and how many.
    /// What changed for each person is told by an event of their own.
    PeopleChanged => "people.changed",
    /// A person's data was erased; the suppression stays.
    UserErased => "user.erased",
    /// A person's consent changed; `data` holds state, previous and source.
    ConsentChanged => "consent.changed",
    /// A person was put on hold for review, or taken off it.
    HoldChanged => "hold.changed",
    /// A person joined or left a topic.
    TopicChanged => "topic.changed",
    /// An address was put on the list of those never sent to, or taken off it.
    SuppressionChanged => "suppression.changed",
    /// A person wrote to us; `data.kind` says how it was understood.
    InboundReceived => "inbound.received",
    /// An operator answered, assigned, closed or reopened a conversation; `data.changed` says which.
    ConversationChanged => "conversation.changed",
    /// An import reached its end, well or not.
    ImportFinished => "import.finished",
    /// What an import changed about attributes was taken back; `data.restored` says for how many people.
    ImportUndone => "import.undone",
    /// A campaign began to freeze its audience and to send.
    CampaignLaunched => "campaign.launched",
    /// A campaign waits for its time.
    CampaignScheduled => "campaign.scheduled",
    /// A campaign stopped sending; `data.reason` says why.
    CampaignPaused => "campaign.paused",
    /// A campaign goes on.
    CampaignResumed => "campaign.resumed",
    /// A campaign was ended before everybody had their turn.
    CampaignCancelled => "campaign.cancelled",
    /// A campaign has no open message left.
    CampaignFinished => "campaign.finished",
    /// Failed messages of a campaign were queued again.
    CampaignRetried => "campaign.retried",
    /// The start of a campaign was missed; `data.policy` says what was done.
    CampaignMissed => "campaign.missed",
    /// A campaign's text was sent to a few numbers to look at.
    CampaignTested => "campaign.tested",
    /// The pace of a running campaign changed.
    CampaignRateChanged => "campaign.rate_changed",
    /// What a campaign may spend changed; `data.spend_cap`.
    CampaignSpendCapChanged => "campaign.spend_cap_changed",
    /// A business event came in; `data` holds its id, its type and how many messages it started at once.
    TriggerReceived => "trigger.received",
    /// A business event was taken back; `data` says by which other and how many messages that was at once.
    TriggerCancelled => "trigger.cancelled",
    /// A campaign did not start for a business event: its segment has more people than `max_recipients` allows.
    TriggerRefused => "trigger.refused",
    /// The gate let a message wait; `data` holds reason and until.
    MessageDeferred => "message.deferred",
    /// The gate refused a message for good; `data.reason`.
    MessageSkipped => "message.skipped",
    /// A queued message was taken back.
    MessageCancelled => "message.cancelled",
    /// A message's deadline passed before its turn, or Twilio gave it up as too late.
    MessageExpired => "message.expired",
    /// A claimed message was put back before its request began.
    MessageWithdrawn => "message.withdrawn",
    /// Twilio refused for now; it is tried again at `data.until`.
    MessageRetried => "message.retried",
    /// Twilio's answer was lost; nobody knows yet whether it will arrive.
    MessageUncertain => "message.uncertain",
    /// Twilio took the message.
    MessageAccepted => "message.accepted",
    /// The carrier took the message.
    MessageSent => "message.sent",
    /// The message reached the phone.
    MessageDelivered => "message.delivered",
    /// The person opened the message.
    MessageRead => "message.read",
    /// The message was refused or given up; `data.error_code`.
    MessageFailed => "message.failed",
    /// The carrier could not deliver; `data.error_code`.
    MessageUndelivered => "message.undelivered",
    /// A receipt carried a status that this release does not know; it is kept.
    ReceiptUnknown => "receipt.unknown",
    /// WhatsApp judged a content template anew, or it is gone at Twilio; `data` holds sid, status, previous and
    /// reason.
    ContentStatusChanged => "content.status_changed",
    /// A sender stopped, or goes on.
    SenderPaused => "sender.paused",
    /// A sender goes on.
    SenderResumed => "sender.resumed",
    /// Sending on the whole account stopped.
    AccountPaused => "account.paused",
    /// Sending on the account goes on.
    AccountResumed => "account.resumed",
    /// An operator, key, setting or webhook endpoint changed.
    AdminChanged => "admin.changed",
    /// An operator logged in; `data` holds who, from which address and by which second factor.
    AdminLogin => "admin.login",
    /// Somebody did not get in; `data.reason`, and `data.operator_id` if it was an account that there is.
    AdminLoginFailed => "admin.login_failed",
    /// An operator logged out.
    AdminLogout => "admin.logout",
    /// Somebody asked for a trial of the webhook endpoint `data.endpoint_id`. No other endpoint gets it.
    WebhookTested => "webhook.tested",
    /// Alert: a campaign has no open message left.
    AlertCampaignFinished => "alert.campaign_finished",
    /// Alert: a campaign paused by itself; `data.reason` is the line that mends it.
    AlertCampaignPaused => "alert.campaign_paused",
    /// Alert: a sender stopped; `data.reason` says why, `data.until` until when, if it ends by itself.
    AlertSenderPaused => "alert.sender_paused",
    /// Alert: sending on the whole account stopped; `data.reason`, `data.until` as for a sender.
    AlertAccountPaused => "alert.account_paused",
    /// Alert: a webhook endpoint has given nothing but failures for an hour, or missed events that are not
    /// kept any more; `data.endpoint_id`, `data.reason`.
    AlertWebhookFailing => "alert.webhook_failing",
    /// Alert: a webhook endpoint was disabled by itself; `data.endpoint_id`, `data.reason`.
    AlertWebhookDisabled => "alert.webhook_disabled",
    /// Alert: little room is left on the disk of the data file; `data.free_mb`. Told once until it is over.
    AlertDiskLow => "alert.disk_low",
    /// Alert: the last backup is too old, or there is none; `data.age_hours`. Told once until it is over.
    AlertBackupOld => "alert.backup_old",
}
