//! Putting a backup back: into an empty folder, whole or not at all.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::backup::{LOST, copy_file, make_private, sync_folder};
use super::check::{Pair, look};
use super::error::UpkeepError;
use super::manifest::{DATA, Manifest};
use super::stop::Stop;
use super::{TOWN, UNFINISHED};
use crate::audit::{self, Entry};
use crate::model::Timestamp;
use crate::store::Depth;

/// Restores a backup into `data`, which must be empty or not there. Checks every file of the backup before it writes one,
/// and what it wrote after. A restore that was cut off is begun anew by calling this again; no hub starts on its remains.
///
/// # Errors
/// When it is no backup or not whole, `data` is in use or not empty, or a file cannot be read or written.
pub fn restore(
    backup: &Path,
    data: &Path,
    now: Timestamp,
    stop: &Stop,
) -> Result<Manifest, UpkeepError> {
    let manifest = Manifest::read(backup)?;
    let mut changed = None;
    manifest.compare(backup, stop, &mut |file, why| {
        changed =
            changed.take().or(Some(UpkeepError::Changed { path: backup.join(&file.path), why }));
    })?;
    if let Some(changed) = changed {
        return Err(changed);
    }
    make_private(data)?;
    let _lock = lock(data)?;
    let unfinished = data.join(UNFINISHED);
    empty(data)?;
    drop(File::create(&unfinished).map_err(UpkeepError::file(&unfinished))?);
    sync_folder(data)?;
    for file in &manifest.files {
        let Ok(path) = file.path.strip_prefix(DATA) else { continue };
        let to = data.join(path);
        if let Some(parent) = to.parent() {
            make_private(parent)?;
        }
        copy_file(&backup.join(&file.path), &to)?;
    }
    let mut finding = None;
    look(&Pair::still(data, stop)?, Depth::Checksums, &mut |found| {
        finding = finding.take().or(Some(found))
    });
    stop.check()?;
    if let Some(finding) = finding {
        return Err(UpkeepError::NotWhole { finding: finding.to_string() });
    }
    note(data, &manifest, now)?;
    sync_folder(data)?;
    fs::remove_file(&unfinished).map_err(UpkeepError::file(&unfinished))?;
    sync_folder(data)?;
    Ok(manifest)
}

/// Takes the folder as a hub would.
fn lock(data: &Path) -> Result<File, UpkeepError> {
    let path = data.join("lock");
    let file = File::create(&path).map_err(UpkeepError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(UpkeepError::InUse { folder: data.to_owned() }),
        Err(TryLockError::Error(source)) => Err(UpkeepError::File { path, source }),
    }
}

/// Refuses a folder with anything in it; the remains of a restore that was cut off go.
fn empty(data: &Path) -> Result<(), UpkeepError> {
    let is_ours = data.join(UNFINISHED).exists();
    let failed = |source| UpkeepError::File { path: data.to_owned(), source };
    for entry in fs::read_dir(data).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == "lock" || name == UNFINISHED || name == LOST {
            continue;
        }
        if !is_ours {
            let found = name.to_string_lossy().into_owned();
            return Err(UpkeepError::NotEmpty { folder: data.to_owned(), found });
        }
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(UpkeepError::file(&path))?;
    }
    Ok(())
}

/// Writes into the audit log that the town's state is from here on that of the backup.
fn note(data: &Path, manifest: &Manifest, now: Timestamp) -> Result<(), UpkeepError> {
    let path = data.join(TOWN);
    let note = || -> rusqlite::Result<()> {
        let mut conn = rusqlite::Connection::open(&path)?;
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let detail = serde_json::json!({
            "taken_at": manifest.taken_at.to_string(),
            "last_commit": manifest.readings.map(|ends| ends.last_commit),
        });
        let entry =
            Entry { at: now, actor: audit::CLI, action: "backup.restore", subject: "data", detail };
        audit::append(&tx, &entry)?;
        tx.commit()
    };
    note().map_err(UpkeepError::database(&path))
}
