//! Secrets that have to be read again (what signs outbound webhooks): sealed in the file under a key that is
//! made from the key file, so that a copy of the data file alone gives none of them away.
//! XChaCha20-Poly1305: its nonce is long enough to be random for ever.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::SecretString;

use super::{StoreError, StoreKey};

/// The first byte of what is sealed: how it was done.
const VERSION: u8 = 1;
const NONCE: usize = 24;

fn cipher(key: &StoreKey, purpose: &str) -> XChaCha20Poly1305 {
    // Hashed with the key of the file, so each purpose has a key of its own, and none is an address's hash.
    XChaCha20Poly1305::new(&key.hash(&format!("seal:{purpose}")).into())
}

/// Seals `secret`. It opens only with the same key and the same purpose.
///
/// # Errors
/// [`StoreError::Internal`] for a secret beyond all bounds.
pub fn seal(key: &StoreKey, purpose: &str, secret: &str) -> Result<Vec<u8>, StoreError> {
    let nonce: [u8; NONCE] = rand::random();
    let payload = Payload { msg: secret.as_bytes(), aad: purpose.as_bytes() };
    let sealed = cipher(key, purpose)
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| StoreError::Internal("a secret can't be sealed".to_owned()))?;
    Ok([&[VERSION], nonce.as_slice(), &sealed].concat())
}

/// What [`seal`] sealed.
///
/// # Errors
/// [`StoreError::Internal`] when it was made with another key or for another purpose, or was tampered with.
pub fn open(key: &StoreKey, purpose: &str, sealed: &[u8]) -> Result<SecretString, StoreError> {
    let broken = || StoreError::Internal(format!("what was sealed as {purpose} can't be opened"));
    let (head, text) = sealed.split_at_checked(1 + NONCE).ok_or_else(broken)?;
    let nonce: [u8; NONCE] = head.get(1..).and_then(|nonce| nonce.try_into().ok()).ok_or_else(broken)?;
    if head.first() != Some(&VERSION) {
        return Err(broken());
    }
    let payload = Payload { msg: text, aad: purpose.as_bytes() };
    let opened = cipher(key, purpose).decrypt(&XNonce::from(nonce), payload).map_err(|_| broken())?;
    Ok(String::from_utf8(opened).map_err(|_| broken())?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{Store, StorePaths};
    use secrecy::ExposeSecret;

    fn key() -> StoreKey {
        let dir = tempfile::tempdir().unwrap();
        Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap().key().clone()
    }

    #[actix_web::test]
    async fn only_the_same_key_and_purpose_open_what_was_sealed() {
        let (key, other) = (key(), key());
        let sealed = seal(&key, "a", "whsec_x").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"whsec"));
        assert_ne!(sealed, seal(&key, "a", "whsec_x").unwrap());
        assert_eq!(open(&key, "a", &sealed).unwrap().expose_secret(), "whsec_x");
        assert!(open(&key, "b", &sealed).is_err());
        assert!(open(&other, "a", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&key, "a", &changed).is_err(), "byte {at}");
            assert!(open(&key, "a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
