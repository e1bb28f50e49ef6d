//! `GET /2010-04-01/Accounts/{Sid}.json`: what a check of credentials asks for.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::super::Inner;
use super::super::errors::ApiError;
use super::super::message::rfc_2822;
use super::enter_to_read;

pub(super) async fn fetch(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let sid = &inner.options.account_sid;
    let base = format!("/2010-04-01/Accounts/{sid}");
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        // Twilio answers the token itself here. A stand-in has no reason to.
        "auth_token": null,
        "date_created": rfc_2822(0),
        "date_updated": rfc_2822(0),
        "friendly_name": "Simulated account",
        "owner_account_sid": sid,
        "sid": sid,
        "status": "active",
        "subresource_uris": { "messages": format!("{base}/Messages.json") },
        "type": "Full",
        "uri": format!("{base}.json"),
    })))
}
