//! One message: fetch, redact, cancel, delete.

use actix_web::{HttpRequest, HttpResponse, web};

use super::super::Inner;
use super::super::errors::ApiError;
use super::super::life;
use super::super::message::{Sid, Status};
use super::super::state::Change;
use super::{enter, enter_to_read, parameters};

/// Where the message of the path lies.
pub(super) fn index_of(inner: &Inner, request: &HttpRequest) -> Result<usize, ApiError> {
    let sid = request.match_info().get("sid").unwrap_or_default();
    let state = inner.state();
    Sid::parse(sid)
        .and_then(|sid| state.index_of(sid))
        .filter(|index| state.get(*index).is_some())
        .ok_or_else(|| {
            ApiError::saying(20404, format!("The requested resource {} was not found", request.path()))
        })
}

pub(super) async fn fetch(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let index = index_of(&inner, &request)?;
    let state = inner.state();
    let message = state.get(index).ok_or(ApiError::of(20404))?;
    let resource = message.resource(&inner.options.account_sid);
    Ok(pass.answer(HttpResponse::Ok()).json(resource))
}

/// `Status=canceled` cancels what was not sent yet; `Body=` blanks the text.
pub(super) async fn update(
    inner: web::Data<Inner>,
    request: HttpRequest,
    body: web::Bytes,
) -> Result<HttpResponse, ApiError> {
    let inner = inner.into_inner();
    let pass = enter(&inner, &request).await?;
    let index = index_of(&inner, &request)?;
    let form = parameters::form(&request, &body);
    let value = |name: &str| {
        let pair = form.iter().rev().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str())
    };
    match value("Status") {
        None => {}
        Some("canceled") => cancel(&inner, index)?,
        Some(_) => return Err(ApiError::saying(20001, "Status can only become canceled")),
    }
    match value("Body") {
        None => {}
        Some("") => redact(&inner, index),
        Some(_) => return Err(ApiError::saying(20001, "Body can only be emptied")),
    }
    let state = inner.state();
    let message = state.get(index).ok_or(ApiError::of(20404))?;
    let resource = message.resource(&inner.options.account_sid);
    Ok(pass.answer(HttpResponse::Ok()).json(resource))
}

fn cancel(inner: &std::sync::Arc<Inner>, index: usize) -> Result<(), ApiError> {
    let change = {
        let mut state = inner.state();
        let message = state.get_mut(index).ok_or(ApiError::of(20404))?;
        if !message.status.is_waiting() {
            return Err(ApiError::saying(
                20409,
                format!("A message that is {} can't be canceled", message.status.as_str()),
            ));
        }
        let change = Change { status: Status::Canceled, error: None, parts: message.parts, from: None };
        state.advance(index, change.clone(), inner.now());
        change
    };
    let told = std::sync::Arc::clone(inner);
    let busy = inner.busy();
    inner.runtime.spawn(async move {
        life::tell(&told, index, &change).await;
        drop(busy);
    });
    Ok(())
}

fn redact(inner: &Inner, index: usize) {
    if let Some(message) = inner.state().get_mut(index) {
        message.body = Box::default();
        message.updated = inner.now();
    }
}

pub(super) async fn delete(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter(&inner, &request).await?;
    let index = index_of(&inner, &request)?;
    if let Some(message) = inner.state().get_mut(index) {
        message.is_deleted = true;
    }
    Ok(pass.answer(HttpResponse::NoContent()).finish())
}
