//! `X-Twilio-Signature`: made and checked.
//!
//! The rule is Twilio's (<https://www.twilio.com/docs/usage/security>): base64 of HMAC-SHA1, keyed
//! with the account's primary auth token, over the URL as configured and, for a form, every
//! decoded parameter in byte order of its key, key and value joined without a delimiter. Nothing
//! in it is timed or numbered: a captured request verifies for ever, so whoever accepts one also
//! has to recognise a repeated MessageSid.
//!
//! Twilio itself is inconsistent about ports and quotes, so a check tries the few spellings of the
//! URL that it is known to sign. It never tries another host, path, scheme or query.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Name of the header that carries the signature.
pub const SIGNATURE_HEADER: &str = "X-Twilio-Signature";

/// Query parameter that carries the hash of a body that is not a form.
const BODY_HASH: &str = "bodySHA256";

/// Length of base64 over the 20 bytes of SHA-1.
const ENCODED_LENGTH: usize = 28;

/// Signs as Twilio does: userinfo and fragment of `url` do not count, and of a repeated key each
/// distinct value counts once, in order. For a GET or a JSON body pass no parameters.
pub fn sign(auth_token: &str, url: &str, params: &[(String, String)]) -> String {
    let parts = UrlParts::of(url);
    let pieces = [parts.scheme, parts.host, parts.port, parts.tail];
    let encoded = encoded_hmac(&keyed(auth_token), &pieces, &signed_order(params));
    String::from_utf8_lossy(&encoded).into_owned()
}

/// Whether `signature` is right for a form that came to `url` (as Twilio was told it, query
/// included) under one of `tokens`. Empty tokens never verify anything.
///
/// `params` are the decoded pairs in any order, unknown and empty ones included. Takes a few
/// microseconds when the URL is signed as given, and the same time for every wrong signature.
pub fn verify_form(tokens: &[&str], url: &str, params: &[(String, String)], signature: &str) -> bool {
    if signature.len() != ENCODED_LENGTH {
        return false;
    }
    let params = signed_order(params);
    let parts = UrlParts::of(url);
    let plain = [parts.scheme, parts.userinfo, parts.host, parts.port, parts.tail];
    let keys: Vec<Hmac<Sha1>> =
        tokens.iter().filter(|token| !token.is_empty()).map(|token| keyed(token)).collect();
    let given = signature.as_bytes();
    let as_given = keys
        .iter()
        .fold(Choice::from(0), |found, key| found | encoded_hmac(key, &plain, &params).ct_eq(given));
    if bool::from(as_given) {
        return true;
    }
    let mut found = Choice::from(0);
    parts.each_other_spelling(|pieces| {
        for key in &keys {
            found |= encoded_hmac(key, pieces, &params).ct_eq(given);
        }
    });
    found.into()
}

/// Whether `signature` is right for a request with a body that is not a form: the URL alone is
/// signed, and its one `bodySHA256` must be the lower-case hex SHA-256 of `body`. A missing or
/// repeated `bodySHA256` is refused, since readers disagree on which of two would count.
pub fn verify_body(tokens: &[&str], url: &str, body: &[u8], signature: &str) -> bool {
    let Some(claimed) = body_hash(url) else {
        return false;
    };
    let actual = lower_hex(&Sha256::digest(body));
    let same_body: bool = actual.as_bytes().ct_eq(claimed.as_bytes()).into();
    let same_url = verify_form(tokens, url, &[], signature);
    same_body & same_url
}

/// The one `bodySHA256` of the URL's query.
fn body_hash(url: &str) -> Option<String> {
    let url = url.split('#').next().unwrap_or_default();
    let (_, query) = url.split_once('?')?;
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == BODY_HASH);
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

fn lower_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
    }
    hex
}

fn keyed(token: &str) -> Hmac<Sha1> {
    Hmac::new_from_slice(token.as_bytes()).expect("HMAC takes a key of any length")
}

/// The pairs as they are signed: by bytes of the key, then of the value, each distinct pair once.
fn signed_order(params: &[(String, String)]) -> Vec<(&str, &str)> {
    let mut pairs: Vec<(&str, &str)> =
        params.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// Base64 of the HMAC over the pieces of the URL and the parameters, without copying them.
fn encoded_hmac(key: &Hmac<Sha1>, url: &[&str], params: &[(&str, &str)]) -> [u8; ENCODED_LENGTH] {
    let mut mac = key.clone();
    for piece in url {
        mac.update(piece.as_bytes());
    }
    for (name, value) in params {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    let mut encoded = [0; ENCODED_LENGTH];
    STANDARD
        .encode_slice(mac.finalize().into_bytes(), &mut encoded)
        .expect("20 bytes are 28 characters of base64");
    encoded
}

/// A URL cut where spellings differ. Joined again the pieces are the URL without its fragment.
struct UrlParts<'a> {
    /// With `://`.
    scheme: &'a str,
    /// With its `@`, or empty.
    userinfo: &'a str,
    host: &'a str,
    /// With its `:`, or empty.
    port: &'a str,
    /// Path and query.
    tail: &'a str,
}

impl<'a> UrlParts<'a> {
    fn of(url: &'a str) -> UrlParts<'a> {
        let url = url.split('#').next().unwrap_or_default();
        let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (userinfo, host_port) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let (host, port) = match host_port.rfind(':') {
            // A colon inside the brackets of an IPv6 address starts no port.
            Some(at) if !host_port.split_at(at).1.contains(']') => host_port.split_at(at),
            _ => (host_port, ""),
        };
        UrlParts { scheme, userinfo, host, port, tail }
    }

    fn default_port(&self) -> &'static str {
        if self.scheme.eq_ignore_ascii_case("https://") {
            ":443"
        } else if self.scheme.eq_ignore_ascii_case("http://") {
            ":80"
        } else {
            ""
        }
    }

    /// Calls `visit` with each spelling that Twilio may have signed, but for the one as given:
    /// without userinfo; without the port, or with the standard one if there was none; with the
    /// quotes of the query escaped, or not.
    fn each_other_spelling(&self, mut visit: impl FnMut(&[&str])) {
        let other_port = if self.port.is_empty() { self.default_port() } else { "" };
        let other_tail = self.other_quotes();
        let userinfos = if self.userinfo.is_empty() { &[""][..] } else { &[self.userinfo, ""][..] };
        for userinfo in userinfos {
            for port in [self.port, other_port] {
                for tail in std::iter::once(self.tail).chain(other_tail.as_deref()) {
                    visit(&[self.scheme, userinfo, self.host, port, tail]);
                }
            }
        }
    }

    fn other_quotes(&self) -> Option<String> {
        if self.tail.contains('\'') {
            Some(self.tail.replace('\'', "%27"))
        } else if self.tail.contains("%27") {
            Some(self.tail.replace("%27", "'"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const VECTORS: &str = include_str!("../../tests/data/signature_vectors.json");
    const TOKEN: &str = "12345";

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn verdict(vector: &Value) -> bool {
        let token = vector["auth_token"].as_str().unwrap();
        let url = vector["url"].as_str().unwrap();
        let signature = vector["signature"].as_str().unwrap();
        if vector["kind"] == "body" {
            let body = vector["body"].as_str().unwrap();
            return verify_body(&[token], url, body.as_bytes(), signature);
        }
        let params: Vec<(String, String)> =
            serde_json::from_value(vector["params"].clone()).unwrap_or_default();
        verify_form(&[token], url, &params, signature)
    }

    #[test]
    fn published_and_generated_vectors_get_their_verdict() {
        // Two hashes of which the first is good: refused on purpose.
        let refused = ["gen-json-two-hashes-first-good"];
        let file: Value = serde_json::from_str(VECTORS).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert!(vectors.len() >= 100);
        let wrong: Vec<&str> = vectors
            .iter()
            .filter(|vector| {
                let id = vector["id"].as_str().unwrap();
                let expected = vector["expected"].as_bool().unwrap() && !refused.contains(&id);
                verdict(vector) != expected
            })
            .map(|vector| vector["id"].as_str().unwrap())
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn the_worked_example_of_the_documentation_is_reproduced() {
        let params = pairs(&[
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675310"),
            ("Digits", "1234"),
            ("From", "+14158675310"),
            ("To", "+18005551212"),
        ]);
        let url = "https://example.com/myapp.php?foo=1&bar=2";
        assert_eq!(sign(TOKEN, url, &params), "L/OH5YylLD5NRKLltdqwSvS0BnU=");
    }

    #[test]
    fn an_empty_token_verifies_nothing() {
        let url = "https://example.com/t";
        let signature = sign("", url, &[]);
        assert!(!verify_form(&["", TOKEN], url, &[], &signature));
    }

    #[test]
    fn either_of_two_tokens_is_enough() {
        let url = "https://example.com/t";
        let params = pairs(&[("Body", "hi")]);
        for token in ["old", "new"] {
            let signature = sign(token, url, &params);
            assert!(verify_form(&["new", "old"], url, &params, &signature));
        }
        assert!(!verify_form(&["new", "old"], url, &params, &sign("other", url, &params)));
    }

    #[test]
    fn userinfo_and_fragment_are_not_signed() {
        let bare = sign(TOKEN, "https://example.com/t?a=1", &[]);
        let url = "https://user:p@ss@example.com/t?a=1#rc=2&rp=5xx";
        assert_eq!(sign(TOKEN, url, &[]), bare);
        assert!(verify_form(&[TOKEN], url, &[], &bare));
    }

    #[test]
    fn another_host_path_scheme_port_or_query_is_refused() {
        let signature = sign(TOKEN, "https://example.com:8443/t?a=1", &[]);
        for url in [
            "https://example.org:8443/t?a=1",
            "https://example.com:8443/t/?a=1",
            "http://example.com:8443/t?a=1",
            "https://example.com:8444/t?a=1",
            "https://example.com:8443/t?a=2",
            "https://example.com/t?a=1",
            "",
            "://",
        ] {
            assert!(!verify_form(&[TOKEN], url, &[], &signature), "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_and_any_changed_value_does_not(
            params in proptest::collection::vec((".{0,12}", ".{0,20}"), 0..8),
            extra in ".{1,8}",
        ) {
            let url = "https://example.com/webhooks/twilio/status?message=7&attempt=1";
            let signature = sign(TOKEN, url, &params);
            let reversed: Vec<_> = params.iter().rev().cloned().collect();
            prop_assert!(verify_form(&[TOKEN], url, &reversed, &signature));
            let mut longer = params.clone();
            longer.push(("~extra".to_owned(), extra));
            prop_assert!(!verify_form(&[TOKEN], url, &longer, &signature));
        }

        #[test]
        fn no_url_or_signature_panics(url in ".{0,40}", signature in ".{0,32}", body in ".{0,16}") {
            verify_form(&[TOKEN], &url, &[], &signature);
            verify_body(&[TOKEN], &url, body.as_bytes(), &signature);
        }
    }
}
