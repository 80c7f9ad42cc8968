//! The alerts of a moment that has passed, read back from the log: what a map of that moment shows.

use rusqlite::{Connection, Row, params};

use super::tables::alert_of;
use super::{Alert, AlertError, Standing};
use crate::model::{Severity, Timestamp};

/// The most alerts of one moment: more than that stood in no storm yet, and no map shows them apart.
pub const MAX_AT_ONCE: usize = 5_000;

/// An alert as it stood, and whether somebody or something kept it from calling.
struct Then {
    active: bool,
    acknowledged: bool,
    severity: Option<Severity>,
    held_back: u32,
}

/// The alerts that were open at `at` and called for somebody, oldest first: whether they were active or acknowledged, and how
/// bad they were, is what the log says up to then. Their value, peak and text are today's.
///
/// # Errors
/// When SQLite fails.
pub fn at(db: &Connection, at: Timestamp) -> Result<Vec<Alert>, AlertError> {
    // What was closed before is left out by the table; what happened in between is told by the log.
    let mut candidates = db.prepare_cached(
        "SELECT * FROM alert WHERE raised_at <= ?1 AND (open = 1
             OR max(coalesce(cleared_at, 0), coalesce(acknowledged_at, 0)) > ?1)
         ORDER BY id LIMIT ?2",
    )?;
    let limit = i64::try_from(MAX_AT_ONCE).unwrap_or(i64::MAX);
    let candidates: Vec<Alert> = candidates
        .query_map(params![at.as_micros(), limit], alert_of)?
        .collect::<Result<_, _>>()?;
    let mut log = db.prepare_cached(
        "SELECT * FROM alert_event WHERE alert = ?1 AND at <= ?2 ORDER BY version",
    )?;
    let mut open = Vec::new();
    for mut alert in candidates {
        let mut then = Then { active: false, acknowledged: false, severity: None, held_back: 0 };
        let mut events = log.query(params![alert.id.0 as i64, at.as_micros()])?;
        while let Some(event) = events.next()? {
            then.take(event)?;
        }
        if then.held_back > 0 || !(then.active || !then.acknowledged) {
            continue;
        }
        alert.active = then.active;
        alert.severity = then.severity.unwrap_or(alert.severity);
        if !then.acknowledged {
            (alert.acknowledged_at, alert.acknowledged_by, alert.note) = (None, None, None);
        }
        alert.cleared_at = alert.cleared_at.filter(|cleared| *cleared <= at && !then.active);
        // What was put aside then is left out above; what was put aside since concerns now only.
        alert.standing = Standing::default();
        open.push(alert);
    }
    Ok(open)
}

impl Then {
    fn take(&mut self, event: &Row<'_>) -> rusqlite::Result<()> {
        let what: String = event.get("what")?;
        match what.as_str() {
            "raised" => self.active = true,
            // Each of them calls again, whoever had acknowledged before.
            "raised_again" | "rearmed" | "severity_up" => {
                (self.active, self.acknowledged) = (true, false);
            }
            "acknowledged" => self.acknowledged = true,
            "returned" | "rule_removed" => self.active = false,
            "shelved" | "suppressed" | "out_of_service" => self.held_back += 1,
            "unshelved" | "unsuppressed" | "in_service" => {
                self.held_back = self.held_back.saturating_sub(1);
            }
            _ => {}
        }
        // A log that tells the severity after each event is believed; an older one knew none.
        if let Ok(rank) = event.get::<_, u8>("severity") {
            self.severity = Severity::ALL.into_iter().find(|severity| severity.rank() == rank);
        }
        Ok(())
    }
}
