//! A process' memory over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::procfs;

const PERIOD: Duration = Duration::from_millis(100);

/// Looks at a process' memory until it is asked what it saw.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, f64)>>,
}

/// What a [`Watch`] saw.
pub struct Memory {
    /// Minutes since its begin, and MiB.
    samples: Vec<(f64, f64)>,
}

impl Watch {
    /// Begins to look at a process that must live until [`Watch::end`].
    pub fn begin(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (begin, mut samples) = (Instant::now(), Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                let at = begin.elapsed().as_secs_f64() / 60.0;
                samples.push((at, procfs::memory_mib(pid, "VmRSS")));
                std::thread::sleep(PERIOD);
            }
            samples
        });
        Watch { stop, thread }
    }

    /// What it saw.
    pub fn end(self) -> Memory {
        self.stop.store(true, Ordering::Relaxed);
        Memory { samples: self.thread.join().expect("the process lived") }
    }
}

impl Memory {
    /// The most, in MiB.
    pub fn max_mib(&self) -> f64 {
        self.samples.iter().map(|(_, mib)| *mib).fold(0.0, f64::max)
    }

    /// Its growth in KiB a minute, by least squares over the second half: caches and pools fill in the first.
    pub fn slope_kib_per_minute(&self) -> f64 {
        let late = &self.samples[self.samples.len() / 2..];
        let n = late.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| late.iter().map(of).sum::<f64>() / n;
        let (t, m) = (mean(|s| s.0), mean(|s| s.1));
        let over: f64 = late.iter().map(|s| (s.0 - t) * (s.1 - m)).sum();
        let under: f64 = late.iter().map(|s| (s.0 - t).powi(2)).sum();
        1024.0 * over / under.max(f64::MIN_POSITIVE)
    }

    /// How long it was looked at.
    pub fn minutes(&self) -> f64 {
        self.samples.last().map_or(0.0, |(minutes, _)| *minutes)
    }

    /// For the table; a slope says something only after minutes.
    pub fn describe(&self) -> String {
        let max = self.max_mib();
        if self.minutes() < 2.0 {
            return format!("RSS max {max:.0} MiB");
        }
        format!("RSS max {max:.0} MiB, slope {:+.0} KiB/min", self.slope_kib_per_minute())
    }
}
