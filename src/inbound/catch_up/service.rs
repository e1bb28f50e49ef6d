//! Numbers of a Messaging Service. Its pool is not configured here, and Twilio's list can't be asked for a
//! service; so a number is known once a message of ours went out from it, or one came in to it.

use super::{CURSOR, CatchUp, CatchUpError, FIRST_LOOK};
use crate::clock::Millis;
use crate::store::{StoreError, Tx, cursors, senders};
use crate::twilio::lookup::{ListQuery, MessagePage};
use crate::twilio::webhook::Params;

/// Pages of the whole account that are looked at for numbers, after a gap.
const PAGES: usize = 10;
/// Messages on each.
const PAGE: u16 = 1_000;
/// How old a message may be to tell of a number, in milliseconds.
const OLDEST: Millis = 7 * 86_400_000;

/// The number of ours that a webhook names in `own`, if a Messaging Service had part in it.
pub(in crate::inbound) fn service_number(params: &Params, own: &str) -> Option<String> {
    let get = |name: &str| params.iter().find(|(key, value)| key == name && !value.is_empty());
    let (_, number) = get("MessagingServiceSid").and(get(own))?;
    is_answerable(number).then(|| number.clone())
}

/// Nobody can write to a sender made of letters.
fn is_answerable(own: &str) -> bool {
    own.starts_with("whatsapp:") || !own.contains(char::is_alphabetic)
}

/// Notes that people may write to `number`.
pub(in crate::inbound) fn note_number(tx: &Tx<'_>, number: Option<&str>) -> Result<(), StoreError> {
    match number {
        Some(number) => cursors::begin(tx, &format!("{CURSOR}{number}"), tx.now() - FIRST_LOOK),
        None => Ok(()),
    }
}

impl CatchUp {
    /// Reads numbers of the configured services out of the newest messages of the account: those that no
    /// webhook has told of yet, because the process ended first or the number is new.
    pub(super) async fn learn_numbers(&self) -> Result<(), CatchUpError> {
        let services: Vec<String> = self.store.read(services).await?;
        if services.is_empty() {
            return Ok(());
        }
        let query = ListQuery { page_size: PAGE, ..ListQuery::default() };
        let client = self.client()?;
        let mut page = client.list(&query).await?;
        let now = page.answered_at.unwrap_or_else(|| self.store.clock().now());
        let mut numbers = Vec::new();
        for _ in 1..PAGES {
            let is_recent = read_numbers(&page, &services, now - OLDEST, &mut numbers);
            let Some(next) = page.next.take().filter(|_| is_recent) else {
                break;
            };
            page = client.next_page(&next).await?;
        }
        read_numbers(&page, &services, now - OLDEST, &mut numbers);
        self.store
            .write::<_, _, StoreError>(move |tx| {
                numbers
                    .iter()
                    .try_for_each(|number| cursors::begin(tx, &format!("{CURSOR}{number}"), now - FIRST_LOOK))
            })
            .await?;
        Ok(())
    }
}

fn services(conn: &crate::store::Connection) -> Result<Vec<String>, StoreError> {
    let senders = senders::list(conn)?;
    Ok(senders.into_iter().map(|sender| sender.address).filter(|address| address.starts_with("MG")).collect())
}

/// Adds the numbers of a page. Returns whether the page reaches no further back than `oldest`.
fn read_numbers(page: &MessagePage, services: &[String], oldest: Millis, numbers: &mut Vec<String>) -> bool {
    let mut is_recent = true;
    for message in &page.messages {
        is_recent &= message.created_at().is_none_or(|at| at >= oldest);
        let is_ours =
            message.messaging_service_sid.as_ref().is_some_and(|service| services.contains(service));
        let own = if message.is_inbound() { &message.to } else { &message.from };
        if let Some(own) = own.as_ref().filter(|own| is_ours && is_answerable(own) && !numbers.contains(own))
        {
            numbers.push(own.clone());
        }
    }
    is_recent
}
