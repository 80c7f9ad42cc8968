//! Parking: cars arrive by chance, more in some hours than in others, stay a while and leave.

use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::random::poisson;
use crate::town::plan::LotPlan;

/// Arrivals of the hour against the daily mean, for a town that lives of visitors.
const ARRIVALS: [f64; 24] = [
    0.1, 0.05, 0.05, 0.05, 0.1, 0.2, 0.6, 1.2, 1.9, 2.2, 2.1, 1.8, 1.5, 1.6, 1.5, 1.3, 1.3, 1.6,
    1.7, 1.3, 0.8, 0.5, 0.3, 0.25,
];

/// Nobody leaves a car for a whole day; a car that stays longer is an event of its own.
const LONGEST_STAY_H: f64 = 20.0;

/// Arrivals of a moment against the daily mean. `hour` is the local hour with its fraction.
fn arrivals(hour: f64) -> f64 {
    ARRIVALS[hour.rem_euclid(24.0) as usize % 24]
}

/// All bays of the town.
#[derive(Debug)]
pub struct Parking {
    lots: Vec<Lot>,
    occupied: Vec<bool>,
    /// How long the car in a bay has stood there, in hours.
    stays_h: Vec<f64>,
    /// Bays with a car that nobody fetches.
    abandoned: Vec<bool>,
    rng: ChaCha8Rng,
}

#[derive(Debug)]
struct Lot {
    bays: Range<usize>,
    /// Mean arrivals per bay and hour over the day.
    turnover_per_h: f64,
    mean_stay_h: f64,
}

impl Parking {
    /// Lots filled as they usually are at a local hour. Bays are numbered through, lot by lot.
    pub fn new(plans: &[LotPlan], hour: f64, mut rng: ChaCha8Rng) -> Self {
        let mut lots = Vec::new();
        let mut occupied = Vec::new();
        for plan in plans {
            let first = occupied.len();
            let usual = plan.turnover_per_h * arrivals(hour) * plan.mean_stay_h;
            let share = (usual / (1.0 + usual)).max(plan.residents);
            occupied.extend((0..plan.bays).map(|_| rng.random_bool(share.clamp(0.0, 1.0))));
            lots.push(Lot {
                bays: first..occupied.len(),
                turnover_per_h: plan.turnover_per_h,
                mean_stay_h: plan.mean_stay_h,
            });
        }
        let bays = occupied.len();
        Parking { lots, occupied, stays_h: vec![0.0; bays], abandoned: vec![false; bays], rng }
    }

    /// Leaves a car in a bay, for good, or takes it away.
    pub fn abandon(&mut self, bay: usize, is_left: bool) {
        self.abandoned[bay] = is_left;
        self.occupied[bay] = is_left;
        self.stays_h[bay] = 0.0;
    }

    /// Whether a car stands in a bay.
    pub fn occupied(&self, bay: usize) -> bool {
        self.occupied[bay]
    }

    /// How many cars stand in all bays.
    pub fn cars(&self) -> usize {
        self.occupied.iter().filter(|&&taken| taken).count()
    }

    /// Moves the traffic on by `dt_h` hours at a local hour; returns how many cars came in and went out. A car
    /// that finds its lot full drives on.
    pub fn step(&mut self, dt_h: f64, hour: f64) -> Traffic {
        let mut traffic = Traffic::default();
        for lot in &self.lots {
            // First who comes: a bay that is left stays free until the next step, so that its sensor sees it.
            let mean = lot.turnover_per_h * arrivals(hour) * lot.bays.len() as f64 * dt_h;
            for _ in 0..poisson(&mut self.rng, mean) {
                match free_bay(&self.occupied, &lot.bays, &mut self.rng) {
                    Some(bay) => {
                        self.occupied[bay] = true;
                        self.stays_h[bay] = 0.0;
                        traffic.arrived += 1;
                    }
                    None => traffic.turned_away += 1,
                }
            }
            let leaves = 1.0 - (-dt_h / lot.mean_stay_h).exp();
            for bay in lot.bays.clone() {
                if !self.occupied[bay] {
                    continue;
                }
                self.stays_h[bay] += dt_h;
                let wants_to = self.rng.random_bool(leaves);
                let leaves_now = wants_to || self.stays_h[bay] > LONGEST_STAY_H;
                if leaves_now && !self.abandoned[bay] {
                    self.occupied[bay] = false;
                    traffic.left += 1;
                }
            }
        }
        traffic
    }
}

/// Cars of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Cars that found a bay.
    pub arrived: usize,
    /// Cars that left.
    pub left: usize,
    /// Cars that found none.
    pub turned_away: usize,
}

/// A free bay of a lot: the first one after a bay drawn by lot.
fn free_bay(occupied: &[bool], bays: &Range<usize>, rng: &mut ChaCha8Rng) -> Option<usize> {
    if bays.is_empty() {
        return None;
    }
    let from = rng.random_range(bays.clone());
    (from..bays.end).chain(bays.start..from).find(|&bay| !occupied[bay])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    fn lots() -> [LotPlan; 2] {
        let lot = |bays, turnover_per_h| LotPlan {
            bays,
            turnover_per_h,
            mean_stay_h: 2.0,
            residents: 0.1,
        };
        [lot(200, 0.2), lot(50, 3.0)]
    }

    #[test]
    fn cars_are_neither_made_nor_lost() {
        let mut parking = Parking::new(&lots(), 9.0, generator(3, Stream::Parking));
        let mut cars = parking.cars();
        for step in 0..2000 {
            let traffic = parking.step(0.02, f64::from(step) * 0.02);
            cars = cars + traffic.arrived - traffic.left;
            assert_eq!(parking.cars(), cars);
        }
    }

    #[test]
    fn arrivals_follow_their_rate_and_full_lots_turn_cars_away() {
        let mut parking = Parking::new(&lots(), 9.5, generator(4, Stream::Parking));
        let (mut all, mut away) = (0, 0);
        for _ in 0..1000 {
            let traffic = parking.step(0.01, 9.5);
            all += traffic.arrived + traffic.turned_away;
            away += traffic.turned_away;
        }
        let expected = (200.0 * 0.2 + 50.0 * 3.0) * ARRIVALS[9] * 10.0;
        assert!((all as f64 / expected - 1.0).abs() < 0.06, "{all} of {expected}");
        assert!(away > 0, "the small lot is far too small");
        let quiet = (0..1000).map(|_| parking.step(0.01, 2.0).arrived).sum::<usize>();
        assert!(quiet < all / 5, "{quiet} at night");
    }
}
