//! Chattering: what comes and goes more often than people can follow is one alert that stays, until it has been quiet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::profile::Flap;

/// What one rule did of late, in event time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Flapping {
    /// When it was raised or became worse, oldest first: no more than count.
    raises: Vec<Timestamp>,
    /// When it last came or went, while it is chattering.
    restless: Option<Timestamp>,
}

impl Flapping {
    /// Whether there is nothing to remember.
    pub(super) fn is_quiet(&self) -> bool {
        self.raises.is_empty() && self.restless.is_none()
    }

    /// Whether it is chattering.
    pub(super) fn is_chattering(&self) -> bool {
        self.restless.is_some()
    }

    /// When it will have been quiet for long enough.
    pub(super) fn deadline(&self, flap: Flap) -> Option<Timestamp> {
        self.restless.map(|last| last.plus(flap.within))
    }

    /// It was raised, or became worse. True when it is chattering from now on.
    pub(super) fn raise(&mut self, at: Timestamp, flap: Flap) -> bool {
        if flap.times == 0 || flap.within == Duration::ZERO {
            self.raises.clear();
            return false;
        }
        self.raises.retain(|&raise| at.since(raise) < flap.within);
        self.raises.push(at);
        let begins = self.raises.len() > flap.times as usize;
        if begins {
            self.raises.clear();
            self.restless = Some(at);
        }
        begins
    }

    /// It came or went while it was chattering.
    pub(super) fn stir(&mut self, at: Timestamp) {
        self.restless = self.restless.max(Some(at));
    }

    /// It is quiet.
    pub(super) fn settle(&mut self) {
        *self = Flapping::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_raise_more_than_the_times_is_chattering() {
        let flap = Flap { times: 2, within: Duration::from_secs(60) };
        let at = Timestamp::from_secs;
        let mut flapping = Flapping::default();
        assert!(!flapping.raise(at(0), flap) && !flapping.raise(at(30), flap));
        // The first is out of the window.
        assert!(!flapping.raise(at(60), flap));
        assert!(flapping.raise(at(61), flap) && flapping.is_chattering());
        flapping.stir(at(70));
        flapping.stir(at(65));
        assert_eq!(flapping.deadline(flap), Some(at(130)));
        flapping.settle();
        assert!(flapping.is_quiet() && flapping.deadline(flap).is_none());
        assert!((0..9).all(|i| !flapping.raise(at(i), Flap::NEVER)) && flapping.is_quiet());
    }
}
