//! What the owner knows in memory, how it is read from the disk, and the changes that go to both together.
//!
//! Takes the tables and the settings; hands on [`State`], one [`Lane`] per channel. Decides nothing: what waits is
//! `follow`'s, what is told `compose`'s, what is sent `deliver`'s.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, Transaction, params};
use tracing::warn;

use super::{Place, Work};
use crate::alert::{Alert, AlertId};
use crate::model::{DeviceId, Severity, Timestamp, ZoneId};
use crate::notify::config::Settings;
use crate::notify::group::{Pending, Spent, Subject};
use crate::notify::tables;
use crate::notify::{MessageId, NotifyError};
use crate::trouble::TroubleId;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) alert_seq: i64,
    pub(super) case_seq: i64,
    pub(super) trouble_seq: i64,
    pub(super) town_key: String,
    pub(super) lanes: Vec<Lane>,
    /// `None` until the first step: where things stand is asked of the town then.
    pub(super) open: Option<HashMap<AlertId, Open>>,
}

/// A channel's half of the state.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) pending: BTreeMap<Subject, Pending>,
    pub(super) told: HashMap<AlertId, Told>,
    /// Troubles of the hub that it was told of and that are not over.
    pub(super) told_troubles: HashSet<TroubleId>,
    pub(super) bundles: HashMap<String, Timestamp>,
    pub(super) queue: BTreeMap<MessageId, Queued>,
    pub(super) spent: Spent,
    pub(super) in_flight: Option<MessageId>,
    /// What waits was looked at then, and nothing of it was due.
    pub(super) looked_at: Option<Timestamp>,
    pub(super) merged_at: Option<Timestamp>,
    pub(super) hold_until: Option<Timestamp>,
    pub(super) sent_at: Option<Timestamp>,
    pub(super) failed_at: Option<Timestamp>,
    pub(super) error: Option<String>,
}

/// What inhibition and repeats must know of an open alert.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) root: String,
    pub(super) severity: Severity,
    pub(super) active: bool,
    pub(super) is_acknowledged: bool,
    /// Not shelved, suppressed or out of service.
    pub(super) tells: bool,
    pub(super) zone: Option<ZoneId>,
    pub(super) bundle: String,
    pub(super) device: DeviceId,
    pub(super) gateway: Option<DeviceId>,
    pub(super) is_silence: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) repeats: u32,
    pub(super) repeat_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    pub(super) severity: Severity,
    pub(super) merged: bool,
    pub(super) next_at: Timestamp,
    pub(super) give_up_at: Timestamp,
    pub(super) attempts: u32,
}

/// Brings the tables to the channels that are configured now.
pub(super) fn adopt(
    tx: &Transaction<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), NotifyError> {
    // The hub was killed while these were on their way: each counts once, as if it had ended now, and not for ever.
    tx.execute("UPDATE notify_attempt SET ended = ? WHERE ended IS NULL", [now.as_micros()])?;
    let known: Vec<String> = tx
        .prepare("SELECT name FROM notify_channel")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if known.is_empty() {
        tx.execute(
            "UPDATE notify_progress SET alert_seq = (SELECT coalesce(max(seq), 0) FROM alert_event),
                 case_seq = (SELECT coalesce(max(seq), 0) FROM case_event),
                 trouble_seq = (SELECT coalesce(max(seq), 0) FROM trouble_event)",
            [],
        )?;
    }
    for name in known {
        if settings.channels.iter().any(|channel| channel.name == name) {
            continue;
        }
        let failed = tx.execute(
            "UPDATE notify_message SET state = 'failed', error = 'the channel is not configured any more'
             WHERE channel = ? AND state IN ('waiting', 'sending')",
            [&name],
        )?;
        let dropped = tx.execute("DELETE FROM notify_pending WHERE channel = ?", [&name])?;
        for table in ["notify_told", "notify_told_trouble", "notify_bundle", "notify_attempt"] {
            tx.execute(&format!("DELETE FROM {table} WHERE channel = ?"), [&name])?;
        }
        tx.execute("DELETE FROM notify_channel WHERE name = ?", [&name])?;
        warn!(channel = name, failed, dropped, "a channel is not configured any more");
    }
    for channel in &settings.channels {
        tx.execute("INSERT OR IGNORE INTO notify_channel (name) VALUES (?)", [&channel.name])?;
    }
    Ok(())
}

impl State {
    /// Reads everything. Messages that were on their way are to be sent now, but for those in flight.
    pub(super) fn load(
        db: &Connection,
        settings: &Settings,
        now: Timestamp,
        in_flight: &[Option<MessageId>],
    ) -> Result<State, NotifyError> {
        let mut state = db.query_row("SELECT * FROM notify_progress", [], |row| {
            Ok(State {
                alert_seq: row.get("alert_seq")?,
                case_seq: row.get("case_seq")?,
                trouble_seq: row.get("trouble_seq")?,
                town_key: row.get("town_key")?,
                ..State::default()
            })
        })?;
        let names: HashMap<&str, usize> = settings
            .channels
            .iter()
            .enumerate()
            .map(|(at, spec)| (spec.name.as_str(), at))
            .collect();
        state.lanes.resize_with(settings.channels.len(), Lane::default);
        for (lane, in_flight) in state.lanes.iter_mut().zip(in_flight) {
            lane.in_flight = *in_flight;
        }
        let of = |name: &str| names.get(name).copied();
        let mut rows = db.prepare("SELECT * FROM notify_pending")?;
        for row in rows.query_map([], tables::pending_of)? {
            let (channel, subject, pending) = row?;
            let Some(lane) = of(&channel) else { continue };
            state.lanes[lane].pending.insert(subject, pending);
        }
        state.load_channels(db, &of)?;
        state.load_queue(db, &of, now)?;
        Ok(state)
    }

    fn load_channels(
        &mut self,
        db: &Connection,
        of: &dyn Fn(&str) -> Option<usize>,
    ) -> rusqlite::Result<()> {
        let mut rows = db.prepare("SELECT * FROM notify_channel")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>("name")?) else { continue };
            let time =
                |name| row.get::<_, Option<i64>>(name).map(|us| us.map(Timestamp::from_micros));
            let lane = &mut self.lanes[lane];
            lane.merged_at = time("merged_at")?;
            lane.hold_until = time("hold_until")?;
            lane.sent_at = time("sent_at")?;
            lane.failed_at = time("failed_at")?;
            lane.error = row.get("error")?;
        }
        let mut rows = db.prepare("SELECT channel, alert, repeats, repeat_at FROM notify_told")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            let repeat_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros);
            let told = Told { repeats: row.get(2)?, repeat_at };
            self.lanes[lane].told.insert(AlertId(row.get::<_, i64>(1)? as u64), told);
        }
        let mut rows = db.prepare("SELECT channel, trouble FROM notify_told_trouble")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            self.lanes[lane].told_troubles.insert(TroubleId(row.get::<_, i64>(1)? as u64));
        }
        let mut rows = db.prepare("SELECT channel, bundle, told_at FROM notify_bundle")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            self.lanes[lane].bundles.insert(row.get(1)?, Timestamp::from_micros(row.get(2)?));
        }
        Ok(())
    }

    fn load_queue(
        &mut self,
        db: &Connection,
        of: &dyn Fn(&str) -> Option<usize>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut rows = db.prepare(
            "SELECT id, channel, state, severity, merged, next_at, give_up_at, attempts FROM notify_message
             WHERE state IN ('waiting', 'sending')",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>("channel")?) else { continue };
            let id = MessageId(row.get::<_, i64>("id")? as u64);
            let next_at = match row.get::<_, String>("state")?.as_str() {
                // The hub was killed while it was on its way: perhaps it arrived, so it goes again under the same key.
                "sending" => now,
                _ => Timestamp::from_micros(row.get("next_at")?),
            };
            let queued = Queued {
                severity: tables::severity_of(row)?,
                merged: row.get("merged")?,
                next_at,
                give_up_at: Timestamp::from_micros(row.get("give_up_at")?),
                attempts: row.get("attempts")?,
            };
            self.lanes[lane].queue.insert(id, queued);
        }
        let mut rows =
            db.prepare("SELECT channel, message, ended FROM notify_attempt ORDER BY ended")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(lane) = of(&row.get::<_, String>(0)?) else { continue };
            let id = MessageId(row.get::<_, i64>(1)? as u64);
            let lane = &mut self.lanes[lane];
            match row.get::<_, Option<i64>>(2)? {
                Some(ended) => lane.spent.add(Timestamp::from_micros(ended).min(now)),
                None if lane.in_flight == Some(id) => {}
                None => lane.spent.add(now),
            }
        }
        Ok(())
    }
}

fn root_of(alert: &Alert) -> String {
    match &alert.asset {
        Some(asset) => format!("asset:{asset}"),
        None => format!("device:{}", alert.rule.device),
    }
}

impl Open {
    pub(super) fn new(alert: &Alert, place: &Place) -> Self {
        let root = root_of(alert);
        let is_silence = alert.kind == "no_data";
        // Devices that fall silent together stand behind one gateway more often than in one zone.
        let bundle = match (&place.gateway, &place.zone) {
            (Some(gateway), _) if is_silence => format!("gateway:{gateway}"),
            (_, Some(zone)) => format!("zone:{zone}"),
            _ => root.clone(),
        };
        Open {
            root,
            severity: alert.severity,
            active: alert.active,
            is_acknowledged: alert.acknowledged_at.is_some(),
            tells: alert.is_annunciated(),
            zone: place.zone.clone(),
            bundle,
            device: alert.rule.device.clone(),
            gateway: place.gateway.clone(),
            is_silence,
        }
    }
}

impl Work<'_> {
    pub(super) fn put(
        &mut self,
        lane: usize,
        subject: Subject,
        pending: Pending,
    ) -> Result<(), NotifyError> {
        let state = &mut self.state.lanes[lane];
        if state.pending.get(&subject) != Some(&pending) {
            tables::put_pending(self.tx, &self.settings.channels[lane].name, subject, &pending)?;
            state.pending.insert(subject, pending);
        }
        Ok(())
    }

    pub(super) fn drop_pending(
        &mut self,
        lane: usize,
        subject: Subject,
    ) -> Result<(), NotifyError> {
        tables::delete_pending(self.tx, &self.settings.channels[lane].name, subject)?;
        self.state.lanes[lane].pending.remove(&subject);
        Ok(())
    }

    pub(super) fn put_told(
        &mut self,
        lane: usize,
        id: AlertId,
        told: Told,
    ) -> Result<(), NotifyError> {
        let channel = &self.settings.channels[lane].name;
        tables::put_told(self.tx, channel, id, told.repeats, told.repeat_at)?;
        self.state.lanes[lane].told.insert(id, told);
        Ok(())
    }

    pub(super) fn forget_told(&mut self, lane: usize, id: AlertId) -> Result<(), NotifyError> {
        if self.state.lanes[lane].told.remove(&id).is_some() {
            tables::delete_told(self.tx, &self.settings.channels[lane].name, id)?;
        }
        Ok(())
    }

    pub(super) fn put_told_trouble(
        &mut self,
        lane: usize,
        id: TroubleId,
        severity: Severity,
    ) -> Result<(), NotifyError> {
        let channel = &self.settings.channels[lane].name;
        tables::put_told_trouble(self.tx, channel, id, severity)?;
        self.state.lanes[lane].told_troubles.insert(id);
        Ok(())
    }

    pub(super) fn forget_told_trouble(
        &mut self,
        lane: usize,
        id: TroubleId,
    ) -> Result<(), NotifyError> {
        if self.state.lanes[lane].told_troubles.remove(&id) {
            tables::delete_told_trouble(self.tx, &self.settings.channels[lane].name, id)?;
        }
        Ok(())
    }

    pub(super) fn write_channel(&self, lane: usize) -> Result<(), NotifyError> {
        let state = &self.state.lanes[lane];
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        self.tx
            .prepare_cached(
                "UPDATE notify_channel SET merged_at = ?, hold_until = ?, sent_at = ?, failed_at = ?, error = ?
                 WHERE name = ?",
            )?
            .execute(params![
                micros(state.merged_at),
                micros(state.hold_until),
                micros(state.sent_at),
                micros(state.failed_at),
                state.error,
                self.settings.channels[lane].name,
            ])?;
        Ok(())
    }
}
