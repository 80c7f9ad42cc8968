//! Figures with their targets, and how long things took.

use std::time::Duration;

use serde::Serialize;

/// What a figure says against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As the norm wants it.
    Met,
    /// Worse than that, but people can still work so.
    Manageable,
    /// Something must be done.
    Missed,
    /// There is nothing to judge.
    Unknown,
}

/// A figure that should not be greater than its target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The figure; `None` when there is nothing to count.
    pub value: Option<f64>,
    /// What it should be at most.
    pub target: f64,
    /// How it stands.
    pub verdict: Verdict,
}

/// How long something took: all of it, until it is summed up.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<Duration>);

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// How often it was done.
    pub count: u64,
    /// The median in seconds; `None` when it never was.
    pub median_s: Option<f64>,
    /// The least time within which nine of ten were done (nearest rank), in seconds.
    pub p90_s: Option<f64>,
}

impl Figure {
    /// A figure that is met up to `target`, and manageable up to `manageable`.
    pub(super) fn at_most(value: Option<f64>, target: f64, manageable: f64) -> Figure {
        let verdict = match value {
            None => Verdict::Unknown,
            Some(value) if value <= target => Verdict::Met,
            Some(value) if value <= manageable => Verdict::Manageable,
            Some(_) => Verdict::Missed,
        };
        Figure { value, target, verdict }
    }
}

impl Samples {
    pub(super) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(super) fn sum_up(mut self) -> Times {
        self.0.sort_unstable();
        let all = &self.0;
        let n = all.len();
        let median_s =
            (n > 0).then(|| (all[(n - 1) / 2].as_secs_f64() + all[n / 2].as_secs_f64()) / 2.0);
        let p90_s = (n > 0).then(|| all[(n * 9).div_ceil(10) - 1].as_secs_f64());
        Times { count: n as u64, median_s, p90_s }
    }
}

/// A part of a whole; `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up_by_rank() {
        let times = |secs: &[u64]| {
            let mut samples = Samples::default();
            secs.iter().for_each(|&secs| samples.push(Duration::from_secs(secs)));
            let times = samples.sum_up();
            (times.count, times.median_s, times.p90_s)
        };
        assert_eq!(times(&[]), (0, None, None));
        assert_eq!(times(&[7]), (1, Some(7.0), Some(7.0)));
        assert_eq!(times(&[3, 1, 2]), (3, Some(2.0), Some(3.0)));
        assert_eq!(times(&[4, 1, 3, 2]), (4, Some(2.5), Some(4.0)));
        assert_eq!(times(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).2, Some(9.0));
    }

    #[test]
    fn a_figure_is_met_at_its_target() {
        let verdict = |value| Figure::at_most(value, 1.0, 2.0).verdict;
        assert_eq!(verdict(Some(1.0)), Verdict::Met);
        assert_eq!(verdict(Some(1.5)), Verdict::Manageable);
        assert_eq!(verdict(Some(2.1)), Verdict::Missed);
        assert_eq!(verdict(None), Verdict::Unknown);
        assert_eq!((share(1, 4), share(0, 0)), (Some(0.25), None));
    }
}
