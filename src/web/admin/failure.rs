//! What went wrong, on its way to an error page. `guard` renders it, since only there is a page at hand.

use actix_web::ResponseError;
use actix_web::http::StatusCode;

use crate::campaign::CampaignError;
use crate::content::ContentsError;
use crate::store::StoreError;
use crate::web::error::Problem;

/// A failure of a page.
#[derive(Debug)]
pub(in crate::web) struct Failure(pub(super) Problem);

impl Failure {
    /// 404.
    pub(super) fn not_found(detail: impl Into<String>) -> Failure {
        Failure(Problem::not_found(detail))
    }

    /// 403.
    pub(super) fn forbidden(detail: impl Into<String>) -> Failure {
        Failure(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.0.status()
    }
}

macro_rules! from {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure(error.into())
            }
        })+
    };
}

from!(StoreError, CampaignError, ContentsError);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure(problem)
    }
}

impl From<minijinja::Error> for Failure {
    /// A template that can't be rendered is a defect of ours.
    fn from(error: minijinja::Error) -> Failure {
        Failure(StoreError::Internal(format!("{error:#}")).into())
    }
}
