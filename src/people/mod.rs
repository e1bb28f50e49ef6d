//! Flow: many people at once, beside the requests. `index` lets the search find who came in, `bulk` does what an
//! operator wants done to everybody who fits a filter, `sheet` hands them out as CSV.

mod bulk;
mod index;
mod sheet;

pub use bulk::{BulkPace, run_bulk};
pub use index::index;
pub use sheet::{Sheet, SheetError};
