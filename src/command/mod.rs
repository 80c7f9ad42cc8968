//! Commands: select, confirm, execute, read back.
pub mod machine;
