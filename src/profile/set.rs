//! Profiles on disk: one file, or a folder of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::Profile;
use super::compile::compile;
use super::error::{Problems, ProfileError};
use super::fixture::Fixture;
use super::parse::parse;
use crate::model::ProfileId;

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
}

/// The profiles of a folder, each in force or refused with its reasons.
#[derive(Debug, Default)]
pub struct ProfileSet {
    /// The profiles in force.
    pub profiles: BTreeMap<ProfileId, Arc<Profile>>,
    /// Files that were refused, with every error in them.
    pub refused: Vec<RefusedProfile>,
}

/// A file that is no profile.
#[derive(Debug, Clone)]
pub struct RefusedProfile {
    /// The file, relative to the folder.
    pub file: String,
    /// All that is wrong with it, each with line, column and caret.
    pub errors: Vec<String>,
}

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
        Some(profile) if problems.is_empty() => Ok(profile),
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
    let mut files = Vec::new();
    if path.is_dir() {
        walk(path, MAX_DEPTH, &mut files)?;
    } else {
        files.push(path.to_owned());
    }
    files.sort();
    Ok(files)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

impl ProfileSet {
    /// Loads every `*.toml` below `folder`, in the order of their paths: of two profiles with one id the first stays.
    ///
    /// # Errors
    /// Only when the folder or one below it cannot be read; a broken file is in `refused`.
    pub fn load(folder: &Path) -> io::Result<Self> {
        // A path that is no folder is an error here, not a single file.
        fs::read_dir(folder)?;
        let mut set = ProfileSet::default();
        let mut homes = BTreeMap::new();
        for path in find_files(folder)? {
            let file = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            set.insert(read_as(&path, &file).map(|read| read.profile), file, &mut homes);
        }
        Ok(set)
    }

    fn insert(
        &mut self,
        read: Result<Profile, Vec<ProfileError>>,
        file: String,
        homes: &mut BTreeMap<ProfileId, String>,
    ) {
        match read {
            Ok(profile) => match homes.get(&profile.id) {
                Some(home) => {
                    let errors =
                        vec![format!("{file}: the id `{}` is taken by {home}", profile.id)];
                    self.refused.push(RefusedProfile { file, errors });
                }
                None => {
                    homes.insert(profile.id.clone(), file);
                    self.profiles.insert(profile.id.clone(), Arc::new(profile));
                }
            },
            Err(errors) => {
                let errors = errors.iter().map(ToString::to_string).collect();
                self.refused.push(RefusedProfile { file, errors });
            }
        }
    }
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
