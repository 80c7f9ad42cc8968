//! What a scenario is told, and what it tells.

use std::time::Duration;

/// What a scenario is told.
#[derive(Clone)]
pub struct Task {
    /// Of all its chance.
    pub seed: u64,
    /// How often the hub is killed, instead of the usual number.
    pub kills: Option<u64>,
    /// How long the load lasts, instead of the usual time.
    pub time: Option<Duration>,
    /// A small run, for `make test`.
    pub is_short: bool,
}

impl Task {
    /// The number of kills: `short` in a short run.
    pub fn kills(&self, usual: u64, short: u64) -> u64 {
        self.kills.unwrap_or(if self.is_short { short } else { usual })
    }

    /// The load's time: `short` in a short run.
    pub fn time(&self, usual_s: u64, short_s: u64) -> Duration {
        let seconds = if self.is_short { short_s } else { usual_s };
        self.time.unwrap_or(Duration::from_secs(seconds))
    }

    /// What repeats this run of a scenario.
    pub fn command(&self, name: &str) -> String {
        let mut text = format!("make torture ARGS=\"{name} --seed {}", self.seed);
        if let Some(kills) = self.kills {
            text += &format!(" --kills {kills}");
        }
        if let Some(time) = self.time {
            text += &format!(" --seconds {}", time.as_secs());
        }
        if self.is_short {
            text += " --short";
        }
        text + "\""
    }
}

/// How a scenario ended; one that broke panics, with what broke.
pub enum Outcome {
    /// It held; what was counted.
    Well(Vec<String>),
    /// This machine cannot play it.
    Skipped(String),
}
