//! A backup: all that a hub needs to go on elsewhere, of one moment, made while it runs.
//!
//! The moment is taken from both databases within microseconds, the town's first. So what the alerts have judged is never
//! ahead of the readings; and what they have not judged is still unsealed in the copy, or the moment is taken again. A hub
//! that starts on the copy therefore judges every reading in it exactly once, as after a power cut.
//!
//! Readers never keep a writer of these databases waiting. What a backup costs a running hub is disk: its log grows while
//! the copy is made, and the copy is brought to the disk in small pieces so that commits pass between them.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::check::{Pair, look};
use super::error::UpkeepError;
use super::manifest::{DATA, FileSum, Manifest};
use super::snapshot::{Snapshot, is_database};
use super::stop::Stop;
use super::{DiskConfig, READINGS, Space, TOWN, UNFINISHED, bytes_text};
use crate::model::Timestamp;
use crate::store::Depth;

/// How often the moment is taken anew when readings were sealed in between: that takes microseconds, sealing comes every
/// few minutes.
const MOMENTS: usize = 50;

/// Pages that are copied at a time: some megabytes.
const PAGES: i32 = 512;

/// A pause between them, for those who write.
const PAUSE: Duration = Duration::from_millis(2);

/// The copy is brought to the disk every so many pieces: a flood of dirty pages would hold up the hub's own commits.
const PIECES_PER_SYNC: usize = 4;

/// The lock in a folder of backups.
const LOCK: &str = ".townhub-backup.lock";

/// What ext4 makes at the root of a disk, for itself and root only.
pub(super) const LOST: &str = "lost+found";

/// A backup that is not finished is called so in front.
const PARTIAL: &str = ".townhub-partial-";

/// A backup's name in front of its moment.
const PREFIX: &str = "townhub-";

/// What is backed up.
#[derive(Debug, Clone)]
pub struct Belongings {
    /// The data folder.
    pub data: PathBuf,
    /// The folder of device profiles.
    pub profiles: PathBuf,
    /// The configuration file, when there is one.
    pub config: Option<PathBuf>,
    /// How full the data's disk may get.
    pub disk: DiskConfig,
}

/// A finished backup.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its folder.
    pub folder: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
}

impl Belongings {
    /// Makes a backup in a new folder in `into`. It is there when it is whole and checked, or not at all.
    ///
    /// # Errors
    /// When something cannot be read or written, there is no room, another backup is being made there, the copy does not
    /// check well, or it is told to stop.
    pub fn back_up(
        &self,
        into: &Path,
        now: Timestamp,
        stop: &Stop,
    ) -> Result<Finished, UpkeepError> {
        if !self.data.join(TOWN).is_file() {
            return Err(UpkeepError::NoData { folder: self.data.clone() });
        }
        make_private(into)?;
        self.refuse_inside(into)?;
        let _lock = lock(into)?;
        remove_partial(into)?;
        self.refuse_without_room(into)?;
        let partial = into.join(format!("{PARTIAL}{}", std::process::id()));
        make_private(&partial)?;
        let made = self.make(&partial, now, stop).and_then(|manifest| {
            let folder = free_name(into, now);
            fs::rename(&partial, &folder).map_err(UpkeepError::file(&folder))?;
            sync_folder(into)?;
            Ok(Finished { folder, manifest })
        });
        if made.is_err() {
            // The next one tries again.
            let _ = fs::remove_dir_all(&partial);
        }
        made
    }

    fn make(&self, partial: &Path, now: Timestamp, stop: &Stop) -> Result<Manifest, UpkeepError> {
        let copy = partial.join(DATA);
        make_private(&copy)?;
        let source = moment(&self.data, stop)?;
        copy_database(&source.town, &copy.join(TOWN), stop)?;
        if let Some(readings) = &source.readings {
            copy_database(readings, &copy.join(READINGS), stop)?;
        }
        drop(source);
        self.copy_others(&copy, stop)?;
        if self.profiles.is_dir() {
            copy_folder(&self.profiles, &partial.join("profiles"), stop)?;
        }
        if let Some(config) = &self.config {
            copy_file(config, &partial.join("townhub.toml"))?;
        }
        let pair = Pair::still(&copy, stop)?;
        let mut finding = None;
        let checked =
            look(&pair, Depth::Checksums, &mut |found| finding = finding.take().or(Some(found)));
        stop.check()?;
        if let Some(finding) = finding {
            return Err(UpkeepError::NotWhole { finding: finding.to_string() });
        }
        let (ends, judged) = pair.ends()?;
        drop(pair);
        let mut files = Vec::new();
        for path in files_of(partial)? {
            files.push(FileSum::of(partial, &path, stop)?);
        }
        let manifest = Manifest::new(now, ends, judged, checked.audit_head, files);
        manifest.write(partial)?;
        sync_folder(partial)?;
        Ok(manifest)
    }

    /// What else stands in the data folder: the queue of a store elsewhere, for example.
    fn copy_others(&self, copy: &Path, stop: &Stop) -> Result<(), UpkeepError> {
        for path in files_of(&self.data)? {
            let source = self.data.join(&path);
            let is_known =
                [TOWN, READINGS, "lock", UNFINISHED].map(Path::new).contains(&path.as_path());
            // The log of a database comes with it.
            if is_known || has_suffix(&path, "-wal") || has_suffix(&path, "-shm") {
                continue;
            }
            let to = copy.join(&path);
            if let Some(parent) = to.parent() {
                make_private(parent)?;
            }
            match is_database(&source) {
                Ok(true) => copy_database(&Snapshot::beside(&source, stop)?, &to, stop)?,
                // Gone since: it was a passing one.
                Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
                Ok(false) => copy_file(&source, &to)?,
                Err(why) => return Err(UpkeepError::file(&source)(why)),
            }
        }
        Ok(())
    }

    fn refuse_inside(&self, into: &Path) -> Result<(), UpkeepError> {
        let real = |path: &Path| fs::canonicalize(path).map_err(UpkeepError::file(path));
        let is_inside = real(into)?.starts_with(real(&self.data)?);
        if is_inside { Err(UpkeepError::Inside { folder: into.to_owned() }) } else { Ok(()) }
    }

    fn refuse_without_room(&self, into: &Path) -> Result<(), UpkeepError> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let mut need = 0;
        for path in files_of(&self.data)? {
            need += fs::metadata(self.data.join(path)).map_or(0, |file| file.len());
        }
        let space = Space::of(into).map_err(UpkeepError::file(into))?;
        // A backup must not be what stops the readings.
        if device(into).ok() == device(&self.data).ok() {
            need += self.disk.limits(space.total_bytes).stop_bytes;
        }
        if space.free_bytes >= need {
            return Ok(());
        }
        let (free, need) = (bytes_text(space.free_bytes), bytes_text(need));
        Err(UpkeepError::NoRoom { folder: into.to_owned(), free, need })
    }
}

/// Both databases in one moment, of which the readings have everything that the alerts have not judged.
fn moment(data: &Path, stop: &Stop) -> Result<Pair, UpkeepError> {
    for _ in 0..MOMENTS {
        let pair = Pair::beside(data, stop)?;
        match pair.ends()? {
            (Some(ends), judged) if ends.sealed_through > judged => {}
            _ => return Ok(pair),
        }
    }
    Err(UpkeepError::Restless)
}

/// Copies what the snapshot shows, page by page, and brings it to the disk.
fn copy_database(source: &Snapshot, to: &Path, stop: &Stop) -> Result<(), UpkeepError> {
    // Opened before SQLite has it and closed after: closing a file sooner would drop SQLite's locks on it.
    let file = private_file(to)?;
    let synced = |file: &File| file.sync_data().map_err(UpkeepError::file(to));
    let mut copy = Connection::open(to).map_err(UpkeepError::database(to))?;
    let failed = |source| UpkeepError::Database { path: to.to_owned(), source };
    // Nobody needs half a copy.
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF").map_err(failed)?;
    let backup = Backup::new(&source.conn, &mut copy).map_err(failed)?;
    let mut pieces = 0_usize;
    loop {
        stop.check()?;
        match backup.step(PAGES).map_err(failed)? {
            StepResult::Done => break,
            _ => thread::sleep(PAUSE),
        }
        pieces += 1;
        if pieces.is_multiple_of(PIECES_PER_SYNC) {
            synced(&file)?;
        }
    }
    drop(backup);
    copy.close().map_err(|(_, why)| failed(why))?;
    synced(&file)
}

pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), UpkeepError> {
    let mut source = File::open(from).map_err(UpkeepError::file(from))?;
    let mut file = private_file(to)?;
    std::io::copy(&mut source, &mut file)
        .and_then(|_| file.sync_all())
        .map_err(UpkeepError::file(to))
}

fn copy_folder(from: &Path, to: &Path, stop: &Stop) -> Result<(), UpkeepError> {
    make_private(to)?;
    for path in files_of(from)? {
        stop.check()?;
        let target = to.join(&path);
        if let Some(parent) = target.parent() {
            make_private(parent)?;
        }
        copy_file(&from.join(&path), &target)?;
    }
    Ok(())
}

/// A new file that only its owner may read: a backup holds hashes of secrets.
fn private_file(path: &Path) -> Result<File, UpkeepError> {
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path).map_err(UpkeepError::file(path))
}

/// A folder that only its owner may enter, if there is none.
pub(super) fn make_private(folder: &Path) -> Result<(), UpkeepError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(UpkeepError::file(folder))
}

/// Brings a folder's names to the disk, and those of the folders in it.
pub(super) fn sync_folder(folder: &Path) -> Result<(), UpkeepError> {
    let failed = |source| UpkeepError::File { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if entry.file_type().map_err(failed)?.is_dir() && !has_prefix(&name, PREFIX) && name != LOST
        {
            sync_folder(&entry.path())?;
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Every file in a folder and the folders in it, as paths from there on, sorted. Links to folders are not followed, and
/// [`LOST`] is left out.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, UpkeepError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let whole = folder.join(&inner);
        let failed = |source| UpkeepError::File { path: whole.clone(), source };
        for entry in fs::read_dir(&whole).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = inner.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            if path == Path::new(LOST) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes())
}

fn has_prefix(name: &OsString, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}

fn lock(into: &Path) -> Result<File, UpkeepError> {
    let path = into.join(LOCK);
    let file = File::create(&path).map_err(UpkeepError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(UpkeepError::Busy { folder: into.to_owned() }),
        Err(TryLockError::Error(source)) => Err(UpkeepError::File { path, source }),
    }
}

/// Removes what backups left that were cut off. Called with the lock held.
fn remove_partial(into: &Path) -> Result<(), UpkeepError> {
    let failed = UpkeepError::file(into);
    let remove = || -> std::io::Result<()> {
        for entry in fs::read_dir(into)? {
            let entry = entry?;
            if has_prefix(&entry.file_name(), PARTIAL) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(failed)
}

fn free_name(into: &Path, now: Timestamp) -> PathBuf {
    let at = jiff::Timestamp::from_microsecond(now.as_micros()).unwrap_or_default();
    let name = format!("{PREFIX}{}", at.strftime("%Y%m%dT%H%M%SZ"));
    let first = into.join(&name);
    let others = (2..).map(|n: u32| into.join(format!("{name}-{n}")));
    std::iter::once(first)
        .chain(others)
        .find(|path| !path.exists())
        .unwrap_or_else(|| into.join(name))
}

/// The backups in a folder, the oldest first. What has no manifest is none.
///
/// # Errors
/// When the folder cannot be read; one that is not there has none.
pub fn list(into: &Path) -> Result<Vec<Finished>, UpkeepError> {
    let entries = match fs::read_dir(into) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(UpkeepError::file(into))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(UpkeepError::file(into))?;
        if !has_prefix(&entry.file_name(), PREFIX) {
            continue;
        }
        if let Ok(manifest) = Manifest::read(&entry.path()) {
            found.push(Finished { folder: entry.path(), manifest });
        }
    }
    found.sort_by(|a, b| (a.manifest.taken_at, &a.folder).cmp(&(b.manifest.taken_at, &b.folder)));
    Ok(found)
}

/// Removes the oldest backups in a folder until `keep` are left; returns those that went. One that is dated after `now`, by
/// a clock that was wrong, takes no place.
///
/// # Errors
/// When one cannot be removed.
pub fn prune(into: &Path, keep: usize, now: Timestamp) -> Result<Vec<PathBuf>, UpkeepError> {
    let mut all = list(into)?;
    all.retain(|one| one.manifest.at() <= now);
    let surplus = all.len().saturating_sub(keep);
    let mut gone = Vec::new();
    for old in all.into_iter().take(surplus) {
        // First of all it ceases to be a backup.
        let manifest = old.folder.join(super::manifest::NAME);
        fs::remove_file(&manifest).map_err(UpkeepError::file(&manifest))?;
        fs::remove_dir_all(&old.folder).map_err(UpkeepError::file(&old.folder))?;
        gone.push(old.folder);
    }
    Ok(gone)
}
