//! What an operator does with the data on disk: sees that there is room for it, keeps copies, proves it whole, takes it
//! elsewhere.
//!
//! Looks into the files of the other rooms, beside a hub that runs: always in a snapshot of its own, never writing.
//! Takes a folder and hands on findings, copies and tables; never judges a reading and never changes one.

mod backup;
mod check;
mod disk;
mod error;
mod export;
mod manifest;
mod restore;
mod schedule;
mod size;
mod snapshot;
mod stop;
#[cfg(test)]
mod tests;

pub use backup::{Belongings, Finished, list, prune};
pub use check::{Checked, Finding, check};
pub use disk::{DiskConfig, DiskGuard, DiskLimits, DiskState, DiskView, Space};
pub use error::UpkeepError;
pub use export::{Export, Exported, Format, moment};
pub use manifest::{FileSum, Manifest};
pub use restore::restore;
pub use schedule::{BackupConfig, BackupThread, BackupView, Backups};
pub use size::Level;

pub use crate::model::size::bytes_text;
pub use stop::Stop;

/// The town's state in the data folder.
pub const TOWN: &str = "town.db";

/// The embedded store's readings in the data folder.
pub const READINGS: &str = "readings.db";

/// Stands in a data folder while a backup is restored into it; no hub starts on that.
pub const UNFINISHED: &str = "restore-unfinished";
