//! What needs somebody, in words: what it is, since when, and the one thing to do about it.

use minijinja::{Value, context};

use super::format::{bytes, number};
use crate::clock::Millis;
use crate::store::reports::attention::{Attention, MOST_COUNTED};
use crate::store::{Gap, OpenGap};
use crate::web::State;

const MB: u64 = 1_000_000;
const HOUR: Millis = 3_600_000;
/// Imports are news for two days, in milliseconds.
pub(super) const NEWS: Millis = 48 * HOUR;
/// A look through Twilio's list that takes longer than this is told of, in milliseconds.
const LONG_LOOK: Millis = 60_000;

/// What is known beside the data file.
#[derive(Clone, Debug, Default)]
pub(super) struct Outside {
    pub(super) now: Millis,
    /// Why nothing can be sent.
    pub(super) problem: Option<String>,
    pub(super) gap: Option<OpenGap>,
    pub(super) free_bytes: Option<u64>,
    /// Bytes that should be free; 0: nobody cares.
    pub(super) least_free: u64,
    /// How old the last backup may be; 0: nobody cares.
    pub(super) oldest_backup: Millis,
}

impl Outside {
    /// As things stand.
    pub(super) fn of(state: &State) -> Outside {
        let alerts = state.config.get().alerts;
        Outside {
            now: state.store.clock().now(),
            problem: state.setup.get().problem.clone(),
            gap: state.store.gaps().open(),
            free_bytes: state.store.free_bytes(),
            least_free: alerts.disk_free_mb.saturating_mul(MB),
            oldest_backup: Millis::try_from(alerts.backup_max_age_hours).unwrap_or(0).saturating_mul(HOUR),
        }
    }

    /// Whether the disk is nearly full.
    pub(super) fn is_disk_low(&self) -> bool {
        self.free_bytes.is_some_and(|free| free < self.least_free)
    }

    /// Whether the last backup is too old, given when it was made, or the file.
    pub(super) fn is_backup_old(&self, last: Millis) -> bool {
        self.oldest_backup > 0 && self.now - last >= self.oldest_backup
    }
}

/// Something to look at.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) icon: &'static str,
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) since: Option<Millis>,
    pub(super) until: Option<Millis>,
    /// The one button: where to, its word, and what it says to who listens.
    pub(super) href: String,
    pub(super) action: &'static str,
}

impl Item {
    fn new(
        tone: &'static str,
        icon: &'static str,
        title: impl Into<String>,
        detail: impl Into<String>,
    ) -> Item {
        Item {
            icon,
            tone,
            title: title.into(),
            detail: detail.into(),
            since: None,
            until: None,
            href: "/admin/monitoring".to_owned(),
            action: "Look",
        }
    }

    fn leads(self, href: impl Into<String>, action: &'static str) -> Item {
        Item { href: href.into(), action, ..self }
    }

    fn between(self, since: Option<Millis>, until: Option<Millis>) -> Item {
        Item { since, until, ..self }
    }

    /// For a template.
    pub(super) fn value(&self) -> Value {
        context! {
            icon => self.icon,
            tone => self.tone,
            title => self.title.clone(),
            detail => self.detail.clone(),
            since => self.since,
            until => self.until,
            href => self.href.clone(),
            action => self.action,
            label => format!("{}: {}", self.action, self.title),
        }
    }
}

/// Everything that needs somebody, what stops all sending first.
pub(super) fn items(facts: &Attention, outside: &Outside) -> Vec<Item> {
    let mut items = Vec::new();
    stops_everything(facts, outside, &mut items);
    stops_some(facts, &mut items);
    waits(facts, outside, &mut items);
    store(facts, outside, &mut items);
    items
}

fn stops_everything(facts: &Attention, outside: &Outside, items: &mut Vec<Item>) {
    if let Some(since) = facts.held_since {
        let detail = "The file was restored from a copy. Nothing is sent until it is released.";
        let item = Item::new("bad", "shield", "Safe hold: nothing is sent", detail);
        items.push(item.leads("/admin/settings/backup", "Release").between(Some(since), None));
    }
    if let Some(problem) = &outside.problem {
        items.push(
            Item::new("warn", "settings", "Nothing can be sent yet", problem.clone())
                .leads("/admin/settings/setup", "Set up"),
        );
    }
    if let Some((reason, until)) = &facts.account {
        let item = Item::new("bad", "player-pause", "All sending stands still", reason.clone());
        items.push(item.leads("/admin/settings/senders", "Look").between(None, *until));
    }
    if let Some(gap) = &outside.gap
        && (gap.trouble.is_some() || outside.now - gap.since > LONG_LOOK)
    {
        let why = match gap.gap {
            Gap::Start => "The process was not there for a while.",
            Gap::Webhook => "A message from a person could not be kept.",
            Gap::Standstill => "The machine stood still.",
        };
        let trouble =
            gap.trouble.clone().unwrap_or_else(|| "Twilio’s list is being looked through.".to_owned());
        let detail = format!("{why} Marketing waits until missed messages were looked for. {trouble}");
        items.push(
            Item::new("warn", "history", "Messages from people may be missing", detail)
                .between(Some(gap.since), None),
        );
    }
}

fn stops_some(facts: &Attention, items: &mut Vec<Item>) {
    for sender in &facts.senders {
        let title = format!("Sender {} stands still", sender.address.trim_start_matches("whatsapp:"));
        let reason = sender.pause_reason.clone().unwrap_or_default();
        let item = Item::new("warn", "player-pause", title, reason);
        items.push(item.leads("/admin/settings/senders", "Look").between(None, sender.paused_until));
    }
    for campaign in &facts.campaigns {
        let title = format!("{} stands still", campaign.name);
        let item = Item::new("warn", "player-pause", title, campaign.reason.clone());
        let item = item.leads(format!("/admin/campaigns/{}", campaign.id), "Open");
        items.push(item.between(Some(campaign.since), campaign.until));
    }
    for endpoint in &facts.endpoints {
        let host = url::Url::parse(&endpoint.url).ok().and_then(|url| url.host_str().map(str::to_owned));
        let host = host.unwrap_or_else(|| "unknown".to_owned());
        let (title, detail) = match endpoint.is_enabled {
            true => (format!("Webhooks to {host} fail"), "They are tried again by themselves.".to_owned()),
            false => {
                (format!("Webhooks to {host} are switched off"), endpoint.reason.clone().unwrap_or_default())
            }
        };
        let item = Item::new("warn", "webhook", title, detail);
        let item = item.leads(format!("/admin/settings/webhook-endpoints/{}", endpoint.id), "Look");
        items.push(item.between(endpoint.since, None));
    }
}

fn waits(facts: &Attention, outside: &Outside, items: &mut Vec<Item>) {
    if facts.uncertain > 0 {
        let title = many(facts.uncertain, "message is uncertain", "messages are uncertain");
        let detail = match facts.next_look_at {
            Some(at) if at > outside.now => "Twilio’s answer was lost. It is looked for in Twilio’s list.",
            Some(_) => "Twilio’s answer was lost. It is being looked for in Twilio’s list.",
            None => "Twilio’s answer was lost and was not found. Nothing is sent again by itself.",
        };
        let item = Item::new("warn", "help-circle", title, detail);
        items.push(item.leads("/admin/monitoring/events?group=lost", "Look"));
    }
    if facts.reviews > 0 {
        let title = many(facts.reviews, "reply may be an opt-out", "replies may be opt-outs");
        let detail = "Marketing to these people is on hold until you decide.";
        items.push(Item::new("warn", "user-question", title, detail).leads("/admin/inbox/review", "Decide"));
    }
    if facts.unapplied > 0 {
        let title = many(facts.unapplied, "webhook could not be applied", "webhooks could not be applied");
        let detail = "What came is kept, and is tried again every minute.";
        items.push(Item::new("warn", "webhook", title, detail).leads("/admin/monitoring/webhooks", "Look"));
    }
    for import in &facts.imports {
        let (tone, title, detail) = match &import.error {
            Some(error) => ("bad", format!("The import of {} ended early", import.file_name), error.clone()),
            None => (
                "",
                many(import.rejected, "import row was rejected", "import rows were rejected"),
                format!("{}.", import.file_name),
            ),
        };
        let item = Item::new(tone, "file-import", title, detail);
        items
            .push(item.leads(format!("/admin/imports/{}", import.id), "Open").between(Some(import.at), None));
    }
}

fn store(facts: &Attention, outside: &Outside, items: &mut Vec<Item>) {
    if let Some(free) = outside.free_bytes.filter(|_| outside.is_disk_low()) {
        let title = format!("{} free on the disk", bytes(i64::try_from(free).unwrap_or(i64::MAX)));
        let detail = "When it is full, nothing can be kept: webhooks are refused and sending stops.";
        items.push(Item::new("bad", "database", title, detail));
    }
    if outside.is_backup_old(facts.last_backup_at.unwrap_or(facts.created_at)) {
        let title = match facts.last_backup_at {
            Some(_) => "The last backup is too old",
            None => "There is no backup yet",
        };
        let detail = "A backup stops nothing while it is made.";
        let item = Item::new("warn", "database", title, detail);
        items.push(item.leads("/admin/settings/backup", "Back up").between(facts.last_backup_at, None));
    }
}

/// A count with its noun; "more than 1,000" where counting ended.
fn many(n: i64, one: &str, several: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n if n > MOST_COUNTED => format!("More than {} {several}", number(MOST_COUNTED)),
        n => format!("{} {several}", number(n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reports::attention::{PausedCampaign, TroubledEndpoint, TroubledImport};

    fn quiet() -> (Attention, Outside) {
        let facts = Attention { last_backup_at: Some(1_000), ..Attention::default() };
        let outside = Outside {
            now: 2_000,
            free_bytes: Some(10_000 * MB),
            least_free: 500 * MB,
            oldest_backup: 48 * HOUR,
            ..Outside::default()
        };
        (facts, outside)
    }

    /// What is told when one thing is other than quiet.
    fn told(change: impl FnOnce(&mut Attention, &mut Outside)) -> Vec<String> {
        let (mut facts, mut outside) = quiet();
        change(&mut facts, &mut outside);
        items(&facts, &outside).into_iter().map(|item| item.title).collect()
    }

    #[test]
    fn all_quiet_is_nothing_to_tell() {
        assert!(told(|_, _| {}).is_empty());
    }

    #[test]
    fn each_trouble_is_told_once_and_in_words() {
        let endpoint = |is_enabled| TroubledEndpoint {
            id: 1,
            url: "https://hooks.example.com/secret-token".to_owned(),
            is_enabled,
            reason: Some("It is gone.".to_owned()),
            since: None,
        };
        let import = |error: Option<&str>| TroubledImport {
            id: 1,
            file_name: "a.csv".to_owned(),
            error: error.map(str::to_owned),
            rejected: 26,
            at: 0,
        };
        let gap = OpenGap::since(Gap::Start, 0).with_trouble("Twilio refused.");
        for (titles, expected) in [
            (told(|facts, _| facts.held_since = Some(5)), "Safe hold: nothing is sent"),
            (told(|_, outside| outside.problem = Some("No sender.".to_owned())), "Nothing can be sent yet"),
            (told(|facts, _| facts.account = Some(("x".to_owned(), None))), "All sending stands still"),
            (told(|_, outside| outside.gap = Some(gap)), "Messages from people may be missing"),
            (told(|facts, _| facts.uncertain = 1), "1 message is uncertain"),
            (told(|facts, _| facts.uncertain = 1_001), "More than 1,000 messages are uncertain"),
            (told(|facts, _| facts.reviews = 3), "3 replies may be opt-outs"),
            (told(|facts, _| facts.unapplied = 2), "2 webhooks could not be applied"),
            (told(|facts, _| facts.endpoints = vec![endpoint(true)]), "Webhooks to hooks.example.com fail"),
            (
                told(|facts, _| facts.endpoints = vec![endpoint(false)]),
                "Webhooks to hooks.example.com are switched off",
            ),
            (told(|facts, _| facts.imports = vec![import(None)]), "26 import rows were rejected"),
            (told(|facts, _| facts.imports = vec![import(Some("x"))]), "The import of a.csv ended early"),
            (told(|_, outside| outside.free_bytes = Some(MB)), "1.0 MB free on the disk"),
            (told(|_, outside| outside.now = 200 * HOUR), "The last backup is too old"),
        ] {
            assert_eq!(titles, [expected]);
        }
    }

    #[test]
    fn a_paused_campaign_leads_to_itself_with_the_line_that_mends_it() {
        let (mut facts, outside) = quiet();
        facts.campaigns.push(PausedCampaign {
            id: 7,
            name: "Spring".to_owned(),
            reason: "Mend the token.".to_owned(),
            until: None,
            since: 9,
        });
        let item = items(&facts, &outside).remove(0);
        assert_eq!(
            (item.href.as_str(), item.detail.as_str(), item.since),
            ("/admin/campaigns/7", "Mend the token.", Some(9))
        );
    }

    #[test]
    fn a_look_that_goes_well_and_has_just_begun_is_no_trouble() {
        assert!(told(|_, outside| outside.gap = Some(OpenGap::since(Gap::Start, 1_500))).is_empty());
    }
}
