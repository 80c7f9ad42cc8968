//! A sluice gate: how it moves, and what passes under it.

/// Gravity in m/s2.
const G: f64 = 9.80665;
/// Speed of a gate's motor in m/s: 0.3 m/min.
const HOIST_M_PER_S: f64 = 0.3 / 60.0;
/// Beyond this opening / depth the gate hangs in the air and the opening is a weir.
const WEIR_SHARE: f64 = 0.65;

/// The flow under a sluice gate in m3/s, by Swamee (1992): gate width `width_m`, opening `opening_m`, depths above
/// the sill on both sides. Positive from side 1 to side 3; when side 3 stands higher, the sides change roles.
pub fn discharge(width_m: f64, opening_m: f64, depth1_m: f64, depth3_m: f64) -> f64 {
    let (h1, h3) = (depth1_m.max(0.0), depth3_m.max(0.0));
    if h3 > h1 {
        return -discharge(width_m, opening_m, h3, h1);
    }
    if opening_m <= 0.0 || h1 <= h3 {
        return 0.0;
    }
    if opening_m / h1 > WEIR_SHARE {
        return weir(width_m, h1, h3);
    }
    let a = opening_m;
    let coefficient = 0.611 * ((h1 - a) / (h1 + 15.0 * a)).powf(0.072);
    let free = coefficient * width_m * a * (2.0 * G * h1).sqrt();
    let limit = 0.81 * h3 * (h3 / a).powf(0.72);
    if h1 >= limit {
        return free;
    }
    let fall = (h1 - h3).powf(0.7);
    free * fall / (0.32 * (limit - h1).powf(0.7) + fall)
}

/// A broad-crested weir in m3/s, reduced by the water behind it (Villemonte).
fn weir(width_m: f64, h1: f64, h3: f64) -> f64 {
    1.7 * width_m * h1.powf(1.5) * (1.0 - (h3 / h1).powf(1.5)).powf(0.385)
}

/// What a gate's motor does. The numbers are those of its register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motor {
    /// Standing.
    Stopped = 0,
    /// Lifting the gate.
    Opening = 1,
    /// Lowering the gate.
    Closing = 2,
    /// Tripped: it does not move until it is repaired.
    Fault = 3,
}

/// What can be wrong with a gate, or is said of it by a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The motor trips: it does not move until it is repaired.
    Tripped,
    /// The motor runs and the gate does not move.
    Stuck,
    /// The key stands on local: the setpoint is ignored.
    Local,
    /// The emergency stop is pressed.
    EmergencyStop,
    /// The hoist's torque switch opened.
    OverTorque,
    /// The brake is worn: it runs on beyond its target.
    Overshoot,
    /// The mains are off.
    NoMains,
    /// The controller answers nobody; the gate itself goes on.
    LinkDown,
    /// A ship is in the lock.
    Navigation,
    /// The town takes in water.
    WaterIntake,
}

/// How far a gate with a worn brake runs on, in metres.
const OVERSHOOT_M: f64 = 0.1;
/// The hoist's load at rest and in motion, in 0.1 kN.
const LOAD: (u16, u16) = (180, 260);
/// The motor's current in motion and against a gate that does not move, in 0.01 A.
const CURRENT: (u16, u16) = (620, 1450);

/// The moving part of a sluice gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    lift_m: f64,
    opening_m: f64,
    setpoint: u16,
    motor: Motor,
    /// How far beyond its setpoint a worn brake takes it this time, in metres.
    overrun_m: f64,
    /// By [`Condition`].
    conditions: [bool; 10],
}

impl Gate {
    /// The setpoint's full scale, in 0.1 %.
    pub const FULL: u16 = 1000;

    /// A standing gate, opened to `opening` in 0.1 % of its lift.
    pub fn new(lift_m: f64, opening: u16) -> Self {
        let setpoint = opening.min(Self::FULL);
        let opening_m = lift_m * f64::from(setpoint) / f64::from(Self::FULL);
        let motor = Motor::Stopped;
        Gate { lift_m, opening_m, setpoint, motor, overrun_m: 0.0, conditions: [false; 10] }
    }

    /// Opening in metres.
    pub fn opening_m(&self) -> f64 {
        self.opening_m
    }

    /// Opening in 0.1 % of the lift.
    pub fn opening(&self) -> u16 {
        (self.opening_m / self.lift_m * f64::from(Self::FULL)).round() as u16
    }

    /// Where it is told to go, in 0.1 % of the lift.
    pub fn setpoint(&self) -> u16 {
        self.setpoint
    }

    /// Tells it where to go, in 0.1 % of the lift; above full scale means fully open.
    pub fn set_setpoint(&mut self, setpoint: u16) {
        self.setpoint = setpoint.min(Self::FULL);
        self.overrun_m = 0.0;
        let way = self.target_m() - self.opening_m;
        if self.is(Condition::Overshoot) && way != 0.0 {
            self.overrun_m = OVERSHOOT_M.copysign(way);
        }
    }

    /// What its motor does.
    pub fn motor(&self) -> Motor {
        self.motor
    }

    /// Whether something is so.
    pub fn is(&self, condition: Condition) -> bool {
        self.conditions[condition as usize]
    }

    /// Makes something so, or ends it.
    pub fn set(&mut self, condition: Condition, is: bool) {
        self.conditions[condition as usize] = is;
    }

    /// Whether the key stands on remote. A gate on local ignores its setpoint.
    pub fn remote(&self) -> bool {
        !self.is(Condition::Local)
    }

    /// The emergency stop of the controller's register: it stands, and its target is where it stands.
    pub fn stop(&mut self) {
        self.setpoint = self.opening();
        self.overrun_m = 0.0;
        self.opening_m = self.lift_m * f64::from(self.setpoint) / f64::from(Self::FULL);
        self.motor = Motor::Stopped;
    }

    /// The hoist's load in 0.1 kN.
    pub fn load(&self) -> u16 {
        if self.is_moving() { LOAD.1 } else { LOAD.0 }
    }

    /// The motor's current in 0.01 A.
    pub fn current(&self) -> u16 {
        match self.is_moving() {
            true if self.is(Condition::Stuck) => CURRENT.1,
            true => CURRENT.0,
            false => 0,
        }
    }

    fn is_moving(&self) -> bool {
        matches!(self.motor, Motor::Opening | Motor::Closing)
    }

    /// Moves the gate for `dt_s` seconds.
    pub fn step(&mut self, dt_s: f64) {
        if self.is(Condition::Tripped) {
            self.motor = Motor::Fault;
            return;
        }
        let target = self.target_m();
        let left = target - self.opening_m;
        let reach = HOIST_M_PER_S * dt_s;
        let held =
            [Condition::Local, Condition::EmergencyStop, Condition::OverTorque, Condition::NoMains];
        if held.into_iter().any(|held| self.is(held)) || left.abs() < 1e-9 {
            self.motor = Motor::Stopped;
            return;
        }
        self.motor = if left > 0.0 { Motor::Opening } else { Motor::Closing };
        if !self.is(Condition::Stuck) {
            self.opening_m =
                if left.abs() <= reach { target } else { self.opening_m + reach.copysign(left) };
        }
    }

    /// Where its motor takes it: its setpoint, and beyond with a worn brake.
    fn target_m(&self) -> f64 {
        let target = self.lift_m * f64::from(self.setpoint) / f64::from(Self::FULL);
        (target + self.overrun_m).clamp(0.0, self.lift_m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_golden_values_of_swamee() {
        let golden = [
            (3.0, 1.5, 12.68),
            (3.0, 2.0, 9.03),
            (3.0, 2.5, 5.67),
            (3.0, 2.8, 3.19),
            (3.0, 2.95, 1.31),
            (2.2, 2.0, 3.92),
            (2.05, 2.0, 1.78),
        ];
        for (h1, h3, expected) in golden {
            let flow = discharge(6.0, 0.5, h1, h3);
            assert!((flow - expected).abs() < 0.006, "({h1}, {h3}) -> {flow}, not {expected}");
        }
    }

    #[test]
    fn the_flow_is_continuous_at_the_limit_of_submergence() {
        // The domain's 12.682 was computed with g = 9.81; ours is 0.002 lower.
        let free = discharge(6.0, 0.5, 3.0, 1.6017);
        assert!((free - 12.682).abs() < 3e-3, "{free}");
        let submerged = discharge(6.0, 0.5, 3.0, 1.6017 + 1e-4);
        assert!((free - submerged).abs() < 0.01, "{free} {submerged}");
    }

    proptest! {
        #[test]
        fn water_runs_down_and_mirrors(a in 0.0f64..2.0, h1 in 0.0f64..5.0, h3 in 0.0f64..5.0) {
            let flow = discharge(6.0, a, h1, h3);
            prop_assert!(flow.is_finite());
            prop_assert!(flow * (h1 - h3) >= 0.0);
            prop_assert_eq!(flow, -discharge(6.0, a, h3, h1));
        }
    }

    #[test]
    fn a_gate_moves_at_its_motors_speed_and_stops_at_the_setpoint() {
        let mut gate = Gate::new(2.0, 500);
        gate.set_setpoint(650);
        gate.step(30.0);
        assert_eq!(gate.motor(), Motor::Opening);
        assert!((gate.opening_m() - 1.15).abs() < 1e-9, "0.3 m/min");
        gate.step(60.0);
        assert_eq!(gate.opening(), 650);
        gate.step(1.0);
        assert_eq!(gate.motor(), Motor::Stopped);
        gate.set_setpoint(0);
        gate.step(1.0);
        assert_eq!(gate.motor(), Motor::Closing);
    }

    #[test]
    fn a_jammed_gate_stands_and_a_local_gate_ignores_its_setpoint() {
        let mut gate = Gate::new(2.0, 100);
        gate.set_setpoint(900);
        gate.set(Condition::Tripped, true);
        gate.step(60.0);
        assert_eq!((gate.motor(), gate.opening()), (Motor::Fault, 100));
        gate.set(Condition::Tripped, false);
        gate.set(Condition::Local, true);
        gate.step(60.0);
        assert_eq!((gate.motor(), gate.opening()), (Motor::Stopped, 100));
        gate.set(Condition::Local, false);
        gate.step(20.0);
        assert_eq!((gate.motor(), gate.opening()), (Motor::Opening, 150));
        gate.set_setpoint(9999);
        assert_eq!(gate.setpoint(), Gate::FULL);
    }

    fn check(condition: Condition, expected: (Motor, u16)) {
        let mut gate = Gate::new(2.0, 100);
        gate.set(condition, true);
        gate.set_setpoint(150);
        gate.step(60.0);
        assert_eq!((gate.motor(), gate.opening()), expected, "{condition:?}");
    }

    #[test]
    fn every_condition_has_its_effect() {
        for held in [Condition::EmergencyStop, Condition::OverTorque, Condition::NoMains] {
            check(held, (Motor::Stopped, 100));
        }
        check(Condition::Stuck, (Motor::Opening, 100));
        check(Condition::Overshoot, (Motor::Opening, 200));
        for said in [Condition::Navigation, Condition::WaterIntake, Condition::LinkDown] {
            check(said, (Motor::Opening, 150));
        }
    }

    #[test]
    fn a_stopped_gate_stays_where_it_stands() {
        let mut gate = Gate::new(2.0, 100);
        gate.set_setpoint(900);
        gate.step(20.0);
        gate.stop();
        gate.step(60.0);
        assert_eq!((gate.motor(), gate.opening(), gate.setpoint()), (Motor::Stopped, 150, 150));
    }
}
