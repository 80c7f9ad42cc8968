//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);

/// The longest one: a broker that is back is found within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles from try to try, with chance in it, so that the clients of a broker that restarts do not all come at once.
#[derive(Debug, Default)]
pub struct Pause {
    failures: u32,
}

impl Pause {
    /// The connection is there: the next outage begins with a short wait.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now: between half of the step and the whole.
    pub fn after_failure(&mut self) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_half_a_minute_and_begins_anew() {
        let mut pause = Pause::default();
        let waits: Vec<Duration> = (0..40).map(|_| pause.after_failure()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{:?}", waits[0]);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2), "{waits:?}");
        pause.reset();
        assert!(pause.after_failure() <= FIRST);
    }
}
