//! `townhub check`: whether everything on disk is whole, said in an operator's words.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

use super::error::UpkeepError;
use super::manifest::{DATA, Manifest, NAME};
use super::snapshot::Snapshot;
use super::stop::Stop;
use super::{READINGS, TOWN};
use crate::audit;
use crate::store::{Depth, Ends, Looked, ReadingsFile, StoreError};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which file.
    pub file: String,
    /// What it is, and what it means.
    pub what: String,
    /// What can be done.
    pub remedy: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.file, self.what, self.remedy)
    }
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Findings.
    pub findings: usize,
    /// Of the readings.
    pub readings: Looked,
    /// Entries of the audit log that are proven.
    pub audit_entries: u64,
    /// The last hash of the audit log.
    pub audit_head: String,
    /// Events of alerts and cases.
    pub events: u64,
}

const RESTORE: &str = "check the disk, then restore the newest backup that checks well";

/// Both files, each in one moment: the town's first, so that it is never ahead of the readings.
pub(super) struct Pair {
    pub(super) town: Snapshot,
    pub(super) readings: Option<Snapshot>,
}

impl Pair {
    /// Of a data folder beside a hub.
    pub(super) fn beside(data: &Path, stop: &Stop) -> Result<Self, UpkeepError> {
        Self::open(data, |path| Snapshot::beside(path, stop))
    }

    /// Of a copy.
    pub(super) fn still(data: &Path, stop: &Stop) -> Result<Self, UpkeepError> {
        Self::open(data, |path| Snapshot::still(path, stop))
    }

    fn open(
        data: &Path,
        open: impl Fn(&Path) -> Result<Snapshot, UpkeepError>,
    ) -> Result<Self, UpkeepError> {
        let (town, readings) = (data.join(TOWN), data.join(READINGS));
        if !town.is_file() {
            return Err(UpkeepError::NoData { folder: data.to_owned() });
        }
        let town = open(&town)?;
        // A town whose hub never ran has none.
        let readings = if readings.is_file() { Some(open(&readings)?) } else { None };
        Ok(Pair { town, readings })
    }

    /// How far the readings go, and from which commit on the alerts would judge them again.
    pub(super) fn ends(&self) -> Result<(Option<Ends>, u64), StoreError> {
        let ends = self.readings.as_ref().map(|file| ReadingsFile::over(&file.conn).ends());
        let judged: i64 =
            self.town
                .conn
                .query_row("SELECT replay_from FROM alert_progress", [], |row| row.get(0))?;
        Ok((ends.transpose()?, judged.unsigned_abs()))
    }
}

/// Looks at a data folder, beside a hub or not, or at a backup. `tell` hears of each finding as it is found.
///
/// # Errors
/// When it is neither, a file cannot be opened at all, or it is told to stop.
pub fn check(
    folder: &Path,
    stop: &Stop,
    tell: &mut dyn FnMut(&Finding),
) -> Result<Checked, UpkeepError> {
    let mut found = 0;
    let mut tell = |finding: Finding| {
        found += 1;
        tell(&finding);
    };
    let pair = if folder.join(NAME).exists() {
        let manifest = Manifest::read(folder)?;
        manifest.compare(folder, stop, &mut |file, what| {
            let file = file.path.display().to_string();
            tell(Finding { file, what, remedy: "use another backup" });
        })?;
        Pair::still(&folder.join(DATA), stop)?
    } else {
        Pair::beside(folder, stop)?
    };
    let mut checked = look(&pair, Depth::Decoded, &mut tell);
    checked.findings = found;
    stop.check()?;
    Ok(checked)
}

/// Looks at both files and at how they fit.
pub(super) fn look(pair: &Pair, depth: Depth, tell: &mut dyn FnMut(Finding)) -> Checked {
    let mut checked = Checked::default();
    if let Some(readings) = &pair.readings {
        let mut flawed = |flaw: crate::store::Flaw| {
            tell(Finding {
                file: READINGS.to_owned(),
                what: flaw.to_string(),
                remedy: flaw.remedy(),
            });
        };
        checked.readings = ReadingsFile::over(&readings.conn).check(depth, &mut flawed);
    }
    let mut wrong = |what: String, remedy: &'static str| {
        tell(Finding { file: TOWN.to_owned(), what, remedy });
    };
    town(&pair.town.conn, &mut checked, &mut wrong);
    match pair.ends() {
        Ok((None, judged)) if judged > 0 => wrong(
            format!("alerts were judged up to commit {judged}, but there is no {READINGS}"),
            RESTORE,
        ),
        Ok((Some(ends), judged)) if ends.sealed_through > judged => wrong(
            format!(
                "alerts were judged up to commit {judged} only, and the readings are sealed up to {}: what came between them \
                 raises no alert",
                ends.sealed_through
            ),
            "the two files are not of one moment: restore a backup as a whole",
        ),
        Ok((Some(ends), judged)) if ends.last_commit < judged => wrong(
            format!(
                "alerts were judged up to commit {judged}, but the readings end at {}",
                ends.last_commit
            ),
            "readings are gone, or the two files are not of one moment: restore a backup as a whole, or go on without them",
        ),
        Ok(_) => {}
        Err(why) => wrong(crate::error_chain(&why), RESTORE),
    }
    checked
}

/// Hears what is wrong and what can be done.
type Wrong<'a> = dyn FnMut(String, &'static str) + 'a;

/// A part of the look at the town's state.
type Part = fn(&Connection, &mut Checked, &mut Wrong<'_>) -> rusqlite::Result<()>;

fn town(conn: &Connection, checked: &mut Checked, wrong: &mut Wrong<'_>) {
    let parts: [Part; 4] = [pages, references, logs, cursors];
    for part in parts {
        if let Err(why) = part(conn, checked, wrong) {
            wrong(format!("it cannot be read on: {why}"), RESTORE);
        }
    }
    match audit::verify(conn, None) {
        Ok(verified) => {
            checked.audit_entries = verified.entries;
            checked.audit_head = verified.head.to_string();
        }
        Err(why @ audit::VerifyError::Broken { .. }) => wrong(
            why.to_string(),
            "somebody changed it, or the disk did: keep this file as evidence, and compare it with a backup or an export",
        ),
        Err(why) => wrong(crate::error_chain(&why), RESTORE),
    }
}

fn pages(conn: &Connection, _: &mut Checked, wrong: &mut Wrong<'_>) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA integrity_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let found: String = row.get(0)?;
        if found != "ok" {
            wrong(format!("SQLite finds it damaged: {}", found.replace('\n', " ")), RESTORE);
        }
    }
    Ok(())
}

fn references(conn: &Connection, _: &mut Checked, wrong: &mut Wrong<'_>) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, id, of): (String, Option<i64>, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let id = id.map_or_else(String::new, |id| format!(" {id}"));
        wrong(format!("row{id} of {table} belongs to a row of {of} that is not there"), RESTORE);
    }
    Ok(())
}

/// The logs of alerts and cases, from which all else about them follows: no step is missing, and what is shown is the last.
fn logs(conn: &Connection, checked: &mut Checked, wrong: &mut Wrong<'_>) -> rusqlite::Result<()> {
    let logs = [
        ("alert", "alert_event", "alert", "alert"),
        ("case", "case_event", "case_id", "town_case"),
    ];
    for (what, log, owner, table) in logs {
        checked.events += conn
            .query_row(&format!("SELECT count(*) FROM {log}"), [], |row| row.get::<_, i64>(0))?
            .unsigned_abs();
        let mut statement = conn.prepare(&format!(
            "SELECT t.id, t.version, count(e.version), coalesce(max(e.version), 0)
             FROM {table} t LEFT JOIN {log} e ON e.{owner} = t.id GROUP BY t.id
             HAVING count(e.version) <> t.version OR max(e.version) <> t.version"
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let [id, version, steps, last]: [i64; 4] =
                [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
            wrong(
                format!(
                    "{what} {id} is at version {version}, its log has {steps} steps, the last is {last}: its history is not whole"
                ),
                RESTORE,
            );
        }
        let given: Option<i64> =
            conn.query_row("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1", [log], |row| {
                row.get(0)
            })?;
        let last: Option<i64> =
            conn.query_row(&format!("SELECT max(seq) FROM {log}"), [], |row| row.get(0))?;
        if given.unwrap_or(0) > last.unwrap_or(0) {
            let (given, last) = (given.unwrap_or(0), last.unwrap_or(0));
            wrong(
                format!("the log of {what}s ends at {last}, it went to {given}: its end is gone"),
                RESTORE,
            );
        }
    }
    Ok(())
}

/// Who follows a log has not followed it further than it goes: what comes next would be passed over.
fn cursors(conn: &Connection, _: &mut Checked, wrong: &mut Wrong<'_>) -> rusqlite::Result<()> {
    let cursors = [
        ("cases follow", "case_progress", "alert_seq", "alert_event"),
        ("notifications follow", "notify_progress", "alert_seq", "alert_event"),
        ("notifications follow", "notify_progress", "case_seq", "case_event"),
    ];
    for (who, table, cursor, log) in cursors {
        let (at, end): (i64, i64) = conn.query_row(
            &format!("SELECT {cursor}, (SELECT coalesce(max(seq), 0) FROM {log}) FROM {table}"),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if at > end {
            wrong(
                format!(
                    "{who} {log} up to {at}, which ends at {end}: the next events would be passed over"
                ),
                RESTORE,
            );
        }
    }
    Ok(())
}
