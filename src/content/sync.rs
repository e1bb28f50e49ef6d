//! Learning what Twilio has.

use super::{Contents, ContentsError, seen};
use crate::clock::Millis;
use crate::store::StoreError;
use crate::store::content_templates::{self, SeenContent};

/// Templates that are written in one transaction.
const CHUNK: usize = 100;
/// Pages of 1,000 after which something is wrong with the links.
const MAX_PAGES: usize = 100;

/// What a look brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Templates that Twilio has.
    pub seen: usize,
    /// Of those, judged otherwise than before.
    pub changed: usize,
    /// Templates that Twilio has no more.
    pub deleted: usize,
    /// When the look began, in milliseconds UTC.
    pub at: Millis,
}

impl Contents {
    /// Looks at all templates of the account. A template that may not be sent any more stops its campaigns before
    /// this returns. Only a look that came to its end says what is gone.
    ///
    /// # Errors
    /// [`ContentsError::NoAccount`], or that Twilio could not be asked.
    pub async fn sync(&self) -> Result<Synced, ContentsError> {
        let client = self.client()?;
        let clock = self.store.clock();
        let mut synced = Synced { at: clock.now(), ..Synced::default() };
        let (mut asked_at, mut page) = (clock.now(), client.list().await?);
        for _ in 0..MAX_PAGES {
            let contents = page.contents.into_iter().map(|resource| seen(resource, None)).collect::<Vec<_>>();
            synced.seen += contents.len();
            synced.changed += self.keep(contents, asked_at).await?;
            let Some(next) = page.next else {
                let began = synced.at;
                let forgotten = self.store.write(move |tx| content_templates::forget_unseen(tx, began)).await;
                synced.deleted = forgotten.map_err(|error: StoreError| ContentsError::from(error))?;
                return Ok(synced);
            };
            asked_at = clock.now();
            page = client.next_page(&next).await?;
        }
        Err(ContentsError::Unavailable(format!("Twilio's list has no end after {MAX_PAGES} pages.")))
    }

    /// Writes what was seen in small pieces. Returns how many are judged otherwise.
    async fn keep(&self, contents: Vec<SeenContent>, asked_at: Millis) -> Result<usize, ContentsError> {
        let mut changed = 0;
        for chunk in contents.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            changed += self
                .store
                .write(move |tx| {
                    let mut changed = 0;
                    for content in &chunk {
                        changed += usize::from(content_templates::see(tx, content, asked_at)?);
                    }
                    Ok::<_, StoreError>(changed)
                })
                .await?;
        }
        Ok(changed)
    }
}
