//! The integration tests: real HTTP, real files, one binary.

mod simulator;
