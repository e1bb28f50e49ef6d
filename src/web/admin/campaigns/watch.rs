//! `/admin/campaigns/{id}`: how far, how fast, who not and why. While it sends, its parts are told anew; afterwards the
//! same page is the result.

use std::time::Duration;

use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};

use super::figures::{Figures, points};
use super::reasons::{reasons, word_of};
use super::{find, home, shown};
use crate::domain::campaign::CampaignStatus;
use crate::domain::failure::Meaning;
use crate::domain::price::Currency;
use crate::store::campaigns::CampaignCount;
use crate::store::campaigns::pace::{self, Span};
use crate::store::operators::Role;
use crate::store::reports::campaigns::CampaignView;
use crate::twilio::error::explain;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::live::{self, Part, Topic};
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    if view.campaign.status == CampaignStatus::Draft && page.may(Role::Operator) {
        return page.go_to(&format!("{}/review", home(*id)), "");
    }
    page.show("campaigns/show.html", Seen::of(&state, view).await?.values(&page))
}

/// The parts that change, for all who look: `GET /admin/live/campaigns/{id}`.
pub(in crate::web::admin) async fn live(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let id = *id;
    let topic =
        Topic::every(format!("campaign:{id}"), Duration::from_secs(5)).or_on_events(Duration::from_secs(1));
    live::stream(&page, &state, topic, move |state: Data<State>| async move {
        let view = find(&state.store, id, state.store.clock().now()).await?;
        let seen = Seen::of(&state, view).await?;
        Ok(move |page: &Page| {
            let values = seen.values(page);
            ["state", "acts", "progress", "plot", "who"]
                .into_iter()
                .map(|id| {
                    Ok(Part::new(id, page.part_text(&format!("campaigns/_{id}.html"), values.clone())?))
                })
                .collect()
        })
    })
}

/// What is read once for all who look.
struct Seen {
    view: CampaignView,
    spans: Vec<Span>,
    currency: Currency,
}

impl Seen {
    async fn of(state: &State, view: CampaignView) -> Result<Seen, Problem> {
        let id = view.campaign.id;
        let spans = state.store.read(move |conn| pace::spans(conn, id)).await?;
        Ok(Seen { view, spans, currency: state.rules.get().prices.currency() })
    }

    fn values(&self, page: &Page) -> Shown {
        values(page, self)
    }
}

fn values(page: &Page, seen: &Seen) -> Shown {
    let Seen { view, spans, currency } = seen;
    let (now, zone) = (page.now(), &page.zone);
    let (points, each) = points(spans, now);
    let is_slow = points.iter().all(|point| point.handed_over.max(point.delivered) < 1.0);
    let decimals = if is_slow { 2 } else { 1 };
    let skipped = reasons(&view.counts, "skipped");
    let deferred: Vec<(String, i64)> =
        reasons(&view.counts, "queued").into_iter().filter(|(reason, _)| !reason.is_empty()).collect();
    let failures = failures(&view.counts);
    let retryable: i64 = failures.iter().filter(|f| f.may_help).map(|f| f.people).sum();
    let in_words = |rows: &[(String, i64)]| -> Vec<Shown> {
        rows.iter().map(|(code, n)| context! { code, word => word_of(code, view), people => *n }).collect()
    };
    let figures = Figures::of(&view.counts);
    let is_over = matches!(view.campaign.status, CampaignStatus::Finished | CampaignStatus::Cancelled);
    context! {
        title => view.campaign.plan.name.clone(),
        section => "campaigns",
        campaign => shown::row(view, zone, now),
        progress => shown::progress(view, currency.as_str(), zone, now),
        settings => shown::settings(view, currency.as_str(), zone, now),
        skipped => in_words(&skipped),
        deferred => in_words(&deferred),
        failures => failures.iter().map(Failed::value).collect::<Vec<_>>(),
        retryable,
        points => points
            .iter()
            .map(|point| context! {
                at => point.at,
                handed_over => format!("{:.decimals$}", point.handed_over),
                delivered => format!("{:.decimals$}", point.delivered),
            })
            .collect::<Vec<_>>(),
        each,
        is_live => view.campaign.status.is_sending(),
        is_watched => !is_over || figures.on_way + figures.uncertain > 0,
    }
}

/// What failed with one code, or for one reason of ours.
pub(super) struct Failed {
    /// 0 where Twilio gave none.
    pub(super) code: i64,
    pub(super) text: String,
    pub(super) what_to_do: String,
    pub(super) people: i64,
    /// Another try may go better, as far as the code says.
    pub(super) may_help: bool,
}

impl Failed {
    fn value(&self) -> Shown {
        context! {
            code => self.code,
            text => self.text.clone(),
            what_to_do => self.what_to_do.clone(),
            people => self.people,
            may_help => self.may_help,
        }
    }
}

/// What failed, by code, the most first. What has no code is one line.
pub(super) fn failures(counts: &[CampaignCount]) -> Vec<Failed> {
    let mut rows: Vec<Failed> = Vec::new();
    for count in counts {
        if !matches!(count.status.as_str(), "failed" | "undelivered" | "expired") {
            continue;
        }
        if let Some(row) = rows.iter_mut().find(|row| row.code == count.error_code) {
            row.people += count.n;
            continue;
        }
        let told = api::report::failure(count.error_code, &count.reason, count.n);
        let word = |name: &str| told.get(name).and_then(|word| word.as_str()).unwrap_or_default().to_owned();
        rows.push(Failed {
            code: count.error_code,
            text: word("text"),
            what_to_do: word("what_to_do"),
            people: count.n,
            may_help: may_help(count.error_code),
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.people));
    rows
}

/// Whether the same message may arrive at another try: not to a number that is none, nor to who opted out.
fn may_help(code: i64) -> bool {
    !matches!(explain(code).meaning, Meaning::OptedOut | Meaning::InvalidNumber | Meaning::Fail) || code == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(status: &str, error_code: i64, n: i64) -> CampaignCount {
        CampaignCount { status: status.to_owned(), reason: String::new(), error_code, n }
    }

    #[test]
    fn failures_say_whether_another_try_may_help() {
        let rows = failures(&[
            count("failed", 21610, 4),
            count("undelivered", 30003, 9),
            count("failed", 30003, 2),
            count("expired", 0, 1),
            count("delivered", 0, 80),
        ]);
        let told: Vec<_> = rows.iter().map(|row| (row.code, row.people, row.may_help)).collect();
        assert_eq!(told, [(30003, 11, true), (21610, 4, false), (0, 1, true)]);
        assert!(rows.iter().all(|row| !row.what_to_do.is_empty() && !row.text.is_empty()));
    }
}
