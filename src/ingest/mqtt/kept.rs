//! The services' sessions and retained messages on disk: `services.db`, written once a second while something changes, and at
//! the end. A kill of the hub loses the last second of them, or repeats it.
//!
//! Never here: a decision; a wait of the broker for the disk.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params};

use super::broker::{Changes, Delivery, Kept, Message, Moment};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS session (
        client TEXT PRIMARY KEY,
        state  TEXT NOT NULL        -- JSON: subscriptions, what is under way, when it ends
    ) STRICT;
    CREATE TABLE IF NOT EXISTS message (
        number      INTEGER PRIMARY KEY,
        client      TEXT    NOT NULL,
        topic       TEXT    NOT NULL,
        payload     BLOB    NOT NULL,
        properties  BLOB    NOT NULL,
        qos         INTEGER NOT NULL, -- at which it was published
        expires_at  INTEGER,          -- microseconds
        delivery    TEXT    NOT NULL  -- JSON: QoS, retain flag, identifiers, share
    ) STRICT;
    CREATE INDEX IF NOT EXISTS message_of ON message (client);
    CREATE TABLE IF NOT EXISTS retained (
        topic      TEXT PRIMARY KEY,
        payload    BLOB    NOT NULL,
        properties BLOB    NOT NULL,
        qos        INTEGER NOT NULL,
        expires_at INTEGER
    ) STRICT;";

/// The file.
#[derive(Debug)]
pub(super) struct Disk(Connection);

impl Disk {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub(super) fn open(file: &Path) -> rusqlite::Result<Self> {
        let db = Connection::open(file)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // A kill loses nothing of it; a power cut may lose some seconds.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.execute_batch(SCHEMA)?;
        Ok(Disk(db))
    }

    /// What was kept.
    ///
    /// # Errors
    /// When SQLite fails, or the file is damaged.
    pub(super) fn read(&self, moment: Moment) -> rusqlite::Result<(Vec<Kept>, Vec<Message>)> {
        let mut sessions = self.0.prepare("SELECT client, state FROM session")?;
        let sessions = sessions.query_map((), |row| Ok((row.get(0)?, json(row, 1)?)))?;
        let mut messages = self.0.prepare(
            "SELECT topic, payload, properties, qos, expires_at, number, delivery FROM message
             WHERE client = ? ORDER BY number",
        )?;
        let mut kept = Vec::new();
        for session in sessions {
            let (client, state): (String, _) = session?;
            let of_client = messages.query_map([&client], |row| {
                let (qos, retain, identifiers, share): (_, _, _, Option<String>) = json(row, 6)?;
                let share = share.map(Arc::from);
                let (message, row) = (Arc::new(message(row, retain, moment)?), row.get(5)?);
                Ok(Delivery { message, qos, retain, identifiers, share, row })
            })?;
            let messages = of_client.collect::<Result<_, _>>()?;
            kept.push(Kept { client, state, messages });
        }
        let mut retained =
            self.0.prepare("SELECT topic, payload, properties, qos, expires_at FROM retained")?;
        let retained = retained.query_map((), |row| message(row, true, moment))?;
        Ok((kept, retained.collect::<Result<_, _>>()?))
    }

    /// Writes changes, all of them or none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(super) fn write(&mut self, changes: &Changes, moment: Moment) -> rusqlite::Result<()> {
        let tx = self.0.transaction()?;
        if changes.is_all {
            tx.execute_batch("DELETE FROM session; DELETE FROM message; DELETE FROM retained;")?;
        }
        for client in &changes.ended {
            tx.prepare_cached("DELETE FROM session WHERE client = ?")?.execute([client])?;
            tx.prepare_cached("DELETE FROM message WHERE client = ?")?.execute([client])?;
        }
        for session in &changes.sessions {
            let state = serde_json::to_string(&session.state).map_err(unwritable)?;
            tx.prepare_cached("INSERT OR REPLACE INTO session (client, state) VALUES (?, ?)")?
                .execute([&session.client, &state])?;
            for number in &session.gone {
                tx.prepare_cached("DELETE FROM message WHERE number = ?")?.execute([number])?;
            }
            for delivery in &session.new {
                write_message(&tx, &session.client, delivery, moment)?;
            }
        }
        for (topic, message) in &changes.retained {
            let Some(message) = message else {
                tx.prepare_cached("DELETE FROM retained WHERE topic = ?")?.execute([topic])?;
                continue;
            };
            let Message { payload, properties, qos, .. } = &**message;
            let expires_at = message.expires_at.map(|at| moment.micros_of(at));
            tx.prepare_cached("INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?, ?)")?
                .execute(params![topic, &payload[..], &properties[..], qos, expires_at])?;
        }
        tx.commit()
    }
}

fn write_message(
    tx: &Transaction<'_>,
    client: &str,
    delivery: &Delivery,
    moment: Moment,
) -> rusqlite::Result<()> {
    let Delivery { message, qos, retain, identifiers, share, row } = delivery;
    let Message { topic, payload, properties, .. } = &**message;
    let how = serde_json::to_string(&(qos, retain, identifiers, share.as_deref()));
    let expires_at = message.expires_at.map(|at| moment.micros_of(at));
    tx.prepare_cached("INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?.execute(
        params![
            row,
            client,
            topic,
            &payload[..],
            &properties[..],
            message.qos,
            expires_at,
            how.map_err(unwritable)?
        ],
    )?;
    Ok(())
}

/// One whose time is over is void at once.
fn message(row: &Row<'_>, retain: bool, moment: Moment) -> rusqlite::Result<Message> {
    let payload: Vec<u8> = row.get(1)?;
    let properties: Vec<u8> = row.get(2)?;
    let expires_at: Option<i64> = row.get(4)?;
    Ok(Message {
        topic: row.get::<_, String>(0)?.into(),
        payload: payload.into(),
        properties: properties.into(),
        qos: row.get(3)?,
        retain,
        expires_at: expires_at.map(|at| moment.instant_of(at).unwrap_or(moment.now)),
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|why| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(why),
        )
    })
}

fn unwritable(why: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(why))
}
