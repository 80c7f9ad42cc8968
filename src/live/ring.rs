//! The last events, for pages that come back and pages that lag.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{AssetState, Concern, Cursor, Filter, encode, event};

/// Most memory of encoded events: a storm that changes every asset over and over must not grow the ring without end.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A page that is this many events behind gets the states merged. Below it, sharing the encoded events is cheaper than
/// encoding anew for one page.
const MERGE_BEYOND: u64 = 16;

/// An event in the ring.
pub(super) struct Entry {
    /// The event as it goes out, shared by all pages.
    bytes: Bytes,
    about: About,
}

/// What an event says, as far as the ring has to know.
enum About {
    /// States, which may be merged.
    States(Box<[AssetState]>),
    /// An alert, a case: never merged.
    One(Concern),
}

impl Entry {
    pub(super) fn states(bytes: Bytes, states: &[AssetState]) -> Self {
        Entry { bytes, about: About::States(states.into()) }
    }

    pub(super) fn one(bytes: Bytes, concern: Concern) -> Self {
        Entry { bytes, about: About::One(concern) }
    }

    fn size(&self) -> usize {
        let states = match &self.about {
            About::States(states) => size_of_val(&states[..]),
            About::One(_) => 0,
        };
        self.bytes.len() + states
    }

    /// The event as this page may see it: shared when that is all of it, encoded anew when it is a part, `None` when it is
    /// nothing.
    fn seen(&self, id: Cursor, filter: Option<&Filter>) -> Option<Bytes> {
        let Some(filter) = filter else { return Some(self.bytes.clone()) };
        match &self.about {
            About::One(concern) => filter(concern).then(|| self.bytes.clone()),
            About::States(states) => {
                let seen: Vec<_> =
                    states.iter().filter(|state| filter(&Concern::Asset(state.asset))).collect();
                match seen.len() {
                    0 => None,
                    all if all == states.len() => Some(self.bytes.clone()),
                    _ => Some(event("state", id, &encode::states(seen))),
                }
            }
        }
    }
}

/// What the ring has for a page.
#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// Nothing new.
    None,
    /// These events, none when the page may see none of them; it then stands at the ring's newest.
    Events(Vec<Bytes>),
    /// The page's place is not in the ring: too old, or never was.
    Gap,
}

/// The last events, numbered without holes. `newest` counts from 1; 0 is "before the first".
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    capacity: usize,
    newest: u64,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Ring { entries: VecDeque::new(), capacity: capacity.max(1), newest: 0, bytes: 0 }
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// Adds an event, which gets the number `newest() + 1`, and forgets the oldest ones beyond the bounds.
    pub(super) fn push(&mut self, entry: Entry) {
        self.newest += 1;
        self.bytes += entry.size();
        self.entries.push_back(entry);
        while self.entries.len() > self.capacity
            || (self.bytes > MAX_BYTES && self.entries.len() > 1)
        {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.size();
            }
        }
    }

    /// What a page that stands at `at` has not seen and may see. The page's epoch is the caller's to check.
    pub(super) fn since(&self, at: Cursor, filter: Option<&Filter>) -> News {
        let Some(behind) = self.newest.checked_sub(at.seq) else { return News::Gap };
        if behind == 0 {
            return News::None;
        }
        let held = self.entries.len() as u64;
        if behind > held {
            return News::Gap;
        }
        let unseen = self.entries.range((held - behind) as usize..);
        if behind > MERGE_BEYOND {
            let newest = Cursor { epoch: at.epoch, seq: self.newest };
            News::Events(merge(unseen, at, newest, filter))
        } else {
            let id = |seq| Cursor { epoch: at.epoch, seq };
            let seen =
                (at.seq + 1..).zip(unseen).filter_map(|(n, entry)| entry.seen(id(n), filter));
            News::Events(seen.collect())
        }
    }
}

/// Every alert, then one event with the last state of each asset that changed.
///
/// The alerts keep the id at which the page stood before: should the connection break between them and the states, the
/// page comes back with that id and gets the states again. An alert that is seen twice has the same version.
fn merge<'a>(
    unseen: impl Iterator<Item = &'a Entry>,
    before: Cursor,
    newest: Cursor,
    filter: Option<&Filter>,
) -> Vec<Bytes> {
    let mut alerts = Vec::new();
    let mut latest = BTreeMap::new();
    for entry in unseen {
        match &entry.about {
            About::States(states) => {
                let seen = states
                    .iter()
                    .filter(|s| filter.is_none_or(|may| may(&Concern::Asset(s.asset))));
                latest.extend(seen.map(|state| (state.asset, state)));
            }
            About::One(_) => alerts.extend(entry.seen(newest, filter)),
        }
    }
    if latest.is_empty() {
        // Nothing to merge: the alerts go out as they are, each with its own id.
        return alerts;
    }
    let mut events: Vec<Bytes> = alerts.iter().map(|bytes| with_id(bytes, before)).collect();
    events.push(event("state", newest, &encode::states(latest.into_values())));
    events
}

/// The same event under another id: the id is its first line.
fn with_id(bytes: &Bytes, id: Cursor) -> Bytes {
    let rest = bytes.iter().position(|&b| b == b'\n').map_or(&bytes[..], |end| &bytes[end..]);
    [format!("id: {id}").as_bytes(), rest].concat().into()
}
