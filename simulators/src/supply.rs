//! The water supply: what each main delivers over the day, and its pressure.

use crate::town::plan::MainPlan;

/// Demand of the hour against the daily mean: low at night, high in the morning and in the evening.
const DEMAND: [f64; 24] = [
    0.42, 0.36, 0.33, 0.33, 0.40, 0.65, 1.15, 1.55, 1.50, 1.30, 1.15, 1.20, 1.25, 1.05, 0.95, 0.95,
    1.05, 1.30, 1.55, 1.50, 1.30, 1.05, 0.80, 0.58,
];

/// Demand of a moment against the daily mean. `hour` is the local hour with its fraction.
pub fn demand(hour: f64) -> f64 {
    let hour = hour.rem_euclid(24.0);
    let (from, share) = (hour.floor() as usize % 24, hour.fract());
    DEMAND[from] * (1.0 - share) + DEMAND[(from + 1) % 24] * share
}

/// One main.
#[derive(Debug, Clone)]
pub struct Main {
    plan: MainPlan,
    burst: Option<Burst>,
}

/// A burst main.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// Water that is lost, in m3/h.
    pub leak_m3h: f64,
    /// Pressure that is lost with it, in kPa.
    pub drop_kpa: f64,
}

impl Main {
    /// A sound main.
    pub fn new(plan: &MainPlan) -> Self {
        Main { plan: plan.clone(), burst: None }
    }

    /// Breaks or repairs it.
    pub fn set_burst(&mut self, burst: Option<Burst>) {
        self.burst = burst;
    }

    /// Flow in m3/h at a local hour.
    pub fn flow_m3h(&self, hour: f64) -> f64 {
        self.plan.mean_m3h * demand(hour) + self.burst.map_or(0.0, |burst| burst.leak_m3h)
    }

    /// Pressure in kPa at a local hour: the head at its source less the loss, which goes with the flow's square.
    pub fn pressure_kpa(&self, hour: f64) -> f64 {
        let loss = self.plan.loss_kpa * demand(hour).powi(2);
        let drop = self.burst.map_or(0.0, |burst| burst.drop_kpa);
        (self.plan.source_kpa - loss - drop).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_averages_to_its_mean() {
        let mean = (0..2400).map(|i| demand(f64::from(i) / 100.0)).sum::<f64>() / 2400.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((demand(23.999_99) - demand(0.0)).abs() < 1e-3, "midnight has no step");
        assert_eq!(demand(-1.0), demand(23.0));
    }

    #[test]
    fn pressure_falls_with_demand_and_with_a_burst() {
        let mut main = Main::new(&MainPlan { mean_m3h: 100.0, source_kpa: 340.0, loss_kpa: 25.0 });
        assert!(main.pressure_kpa(3.0) > main.pressure_kpa(7.5) + 40.0);
        let before = (main.flow_m3h(7.5), main.pressure_kpa(7.5));
        main.set_burst(Some(Burst { leak_m3h: 60.0, drop_kpa: 150.0 }));
        assert!((main.flow_m3h(7.5) - before.0 - 60.0).abs() < 1e-9);
        assert!((main.pressure_kpa(7.5) - before.1 + 150.0).abs() < 1e-9);
    }
}
