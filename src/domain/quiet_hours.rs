//! When a person may be written to: weekly hours, presets, and the next allowed minute.

/// What the hours say about an instant. Times are milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed now.
    Open {
        /// The first instant at which it is not.
        closes_at: i64,
    },
    /// Not allowed now.
    Wait {
        /// The first instant at which it is.
        until: i64,
        /// The first one after that at which it is not.
        closes_at: i64,
    },
    /// The number fits too many zones to leave enough hours.
    ZoneTooWide,
}
