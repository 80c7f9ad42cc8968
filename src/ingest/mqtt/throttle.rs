//! A device's message rate: over it the door stops reading the device's socket for a while. Nothing is dropped.

use std::time::Duration;

use tokio::time::Instant;

/// Counts messages against a rate, with a burst of ten seconds' worth: a device that back-fills after an outage is
/// welcome, one that floods for ever is slowed down.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Time that one message costs.
    cost: Duration,
    /// When the messages so far would all have come at exactly the rate.
    paid_until: Instant,
}

const BURST: Duration = Duration::from_secs(10);

impl Throttle {
    /// `per_second` messages a second in the long run; 0 for no limit.
    pub(super) fn new(per_second: u32) -> Self {
        let cost =
            if per_second == 0 { Duration::ZERO } else { Duration::from_secs(1) / per_second };
        Throttle { cost, paid_until: Instant::now() }
    }

    pub(super) fn count(&mut self) {
        if !self.cost.is_zero() {
            self.paid_until += self.cost;
        }
    }

    /// When the socket may be read again, if not now.
    pub(super) fn wait_until(&mut self) -> Option<Instant> {
        if self.cost.is_zero() {
            return None;
        }
        let now = Instant::now();
        self.paid_until = self.paid_until.max(now);
        let free_at = self.paid_until - BURST.min(self.paid_until - now);
        (free_at > now).then_some(free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_a_flood_waits() {
        let mut throttle = Throttle::new(10);
        (0..100).for_each(|_| throttle.count());
        assert_eq!(throttle.wait_until(), None, "ten seconds' worth at once");
        (0..10).for_each(|_| throttle.count());
        let wait = throttle.wait_until().expect("over the rate") - Instant::now();
        assert_eq!(wait, Duration::from_secs(1));
        tokio::time::advance(wait).await;
        assert_eq!(throttle.wait_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_limit_never_waits() {
        let mut throttle = Throttle::new(0);
        (0..1_000_000).for_each(|_| throttle.count());
        assert_eq!(throttle.wait_until(), None);
    }
}
