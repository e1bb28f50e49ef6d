//! `/campaigns/{id}/report`, and the same person by person in `/messages`, as JSON or as a sheet.

use std::collections::BTreeMap;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse, Responder};
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::Answer;
use super::campaigns::{cost_shape, counts_by_status, counts_shape, find, units};
use super::messages::{by_person, read_campaign_page, read_status};
use crate::clock::Millis;
use crate::domain::price::Currency;
use crate::store::campaigns::{self, CampaignCount, CampaignRow, CampaignSums};
use crate::store::messages::rfc3339;
use crate::store::reports::Slice;
use crate::store::reports::messages::{self, CampaignPage, MessageFilter, MessageView};
use crate::store::{Connection, Store, StoreError, spending};
use crate::twilio::error::explain;
use crate::web::State;
use crate::web::auth::{Read, Scoped};
use crate::web::error::Problem;
use crate::web::openapi::shapes::{Page, Paging, Sheet, SheetFormat, messages as texts, report as shapes};
use crate::web::page::Query;
use crate::web::reply::{Reply, time_or_null};

/// Rows of one read while a sheet is written.
pub(in crate::web) const SHEET_PAGE: usize = 1_000;

/// Tells what came of a campaign so far.
#[utoipa::path(get, path = "/campaigns/{id}/report", operation_id = "get_campaign_report",
    responses((status = 200, body = shapes::CampaignReport)))]
pub(super) async fn show(_: Scoped<Read>, state: Data<State>, id: Path<i64>, request: HttpRequest) -> Answer {
    Query::of(&request)?.finish()?;
    let now = state.store.clock().now();
    let currency = state.rules.get().prices.currency();
    let body = state
        .store
        .read(move |conn| {
            let campaign = find(conn, *id)?;
            let counts = campaigns::counts(conn, *id)?;
            let sums = campaigns::sums(conn, *id)?;
            let mut shown = report(&campaign, &counts, &sums, now);
            if let Some(shown) = shown.as_object_mut() {
                shown.extend(cost(conn, *id, currency)?);
            }
            Ok::<_, Problem>(shown)
        })
        .await?;
    Ok(Reply::ok(body))
}

/// The report. `delivered_of_deliverable` is the share that arrived of what left the queue: delivered and
/// read, by all but what was skipped, cancelled, or is still open; null while nothing left. `throughput_per_second` is over the time from the first to the last accepted message.
fn report(campaign: &CampaignRow, counts: &[CampaignCount], sums: &CampaignSums, now: Millis) -> Value {
    let by_status = counts_by_status(counts);
    let of = |statuses: &[&str]| -> i64 { statuses.iter().filter_map(|status| by_status.get(status)).sum() };
    let total: i64 = by_status.values().sum();
    let deliverable = total - of(&["skipped", "cancelled", "queued", "sending", "uncertain"]);
    let arrived = of(&["delivered", "read"]);
    let throughput = throughput(sums);
    let rate = throughput.or(campaign.plan.rate_limit_per_second);
    let waiting = of(&["queued", "sending"]);
    let eta = rate
        .filter(|_| waiting > 0 && campaign.status.is_sending())
        .map(|rate| now.saturating_add((waiting as f64 / rate * 1_000.0) as i64));
    json!({
        "total": total,
        "counts": counts_shape(counts),
        "skipped": by_reason(counts, "skipped"),
        "deferred": by_reason(counts, "queued"),
        "failures": failures(counts),
        "delivered_of_deliverable": (deliverable > 0).then(|| arrived as f64 / deliverable as f64),
        "opt_outs": sums.opt_outs,
        "replies": sums.replies,
        "parts": sums.parts,
        "throughput_per_second": throughput,
        "eta": time_or_null(eta),
        "launched_at": time_or_null(campaign.launched_at),
        "finished_at": time_or_null(campaign.finished_at),
    })
}

/// What the campaign cost: `cost` is the whole, or `"unknown"` while the price of a single hand-over is;
/// `cost_known` is the known part and `unpriced` how many hand-overs are not in it. A hand-over costs what the
/// price table says, until the provider tells its price.
fn cost(conn: &Connection, id: i64, currency: Currency) -> Result<Map<String, Value>, StoreError> {
    let (_, spent) = spending::of_campaign(conn, id)?;
    let told = campaigns::sums(conn, id)?.price_unit;
    let other = told.filter(|unit| unit != currency.as_str());
    let note = other.as_ref().map(|unit| {
        format!(
            "Twilio tells its prices in {unit}, the price table is in {currency}: Twilio's are not counted. Set [prices] currency to {unit}."
        )
    });
    let mut shown = Map::new();
    let whole = if other.is_some() { json!("unknown") } else { cost_shape(spent) };
    shown.insert("cost".to_owned(), whole);
    shown.insert("cost_known".to_owned(), json!(units(spent.known_micros)));
    shown.insert("unpriced".to_owned(), json!(spent.unknown));
    shown.insert("currency".to_owned(), json!(currency.as_str()));
    shown.insert("cost_note".to_owned(), json!(note));
    Ok(shown)
}

/// Messages of one state by their reason; those without one are left out.
fn by_reason(counts: &[CampaignCount], status: &str) -> Value {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for count in counts.iter().filter(|count| count.status == status && !count.reason.is_empty()) {
        *sums.entry(&count.reason).or_default() += count.n;
    }
    json!(sums)
}

/// What failed by the provider's code, the most frequent first; without a code, by our own reason.
fn failures(counts: &[CampaignCount]) -> Vec<Value> {
    let mut sums: BTreeMap<(i64, &str), i64> = BTreeMap::new();
    for count in counts {
        if ["failed", "undelivered", "expired"].contains(&count.status.as_str()) {
            let reason = if count.error_code == 0 { count.reason.as_str() } else { "" };
            *sums.entry((count.error_code, reason)).or_default() += count.n;
        }
    }
    let mut rows: Vec<((i64, &str), i64)> = sums.into_iter().collect();
    rows.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    rows.into_iter().map(|((code, reason), n)| failure(code, reason, n)).collect()
}

pub(in crate::web) fn failure(code: i64, reason: &str, count: i64) -> Value {
    if code != 0 {
        let known = explain(code);
        return json!({"code": code, "text": known.text, "what_to_do": known.what_to_do, "count": count});
    }
    let (text, what_to_do) = match reason {
        "deadline" => ("The deadline passed before its turn.", "Allow more time or a higher rate."),
        "" => ("No reason was given.", "Look at one of the messages and its attempts."),
        other => (other, "Look at one of the messages and its attempts."),
    };
    json!({"code": null, "text": text, "what_to_do": what_to_do, "count": count})
}

/// Accepted messages a second; nothing can be said of fewer than two moments. The first opens the span and
/// is not counted: two messages a second apart are one a second, not two.
fn throughput(sums: &CampaignSums) -> Option<f64> {
    let millis = sums.last_accepted_at? - sums.first_accepted_at?;
    (millis > 0).then(|| (sums.accepted - 1) as f64 * 1_000.0 / millis as f64)
}

/// Lists the messages of a campaign, one for each person, by person.
///
/// `format=csv` gives all of them at once.
#[utoipa::path(get, path = "/campaigns/{id}/messages", operation_id = "list_campaign_messages",
    params(Paging, ("status" = Option<texts::MessageStatus>, Query, description = "That are here."),
        ("reason" = Option<String>, Query, description = "For this reason."),
        ("format" = Option<SheetFormat>, Query, description = "`json` if left out.")),
    responses((status = 200, content((Page<texts::Message> = "application/json"), (Sheet = "text/csv")))))]
pub(super) async fn people(
    _: Scoped<Read>,
    state: Data<State>,
    id: Path<i64>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request)?;
    let format = query.choice(
        "format",
        |word| ["json", "csv"].contains(&word).then(|| word.to_owned()),
        &["json", "csv"],
    );
    let filter = MessageFilter {
        status: read_status(&mut query),
        reason: query.text("reason"),
        ..MessageFilter::default()
    };
    let mut page = read_campaign_page(&mut query, *id, false);
    query.finish()?;
    let campaign_id = *id;
    state.store.read(move |conn| find(conn, campaign_id)).await?;
    if format.as_deref() == Some("csv") {
        page.limit = SHEET_PAGE;
        return Ok(sheet(state.store.clone(), page, filter));
    }
    let limit = page.limit;
    let slice = state.store.read(move |conn| messages::of_campaign(conn, &page, &filter)).await?;
    Ok(Reply::ok(by_person(slice, limit)).respond_to(&request).map_into_boxed_body())
}

const COLUMNS: [&str; 14] = [
    "id",
    "phone",
    "status",
    "reason",
    "error_code",
    "kind",
    "channel",
    "parts",
    "price",
    "sid",
    "created_at",
    "accepted_at",
    "delivered_at",
    "read_at",
];

/// All pages as one stream; each is read when the one before has left, so memory stays small.
pub(in crate::web) fn sheet(store: Store, page: CampaignPage, filter: MessageFilter) -> HttpResponse {
    let name = format!("campaign-{}.csv", page.campaign_id);
    let first = Some((page, true));
    let pages = stream::unfold(first, move |at| {
        let (store, filter) = (store.clone(), filter.clone());
        async move {
            let (page, is_first) = at?;
            let wanted = page.clone();
            let slice = store.read(move |conn| messages::of_campaign(conn, &wanted, &filter)).await;
            match slice {
                Ok(Slice { rows, reached }) => {
                    let last = rows.last().filter(|_| rows.len() == page.limit);
                    let after = last.map(|last| (last.user_id, last.occasion.clone())).or(reached);
                    let next = after.map(|after| (CampaignPage { after, ..page }, false));
                    Some((Ok(written(&rows, is_first)), next))
                }
                // The answer breaks off, so that nobody takes half a sheet for a whole one.
                Err(error) => Some((Err(broken_off(error)), None)),
            }
        }
    });
    HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .streaming::<_, Problem>(pages)
}

fn broken_off(error: StoreError) -> Problem {
    tracing::error!(%error, "a sheet broke off");
    error.into()
}

fn written(rows: &[MessageView], with_header: bool) -> Bytes {
    let mut sheet = csv::Writer::from_writer(Vec::new());
    if with_header {
        let _ = sheet.write_record(COLUMNS);
    }
    for row in rows {
        let _ = sheet.write_record(cells(row));
    }
    sheet.into_inner().unwrap_or_default().into()
}

fn cells(row: &MessageView) -> [String; 14] {
    let text = |text: &Option<String>| safe(text.as_deref().unwrap_or_default());
    let number = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
    let at = |at: Option<Millis>| at.map(rfc3339).unwrap_or_default();
    [
        row.id.to_string(),
        // E.164 is a plus and digits, which no spreadsheet can run.
        row.phone.clone().unwrap_or_default(),
        row.status.clone(),
        text(&row.reason),
        number(row.error_code),
        row.kind.clone(),
        row.channel.clone(),
        number(row.parts),
        row.price_micros.map(|micros| (micros as f64 / 1e6).to_string()).unwrap_or_default(),
        text(&row.sid),
        rfc3339(row.created_at),
        at(row.accepted_at),
        at(row.delivered_at),
        at(row.read_at),
    ]
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn safe(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(status: &str, reason: &str, error_code: i64, n: i64) -> CampaignCount {
        CampaignCount { status: status.to_owned(), reason: reason.to_owned(), error_code, n }
    }

    #[test]
    fn failures_are_told_by_code_and_what_to_do() {
        let rows = failures(&[
            count("failed", "", 30005, 2),
            count("undelivered", "", 30005, 3),
            count("expired", "deadline", 0, 1),
            count("delivered", "", 0, 90),
        ]);
        assert_eq!(rows.len(), 2);
        assert_eq!((&rows[0]["code"], &rows[0]["count"]), (&json!(30005), &json!(5)));
        assert!(rows[0]["what_to_do"].as_str().unwrap().contains("unreachable"));
        assert_eq!((&rows[1]["code"], &rows[1]["count"]), (&Value::Null, &json!(1)));
    }

    #[test]
    fn a_formula_is_only_text() {
        assert_eq!(safe("=1+1"), "'=1+1");
        assert_eq!(safe("@SUM(A1)"), "'@SUM(A1)");
        assert_eq!(safe("quiet_hours"), "quiet_hours");
    }

    #[test]
    fn throughput_needs_two_moments() {
        let sums = |first, last| CampaignSums {
            accepted: 101,
            first_accepted_at: first,
            last_accepted_at: last,
            ..CampaignSums::default()
        };
        assert_eq!(throughput(&sums(None, None)), None);
        assert_eq!(throughput(&sums(Some(5), Some(5))), None);
        assert_eq!(throughput(&sums(Some(0), Some(10_000))), Some(10.0));
    }
}
