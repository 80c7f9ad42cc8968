//! The profiles in force: a changed folder comes into force file by file, and only what passes its own fixtures.
//!
//! Takes the profile folder; hands on a [`ProfileSet`]. What cannot be read, does not compile or fails a fixture is
//! refused, and the version that ran before goes on running: a typing mistake in an editor must not make a town's
//! gauges deaf. A profile that did not change is the same `Arc` as before, so that its devices are not disturbed.
//!
//! Never here: a device, a station. Who uses a profile is asked of the hub.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::model::{ProfileId, Timestamp};
use crate::profile::{
    Fingerprint, Profile, ProfileFile, ProfileSet, RefusedProfile, SourceFile, Version,
    fingerprint, read_folder, taken,
};
use crate::trial;

/// How often the folder is looked at. Polling sees every way in which files change (editors, atomic renames, network
/// file systems, a folder that is replaced) and costs one `stat` per file.
const LOOK: Duration = Duration::from_secs(1);

/// A changed folder is read when it looks the same twice, this far apart: editors and copies write in pieces.
const SETTLE: Duration = Duration::from_millis(200);

/// A folder that never settles is read all the same after this many looks.
const SETTLE_LOOKS: usize = 25;

type InUse = dyn Fn(&ProfileId) -> bool + Send + Sync;

/// The profiles in force and the folder that they come from.
pub struct Library {
    folder: PathBuf,
    profiles: Arc<ArcSwap<ProfileSet>>,
    clock: Clock,
    in_use: Box<InUse>,
    /// One reload at a time; holds what the folder looked like at the last one.
    seen: Mutex<Option<Fingerprint>>,
    /// Counts changes of the profiles in force.
    changed: watch::Sender<u64>,
}

impl Library {
    /// Loads the folder for the first time. `in_use` says whether devices name a profile.
    ///
    /// # Errors
    /// When the folder cannot be read; a broken file is in [`ProfileSet::refused`].
    pub fn open(
        folder: PathBuf,
        clock: Clock,
        in_use: impl Fn(&ProfileId) -> bool + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let seen = fingerprint(&folder)?;
        let files = read_folder(&folder)?;
        let set = take_up(&ProfileSet::default(), files, clock.now(), &in_use);
        tell(&ProfileSet::default(), &set);
        Ok(Library {
            folder,
            profiles: Arc::new(ArcSwap::from_pointee(set)),
            clock,
            in_use: Box::new(in_use),
            seen: Mutex::new(Some(seen)),
            changed: watch::Sender::new(0),
        })
    }

    /// The profiles in force; replaced as one.
    pub fn profiles(&self) -> Arc<ArcSwap<ProfileSet>> {
        Arc::clone(&self.profiles)
    }

    /// Wakes when the profiles in force have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Reads the folder anew, whether or not it looks changed. Blocks.
    pub fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the files: what changes while they are read is seen at the next look.
        let now = fingerprint(&self.folder);
        let former = self.profiles.load_full();
        let read = now.and_then(|now| Ok((now, read_folder(&self.folder)?)));
        let set = match read {
            Ok((now, files)) => {
                *seen = Some(now);
                take_up(&former, files, self.clock.now(), &*self.in_use)
            }
            Err(why) => {
                *seen = None;
                self.without_folder(&former, &why)
            }
        };
        tell(&former, &set);
        let is_news = in_force(&former) != in_force(&set);
        self.profiles.store(Arc::new(set));
        if is_news {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Follows the folder until it is dropped: reads it anew when it has changed and settled.
    pub async fn follow(&self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(mut now) = tokio::task::block_in_place(|| self.unseen()) else { continue };
            for _ in 0..SETTLE_LOOKS {
                tokio::time::sleep(SETTLE).await;
                let next = tokio::task::block_in_place(|| fingerprint(&self.folder).ok());
                if next == now {
                    break;
                }
                now = next;
            }
            tokio::task::block_in_place(|| self.reload());
        }
    }

    /// What the folder looks like now, if that is news; `Some(None)` when it has gone.
    fn unseen(&self) -> Option<Option<Fingerprint>> {
        let now = fingerprint(&self.folder).ok();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (*seen != now).then_some(now)
    }

    fn without_folder(&self, former: &ProfileSet, why: &std::io::Error) -> ProfileSet {
        let file = self.folder.display().to_string();
        let errors =
            vec![format!("cannot read the profile folder: {why}; what ran goes on running")];
        let since = former.refused.iter().find(|refused| refused.file == file);
        let since = since.and_then(|refused| refused.since).or(Some(self.clock.now()));
        ProfileSet {
            profiles: former.profiles.clone(),
            versions: former.versions.clone(),
            refused: vec![RefusedProfile { file, errors, since, running: None }],
        }
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The set that follows on `former` when the folder holds `files`.
fn take_up(
    former: &ProfileSet,
    files: Vec<SourceFile>,
    now: Timestamp,
    in_use: &InUse,
) -> ProfileSet {
    let mut next = Next { former, now, set: ProfileSet::default() };
    for file in files {
        next.take(&file);
    }
    for (id, version) in &former.versions {
        if !next.set.profiles.contains_key(id) && in_use(id) {
            next.keep(id, Version { is_removed: true, ..Version::clone(version) });
        }
    }
    next.set
}

/// A set under construction.
struct Next<'a> {
    former: &'a ProfileSet,
    now: Timestamp,
    set: ProfileSet,
}

impl Next<'_> {
    fn take(&mut self, file: &SourceFile) {
        let running = self.former.versions.iter().find(|(_, version)| version.file == file.name);
        if let Some((id, version)) = running
            && version.hash == file.hash
            && !self.set.profiles.contains_key(id)
        {
            self.keep(id, Version { is_removed: false, ..Version::clone(version) });
            return;
        }
        let why = match file.compile() {
            Ok(read) => match self.accept(file, read) {
                Ok(()) => return,
                Err(why) => why,
            },
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        };
        let running = running.filter(|(id, _)| !self.set.profiles.contains_key(*id));
        if let Some((id, version)) = running {
            self.keep(id, Version { is_removed: false, ..Version::clone(version) });
        }
        let since = self.former.refused.iter().find(|refused| refused.file == file.name);
        self.set.refused.push(RefusedProfile {
            file: file.name.clone(),
            errors: why,
            since: since.and_then(|refused| refused.since).or(Some(self.now)),
            running: running.map(|(id, _)| id.clone()),
        });
    }

    /// A profile that compiled comes into force if its id is free and its fixtures pass.
    fn accept(&mut self, file: &SourceFile, read: ProfileFile) -> Result<(), Vec<String>> {
        let ProfileFile { profile, fixtures, warnings } = read;
        if let Some(home) = self.set.versions.get(&profile.id) {
            return Err(vec![taken(&file.name, &profile, &home.file)]);
        }
        let results = trial::run(&profile, &fixtures);
        let failed: Vec<String> = results
            .iter()
            .filter(|result| !result.passed())
            .map(|result| {
                let why = result.failures.join("; ");
                format!("{}:{}: the test `{}` fails: {why}", file.name, result.line, result.name)
            })
            .collect();
        if !failed.is_empty() {
            return Err(failed);
        }
        let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        if let Some(former) = self.former.profiles.get(&profile.id) {
            warnings.extend(changed_units(former, &profile));
        }
        let version = Version {
            file: file.name.clone(),
            hash: file.hash.clone(),
            text: file.text.clone(),
            since: self.now,
            tests: results.into_iter().map(|result| result.name).collect(),
            warnings,
            is_removed: false,
        };
        self.set.versions.insert(profile.id.clone(), Arc::new(version));
        self.set.profiles.insert(profile.id.clone(), Arc::new(profile));
        Ok(())
    }

    fn keep(&mut self, id: &ProfileId, version: Version) {
        if let Some(profile) = self.former.profiles.get(id) {
            self.set.profiles.insert(id.clone(), Arc::clone(profile));
            self.set.versions.insert(id.clone(), Arc::new(version));
        }
    }
}

/// What is stored under a point's name keeps the unit that it was stored with.
fn changed_units(former: &Profile, next: &Profile) -> Vec<String> {
    let changed = next.points.iter().filter_map(|point| {
        let (_, before) = former.point(point.name.as_str())?;
        (before.unit != point.unit).then(|| {
            format!(
                "`{}` was in {} and is in {} now: readings that are stored keep the old unit",
                point.name, before.unit, point.unit
            )
        })
    });
    changed.collect()
}

/// What is in force, by identity.
fn in_force(set: &ProfileSet) -> BTreeMap<&ProfileId, *const Profile> {
    set.profiles.iter().map(|(id, profile)| (id, Arc::as_ptr(profile))).collect()
}

/// Logs what is news.
fn tell(former: &ProfileSet, set: &ProfileSet) {
    for refused in &set.refused {
        if former.refused.contains(refused) {
            continue;
        }
        let running = refused.running.as_ref().map(ProfileId::as_str);
        for why in &refused.errors {
            warn!(file = refused.file, running, "profile refused: {why}");
        }
    }
    for (id, version) in &set.versions {
        match former.versions.get(id) {
            Some(before)
                if before.is_removed == version.is_removed && before.hash == version.hash => {}
            _ if version.is_removed => {
                error!(profile = %id, file = version.file, "the profile's file is gone; devices use it, so it stays in force");
            }
            _ => {
                info!(profile = %id, file = version.file, version = version.hash, "profile in force")
            }
        }
    }
    for (id, version) in &former.versions {
        if !set.versions.contains_key(id) {
            info!(profile = %id, file = version.file, "profile gone; no device uses it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RAIN: &str = include_str!("../device-profiles/wz-rg1.toml");

    /// A library over a folder of its own; `in_use` is what every profile is.
    fn library(in_use: bool) -> (tempfile::TempDir, Library) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("rain.toml"), RAIN).expect("written");
        let (clock, _) = Clock::manual(Timestamp::from_secs(1_790_000_000));
        let library = Library::open(folder.path().to_owned(), clock, move |_| in_use);
        (folder, library.expect("a folder"))
    }

    fn rain(library: &Library) -> Arc<Profile> {
        let set = library.profiles.load();
        Arc::clone(set.profiles.values().next().expect("the profile is in force"))
    }

    #[test]
    fn what_did_not_change_is_not_disturbed() {
        let (folder, library) = library(true);
        let before = rain(&library);
        library.reload();
        assert!(Arc::ptr_eq(&before, &rain(&library)));
        fs::write(folder.path().join("rain.toml"), format!("{RAIN}\n# a word\n")).expect("written");
        library.reload();
        assert!(!Arc::ptr_eq(&before, &rain(&library)));
        assert!(library.changes().has_changed().is_ok());
        assert_eq!(*library.changed.borrow(), 1);
    }

    #[test]
    fn a_broken_file_leaves_the_old_version_in_force_and_says_why() {
        let (folder, library) = library(true);
        let before = rain(&library);
        let check = |text: &str, why: &str| {
            fs::write(folder.path().join("rain.toml"), text).expect("written");
            library.reload();
            let set = library.profiles.load();
            assert!(Arc::ptr_eq(&before, &rain(&library)), "{why}");
            let [refused] = &set.refused[..] else { panic!("{why}: {:?}", set.refused) };
            assert!(refused.errors[0].contains(why), "{why}: {:?}", refused.errors);
            assert_eq!(refused.running.as_ref(), Some(&before.id));
            assert!(refused.since.is_some());
        };
        check(&RAIN.replacen("\"mm\"", "\"millimetres\"", 1), "`millimetres` is no unit");
        check(&RAIN[..RAIN.len() / 2], "");
        check("", "is missing");
        check(&RAIN.replacen("rain = 9.4", "rain = 9.5", 1), "the test `cloudburst` fails");
        fs::write(folder.path().join("rain.toml"), RAIN).expect("written");
        library.reload();
        assert!(library.profiles.load().refused.is_empty());
        assert!(Arc::ptr_eq(&before, &rain(&library)), "the same bytes are the same version");
        assert_eq!(*library.changed.borrow(), 0);
    }

    #[test]
    fn a_deleted_file_stays_in_force_while_devices_use_it() {
        let (folder, library) = library(true);
        fs::remove_file(folder.path().join("rain.toml")).expect("removed");
        library.reload();
        assert!(library.profiles.load().versions[&rain(&library).id].is_removed);
        fs::write(folder.path().join("rain.toml"), RAIN).expect("written");
        library.reload();
        assert!(!library.profiles.load().versions[&rain(&library).id].is_removed);
        let (folder, library) = self::library(false);
        fs::remove_file(folder.path().join("rain.toml")).expect("removed");
        library.reload();
        assert!(library.profiles.load().profiles.is_empty());
    }

    #[test]
    fn a_folder_that_goes_takes_nothing_with_it() {
        let (folder, library) = library(false);
        let before = rain(&library);
        let elsewhere = folder.path().with_extension("moved");
        fs::rename(folder.path(), &elsewhere).expect("moved");
        assert_eq!(library.unseen(), Some(None));
        library.reload();
        assert_eq!(library.unseen(), None, "what is gone is not news twice");
        assert!(Arc::ptr_eq(&before, &rain(&library)));
        assert_eq!(library.profiles.load().refused.len(), 1);
        fs::rename(&elsewhere, folder.path()).expect("moved back");
        library.reload();
        assert!(library.profiles.load().refused.is_empty());
        assert!(Arc::ptr_eq(&before, &rain(&library)));
    }

    #[test]
    fn a_codec_beside_a_profile_belongs_to_it() {
        let (folder, library) = library(true);
        let hash = || library.profiles.load().versions.values().next().expect("one").hash.clone();
        fs::write(folder.path().join("other.js"), "1").expect("written");
        let plain = hash();
        library.reload();
        assert_eq!(hash(), plain, "a codec that nobody names");
        let named = format!("# codec: rain.js\n{}", RAIN);
        fs::write(folder.path().join("rain.toml"), named).expect("written");
        library.reload();
        let without = hash();
        fs::write(folder.path().join("rain.js"), "1").expect("written");
        assert!(library.unseen().is_some());
        library.reload();
        assert_ne!(hash(), without);
    }

    #[test]
    fn a_changed_unit_is_said() {
        let (folder, library) = library(true);
        let text = RAIN.replacen("\"mm\"", "\"cm\"", 1);
        fs::write(folder.path().join("rain.toml"), text).expect("written");
        library.reload();
        let set = library.profiles.load();
        let version = set.versions.values().next().expect("one");
        assert!(version.warnings.iter().any(|w| w.contains("was in mm")), "{:?}", set.refused);
    }
}
