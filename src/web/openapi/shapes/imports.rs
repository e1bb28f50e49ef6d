//! Imports: files of people on their way in.

use serde_json::json;
use utoipa::ToSchema;

use super::{Time, shape, words};

shape! {
    /// How far an import is.
    ImportState = words(["queued", "running", "finished", "failed"]);
    /// The options of an import, as JSON text: which column is what, how people whom we know are treated,
    /// what is told about consent.
    ImportOptions = json!({"type": "string", "contentMediaType": "application/json",
        "examples": [r#"{"mapping":{"Phone No":"phone","Vorname":"name"},"mode":"merge","default_region":"LK"}"#]});
    /// The file itself: CSV, XLSX, a JSON array or NDJSON.
    ImportFile = json!({"type": "string", "contentMediaType": "application/octet-stream"});
    /// A sheet of people as CSV: UTF-8, UTF-16 or Windows-1252.
    CsvFile = json!({"type": "string", "examples": ["phone,name,consent\n+14155550101,Ana,yes\n"]});
    /// People as JSON objects.
    JsonFile = json!({"type": "array", "items": {"type": "object"},
        "examples": [[{"phone": "+14155550101", "name": "Ana", "consent": "yes"}]]});
}

/// The form of an upload.
#[derive(Debug, ToSchema)]
#[schema(example = json!({"file": "phone,name,consent\n+14155550101,Ana,yes\n",
    "options": "{\"default_region\":\"US\"}"}))]
pub struct ImportForm {
    /// The file.
    pub file: ImportFile,
    /// What is told about it.
    #[schema(nullable = false)]
    pub options: Option<ImportOptions>,
}

/// A file of people, and what came of it so far.
#[derive(Debug, ToSchema)]
pub struct Import {
    /// Key.
    pub id: i64,
    /// How far it is.
    pub state: ImportState,
    /// The name under which it came.
    #[schema(example = "people.csv")]
    pub file_name: String,
    /// What the content turned out to be.
    #[schema(example = "csv")]
    pub format: Option<String>,
    /// The encoding that was found, or given.
    #[schema(example = "UTF-8")]
    pub encoding: Option<String>,
    /// Nothing was changed, only counted.
    #[schema(example = false)]
    pub dry_run: bool,
    /// Rows read so far.
    #[schema(example = 402)]
    pub rows: i64,
    /// People added.
    #[schema(example = 400)]
    pub created: i64,
    /// People changed.
    #[schema(example = 0)]
    pub updated: i64,
    /// People who were known just so.
    #[schema(example = 0)]
    pub unchanged: i64,
    /// Rows of a number that came again further down.
    #[schema(example = 1)]
    pub duplicates: i64,
    /// Rows that were not taken.
    #[schema(example = 1)]
    pub rejected: i64,
    /// Rows by the reason that is told about them.
    pub reasons: Counts,
    /// From 0 to 1.
    #[schema(minimum = 0.0, maximum = 1.0, example = 1.0)]
    pub progress: f64,
    /// Why it failed.
    #[schema(example = json!(null))]
    pub error: Option<String>,
    /// When it was queued.
    pub created_at: Time,
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
}

shape! {
    /// How many by name.
    Counts = json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}});
    /// The row as it stood in the file, by column; empty once the person was erased.
    Cells = json!({"type": "object", "additionalProperties": true, "examples": [{"phone": "12"}]});
}

/// A row with something to say about it.
#[derive(Debug, ToSchema)]
pub struct ImportIssue {
    /// As a spreadsheet counts.
    #[schema(example = 7)]
    pub row: i64,
    /// The name that programs go by.
    #[schema(example = "invalid_phone")]
    pub reason: String,
    /// The row was not taken.
    #[schema(example = true)]
    pub rejected: bool,
    /// The column it is about.
    #[schema(example = "phone")]
    pub column: Option<String>,
    /// A sentence for whoever made the file.
    #[schema(example = "\"12\" is too short for a number.")]
    pub message: String,
    /// The row as it stood in the file.
    pub cells: Cells,
}
