//! The breaker: what fails again and again is not called for a while, so that it cannot burn a core.
//!
//! Only faults that cost time or a process count (loops, memory, deaths); a codec that throws costs no more than one that
//! answers. Two measures: a device whose calls of a codec fail in a row waits, each time longer, and does so alone, for
//! other devices of the model may be fine; and a codec that wastes more than a twentieth of a core over all its devices
//! waits until it has earned its next call.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::limits::{CALL_CPU, FRAME_WALL};
use super::{CodecError, CodecId, Job, Outcome};

/// Faults in a row that a device is forgiven.
const FORGIVEN: u32 = 2;

/// The first pause of a device; each further fault doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a codec may waste at once, all its devices together.
const WASTE: Duration = Duration::from_secs(2);

/// The part of a second that it earns back in a second.
const EARNED: f64 = 0.05;

/// Devices and codecs that are remembered; the table starts anew beyond, which forgives everybody once.
const MAX_ENTRIES: usize = 4_096;

/// Who has failed lately.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    devices: HashMap<(CodecId, Option<std::sync::Arc<str>>), Strikes>,
    codecs: HashMap<CodecId, Debt>,
}

#[derive(Debug)]
struct Strikes {
    in_a_row: u32,
    until: Instant,
    why: &'static str,
}

#[derive(Debug)]
struct Debt {
    wasted: Duration,
    at: Instant,
    why: &'static str,
}

impl Breaker {
    /// Whether a job may run now.
    pub(super) fn admit(&self, job: &Job, now: Instant) -> Result<(), CodecError> {
        let codec = job.codec.id();
        if let Some(strikes) = self.devices.get(&(codec, job.device.clone()))
            && strikes.until > now
        {
            return Err(suspended(strikes.until - now, strikes.why));
        }
        if let Some(debt) = self.codecs.get(&codec) {
            let over = debt.now(now).saturating_sub(WASTE);
            if !over.is_zero() {
                return Err(suspended(over.div_f64(EARNED), debt.why));
            }
        }
        Ok(())
    }

    /// Takes note of what became of a job.
    pub(super) fn note(&mut self, job: &Job, outcome: &Outcome, now: Instant) {
        let codec = job.codec.id();
        let Some((cost, why)) = outcome.as_ref().err().and_then(fault) else {
            // The common case is that there is nothing to forgive.
            if !self.devices.is_empty() {
                self.devices.remove(&(codec, job.device.clone()));
            }
            return;
        };
        if self.devices.len() + self.codecs.len() >= MAX_ENTRIES {
            self.devices.clear();
            self.codecs.clear();
        }
        let strikes = self.devices.entry((codec, job.device.clone()));
        let strikes = strikes.or_insert(Strikes { in_a_row: 0, until: now, why });
        strikes.in_a_row += 1;
        strikes.why = why;
        strikes.until = now + pause(strikes.in_a_row);
        let debt =
            self.codecs.entry(codec).or_insert(Debt { wasted: Duration::ZERO, at: now, why });
        *debt = Debt { wasted: debt.now(now) + cost, at: now, why };
    }
}

impl Debt {
    fn now(&self, now: Instant) -> Duration {
        self.wasted.saturating_sub(now.saturating_duration_since(self.at).mul_f64(EARNED))
    }
}

/// What a fault costs, and how it is called.
fn fault(error: &CodecError) -> Option<(Duration, &'static str)> {
    match error {
        CodecError::Timeout => Some((CALL_CPU, "its last calls did not end")),
        CodecError::Memory => Some((CALL_CPU, "its last calls needed too much memory")),
        CodecError::Died => Some((FRAME_WALL, "its last calls killed their process")),
        _ => None,
    }
}

fn pause(in_a_row: u32) -> Duration {
    match in_a_row.checked_sub(FORGIVEN + 1) {
        None => Duration::ZERO,
        Some(n) => FIRST_PAUSE.saturating_mul(1 << n.min(16)).min(LONGEST_PAUSE),
    }
}

fn suspended(rest: Duration, why: &'static str) -> CodecError {
    CodecError::Suspended { for_s: rest.as_secs() + 1, why }
}
