//! What can go wrong with an operator's work on the data.

use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum UpkeepError {
    #[error("cannot use {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("cannot read the database {}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("cannot read the readings")]
    Store(#[from] StoreError),
    #[error(
        "{} has no town.db: it is no hub's data folder and no backup; name one, or a configuration whose `data` is one",
        folder.display()
    )]
    NoData { folder: PathBuf },
    #[error("another backup into {} is being made; wait for its end", folder.display())]
    Busy { folder: PathBuf },
    #[error("{} must not be inside the data folder; name another folder, best on another disk", folder.display())]
    Inside { folder: PathBuf },
    #[error("{} has room for {free}, the backup needs {need}; make room or name another folder", folder.display())]
    NoRoom { folder: PathBuf, free: String, need: String },
    #[error("the readings were sealed again and again while the backup began; try again")]
    Restless,
    #[error("the copy is not whole, so it was thrown away: {finding}")]
    NotWhole { finding: String },
    #[error("it was told to stop")]
    Stopped,
    #[error("{} is no backup: {why}", folder.display())]
    NoBackup { folder: PathBuf, why: String },
    #[error("{} is not what was backed up: {why}; use another backup", path.display())]
    Changed { path: PathBuf, why: String },
    #[error("{} is not empty ({found} is in it); a backup is restored into an empty folder only: move it away first", folder.display())]
    NotEmpty { folder: PathBuf, found: String },
    #[error("a hub works on {}; stop it first", folder.display())]
    InUse { folder: PathBuf },
    #[error("cannot write the export")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("cannot write the export")]
    Csv(#[from] csv::Error),
    #[error("{0}")]
    BadQuery(String),
}

impl UpkeepError {
    /// For a file that cannot be used.
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| UpkeepError::File { path, source }
    }

    /// For a database that cannot be read.
    pub(super) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| UpkeepError::Database { path, source }
    }
}
