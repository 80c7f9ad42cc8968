//! Rain: a few cells that grow, drift over the town and die.
//!
//! A cell is a bell of intensity in space and a triangle in time. Time here is the weather's own, in seconds;
//! how fast it runs against the wall clock is the world's business.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::geo::Point;

/// Cells of one storm: enough that gauges differ, few enough to sum per manhole.
const CELLS_PER_STORM: usize = 4;

/// When in its life a cell is strongest: summer storms come fast and leave slowly.
const PEAK_AT: f64 = 0.3;

/// One cell of rain.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// When it starts, in seconds of weather time.
    pub start_s: f64,
    /// How long it lives, in seconds.
    pub life_s: f64,
    /// Intensity at its centre when it is strongest, in mm/h.
    pub peak_mm_h: f64,
    /// Distance from the centre, in metres, where the intensity has fallen to 61 %.
    pub radius_m: f64,
    /// Where the centre is when it is strongest.
    pub centre: Point,
    /// Drift in m/s, east and north.
    pub drift: (f64, f64),
}

impl Cell {
    /// Intensity in mm/h at a place and time.
    pub fn intensity(&self, place: Point, at_s: f64) -> f64 {
        let age = (at_s - self.start_s) / self.life_s;
        if !(0.0..=1.0).contains(&age) {
            return 0.0;
        }
        let since_peak = (age - PEAK_AT) * self.life_s;
        let centre = self.centre.moved(self.drift.0 * since_peak, self.drift.1 * since_peak);
        let distance = centre.distance(place) / self.radius_m;
        let growth = (age / PEAK_AT).min((1.0 - age) / (1.0 - PEAK_AT));
        self.peak_mm_h * growth * (-0.5 * distance * distance).exp()
    }
}

/// The sky over the town.
#[derive(Debug)]
pub struct Weather {
    now_s: f64,
    cells: Vec<Cell>,
    rng: ChaCha8Rng,
}

impl Weather {
    /// A clear sky.
    pub fn new(rng: ChaCha8Rng) -> Self {
        Weather { now_s: 0.0, cells: Vec::new(), rng }
    }

    /// Lets a storm come over `centre` that lasts `life_s` seconds of weather time and reaches about `peak_mm_h`.
    pub fn start_storm(&mut self, centre: Point, peak_mm_h: f64, life_s: f64) {
        for nth in 0..CELLS_PER_STORM {
            let rng = &mut self.rng;
            // The first cell hits the town squarely, the others pass around it and overlap it in time.
            let spread = if nth == 0 { 300.0 } else { 1500.0 };
            let strength = if nth == 0 { 0.8 } else { rng.random_range(0.15..0.4) };
            let shift = if nth == 0 { 0.0 } else { rng.random_range(0.0..0.15) };
            self.cells.push(Cell {
                start_s: self.now_s + life_s * shift,
                life_s: life_s * rng.random_range(0.7..0.85),
                peak_mm_h: peak_mm_h * strength,
                radius_m: rng.random_range(1400.0..2200.0),
                centre: centre
                    .moved(rng.random_range(-spread..spread), rng.random_range(-spread..spread)),
                drift: (rng.random_range(-0.4..0.4), rng.random_range(-0.3..0.3)),
            });
        }
    }

    /// Ends all rain at once.
    pub fn clear(&mut self) {
        self.cells.clear();
    }

    /// Moves the weather on by `dt_s` seconds.
    pub fn step(&mut self, dt_s: f64) {
        self.now_s += dt_s;
        let now = self.now_s;
        self.cells.retain(|cell| now <= cell.start_s + cell.life_s);
    }

    /// Intensity in mm/h at a place, now.
    pub fn intensity(&self, place: Point) -> f64 {
        self.cells.iter().map(|cell| cell.intensity(place, self.now_s)).sum()
    }

    /// Whether no cell is left.
    pub fn is_clear(&self) -> bool {
        self.cells.is_empty()
    }
}

/// A tipping-bucket rain gauge: counts whole tips.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TippingBucket {
    /// Rain that fell and was not reported, in mm.
    pending_mm: f64,
}

impl TippingBucket {
    /// Rain per tip in mm.
    pub const TIP_MM: f64 = 0.2;

    /// Lets `mm` fall into the funnel.
    pub fn catch(&mut self, mm: f64) {
        self.pending_mm += mm;
    }

    /// The tips since the last call, in mm; what is still in the bucket stays for the next call.
    pub fn take_mm(&mut self) -> f64 {
        // The nudge keeps 3 x 0.2 from becoming two tips.
        let tips = (self.pending_mm / Self::TIP_MM + 1e-9).floor();
        self.pending_mm = (self.pending_mm - tips * Self::TIP_MM).max(0.0);
        tips * Self::TIP_MM
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    const TOWN: Point = Point { lon: 120.4851, lat: 30.7454 };

    #[test]
    fn a_cell_is_strongest_in_its_middle() {
        let cell = Cell {
            start_s: 100.0,
            life_s: 600.0,
            peak_mm_h: 80.0,
            radius_m: 1000.0,
            centre: TOWN,
            drift: (0.0, 0.0),
        };
        assert_eq!(cell.intensity(TOWN, 99.0), 0.0);
        assert!((cell.intensity(TOWN, 280.0) - 80.0).abs() < 1e-9);
        assert!((cell.intensity(TOWN, 490.0) - 40.0).abs() < 1e-9);
        assert!((cell.intensity(TOWN.moved(1000.0, 0.0), 280.0) / 80.0 - 0.6065).abs() < 1e-3);
        assert_eq!(cell.intensity(TOWN, 701.0), 0.0);
    }

    #[test]
    fn a_storm_comes_and_goes_and_repeats_from_its_seed() {
        let rain = |seed| {
            let mut weather = Weather::new(generator(seed, Stream::Rain));
            weather.start_storm(TOWN, 100.0, 3600.0);
            let mut peak = 0.0_f64;
            for _ in 0..360 {
                weather.step(10.0);
                peak = peak.max(weather.intensity(TOWN));
            }
            assert!(weather.is_clear());
            peak
        };
        assert_eq!(rain(1).to_bits(), rain(1).to_bits());
        assert_ne!(rain(1).to_bits(), rain(2).to_bits());
        for seed in 0..20 {
            assert!((50.0..200.0).contains(&rain(seed)), "seed {seed}: {}", rain(seed));
        }
    }

    #[test]
    fn a_bucket_counts_whole_tips_and_loses_no_rain() {
        let mut bucket = TippingBucket::default();
        bucket.catch(0.35);
        assert!((bucket.take_mm() - 0.2).abs() < 1e-12);
        assert_eq!(bucket.take_mm(), 0.0);
        bucket.catch(0.05);
        assert!((bucket.take_mm() - 0.2).abs() < 1e-9);
    }
}
