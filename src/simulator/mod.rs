//! A strict local stand-in for Twilio: REST in, signed callbacks out.
