//! The one owner of every open case: follows the alerts' log, makes people's moves, and looks at deadlines.
//!
//! Every change is first drafted on copies, then written in one transaction, then taken up: when the disk says no, the
//! registrar is as before and the caller hears it.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, TransactionBehavior};

use super::machine::{Facts, Lacking, Move, Stage};
use super::record::{Case, CaseEvent, Happened, Subject};
use super::tables::{self, AlertNews, Changes, Progress};
use super::unit::Unit;
use super::{CaseError, CaseId, Evidence, Settings, UnitId};
use crate::alert::{self, Alert, AlertId};
use crate::audit::{self, Entry};
use crate::model::{AssetKind, Right, Role, Timestamp, ZoneId};

/// Entries of the alerts' log in one transaction.
const PAGE: usize = 500;

/// Who moves a case.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Login name.
    pub name: String,
    /// What they are in the town.
    pub role: Role,
    /// The zones that they are limited to; `None` is the whole town.
    pub zones: Option<Vec<ZoneId>>,
}

/// What a person adds to a move.
#[derive(Debug, Clone, Default)]
pub struct Remarks {
    /// A note for the others.
    pub note: Option<String>,
    /// Stored photos, by name.
    pub photos: Vec<String>,
}

/// Where an alert's asset stands, and what it is: asked of the town.
pub type Places<'a> = &'a dyn Fn(&Alert) -> (Option<ZoneId>, Option<AssetKind>);

/// The owner of every open case.
#[derive(Debug)]
pub struct Registrar {
    db: Connection,
    settings: Settings,
    open: BTreeMap<CaseId, Case>,
    by_root: HashMap<String, CaseId>,
    units: BTreeMap<UnitId, Unit>,
    next: CaseId,
    alert_seq: i64,
}

/// Changes that are not yet written.
struct Draft<'r> {
    registrar: &'r Registrar,
    cases: BTreeMap<CaseId, Case>,
    by_root: HashMap<String, CaseId>,
    events: Vec<CaseEvent>,
    next: CaseId,
}

/// What a transaction made, ready to be taken up.
struct Made {
    cases: BTreeMap<CaseId, Case>,
    events: Vec<CaseEvent>,
    progress: Progress,
}

impl Registrar {
    /// Takes up the open cases from the tables in `db` (made by the registry's migrations).
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn open(db: Connection, settings: Settings) -> Result<Self, CaseError> {
        let Progress { alert_seq, next } = tables::progress(&db)?;
        let open: BTreeMap<_, _> =
            tables::open_cases(&db)?.into_iter().map(|case| (case.id, case)).collect();
        let by_root = open.values().map(|case| (case.root(), case.id)).collect();
        let units = tables::units(&db)?.into_iter().map(|unit| (unit.id.clone(), unit)).collect();
        Ok(Registrar { db, settings, open, by_root, units, next, alert_seq })
    }

    /// The open cases, oldest first.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.open.values()
    }

    /// The units, by id.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    /// Follows the alerts' log to its end: opens cases and attaches followers. Returns the cases that changed.
    ///
    /// # Errors
    /// When SQLite fails; what was followed before that is kept, the rest comes with the next call.
    pub fn follow(&mut self, now: Timestamp, places: Places<'_>) -> Result<Vec<Case>, CaseError> {
        let mut changed = BTreeMap::new();
        loop {
            let news = tables::alert_news(&self.db, self.alert_seq, PAGE)?;
            let Some(last) = news.last().map(|entry| entry.seq) else { break };
            let mut draft = Draft::new(self);
            for entry in &news {
                draft.on_alert(entry, now, places)?;
            }
            let made = draft.finish(last);
            changed.extend(self.write(made)?);
        }
        Ok(changed.into_values().collect())
    }

    /// Opens a case by hand.
    ///
    /// # Errors
    /// When the actor may not, a case for the same asset is open already, or SQLite fails.
    pub fn register(
        &mut self,
        subject: Subject,
        severity: crate::model::Severity,
        actor: &Actor,
        note: Option<String>,
        now: Timestamp,
    ) -> Result<Case, CaseError> {
        actor.check(Right::Acknowledge, subject.zone.as_ref(), "open")?;
        let mut draft = Draft::new(self);
        let opened = Happened::Opened { subject, severity, root: None, reopens: None };
        let id = draft.open(opened, now, Some(actor), note)?;
        let made = draft.finish(self.alert_seq);
        self.write_one(made, id)
    }

    /// Makes a person's move.
    ///
    /// # Errors
    /// When there is no such case (in the actor's zones), the version is not the present one, the move is refused, or
    /// SQLite fails. Nothing has changed then.
    #[allow(clippy::too_many_arguments, reason = "one move, all that it depends on")]
    pub fn make(
        &mut self,
        id: CaseId,
        version: u32,
        wanted: &Move,
        remarks: Remarks,
        actor: &Actor,
        evidence: &dyn Evidence,
        now: Timestamp,
    ) -> Result<Case, CaseError> {
        let case = self.find(id, actor)?;
        if case.version != version {
            return Err(CaseError::VersionConflict { id, current: case.version, given: version });
        }
        if let Move::Dispatch { unit, person } = wanted {
            self.check_unit(unit, person.as_deref())?;
        }
        let units: Vec<UnitId> = self.units_of(&actor.name);
        let lacking = self.lacking(&case, evidence, now)?;
        let may = |right| actor.may(right, case.subject.zone.as_ref());
        let facts = Facts { actor: &actor.name, may: &may, units: &units, lacking: &lacking };
        let next = case.stage.after(wanted, &facts)?;
        let happened = self.happened(&case, wanted, next, &remarks, now);
        let mut draft = Draft::new(self);
        draft.push(case, happened, now, Some(actor), remarks.note);
        let made = draft.finish(self.alert_seq);
        self.write_one(made, id)
    }

    /// What the actor may do with a case now, and what its sensors still lack.
    ///
    /// # Errors
    /// When there is no such case (in the actor's zones), or SQLite fails.
    pub fn outlook(
        &self,
        id: CaseId,
        actor: &Actor,
        evidence: &dyn Evidence,
        now: Timestamp,
    ) -> Result<(Case, Vec<super::MoveKind>, Vec<Lacking>), CaseError> {
        let case = self.find(id, actor)?;
        let units = self.units_of(&actor.name);
        let lacking = self.lacking(&case, evidence, now)?;
        let may = |right| actor.may(right, case.subject.zone.as_ref());
        let facts = Facts { actor: &actor.name, may: &may, units: &units, lacking: &lacking };
        let allowed = case.stage.allowed(&facts);
        Ok((case, allowed, lacking))
    }

    /// Goes on with a closed case as a new one that is linked to it.
    ///
    /// # Errors
    /// When it is not closed, the actor may not, a case of the same root is open, or SQLite fails.
    pub fn reopen(
        &mut self,
        id: CaseId,
        reason: String,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Case, CaseError> {
        let closed = self.find(id, actor)?;
        if !closed.stage.is_closed() || closed.reopened_as.is_some() {
            return Err(CaseError::NotClosed(id));
        }
        actor.check(Right::Acknowledge, closed.subject.zone.as_ref(), "reopen")?;
        let mut draft = Draft::new(self);
        let opened = Happened::Opened {
            subject: closed.subject.clone(),
            severity: closed.severity,
            root: None,
            reopens: Some(id),
        };
        let by = draft.open(opened, now, Some(actor), Some(reason))?;
        draft.push(closed, Happened::Reopened { by }, now, Some(actor), None);
        let made = draft.finish(self.alert_seq);
        self.write_one(made, by)
    }

    /// Attaches an alert to an open case by hand: it is of the same root, though of another asset.
    ///
    /// # Errors
    /// When there is no such case or alert, the actor may not, or SQLite fails.
    pub fn attach(
        &mut self,
        id: CaseId,
        alert: AlertId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Case, CaseError> {
        let case = self.find(id, actor)?;
        actor.check(Right::Acknowledge, case.subject.zone.as_ref(), "attach")?;
        let found = alert::find(&self.db, alert)?.ok_or(CaseError::NoAlert(alert))?;
        if case.stage.is_closed() {
            return Err(CaseError::NotOpen(id));
        }
        let attached = Happened::Attached { alert, severity: found.severity };
        let mut draft = Draft::new(self);
        draft.push(case, attached, now, Some(actor), None);
        let made = draft.finish(self.alert_seq);
        self.write_one(made, id)
    }

    /// Keeps a photo for a case that the actor handles; a move then names it.
    ///
    /// # Errors
    /// When there is no such case, the actor may not, the photo is not taken, or SQLite fails.
    pub fn put_photo(
        &mut self,
        id: CaseId,
        bytes: &[u8],
        actor: &Actor,
        now: Timestamp,
    ) -> Result<String, CaseError> {
        let case = self.find(id, actor)?;
        actor.check(Right::Handle, case.subject.zone.as_ref(), "photo")?;
        if case.stage.is_closed() {
            return Err(CaseError::NotOpen(id));
        }
        super::photo::put(&mut self.db, id, &actor.name, bytes, now)
    }

    /// Looks at every deadline: what has passed is overdue, what stays overdue is escalated. Returns what changed.
    ///
    /// # Errors
    /// When SQLite fails; the next call tries again.
    pub fn tick(&mut self, now: Timestamp) -> Result<Vec<Case>, CaseError> {
        let mut draft = Draft::new(self);
        for case in self.open.values() {
            draft.look_at_deadline(case, now);
        }
        if draft.events.is_empty() {
            return Ok(Vec::new());
        }
        let made = draft.finish(self.alert_seq);
        Ok(self.write(made)?.into_values().collect())
    }

    /// Makes or replaces a unit.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_unit(
        &mut self,
        mut unit: Unit,
        by: &str,
        now: Timestamp,
    ) -> Result<Unit, CaseError> {
        unit.version = self.units.get(&unit.id).map_or(1, |known| known.version + 1);
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tables::put_unit(&tx, &unit)?;
        let detail = serde_json::to_value(&unit).unwrap_or_default();
        let entry =
            Entry { at: now, actor: by, action: "unit.put", subject: unit.id.as_str(), detail };
        audit::append(&tx, &entry)?;
        tx.commit()?;
        self.units.insert(unit.id.clone(), unit.clone());
        Ok(unit)
    }

    /// The case, open or not, when the actor may see it.
    fn find(&self, id: CaseId, actor: &Actor) -> Result<Case, CaseError> {
        let case = match self.open.get(&id) {
            Some(case) => Some(case.clone()),
            None => tables::case(&self.db, id)?,
        };
        case.filter(|case| actor.sees(case.subject.zone.as_ref())).ok_or(CaseError::NotFound(id))
    }

    fn check_unit(&self, unit: &UnitId, person: Option<&str>) -> Result<(), CaseError> {
        let known = self.units.get(unit).ok_or_else(|| CaseError::NoUnit(unit.to_string()))?;
        match person {
            Some(person) if !known.members.iter().any(|member| member == person) => {
                Err(CaseError::NotOfUnit {
                    person: person.to_owned(),
                    unit: unit.clone(),
                    members: known.members.join(", "),
                })
            }
            _ => Ok(()),
        }
    }

    fn units_of(&self, person: &str) -> Vec<UnitId> {
        let is_member = |unit: &&Unit| unit.members.iter().any(|member| member == person);
        self.units.values().filter(is_member).map(|unit| unit.id.clone()).collect()
    }

    fn lacking(
        &self,
        case: &Case,
        evidence: &dyn Evidence,
        now: Timestamp,
    ) -> Result<Vec<Lacking>, CaseError> {
        let mut lacking = Vec::new();
        for &id in &case.alerts {
            let Some(alert) = alert::find(&self.db, id)? else { continue };
            let what = evidence.lacking(&alert, self.settings.hold, now);
            lacking.extend(what.map(|what| Lacking { alert: id, what }));
        }
        Ok(lacking)
    }

    /// The event that a move makes; `next` is the stage that the guard allowed.
    fn happened(
        &self,
        case: &Case,
        wanted: &Move,
        next: Stage,
        remarks: &Remarks,
        now: Timestamp,
    ) -> Happened {
        match wanted {
            Move::Dispatch { unit, person } => Happened::Dispatched {
                unit: unit.clone(),
                person: person.clone(),
                deadlines: case.deadlines_from(
                    now,
                    &self.settings.promises,
                    &self.settings.calendar,
                ),
            },
            Move::Accept => Happened::Accepted,
            Move::Return { reason } | Move::Recall { reason } => {
                Happened::Returned { reason: reason.trim().to_owned() }
            }
            Move::Handle => Happened::Handled { photos: remarks.photos.clone() },
            Move::Report => Happened::Reported,
            Move::Verify => Happened::Verified,
            Move::Reject { reason } => Happened::Rejected { reason: reason.trim().to_owned() },
            Move::Close { .. } => match next {
                Stage::Closed { proof } => Happened::Closed { proof },
                // The guard makes a closed stage of a close, and of nothing else.
                _ => Happened::Handled { photos: Vec::new() },
            },
        }
    }

    fn write_one(&mut self, made: Made, id: CaseId) -> Result<Case, CaseError> {
        self.write(made)?.remove(&id).ok_or(CaseError::NotFound(id))
    }

    fn write(&mut self, made: Made) -> Result<BTreeMap<CaseId, Case>, CaseError> {
        let Made { cases, events, progress } = made;
        let written: Vec<&Case> = cases.values().collect();
        tables::write(&mut self.db, &Changes { progress, events: &events, cases: &written })?;
        self.next = progress.next;
        self.alert_seq = progress.alert_seq;
        for case in cases.values() {
            if case.stage.is_closed() {
                self.open.remove(&case.id);
                self.by_root.retain(|_, id| *id != case.id);
            } else {
                self.by_root.insert(case.root(), case.id);
                self.open.insert(case.id, case.clone());
            }
        }
        Ok(cases)
    }
}

impl<'r> Draft<'r> {
    fn new(registrar: &'r Registrar) -> Self {
        Draft {
            cases: BTreeMap::new(),
            by_root: HashMap::new(),
            events: Vec::new(),
            next: registrar.next,
            registrar,
        }
    }

    fn finish(self, alert_seq: i64) -> Made {
        Made {
            cases: self.cases,
            events: self.events,
            progress: Progress { alert_seq, next: self.next },
        }
    }

    /// One entry of the alerts' log.
    fn on_alert(
        &mut self,
        news: &AlertNews,
        now: Timestamp,
        places: Places<'_>,
    ) -> Result<(), CaseError> {
        let speaks = matches!(
            news.what.as_str(),
            "raised"
                | "raised_again"
                | "severity_up"
                | "rule_changed"
                | "unshelved"
                | "unsuppressed"
                | "in_service"
        );
        // What is shelved, suppressed or out of service opens nothing; it speaks when the last of these ends.
        let is_heard = |alert: &Alert| speaks && alert.standing.is_clear();
        let Some(alert) = alert::find(&self.registrar.db, news.alert)?.filter(is_heard) else {
            return Ok(());
        };
        let (zone, kind) = places(&alert);
        let subject = Subject {
            asset: alert.asset.clone(),
            kind,
            zone,
            device: Some(alert.rule.device.clone()),
            title: alert.text.clone(),
        };
        let root = alert.root();
        let at = news.at.max(Timestamp::EPOCH).min(now);
        match self.case_of(&alert, &root)? {
            Some(case) => {
                self.follow_up(case, &alert, &news.what, at);
                Ok(())
            }
            None if alert.severity >= self.registrar.settings.opens_from && alert.active => {
                self.open_for(&alert, subject, &root, at)
            }
            None => Ok(()),
        }
    }

    /// The open case that an alert belongs to: its own, or that of its root.
    fn case_of(&self, alert: &Alert, root: &str) -> Result<Option<Case>, CaseError> {
        if let Some(id) = tables::case_of_alert(&self.registrar.db, alert.id)?
            && let Some(case) = self.opened(id)
        {
            return Ok(Some(case));
        }
        let id = self.by_root.get(root).or_else(|| self.registrar.by_root.get(root));
        Ok(id.and_then(|id| self.opened(*id)))
    }

    fn opened(&self, id: CaseId) -> Option<Case> {
        let case = self.cases.get(&id).or_else(|| self.registrar.open.get(&id))?;
        (!case.stage.is_closed()).then(|| case.clone())
    }

    fn follow_up(&mut self, case: Case, alert: &Alert, what: &str, at: Timestamp) {
        let is_new = !case.alerts.contains(&alert.id);
        let is_worse = alert.severity > case.severity;
        let came_back = alert.active
            && what != "rule_changed"
            && alert.severity >= self.registrar.settings.opens_from
            && matches!(case.stage, Stage::Reported { .. } | Stage::Verified { .. });
        let id = case.id;
        if is_new || is_worse {
            let attached = Happened::Attached { alert: alert.id, severity: alert.severity };
            self.push(case, attached, at, None, None);
        }
        if came_back && let Some(case) = self.opened(id) {
            let reason = format!("alert {}: {} / {}", alert.id.0, alert.text.zh, alert.text.en);
            self.push(case, Happened::Rejected { reason }, at, None, None);
        }
    }

    fn open_for(
        &mut self,
        alert: &Alert,
        subject: Subject,
        root: &str,
        at: Timestamp,
    ) -> Result<(), CaseError> {
        let since = at.minus(self.registrar.settings.reopens_within);
        let reopens = tables::closed_since(&self.registrar.db, root, since)?;
        let opened =
            Happened::Opened { subject, severity: alert.severity, root: Some(alert.id), reopens };
        let by = self.open(opened, at, None, None)?;
        if let Some(closed) = reopens
            && let Some(case) = tables::case(&self.registrar.db, closed)?
        {
            self.push(case, Happened::Reopened { by }, at, None, None);
        }
        Ok(())
    }

    /// Opens a case, unless one of the same root is open.
    fn open(
        &mut self,
        happened: Happened,
        at: Timestamp,
        actor: Option<&Actor>,
        note: Option<String>,
    ) -> Result<CaseId, CaseError> {
        let id = self.next;
        let event = event(id, 1, happened, at, actor, note);
        let Some(case) = Case::open(&event) else {
            return Err(CaseError::Damaged(
                "a case begins with another event than `opened`".into(),
            ));
        };
        let root = case.root();
        let known = self.by_root.get(&root).or_else(|| self.registrar.by_root.get(&root));
        if let Some(case) = known.and_then(|id| self.opened(*id)) {
            return Err(CaseError::AlreadyOpen(case.id));
        }
        self.next = CaseId(id.0 + 1);
        self.by_root.insert(root, id);
        self.cases.insert(id, case);
        self.events.push(event);
        Ok(id)
    }

    /// Adds an event to a case.
    fn push(
        &mut self,
        mut case: Case,
        happened: Happened,
        at: Timestamp,
        actor: Option<&Actor>,
        note: Option<String>,
    ) {
        let event = event(case.id, case.version + 1, happened, at, actor, note);
        case.on(&event);
        self.events.push(event);
        self.cases.insert(case.id, case);
    }

    fn look_at_deadline(&mut self, case: &Case, now: Timestamp) {
        let Some((step, due)) = case.next_deadline().filter(|(_, due)| *due < now) else { return };
        let mut case = case.clone();
        if case.overdue != Some(step) {
            self.push(case.clone(), Happened::Overdue { step }, now, None, None);
            let Some(changed) = self.cases.get(&case.id) else { return };
            case = changed.clone();
        }
        let over = now.since(due);
        let level = self.registrar.settings.escalates_after.iter().filter(|after| over >= **after);
        let level = u8::try_from(level.count()).unwrap_or(u8::MAX);
        if level > case.escalation {
            self.push(case, Happened::Escalated { level }, now, None, None);
        }
    }
}

impl Actor {
    fn may(&self, right: Right, zone: Option<&ZoneId>) -> bool {
        self.role.may(right) && self.sees(zone)
    }

    fn sees(&self, zone: Option<&ZoneId>) -> bool {
        match (&self.zones, zone) {
            (None, _) => true,
            (Some(zones), Some(zone)) => zones.contains(zone),
            (Some(_), None) => false,
        }
    }

    fn check(
        &self,
        needs: Right,
        zone: Option<&ZoneId>,
        wanted: &'static str,
    ) -> Result<(), CaseError> {
        if self.may(needs, zone) {
            return Ok(());
        }
        Err(super::Refusal::Right { wanted, needs }.into())
    }
}

fn event(
    case: CaseId,
    version: u32,
    happened: Happened,
    at: Timestamp,
    actor: Option<&Actor>,
    note: Option<String>,
) -> CaseEvent {
    let actor = actor.map(|actor| actor.name.clone());
    CaseEvent { case, version, at, actor, note, happened }
}
