//! Pages that are served, mailed or printed as one file: no script, nothing loaded from elsewhere, every value
//! escaped. The templates lie in `templates/` and are part of the binary.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::{AutoEscape, Environment, context, value::Serde};
use serde_json::Value;
use sha2::{Digest, Sha256};

const PROOF: &str = include_str!("../../../templates/proof.html");
const PROOF_STYLE: &str = include_str!("../../../templates/proof.css");

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
    pages.add_template("proof.html", PROOF).expect("a test renders it");
    pages
});

/// What the proof's page may load: its own style, named by its hash, and nothing else.
pub fn proof_policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(PROOF_STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// The proof ([`crate::privacy::proof`]) as a page to print.
///
/// # Errors
/// What the template met; a defect.
pub fn proof(proof: &Value) -> Result<String, minijinja::Error> {
    PAGES.get_template("proof.html")?.render(context! {
        proof => minijinja::Value::from(Serde(proof)),
        policy => proof_policy(),
        style => PROOF_STYLE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_style_has_nothing_that_would_end_it() {
        assert!(
            !PROOF_STYLE.contains('<') && !PROOF_STYLE.contains("url(") && !PROOF_STYLE.contains("@import")
        );
    }

    #[test]
    fn what_strangers_wrote_is_text_on_the_page() {
        let time = json!({"utc": "2026-11-23T12:00:00Z", "local": "noon"});
        let hostile = "</pre><script>alert(1)</script><img src=http://x onerror=y>&\"'";
        let document = json!({
            "made_at": time, "made_by": "ese", "asked_for": {"phone": hostile},
            "time_zone": {"name": hostile, "because": "x", "others_possible": [hostile]},
            "suppression": {"since": time, "reason": "complaint", "source": hostile, "known_by": "a hash"},
            "person": {"user_id": 1, "phone": hostile, "known_since": time},
            "consent": {"state": "stop"},
            "changes": [{"at": time, "previous": "x", "state": "x", "source": hostile, "actor": hostile,
                         "evidence": hostile}],
            "chain": {"rows": 1, "links": 1, "holds": false, "problems": [hostile], "covers": "x"},
            "topics": [{"topic": hostile, "default": "x"}],
            "stops": [{"received_at": time, "words": hostile, "source": "webhook", "effect": hostile}],
            "messages": [{"id": 1, "kind": "marketing", "channel": "sms", "campaign": hostile, "status": "sent",
                "queued_at": time, "body": hostile,
                "receipts": [{"status": "sent", "received_at": time, "signature": "x",
                              "params": [[hostile, hostile]]}]}],
            "inbound": [{"received_at": time, "message_sid": hostile, "signature": "x", "body": hostile,
                         "params": [[hostile, hostile]]}],
            "notes": [hostile],
        });
        let page = proof(&document).unwrap();
        for forbidden in ["<script", "<img", "href=", " style="] {
            assert!(!page.contains(forbidden), "{forbidden}: {page}");
        }
        assert_eq!(page.matches("&lt;script&gt;").count(), 21, "every value is shown: {page}");
        assert!(page.contains("DO NOT HOLD"));
    }
}
