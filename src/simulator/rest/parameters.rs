//! The parameters of a create request, checked as strictly as Twilio does.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use super::super::errors::ApiError;
use super::super::life::is_whatsapp;
use super::super::options::Options;
use super::super::{is_sid, now_millis};

/// Longest body in characters.
const LONGEST_BODY: usize = 1600;
const MOST_MEDIA: usize = 10;
const LONGEST_CALLBACK: usize = 4000;
/// Longest and usual life of an unsent message, in seconds.
const LONGEST_VALIDITY: u32 = 36_000;

/// A form, decoded. Empty if the request's content type is another.
pub(super) fn form(request: &HttpRequest, body: &[u8]) -> Vec<(String, String)> {
    let content_type =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/x-www-form-urlencoded") {
        return Vec::new();
    }
    form_urlencoded::parse(body).into_owned().collect()
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) service: Option<String>,
    /// Given together with a service it is the sender to pick.
    pub(super) from: Option<String>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Matter {
    Text,
    Content { sid: String, variables: Map<String, Value> },
}

/// A create request that passed every check that needs no memory.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) to: String,
    pub(super) origin: Origin,
    pub(super) body: String,
    pub(super) media: Vec<String>,
    pub(super) matter: Matter,
    pub(super) status_callback: Option<String>,
    pub(super) validity_seconds: u32,
    /// Milliseconds since 1970.
    pub(super) send_at: Option<i64>,
}

/// Looks parameters up; of a repeated one the last counts.
struct Form<'a>(&'a [(String, String)]);

impl<'a> Form<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.clone())
            .collect()
    }
}

/// Reads a create request. Unknown parameters are ignored, as Twilio does.
pub(super) fn read(form: &[(String, String)], options: &Options) -> Result<Request, ApiError> {
    let form = Form(form);
    let to = form.get("To").ok_or(ApiError::of(21604))?.to_owned();
    let origin = origin(&form)?;
    check_to(&to)?;
    check_from(&to, &origin, options)?;
    let body = form.get("Body").unwrap_or_default().to_owned();
    let media = media(&form)?;
    let matter = matter(&form)?;
    if body.is_empty() && media.is_empty() && matter == Matter::Text {
        return Err(ApiError::of(21619));
    }
    if body.chars().count() > LONGEST_BODY {
        return Err(ApiError::of(21617));
    }
    Ok(Request {
        send_at: send_at(&form, &origin)?,
        status_callback: status_callback(&form)?,
        validity_seconds: validity(&form)?,
        to,
        origin,
        body,
        media,
        matter,
    })
}

fn origin(form: &Form<'_>) -> Result<Origin, ApiError> {
    let from = form.get("From").map(str::to_owned);
    let service = form.get("MessagingServiceSid").map(str::to_owned);
    if let Some(sid) = service.as_deref().filter(|sid| !is_sid(sid, "MG")) {
        return Err(ApiError::saying(21701, format!("The Messaging Service {sid} does not exist")));
    }
    match (service, from) {
        (None, None) => Err(ApiError::of(21603)),
        (None, Some(from)) if is_sid(&from, "MG") => Ok(Origin { service: Some(from), from: None }),
        (service, from) => Ok(Origin { service, from }),
    }
}

/// `+`, then 7 to 15 digits of which the first is not 0.
fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A person on WhatsApp: a number, or the id of one who shows none (`US.1349…`).
fn is_whatsapp_person(text: &str) -> bool {
    let is_id = || {
        text.split_once('.').is_some_and(|(country, digits)| {
            country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_uppercase())
                && !digits.is_empty()
                && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    is_e164(text) || is_id()
}

fn check_to(to: &str) -> Result<(), ApiError> {
    let is_valid = match to.strip_prefix("whatsapp:") {
        Some(person) => is_whatsapp_person(person),
        None => is_e164(to),
    };
    // The magic numbers of Twilio's test credentials.
    let magic = match to {
        "+15005550001" => Some(21211),
        "+15005550002" => Some(21612),
        "+15005550003" => Some(21408),
        "+15005550004" => Some(21610),
        "+15005550009" => Some(21614),
        _ if is_valid => None,
        _ => Some(21211),
    };
    match magic {
        Some(21211) => {
            Err(ApiError::saying(21211, format!("The 'To' number {to} is not a valid phone number.")))
        }
        Some(code) => Err(ApiError::of(code)),
        None => Ok(()),
    }
}

fn check_from(to: &str, origin: &Origin, options: &Options) -> Result<(), ApiError> {
    let Some(from) = origin.from.as_deref() else {
        return Ok(());
    };
    let magic = match from {
        "+15005550001" => Some(21212),
        "+15005550007" => Some(21606),
        "+15005550008" => Some(21611),
        _ if !is_sender(from) => Some(21212),
        _ if is_whatsapp(from) != is_whatsapp(to) => Some(21910),
        _ if from == to && is_whatsapp(to) => Some(63031),
        _ if from == to => Some(21211),
        _ if options.senders.is_empty() || options.senders.iter().any(|own| own == from) => None,
        _ if is_whatsapp(from) => Some(63007),
        _ => Some(21606),
    };
    match magic {
        Some(21212) => Err(ApiError::saying(
            21212,
            format!(
                "The 'From' number {from} is not a valid phone number, shortcode, or alphanumeric sender ID."
            ),
        )),
        Some(code) => Err(ApiError::of(code)),
        None => Ok(()),
    }
}

/// A number, a WhatsApp number, a short code, or a name of up to 11 characters with a letter.
fn is_sender(from: &str) -> bool {
    if let Some(number) = from.strip_prefix("whatsapp:") {
        return is_e164(number);
    }
    let is_short_code = (3..=8).contains(&from.len()) && from.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = from.len() <= 11
        && from.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_&+".contains(&byte))
        && from.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_e164(from) || is_short_code || is_name
}

fn media(form: &Form<'_>) -> Result<Vec<String>, ApiError> {
    let media = form.all("MediaUrl");
    if media.len() > MOST_MEDIA {
        return Err(ApiError::of(21623));
    }
    if media.iter().any(|url| web_url(url).is_none()) {
        return Err(ApiError::of(21620));
    }
    Ok(media)
}

fn matter(form: &Form<'_>) -> Result<Matter, ApiError> {
    let variables = form.get("ContentVariables");
    let Some(sid) = form.get("ContentSid") else {
        return match variables {
            Some(_) => Err(ApiError::of(21654)),
            None => Ok(Matter::Text),
        };
    };
    let variables = match variables.map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(Value::Object(map))) if map.values().all(Value::is_string) => map,
        Some(_) => return Err(ApiError::of(21656)),
    };
    Ok(Matter::Content { sid: sid.to_owned(), variables })
}

fn status_callback(form: &Form<'_>) -> Result<Option<String>, ApiError> {
    let Some(url) = form.get("StatusCallback") else {
        return Ok(None);
    };
    let is_usable = url.len() <= LONGEST_CALLBACK
        && web_url(url).is_some_and(|url| !url.host_str().unwrap_or_default().contains('_'));
    if is_usable { Ok(Some(url.to_owned())) } else { Err(ApiError::of(21609)) }
}

fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn validity(form: &Form<'_>) -> Result<u32, ApiError> {
    let Some(text) = form.get("ValidityPeriod") else {
        return Ok(LONGEST_VALIDITY);
    };
    text.parse().ok().filter(|seconds| (1..=LONGEST_VALIDITY).contains(seconds)).ok_or(ApiError::of(21624))
}

/// Twilio keeps a message for a while only for a Messaging Service, 15 minutes to 35 days ahead.
fn send_at(form: &Form<'_>, origin: &Origin) -> Result<Option<i64>, ApiError> {
    let at = match (form.get("ScheduleType"), form.get("SendAt")) {
        (None, _) => return Ok(None),
        (Some(_), _) if origin.service.is_none() => return Err(ApiError::of(35118)),
        (Some(_), None) => return Err(ApiError::of(35111)),
        (Some("fixed"), Some(at)) => at,
        (Some(_), _) => return Err(ApiError::saying(35114, "ScheduleType must be fixed")),
    };
    let at: Timestamp = at.parse().map_err(|_| ApiError::of(35114))?;
    let minutes = (at.as_millisecond() - now_millis()) / 60_000;
    if (15..=35 * 24 * 60).contains(&minutes) {
        Ok(Some(at.as_millisecond()))
    } else {
        Err(ApiError::of(35114))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "+14155550101";
    const FROM: &str = "+15005550006";

    fn code(pairs: &[(&str, &str)]) -> Option<String> {
        let form: Vec<(String, String)> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        read(&form, &Options::default())
            .err()
            .map(|error| error.to_string().split(':').next().unwrap().to_owned())
    }

    #[test]
    fn each_bad_parameter_has_its_code() {
        let long = "a".repeat(1601);
        let far = format!("https://e.example/{}", "a".repeat(4000));
        let good: &[(&str, &str)] = &[("To", TO), ("From", FROM), ("Body", "hi")];
        // Later pairs replace earlier ones of the same name.
        let table: &[(&[(&str, &str)], &str)] = &[
            (&[("To", "")], "21604"),
            (&[("To", "4155550101")], "21211"),
            (&[("To", "+0155550101")], "21211"),
            (&[("To", "+15005550001")], "21211"),
            (&[("To", "+15005550002")], "21612"),
            (&[("To", "+15005550003")], "21408"),
            (&[("To", "+15005550004")], "21610"),
            (&[("To", "+15005550009")], "21614"),
            (&[("To", FROM)], "21211"),
            (&[("To", "whatsapp:+14155550101")], "21910"),
            (&[("From", "")], "21603"),
            (&[("From", "not a sender!")], "21212"),
            (&[("From", "+15005550001")], "21212"),
            (&[("From", "+15005550007")], "21606"),
            (&[("From", "+15005550008")], "21611"),
            (&[("MessagingServiceSid", "MG1")], "21701"),
            (&[("Body", "")], "21619"),
            (&[("Body", &long)], "21617"),
            (&[("MediaUrl", "ftp://e.example/a")], "21620"),
            (&[("StatusCallback", "no url")], "21609"),
            (&[("StatusCallback", "https://a_b.example/")], "21609"),
            (&[("StatusCallback", &far)], "21609"),
            (&[("ValidityPeriod", "0")], "21624"),
            (&[("ValidityPeriod", "36001")], "21624"),
            (&[("ContentVariables", "{}")], "21654"),
            (&[("ContentSid", "HX1"), ("ContentVariables", "{")], "21656"),
            (&[("ContentSid", "HX1"), ("ContentVariables", "[]")], "21656"),
            (&[("ScheduleType", "fixed"), ("SendAt", "2030-01-01T00:00:00Z")], "35118"),
        ];
        assert_eq!(code(good), None);
        for (changed, expected) in table {
            let pairs = [good, changed].concat();
            assert_eq!(code(&pairs).as_deref(), Some(*expected), "{changed:?}");
        }
    }

    #[test]
    fn more_than_ten_media_are_refused_and_ten_are_not() {
        for (count, expected) in [(10, None), (11, Some("21623".to_owned()))] {
            let mut pairs = vec![("To", TO), ("From", FROM)];
            pairs.extend(std::iter::repeat_n(("MediaUrl", "https://e.example/a.jpg"), count));
            assert_eq!(code(&pairs), expected);
        }
    }

    #[test]
    fn parameters_that_do_nothing_here_are_ignored() {
        let pairs = [
            ("To", TO),
            ("From", "Acme"),
            ("Body", "hi"),
            ("MaxPrice", "0.1"),
            ("SmartEncoded", "true"),
            ("Whatever", "1"),
        ];
        assert_eq!(code(&pairs), None);
    }
}
