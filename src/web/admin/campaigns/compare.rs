//! `/admin/campaigns/compare?ids=`: up to four beside each other, every share with its base.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::figures::{Figures, per_second};
use super::{shown, view};
use crate::domain::campaign::CampaignStatus;
use crate::store::reports::campaigns::{self as reports, CampaignView};
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::format;
use crate::web::admin::page::Page;
use crate::web::error::Problem;
use crate::web::page::Query;

/// Campaigns beside each other.
const MOST: usize = 4;
/// Campaigns offered for it.
const OFFERED: usize = 50;

pub(in crate::web::admin) async fn show(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    // A form with check boxes names each by itself, a link all at once.
    let given: Vec<String> = query.prefixed("ids").into_iter().map(|(_, value)| value).collect();
    query.finish()?;
    let mut ids: Vec<i64> = Vec::new();
    for id in given.iter().flat_map(|ids| ids.split(',')).filter_map(|id| id.trim().parse().ok()) {
        if !ids.contains(&id) && ids.len() < MOST {
            ids.push(id);
        }
    }
    let now = page.now();
    let chosen = ids.clone();
    let (compared, offered) = state
        .store
        .read(move |conn| {
            let compared = chosen.iter().map(|id| view(conn, *id, now)).collect::<Result<Vec<_>, _>>()?;
            let states = [
                CampaignStatus::Launching,
                CampaignStatus::Running,
                CampaignStatus::Paused,
                CampaignStatus::Finished,
                CampaignStatus::Cancelled,
            ];
            let offered = reports::list(conn, &states, (i64::MAX, OFFERED), now)?;
            Ok::<_, Problem>((compared, offered))
        })
        .await?;
    let currency = state.rules.get().prices.currency();
    let zone = &page.zone;
    let values = context! {
        title => "Compare campaigns",
        section => "campaigns",
        compared => compared.iter().map(|view| shown::row(view, zone, now)).collect::<Vec<_>>(),
        measures => measures(&compared, currency.as_str()),
        offered => offered
            .iter()
            .map(|view| context! {
                id => view.campaign.id,
                name => view.campaign.plan.name.clone(),
                status => view.campaign.status.as_str(),
                is_chosen => ids.contains(&view.campaign.id),
            })
            .collect::<Vec<_>>(),
        most => MOST,
    };
    page.show("campaigns/compare.html", values)
}

/// A line of the comparison: what, of what, and a cell for each campaign with the width of its bar.
fn measures(views: &[CampaignView], currency: &str) -> Vec<Value> {
    let all: Vec<(Figures, &CampaignView)> =
        views.iter().map(|view| (Figures::of(&view.counts), view)).collect();
    type Share = fn(&Figures, &CampaignView) -> (i64, i64);
    let shares: [(&str, &str, &str, Share); 6] = [
        ("Delivered", "of those with an answer", "delivered", |f, _| (f.arrived(), f.answered())),
        ("Read", "of delivered", "read", |f, _| (f.read, f.arrived())),
        ("Replies", "of delivered", "reply", |f, v| (v.sums.replies, f.arrived())),
        ("Opt-outs", "of delivered", "optout", |f, v| (v.sums.opt_outs, f.arrived())),
        ("Failed", "of those with an answer", "failed", |f, _| (f.failed, f.answered())),
        ("Skipped", "of all people", "skipped", |f, _| (f.skipped, f.total)),
    ];
    let mut lines: Vec<Value> = Vec::new();
    let number = |word: &str, base: &str, cell: &dyn Fn(&Figures, &CampaignView) -> String| {
        let cells: Vec<Value> = all.iter().map(|(f, v)| context! { text => cell(f, v) }).collect();
        context! { word, base, cells }
    };
    lines.push(number("People", "", &|f, _| format::number(f.total)));
    for (word, base, kind, share) in shares {
        let cells: Vec<Value> = all
            .iter()
            .map(|(figures, view)| {
                let (part, of) = share(figures, view);
                context! {
                    text => format::percent(part, of),
                    small => format::number(part),
                    width => if of > 0 { part * 1_000 / of } else { 0 },
                    kind,
                }
            })
            .collect();
        lines.push(context! { word, base, cells });
    }
    let cost = |view: &CampaignView| view.spent.total().filter(|_| view.sums.accepted > 0);
    let nothing = || "–".to_owned();
    lines.push(number("Cost", "", &|_, v| {
        cost(v).map_or_else(nothing, |micros| format::money(micros, currency))
    }));
    lines.push(number("Cost of one delivered", "", &|f, v| {
        cost(v)
            .and_then(|micros| micros.checked_div(f.arrived()))
            .map_or_else(nothing, |m| format::money(m, currency))
    }));
    lines.push(number("Messages a second", "from first to last", &|_, v| {
        let span = v.sums.first_accepted_at.zip(v.sums.last_accepted_at).map(|(first, last)| last - first);
        let rate =
            span.filter(|span| *span > 0).map(|span| (v.sums.accepted - 1) as f64 * 1_000.0 / span as f64);
        rate.map_or_else(nothing, per_second)
    }));
    lines
}
