//! The description of the API: OpenAPI 3.1, made of what the handlers say of themselves, served at
//! `/api/v1/openapi.json`, printed by `ese openapi`, and shown at `/api/docs`.
//!
//! # How to describe an operation
//!
//! 1. Put its shapes into `shapes/<noun>.rs`: one struct with `ToSchema` for what is sent and one for what is
//!    answered. Every field has a doc comment, which is its description, and an `example` unless the type
//!    says enough (`Time`, `Phone`, numbers). Closed words and alternatives are made with `shape!`.
//!    In a request an `Option` may be left out; in an answer every field is there, and an `Option` may be null.
//! 2. Above the handler, its doc comment is the summary (one sentence) and, after an empty line, the
//!    description; then:
//!
//!    ```ignore
//!    /// Lists people, newest first.
//!    #[utoipa::path(get, path = "/users", operation_id = "list_users",
//!        params(Paging, shapes::UserFilters), responses((status = 200, body = Page<shapes::User>)))]
//!    ```
//!
//!    Say only what is particular: the parameters of the query, the body (`request_body = …`), the successes,
//!    and 409, 410 or 404 where the operation has a reason of its own for them, with a `description`.
//! 3. Add the handler to the list in `web/api/operations.rs`.
//!
//! `assemble` adds what is common: the tag (the first word of the path), the parameters of the path, the key
//! and its scope from the table of routes, `Idempotency-Key` on POST, `ETag` and `If-Match` with 412 for
//! the shapes named in `assemble::VERSIONED`, `X-Request-Id`, every other error that may come, closed objects
//! in requests, and the examples of bodies from those of the fields.
//!
//! Tests hold the document against the table of routes (`tests/it/openapi.rs`), and every answer that any test
//! of the API gets against the document (`tests/it/support/contract.rs`).

// What is indexed is the document itself, which tests make and look at as a whole.
#[allow(clippy::indexing_slicing)]
mod assemble;
#[allow(clippy::indexing_slicing)]
mod components;
pub(super) mod docs;
mod example;
pub mod serve;
pub mod shapes;

pub use assemble::document;
