//! Commands: select, confirm, execute, read back.
mod check;
pub mod machine;
pub use check::{Fact, Permission, Refusal, Situation};
