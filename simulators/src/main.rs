//! townsim
fn main() {}
