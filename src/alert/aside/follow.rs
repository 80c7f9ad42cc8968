//! What follows from events and from time: alerts get the standing that they should have, with an event for each difference.
//!
//! Takes the ledger's new events and the clock; hands on events again. A shelf or window that is over ends here, a device
//! that falls silent hides those behind it, and the first of a group is marked when a second one comes.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Wish;
use super::standings::{Changed, Pending};
use crate::alert::engine::Engine;
use crate::alert::ledger::What;
use crate::alert::rule::RuleKey;
use crate::alert::{Alert, AlertId, Standing};
use crate::audit;
use crate::model::{DeviceId, Timestamp};

/// Alerts of one root that are raised within so long belong together.
const GROUP: Duration = Duration::from_secs(10 * 60);

impl Engine {
    /// Lets time pass for what silences.
    pub(in crate::alert) fn tick_standing(&mut self, now: Timestamp) {
        if self.standings.next.take_if(|next| *next <= now).is_some() {
            let over = self.standings.shelves.iter().filter(|(_, shelf)| shelf.until <= now);
            let over: Vec<RuleKey> = over.map(|(key, _)| key.clone()).collect();
            for key in over {
                self.standings.shelves.remove(&key);
                let what = Changed::Shelf(key);
                self.standings.pending.push(Pending { what, entry: None });
            }
            self.restand_all(now);
            self.standings.windows.retain(|_, window| now < window.until);
            self.standings.look_ahead(now);
        }
    }

    /// Looks at what conditions did since the last look.
    #[inline]
    pub(in crate::alert) fn follow_events(&mut self) {
        while let Some(event) = self.ledger.events().get(self.standings.followed) {
            let (id, what, at) = (event.alert, event.what, event.at);
            self.standings.followed += 1;
            match what {
                What::Raised => self.on_raised(id, true, at),
                What::RaisedAgain => self.on_raised(id, false, at),
                What::Returned | What::RuleRemoved => self.on_returned(id, at),
                What::SeverityUp => self.on_severity_up(id, at),
                _ => {}
            }
        }
    }

    /// Brings what is put aside up to what conditions did; before every write.
    pub(in crate::alert) fn settle_standings(&mut self) {
        self.follow_events();
        if let Some(at) = self.standings.stale.take() {
            self.restand_all(at);
            self.follow_events();
        }
    }

    /// An alert was raised (`is_new`: not one that came back).
    fn on_raised(&mut self, id: AlertId, is_new: bool, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let (device, is_silence, root) =
            (alert.rule.device.clone(), alert.is_silence(), alert.root());
        if is_new {
            let group = self.standings.groups.entry(root).or_default();
            let ledger = &self.ledger;
            group.retain(|id| ledger.get(*id).is_some_and(Alert::is_open));
            let mut first = None;
            let mut next = at;
            let stands = |other: &&Alert| other.is_annunciated() && other.active;
            for other in group.iter().rev().filter_map(|id| ledger.get(*id)).filter(stands) {
                if next.since(other.raised_at) > GROUP {
                    break;
                }
                (first, next) = (Some(other.id), other.raised_at);
            }
            group.push(id);
            if let Some(first) = first {
                self.ledger.mark_first_in_group(first, id);
            }
        }
        if is_silence {
            self.standings.silent.insert(device.clone());
        }
        self.restand(id, at, None);
        if is_silence {
            self.on_silence(&device, at);
        }
    }

    /// An alert's condition is over.
    fn on_returned(&mut self, id: AlertId, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let (device, is_silence) = (alert.rule.device.clone(), alert.is_silence());
        if !alert.standing.is_clear() && alert.acknowledged_at.is_none() {
            self.ledger.change(id, What::Acknowledged, at, None, None, None, |alert| {
                alert.acknowledged_at = Some(at);
                alert.acknowledged_by = Some(audit::HUB.to_owned());
                alert.note = None;
            });
        }
        if is_silence {
            self.standings.silent.remove(&device);
            self.standings.graces.remove(&device);
            self.on_silence(&device, at);
        }
    }

    /// An alert became worse: a shelf that is longer than its new severity allows is cut.
    fn on_severity_up(&mut self, id: AlertId, at: Timestamp) {
        let Some(alert) = self.ledger.get(id) else { return };
        let longest = self.standings.limits.of(alert.severity);
        let Some(shelf) = self.standings.shelves.get_mut(&alert.rule) else { return };
        let end = shelf.at.plus(longest);
        if end < shelf.until {
            shelf.until = end;
            let key = alert.rule.clone();
            if end <= at {
                // It has lasted longer than it may: over now, and no row of it stays behind.
                self.standings.shelves.remove(&key);
            }
            let what = Changed::Shelf(key);
            self.standings.pending.push(Pending { what, entry: None });
            self.restand(id, at, None);
            self.standings.look_ahead(at);
        }
    }

    fn on_silence(&mut self, device: &DeviceId, at: Timestamp) {
        if self.standings.places.is_watched(device) {
            self.standings.stale = Some(at);
        }
    }

    pub(super) fn restand_all(&mut self, now: Timestamp) {
        let open: Vec<AlertId> = self.ledger.open().map(|alert| alert.id).collect();
        for id in open {
            self.restand(id, now, None);
        }
        self.standings.look_ahead(now);
    }

    /// Gives an open alert the standing that it should have, with an event for each difference.
    pub(super) fn restand(&mut self, id: AlertId, now: Timestamp, wish: Option<&Wish>) {
        let Some(alert) = self.ledger.get(id).filter(|alert| alert.is_open()) else { return };
        let former = alert.standing.clone();
        let is_silence = alert.is_silence();
        let mut wanted = self.standings.of(&alert.rule, is_silence, &former, now);
        self.standings.keep_grace(alert, &former, &mut wanted, now);
        if wanted == former {
            return;
        }
        let (who, why) = match wish {
            Some(wish) => (Some(wish.who.as_str()), Some(wish.reason.as_str())),
            None => (None, None),
        };
        let mut steps: Vec<(What, Option<Value>, Standing)> = Vec::new();
        let mut standing = former;
        if standing.out_of_service != wanted.out_of_service {
            standing.out_of_service = wanted.out_of_service;
            steps.push((
                if standing.out_of_service.is_some() {
                    What::OutOfService
                } else {
                    What::InService
                },
                detail(&standing.out_of_service),
                standing.clone(),
            ));
        }
        if standing.shelved != wanted.shelved {
            standing.shelved = wanted.shelved;
            let what = if standing.shelved.is_some() { What::Shelved } else { What::Unshelved };
            steps.push((what, detail(&standing.shelved), standing.clone()));
        }
        if standing.suppressed != wanted.suppressed {
            standing.suppressed = wanted.suppressed;
            let what =
                if standing.suppressed.is_some() { What::Suppressed } else { What::Unsuppressed };
            steps.push((what, detail(&standing.suppressed), standing.clone()));
        }
        for (what, detail, standing) in steps {
            let by_person = matches!(
                what,
                What::Shelved | What::Unshelved | What::OutOfService | What::InService
            );
            let who = who.filter(|_| by_person);
            let why = why.filter(|_| by_person);
            self.ledger.change(id, what, now, who, why, detail, |alert| {
                alert.standing = standing;
                if alert.is_annunciated() && alert.active {
                    // Announced as if new.
                    alert.acknowledged_at = None;
                    alert.acknowledged_by = None;
                    alert.note = None;
                }
            });
        }
    }
}

fn detail<T: Serialize>(part: &Option<T>) -> Option<Value> {
    part.as_ref().and_then(|part| serde_json::to_value(part).ok())
}
