//! An operator at the settings and editors, as far as HTTP goes: pages as text, forms with their hidden fields.

use std::time::Duration;

use event_stream_engine::store::Store;
use reqwest::Response;
use reqwest::header::LOCATION;

use crate::session::Session;

/// Somebody with this role, in front of the server at `base`.
pub(crate) struct Desk {
    session: Session,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) location: String,
}

impl Seen {
    /// A page that says this.
    pub(crate) fn says(&self, part: &str) -> &Seen {
        assert!(self.text.contains(part), "no {part:?} ({}) in {}", self.status, self.main());
        self
    }

    pub(crate) fn lacks(&self, part: &str) -> &Seen {
        assert!(!self.text.contains(part), "{part:?} in {}", self.main());
        self
    }

    pub(crate) fn is(&self, status: u16) -> &Seen {
        assert_eq!(self.status, status, "{}", self.main());
        self
    }

    fn main(&self) -> &str {
        self.text.find("<main").map_or(&self.text, |at| &self.text[at..])
    }
}

impl Desk {
    pub(crate) async fn new(store: &Store, base: &str, role: &'static str) -> Desk {
        Desk { session: Session::begin(store, base, (role, role)).await }
    }

    async fn seen(answer: Response) -> Seen {
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        Seen { status, location: location.unwrap_or_default(), text: answer.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Seen {
        Desk::seen(self.session.get(&format!("/admin{path}")).await).await
    }

    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        self.session.get(&format!("/admin{path}")).await.bytes().await.unwrap().to_vec()
    }

    /// Posts a form with the hidden fields of a page of this session.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let page = self.get("/settings/setup").await;
        let csrf = page.text.split("name=\"_csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut all = vec![("_csrf", csrf)];
        all.extend_from_slice(fields);
        self.post_bare(path, &all).await
    }

    pub(crate) async fn post_bare(&self, path: &str, fields: &[(&str, &str)]) -> Seen {
        Desk::seen(self.session.post(&format!("/admin{path}"), fields).await).await
    }
}

/// Waits until `is_so`, for what a running server does by itself.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}");
}
