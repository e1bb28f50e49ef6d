//! What came with a message, handed on from Twilio piece by piece. A stranger chose the content: it is a picture of a
//! kind without script, or a file to save, and in neither case may it do anything in our name.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::web::{Bytes, Data, Path};
use futures_util::stream;

use crate::domain::attachment::{extension, shown_as};
use crate::inbound::AttachmentError;
use crate::twilio::media::MediaError;
use crate::web::State;
use crate::web::admin::Answer;
use crate::web::admin::failure::Failure;
use crate::web::error::Problem;

/// Nothing in it runs, loads or sends anything, and it has an origin of its own.
const POLICY: &str = "default-src 'none'; sandbox";
/// A page that is looked at again needs not ask Twilio again.
const KEPT: &str = "private, max-age=600";

impl From<AttachmentError> for Failure {
    fn from(error: AttachmentError) -> Failure {
        let (status, text) = match error {
            AttachmentError::Store(error) => return error.into(),
            AttachmentError::NotFound => (
                StatusCode::NOT_FOUND,
                "There is no such attachment. Retention may have removed it.".to_owned(),
            ),
            AttachmentError::NoAccount => {
                (StatusCode::CONFLICT, "Twilio keeps the attachment, and no account is set up.".to_owned())
            }
            AttachmentError::Media(MediaError::Unavailable(why)) => {
                tracing::warn!(%why, "an attachment could not be fetched");
                (StatusCode::BAD_GATEWAY, "Twilio did not hand out the attachment. Try again.".to_owned())
            }
            AttachmentError::Media(MediaError::TooLarge) => {
                (StatusCode::BAD_GATEWAY, "The attachment is larger than 32 MB.".to_owned())
            }
            AttachmentError::Media(error) => {
                (StatusCode::NOT_FOUND, format!("There is nothing to show: {error}."))
            }
        };
        Failure(Problem::new(status, text))
    }
}

/// Hands on one attachment.
pub(in crate::web::admin) async fn attachment(state: Data<State>, path: Path<(i64, i64, usize)>) -> Answer {
    let (user_id, inbound_id, number) = path.into_inner();
    let opened = state.attachments.open(user_id, inbound_id, number).await?;
    let shown = shown_as(&opened.content_type);
    let name = format!("message-{inbound_id}-{}.{}", number + 1, extension(&opened.content_type));
    let disposition = match shown {
        Some(_) => format!("inline; filename=\"{name}\""),
        None => format!("attachment; filename=\"{name}\""),
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, shown.unwrap_or("application/octet-stream")))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .insert_header((header::CACHE_CONTROL, KEPT));
    if let Some(length) = opened.length {
        answer.no_chunking(length);
    }
    let body = stream::unfold(Some(opened), |opened| async move {
        let mut opened = opened?;
        match opened.chunk().await {
            Ok(Some(chunk)) => Some((Ok(Bytes::from(chunk)), Some(opened))),
            Ok(None) => None,
            // The connection breaks off: what came so far is not taken for the whole.
            Err(error) => Some((Err(Failure::from(error).0), None)),
        }
    });
    Ok(answer.streaming(body))
}
