//! Profiles on disk: one file, or a folder of them. A codec beside a profile belongs to it: its bytes are part of the
//! profile's version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use sha2::{Digest, Sha256};

use super::Profile;
use super::compile::compile;
use super::error::{Problems, ProfileError};
use super::fixture::Fixture;
use super::lint::lint;
use super::parse::parse;
use crate::model::{ProfileId, Timestamp};

/// The largest profile: a thousand points with their alerts and tests.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How deep folders may be nested.
const MAX_DEPTH: usize = 8;

/// A profile and the fixtures of its file.
#[derive(Debug)]
pub struct ProfileFile {
    /// The profile.
    pub profile: Profile,
    /// Its fixtures, in the order of the file.
    pub fixtures: Vec<Fixture>,
    /// What works and is probably not meant, in the order of the file.
    pub warnings: Vec<ProfileError>,
}

/// The profiles of a folder, each in force or refused with its reasons.
#[derive(Debug, Default)]
pub struct ProfileSet {
    /// The profiles in force.
    pub profiles: BTreeMap<ProfileId, Arc<Profile>>,
    /// Where the profiles in force come from.
    pub versions: BTreeMap<ProfileId, Arc<Version>>,
    /// Files that were refused, with every error in them.
    pub refused: Vec<RefusedProfile>,
}

/// Where a profile in force comes from, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its file, relative to the folder.
    pub file: String,
    /// Names the bytes of the file and of its codec: 12 hexadecimal digits.
    pub hash: String,
    /// The file's text.
    pub text: String,
    /// Since when it is in force.
    pub since: Timestamp,
    /// Names of its fixtures, which all passed.
    pub tests: Vec<String>,
    /// What works and is probably not meant.
    pub warnings: Vec<String>,
    /// Its file is gone; it stays in force because devices use it.
    pub is_removed: bool,
}

/// A file that is no profile.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedProfile {
    /// The file, relative to the folder.
    pub file: String,
    /// All that is wrong with it, each with line, column and caret.
    pub errors: Vec<String>,
    /// Since when it is refused; `None` when nobody looked at the time.
    pub since: Option<Timestamp>,
    /// The profile that stays in force as it was before the file changed.
    pub running: Option<ProfileId>,
}

/// A file of a profile folder, not compiled yet.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    /// Its name, relative to the folder.
    pub name: String,
    /// Names its bytes and those of its codec.
    pub hash: String,
    /// Its text, as far as it is one.
    pub text: String,
}

/// What a folder's files looked like: when it has not changed, neither have they.
pub type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>, u64)>;

/// Reads and checks one profile file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn check_file(path: &Path) -> Result<Profile, Vec<ProfileError>> {
    read_file(path).map(|file| file.profile)
}

/// As [`check_file`], with the file's fixtures.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file.
pub fn read_file(path: &Path) -> Result<ProfileFile, Vec<ProfileError>> {
    read_as(path, &path.display().to_string())
}

/// Checks the text of a profile; `file` is how its errors name it.
///
/// # Errors
/// Everything that is wrong with it, in the order of the text.
pub fn read_text(file: &str, text: &str) -> Result<ProfileFile, Vec<ProfileError>> {
    read_in(None, file, text)
}

/// As [`read_text`], for a text that may name files of a folder.
fn read_in(
    folder: Option<&Path>,
    file: &str,
    text: &str,
) -> Result<ProfileFile, Vec<ProfileError>> {
    let mut problems = Problems::new(file, text).of_folder(folder);
    let compiled = parse(text, &mut problems).and_then(|raw| compile(raw, &mut problems));
    match compiled {
        Some(mut profile) if problems.is_empty() => {
            profile.warnings = lint(file, text, &profile.profile, &profile.fixtures);
            Ok(profile)
        }
        _ => Err(problems.into_errors()),
    }
}

fn read_as(path: &Path, name: &str) -> Result<ProfileFile, Vec<ProfileError>> {
    let refuse = |message: String| Err(vec![ProfileError::of_file(name, message)]);
    let bytes = match read_bounded(path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return refuse(format!("larger than {} KiB", MAX_FILE_BYTES >> 10)),
        Err(error) => return refuse(error.to_string()),
    };
    match String::from_utf8(bytes) {
        Ok(text) => read_in(path.parent(), name, &text),
        Err(error) => {
            refuse(format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
        }
    }
}

/// The file's bytes; `None` when there are too many.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX_FILE_BYTES).then_some(bytes))
}

/// Every `*.toml` at or below a path, sorted.
///
/// # Errors
/// When a folder cannot be read.
pub fn find_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    find(path, &["toml"])
}

fn find(path: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if path.is_dir() {
        walk(path, MAX_DEPTH, extensions, &mut files)?;
    } else {
        files.push(path.to_owned());
    }
    files.sort();
    Ok(files)
}

fn walk(
    folder: &Path,
    depth: usize,
    extensions: &[&str],
    files: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, extensions, files)?;
            }
        } else if path.extension().is_some_and(|found| extensions.iter().any(|e| found == *e)) {
            files.push(path);
        }
    }
    Ok(())
}

/// What the profiles and codecs below a folder look like now. A file that goes while this looks is not there.
///
/// # Errors
/// When the folder cannot be read.
pub fn fingerprint(folder: &Path) -> io::Result<Fingerprint> {
    use std::os::unix::fs::MetadataExt;
    fs::read_dir(folder)?;
    let look = |path: PathBuf| {
        let data = fs::metadata(&path).ok()?;
        Some((path, data.len(), data.modified().ok(), data.ino()))
    };
    Ok(find(folder, &["toml", "js"])?.into_iter().filter_map(look).collect())
}

/// Every `*.toml` below `folder` with the hash of its bytes, in the order of their paths.
///
/// # Errors
/// Only when the folder or one below it cannot be read.
pub fn read_folder(folder: &Path) -> io::Result<Vec<SourceFile>> {
    // A path that is no folder is an error here, not a single file.
    fs::read_dir(folder)?;
    let sources = find_files(folder)?.into_iter().map(|path| {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        // A file that cannot be read is refused when it is compiled.
        let bytes = read_bounded(&path).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        SourceFile { hash: hash(&path, &bytes, &text), path, name, text }
    });
    Ok(sources.collect())
}

impl SourceFile {
    /// Checks and compiles the file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn compile(&self) -> Result<ProfileFile, Vec<ProfileError>> {
        read_as(&self.path, &self.name)
    }
}

/// Over the profile's bytes and those of the codecs in its folder that its text names.
fn hash(path: &Path, bytes: &[u8], text: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    let beside = path.parent().and_then(|folder| fs::read_dir(folder).ok());
    let mut codecs: Vec<PathBuf> = beside
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "js"))
        .filter(|path| path.file_name().is_some_and(|name| text.contains(&*name.to_string_lossy())))
        .collect();
    codecs.sort();
    for codec in codecs {
        hasher.update(read_bounded(&codec).ok().flatten().unwrap_or_default());
    }
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl ProfileSet {
    /// Loads every `*.toml` below `folder`, in the order of their paths: of two profiles with one id the first stays.
    /// Runs no fixtures: see [`Library`](crate::library::Library).
    ///
    /// # Errors
    /// Only when the folder or one below it cannot be read; a broken file is in `refused`.
    pub fn load(folder: &Path) -> io::Result<Self> {
        let mut set = ProfileSet::default();
        let mut homes = BTreeMap::<ProfileId, String>::new();
        for source in read_folder(folder)? {
            match source.compile() {
                Ok(ProfileFile { profile, .. }) => match homes.get(&profile.id) {
                    Some(home) => {
                        set.refuse(&source.name, vec![taken(&source.name, &profile, home)])
                    }
                    None => {
                        homes.insert(profile.id.clone(), source.name);
                        set.profiles.insert(profile.id.clone(), Arc::new(profile));
                    }
                },
                Err(errors) => {
                    set.refuse(&source.name, errors.iter().map(ToString::to_string).collect());
                }
            }
        }
        Ok(set)
    }

    fn refuse(&mut self, file: &str, errors: Vec<String>) {
        let file = file.to_owned();
        self.refused.push(RefusedProfile { file, errors, since: None, running: None });
    }
}

/// Why of two profiles with one id the second is refused.
pub(crate) fn taken(file: &str, profile: &Profile, home: &str) -> String {
    format!("{file}: the id `{}` is taken by {home}", profile.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = include_str!("../../device-profiles/wz-rg1.toml");

    #[test]
    fn a_folder_is_read_whole_and_what_is_broken_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, bytes).expect("written");
        };
        write("b/rain.toml", PROFILE.as_bytes());
        write("c.toml", PROFILE.as_bytes());
        write("d.toml", PROFILE.replacen("\"mm\"", "\"millimetres\"", 1).as_bytes());
        write("e.toml", b"\xff");
        write("f.toml", &vec![b'#'; MAX_FILE_BYTES as usize + 1]);
        write("notes.md", b"not a profile");
        let set = ProfileSet::load(folder.path()).expect("a folder");
        assert_eq!(set.profiles.keys().map(ProfileId::as_str).collect::<Vec<_>>(), ["wz-rg1"]);
        let refused: Vec<_> =
            set.refused.iter().map(|r| r.errors[0].lines().next().unwrap_or_default()).collect();
        let expected = [
            "c.toml: the id `wz-rg1` is taken by b/rain.toml",
            "d.toml:23:12: `millimetres` is no unit",
            "e.toml: not UTF-8 from byte 0 on",
            "f.toml: larger than 1024 KiB",
        ];
        assert_eq!(refused, expected);
        assert!(ProfileSet::load(&folder.path().join("nowhere")).is_err());
        assert!(ProfileSet::load(&folder.path().join("c.toml")).is_err());
        assert!(check_file(&folder.path().join("nowhere.toml")).is_err());
    }
}
