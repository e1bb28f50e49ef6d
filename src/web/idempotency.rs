//! `Idempotency-Key`: a POST that is sent twice happens once. The answer is kept in the transaction of
//! its effect, so the loser of a race finds the winner's answer. Errors of 400 to 499 that the effect
//! itself met are answers too; what is wrong with the request as such is said anew each time, and so is
//! whatever may be over soon (401, 403, 429, 5xx).

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::auth::Caller;
use super::body::Body;
use super::error::Problem;
use super::page::Query;
use super::reply::Reply;
use crate::clock::Millis;
use crate::store::idempotency::{self, Answer, RequestKey};
use crate::store::{Store, StoreError, Tx};

const HEADER: &str = "Idempotency-Key";
/// Longest key, in bytes.
const MAX_KEY: usize = 255;
/// Longest answer that is kept whole where there is a shorter one, in bytes.
const MAX_KEPT: usize = 256 * 1024;

/// The body of a POST, and what makes the request the same as an earlier one.
#[derive(Debug)]
pub struct Post {
    /// What was sent.
    pub body: Body,
    /// Runs the effect at most once.
    pub once: Once,
}

impl FromRequest for Post {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Post, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            Query::of(&request)?.finish()?;
            Post::read(&request, payload).await
        })
    }
}

impl Post {
    async fn read(request: &HttpRequest, payload: Payload) -> Result<Post, Problem> {
        let once = Once::of(request)?;
        let body = Body::read(request, payload).await?;
        let digest = hash(request.query_string(), &body.raw);
        Ok(Post { body, once: once.with_digest(digest) })
    }
}

/// A POST that takes parameters too; its handler reads them.
#[derive(Debug)]
pub struct PostWithQuery(pub Post);

impl FromRequest for PostWithQuery {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<PostWithQuery, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move { Ok(PostWithQuery(Post::read(&request, payload).await?)) })
    }
}

fn hash(query: &str, body: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update((query.len() as u64).to_be_bytes());
    hasher.update(query);
    hasher.update(body);
    hasher.finalize().into()
}

/// A request that may have come before.
#[derive(Clone, Debug)]
pub struct Once(Option<RequestKey>);

impl Once {
    /// The key of a request, its body not yet looked at.
    ///
    /// # Errors
    /// 422 for a key that can't be one.
    pub(super) fn of(request: &HttpRequest) -> Result<Once, Problem> {
        let Some(header) = request.headers().get(HEADER) else {
            return Ok(Once(None));
        };
        let key = header.to_str().ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
        let key = key.ok_or_else(|| {
            Problem::field(HEADER, format!("must be 1 to {MAX_KEY} visible ASCII characters"))
        })?;
        let caller = request.extensions().get::<Caller>().map(Caller::actor);
        Ok(Once(caller.map(|caller| RequestKey {
            caller,
            path: request.path().to_owned(),
            key: key.to_owned(),
            body_hash: [0; 32],
        })))
    }

    /// No key: every time is the first.
    pub(super) fn none() -> Once {
        Once(None)
    }

    /// The key that a form brought with it; its digest comes with it.
    pub(super) fn of_form(caller: String, path: &str, key: &str, pairs: &[(String, String)]) -> Once {
        let mut serializer = form_urlencoded::Serializer::new(String::new());
        serializer.extend_pairs(pairs);
        let body_hash = hash("", serializer.finish().as_bytes());
        Once(Some(RequestKey { caller, path: path.to_owned(), key: key.to_owned(), body_hash }))
    }

    /// With the digest of what was sent.
    pub(super) fn with_digest(mut self, digest: [u8; 32]) -> Once {
        if let Some(key) = &mut self.0 {
            key.body_hash = digest;
        }
        self
    }

    /// Runs an effect of one write, or gives the answer that it got before.
    ///
    /// # Errors
    /// What the effect met, or 422 when the key was used for another body.
    pub async fn write<F>(self, store: &Store, effect: F) -> Result<Reply, Problem>
    where
        F: FnOnce(&Tx<'_>) -> Result<Reply, Problem> + std::marker::Send + 'static,
    {
        let Some(key) = self.0 else {
            return store.write(effect).await;
        };
        // The inner result is an answer that stays, whether good or bad; the outer undoes the write.
        let answer = store.write(move |tx| -> Result<Result<Reply, Problem>, Problem> {
            if let Some(kept) = idempotency::find(tx.conn(), &key, tx.now())? {
                return Ok(repeat(&key, &kept));
            }
            let outcome = tx.nested(effect);
            if outcome.as_ref().err().is_some_and(|problem| !is_kept(problem.status())) {
                return outcome.map(Ok);
            }
            let (status, text) = text_of(&outcome);
            idempotency::insert(tx, &key, status.as_u16(), &text)?;
            Ok(outcome)
        });
        answer.await?
    }

    /// The same for an effect of several writes, each of which may safely happen twice: two requests at
    /// once both run it, and the second answer to arrive is not kept.
    ///
    /// # Errors
    /// As above.
    pub async fn around(
        self,
        store: &Store,
        effect: impl Future<Output = Result<Reply, Problem>>,
    ) -> Result<Reply, Problem> {
        let Some(key) = self.0 else {
            return effect.await;
        };
        if let Some(answer) = earlier(store, &key, store.clock().now()).await? {
            return answer;
        }
        let outcome = effect.await;
        if outcome.as_ref().err().is_some_and(|problem| !is_kept(problem.status())) {
            return outcome;
        }
        keep_first(store, key, text_of(&outcome), outcome).await
    }
}

/// Keeps an answer, written out before the write. Of two at once the first to arrive is kept, and given to both.
async fn keep_first(
    store: &Store,
    key: RequestKey,
    (status, text): (StatusCode, String),
    outcome: Result<Reply, Problem>,
) -> Result<Reply, Problem> {
    let earlier = store.write(move |tx| -> Result<Option<Result<Reply, Problem>>, Problem> {
        if let Some(kept) = idempotency::find(tx.conn(), &key, tx.now())? {
            return Ok(Some(repeat(&key, &kept)));
        }
        idempotency::insert(tx, &key, status.as_u16(), &text)?;
        Ok(None)
    });
    earlier.await?.unwrap_or(outcome)
}

/// For a body that is not held as a whole: what was said before is looked up before it is read, and compared and
/// kept after. Each part of the effect must be one that may safely happen twice.
impl Once {
    /// The answer that an earlier request with this key got.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn kept(&self, store: &Store) -> Result<Option<Answer>, Problem> {
        let Some(key) = self.0.clone() else {
            return Ok(None);
        };
        let now = store.clock().now();
        Ok(store.read(move |conn| idempotency::find(conn, &key, now)).await?)
    }

    /// Says again what an earlier request got; the key is that of a body with this digest.
    ///
    /// # Errors
    /// What the earlier request met, or 422 when it had another body.
    pub fn say_again(self, digest: [u8; 32], kept: &Answer) -> Result<Reply, Problem> {
        match self.with_digest(digest).0 {
            Some(key) => repeat(&key, kept),
            None => Err(StoreError::Internal("an answer was kept without a key".to_owned()).into()),
        }
    }

    /// Keeps a good answer to a body with this digest; in place of a long one, what `shorten` makes of it. Of two
    /// at once the first to arrive is kept, and given to both.
    ///
    /// # Errors
    /// 422 when the key was used for another body meanwhile.
    pub async fn settle(
        self,
        store: &Store,
        digest: [u8; 32],
        reply: Reply,
        shorten: impl FnOnce() -> Reply,
    ) -> Result<Reply, Problem> {
        let Some(key) = self.with_digest(digest).0 else {
            return Ok(reply);
        };
        let mut text = reply.to_kept();
        if text.len() > MAX_KEPT {
            text = shorten().to_kept();
        }
        keep_first(store, key, (reply.status(), text), Ok(reply)).await
    }
}

async fn earlier(
    store: &Store,
    key: &RequestKey,
    now: Millis,
) -> Result<Option<Result<Reply, Problem>>, Problem> {
    let wanted = key.clone();
    let kept = store.read(move |conn| idempotency::find(conn, &wanted, now)).await?;
    Ok(kept.map(|kept| repeat(key, &kept)))
}

fn is_kept(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
}

fn text_of(outcome: &Result<Reply, Problem>) -> (StatusCode, String) {
    match outcome {
        Ok(reply) => (reply.status(), reply.to_kept()),
        Err(problem) => (problem.status(), problem.to_json().to_string()),
    }
}

fn repeat(key: &RequestKey, kept: &Answer) -> Result<Reply, Problem> {
    if kept.body_hash != key.body_hash {
        return Err(
            Problem::field(HEADER, "was used for a request with another body").with_code("key_reused")
        );
    }
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let body: Value = serde_json::from_str(&kept.body).unwrap_or_default();
    if status.is_success() {
        Ok(Reply::from_json(status, &body))
    } else {
        Err(Problem::from_json(status, &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::{StorePaths, topics};

    #[actix_web::test]
    async fn a_kept_refusal_undoes_what_the_effect_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StorePaths::inside(dir.path()), Clock::system()).unwrap();
        let caller = "key:1".to_owned();
        let key = RequestKey { caller, path: "/x".into(), key: "k".into(), body_hash: [1; 32] };
        let attempt = |status: StatusCode| {
            Once(Some(key.clone())).write(&store, move |tx| {
                topics::insert(tx, "hats", true)?;
                Err(Problem::new(status, "no"))
            })
        };
        let is_kept = async || {
            let (key, now) = (key.clone(), store.clock().now());
            store.read(move |conn| idempotency::find(conn, &key, now)).await.unwrap().is_some()
        };
        for (status, kept) in [
            (StatusCode::TOO_MANY_REQUESTS, false),
            (StatusCode::FORBIDDEN, false),
            (StatusCode::CONFLICT, true),
        ] {
            assert_eq!(attempt(status).await.unwrap_err().status(), status);
            assert_eq!(is_kept().await, kept, "{status}");
            let topics = store.read(topics::list).await.unwrap();
            assert!(topics.iter().all(|topic| topic.name != "hats"), "{status}");
        }
    }
}
