//! `GET …/Messages.json`: newest first, filtered, in pages.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::super::Inner;
use super::super::errors::ApiError;
use super::super::message::{Resource, Sid};
use super::super::state::{Filter, Page, Place, State};
use super::enter_to_read;

const USUAL_PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// Exactly these keys: the official Python library stumbles over any other.
#[derive(Serialize)]
struct Answer<'a> {
    first_page_uri: String,
    end: usize,
    previous_page_uri: Option<String>,
    messages: Vec<Resource<'a>>,
    uri: String,
    page_size: usize,
    start: usize,
    next_page_uri: Option<String>,
    page: usize,
}

pub(super) async fn list(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let query: Vec<(String, String)> =
        form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
    let state = inner.state();
    let mut asked = Asked::read(&query, &state)?;
    let now = inner.now();
    asked.filter.made_until = state.faults.listed_until(now);
    let page = if asked.filter.since.is_some_and(|since| since > now) {
        Page { found: Vec::new(), has_older: false }
    } else {
        state.list(&asked.filter, asked.place, asked.size)
    };
    let account_sid = &inner.options.account_sid;
    let messages: Vec<Resource<'_>> = page
        .found
        .iter()
        .filter_map(|index| state.get(*index))
        .map(|message| message.resource(account_sid))
        .collect();
    let path = request.path();
    let sid_at = |index: Option<&usize>| index.and_then(|i| state.get(*i)).map(|m| m.sid);
    let oldest = sid_at(page.found.last()).filter(|_| page.has_older);
    let newest = sid_at(page.found.first()).filter(|_| asked.page > 0);
    let start = asked.page * asked.size;
    let answer = Answer {
        first_page_uri: asked.uri(path, 0, None),
        end: (start + messages.len()).saturating_sub(1).max(start),
        previous_page_uri: newest.map(|sid| asked.uri(path, asked.page - 1, Some(format!("PB{sid}")))),
        messages,
        uri: format!("{path}?{}", asked.own_query(&query)),
        page_size: asked.size,
        start,
        next_page_uri: oldest.map(|sid| asked.uri(path, asked.page + 1, Some(format!("PA{sid}")))),
        page: asked.page,
    };
    Ok(pass.answer(HttpResponse::Ok()).json(answer))
}

/// A list request, read.
struct Asked<'a> {
    filter: Filter,
    /// The filters as they were written, to be repeated in links.
    written: Vec<(&'a str, &'a str)>,
    size: usize,
    page: usize,
    place: Place,
}

impl<'a> Asked<'a> {
    fn read(query: &'a [(String, String)], state: &State) -> Result<Asked<'a>, ApiError> {
        let mut asked = Asked {
            filter: Filter::default(),
            written: Vec::new(),
            size: USUAL_PAGE,
            page: 0,
            place: Place::Newest,
        };
        let mut has_token = false;
        for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "PageSize" => asked.size = number(value)?.clamp(1, LARGEST_PAGE),
                "Page" => asked.page = number(value)?,
                "PageToken" => {
                    has_token = true;
                    asked.place = place(value, state)?;
                }
                _ if asked.take_filter(name, value)? => asked.written.push((name, value)),
                _ => {}
            }
        }
        if asked.page > 0 && !has_token {
            return Err(ApiError::saying(
                20001,
                "A later page needs the PageToken that next_page_uri carries",
            ));
        }
        Ok(asked)
    }

    /// Whether `name` is a filter. `<` and `>` mean "at or before" and "at or after".
    fn take_filter(&mut self, name: &str, value: &str) -> Result<bool, ApiError> {
        let filter = &mut self.filter;
        match name {
            "To" => filter.to = Some(value.to_owned()),
            "From" => filter.from = Some(value.to_owned()),
            "DateSent" => {
                let (first, last) = moment(value)?;
                filter.since = Some(first);
                filter.until = Some(last);
            }
            "DateSent<" => filter.until = Some(moment(value)?.0),
            "DateSent>" => filter.since = Some(moment(value)?.0),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn uri(&self, path: &str, page: usize, token: Option<String>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .extend_pairs(&self.written)
            .append_pair("PageSize", &self.size.to_string())
            .append_pair("Page", &page.to_string());
        if let Some(token) = token {
            query.append_pair("PageToken", &token);
        }
        format!("{path}?{}", query.finish())
    }

    fn own_query(&self, query: &[(String, String)]) -> String {
        let token = query.iter().find(|(name, _)| name == "PageToken");
        let mut own = form_urlencoded::Serializer::new(String::new());
        own.extend_pairs(&self.written)
            .append_pair("PageSize", &self.size.to_string())
            .append_pair("Page", &self.page.to_string())
            .extend_pairs(token);
        own.finish()
    }
}

fn number(text: &str) -> Result<usize, ApiError> {
    text.parse().map_err(|_| ApiError::saying(20001, format!("{text} is not a whole number")))
}

/// `PA` and the oldest SID of the page before, or `PB` and the newest of the page after.
fn place(token: &str, state: &State) -> Result<Place, ApiError> {
    let index = |sid: &str| Sid::parse(sid).and_then(|sid| state.index_of(sid));
    let place = match (token.strip_prefix("PA"), token.strip_prefix("PB")) {
        (Some(sid), _) => index(sid).map(Place::OlderThan),
        (None, Some(sid)) => index(sid).map(Place::NewerThan),
        (None, None) => None,
    };
    place.ok_or_else(|| ApiError::saying(20001, "PageToken is not one of ours"))
}

/// The first and the last millisecond that a date names: a day of UTC, or a second.
fn moment(text: &str) -> Result<(i64, i64), ApiError> {
    let span = |from: Timestamp, seconds: i64| {
        let from = from.as_millisecond();
        (from, from + seconds * 1000 - 1)
    };
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(span(at, 1));
    }
    if let Ok(at) = jiff::fmt::rfc2822::parse(text) {
        return Ok(span(at.timestamp(), 1));
    }
    let is_day = text.len() == "2026-01-02".len();
    if is_day && let Ok(day) = text.parse::<Date>() {
        let midnight = utc(day.to_datetime(jiff::civil::Time::midnight()));

        return midnight.map(|from| span(from, 24 * 60 * 60)).map_err(|_| bad_date(text));
    }
    text.parse::<DateTime>()
        .ok()
        .and_then(|at| utc(at).ok())
        .map(|from| span(from, 1))
        .ok_or_else(|| bad_date(text))
}

fn bad_date(text: &str) -> ApiError {
    ApiError::saying(20001, format!("{text} is not a date"))
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn dates_are_read_in_every_form_that_clients_send() {
        let day = 86_400_000;
        let table = [
            ("1970-01-02", (day, 2 * day - 1)),
            ("1970-01-02T00:00:00Z", (day, day + 999)),
            ("1970-01-02 00:00:01.000", (day + 1000, day + 1999)),
            ("Fri, 02 Jan 1970 00:00:00 +0000", (day, day + 999)),
        ];
        for (text, expected) in table {
            assert_eq!(moment(text).ok(), Some(expected), "{text}");
        }
        assert!(moment("yesterday").is_err());
    }
}
