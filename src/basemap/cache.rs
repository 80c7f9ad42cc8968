//! Tiles in memory, up to a number of bytes: the one that was longest unused goes first.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::Tile;

/// How long a tile is taken for the map server's present one. Maps change by the month; a week spares its quota.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// What an entry costs besides its bytes.
const ENTRY_BYTES: usize = 128;

/// Tiles by `K`.
#[derive(Debug)]
pub(super) struct Cache<K> {
    most_bytes: usize,
    bytes: usize,
    tiles: HashMap<K, Entry>,
    /// By their last use, the oldest first.
    uses: BTreeMap<u64, K>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    /// `None`: the map server has no such tile.
    tile: Option<Tile>,
    since: Instant,
    used: u64,
}

/// What the cache knows of a tile.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// What the map server says.
    Fresh(Option<Tile>),
    /// What it said some time ago: good enough while it does not answer.
    Old(Option<Tile>),
}

impl<K: Copy + Eq + std::hash::Hash> Cache<K> {
    pub(super) fn new(most_bytes: usize) -> Self {
        Cache { most_bytes, bytes: 0, tiles: HashMap::new(), uses: BTreeMap::new(), clock: 0 }
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn get(&mut self, key: K, now: Instant) -> Option<Known> {
        let used = self.tick();
        let entry = self.tiles.get_mut(&key)?;
        self.uses.remove(&entry.used);
        entry.used = used;
        self.uses.insert(used, key);
        let tile = entry.tile.clone();
        let is_fresh = now.duration_since(entry.since) < FRESH;
        Some(if is_fresh { Known::Fresh(tile) } else { Known::Old(tile) })
    }

    pub(super) fn put(&mut self, key: K, tile: Option<Tile>, now: Instant) {
        self.remove(key);
        let cost = cost(tile.as_ref());
        if cost > self.most_bytes {
            return;
        }
        let used = self.tick();
        self.bytes += cost;
        self.tiles.insert(key, Entry { tile, since: now, used });
        self.uses.insert(used, key);
        while self.bytes > self.most_bytes {
            let Some((_, oldest)) = self.uses.first_key_value() else { break };
            self.remove(*oldest);
        }
    }

    fn remove(&mut self, key: K) {
        if let Some(entry) = self.tiles.remove(&key) {
            self.uses.remove(&entry.used);
            self.bytes -= cost(entry.tile.as_ref());
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

fn cost(tile: Option<&Tile>) -> usize {
    ENTRY_BYTES + tile.map_or(0, |tile| tile.bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(size: usize) -> Option<Tile> {
        Some(Tile { bytes: vec![7; size].into(), media: "image/png", gzip: false })
    }

    #[test]
    fn what_was_longest_unused_goes_first_and_the_bound_holds() {
        let now = Instant::now();
        let mut cache = Cache::new(4 * 1_128);
        for key in 0..4 {
            cache.put(key, tile(1_000), now);
        }
        assert_eq!(cache.get(0, now), Some(Known::Fresh(tile(1_000))));
        cache.put(4, tile(1_000), now);
        assert_eq!(cache.get(1, now), None, "the longest unused");
        assert!(cache.get(0, now).is_some());
        for key in 0..1_000 {
            cache.put(key % 37, tile(key * 3 % 2_000), now);
            assert!(cache.bytes() <= 4 * 1_128);
            assert_eq!(cache.tiles.len(), cache.uses.len());
        }
        cache.put(99, tile(1 << 20), now);
        assert_eq!(cache.get(99, now), None, "larger than all");
    }

    #[test]
    fn a_tile_grows_old_and_a_gap_is_remembered() {
        let now = Instant::now();
        let mut cache = Cache::new(10_000);
        cache.put("a", tile(10), now);
        cache.put("b", None, now);
        assert_eq!(cache.get("b", now), Some(Known::Fresh(None)));
        assert_eq!(cache.get("a", now + FRESH), Some(Known::Old(tile(10))));
        cache.put("a", tile(20), now + FRESH);
        assert_eq!(cache.get("a", now + FRESH), Some(Known::Fresh(tile(20))));
        assert_eq!(cache.bytes(), 2 * ENTRY_BYTES + 20);
    }
}
