//! What is known of the place where a person is, as far as hours ask.

use crate::domain::phone::Phone;

/// What is known of the place where a person is. The attributes are as the person has them: what names no
/// zone or no state counts as not said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whereabouts<'a> {
    /// The number, unless the person is known by a channel's id alone.
    pub phone: Option<&'a Phone>,
    /// ISO 3166 alpha-2, as kept with the person.
    pub country: Option<&'a str>,
    /// The attribute `timezone`.
    pub timezone: Option<&'a str>,
    /// The attribute `state`, or else `region`.
    pub state: Option<&'a str>,
}
