//! Query parameters of lists: filters, `limit` and `cursor`. A parameter that nobody asked for is refused
//! by name: a filter with a typo would otherwise mean everybody.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::body::parse_time;
use super::error::{FieldError, Problem};
use crate::clock::Millis;
use crate::store::reports::Slice;

/// Rows of a page if nothing is said, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
const BROKEN_CURSOR: &str = "is not a cursor of this list; start again without it";
/// Longest value of a parameter, in characters.
const MAX_VALUE: usize = 1_000;

/// The parameters of one request, taken out one by one.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Reads the query string.
    ///
    /// # Errors
    /// 400 when it is not UTF-8.
    pub fn of(request: &HttpRequest) -> Result<Query, Problem> {
        let raw = request.query_string();
        if percent_decode_str(raw).decode_utf8().is_err() {
            return Err(Problem::unreadable("The query string is not UTF-8."));
        }
        let pairs = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        Ok(Query { pairs, errors: Vec::new() })
    }

    /// Notes a fault.
    pub fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), message: message.into() });
    }

    /// The parameter `name`, given at most once.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        for (_, value) in self.pairs.extract_if(.., |(key, _)| key == name) {
            if found.is_some() {
                self.errors.push(FieldError { field: name.to_owned(), message: "given twice".to_owned() });
            }
            if value.contains('\0') || value.chars().count() > MAX_VALUE {
                let message = format!("at most {MAX_VALUE} characters, no NUL");
                self.errors.push(FieldError { field: name.to_owned(), message });
            }
            found = Some(value);
        }
        found
    }

    /// All parameters that begin with `prefix`, by what follows it.
    pub fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken: Vec<_> = self.pairs.extract_if(.., |(key, _)| key.starts_with(prefix)).collect();
        taken
            .into_iter()
            .map(|(key, value)| (key.get(prefix.len()..).unwrap_or_default().to_owned(), value))
            .collect()
    }

    /// A whole number that is not negative.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        match text.parse::<i64>() {
            Ok(number) if number >= 0 => Some(number),
            _ => {
                self.error(name, "must be a whole number");
                None
            }
        }
    }

    /// An instant, RFC 3339.
    pub fn time(&mut self, name: &str) -> Option<Millis> {
        let text = self.text(name)?;
        // In a query a plus stands for a blank; nobody writes a blank before an offset.
        match parse_time(&text.replace(' ', "+")) {
            Ok(at) => Some(at),
            Err(message) => {
                self.error(name, message);
                None
            }
        }
    }

    /// One word of a closed list.
    pub fn choice<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>, words: &[&str]) -> Option<T> {
        let text = self.text(name)?;
        let found = parse(&text);
        if found.is_none() {
            self.error(name, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// `limit`, within its bounds.
    pub fn limit(&mut self) -> usize {
        let Some(text) = self.text("limit") else {
            return DEFAULT_LIMIT;
        };
        match text.parse::<usize>() {
            Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => limit,
            _ => {
                self.error("limit", format!("must be a number from 1 to {MAX_LIMIT}"));
                DEFAULT_LIMIT
            }
        }
    }

    /// `limit` and the id to go on from, of a list named `list` that is ordered by id.
    pub fn page(&mut self, list: &'static str) -> Page {
        let limit = self.limit();
        let before = match self.cursor(list) {
            None => i64::MAX,
            Some(place) => place.first().and_then(Value::as_i64).unwrap_or_else(|| {
                self.error("cursor", BROKEN_CURSOR);
                i64::MAX
            }),
        };
        Page { list, limit, before }
    }

    /// Where `cursor` of the list named `list` points.
    pub fn cursor(&mut self, list: &str) -> Option<Vec<Value>> {
        let text = self.text("cursor")?;
        let place = decode(list, &text);
        if place.is_none() {
            self.error("cursor", BROKEN_CURSOR);
        }
        place
    }

    /// Refuses what is left over.
    ///
    /// # Errors
    /// 422 with every parameter at fault.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            let name: String = name.chars().take(100).collect();
            self.error(name, "unknown parameter");
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

/// A request without a query, for what takes no parameters: a DELETE that ignored one could delete what a
/// filter was meant to spare.
#[derive(Clone, Copy, Debug)]
pub struct NoQuery;

impl FromRequest for NoQuery {
    type Error = Problem;
    type Future = Ready<Result<NoQuery, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Query::of(request).and_then(Query::finish).map(|()| NoQuery))
    }
}

/// Where a page of a list by id begins, newest first, and how long it is.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    list: &'static str,
    /// Rows of the page.
    pub limit: usize,
    /// Only rows with a smaller id.
    pub before: i64,
}

impl Page {
    /// How many rows to fetch: one more tells whether there is a next page.
    pub fn fetch(&self) -> usize {
        self.limit + 1
    }

    /// Takes away the row that is too many. The cursor of the next page, if there is one.
    pub fn cut<T>(&self, rows: &mut Vec<T>, id: impl Fn(&T) -> i64) -> Option<String> {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        rows.last().filter(|_| has_more).map(|row| encode(self.list, &[json!(id(row))]))
    }

    /// The answer to a list from one row more than fits.
    pub fn answer<T>(&self, rows: Vec<T>, id: impl Fn(&T) -> i64, show: impl Fn(&T) -> Value) -> Value {
        paged(rows, self.limit, |row| encode(self.list, &[json!(id(row))]), show)
    }
}

impl Page {
    /// The same of a list whose pages may end early.
    pub fn answer_slice<T>(
        &self,
        slice: Slice<T, i64>,
        id: impl Fn(&T) -> i64,
        show: impl Fn(&T) -> Value,
    ) -> Value {
        let reached = slice.reached.map(|id| encode(self.list, &[json!(id)]));
        paged_until(slice.rows, self.limit, |row| encode(self.list, &[json!(id(row))]), show, reached)
    }
}

/// `{"data","next_cursor"}` from one row more than fits; `reached` is the cursor of a page that ended early.
pub fn paged_until<T>(
    rows: Vec<T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
    show: impl Fn(&T) -> Value,
    reached: Option<String>,
) -> Value {
    let mut page = paged(rows, limit, cursor, show);
    if let Some((next, reached)) = page.get_mut("next_cursor").filter(|next| next.is_null()).zip(reached) {
        *next = Value::from(reached);
    }
    page
}

/// `{"data","next_cursor"}` from one row more than fits.
pub fn paged<T>(
    rows: Vec<T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
    show: impl Fn(&T) -> Value,
) -> Value {
    let has_more = rows.len() > limit;
    let shown = rows.get(..limit).unwrap_or(&rows);
    let next = shown.last().filter(|_| has_more).map(cursor);
    json!({"data": shown.iter().map(show).collect::<Vec<_>>(), "next_cursor": next})
}

/// A cursor: which list, and where in it. Callers must not look inside.
pub fn encode(list: &str, place: &[Value]) -> String {
    URL_SAFE_NO_PAD.encode(json!([list, place]).to_string())
}

fn decode(list: &str, text: &str) -> Option<Vec<Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    match serde_json::from_slice::<(String, Vec<Value>)>(&bytes) {
        Ok((name, place)) if name == list => Some(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::with_uri(&format!("/x?{text}")).to_http_request()).unwrap()
    }

    #[test]
    fn what_nobody_asked_for_is_named() {
        let mut query = query("limit=5&conset=opt_in&q=a");
        assert_eq!(query.limit(), 5);
        assert_eq!(query.text("q").as_deref(), Some("a"));
        let members = query.finish().unwrap_err().members();
        assert_eq!(members["errors"], json!([{"field": "conset", "message": "unknown parameter"}]));
    }

    #[test]
    fn limits_have_bounds() {
        for (text, expected) in [
            ("limit=0", None),
            ("limit=201", None),
            ("limit=-1", None),
            ("limit=x", None),
            ("limit=200", Some(200)),
            ("", Some(50)),
        ] {
            let mut query = query(text);
            let limit = query.limit();
            assert_eq!(query.finish().ok().map(|()| limit), expected, "{text}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = encode("users", &[json!(17)]);
        assert_eq!(query(&format!("cursor={cursor}")).page("users").before, 17);
        let mut other = query(&format!("cursor={cursor}"));
        other.page("campaigns");
        assert!(other.finish().is_err());
        let mut broken = query("cursor=%00");
        broken.page("users");
        assert!(broken.finish().is_err());
    }

    #[test]
    fn a_plus_in_an_instant_is_a_plus() {
        let mut query = query("since=2026-11-23T09:30:00+01:00");
        assert_eq!(query.time("since"), Some(1_795_422_600_000));
    }
}
