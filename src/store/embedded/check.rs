//! The proof that a readings file is whole: everything in it decodes, stands in its order, and is as much as it says.

use rusqlite::Connection;

use super::file::{ReadingsFile, Sealed};
use super::merge::{Key, key};
use super::{block, numbers, rollup, row};
use crate::model::{SeriesId, Timestamp};
use crate::store::{SeriesKey, StoreError, Tier};

/// How deep to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// SQLite's own quick look, and every checksum.
    Checksums,
    /// Also SQLite's indexes; everything decoded, in order, counted.
    Decoded,
}

/// What is wrong with a readings file, in an operator's words.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Flaw {
    #[error("SQLite finds it damaged: {0}")]
    Pages(String),
    #[error("it cannot be read on: {0}")]
    Unreadable(String),
    #[error("{0}; the hub cannot start on it")]
    Names(String),
    #[error("the list of newest readings is damaged ({0}); the hub cannot start on it")]
    Newest(&'static str),
    #[error(
        "commit {seq} of what is not sealed yet is damaged ({why}); the hub cannot start on it"
    )]
    Commit { seq: i64, why: &'static str },
    #[error("commits {first} to {last} are missing: readings that were acknowledged are gone")]
    Gap { first: i64, last: i64 },
    #[error(
        "block {block} of run {run} is damaged ({why}): {readings} readings up to {what} of {until} cannot be read, nor can \
         a graph that needs one of them"
    )]
    Block { block: i64, run: i64, why: &'static str, readings: i64, what: String, until: Timestamp },
    #[error("run {run} should have {said} readings and has {found}: some are gone")]
    Count { run: i64, said: i64, found: i64 },
    #[error("{blocks} blocks belong to no run: they only take room")]
    Strays { blocks: i64 },
    #[error(
        "the sums by {tier} of {what} are damaged ({why}): long graphs of them fail; the readings are whole"
    )]
    Sums { tier: Tier, what: String, why: &'static str },
}

impl Flaw {
    /// What the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Flaw::Strays { .. } => "nothing needs to be done",
            Flaw::Sums { .. } => {
                "restore the newest backup that checks well, or go on with the graphs of raw readings"
            }
            Flaw::Block { .. } | Flaw::Count { .. } | Flaw::Gap { .. } => {
                "check the disk, then restore the newest backup that checks well; or go on without these readings"
            }
            _ => "check the disk, then restore the newest backup that checks well",
        }
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Sealed blocks.
    pub blocks: u64,
    /// Readings in them, and readings that are not sealed yet; with [`Depth::Decoded`] only.
    pub readings: u64,
    /// Commits that are not sealed yet.
    pub commits: u64,
    /// Chunks of sums.
    pub sums: u64,
}

impl ReadingsFile<'_> {
    /// Looks at everything; `tell` hears of each flaw. Goes on behind a flaw as far as it can.
    pub fn check(&self, depth: Depth, tell: &mut dyn FnMut(Flaw)) -> Looked {
        let mut checker = Checker { file: self, depth, looked: Looked::default(), tell };
        let keys = checker.whole(|checker| {
            checker.pages()?;
            match checker.file.keys() {
                Ok(keys) => return Ok(keys),
                Err(why @ StoreError::Damaged { .. }) => {
                    (checker.tell)(Flaw::Names(why.to_string()))
                }
                Err(why) => return Err(why),
            }
            Ok(Vec::new())
        });
        let keys = keys.unwrap_or_default();
        checker.whole(|checker| checker.newest(&keys));
        checker.whole(|checker| checker.commits(&keys));
        checker.whole(|checker| checker.runs(&keys));
        checker.whole(|checker| checker.sums(&keys));
        checker.looked
    }
}

struct Checker<'a> {
    file: &'a ReadingsFile<'a>,
    depth: Depth,
    looked: Looked,
    tell: &'a mut dyn FnMut(Flaw),
}

impl Checker<'_> {
    fn conn(&self) -> &Connection {
        self.file.conn
    }

    /// A part of the work. That it cannot go on is a flaw, too.
    fn whole<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Option<T> {
        part(self).map_err(|why| (self.tell)(Flaw::Unreadable(crate::error_chain(&why)))).ok()
    }

    fn pages(&mut self) -> Result<(), StoreError> {
        let pragma = match self.depth {
            Depth::Checksums => "PRAGMA quick_check",
            Depth::Decoded => "PRAGMA integrity_check",
        };
        let mut statement = self.file.conn.prepare(pragma)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let found: String = row.get(0)?;
            if found != "ok" {
                (self.tell)(Flaw::Pages(found.replace('\n', " ")));
            }
        }
        Ok(())
    }

    fn newest(&mut self, keys: &[SeriesKey]) -> Result<(), StoreError> {
        let newest: Option<Vec<u8>> =
            self.conn().query_row("SELECT newest FROM mark", [], |row| row.get(0))?;
        let Some(newest) = newest else { return Ok(()) };
        match row::decode(&newest) {
            Ok(readings) if readings.iter().all(|m| m.series.index() < keys.len()) => {}
            Ok(_) => (self.tell)(Flaw::Newest("a series in it has no name")),
            Err(defect) => (self.tell)(Flaw::Newest(defect.0)),
        }
        Ok(())
    }

    fn commits(&mut self, keys: &[SeriesKey]) -> Result<(), StoreError> {
        let mut last: i64 =
            self.conn().query_row("SELECT sealed_through FROM mark", [], |row| row.get(0))?;
        let mut statement =
            self.file.conn.prepare("SELECT seq, data FROM hot WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            if seq != last + 1 {
                (self.tell)(Flaw::Gap { first: last + 1, last: seq - 1 });
            }
            last = seq;
            self.looked.commits += 1;
            let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            match row::decode(data) {
                Ok(readings) if readings.iter().all(|m| m.series.index() < keys.len()) => {
                    self.looked.readings += readings.len() as u64;
                }
                Ok(_) => (self.tell)(Flaw::Commit { seq, why: "a series in it has no name" }),
                Err(defect) => (self.tell)(Flaw::Commit { seq, why: defect.0 }),
            }
        }
        Ok(())
    }

    fn runs(&mut self, keys: &[SeriesKey]) -> Result<(), StoreError> {
        for run in self.file.runs()? {
            // One run that SQLite cannot read on does not hide the others.
            self.whole(|checker| checker.run(&run, keys));
        }
        let strays = "SELECT count(*) FROM block WHERE run NOT IN (SELECT id FROM run)";
        let blocks: i64 = self.conn().query_row(strays, [], |row| row.get(0))?;
        if blocks > 0 {
            (self.tell)(Flaw::Strays { blocks });
        }
        Ok(())
    }

    fn run(&mut self, run: &Sealed, keys: &[SeriesKey]) -> Result<(), StoreError> {
        let mut statement = self.file.conn.prepare_cached(
            "SELECT id, last_series, last_time, readings, data FROM block WHERE run = ?1
             ORDER BY last_series, last_time",
        )?;
        let mut rows = statement.query([run.id])?;
        let mut former: Option<Key> = None;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            let (block, readings): (i64, i64) = (row.get(0)?, row.get(3)?);
            let last: Key = (SeriesId(row.get(1)?), Timestamp::from_micros(row.get(2)?));
            let data = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
            found += readings;
            self.looked.blocks += 1;
            let outcome = match self.depth {
                Depth::Checksums => numbers::verified(data).map(|_| ()),
                Depth::Decoded => self.decoded(data, run, readings, former, last, keys),
            };
            if let Err(numbers::Defect(why)) = outcome {
                let what = keys.get(last.0.index()).map_or_else(
                    || format!("series {}", last.0.0),
                    |key| format!("{}/{}", key.device, key.metric),
                );
                (self.tell)(Flaw::Block { block, run: run.id, why, readings, what, until: last.1 });
            }
            former = Some(last);
        }
        if found != run.readings {
            (self.tell)(Flaw::Count { run: run.id, said: run.readings, found });
        }
        Ok(())
    }

    fn decoded(
        &mut self,
        data: &[u8],
        run: &Sealed,
        said: i64,
        former: Option<Key>,
        last: Key,
        keys: &[SeriesKey],
    ) -> Result<(), numbers::Defect> {
        let readings = block::decode(data, None)?;
        self.looked.readings += readings.len() as u64;
        let wrong = |why| Err(numbers::Defect(why));
        if readings.len() as i64 != said {
            return wrong("it has another number of readings than it says");
        }
        if !readings.is_sorted_by(|a, b| key(a) < key(b)) {
            return wrong("its readings are out of order");
        }
        let first = readings.first().map(key);
        if first.is_some_and(|first| former.is_some_and(|former| first <= former)) {
            return wrong("it overlaps the block before it");
        }
        if readings.last().map(key) != Some(last) {
            return wrong("it ends elsewhere than its entry says");
        }
        if readings.iter().any(|m| m.series.index() >= keys.len()) {
            return wrong("a series in it has no name");
        }
        let within = |at: Timestamp| run.oldest <= at && at <= run.newest;
        if !readings.iter().all(|m| within(m.observed_at)) {
            return wrong("a reading in it is from outside the time of its run");
        }
        Ok(())
    }

    fn sums(&mut self, keys: &[SeriesKey]) -> Result<(), StoreError> {
        let mut statement = self.file.conn.prepare("SELECT series, tier, data FROM rollup")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (series, tier): (u32, i64) = (row.get(0)?, row.get(1)?);
            let data = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            self.looked.sums += 1;
            let Some(tier) = Tier::ALL.into_iter().find(|known| *known as i64 == tier) else {
                (self.tell)(Flaw::Unreadable(format!("there are sums of an unknown tier {tier}")));
                continue;
            };
            let outcome = match self.depth {
                Depth::Checksums => numbers::verified(data).map(|_| ()),
                Depth::Decoded => rollup::decode(data, tier).map(|_| ()),
            };
            if let Err(numbers::Defect(why)) = outcome {
                let what = keys.get(SeriesId(series).index()).map_or_else(
                    || format!("series {series}"),
                    |key| format!("{}/{}", key.device, key.metric),
                );
                (self.tell)(Flaw::Sums { tier, what, why });
            }
        }
        Ok(())
    }
}
