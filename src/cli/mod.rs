//! The commands of the CLI that are more than a line.

pub(crate) mod access;
pub(crate) mod data;
