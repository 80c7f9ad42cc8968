//! How well the town runs its loop (综合评价): the figures of its alarms and of its cases, against their targets.
//!
//! Takes the logs of alerts and cases; hands on figures, tables and pages of single rows. Everything is computed from the
//! logs when it is asked for, and nothing is kept: a figure can always be told again, and a definition that is changed
//! changes it for the past too. A log is told as stories, one alert or case at a time ([`AlertStory`], [`CaseStory`]); what
//! counts them ([`AlarmCount`], [`CaseCount`]) is pure.
//!
//! Never here: a verdict on a person. Cases are grouped by unit, zone and kind, and by nobody's name.
//!
//! # Layout
//! `period` spans and civil periods · `board` which tallies a fact belongs to · `alarms` and `cases` what counts, and the
//! definition of every figure · `figure` targets and times ·
//! `rehearsal` a rule over stored history · `tables` the disk · `sheet` reports and rows as CSV.

mod alarms;
mod board;
mod cases;
mod figure;
mod period;
mod rehearsal;
mod sheet;
mod story;
mod tables;
#[cfg(test)]
mod tests;

use rusqlite::Connection;

pub use alarms::{AlarmCount, AlarmFigures, AlarmGroup, AlarmReport, Away, Priorities, TopRule};
pub use board::{Frame, Labels};
pub use cases::{CaseCount, CaseFigures, CaseGroup, CaseReport, CaseStory};
pub use figure::{Figure, Times, Verdict};
pub use period::{By, Period, Span, UnknownBy};
pub use rehearsal::{MAX_SPELLS, Recorded, Sums, sums_of_recorded, sums_of_spells};
pub use sheet::{Language, SheetError, Sheets, UnknownLanguage};
pub use story::{AlertMoment, AlertStory, Deed};
pub use tables::{Cursor, PAGE, Place, Places, alert_page, case_page, recorded};

use crate::case::CaseError;

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// SQLite said no.
    #[error("the logs cannot be read")]
    Database(#[from] rusqlite::Error),
    /// A case's log cannot be read.
    #[error("the log of a case cannot be read")]
    Case(#[from] CaseError),
}

/// The report on alarms. `operators` are on duty at a time.
///
/// # Errors
/// When the logs cannot be read.
pub fn alarms(
    db: &Connection,
    frame: Frame,
    places: &dyn Places,
    operators: u32,
) -> Result<AlarmReport, ReportError> {
    let (whole, with_units) = (frame.whole(), frame.by == Some(By::Unit));
    let mut count = AlarmCount::new(frame, operators);
    tables::alerts(db, whole, places, with_units, &mut |story| count.add(story))?;
    Ok(count.finish())
}

/// The report on cases.
///
/// # Errors
/// When the logs cannot be read.
pub fn cases(
    db: &Connection,
    frame: Frame,
    places: &dyn Places,
) -> Result<CaseReport, ReportError> {
    let (whole, with_units) = (frame.whole(), frame.by == Some(By::Unit));
    let mut count = CaseCount::new(frame);
    // One transaction: both logs as they stood at one moment.
    let at_once = db.unchecked_transaction()?;
    tables::alerts(&at_once, whole, places, with_units, &mut |story| count.add_alert(story))?;
    tables::cases(&at_once, whole, places, &mut |story| count.add(story))?;
    at_once.finish()?;
    Ok(count.finish())
}
