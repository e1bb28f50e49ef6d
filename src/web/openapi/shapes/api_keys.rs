//! API keys: who may call.

use utoipa::ToSchema;

use super::{Time, shape, words};

shape! {
    /// What a key may do: look at everything; change people, imports, segments, templates, campaigns and topics;
    /// make messages go out; keys and settings.
    KeyScope = words(["read", "write", "send", "admin"]);
}

/// A key, without its secret.
#[derive(Debug, ToSchema)]
pub struct ApiKey {
    /// Key; others name it as `key:3`.
    pub id: i64,
    /// For people.
    #[schema(example = "shop")]
    pub name: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Time,
    /// From then on it is refused; null: never.
    pub expires_at: Option<Time>,
    /// The last call, to the minute.
    pub last_used_at: Option<Time>,
    /// Since then it is refused.
    pub revoked_at: Option<Time>,
}

/// A key just made.
#[derive(Debug, ToSchema)]
pub struct CreatedApiKey {
    /// Key; others name it as `key:3`.
    pub id: i64,
    /// For people.
    #[schema(example = "shop")]
    pub name: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Time,
    /// From then on it is refused; null: never.
    pub expires_at: Option<Time>,
    /// The last call, to the minute.
    pub last_used_at: Option<Time>,
    /// Since then it is refused.
    pub revoked_at: Option<Time>,
    /// The key itself. Told in this answer alone: null says that the request is a repeated one.
    #[schema(example = "ese_3q2-7w")]
    pub secret: Option<String>,
}

/// A key to be.
#[derive(Debug, ToSchema)]
pub struct NewApiKey {
    /// One line.
    #[schema(example = "shop", min_length = 1, max_length = 100)]
    pub name: String,
    /// At least one.
    #[schema(min_items = 1, max_items = 4)]
    pub scopes: Vec<KeyScope>,
    /// Refuse it from then on.
    #[schema(example = json!(null))]
    pub expires_at: Option<Time>,
}
