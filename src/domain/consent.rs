//! Consent: its states, and the keywords by which people change it.
