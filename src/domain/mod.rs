//! Words and rules of the field, as pure functions and types that cannot be wrong.
//! Nothing here knows a clock, SQL or HTTP: values and `now` come in, decisions go out.

pub mod attachment;
pub mod bulk;
pub mod campaign;
pub mod catalogue;
pub mod consent;
pub mod content;
pub mod encoding;
pub mod event;
pub mod failure;
pub mod forecast;
pub mod frequency;
pub mod gate;
pub mod lookup;
pub mod message;
pub mod operator;
pub mod password;
pub mod people;
pub mod phone;
pub mod plan;
pub mod price;
pub mod quiet_hours;
pub mod retention;
pub mod retry;
pub mod rules;
pub mod second_factor;
pub mod segment;
pub mod template;
pub mod timezone;
pub mod trigger;
pub mod us_state;
pub mod user;
pub mod webhook;
