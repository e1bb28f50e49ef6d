//! The second thing that an operator shows: a code of an authenticator app (TOTP, RFC 6238: SHA-1, six digits, 30
//! seconds, since many apps know nothing else), or one of ten recovery codes.

use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Builder, Secret};

/// Bytes of a secret, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Milliseconds of a step.
const STEP: i64 = 30_000;
/// Who asks, as the app shows it.
const ISSUER: &str = "Event Stream Engine";
/// Recovery codes of one operator.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code: 60 bits.
const RECOVERY_LENGTH: usize = 12;
/// Letters and digits that nobody confuses (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What the app and we know.
pub struct Authenticator(totp_rs::Totp);

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator(…)")
    }
}

/// A secret for a new app, base 32.
pub fn new_secret() -> SecretString {
    let bytes: [u8; SECRET_BYTES] = rand::random();
    Secret::from(bytes.to_vec()).to_base32().into()
}

impl Authenticator {
    /// The one with this secret, which the app shows under `account`. None when the secret is no base 32 of 128 bits
    /// or more, or the account no name that an app can show.
    pub fn new(secret: &SecretString, account: &str) -> Option<Authenticator> {
        let secret = Secret::try_from_base32(secret.expose_secret()).ok()?;
        let totp = Builder::new().with_secret(secret).with_account_name(account).with_issuer(Some(ISSUER));
        totp.build().ok().map(Authenticator)
    }

    /// What a QR code tells the app: `otpauth://totp/…`.
    pub fn url(&self) -> String {
        self.0.to_url().unwrap_or_default()
    }

    /// The step that a code belongs to, if it is that of now or a neighbour. A code lets in once: the caller remembers
    /// the step and takes none that is not behind it.
    pub fn step_of(&self, code: &str, now: i64) -> Option<i64> {
        let digits: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let seconds = u64::try_from(now.div_euclid(1_000)).ok()?;
        let step = self.0.check(&digits, seconds)?;
        i64::try_from(step).ok()
    }

    /// The code that the app shows at `now`.
    pub fn code_at(&self, now: i64) -> String {
        self.0.generate(u64::try_from(now.div_euclid(1_000)).unwrap_or_default()).to_string()
    }
}

/// When the code of this step begins to hold, in milliseconds since 1970.
pub fn begin_of(step: i64) -> i64 {
    step.saturating_mul(STEP)
}

/// Codes for the day on which the phone is lost, each good once: `k3v9-0xm2-77qa`.
pub fn new_recovery_codes() -> Vec<String> {
    (0..RECOVERY_CODES)
        .map(|_| {
            let bytes: [u8; RECOVERY_LENGTH] = rand::random();
            let letters: Vec<char> = bytes
                .iter()
                .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
                .map(|b| char::from(*b))
                .collect();
            letters.chunks(4).map(|chunk| chunk.iter().collect::<String>()).collect::<Vec<_>>().join("-")
        })
        .collect()
}

/// A recovery code as it is compared: however it was typed, with letters that look like digits read as those. None for
/// what can't be one.
pub fn read_recovery_code(text: &str) -> Option<String> {
    let letters =
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        });
    let code: String = letters.take(RECOVERY_LENGTH + 1).collect();
    let is_one = code.len() == RECOVERY_LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
    is_one.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, SHA-1, the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = Secret::from(b"12345678901234567890".to_vec()).to_base32().into();
        let app = Authenticator::new(&secret, "ana@example.com").unwrap();
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000_i64, "353130")] {
            assert_eq!(app.code_at(seconds * 1_000), code);
            assert_eq!(app.step_of(code, seconds * 1_000), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_holds_for_its_step_and_one_on_either_side() {
        let app = Authenticator::new(&new_secret(), "ana@example.com").unwrap();
        let now = 1_795_422_600_000;
        let code = app.code_at(now);
        let spaced = format!("{} {}", &code[..3], &code[3..]);
        let step = app.step_of(&spaced, now).unwrap();
        assert_eq!(begin_of(step), now);
        for (later, holds) in [(-30_000, true), (59_999, true), (60_000, false), (-30_001, false)] {
            assert_eq!(app.step_of(&code, now + later).is_some(), holds, "{later}");
        }
        for wrong in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
            assert_eq!(app.step_of(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn an_app_is_told_issuer_account_and_secret() {
        let secret = new_secret();
        let url = Authenticator::new(&secret, "ana@example.com").unwrap().url();
        assert!(url.starts_with("otpauth://totp/Event%20Stream%20Engine:ana%40example.com?"), "{url}");
        assert!(
            url.contains(secret.expose_secret()) && url.contains("issuer=Event%20Stream%20Engine"),
            "{url}"
        );
        assert!(Authenticator::new(&"AAAA".to_owned().into(), "ana@example.com").is_none());
        assert_ne!(new_secret().expose_secret(), secret.expose_secret());
    }

    #[test]
    fn recovery_codes_are_read_however_they_are_typed() {
        let codes = new_recovery_codes();
        assert_eq!(codes.len(), RECOVERY_CODES);
        assert!(codes.iter().all(|code| code.len() == 14 && read_recovery_code(code).is_some()));
        assert_eq!(read_recovery_code(" OIL1 abcd-EFGH "), Some("0111abcdefgh".to_owned()));
        for wrong in ["", "123456", "0111-abcd-efg", "0111-abcd-efghj", "0111-abcd-efgu"] {
            assert_eq!(read_recovery_code(wrong), None, "{wrong}");
        }
    }
}
