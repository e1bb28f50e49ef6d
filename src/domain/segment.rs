//! The segment definition language: parsed, checked, bounded.
