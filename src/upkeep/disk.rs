//! The disk guard: looks at the room that is left on the data's file system, warns while there is time, and has new
//! readings refused before none is left.
//!
//! Refused is not lost: what is not acknowledged stays with the device, exactly as when the disk itself says no. What is
//! left then is for the town's own state: alerts, cases, the audit log go on. As soon as somebody made room, readings are
//! taken again, without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};
use utoipa::ToSchema;

use super::bytes_text;
use super::size::Level;
use crate::pipeline::StoreHealth;

const MB: u64 = 1_000_000;
const GB: u64 = 1_000 * MB;

/// Without a setting, people are warned below this share of the disk, but not while there is [`WARN_MOST`] ...
const WARN_SHARE: Level = Level::Percent(10.0);
/// ... which is months of a town's readings,
const WARN_MOST: u64 = 5 * GB;
/// and on the smallest disk below this.
const WARN_LEAST: u64 = 256 * MB;
/// Without a setting, readings are refused below this share, but not while there is [`STOP_MOST`] ...
const STOP_SHARE: Level = Level::Percent(3.0);
/// ... which is room for the town's own state for years,
const STOP_MOST: u64 = GB;
/// and on the smallest disk below this: twice what the store's log may take.
const STOP_LEAST: u64 = 64 * MB;

/// A state ends when so much more than its limit is free: sealing and merging move the edge by some megabytes all the
/// time, and an alarm must not follow them.
const RELIEF_PERCENT: u64 = 110;

/// A state that lasts is told again in the log after so many looks: ten minutes of one a second.
const REMIND_LOOKS: u32 = 600;

/// When the disk is low, and when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiskConfig {
    /// Warn when less than this is free. Absent: 10 % of the disk, 256 MB at least, 5 GB at most.
    pub warn_below: Option<Level>,
    /// Take no more readings when less than this is free. Absent: 3 % of the disk, 64 MB at least, 1 GB at most.
    pub stop_below: Option<Level>,
}

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that the hub may still write.
    pub free_bytes: u64,
    /// All.
    pub total_bytes: u64,
}

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskState {
    /// There is room.
    #[default]
    Ok,
    /// Somebody should make room.
    Low,
    /// Readings are refused until somebody does.
    Full,
}

/// Both limits in bytes, of one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// Below this it is low.
    pub warn_bytes: u64,
    /// Below this it is full.
    pub stop_bytes: u64,
}

impl DiskConfig {
    /// The limits of a file system with so many bytes.
    pub fn limits(&self, total_bytes: u64) -> DiskLimits {
        let usual = |share: Level, least: u64, most: u64| share.of(total_bytes).clamp(least, most);
        let stop_bytes = match self.stop_below {
            Some(level) => level.of(total_bytes),
            None => usual(STOP_SHARE, STOP_LEAST, STOP_MOST),
        };
        let warn_bytes = match self.warn_below {
            Some(level) => level.of(total_bytes),
            None => usual(WARN_SHARE, WARN_LEAST, WARN_MOST),
        };
        // Nobody wants to be warned after the fact.
        DiskLimits { warn_bytes: warn_bytes.max(stop_bytes), stop_bytes }
    }
}

impl DiskLimits {
    fn state(&self, free_bytes: u64, former: DiskState) -> DiskState {
        let below = |limit: u64, lasts: bool| {
            let limit = if lasts { limit.saturating_mul(RELIEF_PERCENT) / 100 } else { limit };
            free_bytes < limit
        };
        if below(self.stop_bytes, former == DiskState::Full) {
            DiskState::Full
        } else if below(self.warn_bytes, former >= DiskState::Low) {
            DiskState::Low
        } else {
            DiskState::Ok
        }
    }
}

impl Space {
    /// Of the file system that holds this folder.
    ///
    /// # Errors
    /// When it does not say.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks) })
    }
}

/// Looks at a file system.
type Probe = Box<dyn Fn() -> std::io::Result<Space> + Send + Sync>;

/// Watches one file system for the store.
pub struct DiskGuard {
    folder: PathBuf,
    config: DiskConfig,
    probe: Probe,
    health: Arc<StoreHealth>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    space: Option<Space>,
    state: DiskState,
    /// Looks since the log was told.
    quiet: u32,
    is_blind: bool,
}

/// What the last look saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskView {
    /// What there is.
    pub space: Space,
    /// How that is.
    pub state: DiskState,
    /// By these limits.
    pub limits: DiskLimits,
}

impl fmt::Debug for DiskGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskGuard").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl DiskGuard {
    /// Of the file system that holds `folder`; `health` is told when readings are to be refused.
    pub fn new(folder: &Path, config: DiskConfig, health: Arc<StoreHealth>) -> Self {
        let own = folder.to_owned();
        Self::with_probe(folder, config, health, Box::new(move || Space::of(&own)))
    }

    fn with_probe(
        folder: &Path,
        config: DiskConfig,
        health: Arc<StoreHealth>,
        probe: Probe,
    ) -> Self {
        DiskGuard { folder: folder.to_owned(), config, probe, health, seen: Mutex::default() }
    }

    /// Looks, and acts on what it sees. To be called about once a second: the room between the limits is for what comes
    /// in until the next look. A file system that does not answer leaves everything as it was.
    pub fn look(&self) {
        let found = (self.probe)();
        let mut seen = self.seen();
        let space = match found {
            Ok(space) => space,
            Err(why) => {
                if !std::mem::replace(&mut seen.is_blind, true) {
                    let folder = self.folder.display();
                    warn!(error = %why, "cannot see how much room {folder} has; a full disk will be noticed late");
                }
                return;
            }
        };
        seen.is_blind = false;
        seen.space = Some(space);
        let limits = self.config.limits(space.total_bytes);
        let state = limits.state(space.free_bytes, seen.state);
        let changed = state != std::mem::replace(&mut seen.state, state);
        seen.quiet = if changed { 0 } else { seen.quiet + 1 };
        if changed || (state != DiskState::Ok && seen.quiet >= REMIND_LOOKS) {
            seen.quiet = 0;
            self.tell(state, space, limits);
        }
        drop(seen);
        self.health
            .refuse((state == DiskState::Full).then(|| full_text(&self.folder, space, limits)));
    }

    /// The hub goes down, and nobody looks any more: what was taken in is written, if the store itself finds room.
    pub fn let_go(&self) {
        self.health.refuse(None);
    }

    /// What the last look saw; `None` before the first and while the file system has never answered.
    pub fn view(&self) -> Option<DiskView> {
        let Seen { space, state, .. } = *self.seen();
        let space = space?;
        Some(DiskView { space, state, limits: self.config.limits(space.total_bytes) })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: DiskState, space: Space, limits: DiskLimits) {
        let folder = self.folder.display();
        let free = bytes_text(space.free_bytes);
        match state {
            DiskState::Ok => info!(%folder, free, "the disk has room again"),
            DiskState::Low => warn!(
                %folder, free, warn_below = bytes_text(limits.warn_bytes), stop_below = bytes_text(limits.stop_bytes),
                "the disk is getting full; make room, or readings will be refused"
            ),
            DiskState::Full => error!("{}", full_text(&self.folder, space, limits)),
        }
    }
}

fn full_text(folder: &Path, space: Space, limits: DiskLimits) -> String {
    format!(
        "the disk of {} has {} left, less than {}: no reading is taken or acknowledged until there is room; \
         devices keep theirs and send them again",
        folder.display(),
        bytes_text(space.free_bytes),
        bytes_text(limits.stop_bytes),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn limits(warn_bytes: u64, stop_bytes: u64) -> DiskLimits {
        DiskLimits { warn_bytes, stop_bytes }
    }

    #[test]
    fn the_usual_limits_suit_the_disk() {
        let usual = DiskConfig::default();
        assert_eq!(usual.limits(2_000 * GB), limits(5 * GB, GB));
        assert_eq!(usual.limits(20 * GB), limits(2 * GB, 600 * MB));
        assert_eq!(usual.limits(GB), limits(256 * MB, 64 * MB));
    }

    #[test]
    fn a_warning_does_not_come_after_the_stop() {
        let config = DiskConfig {
            warn_below: Some(Level::Percent(1.0)),
            stop_below: Some(Level::Bytes(2 * GB)),
        };
        assert_eq!(config.limits(100 * GB), limits(2 * GB, 2 * GB));
    }

    #[test]
    fn a_state_ends_only_well_above_its_limit() {
        let mut state = DiskState::Ok;
        let mut told = Vec::new();
        for free in [2_000, 999, 1_050, 1_100, 499, 520, 549, 550, 1_099, 1_100] {
            state = limits(1_000, 500).state(free, state);
            told.push(state);
        }
        use DiskState::{Full, Low, Ok};
        assert_eq!(told, [Ok, Low, Low, Ok, Full, Full, Full, Low, Low, Ok]);
    }

    #[test]
    fn a_full_disk_refuses_and_heals_and_blindness_changes_nothing() {
        let health = Arc::new(StoreHealth::default());
        let free = Arc::new(AtomicU64::new(10 * GB));
        let probed = Arc::clone(&free);
        let probe: Probe = Box::new(move || match probed.load(Ordering::SeqCst) {
            u64::MAX => Err(std::io::ErrorKind::TimedOut.into()),
            free_bytes => Ok(Space { free_bytes, total_bytes: 100 * GB }),
        });
        let folder = Path::new("/data");
        let guard =
            DiskGuard::with_probe(folder, DiskConfig::default(), Arc::clone(&health), probe);
        assert_eq!(guard.view(), None);
        let look = |bytes: u64| {
            free.store(bytes, Ordering::SeqCst);
            guard.look();
            (guard.view().expect("seen").state, health.failure())
        };
        assert_eq!(look(10 * GB), (DiskState::Ok, None));
        assert_eq!(look(4 * GB), (DiskState::Low, None));
        let (state, failure) = look(900 * MB);
        assert_eq!(state, DiskState::Full);
        let failure = failure.expect("refused");
        assert!(failure.contains("/data has 900 MB left, less than 1.0 GB"), "{failure}");
        assert_eq!(look(u64::MAX), (DiskState::Full, Some(failure)));
        assert_eq!(look(2 * GB), (DiskState::Low, None));
    }
}
