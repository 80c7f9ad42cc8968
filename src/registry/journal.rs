//! What a change of the town looks like in the audit log.
//!
//! Made from the change itself in the one place that every change goes through, so that no import and no route can forget
//! it. Few things get an entry each, with what they are now; many get entries with their ids only, so that a log that is
//! kept for years is not a second copy of every import.

use rusqlite::Transaction;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Change, State};
use crate::audit::{self, Entry};
use crate::model::Timestamp;

/// Up to this many things of one change get an entry each.
const ONE_BY_ONE: usize = 100;

/// How many ids stand in one entry of a larger change: with the longest ids it still fits.
const IDS_PER_ENTRY: usize = 100;

/// A thing of a change.
struct Item {
    id: String,
    is_new: bool,
    /// What it is now, without secrets.
    detail: Value,
}

/// Logs `change`, which is about to be made in `tx` on the town as it is in `before`.
pub(super) fn record(
    tx: &Transaction<'_>,
    at: Timestamp,
    actor: &str,
    before: &State,
    change: &Change,
) -> Result<(), rusqlite::Error> {
    if let Change::Lobby(change) = change {
        let (action, subject, detail) = change.entry(before);
        return audit::append(tx, &Entry { at, actor, action, subject: &subject, detail });
    }
    let (what, items) = items(before, change);
    let log = |action: &str, subject: &str, detail| {
        audit::append(tx, &Entry { at, actor, action, subject, detail })
    };
    if items.len() <= ONE_BY_ONE {
        for item in items {
            let verb = if item.is_new { "add" } else { "change" };
            log(&format!("{what}.{verb}"), &item.id, item.detail)?;
        }
        return Ok(());
    }
    let total = items.len();
    for (part, items) in items.chunks(IDS_PER_ENTRY).enumerate() {
        let ids = |is_new| {
            let ids = items.iter().filter(|item| item.is_new == is_new);
            ids.map(|item| item.id.as_str()).collect::<Vec<_>>()
        };
        let detail =
            json!({ "total": total, "part": part + 1, "added": ids(true), "changed": ids(false) });
        log(&format!("{what}.import"), &format!("{total} {what}s"), detail)?;
    }
    Ok(())
}

fn items(before: &State, change: &Change) -> (&'static str, Vec<Item>) {
    let town = &before.town;
    match change {
        Change::Zones(zones) => {
            let items = zones.iter().map(|zone| Item {
                id: zone.id.to_string(),
                is_new: !town.zones.contains_key(&zone.id),
                detail: detail(zone),
            });
            ("zone", items.collect())
        }
        Change::Assets(assets) => {
            let items = assets.iter().map(|asset| Item {
                id: asset.id.to_string(),
                is_new: !town.assets.contains_key(&asset.id),
                detail: detail(asset),
            });
            ("asset", items.collect())
        }
        Change::Devices(changes) => {
            let items = changes.iter().map(|change| {
                let device = &change.device;
                let known = town.devices.get(&device.id);
                let secret_only = known.is_some_and(|known| **known == *device);
                Item {
                    id: device.id.to_string(),
                    is_new: known.is_none(),
                    detail: if secret_only { json!({ "secret": "new" }) } else { detail(device) },
                }
            });
            ("device", items.collect())
        }
        Change::Service(account, _) => {
            let item = Item { id: account.name.clone(), is_new: false, detail: detail(account) };
            ("service", vec![item])
        }
        // Told by itself.
        Change::Lobby(_) => ("enrolment", Vec::new()),
    }
}

/// A thing as it serializes, without the names that the subject and the list have already.
fn detail(thing: &impl Serialize) -> Value {
    let value = serde_json::to_value(thing).unwrap_or(Value::Null);
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, value)| name != "id" && !value.is_null());
            Value::Object(kept.collect::<Map<_, _>>())
        }
        other => other,
    }
}
