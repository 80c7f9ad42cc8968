//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);

/// The longest one: a broker that is back is found within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// How long a connection must stand before it counts as made. A broker that lets a client in and drops it at once (another
/// client has its name, its rights are gone, it restarts again and again) would be tried twice a second for ever otherwise.
const STANDS: Duration = Duration::from_secs(30);

/// Doubles from try to try, with chance in it, so that the clients of a broker that restarts do not all come at once. Begins
/// anew when a try achieved something: its connection stood for half a minute, or something was acknowledged over it.
#[derive(Debug, Default)]
pub struct Pause {
    failures: u32,
    up_since: Option<Instant>,
}

impl Pause {
    /// The connection is there, which alone proves nothing.
    pub fn up(&mut self) {
        self.up_since = Some(Instant::now());
    }

    /// Something was achieved: the next outage begins with a short wait.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now: between half of the step and the whole.
    pub fn after_failure(&mut self) -> Duration {
        if self.up_since.take().is_some_and(|since| since.elapsed() >= STANDS) {
            self.reset();
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_dropped_at_once_is_a_failure() {
        let mut pause = Pause::default();
        for _ in 0..10 {
            pause.up();
            tokio::time::advance(Duration::from_secs(2)).await;
            pause.after_failure();
        }
        assert!(pause.after_failure() >= LONGEST / 2);
        pause.up();
        tokio::time::advance(STANDS).await;
        assert!(pause.after_failure() <= FIRST, "it stood");
        assert!(pause.after_failure() > FIRST / 2, "that was told once");
    }
}
