//! What really was wrong, and which alerts that explains: the script's events as the world lived them, against what the
//! hub said.

use std::collections::BTreeMap;
use std::time::Duration;

use townsim::script::{Action, GateState};
use townsim::town::{Observes, Town};
use townsim::world::World;

use crate::alert::Alert;
use crate::model::Timestamp;

/// After the end of its cause an alert may still be raised for so long: gas goes as slowly as it came, sewers drain.
const AFTERMATH: Duration = Duration::from_secs(6 * 3600);

/// One event as it was.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub(super) action: Action,
    /// The device's index in the town; `None` for the weather.
    device: Option<usize>,
    pub(super) begin: Timestamp,
    /// When it was over, or was last seen.
    pub(super) end: Timestamp,
}

/// The events of a run, by their number in the script.
#[derive(Debug, Default)]
pub(super) struct Truth {
    causes: BTreeMap<usize, Cause>,
}

/// What an event must make the hub say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    /// An alert of this metric on its own device; `None` is the device's silence.
    Alert(Option<&'static str>),
    /// A rain gauge, or a manhole anywhere: not every storm fills the pipes.
    Flood,
    /// Nothing at all.
    Nothing,
}

impl Truth {
    /// Looks at the world.
    pub(super) fn look(&mut self, world: &World, now: Timestamp) {
        for (event, action, device) in world.goes_on() {
            let cause = self.causes.entry(event).or_insert_with(|| Cause {
                action: action.clone(),
                device,
                begin: now,
                end: now,
            });
            cause.end = now;
        }
    }

    /// Every event that has begun.
    pub(super) fn causes(&self) -> impl Iterator<Item = &Cause> {
        self.causes.values()
    }

    /// Whether an event explains an alert.
    pub(super) fn explains(&self, alert: &Alert, town: &Town) -> bool {
        self.causes.values().any(|cause| self.is_cause(cause, alert, town))
    }

    /// Whether nothing was wrong in this time, nor so shortly before it that it could still be felt.
    pub(super) fn is_calm(&self, from: Timestamp, to: Timestamp) -> bool {
        self.causes.values().all(|cause| cause.begin >= to || cause.end.plus(AFTERMATH) < from)
    }

    /// What an event must make the hub say.
    pub(super) fn duty(&self, cause: &Cause) -> Duty {
        match &cause.action {
            Action::Storm(_) => Duty::Flood,
            // What came and went while the link was lost is history when it arrives.
            Action::Gas(_) if self.is_unheard(cause) => Duty::Nothing,
            Action::Gas(_) => Duty::Alert(Some("ch4")),
            Action::OpenCover(_) => Duty::Alert(Some("cover")),
            Action::MotorFault(_) => Duty::Alert(Some("motor")),
            Action::Gate(gate) => match gate.is {
                GateState::Local => Duty::Alert(Some("remote")),
                GateState::EmergencyStop => Duty::Alert(Some("e_stop")),
                GateState::OverTorque => Duty::Alert(Some("over_torque")),
                GateState::LinkDown => Duty::Alert(None),
                GateState::Stuck
                | GateState::Overshoot
                | GateState::NoMains
                | GateState::Navigation
                | GateState::WaterIntake => Duty::Nothing,
            },
            Action::Blockage(_) | Action::Drift(_) => Duty::Alert(Some("level")),
            Action::Burst(_) => Duty::Alert(Some("pressure")),
            Action::Battery(_) => Duty::Alert(Some("battery")),
            Action::Abandoned(_) => Duty::Alert(Some("occupied")),
            Action::Silent(_)
            | Action::Unplugged(_)
            | Action::Truncated(_)
            | Action::Backfill(_) => Duty::Alert(None),
            Action::MoveGate(_)
            | Action::Stuck(_)
            | Action::Spikes(_)
            | Action::ClockOff(_)
            | Action::Duplicates(_) => Duty::Nothing,
        }
    }

    /// Whether an alert does what an event must do.
    pub(super) fn fulfils(&self, cause: &Cause, alert: &Alert, town: &Town) -> bool {
        let metric = alert.rule.metric.as_ref().map(|metric| metric.as_str());
        let is_own = cause.device.is_some_and(|d| town.devices[d].id == alert.rule.device.as_str());
        match self.duty(cause) {
            Duty::Alert(wanted) => is_own && metric == wanted && is_in_time(cause, alert),
            Duty::Flood => {
                (metric == Some("rain") || is_flooded(alert)) && is_in_time(cause, alert)
            }
            Duty::Nothing => false,
        }
    }

    fn is_unheard(&self, cause: &Cause) -> bool {
        self.causes.values().any(|other| {
            matches!(other.action, Action::Backfill(_))
                && other.device == cause.device
                && other.begin <= cause.begin
                && cause.end <= other.end
        })
    }

    fn is_cause(&self, cause: &Cause, alert: &Alert, town: &Town) -> bool {
        if !is_in_time(cause, alert) {
            return false;
        }
        let device = alert.rule.device.as_str();
        let metric = alert.rule.metric.as_ref().map(|metric| metric.as_str());
        let is_own = cause.device.is_some_and(|index| town.devices[index].id == device);
        let is_level = matches!(metric, Some("level" | "level_up" | "level_down" | "head"));
        match (&cause.action, self.duty(cause)) {
            (_, Duty::Nothing) => false,
            (Action::Storm(_), _) => is_level || metric == Some("rain"),
            (Action::Gas(_), _) => is_own && matches!(metric, Some("ch4" | "h2s" | "o2")),
            (Action::OpenCover(_), _) => is_own && matches!(metric, Some("cover" | "tilt")),
            // Water stands in everything above the blockage.
            (Action::Blockage(_), _) => device.starts_with("mh-") && metric == Some("level"),
            // Every logger on the main sees its pressure fall.
            (Action::Burst(_), _) => {
                metric == Some("pressure") && self.is_same_main(cause, device, town)
            }
            (_, Duty::Alert(wanted)) => is_own && metric == wanted,
            (_, Duty::Flood) => false,
        }
    }

    fn is_same_main(&self, cause: &Cause, device: &str, town: &Town) -> bool {
        let main_of = |index: usize| match town.devices[index].observes {
            Observes::Main(main) | Observes::SewerPipe { main, .. } => Some(main),
            _ => None,
        };
        let burst = cause.device.and_then(main_of);
        burst.is_some() && town.device_index(device).and_then(main_of) == burst
    }
}

/// Water stands in a manhole.
pub(super) fn is_flooded(alert: &Alert) -> bool {
    let metric = alert.rule.metric.as_ref().map(|metric| metric.as_str());
    alert.rule.device.as_str().starts_with("mh-") && metric == Some("level")
}

fn is_in_time(cause: &Cause, alert: &Alert) -> bool {
    (cause.begin..=cause.end.plus(AFTERMATH)).contains(&alert.raised_at)
}
