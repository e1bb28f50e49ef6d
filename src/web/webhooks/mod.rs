//! What Twilio calls: inbound messages and status callbacks. A request is let in by its signature alone;
//! 200 means that the raw row is on disk.

mod signed;

use actix_web::http::header::ContentType;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use super::error::Problem;
use crate::inbound::{self, Heard, Received, Source, Told};
use crate::store::Gap;
use crate::store::outcomes::{AttemptKey, RetryPolicy};
use crate::twilio::round_trip::WORD;
use crate::twilio::webhook::{InboundForm, StatusForm};
use signed::{Refusal, Signed};

/// The largest form that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Mounts both webhooks.
pub fn configure(config: &mut ServiceConfig) {
    config.service(
        web::scope("/webhooks/twilio")
            .service(web::resource("/inbound").route(web::post().to(receive_message)))
            .service(web::resource("/check").route(web::post().to(come_back)))
            .service(web::resource("/status").route(web::post().to(receive_status))),
    );
}

/// `POST /webhooks/twilio/inbound`: a person wrote. 200 with TwiML.
async fn receive_message(state: Data<State>, signed: Signed) -> Result<HttpResponse, Problem> {
    let received = keep_message(&state, signed).await;
    if matches!(received, Err(Refusal::Store(_))) {
        state.store.gaps().note(Gap::Webhook);
    }
    state.metrics.count_webhook("inbound", if received.is_ok() { "kept" } else { "refused" });
    let received = received.map_err(Refusal::into_problem)?;
    Ok(HttpResponse::Ok().content_type("text/xml; charset=utf-8").body(twiml(received.reply.as_deref())))
}

async fn keep_message(state: &State, signed: Signed) -> Result<Received, Refusal> {
    let form = InboundForm::read(&signed.params)?;
    signed.check_account(&form.account_sid, &state.config.get())?;
    let heard = Heard::new(form, &signed.params, &state.keywords.get());
    let replies = state.rules.get().replies.clone();
    state
        .store
        .write(move |tx| inbound::receive(tx, &heard, Source::Webhook, &replies).map_err(Refusal::Store))
        .await
}

/// `POST /webhooks/twilio/status?message=&attempt=`: news of one of our messages. 200, empty.
async fn receive_status(
    request: HttpRequest,
    state: Data<State>,
    signed: Signed,
) -> Result<HttpResponse, Problem> {
    let kept = keep_status(&state, signed, named_attempt(request.query_string())).await;
    state.metrics.count_webhook("status", if kept.is_ok() { "kept" } else { "refused" });
    kept.map_err(Refusal::into_problem)?;
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).finish())
}

async fn keep_status(state: &State, signed: Signed, named: Option<AttemptKey>) -> Result<(), Refusal> {
    let form = StatusForm::read(&signed.params)?;
    signed.check_account(&form.account_sid, &state.config.get())?;
    let policy = RetryPolicy::of(&state.rules.get(), state.config.get().delivery.max_attempts);
    let told = Told::new(form, &signed.params);
    state.store.write(move |tx| inbound::status(tx, &told, named, &policy).map_err(Refusal::Store)).await
}

/// `POST /webhooks/twilio/check`: our own round trip through the public address. 200 with the word that it brought;
/// nothing is kept.
async fn come_back(state: Data<State>, signed: Signed) -> Result<HttpResponse, Problem> {
    let value =
        |name: &str| signed.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    signed
        .check_account(value("AccountSid").unwrap_or_default(), &state.config.get())
        .map_err(Refusal::into_problem)?;
    let word: String = value(WORD).unwrap_or_default().chars().take(64).collect();
    Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body(word))
}

/// The message and attempt that our own callback URL names.
fn named_attempt(query: &str) -> Option<AttemptKey> {
    let (mut message_id, mut number) = (None, None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "message" => message_id = value.parse().ok(),
            "attempt" => number = value.parse().ok(),
            _ => {}
        }
    }
    Some(AttemptKey { message_id: message_id?, number: number? })
}

/// An answer for Twilio to carry out (<https://www.twilio.com/docs/messaging/twiml>).
fn twiml(reply: Option<&str>) -> String {
    const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
    match reply {
        Some(text) => format!("{HEAD}<Response><Message>{}</Message></Response>", escape(text)),
        None => format!("{HEAD}<Response/>"),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // Other control characters are no XML.
            c if c.is_control() && !matches!(c, '\n' | '\r' | '\t') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twiml_carries_a_reply_as_text_and_nothing_else() {
        assert_eq!(twiml(None), r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#);
        assert!(twiml(Some("a<b>&\u{0}c")).ends_with("<Message>a&lt;b&gt;&amp;c</Message></Response>"));
    }

    #[test]
    fn a_callback_url_without_both_ids_names_nothing() {
        assert_eq!(named_attempt("message=7&attempt=2"), Some(AttemptKey { message_id: 7, number: 2 }));
        assert_eq!(named_attempt("message=7"), None);
        assert_eq!(named_attempt("message=x&attempt=2"), None);
    }
}
