//! What the logs tell, told by a model that shares no code with the rooms: the state after every event, and which event
//! may follow which.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use super::walker::Progress;

/// Everything on disk, row by row, as text: two walks are the same when these are.
#[derive(Debug, PartialEq)]
pub(super) struct Disk {
    pub(super) tables: BTreeMap<&'static str, Vec<String>>,
}

/// Tables that make up the state; the audit log goes along with each change and tells the same.
const TABLES: [(&str, &str); 9] = [
    ("alert_event", "seq"),
    ("alert", "id"),
    ("alert_condition", "device, metric, name, rung"),
    ("alert_shelf", "device, metric, name"),
    ("alert_out_of_service", "device, metric, name"),
    ("case_event", "seq"),
    ("town_case", "id"),
    ("case_alert", "alert"),
    ("case_progress", "one"),
];

/// What happened to a case, and what it must have been to let it happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    None,
    Opened,
    Dispatched,
    Accepted,
    Reported,
    Verified,
    Closed,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Stage::None => "none",
            Stage::Opened => "opened",
            Stage::Dispatched => "dispatched",
            Stage::Accepted => "accepted",
            Stage::Reported => "reported",
            Stage::Verified => "verified",
            Stage::Closed => "closed",
        }
    }

    /// The stage after an event, if the event may come here.
    fn after(self, what: &str, is_site_check: bool) -> Option<Stage> {
        use Stage::*;
        Some(match (self, what) {
            (None, "opened") => Opened,
            (Opened | Dispatched | Accepted | Reported | Verified, "attached") => self,
            (Opened, "dispatched") => Dispatched,
            (Dispatched, "accepted") => Accepted,
            (Dispatched | Accepted, "returned") => Opened,
            (Accepted, "handled") => Accepted,
            (Accepted, "reported") => Reported,
            (Reported, "verified") => Verified,
            (Reported | Verified, "rejected") => Opened,
            (Opened | Verified, "closed") => Closed,
            (Dispatched | Accepted | Reported, "closed") if is_site_check => Closed,
            (Dispatched | Accepted, "overdue" | "escalated") => self,
            (Closed, "reopened") => Closed,
            _ => return Option::None,
        })
    }
}

impl Disk {
    /// Reads everything.
    pub(super) fn read(folder: &Path) -> Self {
        let db = super::walker::connect(folder);
        let rows = TABLES.into_iter().map(|(table, order)| (table, rows(&db, table, order)));
        Disk { tables: rows.collect() }
    }
}

fn rows(db: &Connection, table: &str, order: &str) -> Vec<String> {
    let mut query =
        db.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).expect("a table");
    let columns = query.column_count();
    let rows = query.query_map([], |row| {
        let cell = |i| Ok(format!("{:?}", row.get_ref(i)?));
        Ok((0..columns).map(cell).collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// An alert as its log tells it.
#[derive(Debug, Default, PartialEq)]
struct Told {
    version: u32,
    active: bool,
    seen: bool,
    chattering: bool,
    severity: i64,
    worst: i64,
    raised: i64,
    shelved: bool,
    suppressed: bool,
    out_of_service: bool,
}

impl Told {
    /// Whether nothing keeps it from ringing.
    fn is_clear(&self) -> bool {
        !(self.shelved || self.suppressed || self.out_of_service)
    }
}

/// Checks that the state is what the logs tell, that no version came twice, no move was made twice, and that nothing is
/// missing of what was said to be on disk.
pub(super) fn check(db: &Connection, said: Progress) -> Result<(), String> {
    check_numbers(db, "alert_event", said.alert_events)?;
    check_numbers(db, "case_event", said.case_events)?;
    check_alerts(db)?;
    check_cases(db)
}

/// The log has no hole, and reaches as far as was said.
fn check_numbers(db: &Connection, table: &str, said: i64) -> Result<(), String> {
    let sql = format!("SELECT count(*), coalesce(max(seq), 0) FROM {table}");
    let (count, last): (i64, i64) =
        db.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(text)?;
    match count == last && last >= said {
        true => Ok(()),
        false => Err(format!("{table}: {count} events, the last is {last}, {said} were said")),
    }
}

fn check_alerts(db: &Connection) -> Result<(), String> {
    let mut told: BTreeMap<i64, Told> = BTreeMap::new();
    let sql = "SELECT alert, version, what, severity, active FROM alert_event ORDER BY seq";
    let mut query = db.prepare(sql).map_err(text)?;
    let mut rows = query.query([]).map_err(text)?;
    while let Some(row) = rows.next().map_err(text)? {
        let (id, version, what, severity, active): (i64, u32, String, i64, bool) = (
            row.get(0).map_err(text)?,
            row.get(1).map_err(text)?,
            row.get(2).map_err(text)?,
            row.get(3).map_err(text)?,
            row.get(4).map_err(text)?,
        );
        let alert = told.entry(id).or_insert_with(|| Told { worst: 4, ..Told::default() });
        let wrong = |why: &str| Err(format!("alert {id}, version {version}, {what}: {why}"));
        if version != alert.version + 1 {
            return wrong(&format!("follows version {}", alert.version));
        }
        let (was_active, was_seen, before) = (alert.active, alert.seen, alert.severity);
        match what.as_str() {
            "raised" if alert.version == 0 => alert.active = true,
            "raised_again" if !was_active && !was_seen => alert.active = true,
            "returned" | "rule_removed" if was_active => alert.active = false,
            "acknowledged" if !was_seen => alert.seen = true,
            "rearmed" if was_active => alert.seen = false,
            "severity_up" if was_active && severity < before => {}
            "severity_down" if was_active && severity > before => {}
            "chattering" if !alert.chattering => alert.chattering = true,
            "settled" if alert.chattering => alert.chattering = false,
            "rule_changed" => {}
            // A shelf that is cut short is told as a shelf.
            "shelved" => alert.shelved = true,
            "suppressed" => alert.suppressed = true,
            "out_of_service" => alert.out_of_service = true,
            "unshelved" if alert.shelved => alert.shelved = false,
            "unsuppressed" if alert.suppressed => alert.suppressed = false,
            "in_service" if alert.out_of_service => alert.out_of_service = false,
            _ => return wrong(&format!("cannot come after {alert:?}")),
        }
        if matches!(what.as_str(), "raised" | "raised_again") {
            alert.raised += 1;
        }
        // What is announced once more is to be seen once more.
        let is_aside =
            ["shelved", "unshelved", "suppressed", "unsuppressed", "out_of_service", "in_service"];
        if is_aside.contains(&what.as_str()) && alert.is_clear() && alert.active {
            alert.seen = false;
        }
        alert.version = version;
        alert.severity = severity;
        alert.worst = alert.worst.min(severity);
        if alert.active != active {
            return wrong(&format!("says active = {active} after {alert:?}"));
        }
    }
    let sql = "SELECT id, version, active, acknowledged_at IS NOT NULL, chattering, severity, worst, raised_count,
        standing ->> 'shelved' IS NOT NULL, standing ->> 'suppressed' IS NOT NULL,
        standing ->> 'out_of_service' IS NOT NULL FROM alert";
    let mut query = db.prepare(sql).map_err(text)?;
    let listed = query
        .query_map([], |row| {
            let alert = Told {
                version: row.get(1)?,
                active: row.get(2)?,
                seen: row.get(3)?,
                chattering: row.get(4)?,
                severity: row.get(5)?,
                worst: row.get(6)?,
                raised: row.get(7)?,
                shelved: row.get(8)?,
                suppressed: row.get(9)?,
                out_of_service: row.get(10)?,
            };
            Ok((row.get(0)?, alert))
        })
        .map_err(text)?;
    let listed: BTreeMap<i64, Told> = listed.collect::<Result<_, _>>().map_err(text)?;
    match listed == told {
        true => Ok(()),
        false => Err(format!("the alerts are {listed:#?}, their log says {told:#?}")),
    }
}

fn check_cases(db: &Connection) -> Result<(), String> {
    let mut told: BTreeMap<i64, (u32, Stage)> = BTreeMap::new();
    let sql = "SELECT case_id, version, what, happened FROM case_event ORDER BY seq";
    let mut query = db.prepare(sql).map_err(text)?;
    let mut rows = query.query([]).map_err(text)?;
    while let Some(row) = rows.next().map_err(text)? {
        let (id, version, what, happened): (i64, u32, String, String) = (
            row.get(0).map_err(text)?,
            row.get(1).map_err(text)?,
            row.get(2).map_err(text)?,
            row.get(3).map_err(text)?,
        );
        let (before, stage) = told.get(&id).copied().unwrap_or((0, Stage::None));
        let after = stage.after(&what, happened.contains("site_check"));
        match after {
            Some(after) if version == before + 1 => drop(told.insert(id, (version, after))),
            _ => {
                return Err(format!(
                    "case {id}, version {version}: {what} after version {before}, {}",
                    stage.as_str()
                ));
            }
        }
    }
    let mut query = db.prepare("SELECT id, version, stage FROM town_case").map_err(text)?;
    let listed =
        query.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).map_err(text)?;
    let listed: BTreeMap<i64, (u32, String)> = listed.collect::<Result<_, _>>().map_err(text)?;
    let told: BTreeMap<i64, (u32, String)> = told
        .into_iter()
        .map(|(id, (version, stage))| (id, (version, stage.as_str().to_owned())))
        .collect();
    match listed == told {
        true => Ok(()),
        false => Err(format!("the cases are {listed:?}, their log says {told:?}")),
    }
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}
