//! The town alive: weather, water, traffic and what the devices make of it.
//!
//! A [`World`] is moved on by its owner, who passes in the time; it returns what the devices do. It does no I/O,
//! and from the same town, script, seed and times it does the same, byte for byte.

mod events;
mod link;
mod sensor;

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;

use crate::canal::Canals;
use crate::gate::{Condition, Gate, Motor};
use crate::modbus;
use crate::parking::Parking;
use crate::rain::Weather;
use crate::random::{Stream, generator};
use crate::script::{Play, Report, Script};
use crate::sewer::Sewer;
use crate::supply::{Main, demand};
use crate::town::{Observes, Profile, Town};

use events::Casting;
use link::Link;
use sensor::{Sensor, Surroundings};

/// The longest time that passes in one step: a computer that slept does not have to catch up.
const LONGEST_STEP_MS: i64 = 5_000;
/// The longest step of the water in seconds; its equations are solved explicitly.
const WATER_STEP_S: f64 = 1.0;
/// The same in dry weather, when no water moves faster than people use it.
const DRY_STEP_S: f64 = 10.0;
/// Deeper than this the water may move fast, whatever the weather.
const DRY_DEPTH_M: f64 = 0.6;
/// Sensors first report within this time after the start.
const FIRST_REPORT_MS: f64 = 20_000.0;
/// Local time is UTC + 8 h, all year.
const LOCAL_MS: i64 = 8 * 3_600_000;
const HOUR_MS: f64 = 3_600_000.0;

/// Something that a device does.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// It publishes on its topic.
    Publish {
        /// The device's index in the town.
        device: usize,
        /// The bytes.
        payload: Vec<u8>,
    },
    /// It loses its connection without a word.
    Unplug {
        /// The device's index in the town.
        device: usize,
    },
    /// It may connect again.
    Plug {
        /// The device's index in the town.
        device: usize,
    },
}

/// What the controller of a gate shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateView {
    /// Opening in 0.1 %.
    pub opening: u16,
    /// Setpoint in 0.1 %.
    pub setpoint: u16,
    /// Level on the upper side in metres, 1985 datum.
    pub level_up_m: f32,
    /// Level on the lower side in metres, 1985 datum.
    pub level_down_m: f32,
    /// What the motor does.
    pub motor: Motor,
    /// The hoist's load in 0.1 kN.
    pub load: u16,
    /// The motor's current in 0.01 A.
    pub current: u16,
    /// The discrete inputs from address 0 on: see [`modbus`](crate::modbus).
    pub switches: [bool; 16],
    /// Whether the controller answers.
    pub online: bool,
}

impl GateView {
    /// What a controller shows of a gate that stands between these levels.
    pub fn new(gate: &Gate, level_up_m: f64, level_down_m: f64) -> Self {
        let mut switches = [false; 16];
        let inputs = [
            (modbus::REMOTE, gate.remote()),
            (modbus::EMERGENCY_STOP, gate.is(Condition::EmergencyStop)),
            (modbus::OVER_TORQUE, gate.is(Condition::OverTorque)),
            (modbus::UPPER_LIMIT, gate.opening() >= Gate::FULL),
            (modbus::LOWER_LIMIT, gate.opening() == 0),
            (modbus::MAINS, !gate.is(Condition::NoMains)),
            (modbus::NAVIGATION, gate.is(Condition::Navigation)),
            (modbus::WATER_INTAKE, gate.is(Condition::WaterIntake)),
        ];
        for (address, is) in inputs {
            switches[usize::from(address)] = is;
        }
        GateView {
            opening: gate.opening(),
            setpoint: gate.setpoint(),
            level_up_m: level_up_m as f32,
            level_down_m: level_down_m as f32,
            motor: gate.motor(),
            load: gate.load(),
            current: gate.current(),
            switches,
            online: !gate.is(Condition::LinkDown),
        }
    }
}

/// How a world starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// The seed of weather, traffic and noise.
    pub seed: u64,
    /// Seconds of the script in one second of the wall clock.
    pub speed: f64,
    /// The wall clock at the start, Unix milliseconds.
    pub now_ms: i64,
}

/// The town alive.
#[derive(Debug)]
pub struct World {
    town: Arc<Town>,
    script: Script,
    play: Play,
    casting: Casting,
    speed: f64,
    start_ms: i64,
    now_ms: i64,
    /// Time of the script since the start, in seconds.
    script_s: f64,
    weather: Weather,
    sewer: Sewer,
    canals: Canals,
    gates: Vec<Gate>,
    mains: Vec<Main>,
    parking: Parking,
    sensors: Vec<Sensor>,
    links: Vec<Link>,
    sensor_rng: ChaCha8Rng,
    fault_rng: ChaCha8Rng,
}

/// The reporting period of a device in milliseconds.
fn period_ms(report: &Report, profile: Profile) -> f64 {
    1000.0
        * match profile {
            Profile::Mh1 => report.manhole_s,
            Profile::Pf2 => report.pipe_s,
            Profile::Rg1 => report.rain_s,
            Profile::Cl1 => report.canal_s,
            Profile::Pb1 => report.bay_s,
            // A gate does not report; it is asked.
            Profile::Sg200 => f64::INFINITY,
        }
}

impl World {
    /// A town at rest, whose script begins now.
    pub fn new(town: Arc<Town>, script: Script, start: &Start) -> Self {
        let Start { seed, speed, now_ms } = *start;
        let mut sensor_rng = generator(seed, Stream::Sensors);
        let hour = local_hour(now_ms);
        let sensors = town
            .devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                let period = period_ms(&script.report, device.profile);
                // Multiples of the golden ratio spread the first reports evenly, in any number.
                let phase = (index as f64 * 0.618_033_988_75).fract();
                let first = now_ms + (phase * period.min(FIRST_REPORT_MS)) as i64;
                Sensor::new(device.observes, period, first, &mut sensor_rng)
            })
            .collect();
        World {
            play: Play::new(&script),
            casting: Casting::new(&script, &town),
            speed,
            start_ms: now_ms,
            now_ms,
            script_s: 0.0,
            weather: Weather::new(generator(seed, Stream::Rain)),
            sewer: Sewer::new(&town.manholes, town.basins.len()),
            canals: Canals::new(&town.basins, &town.gates),
            gates: town.gates.iter().map(|gate| Gate::new(gate.lift_m, gate.opening)).collect(),
            mains: town.mains.iter().map(Main::new).collect(),
            parking: Parking::new(&town.lots, hour, generator(seed, Stream::Parking)),
            sensors,
            links: town.devices.iter().map(|_| Link::default()).collect(),
            sensor_rng,
            fault_rng: generator(seed, Stream::Faults),
            script,
            town,
        }
    }

    /// The script's time in seconds.
    pub fn script_s(&self) -> f64 {
        self.script_s
    }

    /// What a gate's controller shows now.
    pub fn gate(&self, gate: usize) -> GateView {
        let (up, down) = self.canals.levels_at(gate);
        GateView::new(&self.gates[gate], up, down)
    }

    /// Somebody wrote a gate's stop register.
    pub fn stop_gate(&mut self, gate: usize) {
        self.gates[gate].stop();
    }

    /// Somebody wrote a gate's setpoint, in 0.1 %.
    pub fn command_gate(&mut self, gate: usize, setpoint: u16) {
        self.gates[gate].set_setpoint(setpoint);
    }

    /// Moves the town on to `now_ms` (Unix milliseconds) and returns what the devices do, in order. A clock that
    /// was set back moves nothing, and one that jumped ahead moves little.
    pub fn step(&mut self, now_ms: i64) -> Vec<Effect> {
        self.pass(now_ms, (now_ms - self.now_ms).clamp(0, LONGEST_STEP_MS))
    }

    /// As [`World::step`], for an owner whose time is not a wall clock's: however far it has moved, the town moves with
    /// it. What a script calls for begins at the end of a step, so a step is as long as an event may come late.
    pub fn advance(&mut self, now_ms: i64) -> Vec<Effect> {
        self.pass(now_ms, (now_ms - self.now_ms).max(0))
    }

    fn pass(&mut self, now_ms: i64, passed_ms: i64) -> Vec<Effect> {
        self.now_ms = now_ms;
        let dt_s = passed_ms as f64 / 1000.0 * self.speed;
        self.script_s += dt_s;
        let mut effects = Vec::new();
        while let Some(cue) = self.play.due(self.script_s) {
            self.play_cue(cue, &mut effects);
        }
        self.move_gates_and_water(dt_s);
        let hour = self.hour();
        self.parking.step(dt_s * self.script.pace.traffic / 3600.0, hour);
        self.report(dt_s, &mut effects);
        effects
    }

    /// The local hour with its fraction.
    fn hour(&self) -> f64 {
        local_hour(self.start_ms) + self.script_s / 3600.0
    }

    fn move_gates_and_water(&mut self, dt_s: f64) {
        for gate in &mut self.gates {
            gate.step(dt_s);
        }
        let openings: Vec<f64> = self.gates.iter().map(Gate::opening_m).collect();
        let waste_share = demand(self.hour());
        let water_s = dt_s * self.script.pace.water;
        let is_dry = self.weather.is_clear()
            && self.sewer.manholes().iter().all(|manhole| manhole.depth() < DRY_DEPTH_M);
        let longest_s = if is_dry { DRY_STEP_S } else { WATER_STEP_S };
        let steps = (water_s / longest_s).ceil();
        let step_s = water_s / steps;
        for _ in 0..steps as usize {
            self.weather.step(step_s);
            self.sewer.step(step_s, &self.weather, waste_share);
            for (basin, m3) in self.sewer.take_outfalls().into_iter().enumerate() {
                self.canals.pour(basin, m3);
            }
            let rain = vec![self.weather.intensity(self.town.centre); self.town.basins.len()];
            self.canals.step(step_s, &rain, &openings);
            for (device, sensor) in self.town.devices.iter().zip(&mut self.sensors) {
                if let Observes::Rain(gauge) = device.observes {
                    let rain_mm_h = self.weather.intensity(self.town.gauges[gauge]);
                    sensor.catch_rain(rain_mm_h / 3600.0 * step_s);
                }
            }
        }
    }

    /// Lets every sensor that is due, or that saw a change worth a message, report.
    fn report(&mut self, dt_s: f64, effects: &mut Vec<Effect>) {
        let around = Surroundings {
            sewer: &self.sewer,
            canals: &self.canals,
            mains: &self.mains,
            parking: &self.parking,
            hour: local_hour(self.start_ms) + self.script_s / 3600.0,
        };
        for (device, sensor) in self.sensors.iter_mut().enumerate() {
            sensor.pass(dt_s);
            if !sensor.wants_to_report(self.now_ms, &around) {
                continue;
            }
            let reading = sensor.report(self.now_ms, &around, &mut self.sensor_rng);
            for payload in self.links[device].send(&reading, self.now_ms) {
                effects.push(Effect::Publish { device, payload });
            }
        }
    }
}

/// The local hour with its fraction, 0..24.
fn local_hour(unix_ms: i64) -> f64 {
    ((unix_ms + LOCAL_MS) as f64 / HOUR_MS).rem_euclid(24.0)
}

#[cfg(test)]
mod tests;
