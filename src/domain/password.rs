//! Passwords of operators: which may be chosen, and how they are kept and compared. After NIST SP 800-63B:
//! length counts, no rules about kinds of characters, no forced change; and OWASP's cost for argon2id.
//! Hashing takes some ten milliseconds and 19 MiB: callers do it on a thread that may block.

use std::collections::HashSet;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;

/// As NIST SP 800-63B asks for a password that stands alone, in characters.
pub const SHORTEST: usize = 12;
/// Longer ones are no safer, and cost the server time.
pub const LONGEST: usize = 256;
/// A password of fewer different characters is guessed from its pattern.
const FEWEST_DIFFERENT: usize = 5;

/// What is compared with when there is no such account, so that the answer takes as long as for one that there is.
/// Nobody knows a text that fits; a test holds its cost against [`Argon2::default`].
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIGl0$\
    AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// A password as somebody typed it, in one form whatever keyboard it came from. Never printed.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Outside [`SHORTEST`] and [`LONGEST`].
    #[error("a password has {SHORTEST} to {LONGEST} characters, this one has {0}")]
    Length(usize),
    /// Too few different characters, or one after the other.
    #[error("a password that repeats few characters or counts them up is guessed first; take some words")]
    Pattern,
    /// Little more than the address.
    #[error("a password that holds the e-mail address is guessed first; take some words")]
    Address,
}

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password can't be hashed: {0}")]
pub struct HashError(String);

impl Password {
    /// What somebody typed to log in: any text of bearable length, as it will be compared.
    pub fn typed(text: &str) -> Option<Password> {
        (text.chars().count() <= LONGEST).then(|| Password(normal(text).into()))
    }

    /// A new password of the operator with this address.
    ///
    /// # Errors
    /// Why it may not be chosen.
    pub fn choose(text: &str, email: &str) -> Result<Password, Weak> {
        let length = text.chars().count();
        if !(SHORTEST..=LONGEST).contains(&length) {
            return Err(Weak::Length(length));
        }
        let text = normal(text);
        let different: HashSet<char> = text.chars().collect();
        if different.len() < FEWEST_DIFFERENT || counts_up(&text) {
            return Err(Weak::Pattern);
        }
        let (lower, email) = (text.to_lowercase(), email.to_lowercase());
        let name = email.split('@').next().unwrap_or_default();
        let rest = |part: &str| length.saturating_sub(part.chars().count());
        let holds = |part: &str| !part.is_empty() && lower.contains(part) && rest(part) < SHORTEST / 2;
        if holds(&email) || holds(name) {
            return Err(Weak::Address);
        }
        Ok(Password(text.into()))
    }

    /// As it is kept: argon2id, a PHC string.
    ///
    /// # Errors
    /// When the system gives no random salt.
    pub fn hash(&self) -> Result<String, HashError> {
        let hashed: PasswordHash = Argon2::default()
            .hash_password(self.0.expose_secret().as_bytes())
            .map_err(|error| HashError(error.to_string()))?;
        Ok(hashed.to_string())
    }

    /// Whether it is the one that was hashed. Without a hash, or with one that is none, it fits never and takes as
    /// long.
    pub fn fits(&self, hash: Option<&str>) -> bool {
        let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
        let is_known = known.is_some();
        let Some(hash) = known.or_else(|| PasswordHash::new(NOBODY).ok()) else {
            return false;
        };
        let fits = Argon2::default().verify_password(self.0.expose_secret().as_bytes(), &hash).is_ok();
        fits && is_known
    }
}

/// The same text from every keyboard (NIST SP 800-63B, section 5.1.1.2).
fn normal(text: &str) -> String {
    text.nfkc().collect()
}

/// "123456789012", "abcdefghijkl": each character follows the one before, but for at most two places.
fn counts_up(text: &str) -> bool {
    let codes: Vec<u32> = text.chars().map(u32::from).collect();
    let jumps = codes.windows(2).filter(|pair| match pair {
        [a, b] => a.abs_diff(*b) != 1,
        _ => false,
    });
    jumps.count() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_no_pattern_and_not_the_address() {
        let weak = |text: &str| Password::choose(text, "ana.lopez@example.com").err();
        for (text, why) in [
            ("correct horse battery", None),
            ("hunter2", Some(Weak::Length(7))),
            ("", Some(Weak::Length(0))),
            ("äöüÄÖÜß€ñçéè", None),
            ("aaaaaaaaaaaa", Some(Weak::Pattern)),
            ("121212121212", Some(Weak::Pattern)),
            ("123456789012", Some(Weak::Pattern)),
            ("abcdefghijkl", Some(Weak::Pattern)),
            ("Ana.Lopez@example.com", Some(Weak::Address)),
            ("ana.lopez123", Some(Weak::Address)),
            ("my neighbour ana.lopez sings", None),
        ] {
            assert_eq!(weak(text), why, "{text:?}");
        }
        assert_eq!(weak(&"ab cd ef gh".repeat(24)), Some(Weak::Length(264)));
        assert!(Password::typed(&"x".repeat(LONGEST + 1)).is_none());
    }

    #[test]
    fn the_same_text_from_another_keyboard_fits_and_nothing_else_does() {
        let hash = Password::choose("caf\u{e9} au lait noir", "a@example.com").unwrap().hash().unwrap();
        let fits = |text: &str, hash: Option<&str>| Password::typed(text).unwrap().fits(hash);
        assert!(hash.starts_with("$argon2id$"));
        assert!(fits("cafe\u{301} au lait noir", Some(&hash)));
        assert!(!fits("cafe au lait noir", Some(&hash)));
        for none in [None, Some(""), Some("nonsense"), Some("$argon2id$v=19$m=1,t=1,p=1$x$y")] {
            assert!(!fits("cafe\u{301} au lait noir", none), "{none:?}");
        }
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        let own = Password::choose("correct horse battery", "a@example.com").unwrap().hash().unwrap();
        assert_eq!(cost(NOBODY), cost(&own));
        assert!(PasswordHash::new(NOBODY).is_ok());
    }
}
