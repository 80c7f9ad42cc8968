//! townhub
fn main() {}
