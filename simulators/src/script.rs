//! Scripts: what happens to the town, and when.
//!
//! A script is a TOML file: how often devices report, how fast water and traffic run, and a list of events with
//! offsets from the start. It is played again and again; later rounds are stretched in time and fall on other
//! devices, so that a town left running stays interesting.

use serde::Deserialize;

use crate::gate::Condition;
use crate::town::{Device, Label, Observes, Profile, Town};

/// A script.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it is called.
    pub name: Label,
    /// How often devices report.
    pub report: Report,
    /// How fast the parts of the town run.
    pub pace: Pace,
    /// How it is played again.
    pub round: Round,
    /// What happens.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
}

/// Reporting periods in seconds, by the wall clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Manhole sensors.
    pub manhole_s: f64,
    /// Pipe loggers.
    pub pipe_s: f64,
    /// Rain gauges.
    pub rain_s: f64,
    /// Canal gauges.
    pub canal_s: f64,
    /// Heartbeat of bay sensors, which otherwise report changes.
    pub bay_s: f64,
}

/// How many seconds of its own time a part of the town lives in one second of the script.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Rain, sewers and canals.
    pub water: f64,
    /// Cars.
    pub traffic: f64,
}

/// How a script is played again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// How long the first round takes, in seconds.
    pub length_s: f64,
    /// How much longer each time of the following rounds is.
    pub stretch: f64,
    /// How many places in the list of its kind a device of an event moves on per round.
    pub shift: usize,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When it begins, in seconds from the start of the round.
    pub at_s: f64,
    /// How long it lasts in seconds; without it, to the end of the round.
    pub for_s: Option<f64>,
    /// What it is.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Gas rises in a manhole over `over_s` seconds and goes as slowly.
    Gas(Gas),
    /// A cover is taken off.
    OpenCover(One),
    /// A gate's motor trips.
    MotorFault(One),
    /// Something is so with a gate: `do.gate = { device = "sg-001", is = "stuck" }`.
    Gate(GateIs),
    /// A gate is told to go to an opening, and back at the end.
    MoveGate(MoveGate),
    /// A storm comes over the town. `for_s` is how long it rains.
    Storm(Storm),
    /// The pipe below a manhole is blocked.
    Blockage(Blockage),
    /// A water main breaks.
    Burst(Burst),
    /// A battery runs down.
    Battery(Battery),
    /// A device is connected and says nothing.
    Silent(One),
    /// A device loses its connection without a word.
    Unplugged(One),
    /// A device repeats the value that it saw first.
    Stuck(One),
    /// A car stands in a bay and nobody fetches it.
    Abandoned(One),
    /// Now and then a device's main value jumps, and is right again with the next message.
    Spikes(Spikes),
    /// A device's main value runs away from the truth.
    Drift(Drift),
    /// A device's clock is wrong.
    ClockOff(ClockOff),
    /// A device sends everything twice.
    Duplicates(One),
    /// A device keeps its messages and sends them at the end, out of order.
    Backfill(One),
    /// A device sends half of each payload.
    Truncated(One),
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct One {
    /// Its id.
    pub device: String,
}

/// Gas in a manhole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gas {
    /// A manhole sensor.
    pub device: String,
    /// Methane that is reached, in % LEL.
    #[serde(default)]
    pub ch4: f64,
    /// Hydrogen sulphide that is reached, in ppm.
    #[serde(default)]
    pub h2s: f64,
    /// How long the rise takes, in seconds.
    pub over_s: f64,
}

/// Something about a gate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateIs {
    /// A gate.
    pub device: String,
    /// What is so.
    pub is: GateState,
}

/// What can be so with a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    /// The motor runs and the gate does not move.
    Stuck,
    /// The key stands on local.
    Local,
    /// The emergency stop is pressed.
    EmergencyStop,
    /// The torque switch opened.
    OverTorque,
    /// It runs on beyond its target.
    Overshoot,
    /// The mains are off.
    NoMains,
    /// The controller keeps its connections and answers nothing.
    LinkDown,
    /// A ship is in the lock.
    Navigation,
    /// The town takes in water.
    WaterIntake,
}

impl GateState {
    /// The gate's own word for it.
    pub(crate) fn condition(self) -> Condition {
        match self {
            GateState::Stuck => Condition::Stuck,
            GateState::Local => Condition::Local,
            GateState::EmergencyStop => Condition::EmergencyStop,
            GateState::OverTorque => Condition::OverTorque,
            GateState::Overshoot => Condition::Overshoot,
            GateState::NoMains => Condition::NoMains,
            GateState::LinkDown => Condition::LinkDown,
            GateState::Navigation => Condition::Navigation,
            GateState::WaterIntake => Condition::WaterIntake,
        }
    }
}

/// A gate's movement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveGate {
    /// A gate.
    pub device: String,
    /// Where to, in %.
    pub opening: f64,
}

/// A storm.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// About the highest intensity, in mm/h.
    pub peak_mm_h: f64,
}

/// A blocked pipe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blockage {
    /// The sensor of the manhole above the pipe.
    pub device: String,
    /// The share of its capacity that is left.
    pub open: f64,
}

/// A burst main.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// The logger of a main.
    pub device: String,
    /// Water lost, in m3/h.
    pub leak_m3h: f64,
    /// Pressure lost, in kPa.
    pub drop_kpa: f64,
}

/// A weak battery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Battery {
    /// A device with a battery in volts.
    pub device: String,
    /// What it falls to, in volts.
    pub volts: f64,
}

/// Values that jump.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spikes {
    /// A device.
    pub device: String,
    /// How far the value jumps, in the unit of the device's main value: m, kPa, mm or degrees Celsius.
    pub by: f64,
    /// Every so many messages.
    pub every: u32,
}

/// A sensor that ages.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// A device.
    pub device: String,
    /// How far the value runs away in an hour, in the unit of the device's main value.
    pub per_h: f64,
}

/// A wrong clock.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockOff {
    /// A device.
    pub device: String,
    /// How far its clock runs ahead, in seconds; negative runs behind.
    pub by_s: f64,
}

/// Why a text is no script for this town.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It does not parse.
    #[error("the script does not parse")]
    Syntax(#[from] toml::de::Error),
    /// A number that cannot be.
    #[error("{what} is {found}; it must be {allowed}")]
    Number {
        /// Which number.
        what: String,
        /// What it is.
        found: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// A device that the town does not have.
    #[error("event {event} names the device `{device}`, which the town does not have")]
    UnknownDevice {
        /// The event's number, from 1.
        event: usize,
        /// The name.
        device: String,
    },
    /// A device that this cannot happen to.
    #[error("event {event} cannot happen to `{device}`: it needs a {needs}")]
    WrongDevice {
        /// The event's number, from 1.
        event: usize,
        /// The name.
        device: String,
        /// What it needs.
        needs: &'static str,
    },
}

impl Action {
    /// The device that it happens to; a storm happens to all.
    pub fn device(&self) -> Option<&str> {
        match self {
            Action::Storm(_) => None,
            Action::Gas(gas) => Some(&gas.device),
            Action::Gate(gate) => Some(&gate.device),
            Action::MoveGate(gate) => Some(&gate.device),
            Action::Blockage(blockage) => Some(&blockage.device),
            Action::Burst(burst) => Some(&burst.device),
            Action::Battery(battery) => Some(&battery.device),
            Action::ClockOff(clock) => Some(&clock.device),
            Action::Spikes(spikes) => Some(&spikes.device),
            Action::Drift(drift) => Some(&drift.device),
            Action::OpenCover(one)
            | Action::MotorFault(one)
            | Action::Silent(one)
            | Action::Unplugged(one)
            | Action::Stuck(one)
            | Action::Abandoned(one)
            | Action::Duplicates(one)
            | Action::Backfill(one)
            | Action::Truncated(one) => Some(&one.device),
        }
    }

    /// What it needs, in a person's words, and whether a device is that.
    fn fits(&self, device: &Device) -> (bool, &'static str) {
        match self {
            Action::Gas(_) | Action::OpenCover(_) | Action::Blockage(_) => {
                (device.profile == Profile::Mh1, "manhole sensor")
            }
            Action::MotorFault(_) | Action::Gate(_) | Action::MoveGate(_) => {
                (device.profile == Profile::Sg200, "gate")
            }
            Action::Burst(_) => {
                (matches!(device.observes, Observes::Main(_)), "logger of a water main")
            }
            Action::Abandoned(_) => {
                (matches!(device.observes, Observes::Bay(_)), "sensor of a parking bay")
            }
            Action::Battery(_) => {
                let volts = !matches!(device.profile, Profile::Pf2 | Profile::Sg200);
                (volts, "device with a battery in volts")
            }
            _ => (device.profile != Profile::Sg200, "device that publishes"),
        }
    }
}

impl Script {
    /// The scripts that the binary carries.
    pub const BUILT_IN: [(&'static str, &'static str); 4] = [
        ("demo", include_str!("../towns/wuzhen/scripts/demo.toml")),
        ("calm", include_str!("../towns/wuzhen/scripts/calm.toml")),
        ("storm", include_str!("../towns/wuzhen/scripts/storm.toml")),
        ("month", include_str!("../towns/wuzhen/scripts/month.toml")),
    ];

    /// Reads a script and checks it against the town.
    ///
    /// # Errors
    /// When it does not parse, has a number that cannot be, or names a device that the town does not have or that
    /// the event cannot happen to.
    pub fn parse(text: &str, town: &Town) -> Result<Self, ScriptError> {
        let script: Script = toml::from_str(text)?;
        script.check_numbers()?;
        for (index, event) in script.events.iter().enumerate() {
            check_event(index + 1, event, town)?;
        }
        Ok(script)
    }

    fn check_numbers(&self) -> Result<(), ScriptError> {
        let Report { manhole_s, pipe_s, rain_s, canal_s, bay_s } = self.report;
        let positive = [
            ("report.manhole_s", manhole_s),
            ("report.pipe_s", pipe_s),
            ("report.rain_s", rain_s),
            ("report.canal_s", canal_s),
            ("report.bay_s", bay_s),
            ("pace.water", self.pace.water),
            ("pace.traffic", self.pace.traffic),
            ("round.length_s", self.round.length_s),
            ("round.stretch", self.round.stretch),
        ];
        for (what, found) in positive {
            number(what.to_owned(), found, found > 0.0, "above 0")?;
        }
        Ok(())
    }
}

fn number(what: String, found: f64, right: bool, allowed: &'static str) -> Result<(), ScriptError> {
    if right && found.is_finite() {
        Ok(())
    } else {
        Err(ScriptError::Number { what, found, allowed })
    }
}

fn check_event(event: usize, is: &Event, town: &Town) -> Result<(), ScriptError> {
    number(format!("at_s of event {event}"), is.at_s, is.at_s >= 0.0, "0 or more")?;
    if let Some(for_s) = is.for_s {
        number(format!("for_s of event {event}"), for_s, for_s > 0.0, "above 0")?;
    }
    if let Action::Gas(gas) = &is.action {
        number(format!("over_s of event {event}"), gas.over_s, gas.over_s > 0.0, "above 0")?;
    }
    if let Action::Spikes(spikes) = &is.action {
        let every = f64::from(spikes.every);
        number(format!("every of event {event}"), every, every >= 1.0, "1 or more")?;
        number(format!("by of event {event}"), spikes.by, true, "a number")?;
    }
    if let Action::Drift(drift) = &is.action {
        number(format!("per_h of event {event}"), drift.per_h, true, "a number")?;
    }
    if let Action::MoveGate(gate) = &is.action {
        let right = (0.0..=100.0).contains(&gate.opening);
        number(format!("opening of event {event}"), gate.opening, right, "between 0 and 100")?;
    }
    let Some(id) = is.action.device() else { return Ok(()) };
    let Some(index) = town.device_index(id) else {
        return Err(ScriptError::UnknownDevice { event, device: id.to_owned() });
    };
    let (fits, needs) = is.action.fits(&town.devices[index]);
    if fits {
        return Ok(());
    }
    Err(ScriptError::WrongDevice { event, device: id.to_owned(), needs })
}

/// What the play of a script calls for at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cue {
    /// The event with this index begins.
    Begin(usize),
    /// The event with this index ends.
    End(usize),
    /// The round is over: everything is well again, and the next round begins.
    NewRound,
}

/// A script being played.
#[derive(Debug)]
pub struct Play {
    /// One round's cues with their offsets, in order; the last one is `NewRound`.
    cues: Vec<(f64, Cue)>,
    next: usize,
    round: usize,
    round_start_s: f64,
    stretch: f64,
}

impl Play {
    /// A play that has not begun.
    pub fn new(script: &Script) -> Self {
        let mut cues = Vec::with_capacity(2 * script.events.len() + 1);
        for (index, event) in script.events.iter().enumerate() {
            cues.push((event.at_s, Cue::Begin(index)));
            if let Some(for_s) = event.for_s {
                cues.push((event.at_s + for_s, Cue::End(index)));
            }
        }
        cues.retain(|(at, _)| *at < script.round.length_s);
        cues.push((script.round.length_s, Cue::NewRound));
        cues.sort_by(|a, b| a.0.total_cmp(&b.0));
        Play { cues, next: 0, round: 0, round_start_s: 0.0, stretch: script.round.stretch }
    }

    /// The round that is played, from 0.
    pub fn round(&self) -> usize {
        self.round
    }

    /// How much longer the times of this round are than written.
    pub fn stretch(&self) -> f64 {
        if self.round == 0 { 1.0 } else { self.stretch }
    }

    /// The next cue that is due at `now_s` seconds from the start, if any. Call it until it has none.
    pub fn due(&mut self, now_s: f64) -> Option<Cue> {
        let (offset, cue) = self.cues[self.next];
        let at_s = self.round_start_s + offset * self.stretch();
        if now_s < at_s {
            return None;
        }
        self.next += 1;
        if cue == Cue::NewRound {
            self.round_start_s = at_s;
            self.round += 1;
            self.next = 0;
        }
        Some(cue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"
        name = { zh = "试", en = "try" }
        report = { manhole_s = 10, pipe_s = 15, rain_s = 20, canal_s = 10, bay_s = 300 }
        pace = { water = 10, traffic = 6 }
        round = { length_s = 100, stretch = 2, shift = 7 }
    "#;

    fn parse(events: &str) -> Result<Script, ScriptError> {
        Script::parse(&format!("{HEAD}\n{events}"), &Town::wuzhen().unwrap())
    }

    #[test]
    fn the_built_in_scripts_fit_the_town() {
        let town = Town::wuzhen().unwrap();
        for (name, text) in Script::BUILT_IN {
            Script::parse(text, &town).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn a_wrong_script_is_refused_with_what_is_wrong() {
        fn refused(events: &str, expected: &str) {
            let error = parse(events).unwrap_err();
            let text =
                format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(text.contains(expected), "{text}");
        }
        refused("[[event]]\nat_s = 1\ndo.rain_frogs = {}", "rain_frogs");
        refused("[[event]]\nat_s = 1\ndo.silent = { device = \"mh-001\", loud = 1 }", "loud");
        refused("[[event]]\nat_s = -1\ndo.silent = { device = \"mh-001\" }", "at_s of event 1");
        refused("[[event]]\nat_s = nan\ndo.silent = { device = \"mh-001\" }", "at_s of event 1");
        refused("[[event]]\nat_s = 1\nfor_s = 0\ndo.silent = { device = \"mh-001\" }", "for_s");
        refused("[[event]]\nat_s = 1\ndo.silent = { device = \"mh-999\" }", "mh-999");
        refused("[[event]]\nat_s = 1\ndo.motor_fault = { device = \"mh-001\" }", "needs a gate");
        refused("[[event]]\nat_s = 1\ndo.stuck = { device = \"sg-001\" }", "publishes");
        refused(
            "[[event]]\nat_s = 1\ndo.move_gate = { device = \"sg-001\", opening = 120 }",
            "100",
        );
        assert!(matches!(parse("colour = 3"), Err(ScriptError::Syntax(_))));
    }

    #[test]
    fn a_play_gives_its_cues_in_order_and_slows_down_after_the_first_round() {
        let script = parse(
            "[[event]]\nat_s = 40\nfor_s = 20\ndo.silent = { device = \"mh-001\" }\n\
             [[event]]\nat_s = 10\ndo.storm = { peak_mm_h = 50 }",
        )
        .unwrap();
        let mut play = Play::new(&script);
        let mut seen = Vec::new();
        for second in 0..400 {
            while let Some(cue) = play.due(f64::from(second)) {
                seen.push((second, cue));
            }
        }
        let expected = [
            (10, Cue::Begin(1)),
            (40, Cue::Begin(0)),
            (60, Cue::End(0)),
            (100, Cue::NewRound),
            (120, Cue::Begin(1)),
            (180, Cue::Begin(0)),
            (220, Cue::End(0)),
            (300, Cue::NewRound),
            (320, Cue::Begin(1)),
            (380, Cue::Begin(0)),
        ];
        assert_eq!(seen, expected);
    }
}
