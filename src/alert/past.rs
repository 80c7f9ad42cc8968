//! The alerts of a moment that has passed, read back from the log: what a map of that moment shows.

use rusqlite::{Connection, params};

use super::tables::alert_of;
use super::{Alert, AlertError, AlertEvent, Standing, What, history};
use crate::model::Timestamp;

/// The most alerts of one moment: more than that stood in no storm yet, and no map shows them apart.
pub const MAX_AT_ONCE: usize = 5_000;

/// What keeps an alert from calling. Each stands or not, however often it is said: a shelf may be moved while it lasts.
#[derive(Default)]
struct Aside {
    shelved: bool,
    suppressed: bool,
    out_of_service: bool,
}

/// The alerts that were open at `at` and called for somebody, oldest first: whether they were active or acknowledged, by
/// whom, and how bad they were, is what the log says up to then. Their value, peak and text are today's.
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
    let mut open = Vec::new();
    for alert in candidates {
        let events = history(db, alert.id)?;
        open.extend(as_of(alert, events.into_iter().take_while(|event| event.at <= at)));
    }
    Ok(open)
}

/// An alert after these of its events; `None` when it was closed or put aside then, or not there yet.
fn as_of(today: Alert, events: impl Iterator<Item = AlertEvent>) -> Option<Alert> {
    let mut then = Alert {
        active: false,
        chattering: false,
        cleared_at: None,
        acknowledged_at: None,
        acknowledged_by: None,
        note: None,
        // What was put aside then is left out; what was put aside since concerns now only.
        standing: Standing::default(),
        ..today
    };
    let mut aside = Aside::default();
    let mut raised = false;
    for event in events {
        raised = true;
        then.version = event.version;
        then.severity = event.severity;
        then.cleared_at = match (then.active, event.active) {
            (true, false) => Some(event.at),
            (_, true) => None,
            (false, false) => then.cleared_at,
        };
        then.active = event.active;
        then.chattering &= then.active;
        match event.what {
            What::Acknowledged => {
                then.acknowledged_at = Some(event.at);
                (then.acknowledged_by, then.note) = (event.actor, event.note);
            }
            What::Rearmed => forget(&mut then),
            What::Chattering => then.chattering = true,
            What::Settled => then.chattering = false,
            what => {
                // Back from where it was put aside it asks anew.
                if aside.take(what) && !aside.stands() && then.active {
                    forget(&mut then);
                }
            }
        }
    }
    (raised && then.is_open() && !aside.stands()).then_some(then)
}

fn forget(alert: &mut Alert) {
    (alert.acknowledged_at, alert.acknowledged_by, alert.note) = (None, None, None);
}

impl Aside {
    /// Whether this event was about it.
    fn take(&mut self, what: What) -> bool {
        match what {
            What::Shelved => self.shelved = true,
            What::Unshelved => self.shelved = false,
            What::Suppressed => self.suppressed = true,
            What::Unsuppressed => self.suppressed = false,
            What::OutOfService => self.out_of_service = true,
            What::InService => self.out_of_service = false,
            _ => return false,
        }
        true
    }

    fn stands(&self) -> bool {
        self.shelved || self.suppressed || self.out_of_service
    }
}
