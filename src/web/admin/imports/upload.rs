//! A file comes in: piece by piece to disk, then looked at. What is wrong with it is said beside the field.

use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt;
use minijinja::context;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::Answer;
use super::super::failure::Failure;
use super::super::form::{check_csrf, new_once};
use super::super::page::Page;
use super::regions;
use crate::import::{self, FileError, NewDraft, Spool, SpoolError, Spooled, Survey, spool_dir};
use crate::store::StoreError;
use crate::web::State;
use crate::web::error::Problem;
use crate::web::idempotency::Once;
use crate::web::reply::Reply;

/// Longest hidden field, in bytes.
const MAX_HIDDEN: usize = 1_000;
/// Longest name of a file that is read, in characters.
const MAX_FILE_NAME: usize = 255;
/// How much of a file that is too long is read to its end: a browser that is cut off shows no answer.
const DRAINED: u64 = 4 << 30;

/// Asks for a file.
pub(in crate::web::admin) async fn new(page: Page, state: Data<State>) -> Answer {
    form(&page, &state, None)
}

fn form(page: &Page, state: &State, refused: Option<Refused>) -> Answer {
    let (status, error) =
        refused.map_or((StatusCode::OK, None), |Refused(status, message)| (status, Some(message)));
    page.show_as(
        status,
        "imports/new.html",
        context! {
            title => "Import people", section => "imports", error,
            max_bytes => state.config.get().import.max_bytes, days => import::DRAFT_DAYS,
        },
    )
}

/// A file that is not taken, in words.
struct Refused(StatusCode, String);

/// A file on its way in.
struct Upload {
    spool: Option<Spool>,
    digest: Sha256,
    file_name: String,
    once: String,
    is_ours: bool,
    refused: Option<Refused>,
}

impl Upload {
    async fn take(&mut self, page: &Page, state: &State, mut form: Multipart) -> Result<(), Failure> {
        while let Some(field) = form.next().await {
            let mut field =
                field.map_err(|error| Problem::unreadable(format!("The form can't be read: {error}.")))?;
            match field.name().unwrap_or_default() {
                "_csrf" => {
                    check_csrf(page.viewer.as_ref(), &hidden(&mut field).await?)?;
                    self.is_ours = true;
                }
                "_once" => self.once = hidden(&mut field).await?,
                "file" if !self.is_ours => {
                    return Err(Failure::forbidden("This form is older than your login. Send it again."));
                }
                "file" if self.spool.is_none() => {
                    let name = field.content_disposition().and_then(|about| about.get_filename());
                    self.file_name = base_name(name.unwrap_or_default());
                    self.take_file(state, &mut field).await?;
                }
                _ => return Err(Problem::unreadable("The form holds a field that it should not.").into()),
            }
        }
        Ok(())
    }

    async fn take_file(&mut self, state: &State, field: &mut Field) -> Result<(), Failure> {
        let limit = state.config.get().import.max_bytes;
        let spool = Spool::create(&spool_dir(state.store.paths()), limit).map_err(unkept)?;
        let spool = self.spool.insert(spool);
        let mut drained = 0;
        while let Some(piece) = field.next().await {
            let piece =
                piece.map_err(|_| Problem::unreadable("The upload ended early. Choose the file again."))?;
            if self.refused.is_some() {
                drained += piece.len() as u64;
                if drained > DRAINED {
                    break;
                }
                continue;
            }
            self.digest.update(&piece);
            match spool.write(&piece) {
                Ok(()) => {}
                Err(SpoolError::TooLarge { limit }) => {
                    let limit = super::super::format::bytes(i64::try_from(limit).unwrap_or(i64::MAX));
                    self.refused = Some(Refused(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        format!(
                            "This file is larger than {limit}. Split it, or raise max_bytes under [import]."
                        ),
                    ));
                }
                Err(error) => return Err(unkept(error)),
            }
        }
        Ok(())
    }
}

fn unkept(error: SpoolError) -> Failure {
    StoreError::Unavailable(format!("the spool: {error}")).into()
}

/// Some browsers send a path. What is left is only ever shown.
fn base_name(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or_default().chars().take(MAX_FILE_NAME).collect()
}

async fn hidden(field: &mut Field) -> Result<String, Failure> {
    let mut text = Vec::new();
    while let Some(piece) = field.next().await {
        let piece =
            piece.map_err(|_| Problem::unreadable("The upload ended early. Choose the file again."))?;
        if text.len() + piece.len() > MAX_HIDDEN {
            return Err(Problem::unreadable("The form can't be read.").into());
        }
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).map_err(|_| Problem::unreadable("The form can't be read.").into())
}

/// Takes a file, looks at it, and leads on to its columns.
pub(in crate::web::admin) async fn upload(
    page: Page,
    state: Data<State>,
    request: HttpRequest,
    payload: Payload,
) -> Answer {
    let mut upload = Upload {
        spool: None,
        digest: Sha256::new(),
        file_name: String::new(),
        once: new_once(),
        is_ours: false,
        refused: None,
    };
    upload.take(&page, &state, Multipart::new(request.headers(), payload)).await?;
    if !upload.is_ours {
        return Err(Failure::forbidden("This form is older than your login. Send it again."));
    }
    if let Some(refused) = upload.refused {
        return form(&page, &state, Some(refused));
    }
    let Some(spool) = upload.spool.filter(|_| !upload.file_name.is_empty()) else {
        let missing = "Choose a file first.".to_owned();
        return form(&page, &state, Some(Refused(StatusCode::UNPROCESSABLE_ENTITY, missing)));
    };
    let (file, survey) = match look_at(&state, spool).await? {
        Ok(found) => found,
        Err(error) => {
            let refused = Refused(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
            return form(&page, &state, Some(refused));
        }
    };
    let pairs = [("file".to_owned(), upload.file_name.clone())];
    let once = Once::of_form(page.actor(), request.path(), &upload.once, &pairs)
        .with_digest(upload.digest.finalize().into());
    let new = NewDraft { file_name: upload.file_name, file: file.clone(), survey, actor: page.actor() };
    keep(&page, &state, once, new, file).await
}

/// Puts the file on disk and reads it once, beside the threads that serve requests. A file that can't be read
/// leaves nothing behind.
async fn look_at(state: &State, spool: Spool) -> Result<Result<(Spooled, Survey), FileError>, Failure> {
    let regions = regions(state);
    let looked = tokio::task::spawn_blocking(move || -> Result<_, SpoolError> {
        let file = spool.finish()?;
        match import::survey_file(&file.path, None, &regions) {
            Ok(survey) => {
                import::keep_survey(&file.path, &survey)?;
                Ok(Ok((file, survey)))
            }
            Err(error) => {
                import::discard(&file);
                Ok(Err(error))
            }
        }
    });
    looked.await.map_err(|error| StoreError::Internal(error.to_string()))?.map_err(unkept)
}

async fn keep(
    page: &Page,
    state: &State,
    once: Once,
    new: NewDraft,
    file: Spooled,
) -> Result<HttpResponse, Failure> {
    let path = file.path.clone();
    let answer = once
        .write(&state.store, move |tx| {
            let id = import::draft(tx, &new)?;
            Ok(Reply::created(format!("/admin/imports/{id}/columns"), Value::Null))
        })
        .await;
    match answer {
        Ok(reply) => {
            // A second click got the draft of the first one, and its own copy of the file is nobody's.
            let wanted = state.store.read(crate::store::imports::spooled).await?;
            if !wanted.contains(&path) {
                import::discard(&file);
            }
            page.go(&reply, "")
        }
        Err(problem) => {
            // When the store gave no answer the row may still come to be: such a file is left to the sweep.
            if !problem.status().is_server_error() {
                import::discard(&file);
            }
            Err(problem.into())
        }
    }
}
