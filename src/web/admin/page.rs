//! What a handler knows of its viewer, and how it answers: a whole page, a part of one, or the way to another.

use std::future::{Ready, ready};

use actix_web::cookie::time::Duration as CookieAge;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, web};
use jiff::tz::TimeZone;
use minijinja::{Value, context};

use super::Answer;
use super::failure::Failure;
use super::form::Kept;
use super::{render, see_other};
use crate::clock::Millis;
use crate::store::operators::{Operator, Role};
use crate::web::State;
use crate::web::error::Problem;
use crate::web::reply::Reply;
use crate::web::request_id::RequestId;

/// A sentence for the next page; kept by the browser for a minute at most.
const NOTICE: &str = "ese_notice";
/// The viewer's time zone, as their browser tells it.
const ZONE: &str = "ese_zone";

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    pub(super) operator: Operator,
    pub(super) token_hash: [u8; 32],
    /// When the password was given last.
    pub(super) proved_at: Millis,
    /// What the forms of this session hold.
    pub(super) csrf: String,
    /// Whether nothing is sent, because the file was restored from a copy.
    pub(super) is_held: bool,
}

/// One request of a page. Behind the login there is always a viewer.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) viewer: Option<Viewer>,
    /// The zone in which times are shown.
    pub(super) zone: TimeZone,
    /// True when htmx asks for a part.
    pub(super) is_htmx: bool,
    pub(super) request_id: String,
    /// The address as it was asked for, with its query.
    pub(super) here: String,
    now: Millis,
    notice: Option<String>,
    state: Option<web::Data<State>>,
}

impl FromRequest for Page {
    type Error = Failure;
    type Future = Ready<Result<Page, Failure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Page::of(request)))
    }
}

impl Page {
    /// The page that a request asks for.
    pub(super) fn of(request: &HttpRequest) -> Page {
        let viewer = request.extensions().get::<Viewer>().cloned();
        let state = request.app_data::<web::Data<State>>().cloned();
        let cookie = |name: &str| {
            let cookie = request.cookie(name)?;
            let text = percent_encoding::percent_decode_str(cookie.value()).decode_utf8().ok()?;
            Some(text.into_owned())
        };
        let chosen = viewer.as_ref().and_then(|viewer| viewer.operator.zone.clone());
        let zone = chosen.or_else(|| cookie(ZONE)).and_then(|name| TimeZone::get(&name).ok());
        let zone = zone.unwrap_or(TimeZone::UTC);
        Page {
            viewer,
            zone,
            is_htmx: request.headers().contains_key("hx-request"),
            request_id: request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
            here: request.uri().path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default(),
            now: state.as_ref().map_or(0, |state| state.store.clock().now()),
            notice: cookie(NOTICE).filter(|text| !text.is_empty()),
            state,
        }
    }

    /// Whether the viewer may do what this role may.
    pub(super) fn may(&self, role: Role) -> bool {
        self.viewer.as_ref().is_some_and(|viewer| viewer.operator.role >= role)
    }

    /// The viewer as ledger and events name them: `operator:3`.
    pub(super) fn actor(&self) -> String {
        match &self.viewer {
            Some(viewer) => format!("operator:{}", viewer.operator.id),
            None => "nobody".to_owned(),
        }
    }

    /// Whether numbers are masked.
    pub(super) fn is_masked(&self) -> bool {
        !self.may(Role::Operator)
    }

    /// The same page for everybody of this zone and role, at another moment: nothing in it is of one person or
    /// session. What many look at is rendered with it.
    pub(super) fn for_all(&self, now: Millis) -> Page {
        let viewer = self.viewer.as_ref().map(|viewer| Viewer {
            operator: Operator {
                id: 0,
                email: String::new(),
                password_changed_at: None,
                totp_enabled_at: None,
                created_at: 0,
                last_login_at: None,
                disabled_at: None,
                ..viewer.operator.clone()
            },
            token_hash: [0; 32],
            proved_at: 0,
            csrf: String::new(),
            ..viewer.clone()
        });
        Page { viewer, now, notice: None, request_id: String::new(), here: String::new(), ..self.clone() }
    }

    /// The moment of the request.
    pub(super) fn now(&self) -> Millis {
        self.now
    }

    /// What every template may name as `page`, in whole pages and in parts.
    fn value(&self, is_part: bool) -> Value {
        let state = self.state.as_ref();
        let public = state.map(|state| state.config.get().server.public_base_url.to_string());
        let badges = state.map(|state| state.badges.last());
        context! {
            operator => self.viewer.as_ref().map(|viewer| context! {
                id => viewer.operator.id,
                email => viewer.operator.email.clone(),
                role => viewer.operator.role.as_str(),
            }),
            theme => self.viewer.as_ref().map_or("auto", |viewer| viewer.operator.theme.as_str()),
            has_shortcuts => self.viewer.as_ref().is_none_or(|viewer| viewer.operator.has_shortcuts),
            may_operate => self.may(Role::Operator),
            may_administer => self.may(Role::Admin),
            csrf => self.viewer.as_ref().map(|viewer| viewer.csrf.clone()),
            zone => self.zone.iana_name().unwrap_or("UTC"),
            now => self.now,
            here => self.here.clone(),
            request_id => self.request_id.clone(),
            notice => self.notice.clone(),
            is_part => is_part,
            is_masked => self.is_masked(),
            is_simulated => state.is_some_and(|state| state.setup.get().is_simulated),
            is_held => self.viewer.as_ref().is_some_and(|viewer| viewer.is_held),
            badges => badges.map(|badges| badges.value()),
            public_base_url => public,
        }
    }

    fn render(&self, name: &str, values: Value, is_part: bool) -> Result<String, minijinja::Error> {
        render::render(name, self.value(is_part), values)
    }

    /// A whole page, 200.
    pub(super) fn show(&self, name: &str, values: Value) -> Answer {
        self.show_as(StatusCode::OK, name, values)
    }

    /// A whole page with another status.
    pub(super) fn show_as(&self, status: StatusCode, name: &str, values: Value) -> Answer {
        let body = self.render(name, values, false)?;
        let mut answer = HttpResponse::build(status);
        answer.insert_header(ContentType::html());
        if self.notice.is_some() {
            answer.cookie(notice_cookie(""));
        }
        Ok(answer.body(body))
    }

    /// A part of a page, for htmx.
    pub(super) fn part(&self, name: &str, values: Value) -> Answer {
        Ok(HttpResponse::Ok().insert_header(ContentType::html()).body(self.part_text(name, values)?))
    }

    /// The text of a part.
    pub(super) fn part_text(&self, name: &str, values: Value) -> Result<String, Failure> {
        Ok(self.render(name, values, true)?)
    }

    /// To the place that a reply names, with a sentence for its top.
    pub(super) fn go(&self, reply: &Reply, notice: &str) -> Answer {
        self.go_to(reply.location().unwrap_or("/admin"), notice)
    }

    /// To another page (303), with a sentence for its top.
    pub(super) fn go_to(&self, location: &str, notice: &str) -> Answer {
        let mut answer = see_other(location);
        if !notice.is_empty() && answer.add_cookie(&notice_cookie(notice)).is_err() {
            tracing::debug!("a notice could not be kept");
        }
        Ok(answer)
    }

    /// The page of a failure; what was posted is kept in it, to be sent again.
    pub(super) fn failed(&self, problem: &Problem, kept: Option<Kept>) -> HttpResponse {
        let status = problem.status();
        let values = context! {
            title => title(status),
            status => status.as_u16(),
            detail => problem.to_string(),
            kept => kept.map(|kept| context! { action => kept.action, pairs => kept.pairs }),
        };
        let body = self.render("error.html", values, self.is_htmx).unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "the page of a failure failed");
            format!("This page failed. Request {}.", self.request_id)
        });
        let mut answer = HttpResponse::build(status);
        answer.insert_header(ContentType::html());
        if let Some(seconds) = problem.retry_after() {
            answer.insert_header((header::RETRY_AFTER, seconds));
        }
        answer.body(body)
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::UNAUTHORIZED => "Logged out",
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "Something changed meanwhile",
        StatusCode::TOO_MANY_REQUESTS => "Too often",
        StatusCode::SERVICE_UNAVAILABLE => "The data file can't answer right now",
        status if status.is_server_error() => "This page failed",
        _ => "This can't be taken",
    }
}

fn notice_cookie(text: &str) -> Cookie<'static> {
    let text = percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let age = if text.is_empty() { CookieAge::ZERO } else { CookieAge::seconds(60) };
    Cookie::build(NOTICE, text).path("/admin").http_only(true).same_site(SameSite::Lax).max_age(age).finish()
}
