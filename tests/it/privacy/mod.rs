//! What is kept of people: shown for a complaint, handed out, erased, and removed in time.

mod proof;
