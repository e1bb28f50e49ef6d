//! From a phone number to the time zones in which its owner may be.
