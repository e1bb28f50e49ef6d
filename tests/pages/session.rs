//! Being logged in: a session made in the data file, and a browser that sends its cookie and follows nothing by itself.

use event_stream_engine::store::{Store, StoreError, operators, sessions};
use reqwest::header::COOKIE;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::ExposeSecret;

/// A hash that no password has: nobody here comes in by the door.
const NO_PASSWORD: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";

/// Somebody who is logged in at the server at `base`.
pub(crate) struct Session {
    base: String,
    client: Client,
    cookie: String,
}

impl Session {
    /// Logs `{name}@example.com` in, who has this role. Somebody who is there already logs in again.
    pub(crate) async fn begin(store: &Store, base: &str, (name, role): (&str, &'static str)) -> Session {
        let email = format!("{name}@example.com");
        let token = store
            .write::<_, _, StoreError>(move |tx| {
                if operators::find_by_email(tx.conn(), &email)?.is_none() {
                    operators::insert(tx, &email, NO_PASSWORD, role)?;
                }
                sessions::begin(tx, operators::find_by_email(tx.conn(), &email)?.unwrap().id)
            })
            .await
            .unwrap();
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Session { base: base.to_owned(), client, cookie: format!("ese_session={}", token.expose_secret()) }
    }

    /// The same in front of a screen in this zone.
    pub(crate) fn in_zone(mut self, zone: &str) -> Session {
        self.cookie.push_str(&format!("; ese_zone={}", zone.replace('/', "%2F")));
        self
    }

    /// A request of this session.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).header(COOKIE, &self.cookie)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn post<F: serde::Serialize + ?Sized>(&self, path: &str, fields: &F) -> Response {
        self.request(Method::POST, path).form(fields).send().await.unwrap()
    }
}
