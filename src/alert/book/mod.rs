//! The rule book: which rules are in force, for whom, when.
//!
//! Profiles say what is watched of a device model. The town says the rest, on pages: a [`Schedule`] has a name; an
//! [`Override`] changes fields of profile rules in its scope; an [`Own`] rule is the town's. Takes changes of pages, with
//! who and why; hands on the rules in force ([`Book::rules`]) and where each field of them comes from
//! ([`Book::effective`]). Never judges a reading, and never knows who may change what.
//!
//! # Which override wins
//! Field by field the most specific one: device, then zone and kind, then zone, then kind, then the town; within one
//! scope the one whose selector names more (rule, metric, profile), then the later id. What comes out is checked like a
//! profile's alert. A page is refused when it would spoil a rule that there is; when a profile changes under a page later,
//! the rule runs as its profile says, and the page's problem is shown.
//!
//! # Time
//! A rule out of its schedule is not in force: it is not handed to the engine, and what stood of it is cleared. The book
//! says when the next schedule begins or ends, so nobody has to look at all rules again and again. A schedule that is
//! named but not there limits nothing: a rule that watches too much is noticed, one that never watches is not.
//!
//! # Disk
//! Each change is written with its entry in `rule_change` and in the audit log in one transaction, then taken up. Pages
//! carry a version; a change names the one that it was made on.

mod effective;
mod own;
mod patch;
mod schedule;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rusqlite::{Connection, TransactionBehavior};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::calendar::DutyCalendar;
use crate::model::Timestamp;

pub use effective::{Effective, InForce, Origin, Subject};
pub use own::{Input, Own};
pub use patch::{Override, Patch, RungPatch, Scope, Selector};
pub use schedule::{Days, Schedule, ScheduleError, ScheduleSpec};
pub use tables::{ChangeQuery, MAX_CHANGES, RuleChange, changes};

/// The most pages of one kind: ten overrides for each of a town's thousand places.
const MAX_PAGES: usize = 10_000;

/// The longest id of a page in characters.
const MAX_ID: usize = 64;

/// The name that a rule's schedule must not have: it says "no schedule" in an override.
pub const ALWAYS: &str = "always";

/// Who changes the book, when and why.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Login name.
    pub who: &'a str,
    /// By the hub's clock.
    pub at: Timestamp,
    /// For those who read the history.
    pub why: &'a str,
}

/// A page with its version.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    /// Its id: chosen by whoever made it.
    pub id: String,
    /// Grows with every change.
    pub version: u32,
    /// What it says.
    #[serde(flatten)]
    pub body: T,
    /// Who changed it last.
    pub changed_by: String,
    /// When.
    pub changed_at: Timestamp,
}

/// Why the book cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BookError {
    #[error("the rule book's tables failed")]
    Database(#[from] rusqlite::Error),
    #[error("the rule book is damaged: {what} `{id}`: {why}")]
    Damaged { what: String, id: String, why: String },
    #[error("there is no {what} `{id}`")]
    NotFound { what: &'static str, id: String },
    #[error(
        "`{id}` is no id; use 1 to 64 lower case letters, digits and - _, and not `{}`",
        ALWAYS
    )]
    BadId { id: String },
    #[error("{what} `{id}` is at version {current}, not {given}: read it again")]
    VersionConflict { what: &'static str, id: String, current: u32, given: u32 },
    #[error("{what} `{id}` is refused: {}", errors.join("; "))]
    Invalid { what: &'static str, id: String, errors: Vec<String> },
    #[error("schedule `{id}` is used by {}; change them first", users.join(", "))]
    InUse { id: String, users: Vec<String> },
    #[error("the book has {MAX_PAGES} pages of this kind already; delete some first")]
    Full,
}

/// What a page may be.
pub trait Leaf: Serialize + DeserializeOwned + Clone + PartialEq + 'static {
    /// schedule, override or own.
    const WHAT: &'static str;
    /// The pages of this kind.
    fn of(pages: &Pages) -> &BTreeMap<String, Page<Self>>;
    /// The same, to change.
    fn of_mut(pages: &mut Pages) -> &mut BTreeMap<String, Page<Self>>;
}

/// A schedule's page: what people wrote, and what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScheduleSpec", into = "ScheduleSpec")]
pub struct Timetable {
    /// As it was written.
    pub spec: ScheduleSpec,
    schedule: Schedule,
}

/// All pages at one moment.
#[derive(Debug, Clone, Default)]
pub struct Pages {
    schedules: BTreeMap<String, Page<Timetable>>,
    overrides: BTreeMap<String, Page<Override>>,
    own: BTreeMap<String, Page<Own>>,
}

/// The book's handle: cheap to clone. Changes block; reading never does.
#[derive(Debug, Clone)]
pub struct Book(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Mutex<Connection>,
    pages: ArcSwap<Pages>,
    calendar: DutyCalendar,
}

impl TryFrom<ScheduleSpec> for Timetable {
    type Error = ScheduleError;

    fn try_from(spec: ScheduleSpec) -> Result<Self, ScheduleError> {
        Ok(Timetable { schedule: spec.check()?, spec })
    }
}

impl From<Timetable> for ScheduleSpec {
    fn from(timetable: Timetable) -> ScheduleSpec {
        timetable.spec
    }
}

impl Timetable {
    /// What it means.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

impl Leaf for Timetable {
    const WHAT: &'static str = "schedule";
    fn of(pages: &Pages) -> &BTreeMap<String, Page<Self>> {
        &pages.schedules
    }
    fn of_mut(pages: &mut Pages) -> &mut BTreeMap<String, Page<Self>> {
        &mut pages.schedules
    }
}

impl Leaf for Override {
    const WHAT: &'static str = "override";
    fn of(pages: &Pages) -> &BTreeMap<String, Page<Self>> {
        &pages.overrides
    }
    fn of_mut(pages: &mut Pages) -> &mut BTreeMap<String, Page<Self>> {
        &mut pages.overrides
    }
}

impl Leaf for Own {
    const WHAT: &'static str = "own";
    fn of(pages: &Pages) -> &BTreeMap<String, Page<Self>> {
        &pages.own
    }
    fn of_mut(pages: &mut Pages) -> &mut BTreeMap<String, Page<Self>> {
        &mut pages.own
    }
}

impl Pages {
    /// The pages of one kind, by id.
    pub fn all<T: Leaf>(&self) -> impl Iterator<Item = &Page<T>> {
        T::of(self).values()
    }

    /// The page of this id.
    pub fn get<T: Leaf>(&self, id: &str) -> Option<&Page<T>> {
        T::of(self).get(id)
    }

    /// Whether a schedule is in force at this time; one that is not there always is.
    fn holds(&self, schedule: Option<&str>, at: Timestamp, calendar: &DutyCalendar) -> bool {
        let known = schedule.and_then(|name| self.schedules.get(name));
        known.is_none_or(|page| page.body.schedule.holds(at, calendar))
    }

    /// The pages that name a schedule, as people are told.
    fn users_of(&self, schedule: &str) -> Vec<String> {
        let overrides = self.overrides.values().filter(|page| page.body.names(schedule));
        let own = self.own.values().filter(|page| page.body.names(schedule));
        overrides
            .map(|page| format!("override {}", page.id))
            .chain(own.map(|page| format!("own rule {}", page.id)))
            .collect()
    }

    fn take(&mut self, stored: tables::Stored) -> Result<(), BookError> {
        match stored.what.as_str() {
            Timetable::WHAT => self.take_leaf::<Timetable>(stored),
            Override::WHAT => self.take_leaf::<Override>(stored),
            _ => self.take_leaf::<Own>(stored),
        }
    }

    fn take_leaf<T: Leaf>(&mut self, stored: tables::Stored) -> Result<(), BookError> {
        let tables::Stored { what, id, version, body, changed_by, changed_at } = stored;
        let body = serde_json::from_str::<T>(&body).map_err(|why| BookError::Damaged {
            what,
            id: id.clone(),
            why: why.to_string(),
        })?;
        T::of_mut(self).insert(id.clone(), Page { id, version, body, changed_by, changed_at });
        Ok(())
    }
}

impl Book {
    /// Takes up the pages from the tables in `db` (made by the registry's migrations). `calendar` knows the holidays and
    /// the town's wall time.
    ///
    /// # Errors
    /// When the tables cannot be read, or hold what no version writes.
    pub fn open(db: Connection, calendar: DutyCalendar) -> Result<Self, BookError> {
        let mut pages = Pages::default();
        for stored in tables::load(&db)? {
            pages.take(stored)?;
        }
        let pages = ArcSwap::from_pointee(pages);
        Ok(Book(Arc::new(Inner { db: Mutex::new(db), pages, calendar })))
    }

    /// All pages now.
    pub fn pages(&self) -> Arc<Pages> {
        self.0.pages.load_full()
    }

    /// When a schedule next begins or ends; `None` when that is not within two years.
    pub fn next_change_of(&self, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
        schedule.next_change(now, &self.0.calendar)
    }

    /// Whether a schedule is in force.
    pub fn is_in_force(&self, schedule: &Schedule, now: Timestamp) -> bool {
        schedule.holds(now, &self.0.calendar)
    }

    /// Makes a page (`given` is 0) or changes the one of this version. `subjects` are the town's devices, which the page
    /// is tried on. Blocks; the page is on disk when this returns, and in force once the judge has been told.
    ///
    /// # Errors
    /// When the id is none, the version is not the present one, or the page would spoil a rule; nothing has changed then.
    pub fn put<'s, T: Leaf + Tried>(
        &self,
        id: &str,
        given: u32,
        body: T,
        subjects: impl Iterator<Item = Subject<'s>>,
        change: &Change<'_>,
    ) -> Result<Page<T>, BookError> {
        if !is_id(id) {
            return Err(BookError::BadId { id: id.to_owned() });
        }
        let mut db = self.0.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pages = Pages::clone(&self.0.pages.load());
        let known = T::of(&pages).get(id).map_or(0, |page| page.version);
        if known != given {
            return Err(conflict::<T>(id, known, given));
        }
        if known == 0 && T::of(&pages).len() >= MAX_PAGES {
            return Err(BookError::Full);
        }
        let (changed_by, changed_at) = (change.who.to_owned(), change.at);
        let page = Page { id: id.to_owned(), version: known + 1, body, changed_by, changed_at };
        T::of_mut(&mut pages).insert(id.to_owned(), page.clone());
        let mut errors = T::errors(&pages, &page, subjects);
        if !errors.is_empty() {
            errors.truncate(MAX_ERRORS);
            return Err(BookError::Invalid { what: T::WHAT, id: id.to_owned(), errors });
        }
        let text = serde_json::to_string(&page.body).map_err(|why| BookError::Damaged {
            what: T::WHAT.to_owned(),
            id: id.to_owned(),
            why: why.to_string(),
        })?;
        self.write::<T>(&mut db, id, page.version, Some(&text), change)?;
        self.0.pages.store(Arc::new(pages));
        Ok(page)
    }

    /// Takes a page out.
    ///
    /// # Errors
    /// When there is none, it is not at this version, or it is a schedule that other pages name.
    pub fn delete<T: Leaf + Tried>(
        &self,
        id: &str,
        given: u32,
        change: &Change<'_>,
    ) -> Result<(), BookError> {
        let mut db = self.0.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pages = Pages::clone(&self.0.pages.load());
        let Some(page) = T::of_mut(&mut pages).remove(id) else {
            return Err(BookError::NotFound { what: T::WHAT, id: id.to_owned() });
        };
        if page.version != given {
            return Err(conflict::<T>(id, page.version, given));
        }
        let users = T::users(&pages, id);
        if !users.is_empty() {
            return Err(BookError::InUse { id: id.to_owned(), users });
        }
        self.write::<T>(&mut db, id, page.version + 1, None, change)?;
        self.0.pages.store(Arc::new(pages));
        Ok(())
    }

    fn write<T: Leaf>(
        &self,
        db: &mut Connection,
        id: &str,
        version: u32,
        body: Option<&str>,
        change: &Change<'_>,
    ) -> Result<(), BookError> {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables::write(&tx, T::WHAT, id, version, body, change)?;
        Ok(tx.commit()?)
    }
}

/// The most errors that one refusal tells.
const MAX_ERRORS: usize = 20;

/// How a page is tried before it is taken.
pub trait Tried: Leaf {
    /// What is wrong with `page`, which stands among `pages`; empty when nothing is.
    fn errors<'s>(
        pages: &Pages,
        page: &Page<Self>,
        subjects: impl Iterator<Item = Subject<'s>>,
    ) -> Vec<String>;

    /// The pages that could not do without the page of this id.
    fn users(_: &Pages, _: &str) -> Vec<String> {
        Vec::new()
    }
}

impl Tried for Timetable {
    fn errors<'s>(_: &Pages, _: &Page<Self>, _: impl Iterator<Item = Subject<'s>>) -> Vec<String> {
        // A timetable that exists was checked when it was made.
        Vec::new()
    }

    fn users(pages: &Pages, id: &str) -> Vec<String> {
        pages.users_of(id)
    }
}

fn conflict<T: Leaf>(id: &str, current: u32, given: u32) -> BookError {
    BookError::VersionConflict { what: T::WHAT, id: id.to_owned(), current, given }
}

fn is_id(text: &str) -> bool {
    let is_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    !text.is_empty() && text.len() <= MAX_ID && text.chars().all(is_char) && text != ALWAYS
}
