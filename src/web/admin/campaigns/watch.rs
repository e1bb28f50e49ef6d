//! `/admin/campaigns/{id}`: how far, how fast, who not and why. While it sends, its parts are told anew; afterwards the
//! same page is the result.

use actix_web::web::{Data, Path};
use minijinja::{Value as Shown, context};

use super::figures::points;
use super::review::{reasons, word_of};
use super::{find, home, shown};
use crate::domain::campaign::CampaignStatus;
use crate::domain::failure::Meaning;
use crate::store::campaigns::{CampaignCount, pace};
use crate::store::operators::Role;
use crate::store::reports::campaigns::CampaignView;
use crate::twilio::error::explain;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::page::Page;
use crate::web::api;
use crate::web::error::Problem;

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    if view.campaign.status == CampaignStatus::Draft && page.may(Role::Operator) {
        return page.go_to(&format!("{}/review", home(*id)), "");
    }
    let values = values(&page, &state, &view).await?;
    page.show("campaigns/show.html", values)
}

/// The parts that change while it sends.
pub(in crate::web::admin) async fn part(page: Page, state: Data<State>, id: Path<i64>) -> Answer {
    let view = find(&state.store, *id, page.now()).await?;
    page.part("campaigns/_live.html", values(&page, &state, &view).await?)
}

async fn values(page: &Page, state: &State, view: &CampaignView) -> Result<Shown, Problem> {
    let (id, now, zone) = (view.campaign.id, page.now(), &page.zone);
    let spans = state.store.read(move |conn| pace::spans(conn, id)).await?;
    let (points, each) = points(&spans, now);
    let currency = state.rules.get().prices.currency();
    let skipped = reasons(&view.counts, "skipped");
    let deferred: Vec<(String, i64)> =
        reasons(&view.counts, "queued").into_iter().filter(|(reason, _)| !reason.is_empty()).collect();
    let failures = failures(&view.counts);
    let retryable: i64 = failures.iter().filter(|f| f.may_help).map(|f| f.people).sum();
    let in_words = |rows: &[(String, i64)]| -> Vec<Shown> {
        rows.iter()
            .map(|(code, n)| context! { code, word => word_of(code, view), people => *n })
            .collect()
    };
    Ok(context! {
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
                handed_over => format!("{:.1}", point.handed_over),
                delivered => format!("{:.1}", point.delivered),
            })
            .collect::<Vec<_>>(),
        each,
        is_live => view.campaign.status.is_sending(),
    })
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
        let word = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
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
