//! What came with a message: the list, and the files, which Twilio hands out by a redirect to a store that asks for no
//! password (<https://www.twilio.com/docs/messaging/api/media-resource>). A message whose `media` names a MIME type
//! instead of a URL has a file made up here; `video/mp4 40000000` has so many bytes.

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::super::errors::ApiError;
use super::super::message::{Message, Sid, rfc_2822};
use super::super::{Inner, chance};
use super::enter_to_read;
use super::item::index_of;

/// What every picture shows.
const PICTURE: &[u8] = include_bytes!("picture.png");
/// What a file is that a stranger sends: nothing that should ever run on our pages.
const HOSTILE: &[u8] =
    b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>document.title='owned'</script></svg>";
/// Longest file that is made up, in bytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// SID of the attachment `number` of a message.
fn sid(message: Sid, number: usize) -> String {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    format!("ME{:032x}", chance::identity(number, message.bits as u64))
}

/// MIME type and length of a file that is made up here; `None` for the URL of another server.
fn made_up(media: &str) -> Option<(&str, Option<usize>)> {
    if media.contains("://") {
        return None;
    }
    let (kind, length) = media.split_once(' ').unwrap_or((media, ""));
    Some((kind, length.parse().ok().map(|length: usize| length.min(LONGEST))))
}

/// URL and MIME type of the attachment `number`, as webhooks tell them. `base`: where this simulator is.
pub(in crate::simulator) fn told(
    base: &str,
    account_sid: &str,
    message: Sid,
    number: usize,
    media: &str,
) -> (String, String) {
    match made_up(media) {
        None => (media.to_owned(), "image/jpeg".to_owned()),
        Some((kind, _)) => {
            let path = format!("/2010-04-01/Accounts/{account_sid}/Messages/{message}/Media");
            (format!("{base}{path}/{}", sid(message, number)), kind.to_owned())
        }
    }
}

/// The attachments of a message.
pub(super) async fn list(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let index = index_of(&inner, &request)?;
    let state = inner.state();
    let message = state.get(index).ok_or(ApiError::of(20404))?;
    let account_sid = &inner.options.account_sid;
    let parent = message.sid.to_string();
    let base = format!("/2010-04-01/Accounts/{account_sid}/Messages/{parent}/Media");
    let media: Vec<_> = message
        .media
        .iter()
        .enumerate()
        .map(|(number, media)| {
            let sid = sid(message.sid, number);
            json!({
                "sid": sid,
                "account_sid": account_sid,
                "parent_sid": parent,
                "content_type": made_up(media).map_or("image/jpeg", |(kind, _)| kind),
                "date_created": rfc_2822(message.created),
                "date_updated": rfc_2822(message.created),
                "uri": format!("{base}/{sid}.json"),
            })
        })
        .collect();
    let uri = format!("{base}.json?PageSize=50&Page=0");
    Ok(pass.answer(HttpResponse::Ok()).json(json!({
        "first_page_uri": uri,
        "next_page_uri": null,
        "previous_page_uri": null,
        "uri": uri,
        "page": 0,
        "page_size": 50,
        "start": 0,
        "end": media.len().saturating_sub(1),
        "media_list": media,
    })))
}

/// The file itself: a redirect to the store.
pub(super) async fn fetch(inner: web::Data<Inner>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let pass = enter_to_read(&inner, &request).await?;
    let index = index_of(&inner, &request)?;
    let wanted = request.match_info().get("media").unwrap_or_default();
    let state = inner.state();
    let message = state.get(index).ok_or(ApiError::of(20404))?;
    let number = number_of(message, wanted).ok_or(ApiError::of(20404))?;
    let place = format!("/_media/{}/{number}", message.sid);
    Ok(pass.answer(HttpResponse::TemporaryRedirect()).insert_header((LOCATION, place)).finish())
}

fn number_of(message: &Message, wanted: &str) -> Option<usize> {
    (0..message.media.len()).find(|number| sid(message.sid, *number) == wanted)
}

/// The store.
pub(super) async fn store(
    inner: web::Data<Inner>,
    path: web::Path<(String, usize)>,
) -> Result<HttpResponse, ApiError> {
    let (message, number) = path.into_inner();
    let state = inner.state();
    let media = Sid::parse(&message)
        .and_then(|sid| state.index_of(sid))
        .and_then(|index| state.get(index))
        .and_then(|message| message.media.get(number))
        .ok_or(ApiError::of(20404))?;
    let (kind, length) = made_up(media).ok_or(ApiError::of(20404))?;
    let body = match length {
        Some(length) => vec![0; length],
        None if kind.starts_with("image/") && !kind.contains("svg") => PICTURE.to_vec(),
        None => HOSTILE.to_vec(),
    };
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, kind.to_owned())).body(body))
}
