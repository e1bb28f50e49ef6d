//! What is known of the place where a person is, as far as hours ask.

use crate::domain::phone::Phone;
use crate::domain::us_state;

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

impl Whereabouts<'_> {
    /// The US state: as written down, else by the area code. Says nothing about people of other countries.
    pub fn us_state(&self) -> Option<&'static str> {
        self.state.and_then(us_state::named).or_else(|| self.phone.and_then(us_state::of_phone))
    }
}
