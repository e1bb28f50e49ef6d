//! Before the first chunk of an import: a survey of the whole file, and the job that its columns and the options make.

use std::collections::HashMap;
use std::path::Path;

use super::columns::{self, Field};
use super::decide::Job;
use super::file::{self, FileError, Layout};
use super::options::Options;
use super::row::RowReader;
use crate::store::imports::ImportRow;
use crate::store::topics::{self, Topic};
use crate::store::{Store, StoreError};

/// A surveyed file and the job that it makes.
pub(super) struct Prepared {
    pub(super) layout: Layout,
    pub(super) job: Job,
}

/// Surveys the file on a thread of its own. The inner error is for whoever uploaded it.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub(super) async fn prepare(
    store: &Store,
    import: &ImportRow,
) -> Result<Result<Prepared, FileError>, StoreError> {
    let topics = store.read(topics::list).await?;
    let import = import.clone();
    let prepared = tokio::task::spawn_blocking(move || prepare_here(&import, &topics));
    Ok(prepared.await.unwrap_or_else(|_| Err(FileError::Refused("The file can't be read.".to_owned()))))
}

fn prepare_here(import: &ImportRow, topics: &[Topic]) -> Result<Prepared, FileError> {
    let options = Options::parse(&import.options).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        FileError::Refused(format!("The options no longer hold: {}.", all.join("; ")))
    })?;
    let path = import.spool_path.as_deref().unwrap_or(Path::new(""));
    let layout = file::survey(path, options.encoding.as_deref())?;
    let fields = columns::assign(&layout, &options)?;
    let ids: HashMap<String, i64> =
        topics.iter().map(|topic| (topic.name.to_lowercase(), topic.id)).collect();
    let mut joined = Vec::new();
    for name in &options.topics {
        match ids.get(&name.to_lowercase()) {
            Some(id) => joined.push(*id),
            None => return Err(FileError::Refused(format!("There is no topic “{name}”. Make it first."))),
        }
    }
    let reader = RowReader {
        phone_column: fields.iter().position(|field| *field == Field::Phone).unwrap_or_default(),
        header: layout.header.clone(),
        fields,
        default_region: options.default_region.clone(),
        topics: ids,
        joined,
    };
    let job = Job {
        id: import.id,
        actor: format!("import:{}", import.id),
        file_name: import.file_name.clone(),
        options,
        reader,
    };
    Ok(Prepared { layout, job })
}
