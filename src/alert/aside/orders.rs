//! What people order: to shelve, to take out of service, to plan maintenance, and the way back from each.
//!
//! Takes a [`Wish`] or a [`Plan`]; hands on rows for the disk and, through `follow`, the events of the open alerts that it
//! concerns. In memory until the engine's next commit.

use serde_json::json;

use super::standings::{Changed, Marked, Pending};
use super::{MAX_MAINTENANCE, Maintenance, Places, Plan, ShelfLimits, Wish};
use crate::alert::engine::Engine;
use crate::alert::rule::RuleKey;
use crate::alert::{Alert, AlertError, AlertId, OutOfService, Shelf, tables};
use crate::model::{Severity, Timestamp};

impl Engine {
    /// How long an alert may be shelved; until this is called, as by default.
    pub fn set_shelf_limits(&mut self, limits: ShelfLimits) {
        self.standings.limits = limits;
    }

    /// Replaces where devices stand. In memory until [`Engine::commit`], as all that follows here.
    pub fn set_places(&mut self, places: Places, now: Timestamp) {
        self.standings.places = places;
        self.restand_all(now);
    }

    /// Keeps an alert's rule from being announced until `until`. `most` is the worst severity that may be shelved.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version or too severe, or `until` is over or too far away.
    pub fn shelve(
        &mut self,
        id: AlertId,
        wish: &Wish,
        until: Timestamp,
        most: Severity,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let severity = alert.severity;
        if severity > most {
            return Err(AlertError::TooSevere { id, severity });
        }
        let longest = self.standings.limits.of(severity);
        if until <= now || until.since(now) > longest {
            return Err(AlertError::BadShelf { id, severity, longest });
        }
        let Wish { who, reason, .. } = wish;
        let shelf = Shelf { by: who.clone(), reason: reason.clone(), at: now, until };
        self.standings.shelves.insert(alert.rule.clone(), shelf);
        self.silenced(alert, Changed::Shelf, "alert.shelved", wish, now)
    }

    /// Ends a shelf before its time.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version, or its rule is not shelved.
    pub fn unshelve(
        &mut self,
        id: AlertId,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        if self.standings.shelves.remove(&alert.rule).is_none() {
            return Err(AlertError::NotSo { id, so: "shelved" });
        }
        self.silenced(alert, Changed::Shelf, "alert.unshelved", wish, now)
    }

    /// Takes an alert's rule out of service, or its whole device: until somebody puts it back.
    ///
    /// # Errors
    /// When there is no such alert, or it is not at the wish's version.
    pub fn take_out_of_service(
        &mut self,
        id: AlertId,
        whole_device: bool,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let marked = marked(&alert, whole_device);
        let Wish { who, reason, .. } = wish;
        let mark = OutOfService { by: who.clone(), reason: reason.clone(), at: now };
        self.standings.marks.insert(marked.clone(), mark);
        self.silenced(alert, |_| Changed::Mark(marked), "alert.out_of_service", wish, now)
    }

    /// Puts an alert's rule, or its whole device, back into service.
    ///
    /// # Errors
    /// When there is no such alert, it is not at the wish's version, or was not taken out so.
    pub fn put_in_service(
        &mut self,
        id: AlertId,
        whole_device: bool,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let alert = self.alert_for(id, wish.version)?;
        let marked = marked(&alert, whole_device);
        if self.standings.marks.remove(&marked).is_none() {
            let so = if whole_device {
                "out of service as a whole device"
            } else {
                "out of service by its rule alone"
            };
            return Err(AlertError::NotSo { id, so });
        }
        self.silenced(alert, |_| Changed::Mark(marked), "alert.in_service", wish, now)
    }

    /// Plans a maintenance window; one that begins in the past begins now.
    ///
    /// # Errors
    /// When it ends before it begins or is over, or lasts longer than [`MAX_MAINTENANCE`].
    pub fn plan_maintenance(
        &mut self,
        plan: Plan,
        now: Timestamp,
    ) -> Result<Maintenance, AlertError> {
        let Plan { covers, from, until, reason, by } = plan;
        let from = from.max(now);
        if until <= from || until.since(from) > MAX_MAINTENANCE {
            return Err(AlertError::BadWindow);
        }
        let number = self.standings.next_window;
        self.standings.next_window += 1;
        let window = Maintenance {
            number,
            covers,
            from,
            until,
            reason,
            by,
            made_at: now,
            ended_by: None,
            ended_at: None,
        };
        self.window_changed(window.clone(), "maintenance.plan", &window.by, now);
        Ok(window)
    }

    /// Ends a maintenance window before its time.
    ///
    /// # Errors
    /// When there is none of this number that is not over.
    pub fn end_maintenance(
        &mut self,
        number: u64,
        who: &str,
        now: Timestamp,
    ) -> Result<Maintenance, AlertError> {
        let window = self.standings.windows.get(&number);
        let window = window.filter(|window| now < window.end()).cloned();
        let mut window = window.ok_or(AlertError::NoWindow(number))?;
        window.ended_by = Some(who.to_owned());
        window.ended_at = Some(now);
        self.window_changed(window.clone(), "maintenance.end", who, now);
        Ok(window)
    }

    fn window_changed(
        &mut self,
        window: Maintenance,
        action: &'static str,
        who: &str,
        now: Timestamp,
    ) {
        let number = window.number;
        let detail = serde_json::to_value(&window).unwrap_or_default();
        self.standings.windows.insert(number, window);
        let entry = Some((who.to_owned(), action, number.to_string(), detail, now));
        self.standings.pending.push(Pending { what: Changed::Window(number), entry });
        self.restand_all(now);
    }

    /// The alert, open or not, at this version.
    fn alert_for(&self, id: AlertId, version: Option<u32>) -> Result<Alert, AlertError> {
        let alert = match self.ledger.get(id) {
            Some(alert) => alert.clone(),
            None => tables::find(&self.db, id)?.ok_or(AlertError::NotFound(id))?,
        };
        match version {
            Some(given) if given != alert.version => {
                Err(AlertError::VersionConflict { id, current: alert.version, given })
            }
            _ => Ok(alert),
        }
    }

    /// A person changed what silences a rule: its row, and the events of the open alerts that it concerns.
    fn silenced(
        &mut self,
        alert: Alert,
        changed: impl FnOnce(RuleKey) -> Changed,
        action: &'static str,
        wish: &Wish,
        now: Timestamp,
    ) -> Result<Alert, AlertError> {
        let what = changed(alert.rule.clone());
        let concerned: Vec<AlertId> = match &what {
            Changed::Mark(Marked::Device(device)) => self
                .ledger
                .open()
                .filter(|open| open.rule.device == *device)
                .map(|a| a.id)
                .collect(),
            _ => self.ledger.open().filter(|open| open.rule == alert.rule).map(|a| a.id).collect(),
        };
        let before = self.ledger.events().len();
        for id in concerned {
            self.restand(id, now, Some(wish));
        }
        // Events of a person stand in the audit log; what made none gets an entry of its own.
        let is_told = self.ledger.events().len() > before;
        let entry = (!is_told).then(|| {
            let detail = json!({ "rule": &alert.rule, "reason": wish.reason });
            (wish.who.clone(), action, alert.id.0.to_string(), detail, now)
        });
        self.standings.pending.push(Pending { what, entry });
        self.standings.look_ahead(now);
        Ok(match self.ledger.get(alert.id) {
            Some(open) => open.clone(),
            None => {
                let standing =
                    self.standings.of(&alert.rule, alert.is_silence(), &alert.standing, now);
                Alert { standing, ..alert }
            }
        })
    }
}

fn marked(alert: &Alert, whole_device: bool) -> Marked {
    match whole_device {
        true => Marked::Device(alert.rule.device.clone()),
        false => Marked::Rule(alert.rule.clone()),
    }
}
