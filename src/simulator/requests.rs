//! Every create request, accepted or not, with the moment at which it was read: the record that
//! tells when something was sent, whatever became of it.

use serde::Serialize;

use super::message::Message;

/// A create request: an element of `GET /_control/requests`.
#[derive(Clone, Debug, Serialize)]
pub struct RequestRecord {
    /// When its last byte was read, in milliseconds since 1970; before any latency.
    pub at_ms: i64,
    /// As it was given, with its channel.
    pub to: String,
    /// The callback's URL as given, fragment included.
    pub status_callback: String,
    /// The code that it was refused with, or that an accepted one was answered with all the same.
    pub code: Option<u32>,
    /// SID of the message that was made.
    pub sid: Option<String>,
}

/// The requests so far, oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: Vec<Request>,
    accepted: u64,
}

#[derive(Debug)]
struct Request {
    at: i64,
    to: Box<str>,
    callback: Box<str>,
    code: Option<u32>,
    message: Option<usize>,
}

impl Requests {
    /// Notes a request that was just read, and returns its number.
    pub(super) fn begin(&mut self, at: i64, form: &[(String, String)]) -> usize {
        let value = |name: &str| {
            let pair = form.iter().rev().find(|(key, _)| key == name);
            pair.map_or("", |(_, value)| value.as_str()).into()
        };
        self.all.push(Request {
            at,
            to: value("To"),
            callback: value("StatusCallback"),
            code: None,
            message: None,
        });
        self.all.len() - 1
    }

    /// The request made the message at this index.
    pub(super) fn accepted(&mut self, number: usize, message: usize) {
        if let Some(request) = self.all.get_mut(number) {
            request.message = Some(message);
            self.accepted += 1;
        }
    }

    /// The request was answered with this code.
    pub(super) fn refused(&mut self, number: usize, code: u32) {
        if let Some(request) = self.all.get_mut(number) {
            request.code = Some(code);
        }
    }

    /// How many made a message.
    pub(super) fn count_accepted(&self) -> u64 {
        self.accepted
    }

    /// How many there were.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Up to `limit` requests from number `first` on.
    pub(super) fn page<'a>(
        &self,
        first: usize,
        limit: usize,
        message: impl Fn(usize) -> Option<&'a Message>,
    ) -> Vec<RequestRecord> {
        let of = |request: &Request| RequestRecord {
            at_ms: request.at,
            to: request.to.to_string(),
            status_callback: request.callback.to_string(),
            code: request.code,
            sid: request.message.and_then(&message).map(|message| message.sid.to_string()),
        };
        self.all.iter().skip(first).take(limit).map(of).collect()
    }
}
