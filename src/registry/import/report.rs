//! What an import did, row by row.

use serde::Serialize;

use crate::registry::export::secrets_csv;

/// What happened to one row of an import. Rows count from 1 at the first data row (CSV) or feature (GeoJSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportRow {
    /// The row's number.
    pub row: usize,
    /// The id in the row, if it had one.
    pub id: Option<String>,
    /// created, updated, unchanged or rejected.
    pub status: RowStatus,
    /// What is wrong with it and what would be right.
    pub errors: Vec<String>,
    /// The device's secret, when this import made one: shown once, stored hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The fate of an import's row; in a dry run, or beside a rejected row, what it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowStatus {
    /// New.
    Created,
    /// Known, changed.
    Updated,
    /// Known, the same.
    Unchanged,
    /// Wrong.
    Rejected,
}

/// What an import did: all of it, or (when any row is wrong) none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Whether the rows are in force now. False when a row was rejected, and for a dry run.
    pub applied: bool,
    /// How many rows are right.
    pub accepted: usize,
    /// How many rows are wrong.
    pub rejected: usize,
    /// Every row.
    pub rows: Vec<ImportRow>,
}

/// Whether an import is to be applied or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// Apply when every row is right.
    Apply,
    /// Only report.
    DryRun,
}

impl ImportReport {
    /// The secrets that the import made, as a CSV `id,secret`.
    pub fn secrets_csv(&self) -> String {
        let made = |row: &'_ ImportRow| row.id.clone().zip(row.secret.clone());
        let made: Vec<_> = self.rows.iter().filter_map(made).collect();
        secrets_csv(made.iter().map(|(id, secret)| (&**id, &**secret)))
    }

    pub(super) fn new(applied: bool, rows: Vec<ImportRow>) -> Self {
        let rejected = rows.iter().filter(|row| row.status == RowStatus::Rejected).count();
        ImportReport { applied, accepted: rows.len() - rejected, rejected, rows }
    }
}
