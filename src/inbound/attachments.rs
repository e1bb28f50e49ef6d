//! What came with a message, fetched when somebody looks: Twilio keeps it, we keep only where. It is handed on piece
//! by piece, so that its size costs no memory.

use crate::live::Live;
use crate::store::reports::thread;
use crate::store::{Store, StoreError};
use crate::twilio::client::Client;
use crate::twilio::media::{Media, MediaError};

/// Fetches attachments. Clones share the connections.
#[derive(Clone)]
pub struct Attachments {
    store: Store,
    client: Live<Option<Client>>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The message has none of this number, or is not this person's, or retention took it.
    #[error("there is no such attachment")]
    NotFound,
    /// No account is configured.
    #[error("the Twilio account is not configured")]
    NoAccount,
    /// Twilio would not hand it out.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An attachment on its way.
#[derive(Debug)]
pub struct Opened {
    /// MIME type: as the store of Twilio says, or as the webhook told.
    pub content_type: String,
    /// Bytes, if told beforehand.
    pub length: Option<u64>,
    media: Media,
}

impl Opened {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`AttachmentError`] when it breaks off or gets too long.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, AttachmentError> {
        Ok(self.media.chunk().await?)
    }
}

impl Attachments {
    /// `client`: none while no account is configured; it may be set up while the process works.
    pub fn new(store: Store, client: Live<Option<Client>>) -> Attachments {
        Attachments { store, client }
    }

    /// Begins to fetch the attachment `number`, from 0, of a message from this person.
    ///
    /// # Errors
    /// [`AttachmentError`].
    pub async fn open(
        &self,
        user_id: i64,
        inbound_id: i64,
        number: usize,
    ) -> Result<Opened, AttachmentError> {
        let found =
            self.store.read(move |conn| thread::attachment(conn, user_id, inbound_id, number)).await?;
        let (url, told) = found.ok_or(AttachmentError::NotFound)?;
        let client = self.client.get();
        let client = client.as_ref().as_ref().ok_or(AttachmentError::NoAccount)?;
        let media = client.open_media(&url).await?;
        let content_type = if media.content_type.is_empty() { told } else { media.content_type.clone() };
        Ok(Opened { content_type, length: media.length, media })
    }
}
