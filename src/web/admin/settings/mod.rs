//! `/admin/settings`: what an operator sets while the server runs. Plain sections are a table (`sections`) of fields
//! (`fields`); account, senders, topics, quiet hours and backups have pages of their own, `setup` leads through the
//! first ones, and `demo` is for whoever only looks.

pub(super) mod account;
pub(super) mod backup;
pub(super) mod demo;
mod fields;
pub(super) mod quiet_hours;
pub(super) mod section;
mod sections;
pub(super) mod senders;
pub(super) mod setup;
pub(super) mod topics;

use super::Answer;
use super::page::Page;
use crate::store::operators::Role;

pub use backup::Backups;

/// The first section that the viewer may see: set-up, which says what is left to do, or their own login.
pub(super) async fn index(page: Page) -> Answer {
    let first = if page.may(Role::Operator) { "setup" } else { "profile" };
    page.go_to(&format!("/admin/settings/{first}"), "")
}
