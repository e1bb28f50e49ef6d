//! Topics: what a person may ask for, or not, beside their consent.

use utoipa::ToSchema;

use super::{Time, shape, words};

shape! {
    /// Who belongs to a topic without having said anything of it.
    TopicDefault = words(["opt_in_required", "all_opted_in"]);
}

/// A topic.
#[derive(Debug, ToSchema)]
pub struct Topic {
    /// Key.
    pub id: i64,
    /// Its name, by which everything else names it, in any case.
    #[schema(example = "general")]
    pub name: String,
    /// Who belongs to it.
    pub default: TopicDefault,
    /// When it was added.
    pub created_at: Time,
}

/// A topic to be.
#[derive(Debug, ToSchema)]
pub struct NewTopic {
    /// One line without a slash.
    #[schema(example = "offers", min_length = 1, max_length = 64)]
    pub name: String,
    /// `opt_in_required` unless said otherwise.
    pub default: Option<TopicDefault>,
}

/// What changes of a topic.
#[derive(Debug, ToSchema)]
pub struct TopicPatch {
    /// Its new name. 409 while a segment names it.
    #[schema(example = "offers", min_length = 1, max_length = 64)]
    pub name: Option<String>,
    /// Who belongs to it.
    pub default: Option<TopicDefault>,
}
