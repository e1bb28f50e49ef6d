//! `/admin/search`: the field at the top of every page. Finds people by number or name, campaigns by name.

use actix_web::HttpRequest;
use actix_web::web::Data;
use minijinja::{Value, context};

use super::Answer;
use super::page::Page;
use super::see_other;
use crate::clock::Millis;
use crate::domain::people::PeopleFilter;
use crate::domain::user::display_name;
use crate::store::reports::found::{self, Person};
use crate::store::reports::people::{self, Budget, Order, Wanted};
use crate::store::{Connection, StoreError};
use crate::web::State;
use crate::web::page::Query;

/// Of each kind.
const MOST: usize = 10;
/// Digits from which on a number is looked for.
const LEAST_DIGITS: usize = 3;

/// `GET /admin/search?q=`
pub(super) async fn show(page: Page, state: Data<State>, request: HttpRequest) -> Answer {
    let mut query = Query::of(&request)?;
    let sought = query.text("q").unwrap_or_default().trim().to_owned();
    query.finish()?;
    let (start, part, now) = (number(&sought), sought.clone(), page.now());
    let (people, campaigns) = state
        .store
        .read(move |conn| {
            let people = match &start {
                Some(start) => found::people_by_number(conn, start, MOST + 1)?,
                None => people_by_name(conn, &part, now)?,
            };
            let campaigns =
                if part.is_empty() { Vec::new() } else { found::campaigns_by_name(conn, &part, MOST + 1)? };
            Ok::<_, StoreError>((people, campaigns))
        })
        .await?;
    // A whole number is an answer, not a list.
    if let ([person], []) = (people.as_slice(), campaigns.as_slice())
        && person.phone.as_deref() == number(&sought).as_deref()
    {
        return Ok(see_other(&format!("/admin/users/{}", person.id)));
    }
    let campaigns: Vec<Value> =
        campaigns.into_iter().map(|(id, name, status)| context! { id, name, status }).collect();
    page.show(
        "search/show.html",
        context! {
            title => "Search",
            section => "search",
            q => sought,
            people => people.into_iter().map(person).collect::<Vec<_>>(),
            campaigns,
            most => MOST,
        },
    )
}

/// People with a name that has words which begin so, the newest first.
fn people_by_name(conn: &Connection, part: &str, now: Millis) -> Result<Vec<Person>, StoreError> {
    if part.is_empty() {
        return Ok(Vec::new());
    }
    let filter = PeopleFilter { q: Some(part.to_owned()), ..PeopleFilter::default() };
    let Ok(wanted) = Wanted::of(conn, &filter, now) else {
        return Ok(Vec::new());
    };
    let found = people::walk(conn, &wanted, (Order::default(), i64::MAX), MOST + 1, Budget::PAGE)?;
    let ids: Vec<i64> = found.people.iter().map(|(_, id)| *id).collect();
    let shown = people::rows(conn, &ids)?.into_iter().map(|row| Person {
        id: row.user.id,
        name: display_name(&row.user.attributes),
        consent: row.user.consent.as_str().to_owned(),
        phone: row.user.phone,
    });
    Ok(shown.collect())
}

fn person(person: Person) -> Value {
    context! { id => person.id, phone => person.phone, name => person.name, consent => person.consent }
}

/// The beginning of a number in what somebody typed: digits with what people put between them.
fn number(sought: &str) -> Option<String> {
    let bare: String = sought.chars().filter(|c| !" ()-./\u{a0}".contains(*c)).collect();
    let digits = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00")).unwrap_or(&bare);
    let fits = digits.len() >= LEAST_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| format!("+{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_from_a_name_however_it_is_written() {
        for (typed, expected) in [
            ("+1 415 555-0101", Some("+14155550101")),
            ("0049 151 1", Some("+491511")),
            ("(415) 555", Some("+415555")),
            ("+1", None),
            ("Ana", None),
            ("Spring 2026", None),
            ("", None),
        ] {
            assert_eq!(number(typed).as_deref(), expected, "{typed}");
        }
    }
}
