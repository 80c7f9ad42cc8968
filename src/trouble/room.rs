//! The one owner: the watch, its record on disk, and the list that everybody reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use rusqlite::{Connection, TransactionBehavior};
use tracing::{error, info, warn};

use super::tables;
use super::watch::{Change, Holds, Watch, What};
use super::{Look, Trouble, TroubleError};
use crate::model::{Severity, Timestamp};

/// Steps that wait for a disk that takes nothing: a day of a line that flaps. Beyond it the oldest go, and only the log
/// lacks them: the open troubles are in memory, and each step brings its whole trouble.
const UNWRITTEN: usize = 1_000;

/// The troubles that are open now, the worst first. Cheap to clone and to read.
#[derive(Debug, Clone, Default)]
pub struct Troubles {
    open: Arc<ArcSwap<Vec<Trouble>>>,
    is_unwritten: Arc<AtomicBool>,
}

impl Troubles {
    /// Those that are open now.
    pub fn open(&self) -> Arc<Vec<Trouble>> {
        self.open.load_full()
    }

    /// Whether the disk did not take the last steps yet: who follows the log on disk does not know of them.
    pub fn is_unwritten(&self) -> bool {
        self.is_unwritten.load(Ordering::Relaxed)
    }
}

/// The owner of troubles. Whoever has it calls [`Room::look`] about once a second.
#[derive(Debug)]
pub struct Room {
    watch: Watch,
    db: Connection,
    shown: Troubles,
    unwritten: VecDeque<Change>,
    /// That the disk refuses was logged: said once.
    is_failing: bool,
}

impl Room {
    /// Takes up what the last run left, from the tables in `db` (made by the registry's migrations).
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn open(db: Connection, holds: Holds) -> Result<Self, TroubleError> {
        let (open, next) = tables::take_up(&db)?;
        let watch = Watch::new(holds, open, next);
        let shown = Troubles::default();
        shown.open.store(Arc::new(watch.open()));
        Ok(Room { watch, db, shown, unwritten: VecDeque::new(), is_failing: false })
    }

    /// What is open, for the faces.
    pub fn shown(&self) -> Troubles {
        self.shown.clone()
    }

    /// Takes what was found, writes down what that changes, shows it, and returns it to be announced. What the disk does
    /// not take is announced all the same, since the disk may be the trouble; it is written with a later look. Blocks for
    /// the moment of a commit when there is something to write.
    pub fn look(&mut self, look: &Look, now: Timestamp) -> Vec<Change> {
        let changes = self.watch.look(look, now);
        for change in &changes {
            log(change);
        }
        self.unwritten.extend(changes.iter().cloned());
        let beyond = self.unwritten.len().saturating_sub(UNWRITTEN);
        self.unwritten.drain(..beyond);
        let open = self.watch.open();
        self.write();
        if **self.shown.open.load() != open {
            self.shown.open.store(Arc::new(open));
        }
        self.shown.is_unwritten.store(!self.unwritten.is_empty(), Ordering::Relaxed);
        changes
    }

    fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        match self.try_write() {
            Ok(()) => {
                self.unwritten.clear();
                self.is_failing = false;
            }
            Err(why) if !std::mem::replace(&mut self.is_failing, true) => {
                error!(
                    error = %crate::error_chain(&why),
                    "the hub's troubles cannot be written down; they are kept in memory and tried again"
                );
            }
            Err(_) => {}
        }
    }

    fn try_write(&mut self) -> Result<(), TroubleError> {
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables::write(&tx, self.unwritten.make_contiguous())?;
        Ok(tx.commit()?)
    }
}

fn log(Change { what, trouble }: &Change) {
    let (code, subject, why) = (trouble.code.as_str(), &trouble.subject, &trouble.text.en);
    match what {
        What::Ended => info!(code, subject, "a trouble is over: {why}"),
        What::Changed => {}
        What::Raised | What::Worse if trouble.severity == Severity::Critical => {
            error!(code, subject, "the hub is in trouble: {why}");
        }
        What::Raised | What::Worse => warn!(code, subject, "the hub is in trouble: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::registry::Registry;
    use crate::trouble::sample::{HOLDS, at, broker};
    use crate::trouble::{TroubleQuery, list};

    fn events(db: &Connection) -> Vec<(i64, String)> {
        let mut rows = db.prepare("SELECT trouble, what FROM trouble_event ORDER BY seq").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_restart_neither_forgets_since_when_nor_writes_twice() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("town.db"), Clock::system()).unwrap();
        let db = registry.connect().unwrap();
        let mut room = Room::open(registry.connect().unwrap(), HOLDS).unwrap();
        room.look(&broker("refused"), at(0));
        assert!(room.shown().open().is_empty());
        room.look(&broker("refused"), at(30));
        room.look(&broker("timeout"), at(31));
        let before = room.shown().open();
        drop(room);
        let mut room = Room::open(registry.connect().unwrap(), HOLDS).unwrap();
        assert_eq!(room.shown().open(), before);
        assert!(before[0].remedy.en.ends_with("timeout"), "{before:?}");
        assert_eq!(room.look(&broker("timeout"), at(100)), []);
        assert_eq!(events(&db), [(1, "raised".to_owned())]);
        room.look(&Look::default(), at(200));
        room.look(&Look::default(), at(230));
        assert_eq!(events(&db), [(1, "raised".to_owned()), (1, "ended".to_owned())]);
        let over = list(&db, &TroubleQuery { before: None, limit: 10 }).unwrap();
        assert_eq!((over[0].since, over[0].ended_at), (at(0), Some(at(200))));
        room.look(&broker("refused"), at(300));
        room.look(&broker("refused"), at(330));
        assert_eq!(room.shown().open()[0].id.0, 2);
    }

    #[test]
    fn what_cannot_be_written_is_shown_and_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(&folder.path().join("town.db"), Clock::system()).unwrap();
        let db = registry.connect().unwrap();
        let mut room = Room::open(registry.connect().unwrap(), HOLDS).unwrap();
        room.look(&broker("refused"), at(0));
        // As a disk without room: no page can be added.
        room.db.pragma_update(None, "query_only", true).unwrap();
        let changes = room.look(&broker("refused"), at(30));
        assert_eq!((changes.len(), changes[0].what), (1, What::Raised));
        assert_eq!((room.shown().open().len(), events(&db)), (1, Vec::new()));
        assert!(room.shown().is_unwritten());
        room.look(&Look::default(), at(40));
        assert_eq!(room.look(&Look::default(), at(70)).len(), 1, "its end is announced too");
        room.db.pragma_update(None, "query_only", false).unwrap();
        room.look(&Look::default(), at(71));
        assert_eq!(events(&db), [(1, "raised".to_owned()), (1, "ended".to_owned())]);
        assert!(!room.shown().is_unwritten());
    }
}
