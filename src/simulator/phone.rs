//! The phone page: what a number received, and a form to answer as that person.
//!
//! Plain HTML without scripts. Every word of a message is written by strangers, so everything is
//! escaped and the policy lets nothing run or load but the page's own style sheet.

use std::fmt::Write;

use actix_web::http::header::{ContentType, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use super::control;
use super::inbound::{self, Inbound};
use super::life::is_whatsapp;
use super::message::{Direction, Message, Status};
use super::state::bare;
use super::{Inner, errors};

const STYLE: &str = include_str!("phone.css");
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// How many of the newest messages are looked through for the list of phones.
const DEPTH: usize = 20_000;
/// How many messages of a conversation are shown, and how many phones in the list.
const SHOWN: usize = 200;
/// What may not stand in a path segment. `+` and `:` may.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(phones))
        .route("/phone.css", web::get().to(style))
        .route("/phone/{number}", web::get().to(phone))
        .route("/phone/{number}/reply", web::post().to(reply));
}

/// The number as it stands in the page's path.
pub(super) fn path_of(number: &str) -> String {
    utf8_percent_encode(bare(number), SEGMENT).to_string()
}

async fn style() -> HttpResponse {
    HttpResponse::Ok().content_type("text/css; charset=utf-8").body(STYLE)
}

/// The phones that got or sent something, newest first.
async fn phones(inner: web::Data<Inner>) -> HttpResponse {
    let state = inner.state();
    let mut list = String::new();
    for message in state.recent_people(DEPTH).into_iter().take(SHOWN) {
        let number = bare(message.person());
        let _ = write!(
            list,
            "<li><a href=\"/phone/{path}\"><span class=\"who\"><b>{number}</b>\
             <time>{time}</time></span><span class=\"last\">{mine}{body}</span></a></li>",
            path = escape(&path_of(number)),
            number = escape(number),
            time = clock_time(message.created),
            mine = if message.direction == Direction::Inbound { "You: " } else { "" },
            body = escape(&preview(&message.body)),
        );
    }
    drop(state);
    if list.is_empty() {
        list.push_str("<li class=\"none\">No phone has received anything yet.</li>");
    }
    page(
        "Phones",
        &format!(
            "<header><h1>Phones</h1><a class=\"again\" href=\"/\">Refresh</a></header>\
             <ul class=\"phones\">{list}</ul>"
        ),
    )
}

/// One phone: its conversations on all channels, oldest first, and the form to answer.
async fn phone(inner: web::Data<Inner>, number: web::Path<String>) -> HttpResponse {
    let number = bare(&number).to_owned();
    let state = inner.state();
    let conversation = state.conversation(&number);
    let skipped = conversation.len().saturating_sub(SHOWN);
    let mut bubbles = String::new();
    for message in conversation.iter().skip(skipped) {
        bubbles.push_str(&bubble(message));
    }
    let mut senders: Vec<String> = Vec::new();
    for sender in conversation.iter().rev().filter_map(|m| m.sender()) {
        if !senders.iter().any(|known| known == sender) {
            senders.push(sender.to_owned());
        }
    }
    drop(state);
    if bubbles.is_empty() {
        bubbles.push_str("<p class=\"none\">This phone has received nothing yet.</p>");
    }
    let title = escape(&number);
    let body = format!(
        "<header><a class=\"back\" href=\"/\" aria-label=\"All phones\">‹</a><h1>{title}</h1>\
         <a class=\"again\" href=\"/phone/{path}#end\">Refresh</a></header>\
         <main>{bubbles}<span id=\"end\"></span></main>{form}",
        path = escape(&path_of(&number)),
        form = reply_form(&number, &senders),
    );
    page(&title, &body)
}

fn bubble(message: &Message) -> String {
    let side = match message.direction {
        Direction::Inbound => "mine",
        Direction::OutboundApi | Direction::OutboundReply => "theirs",
    };
    let state = match message.status {
        Status::Scheduled | Status::Accepted | Status::Queued => " waiting",
        Status::Failed | Status::Undelivered | Status::Canceled => " lost",
        Status::Sent | Status::Delivered | Status::Read | Status::Received => "",
    };
    let channel = if is_whatsapp(&message.to) { "WhatsApp" } else { "SMS" };
    let mut html = format!("<article class=\"{side}{state}\"><p>{body}</p>", body = escape(&message.body),);
    for url in &message.media {
        let _ = write!(html, "<p class=\"media\">Picture: {}</p>", escape(url));
    }
    let _ = write!(
        html,
        "<footer>{sender} · {channel} · {time} · {status}{error}</footer></article>",
        sender = escape(bare(message.sender().unwrap_or("service"))),
        time = clock_time(message.created),
        status = message.status.as_str(),
        error = message
            .error
            .map_or_else(String::new, |code| format!(" · {code} {}", escape(&errors::text(code)))),
    );
    html
}

fn reply_form(number: &str, senders: &[String]) -> String {
    if senders.is_empty() {
        return String::new();
    }
    let mut options = String::new();
    for sender in senders {
        let channel = if is_whatsapp(sender) { "WhatsApp" } else { "SMS" };
        let _ = write!(
            options,
            "<option value=\"{value}\">{channel} to {shown}</option>",
            value = escape(sender),
            shown = escape(bare(sender)),
        );
    }
    format!(
        "<form method=\"post\" action=\"/phone/{path}/reply\">\
         <select name=\"to\" aria-label=\"Answer to\">{options}</select>\
         <input name=\"body\" autocomplete=\"off\" autofocus required maxlength=\"1600\" \
         placeholder=\"Answer as this person\" aria-label=\"Message\">\
         <button>Send</button></form>",
        path = escape(&path_of(number)),
    )
}

#[derive(Deserialize)]
struct Reply {
    to: String,
    body: String,
}

/// Sends the form as the person, on the channel of the address answered to.
async fn reply(
    inner: web::Data<Inner>,
    request: HttpRequest,
    number: web::Path<String>,
    form: web::Form<Reply>,
) -> HttpResponse {
    if !control::is_from_here(request.headers()) {
        return HttpResponse::Forbidden().body("This form belongs to the phone page.");
    }
    let number = bare(&number).to_owned();
    let from = if is_whatsapp(&form.to) { format!("whatsapp:{number}") } else { number.clone() };
    let inbound = Inbound::text(&from, &form.to, &form.body);
    inbound::receive(&inner.into_inner(), inbound).await;
    HttpResponse::SeeOther().insert_header((LOCATION, format!("/phone/{}#end", path_of(&number)))).finish()
}

fn page(title: &str, body: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header(("Content-Security-Policy", POLICY))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Referrer-Policy", "same-origin"))
        .insert_header(("Cache-Control", "no-store"))
        .body(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title><link rel=\"stylesheet\" href=\"/phone.css\"></head>\
             <body><div class=\"phone\">{body}</div></body></html>"
        ))
}

/// `09:30:05` in UTC.
fn clock_time(millis: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%H:%M:%S UTC").to_string()
}

fn preview(body: &str) -> String {
    body.chars().take(90).collect()
}

/// Text as it stands in HTML, inside an attribute too.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_could_be_markup_survives_escaping() {
        assert_eq!(
            escape("<script>alert('x')</script> & \"y\""),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;"
        );
    }
}
