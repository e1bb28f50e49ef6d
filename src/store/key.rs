//! The key beside the data file: hashes addresses and evidence so that erased people stay suppressed.

use std::io::Write;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::error::OpenError;

/// 256 random bits that never enter the database or a replica of it.
#[derive(Clone)]
pub struct StoreKey([u8; 32]);

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(…)")
    }
}

impl StoreKey {
    /// HMAC-SHA-256 of `text`: 32 bytes.
    pub fn hash(&self, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What the database keeps to recognise its key.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// Reads the key, or makes one if `may_create`. The file holds 64 hexadecimal digits, mode 0600.
    pub(super) fn load(key_file: &Path, path: &Path, may_create: bool) -> Result<StoreKey, OpenError> {
        match std::fs::read_to_string(key_file) {
            Ok(text) => parse(text.trim()).map(StoreKey).ok_or_else(|| OpenError::KeyMismatch {
                key_file: key_file.to_owned(),
                path: path.to_owned(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => create(key_file)
                .map_err(|error| OpenError::NotWritable {
                    path: key_file.to_owned(),
                    reason: error.to_string(),
                }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(OpenError::KeyMissing { key_file: key_file.to_owned(), path: path.to_owned() })
            }
            Err(error) => {
                Err(OpenError::NotWritable { path: key_file.to_owned(), reason: error.to_string() })
            }
        }
    }
}

fn parse(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

fn create(key_file: &Path) -> std::io::Result<StoreKey> {
    let key: [u8; 32] = rand::random();
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(key_file)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(StoreKey(key))
}
