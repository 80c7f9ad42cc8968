//! A file system that fails on demand: a folder seen through FUSE, whose disk can refuse to sync, refuse to write, be slow,
//! or lose its power.
//!
//! It keeps, for every file, how to take back what was written since its last good sync. A sync that fails takes it back at
//! once, as Linux may (the pages of a failed write-back are dropped); a power cut takes everything back. The names of files
//! (made, renamed, deleted) are durable at once: less than a real disk loses.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{
    BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};

/// Nothing is remembered by the kernel: the disk decides every time.
const TTL: Duration = Duration::ZERO;

/// What is wrong with the disk.
#[derive(Default)]
pub struct Faults {
    /// Every sync fails with EIO, and what it should have brought to the disk is gone.
    pub sync_fails: AtomicBool,
    /// Every write fails with EIO.
    pub write_fails: AtomicBool,
    /// How long a sync takes, in milliseconds.
    pub sync_ms: AtomicU64,
    /// How long a write takes, in milliseconds.
    pub write_ms: AtomicU64,
    /// Syncs and writes that failed.
    pub failures: AtomicU64,
    /// Syncs that did not.
    pub syncs: AtomicU64,
}

/// How to take a change of a file back.
struct Undo {
    offset: u64,
    before: Vec<u8>,
    length_before: u64,
}

#[derive(Default)]
struct Inside {
    paths: HashMap<u64, PathBuf>,
    open: HashMap<u64, (u64, Arc<File>)>,
    /// By file, the oldest first.
    unsynced: HashMap<u64, Vec<Undo>>,
    last: u64,
}

/// The disk behind the mount.
#[derive(Clone)]
struct Disk {
    faults: Arc<Faults>,
    inside: Arc<Mutex<Inside>>,
}

/// A mounted frail disk; unmounted when dropped.
pub struct Frail {
    pub faults: Arc<Faults>,
    backing: PathBuf,
    at: PathBuf,
    mounted: Option<(BackgroundSession, Disk)>,
}

impl Frail {
    /// Mounts `backing` at `at`; both are made.
    ///
    /// # Errors
    /// The kernel has no FUSE, or may not mount here.
    pub fn mount(backing: &Path, at: &Path) -> io::Result<Self> {
        fs::create_dir_all(backing)?;
        fs::create_dir_all(at)?;
        let faults = Arc::default();
        let mut frail =
            Frail { faults, backing: backing.to_owned(), at: at.to_owned(), mounted: None };
        frail.power_on()?;
        Ok(frail)
    }

    /// Mounts it again after [`Frail::power_cut`].
    ///
    /// # Errors
    /// As for [`Frail::mount`].
    pub fn power_on(&mut self) -> io::Result<()> {
        let paths = HashMap::from([(INodeNo::ROOT.0, self.backing.clone())]);
        let inside = Inside { paths, last: INodeNo::ROOT.0, ..Inside::default() };
        let inside = Arc::new(Mutex::new(inside));
        let disk = Disk { faults: Arc::clone(&self.faults), inside };
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("frail".to_owned())];
        self.mounted = Some((fuser::spawn_mount(disk.clone(), &self.at, &config)?, disk));
        Ok(())
    }

    /// Unmounts it, and takes back whatever was not synced. Nobody may have a file open. Returns how many changes are gone.
    pub fn power_cut(&mut self) -> usize {
        let (session, disk) = self.mounted.take().expect("it is mounted");
        match session.umount_and_join() {
            // The kernel had one more request for it, which the end of the mount took back.
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
            ended => ended.expect("it can be unmounted"),
        }
        let mut inside = disk.inside.lock().expect("whole");
        let inside = &mut *inside;
        let mut gone = 0;
        for (ino, undos) in inside.unsynced.drain() {
            gone += undos.len();
            let path = &inside.paths[&ino];
            if let Ok(file) = File::options().write(true).open(path) {
                take_back(&file, undos).expect("the real disk works");
            }
        }
        gone
    }
}

fn take_back(file: &File, undos: Vec<Undo>) -> io::Result<()> {
    for undo in undos.into_iter().rev() {
        file.write_all_at(&undo.before, undo.offset)?;
        file.set_len(undo.length_before)?;
    }
    Ok(())
}

impl Inside {
    fn path(&self, ino: INodeNo) -> io::Result<&Path> {
        self.paths.get(&ino.0).map(PathBuf::as_path).ok_or(io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    fn number(&mut self, path: PathBuf) -> u64 {
        if let Some((ino, _)) = self.paths.iter().find(|(_, known)| **known == path) {
            return *ino;
        }
        self.last += 1;
        self.paths.insert(self.last, path);
        self.last
    }

    fn entry(&mut self, path: PathBuf) -> io::Result<FileAttr> {
        let found = fs::symlink_metadata(&path)?;
        Ok(attributes(self.number(path), &found))
    }

    fn open(&mut self, ino: u64, file: File) -> FileHandle {
        self.last += 1;
        self.open.insert(self.last, (ino, Arc::new(file)));
        FileHandle(self.last)
    }

    fn file(&self, fh: FileHandle) -> io::Result<Arc<File>> {
        let found = self.open.get(&fh.0).map(|(_, file)| Arc::clone(file));
        found.ok_or(io::ErrorKind::NotFound.into())
    }

    /// Remembers what is there from `offset` on, before it changes.
    fn remember(&mut self, ino: u64, file: &File, offset: u64, length: usize) -> io::Result<()> {
        // Shared memory between processes: nothing of it counts after a crash. A file without a name is gone anyway.
        let counts = self
            .paths
            .get(&ino)
            .is_some_and(|path| !path.as_os_str().as_encoded_bytes().ends_with(b"-shm"));
        if !counts {
            return Ok(());
        }
        let length_before = file.metadata()?.len();
        let overlap = length_before.saturating_sub(offset).min(length as u64);
        let mut before = vec![0; overlap as usize];
        file.read_exact_at(&mut before, offset)?;
        self.unsynced.entry(ino).or_default().push(Undo { offset, before, length_before });
        Ok(())
    }

    fn rename(&mut self, from: PathBuf, to: PathBuf) -> io::Result<()> {
        fs::rename(&from, &to)?;
        self.forget(&to);
        for path in self.paths.values_mut() {
            if let Ok(rest) = path.strip_prefix(&from) {
                *path = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
            }
        }
        Ok(())
    }

    fn forget(&mut self, path: &Path) {
        let gone: Vec<u64> =
            self.paths.iter().filter(|(_, known)| *known == path).map(|(ino, _)| *ino).collect();
        for ino in gone {
            self.paths.remove(&ino);
            self.unsynced.remove(&ino);
        }
    }
}

fn attributes(ino: u64, found: &fs::Metadata) -> FileAttr {
    let kind = if found.is_dir() { FileType::Directory } else { FileType::RegularFile };
    let modified = found.modified().expect("Linux tells");
    FileAttr {
        ino: INodeNo(ino),
        size: found.len(),
        blocks: found.blocks(),
        atime: modified,
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind,
        perm: (found.permissions().mode() & 0o7777) as u16,
        nlink: found.nlink() as u32,
        uid: found.uid(),
        gid: found.gid(),
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

impl Disk {
    fn with<T>(&self, work: impl FnOnce(&mut Inside) -> io::Result<T>) -> Result<T, Errno> {
        let mut inside = self.inside.lock().expect("whole");
        work(&mut inside).map_err(|why| match why.raw_os_error() {
            Some(code) => Errno::from_i32(code),
            None => Errno::ENOENT,
        })
    }

    fn fail_if(&self, fault: &AtomicBool) -> Result<(), Errno> {
        if fault.load(Ordering::SeqCst) {
            self.faults.failures.fetch_add(1, Ordering::SeqCst);
            return Err(Errno::EIO);
        }
        Ok(())
    }

    fn sync(&self, fh: FileHandle) -> Result<(), Errno> {
        let delay = self.faults.sync_ms.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(delay));
        let failed = self.fail_if(&self.faults.sync_fails);
        self.with(|inside| {
            let Some((ino, file)) = inside.open.get(&fh.0).cloned() else { return Ok(()) };
            let undos = inside.unsynced.remove(&ino).unwrap_or_default();
            if failed.is_err() { take_back(&file, undos) } else { Ok(()) }
        })?;
        self.faults.syncs.fetch_add(u64::from(failed.is_ok()), Ordering::SeqCst);
        failed
    }

    fn write(&self, ino: u64, fh: FileHandle, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let delay = self.faults.write_ms.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(delay));
        self.fail_if(&self.faults.write_fails)?;
        self.with(|inside| {
            let file = inside.file(fh)?;
            inside.remember(ino, &file, offset, data.len())?;
            file.write_all_at(data, offset)
        })
    }
}

/// Answers a request that has no answer but whether it went well.
fn answer(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(why) => reply.error(why),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.with(|inside| inside.entry(inside.child(parent, name)?)) {
            Ok(found) => reply.entry(&TTL, &found, Generation(0)),
            Err(why) => reply.error(why),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.with(|inside| match fh.and_then(|fh| inside.file(fh).ok()) {
            Some(file) => file.metadata(),
            None => fs::symlink_metadata(inside.path(ino)?),
        });
        match found {
            Ok(found) => reply.attr(&TTL, &attributes(ino.0, &found)),
            Err(why) => reply.error(why),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        fh: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|inside| {
            let file = match fh.and_then(|fh| inside.file(fh).ok()) {
                Some(file) => file,
                None => Arc::new(File::open(inside.path(ino)?)?),
            };
            if let Some(mode) = mode {
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            if let Some(size) = size {
                let file = match fh {
                    Some(_) => file.try_clone()?,
                    None => open_file(inside.path(ino)?)?,
                };
                inside.remember(ino.0, &file, size, usize::MAX)?;
                file.set_len(size)?;
            }
            file.metadata()
        });
        match changed {
            Ok(found) => reply.attr(&TTL, &attributes(ino.0, &found)),
            Err(why) => reply.error(why),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.with(|inside| {
            let path = inside.child(parent, name)?;
            fs::create_dir(&path)?;
            inside.entry(path)
        });
        match made {
            Ok(found) => reply.entry(&TTL, &found, Generation(0)),
            Err(why) => reply.error(why),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.with(|inside| {
            let path = inside.child(parent, name)?;
            inside.forget(&path);
            fs::remove_file(path)
        });
        answer(reply, gone);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.with(|inside| fs::remove_dir(inside.child(parent, name)?)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.with(|inside| {
            let (from, to) = (inside.child(parent, name)?, inside.child(new_parent, new_name)?);
            inside.rename(from, to)
        });
        answer(reply, renamed);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.with(|inside| {
            let file = open_file(inside.path(ino)?)?;
            Ok(inside.open(ino.0, file))
        });
        match opened {
            Ok(fh) => reply.opened(fh, FopenFlags::empty()),
            Err(why) => reply.error(why),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.with(|inside| {
            let path = inside.child(parent, name)?;
            let file =
                File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            file.set_permissions(fs::Permissions::from_mode(mode & !umask & 0o7777))?;
            let found = inside.entry(path)?;
            Ok((found, inside.open(found.ino.0, file)))
        });
        match made {
            Ok((found, fh)) => {
                reply.created(&TTL, &found, Generation(0), fh, FopenFlags::empty());
            }
            Err(why) => reply.error(why),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.with(|inside| {
            let file = inside.file(fh)?;
            let mut bytes = vec![0; size as usize];
            let mut n = 0;
            while n < bytes.len() {
                match file.read_at(&mut bytes[n..], offset + n as u64)? {
                    0 => break,
                    more => n += more,
                }
            }
            bytes.truncate(n);
            Ok(bytes)
        });
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(why) => reply.error(why),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match Disk::write(self, ino.0, fh, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(why) => reply.error(why),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.sync(fh));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer(reply, self.fail_if(&self.faults.sync_fails));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let released = self.with(|inside| {
            inside.open.remove(&fh.0);
            Ok(())
        });
        answer(reply, released);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = self.with(|inside| {
            let path = inside.path(ino)?.to_owned();
            let mut names: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
            names.sort_by_key(fs::DirEntry::file_name);
            let mut rows = Vec::new();
            for name in names {
                let found = inside.entry(name.path())?;
                rows.push((found.ino, found.kind, name.file_name()));
            }
            Ok(rows)
        });
        let names = match names {
            Ok(names) => names,
            Err(why) => return reply.error(why),
        };
        for (i, (ino, kind, name)) in (1_u64..).zip(names).skip(offset as usize) {
            if reply.add(ino, i, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let found = self.with(|inside| Ok(rustix::fs::statvfs(inside.path(INodeNo::ROOT)?)?));
        match found {
            Ok(f) => reply.statfs(
                f.f_blocks,
                f.f_bfree,
                f.f_bavail,
                f.f_files,
                f.f_ffree,
                f.f_bsize as u32,
                f.f_namemax as u32,
                f.f_frsize as u32,
            ),
            Err(why) => reply.error(why),
        }
    }
}
