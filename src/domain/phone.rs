//! Phone numbers (E.164) and channel addresses.
