//! `If-Match`: an edit that was made of an older version is refused instead of undoing a newer one.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};

use super::error::Problem;

/// The versions for which an edit holds; without the header, any.
#[derive(Clone, Debug)]
pub struct IfMatch(Option<String>);

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<IfMatch, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let values: Vec<&str> =
            request.headers().get_all(header::IF_MATCH).filter_map(|value| value.to_str().ok()).collect();
        ready(Ok(IfMatch((!values.is_empty()).then(|| values.join(",")))))
    }
}

impl IfMatch {
    /// For one version alone; `None`: for any.
    pub fn of_version(version: Option<i64>) -> IfMatch {
        IfMatch(version.map(|version| format!("\"{version}\"")))
    }

    /// Compares strongly with the version in force (RFC 9110, 13.1.1).
    ///
    /// # Errors
    /// 412 when somebody else was faster.
    pub fn check(&self, version: i64) -> Result<(), Problem> {
        let tag = format!("\"{version}\"");
        let fits = match &self.0 {
            None => true,
            Some(tags) => tags.split(',').map(str::trim).any(|given| given == "*" || given == tag),
        };
        if fits {
            return Ok(());
        }
        let detail = format!("It was changed meanwhile and is now version {version}. Fetch it again.");
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_in_force_matches() {
        for (header, fits) in [
            (None, true),
            (Some("*"), true),
            (Some("\"3\""), true),
            (Some("\"2\", \"3\""), true),
            (Some("\"2\""), false),
            (Some("W/\"3\""), false),
            (Some("3"), false),
            (Some(""), false),
        ] {
            assert_eq!(IfMatch(header.map(str::to_owned)).check(3).is_ok(), fits, "{header:?}");
        }
    }
}
