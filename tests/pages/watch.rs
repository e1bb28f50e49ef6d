//! Somebody who looks at pages of the shell: pages as text, and streams as they come.

use std::time::Duration;

use event_stream_engine::store::StoreError;
use reqwest::{Method, Response};

use crate::session::Session;
use crate::support::api::TestApp;

/// A logged-in operator of a server.
pub(crate) struct Looker {
    session: Session,
}

/// Runs a change with plain SQL.
pub(crate) async fn change(app: &TestApp, sql: &str) {
    let sql = sql.to_owned();
    app.store.write::<_, _, StoreError>(move |tx| Ok(tx.conn().execute_batch(&sql)?)).await.unwrap();
}

impl Looker {
    /// Somebody new with this role.
    pub(crate) async fn enter(app: &TestApp, name: &str, role: &'static str) -> Looker {
        let session = Session::begin(&app.store, &app.base, (name, role)).await;
        Looker { session: session.in_zone("America/Los_Angeles") }
    }

    /// Asks for a path as a script of a page does; the answer is not read yet.
    pub(crate) async fn ask(&self, path: &str) -> Response {
        self.session.request(Method::GET, path).header("hx-request", "true").send().await.unwrap()
    }

    /// The same as a browser does.
    pub(crate) async fn ask_plainly(&self, path: &str) -> Response {
        self.session.get(path).await
    }

    /// A page, 200 and within its budget, as text.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.session.get(path).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        assert!(text.len() <= 100 * 1024, "{path} has {} bytes", text.len());
        text.replace("&#x2f;", "/")
    }

    /// A stream of parts.
    pub(crate) async fn watch(&self, path: &str) -> Stream {
        let response = self.ask(path).await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { response, text: String::new() }
    }
}

/// An open stream.
pub(crate) struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    /// The next part with this id that holds `text`.
    pub(crate) async fn part(&mut self, id: &str, text: &str) -> String {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.starts_with(&format!("event: {id}\n")) && event.contains(text) {
                    return event;
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await;
            let chunk = chunk.unwrap_or_else(|_| panic!("no {id} with {text}")).unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("the stream ended before {id} with {text}"));
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads until the server ends the stream.
    pub(crate) async fn end(&mut self) {
        let read = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the stream goes on");
    }
}

/// Waits for something that a task does by itself.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be: {what}");
}
