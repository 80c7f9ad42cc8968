//! What a backup says of itself: `manifest.json` beside its files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::UpkeepError;
use super::stop::Stop;
use crate::model::Timestamp;
use crate::store::Ends;

/// Its name. A folder without one is no backup: it is written last.
pub(super) const NAME: &str = "manifest.json";

/// Where the data folder's files are in a backup.
pub(super) const DATA: &str = "data";

/// The layout of a backup.
const FORMAT: u32 = 1;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 18;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout.
    pub format: u32,
    /// The hub's version.
    pub version: String,
    /// The moment that it shows, RFC 3339.
    pub taken_at: jiff::Timestamp,
    /// How far the readings go; absent when the town's hub never ran.
    pub readings: Option<Ends>,
    /// How far the alerts have judged them: never further than they go, never less than is sealed.
    pub judged_through: u64,
    /// The last hash of the audit log: noted elsewhere, it proves later that nobody rewrote it.
    pub audit_head: String,
    /// Its files.
    pub files: Vec<FileSum>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Where it is, from the backup's folder on.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// Of a backup that is being made.
    pub(super) fn new(
        taken_at: Timestamp,
        readings: Option<Ends>,
        judged_through: u64,
        audit_head: String,
        files: Vec<FileSum>,
    ) -> Self {
        let taken_at = jiff::Timestamp::from_microsecond(taken_at.as_micros()).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Manifest { format: FORMAT, version, taken_at, readings, judged_through, audit_head, files }
    }

    /// The backup's moment.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.taken_at.as_microsecond())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Reads that of a backup.
    ///
    /// # Errors
    /// When there is none, or it is of another layout.
    pub fn read(backup: &Path) -> Result<Self, UpkeepError> {
        let no = |why: String| UpkeepError::NoBackup { folder: backup.to_owned(), why };
        let text = std::fs::read(backup.join(NAME))
            .map_err(|why| no(format!("its {NAME} cannot be read: {why}")))?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|why| no(format!("its {NAME} is wrong: {why}")))?;
        if manifest.format != FORMAT {
            let found = manifest.format;
            return Err(no(format!(
                "it has layout {found}, this version knows {FORMAT}; use the version that made it"
            )));
        }
        // Nobody's manifest writes outside of the folder it is restored into.
        let is_tame = |path: &Path| {
            path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
        };
        match manifest.files.iter().find(|file| !is_tame(&file.path)) {
            Some(file) => Err(no(format!("its {NAME} names `{}`", file.path.display()))),
            None => Ok(manifest),
        }
    }

    /// Writes it to the disk.
    pub(super) fn write(&self, backup: &Path) -> Result<(), UpkeepError> {
        let path = backup.join(NAME);
        let failed = |source| UpkeepError::File { path: path.clone(), source };
        let mut file = File::create(&path).map_err(failed)?;
        let text = serde_json::to_vec_pretty(self).map_err(|why| failed(why.into()))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Compares every file with what is said of it; `tell` hears of each that differs.
    ///
    /// # Errors
    /// When it is told to stop.
    pub fn compare(
        &self,
        backup: &Path,
        stop: &Stop,
        tell: &mut dyn FnMut(&FileSum, String),
    ) -> Result<(), UpkeepError> {
        for file in &self.files {
            match FileSum::of(backup, &file.path, stop) {
                Ok(found) if found == *file => {}
                Ok(found) if found.bytes != file.bytes => {
                    tell(file, format!("it has {} bytes instead of {}", found.bytes, file.bytes));
                }
                Ok(_) => tell(file, "its checksum is another".to_owned()),
                Err(UpkeepError::Stopped) => return Err(UpkeepError::Stopped),
                Err(why) => tell(file, crate::error_chain(&why)),
            }
        }
        Ok(())
    }
}

impl FileSum {
    /// Of the file at `path` in `folder`.
    pub(super) fn of(folder: &Path, path: &Path, stop: &Stop) -> Result<Self, UpkeepError> {
        let whole = folder.join(path);
        let failed = |source| UpkeepError::File { path: whole.clone(), source };
        let mut file = File::open(&whole).map_err(failed)?;
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        let mut piece = vec![0; PIECE];
        loop {
            stop.check()?;
            let n = file.read(&mut piece).map_err(failed)?;
            if n == 0 {
                break;
            }
            bytes += n as u64;
            hasher.update(&piece[..n]);
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(FileSum { path: path.to_owned(), bytes, sha256 })
    }
}
