//! The rule book: which rules are in force, for whom, when. Begins with schedules.

mod schedule;

pub use schedule::{Days, Schedule, ScheduleError, ScheduleSpec};
