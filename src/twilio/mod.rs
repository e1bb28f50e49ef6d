//! All knowledge of Twilio's wire: requests, answers, errors, signatures, webhook forms.

pub mod signature;
