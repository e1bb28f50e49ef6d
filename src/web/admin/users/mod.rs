//! `/admin/users`: people. `list` finds them, `person` shows one, `told` puts their timeline into sentences, `edit`
//! adds and changes, `consent`, `standing` and `erase` change what we may send, `explain` says why, `papers` hands
//! out proof and export, `bulk` acts on everybody who fits a filter.

pub(super) mod bulk;
pub(super) mod consent;
pub(super) mod edit;
pub(super) mod erase;
pub(super) mod explain;
pub(super) mod list;
pub(super) mod papers;
pub(super) mod person;
pub(super) mod standing;
mod told;

use minijinja::{Value, context};

use super::failure::Failure;
use crate::domain::user::display_name;
use crate::store::Connection;
use crate::store::users::{self, User, UserKey};
use crate::web::error::Problem;

/// The person with this id, unless they were erased.
///
/// # Errors
/// 404.
fn find(conn: &Connection, id: i64) -> Result<User, Failure> {
    match users::find(conn, &UserKey::Id(id))? {
        Some(user) if user.erased_at.is_none() => Ok(user),
        Some(_) => {
            Err(Failure::not_found(format!("Person {id} was erased. Their numbers stay in the counts.")))
        }
        None => Err(Failure::not_found(format!("There is no person {id}."))),
    }
}

/// The same for a write, which answers problems.
///
/// # Errors
/// 404.
fn find_for_write(conn: &Connection, id: i64) -> Result<User, Problem> {
    find(conn, id).map_err(|failure| failure.0)
}

/// What every page about one person says of them.
fn person_value(user: &User) -> Value {
    context! {
        id => user.id,
        name => display_name(&user.attributes),
        phone => user.phone.clone().or_else(|| user.channel_address.clone()),
        country => user.country.clone(),
        consent => user.consent.as_str(),
        is_on_review => user.hold.is_some(),
        is_reachable => user.is_reachable,
        unreachable_reason => user.unreachable_reason.clone(),
        is_suppressed => user.is_suppressed,
        created_at => user.created_at,
        updated_at => user.updated_at,
        last_inbound_at => user.last_inbound_at,
    }
}
