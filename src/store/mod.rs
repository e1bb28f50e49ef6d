//! SQLite: the only place with SQL.

pub mod segment_sql;
