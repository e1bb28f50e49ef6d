//! An operator with files and forms, as far as HTTP goes: pages as text, and their forms as they stand.

use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Response};

use crate::session::Session;
use crate::support::api::TestApp;

/// A logged-in operator, and the server that they look at.
pub(crate) struct Visitor {
    pub(crate) app: std::sync::Arc<TestApp>,
    session: Session,
}

/// An answer of the server.
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) text: String,
    headers: HeaderMap,
}

/// A part of an upload.
pub(crate) struct Part(Vec<u8>);

impl Part {
    pub(crate) fn text(name: &str, value: &str) -> Part {
        Part(format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").into_bytes())
    }

    pub(crate) fn file(name: &str, file_name: &str, bytes: &[u8]) -> Part {
        let file_name = file_name.replace('\\', "\\\\").replace('"', "%22");
        let mut part = format!(
            "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: text/csv\r\n\r\n"
        )
        .into_bytes();
        part.extend_from_slice(bytes);
        Part(part)
    }
}

impl Visitor {
    /// An operator on a new server.
    pub(crate) async fn operator() -> Visitor {
        Visitor::enter(TestApp::start().await.into(), "operator").await
    }

    /// An operator on a new server with more configuration.
    pub(crate) async fn with_config(toml: &str) -> Visitor {
        Visitor::enter(TestApp::with_config(toml).await.into(), "operator").await
    }

    /// A viewer of the same server.
    pub(crate) async fn viewer(&self) -> Visitor {
        Visitor::enter(self.app.clone(), "viewer").await
    }

    pub(crate) async fn enter(app: std::sync::Arc<TestApp>, role: &'static str) -> Visitor {
        let session = Session::begin(&app.store, &app.base, (role, role)).await;
        Visitor { app, session }
    }

    async fn seen(answer: Response) -> Seen {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Seen { status, headers, text: answer.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Seen {
        Visitor::seen(self.session.get(path).await).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(String, String)]) -> Seen {
        Visitor::seen(self.session.post(path, fields).await).await
    }

    pub(crate) async fn post_parts(&self, path: &str, parts: &[Part]) -> Seen {
        let mut body = Vec::new();
        for part in parts {
            body.extend_from_slice(b"--parts\r\n");
            body.extend_from_slice(&part.0);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--parts--\r\n");
        let request = self.session.request(Method::POST, path).body(body);
        let request = request.header("content-type", "multipart/form-data; boundary=parts");
        Visitor::seen(request.send().await.unwrap()).await
    }

    /// The same fields as a page that is loaded again would post them: another click.
    pub(crate) async fn renewed(&self, fields: &[(String, String)]) -> Vec<(String, String)> {
        let page = self.get("/admin/imports/new").await;
        let mut fields = fields.to_vec();
        fields.iter_mut().filter(|(name, _)| name == "_once").for_each(|(_, v)| *v = page.hidden("_once"));
        fields
    }
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Where a 303 leads.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The first field with this name.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let fields = fields_in(self.main());
        let found = fields.into_iter().find(|(field, _)| field == name);
        found.unwrap_or_else(|| panic!("no field {name} in {}", self.text)).1
    }

    fn main(&self) -> &str {
        self.text.find("<main").map_or(&self.text, |at| &self.text[at..])
    }

    /// What the form with this id would post.
    pub(crate) fn form(&self, id: &str) -> Vec<(String, String)> {
        self.form_with(&format!("id=\"{id}\""))
    }

    /// What the form that posts there would post.
    pub(crate) fn form_to(&self, action: &str) -> Vec<(String, String)> {
        self.form_with(&format!("action=\"{action}\""))
    }

    fn form_with(&self, attribute: &str) -> Vec<(String, String)> {
        for form in self.main().split("<form").skip(1) {
            let (tag, rest) = form.split_once('>').unwrap();
            if tag.contains(attribute) {
                return fields_in(rest.split("</form>").next().unwrap());
            }
        }
        panic!("no form with {attribute} in {}", self.text)
    }
}

/// The fields of a piece of HTML with the values that a browser would send.
pub(crate) fn fields_in(html: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut select: Option<(String, Option<String>)> = None;
    for piece in html.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or((piece, ""));
        let value = attribute(tag, "value").unwrap_or_default();
        match (tag.split_whitespace().next().unwrap_or(""), attribute(tag, "name")) {
            ("input", Some(name)) => {
                let kind = attribute(tag, "type").unwrap_or_default();
                let is_choice = matches!(kind.as_str(), "checkbox" | "radio");
                let is_sent = kind != "file" && (!is_choice || tag.contains(" checked"));
                if is_sent {
                    fields.push((name, value));
                }
            }
            ("textarea", Some(name)) => fields.push((name, plain(text.trim_start_matches('\n')))),
            ("select", Some(name)) => select = Some((name, None)),
            ("option", _) => {
                if let Some((_, chosen)) = &mut select
                    && (chosen.is_none() || tag.contains(" selected"))
                {
                    *chosen = Some(value);
                }
            }
            ("/select", _) => {
                if let Some((name, chosen)) = select.take() {
                    fields.push((name, chosen.unwrap_or_default()));
                }
            }
            _ => {}
        }
    }
    fields
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(plain(tag[at..].split('"').next().unwrap()))
}

fn plain(text: &str) -> String {
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#x2f;", "/"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
}
