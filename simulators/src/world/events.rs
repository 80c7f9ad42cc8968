//! What a script's events do to the world, and how they are undone.

use super::{Effect, World};
use crate::gate::Condition;
use crate::script::{Action, Cue, Script};
use crate::supply::Burst;
use crate::town::{Observes, Town};

/// Who plays what: for each event the devices that it can fall on, and the one that it fell on.
#[derive(Debug)]
pub(super) struct Casting {
    roles: Vec<Role>,
}

#[derive(Debug)]
struct Role {
    /// Devices of the kind that the script names, in the town's order; empty for a storm.
    candidates: Vec<usize>,
    /// Where the named one stands among them.
    named: usize,
    /// Whether the event is on, and on whom.
    on: Option<Option<usize>>,
}

impl Casting {
    pub(super) fn new(script: &Script, town: &Town) -> Self {
        let roles = script.events.iter().map(|event| {
            let named = event.action.device().and_then(|id| town.device_index(id));
            let Some(named) = named else {
                return Role { candidates: Vec::new(), named: 0, on: None };
            };
            let kind = |device: usize| std::mem::discriminant(&town.devices[device].observes);
            let candidates: Vec<usize> =
                (0..town.devices.len()).filter(|&device| kind(device) == kind(named)).collect();
            let named = candidates.iter().position(|&device| device == named).unwrap_or(0);
            Role { candidates, named, on: None }
        });
        Casting { roles: roles.collect() }
    }

    /// Casts an event: the named device in the first round, another one of its kind in later rounds.
    fn begin(&mut self, event: usize, moved_on: usize) -> Option<usize> {
        let role = &mut self.roles[event];
        let place = (role.named + moved_on) % role.candidates.len().max(1);
        let device = role.candidates.get(place).copied();
        role.on = Some(device);
        device
    }

    /// The events that are on, with their devices.
    fn on(&self) -> impl Iterator<Item = (usize, Option<usize>)> {
        self.roles.iter().enumerate().filter_map(|(event, role)| Some((event, role.on?)))
    }

    /// Ends an event; says whom it was on, if it was on.
    fn end(&mut self, event: usize) -> Option<Option<usize>> {
        self.roles[event].on.take()
    }
}

impl World {
    pub(super) fn play_cue(&mut self, cue: Cue, effects: &mut Vec<Effect>) {
        match cue {
            Cue::Begin(event) => {
                // A storm has no device and lasts as long as its event.
                let moved_on = self.play.round() * self.script.round.shift;
                let device = self.casting.begin(event, moved_on);
                let action = self.script.events[event].action.clone();
                tracing::info!(
                    at_s = self.script_s,
                    device = self.name(device),
                    ?action,
                    "an event begins"
                );
                self.begin(event, &action, device, effects);
            }
            Cue::End(event) => self.end_event(event, effects),
            Cue::NewRound => {
                for event in 0..self.script.events.len() {
                    self.end_event(event, effects);
                }
                self.weather.clear();
            }
        }
    }

    /// What goes on: the number of each event that is on, what it is, and the device that it is on. The truth that
    /// alerts are held against.
    pub fn goes_on(&self) -> impl Iterator<Item = (usize, &Action, Option<usize>)> {
        self.casting.on().map(|(event, device)| (event, &self.script.events[event].action, device))
    }

    /// Somebody repaired a device: whatever is wrong with it ends now, and not when the script says. Returns what the
    /// device does then. A link that the network lost is not the device's, and a gate that moves is not broken.
    pub fn repair(&mut self, device: usize) -> Vec<Effect> {
        let is_wrong =
            |action: &Action| !matches!(action, Action::MoveGate(_) | Action::Backfill(_));
        let wrong: Vec<usize> = self
            .goes_on()
            .filter(|(_, action, on)| *on == Some(device) && is_wrong(action))
            .map(|(event, ..)| event)
            .collect();
        let mut effects = Vec::new();
        for event in wrong {
            self.end_event(event, &mut effects);
        }
        effects
    }

    fn name(&self, device: Option<usize>) -> &str {
        device.map_or("town", |device| &self.town.devices[device].id)
    }

    fn end_event(&mut self, event: usize, effects: &mut Vec<Effect>) {
        let Some(device) = self.casting.end(event) else { return };
        let action = self.script.events[event].action.clone();
        tracing::info!(
            at_s = self.script_s.round(),
            device = self.name(device),
            ?action,
            "an event ends"
        );
        if let Some(device) = device {
            self.end(&action, device, effects);
        }
    }

    fn begin(
        &mut self,
        event: usize,
        action: &Action,
        device: Option<usize>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(device) = device else {
            if let Action::Storm(storm) = action {
                let for_s = self.script.events[event].for_s.unwrap_or(self.script.round.length_s);
                let life_s = for_s * self.play.stretch() * self.script.pace.water;
                self.weather.start_storm(self.town.centre, storm.peak_mm_h, life_s);
            }
            return;
        };
        match action {
            Action::Storm(_) => {}
            Action::Gas(gas) => {
                let over_s = gas.over_s * self.play.stretch();
                self.sensors[device].send_gas(gas.ch4, gas.h2s, over_s);
            }
            Action::OpenCover(_) => self.sensors[device].set_cover_open(true),
            Action::Battery(battery) => self.sensors[device].set_weak(Some(battery.volts)),
            Action::Stuck(_) => self.sensors[device].set_stuck(true),
            Action::Spikes(spikes) => {
                self.sensors[device].set_spikes(Some((spikes.by, spikes.every)));
            }
            Action::Abandoned(_) => self.abandon(device, true),
            Action::Drift(drift) => self.sensors[device].set_drift(Some(drift.per_h)),
            Action::MotorFault(_) => self.set_gate(device, Condition::Tripped, true),
            Action::Gate(gate) => self.set_gate(device, gate.is.condition(), true),
            Action::MoveGate(gate) => self.send_gate(device, Some(gate.opening)),
            Action::Blockage(blockage) => self.block(device, blockage.open),
            Action::Burst(burst) => {
                let burst = Burst { leak_m3h: burst.leak_m3h, drop_kpa: burst.drop_kpa };
                self.burst(device, Some(burst));
            }
            Action::Silent(_) => self.links[device].silent = true,
            Action::Unplugged(_) => {
                self.links[device].silent = true;
                effects.push(Effect::Unplug { device });
            }
            Action::ClockOff(clock) => {
                self.links[device].clock_off_ms = (clock.by_s * 1000.0) as i64
            }
            Action::Duplicates(_) => self.links[device].twice = true,
            Action::Backfill(_) => self.links[device].keep(),
            Action::Truncated(_) => self.links[device].truncated = true,
        }
    }

    fn end(&mut self, action: &Action, device: usize, effects: &mut Vec<Effect>) {
        match action {
            Action::Storm(_) => {}
            Action::Gas(gas) => {
                let over_s = gas.over_s * self.play.stretch();
                self.sensors[device].send_gas(0.0, 0.0, over_s);
            }
            Action::OpenCover(_) => self.sensors[device].set_cover_open(false),
            Action::Battery(_) => self.sensors[device].set_weak(None),
            Action::Stuck(_) => self.sensors[device].set_stuck(false),
            Action::Spikes(_) => self.sensors[device].set_spikes(None),
            Action::Abandoned(_) => self.abandon(device, false),
            Action::Drift(_) => self.sensors[device].set_drift(None),
            Action::MotorFault(_) => self.set_gate(device, Condition::Tripped, false),
            Action::Gate(gate) => self.set_gate(device, gate.is.condition(), false),
            Action::MoveGate(_) => self.send_gate(device, None),
            Action::Blockage(_) => self.block(device, 1.0),
            Action::Burst(_) => self.burst(device, None),
            Action::Silent(_) => self.links[device].silent = false,
            Action::Unplugged(_) => {
                self.links[device].silent = false;
                effects.push(Effect::Plug { device });
            }
            Action::ClockOff(_) => self.links[device].clock_off_ms = 0,
            Action::Duplicates(_) => self.links[device].twice = false,
            Action::Backfill(_) => {
                for payload in self.links[device].backfill(&mut self.fault_rng) {
                    effects.push(Effect::Publish { device, payload });
                }
            }
            Action::Truncated(_) => self.links[device].truncated = false,
        }
    }

    fn set_gate(&mut self, device: usize, condition: Condition, is: bool) {
        if let Observes::Gate(gate) = self.town.devices[device].observes {
            self.gates[gate].set(condition, is);
        }
    }

    /// Sends a gate to an opening in %, or back to where the town's plan has it.
    fn send_gate(&mut self, device: usize, percent: Option<f64>) {
        if let Observes::Gate(gate) = self.town.devices[device].observes {
            let usual = self.town.gates[gate].opening;
            self.gates[gate]
                .set_setpoint(percent.map_or(usual, |percent| (percent * 10.0).round() as u16));
        }
    }

    fn abandon(&mut self, device: usize, is_left: bool) {
        if let Observes::Bay(bay) = self.town.devices[device].observes {
            self.parking.abandon(bay, is_left);
        }
    }

    fn block(&mut self, device: usize, open: f64) {
        if let Observes::Manhole(index) = self.town.devices[device].observes
            && let Some(manhole) = self.sewer.manhole_mut(index)
        {
            manhole.set_open(open);
        }
    }

    fn burst(&mut self, device: usize, burst: Option<Burst>) {
        if let Observes::Main(main) = self.town.devices[device].observes {
            self.mains[main].set_burst(burst);
        }
    }
}
