//! The canals: a few basins, joined by sluice gates, drained by pumps.
//!
//! Levels are metres in the 1985 datum. Inner basins get rain and the sewers' water; outer basins are large and
//! drift back to the level of the region. What a gate passes leaves one basin and enters the other; the
//! [`Ledger`] has what crossed the border, so that no water is made or lost.

use crate::gate::discharge;
use crate::town::plan::{BasinPlan, GatePlan};

/// Part of the rain on a basin's own catchment that reaches it.
const RUNOFF_SHARE: f64 = 0.6;

/// What crossed the border of all basins since the start, in m3.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ledger {
    /// Rain, sewers, and what the region gave.
    pub inflow_m3: f64,
    /// What the pumps and the region took.
    pub outflow_m3: f64,
}

/// One stretch of canal with one level.
#[derive(Debug, Clone)]
struct Basin {
    plan: BasinPlan,
    level_m: f64,
    pumping: bool,
}

/// All canals.
#[derive(Debug, Clone)]
pub struct Canals {
    basins: Vec<Basin>,
    gates: Vec<GatePlan>,
    flows_m3s: Vec<f64>,
    ledger: Ledger,
}

impl Canals {
    /// Canals at their normal levels.
    pub fn new(basins: &[BasinPlan], gates: &[GatePlan]) -> Self {
        let basins = basins
            .iter()
            .map(|plan| Basin { level_m: plan.level_m, plan: plan.clone(), pumping: false })
            .collect();
        Canals {
            basins,
            gates: gates.to_vec(),
            flows_m3s: vec![0.0; gates.len()],
            ledger: Ledger::default(),
        }
    }

    /// The level of a basin in metres.
    pub fn level_m(&self, basin: usize) -> f64 {
        self.basins[basin].level_m
    }

    /// The levels on the two sides of a gate in metres, as the plan calls them up and down.
    pub fn levels_at(&self, gate: usize) -> (f64, f64) {
        let plan = &self.gates[gate];
        (self.level_m(plan.up), self.level_m(plan.down))
    }

    /// What a gate passes in m3/s, positive from its upper to its lower side.
    pub fn flow_m3s(&self, gate: usize) -> f64 {
        self.flows_m3s[gate]
    }

    /// Everything that came in and went out.
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// All water above level 0, in m3.
    pub fn stored_m3(&self) -> f64 {
        self.basins.iter().map(|b| b.level_m * b.plan.area_m2).sum()
    }

    /// Adds water to a basin, in m3.
    pub fn pour(&mut self, basin: usize, m3: f64) {
        let basin = &mut self.basins[basin];
        basin.level_m += m3 / basin.plan.area_m2;
        self.ledger.inflow_m3 += m3;
    }

    /// Moves the water on by `dt_s` seconds. `rain_mm_h` is the rain on each basin, `openings_m` each gate's opening.
    pub fn step(&mut self, dt_s: f64, rain_mm_h: &[f64], openings_m: &[f64]) {
        for (index, rain) in rain_mm_h.iter().enumerate() {
            let plan = &self.basins[index].plan;
            let area = plan.area_m2 + plan.catchment_m2 * RUNOFF_SHARE;
            self.pour(index, rain / 3.6e6 * area * dt_s);
        }
        for (index, opening) in openings_m.iter().enumerate() {
            self.pass(index, *opening, dt_s);
        }
        for index in 0..self.basins.len() {
            self.pump(index, dt_s);
            self.settle(index, dt_s);
        }
    }

    /// Lets water through one gate, never more than would level the two sides.
    fn pass(&mut self, index: usize, opening_m: f64, dt_s: f64) {
        let gate = &self.gates[index];
        let (up, down) = (gate.up, gate.down);
        let (high, low) = (self.basins[up].level_m, self.basins[down].level_m);
        let flow = discharge(gate.width_m, opening_m, high - gate.sill_m, low - gate.sill_m);
        let (area_up, area_down) = (self.basins[up].plan.area_m2, self.basins[down].plan.area_m2);
        let levelling = (high - low).abs() / (1.0 / area_up + 1.0 / area_down);
        let moved = (flow * dt_s).clamp(-0.5 * levelling, 0.5 * levelling);
        self.basins[up].level_m -= moved / area_up;
        self.basins[down].level_m += moved / area_down;
        self.flows_m3s[index] = moved / dt_s;
    }

    /// The basin's pump: starts at one level, stops at a lower one.
    fn pump(&mut self, index: usize, dt_s: f64) {
        let basin = &mut self.basins[index];
        let Some(pump) = &basin.plan.pump else { return };
        if basin.level_m >= pump.start_m {
            basin.pumping = true;
        } else if basin.level_m <= pump.stop_m {
            basin.pumping = false;
        }
        if basin.pumping {
            let moved = pump.flow_m3s * dt_s;
            basin.level_m -= moved / basin.plan.area_m2;
            self.ledger.outflow_m3 += moved;
        }
    }

    /// An outer basin drifts back to the region's level.
    fn settle(&mut self, index: usize, dt_s: f64) {
        let basin = &mut self.basins[index];
        let Some(time_s) = basin.plan.settles_in_s else { return };
        let moved = (basin.plan.level_m - basin.level_m)
            * (1.0 - (-dt_s / time_s).exp())
            * basin.plan.area_m2;
        basin.level_m += moved / basin.plan.area_m2;
        if moved > 0.0 {
            self.ledger.inflow_m3 += moved;
        } else {
            self.ledger.outflow_m3 -= moved;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::plan::PumpPlan;
    use proptest::prelude::*;

    fn basin(level_m: f64, settles_in_s: Option<f64>, pump: Option<PumpPlan>) -> BasinPlan {
        BasinPlan {
            id: "b".to_owned(),
            area_m2: 40_000.0,
            level_m,
            catchment_m2: 100_000.0,
            settles_in_s,
            pump,
        }
    }

    fn gate(up: usize, down: usize) -> GatePlan {
        GatePlan { up, down, width_m: 6.0, lift_m: 2.0, sill_m: -1.0, opening: 250 }
    }

    #[test]
    fn an_open_gate_levels_two_basins() {
        let mut canals =
            Canals::new(&[basin(1.6, None, None), basin(1.0, None, None)], &[gate(0, 1)]);
        let mut last = f64::INFINITY;
        for _ in 0..6 * 3600 {
            canals.step(1.0, &[0.0, 0.0], &[0.5]);
            let (up, down) = canals.levels_at(0);
            assert!(up - down <= last && up >= down, "the head falls and never turns");
            last = up - down;
        }
        assert!((canals.level_m(0) - 1.3).abs() < 1e-3, "{}", canals.level_m(0));
        let shut = canals.level_m(0);
        canals.step(1.0, &[0.0, 0.0], &[0.0]);
        assert_eq!(canals.level_m(0), shut);
        assert_eq!(canals.flow_m3s(0), 0.0);
    }

    #[test]
    fn a_pump_starts_high_and_stops_low() {
        let pump = PumpPlan { flow_m3s: 4.0, start_m: 1.46, stop_m: 1.2 };
        let mut canals = Canals::new(&[basin(1.45, None, Some(pump))], &[]);
        canals.step(1.0, &[0.0], &[]);
        assert_eq!(canals.ledger().outflow_m3, 0.0);
        canals.pour(0, 2000.0);
        for _ in 0..7200 {
            canals.step(1.0, &[0.0], &[]);
        }
        assert!((canals.level_m(0) - 1.2).abs() < 1e-3, "{}", canals.level_m(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn no_water_is_made_or_lost(
            a in 0.5f64..2.5, b in 0.5f64..2.5, c in 0.5f64..2.5, rain in 0.0f64..150.0,
            open in prop::array::uniform2(0.0f64..2.0), dt in 0.2f64..3.0,
        ) {
            let pump = PumpPlan { flow_m3s: 3.0, start_m: 1.46, stop_m: 1.2 };
            let basins = [basin(a, Some(3600.0), None), basin(b, None, Some(pump)), basin(c, None, None)];
            let mut canals = Canals::new(&basins, &[gate(0, 1), gate(1, 2)]);
            let start = canals.stored_m3();
            for _ in 0..2000 {
                canals.step(dt, &[rain, rain, 0.0], &open);
            }
            let Ledger { inflow_m3, outflow_m3 } = canals.ledger();
            let missing = start + inflow_m3 - outflow_m3 - canals.stored_m3();
            prop_assert!(missing.abs() <= 1e-9 * (start + inflow_m3), "{missing}");
        }
    }
}
