//! What an operator does with the data on disk: sees that there is room for it, keeps copies, proves it whole, takes it
//! elsewhere.
//!
//! Looks into the files of the other rooms, beside a hub that runs: always in a snapshot of its own, never writing.
//! Takes a folder and hands on findings, copies and tables; never judges a reading and never changes one.

mod disk;
mod size;

pub use disk::{DiskConfig, DiskGuard, DiskLimits, DiskState, DiskView, Space};
pub use size::{Level, bytes_text};
