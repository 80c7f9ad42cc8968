//! Chance, from one seed. Each part of the town draws from its own stream, so that a change in one part
//! leaves the others as they were.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The parts of the town that draw lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Where and how hard it rains.
    Rain = 1,
    /// Cars.
    Parking = 2,
    /// Noise and drift of sensors.
    Sensors = 3,
    /// The order in which a cache is emptied, and other faults.
    Faults = 4,
    /// Small irregularities of the town's plan.
    Plan = 5,
}

/// The generator of one stream of a seed.
pub fn generator(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}

/// A draw near a normal distribution of mean 0 and standard deviation 1, never beyond 3.5.
pub fn noise(rng: &mut ChaCha8Rng) -> f64 {
    // The sum of four uniform draws has the variance 4/12.
    let sum: f64 = (0..4).map(|_| rng.random::<f64>()).sum();
    (sum - 2.0) * 3f64.sqrt()
}

/// How often something happens that happens `mean` times on average (Knuth's method, split so that large means
/// do not underflow).
pub fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> usize {
    let mut left = mean.max(0.0);
    let mut count = 0;
    while left > 0.0 {
        let part = left.min(30.0);
        left -= part;
        let limit = (-part).exp();
        let mut product: f64 = rng.random();
        while product > limit {
            count += 1;
            product *= rng.random::<f64>();
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_mean_and_spread() {
        let mut rng = generator(7, Stream::Sensors);
        let n = 20_000;
        let counts: Vec<f64> = (0..n).map(|_| poisson(&mut rng, 42.0) as f64).collect();
        let mean = counts.iter().sum::<f64>() / f64::from(n);
        assert!((mean - 42.0).abs() < 0.25, "{mean}");
        assert_eq!(poisson(&mut rng, 0.0), 0);
        let squares: f64 = (0..n).map(|_| noise(&mut rng).powi(2)).sum();
        assert!((squares / f64::from(n) - 1.0).abs() < 0.05);
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |stream| generator(1, stream).random::<u64>();
        assert_ne!(draw(Stream::Rain), draw(Stream::Parking));
        assert_eq!(draw(Stream::Rain), draw(Stream::Rain));
    }
}
