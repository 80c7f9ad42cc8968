//! The sewer: rain runs off into manholes, pipes carry what they can, the rest stands in the manholes.
//!
//! Each manhole is a small tank: below the pipe's crown it and its share of pipe fill together, between crown and
//! ground only the shaft and what is connected to it, above the ground the street ponds. Pipes are trees that end
//! at outfalls. A pipe carries what Manning's equation gives for the depth at its upper end, never more than full
//! pipe, and less when the water below stands against it. No water is made or lost: what leaves one tank enters
//! the next, and the [`Ledger`] has the rest.

use crate::rain::Weather;
use crate::town::plan::ManholePlan;

/// Street that ponds around an overflowing manhole, in m2.
const POND_AREA_M2: f64 = 600.0;
/// Part of the rain on a catchment that reaches the sewer.
const RUNOFF_SHARE: f64 = 0.7;

/// The flow of a full round pipe in m3/s by Manning's equation.
pub fn full_flow(diameter_m: f64, roughness: f64, slope: f64) -> f64 {
    let area = std::f64::consts::PI * diameter_m * diameter_m / 4.0;
    area / roughness * (diameter_m / 4.0).powf(2.0 / 3.0) * slope.sqrt()
}

/// The flow of a round pipe filled to `fill` = depth / diameter, as a share of the full flow. Its largest value is
/// 1.0757 at 0.938: a pipe that is not quite full carries more.
pub fn fill_ratio(fill: f64) -> f64 {
    if fill >= 1.0 {
        return 1.0;
    }
    if fill <= 0.0 {
        return 0.0;
    }
    let angle = 2.0 * (1.0 - 2.0 * fill).acos();
    let area_share = (angle - angle.sin()) / std::f64::consts::TAU;
    let radius_share = 1.0 - angle.sin() / angle;
    area_share * radius_share.powf(2.0 / 3.0)
}

/// A manhole with the pipe that leaves it.
#[derive(Debug, Clone)]
pub struct Manhole {
    plan: ManholePlan,
    full_m3s: f64,
    /// Water that stands in it, in m3.
    stored_m3: f64,
    /// Rain that is still on its way over its catchment, in m3.
    on_catchment_m3: f64,
    /// How much of the pipe below is open, 0..=1.
    open: f64,
    /// What the pipe below carries, in m3/s.
    flow_m3s: f64,
}

impl Manhole {
    fn new(plan: ManholePlan) -> Self {
        let full_m3s = full_flow(plan.diameter_m, plan.roughness, plan.slope);
        let mut manhole = Manhole {
            plan,
            full_m3s,
            stored_m3: 0.0,
            on_catchment_m3: 0.0,
            open: 1.0,
            flow_m3s: 0.0,
        };
        manhole.stored_m3 = 0.1 * manhole.low_area();
        manhole
    }

    /// Tank area below the crown: the shaft and half of the pipe's width over its length.
    fn low_area(&self) -> f64 {
        self.plan.shaft_area_m2 + 0.5 * self.plan.diameter_m * self.plan.length_m
    }

    /// Depth over the invert in metres.
    pub fn depth(&self) -> f64 {
        let crown = self.plan.diameter_m;
        let at_crown = self.low_area() * crown;
        if self.stored_m3 <= at_crown {
            return self.stored_m3 / self.low_area();
        }
        let to_ground = (self.plan.ground_m - self.plan.invert_m - crown).max(0.0);
        let shaft = self.plan.shaft_area_m2;
        let above = (self.stored_m3 - at_crown) / shaft;
        if above <= to_ground {
            return crown + above;
        }
        crown + to_ground + (above - to_ground) * shaft / POND_AREA_M2
    }

    /// What its pipe carries, in m3/s.
    pub fn flow_m3s(&self) -> f64 {
        self.flow_m3s
    }

    /// What its pipe carries when it is full, in m3/s.
    pub fn full_m3s(&self) -> f64 {
        self.full_m3s
    }

    /// Opens the pipe below to a share 0..=1 of its capacity: 1 is clean, 0 is shut.
    pub fn set_open(&mut self, share: f64) {
        self.open = share.clamp(0.0, 1.0);
    }

    fn head(&self) -> f64 {
        self.plan.invert_m + self.depth()
    }

    /// The linear reservoir of the catchment over `dt` seconds, solved exactly: returns what reaches the manhole.
    fn run_off(&mut self, rain_m3s: f64, dt: f64) -> f64 {
        let lag = self.plan.lag_s;
        let steady = rain_m3s * lag;
        let after = steady + (self.on_catchment_m3 - steady) * (-dt / lag).exp();
        let reached = (self.on_catchment_m3 + rain_m3s * dt - after).max(0.0);
        self.on_catchment_m3 += rain_m3s * dt - reached;
        reached
    }
}

/// What crossed the sewer's border since the start, in m3.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ledger {
    /// Waste water and rain that came in.
    pub inflow_m3: f64,
    /// Water that left through outfalls.
    pub outflow_m3: f64,
}

/// The sewer of the town.
#[derive(Debug, Clone)]
pub struct Sewer {
    manholes: Vec<Manhole>,
    ledger: Ledger,
    /// Per basin: what the outfalls gave it since it was last asked, in m3.
    outfalls_m3: Vec<f64>,
    moved_m3: Vec<f64>,
}

impl Sewer {
    /// A sewer in dry weather that empties into `basins` basins.
    pub fn new(plans: &[ManholePlan], basins: usize) -> Self {
        Sewer {
            manholes: plans.iter().cloned().map(Manhole::new).collect(),
            ledger: Ledger::default(),
            outfalls_m3: vec![0.0; basins],
            moved_m3: vec![0.0; plans.len()],
        }
    }

    /// The manholes, in the plan's order.
    pub fn manholes(&self) -> &[Manhole] {
        &self.manholes
    }

    /// One manhole, to block or clean the pipe below it.
    pub fn manhole_mut(&mut self, index: usize) -> Option<&mut Manhole> {
        self.manholes.get_mut(index)
    }

    /// Everything that came in and went out.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// All water in manholes and on catchments, in m3.
    pub fn stored_m3(&self) -> f64 {
        self.manholes.iter().map(|m| m.stored_m3 + m.on_catchment_m3).sum()
    }

    /// What the outfalls gave to each basin since the last call, in m3.
    pub fn take_outfalls(&mut self) -> Vec<f64> {
        let basins = self.outfalls_m3.len();
        std::mem::replace(&mut self.outfalls_m3, vec![0.0; basins])
    }

    /// Moves the water on by `dt_s` seconds (at most a few: the step is explicit). `waste_share` is waste water
    /// against its daily mean.
    pub fn step(&mut self, dt_s: f64, weather: &Weather, waste_share: f64) {
        for manhole in &mut self.manholes {
            let plan = &manhole.plan;
            let rain_m3s =
                weather.intensity(plan.position) / 3.6e6 * plan.catchment_m2 * RUNOFF_SHARE;
            let waste_m3 = plan.waste_m3s * waste_share * dt_s;
            self.ledger.inflow_m3 += rain_m3s * dt_s + waste_m3;
            let reached = manhole.run_off(rain_m3s, dt_s);
            manhole.stored_m3 += waste_m3 + reached;
        }
        for index in 0..self.manholes.len() {
            self.moved_m3[index] = self.outflow(index) * dt_s;
        }
        for index in 0..self.manholes.len() {
            self.carry(index, dt_s);
        }
    }

    /// What leaves a manhole through its pipe, in m3/s, from the state at the start of the step.
    fn outflow(&self, index: usize) -> f64 {
        let manhole = &self.manholes[index];
        let depth = manhole.depth();
        let capacity =
            manhole.full_m3s * fill_ratio(depth / manhole.plan.diameter_m) * manhole.open;
        let Some(below) = manhole.plan.downstream else { return capacity };
        // The pipe's own fall drives its full capacity; water that stands against it leaves less.
        let fall = manhole.plan.slope * manhole.plan.length_m;
        let drive = (manhole.head() - self.manholes[below].head()) / fall;
        capacity * drive.clamp(0.0, 1.0).sqrt()
    }

    /// Moves the water of one pipe, bounded so that a step neither empties a tank nor turns a head round.
    fn carry(&mut self, index: usize, dt_s: f64) {
        let manhole = &self.manholes[index];
        let mut moved = self.moved_m3[index].min(0.5 * manhole.stored_m3);
        if let Some(below) = manhole.plan.downstream {
            let shaft = manhole.plan.shaft_area_m2;
            let head = (manhole.head() - self.manholes[below].head()).max(0.0);
            moved = moved.min(0.5 * head * shaft);
            self.manholes[below].stored_m3 += moved;
        } else {
            self.outfalls_m3[manhole.plan.outfall_basin] += moved;
            self.ledger.outflow_m3 += moved;
        }
        let manhole = &mut self.manholes[index];
        manhole.stored_m3 -= moved;
        manhole.flow_m3s = moved / dt_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Point;
    use crate::random::{Stream, generator};
    use proptest::prelude::*;

    const TOWN: Point = Point { lon: 120.4851, lat: 30.7454 };

    /// Pipes in a row, the last one to an outfall.
    fn row(n: usize) -> Sewer {
        let plan = |i: usize| ManholePlan {
            position: TOWN,
            invert_m: 0.1 * (n - i) as f64,
            ground_m: 0.1 * (n - i) as f64 + 3.0,
            diameter_m: 0.6,
            roughness: 0.013,
            slope: 0.001,
            length_m: 100.0,
            shaft_area_m2: 20.0,
            catchment_m2: 10_000.0,
            lag_s: 600.0,
            waste_m3s: 0.004,
            downstream: (i + 1 < n).then_some(i + 1),
            outfall_basin: 0,
        };
        Sewer::new(&(0..n).map(plan).collect::<Vec<_>>(), 1)
    }

    fn dry() -> Weather {
        Weather::new(generator(1, Stream::Rain))
    }

    #[test]
    fn a_full_pipe_carries_what_manning_says() {
        let flow = full_flow(0.6, 0.013, 0.001);
        assert!((flow - 0.194).abs() < 5e-4, "{flow}");
        let speed = flow / (std::f64::consts::PI * 0.09);
        assert!((speed - 0.69).abs() < 5e-3, "{speed}");
    }

    #[test]
    fn a_pipe_carries_most_just_before_it_is_full() {
        let (mut best, mut at) = (0.0, 0.0);
        for step in 1..1000 {
            let fill = f64::from(step) / 1000.0;
            if fill_ratio(fill) > best {
                (best, at) = (fill_ratio(fill), fill);
            }
        }
        assert!((best - 1.0757).abs() < 1e-4, "{best}");
        assert!((at - 0.938).abs() < 1.5e-3, "{at}");
        assert!((fill_ratio(0.5) - 0.5).abs() < 1e-9, "half full carries half");
        assert_eq!((fill_ratio(0.0), fill_ratio(1.3)), (0.0, 1.0));
    }

    #[test]
    fn dry_weather_settles_to_what_comes_in() {
        let mut sewer = row(5);
        let weather = dry();
        for _ in 0..20_000 {
            sewer.step(1.0, &weather, 1.0);
        }
        let out = sewer.manholes()[4].flow_m3s();
        assert!((out - 5.0 * 0.004).abs() < 1e-4, "{out}");
        assert!(sewer.manholes().iter().all(|m| m.depth() < 0.3));
    }

    #[test]
    fn a_storm_beyond_capacity_raises_levels_and_then_leaves() {
        let mut sewer = row(8);
        let mut weather = dry();
        weather.start_storm(TOWN, 150.0, 3600.0);
        let mut peak = 0.0_f64;
        for _ in 0..12 * 3600 {
            weather.step(1.0);
            sewer.step(1.0, &weather, 1.0);
            peak = sewer.manholes().iter().map(Manhole::depth).fold(peak, f64::max);
        }
        assert!(peak > 2.0, "{peak}");
        assert!(sewer.manholes().iter().all(|m| m.depth() < 0.4));
    }

    #[test]
    fn a_blocked_pipe_fills_what_is_above_and_starves_what_is_below() {
        let mut sewer = row(6);
        let weather = dry();
        for _ in 0..10_000 {
            sewer.step(1.0, &weather, 1.0);
        }
        let before: Vec<f64> = sewer.manholes().iter().map(Manhole::depth).collect();
        sewer.manhole_mut(3).unwrap().set_open(0.01);
        for _ in 0..4000 {
            sewer.step(1.0, &weather, 1.0);
        }
        let after: Vec<f64> = sewer.manholes().iter().map(Manhole::depth).collect();
        assert!(after[3] > before[3] + 0.3 && after[2] > before[2], "{before:?} {after:?}");
        assert!(after[4] < before[4] && after[5] < before[5], "{before:?} {after:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_water_is_made_or_lost(
            seed in 0u64..1000, peak in 0.0f64..250.0, blocked in 0usize..8, open in 0.0f64..1.0, dt in 0.2f64..3.0,
        ) {
            let mut sewer = row(8);
            let start = sewer.stored_m3();
            let mut weather = Weather::new(generator(seed, Stream::Rain));
            weather.start_storm(TOWN, peak, 1800.0);
            sewer.manhole_mut(blocked).unwrap().set_open(open);
            for _ in 0..1500 {
                weather.step(dt);
                sewer.step(dt, &weather, 1.3);
            }
            let Ledger { inflow_m3, outflow_m3 } = sewer.ledger();
            let missing = start + inflow_m3 - outflow_m3 - sewer.stored_m3();
            prop_assert!(missing.abs() <= 1e-9 * (start + inflow_m3), "{missing}");
            let basin: f64 = sewer.take_outfalls().iter().sum();
            prop_assert!((basin - outflow_m3).abs() <= 1e-9 * outflow_m3.max(1.0));
            prop_assert!(sewer.manholes().iter().all(|m| m.depth() >= 0.0 && m.depth() < 5.0));
        }
    }
}
