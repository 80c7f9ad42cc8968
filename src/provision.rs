//! Provisioning on the command line: devices from a file and into one, enrolment keys. For `main.rs`, which only prints.
//!
//! Works on the town's state file, beside a running hub or without one: the hub takes the change up within a second.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::model::ProfileId;
use crate::profile::ProfileSet;
use crate::registry::{ImportMode, ImportReport, NewEnrolment, Registry, RegistryError};

/// What a command has to say.
#[derive(Debug)]
pub struct Said {
    /// For the standard output: what another program may read.
    pub out: String,
    /// For people, on the standard error.
    pub err: String,
    /// Whether it did what it should.
    pub ok: bool,
}

/// Why a command cannot do its work.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ProvisionError {
    #[error("cannot read {file}")]
    File { file: String, source: std::io::Error },
    #[error("cannot read the profile folder {folder}")]
    Profiles { folder: String, source: std::io::Error },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("there is no profile `{0}`; there are {1}")]
    NoProfile(ProfileId, String),
}

/// The ids of the profiles in force.
///
/// # Errors
/// When the folder cannot be read.
pub fn profiles(folder: &Path) -> Result<Vec<ProfileId>, ProvisionError> {
    let set = ProfileSet::load(folder).map_err(|source| ProvisionError::Profiles {
        folder: folder.display().to_string(),
        source,
    })?;
    Ok(set.profiles.keys().cloned().collect())
}

/// Imports devices from a CSV file; the secrets that were made are the output, as `id,secret`.
///
/// # Errors
/// When the file cannot be read, is no table of devices, or the town's state cannot be written.
pub fn import(
    registry: &Registry,
    profiles: &[ProfileId],
    file: &Path,
    mode: ImportMode,
) -> Result<Said, ProvisionError> {
    let bytes = std::fs::read(file)
        .map_err(|source| ProvisionError::File { file: file.display().to_string(), source })?;
    let report = registry.import_devices_csv(&bytes, profiles, mode)?;
    let err = summary(&report, mode);
    let out = if report.applied { report.secrets_csv() } else { String::new() };
    Ok(Said { out, err, ok: report.rejected == 0 })
}

fn summary(report: &ImportReport, mode: ImportMode) -> String {
    use crate::registry::RowStatus;
    let mut text = String::new();
    for row in report.rows.iter().filter(|row| row.status == RowStatus::Rejected) {
        let id = row.id.as_deref().unwrap_or("-");
        // Writing to a text cannot fail.
        let _ = writeln!(text, "row {} ({id}): {}", row.row, row.errors.join("; "));
    }
    let count = |status| report.rows.iter().filter(|row| row.status == status).count();
    let fate = match (report.rejected, mode) {
        (0, ImportMode::Apply) => "applied",
        (0, ImportMode::DryRun) => "nothing is wrong; this was a dry run",
        _ => "nothing was applied",
    };
    let [created, updated, unchanged] =
        [RowStatus::Created, RowStatus::Updated, RowStatus::Unchanged].map(count);
    let _ = writeln!(
        text,
        "{created} new, {updated} changed, {unchanged} as they were, {} wrong: {fate}",
        report.rejected
    );
    text
}

/// Makes an enrolment key; the key is the output.
///
/// # Errors
/// When something is wrong with it, or the town's state cannot be written.
pub fn create_enrolment(
    registry: &Registry,
    profiles: &[ProfileId],
    new: NewEnrolment,
) -> Result<Said, ProvisionError> {
    if let Some(profile) = new.profile.as_ref().filter(|&profile| !profiles.contains(profile)) {
        let known: Vec<_> = profiles.iter().map(ProfileId::as_str).collect();
        return Err(ProvisionError::NoProfile(profile.clone(), known.join(", ")));
    }
    let (made, key) = registry.create_enrolment(new)?;
    let err = format!(
        "enrolment {} brings up to {} devices until {}; a device connects with the user name `enroll`, its id as the \
         client identifier, and the password KEY:OWN-SECRET. The key is shown once:\n",
        made.id, made.max_devices, made.expires_at
    );
    Ok(Said { out: format!("{key}\n"), err, ok: true })
}

/// Every enrolment key, the newest first.
pub fn list_enrolments(registry: &Registry) -> Said {
    let mut out = String::new();
    for key in registry.enrolments() {
        let end = match key.revoked_at {
            Some(at) => format!("revoked {at}"),
            None => format!("until {}", key.expires_at),
        };
        let profile = key.profile.as_ref().map_or("-", |id| id.as_str());
        let zone = key.zone.as_ref().map_or("-", |id| id.as_str());
        let (id, used, max, label) = (key.id, key.used, key.max_devices, &key.label);
        let _ = writeln!(out, "{id}\t{used}/{max}\t{profile}\t{zone}\t{end}\t{label}");
    }
    Said { out, err: String::new(), ok: true }
}

/// Reads a duration as profiles have it: `24h`, `7d`.
///
/// # Errors
/// With what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::profile::parse_duration(text).map_err(|why| why.to_string())
}
