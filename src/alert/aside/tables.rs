//! The disk of what is put aside: shelves, marks and maintenance windows, each a row.
//!
//! [`Standings`] are taken up from here and written in the transaction of the events that they make; people read the windows
//! with connections of their own.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, Row, Transaction, params};

use super::standings::{Changed, Marked, Pending, Standings};
use super::{Covered, Maintenance, Places, ShelfLimits};
use crate::alert::rule::RuleKey;
use crate::alert::tables::{key_of, metric_text, parse};
use crate::alert::{Alert, AlertError, OutOfService, Shelf};
use crate::audit;
use crate::model::Timestamp;

impl Standings {
    /// Takes up what is on disk. `open` are the open alerts.
    pub(in crate::alert) fn load<'a>(
        db: &Connection,
        open: impl Iterator<Item = &'a Alert>,
    ) -> rusqlite::Result<Self> {
        let mut standings = Standings {
            limits: ShelfLimits::default(),
            places: Places::default(),
            shelves: BTreeMap::new(),
            marks: BTreeMap::new(),
            windows: BTreeMap::new(),
            next_window: 1,
            silent: HashSet::new(),
            graces: HashMap::new(),
            groups: HashMap::new(),
            pending: Vec::new(),
            followed: 0,
            stale: None,
            next: None,
        };
        for alert in open {
            if alert.active && alert.is_silence() {
                standings.silent.insert(alert.rule.device.clone());
            }
            standings.groups.entry(alert.root()).or_default().push(alert.id);
        }
        standings.shelves = db
            .prepare("SELECT * FROM alert_shelf")?
            .query_map([], |row| Ok((key_of(row)?, shelf_of(row)?)))?
            .collect::<Result<_, _>>()?;
        standings.marks = db
            .prepare("SELECT * FROM alert_out_of_service")?
            .query_map([], |row| Ok((marked_of(row)?, out_of(row)?)))?
            .collect::<Result<_, _>>()?;
        for window in db
            .prepare("SELECT * FROM maintenance WHERE ended_at IS NULL")?
            .query_map([], window_of)?
        {
            let window = window?;
            standings.windows.insert(window.number, window);
        }
        standings.next_window = db
            .query_row("SELECT coalesce(max(number), 0) + 1 FROM maintenance", [], |row| {
                row.get::<_, i64>(0)
            })
            .map(|next| next as u64)?;
        standings.look_ahead(Timestamp::from_micros(i64::MIN));
        Ok(standings)
    }

    /// Writes what has changed, in the transaction of the events.
    pub(in crate::alert) fn write(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        for Pending { what, entry } in &self.pending {
            match what {
                Changed::Shelf(key) => write_shelf(tx, key, self.shelves.get(key))?,
                Changed::Mark(marked) => write_mark(tx, marked, self.marks.get(marked))?,
                Changed::Window(number) => {
                    if let Some(window) = self.windows.get(number) {
                        write_window(tx, window)?;
                    }
                }
            }
            if let Some((actor, action, subject, detail, at)) = entry {
                let detail = detail.clone();
                audit::append(tx, &audit::Entry { at: *at, actor, action, subject, detail })?;
            }
        }
        Ok(())
    }
}

fn write_shelf(tx: &Transaction<'_>, key: &RuleKey, shelf: Option<&Shelf>) -> rusqlite::Result<()> {
    let (device, metric) = (key.device.as_str(), metric_text(key));
    match shelf {
        Some(shelf) => tx.execute(
            "INSERT OR REPLACE INTO alert_shelf (device, metric, name, by, reason, at, until)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                device,
                metric,
                key.name,
                shelf.by,
                shelf.reason,
                shelf.at.as_micros(),
                shelf.until.as_micros()
            ],
        )?,
        None => tx.execute(
            "DELETE FROM alert_shelf WHERE device = ? AND metric = ? AND name = ?",
            params![device, metric, key.name],
        )?,
    };
    Ok(())
}

fn write_mark(
    tx: &Transaction<'_>,
    marked: &Marked,
    mark: Option<&OutOfService>,
) -> rusqlite::Result<()> {
    let (device, metric, name) = match marked {
        Marked::Device(device) => (device.as_str(), "", ""),
        Marked::Rule(key) => (key.device.as_str(), metric_text(key), key.name.as_str()),
    };
    match mark {
        Some(mark) => tx.execute(
            "INSERT OR REPLACE INTO alert_out_of_service (device, metric, name, by, reason, at)
             VALUES (?, ?, ?, ?, ?, ?)",
            params![device, metric, name, mark.by, mark.reason, mark.at.as_micros()],
        )?,
        None => tx.execute(
            "DELETE FROM alert_out_of_service WHERE device = ? AND metric = ? AND name = ?",
            params![device, metric, name],
        )?,
    };
    Ok(())
}

fn write_window(tx: &Transaction<'_>, window: &Maintenance) -> rusqlite::Result<()> {
    let (zone, asset, device) = match &window.covers {
        Covered::Zone(zone) => (Some(zone.as_str()), None, None),
        Covered::Asset(asset) => (None, Some(asset.as_str()), None),
        Covered::Device(device) => (None, None, Some(device.as_str())),
    };
    tx.execute(
        "INSERT OR REPLACE INTO maintenance
             (number, zone, asset, device, begins_at, ends_at, reason, by, made_at, ended_by, ended_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            window.number as i64,
            zone,
            asset,
            device,
            window.from.as_micros(),
            window.until.as_micros(),
            window.reason,
            window.by,
            window.made_at.as_micros(),
            window.ended_by,
            window.ended_at.map(Timestamp::as_micros),
        ],
    )?;
    Ok(())
}

/// Maintenance windows that end after `since`, newest first, at most `limit`; with their own connection.
///
/// # Errors
/// When SQLite fails.
pub fn maintenance(
    db: &Connection,
    since: Timestamp,
    limit: usize,
) -> Result<Vec<Maintenance>, AlertError> {
    let mut statement = db.prepare_cached(
        "SELECT * FROM maintenance WHERE coalesce(ended_at, ends_at) > ? ORDER BY number DESC LIMIT ?",
    )?;
    let windows = statement.query_map(params![since.as_micros(), limit as i64], window_of)?;
    Ok(windows.collect::<Result<_, _>>()?)
}

/// The maintenance window of this number, over or not.
///
/// # Errors
/// When SQLite fails.
pub fn find_maintenance(db: &Connection, number: u64) -> Result<Option<Maintenance>, AlertError> {
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    let mut statement = db.prepare_cached("SELECT * FROM maintenance WHERE number = ?")?;
    Ok(statement.query_map([number], window_of)?.next().transpose()?)
}

fn shelf_of(row: &Row<'_>) -> rusqlite::Result<Shelf> {
    Ok(Shelf {
        by: row.get("by")?,
        reason: row.get("reason")?,
        at: Timestamp::from_micros(row.get("at")?),
        until: Timestamp::from_micros(row.get("until")?),
    })
}

fn out_of(row: &Row<'_>) -> rusqlite::Result<OutOfService> {
    Ok(OutOfService {
        by: row.get("by")?,
        reason: row.get("reason")?,
        at: Timestamp::from_micros(row.get("at")?),
    })
}

fn marked_of(row: &Row<'_>) -> rusqlite::Result<Marked> {
    let key = key_of(row)?;
    Ok(if key.name.is_empty() { Marked::Device(key.device) } else { Marked::Rule(key) })
}

fn window_of(row: &Row<'_>) -> rusqlite::Result<Maintenance> {
    let text = |name| row.get::<_, Option<String>>(name);
    let covers = match (text("zone")?, text("asset")?, text("device")?) {
        (Some(zone), ..) => Covered::Zone(parse(&zone)?),
        (None, Some(asset), _) => Covered::Asset(parse(&asset)?),
        (None, None, device) => Covered::Device(parse(&device.unwrap_or_default())?),
    };
    let time = |name| row.get(name).map(Timestamp::from_micros);
    Ok(Maintenance {
        number: row.get::<_, i64>("number")? as u64,
        covers,
        from: time("begins_at")?,
        until: time("ends_at")?,
        reason: row.get("reason")?,
        by: row.get("by")?,
        made_at: time("made_at")?,
        ended_by: row.get("ended_by")?,
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Timestamp::from_micros),
    })
}
