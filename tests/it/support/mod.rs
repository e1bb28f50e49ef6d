//! What the tests stand on: a server with a file of its own.

pub(crate) mod api;
