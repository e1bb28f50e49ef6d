//! `ese openapi`: the description of the API, as the server serves it.

use std::io::Write;

use anyhow::Result;

use crate::web::openapi;

/// Prints the document.
///
/// # Errors
/// When standard output is gone.
pub(super) fn run() -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{:#}", openapi::document())?)
}
