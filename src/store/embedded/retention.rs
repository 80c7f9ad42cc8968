//! Forgetting what is old.

use rusqlite::params;

use super::rolling::raw_from;
use super::rollup::DAY;
use super::run::{Run, live_runs, rolled, set_state, state};
use super::shared::{Shared, lock};
use crate::model::Timestamp;
use crate::store::{Nature, StoreError};

/// Blocks deleted in one transaction: about a megabyte.
const BLOCKS_AT_ONCE: i64 = 512;

impl Shared {
    /// Deletes sealed blocks whose readings are all older than `cutoff`; returns how many readings they had.
    ///
    /// A merge that is under way meanwhile notices that its runs have changed, and starts again.
    pub(super) fn delete_before(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        let always = Timestamp::from_micros(i64::MIN);
        // A reading that holds into the next day counts there, too.
        let concerned = cutoff.plus(Nature::MAX_HOLD);
        let Some(runs) = self.transact(|tx| {
            let runs = live_runs(tx, always, concerned)?;
            if runs.iter().any(|run| run.rolled == rolled::NOT_YET) {
                return Ok((None, 0));
            }
            // First of all: from here on, the days that lose readings are not counted again.
            let whole = cutoff.as_micros().saturating_add(Nature::MAX_HOLD.as_micros() as i64);
            let whole = whole.div_euclid(DAY).saturating_add(1).saturating_mul(DAY);
            tx.prepare_cached("UPDATE mark SET raw_from = ?1")?
                .execute([whole.max(raw_from(tx)?)])?;
            Ok((Some(runs), 0))
        })?
        else {
            return Ok(0);
        };
        let mut deleted = 0;
        for run in runs {
            deleted += if run.newest < cutoff {
                self.delete_run(&run)?
            } else {
                self.delete_blocks(&run, cutoff)?
            };
        }
        let mut status = lock(&self.status);
        status.signals += 1;
        self.work.notify_all();
        Ok(deleted)
    }

    /// The run is gone at once; the keeper clears its blocks away.
    fn delete_run(&self, run: &Run) -> Result<u64, StoreError> {
        self.transact(|tx| {
            let find = "SELECT readings FROM run WHERE id = ?1 AND state IN (1, 2)";
            let readings = tx.prepare_cached(find)?.query_row([run.id], |row| row.get(0));
            let readings: i64 = match readings {
                // Merged away in the meantime: the next call finds its readings elsewhere.
                Err(rusqlite::Error::QueryReturnedNoRows) => 0,
                readings => readings?,
            };
            if readings > 0 {
                set_state(tx, run.id, state::DEAD)?;
            }
            Ok((readings as u64, 0))
        })
    }

    fn delete_blocks(&self, run: &Run, cutoff: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let readings: i64 = self.transact(|tx| {
                let mut delete = tx.prepare_cached(
                    "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE run = ?1 AND newest < ?2 LIMIT ?3)
                     AND EXISTS (SELECT 1 FROM run WHERE id = ?1 AND state IN (1, 2))
                     RETURNING readings, length(data)",
                )?;
                let cut = params![run.id, cutoff.as_micros(), BLOCKS_AT_ONCE];
                let (mut readings, mut bytes) = (0, 0);
                let mut rows = delete.query(cut)?;
                while let Some(row) = rows.next()? {
                    readings += row.get::<_, i64>(0)?;
                    bytes += row.get::<_, i64>(1)?;
                }
                tx.prepare_cached(
                    "UPDATE run SET readings = readings - ?2, bytes = bytes - ?3 WHERE id = ?1",
                )?
                .execute([run.id, readings, bytes])?;
                Ok((readings, 0))
            })?;
            if readings == 0 {
                return Ok(deleted);
            }
            deleted += readings as u64;
        }
    }
}
