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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::{Answer, Codec, Function};
    use crate::model::Timestamp;

    fn job(source: &str, device: &str) -> Job {
        Job {
            codec: Arc::new(Codec::new("x.js", source)),
            function: Function::DecodeUplink,
            port: 1,
            at: Timestamp::EPOCH,
            input: [].into(),
            device: Some(device.into()),
            is_timed: false,
            radio: "".into(),
        }
    }

    fn fine() -> Outcome {
        Ok(Answer::Data { json: "{}".to_owned(), warnings: Vec::new() })
    }

    /// How long the job has to wait, in whole seconds.
    fn wait(breaker: &Breaker, job: &Job, now: Instant) -> u64 {
        match breaker.admit(job, now) {
            Err(CodecError::Suspended { for_s, .. }) => for_s,
            _ => 0,
        }
    }

    #[test]
    fn a_device_waits_longer_each_time_until_a_call_succeeds() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        let (looping, other) = (job("a", "1"), job("a", "2"));
        let mut waits = Vec::new();
        for _ in 0..14 {
            breaker.note(&looping, &Err(CodecError::Timeout), now);
            let seconds = wait(&breaker, &looping, now);
            waits.push(seconds);
            assert_eq!(wait(&breaker, &other, now), 0);
            now += Duration::from_secs(seconds);
        }
        assert_eq!(waits[..6], [0, 0, 2, 3, 5, 9]);
        assert_eq!(waits[13], 301);
        breaker.note(&looping, &fine(), now);
        breaker.note(&looping, &Err(CodecError::Timeout), now);
        assert_eq!(wait(&breaker, &looping, now), 0);
    }

    #[test]
    fn what_costs_nothing_is_no_fault() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let throwing = job("a", "1");
        for _ in 0..100 {
            breaker.note(&throwing, &Err(CodecError::Throws("x".to_owned())), now);
        }
        assert_eq!(wait(&breaker, &throwing, now), 0);
    }

    #[test]
    fn a_codec_that_wastes_a_core_over_many_devices_earns_its_calls_back() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for device in 0..60 {
            let job = job("a", &device.to_string());
            breaker.note(&job, &Err(CodecError::Timeout), now);
        }
        // 3 s were wasted, 2 s are forgiven; a twentieth is earned.
        let fresh = job("a", "fresh");
        assert_eq!(wait(&breaker, &fresh, now), 21);
        assert_eq!(wait(&breaker, &fresh, now + Duration::from_secs(21)), 0);
        assert_eq!(wait(&breaker, &job("b", "fresh"), now), 0);
    }

    #[test]
    fn it_remembers_a_bounded_number() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for n in 0..3 * MAX_ENTRIES {
            breaker.note(&job("a", &n.to_string()), &Err(CodecError::Died), now);
        }
        assert!(breaker.devices.len() <= MAX_ENTRIES);
    }
}
