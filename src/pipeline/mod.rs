//! The way of the data, joined: the one screen on which an uplink's whole life can be read.
//!
//! ```text
//! adapter --Uplink--> Intake: decode, normalize --Batch--> Committer: append --Commit--> Judge: latest, alerts, live
//!                                                             |
//!                                                             +--> Receipt: the adapter acknowledges
//! ```
//!
//! Takes uplinks from the adapters; hands on what is true now ([`Present`]) and pushes changes to the live feed. Both
//! queues are bounded: the first by readings in flight (`intake::IN_FLIGHT_READINGS`), the second by commits
//! (`judge::QUEUE_COMMITS`); a full queue makes the adapter stop reading its socket.
//!
//! Invariant: nothing is acknowledged, judged or shown that is not on disk. So an alert can never rest on a reading
//! that a crash would take away, and after a crash the judge replays what was stored since its own watermark.

mod committer;
mod counters;
mod gateway;
mod holdback;
mod intake;
mod judge;
mod present;
mod station;
#[cfg(test)]
mod tests;

pub use committer::{Committer, StoreHealth};
pub use counters::{Counters, ReadingCounts};
pub use gateway::{Decoding, Parcel, Unpacked};
pub use holdback::Holdback;
pub use intake::{Bill, Closed, Desk, Draft, Intake, Progress, Receipt, RoomGauge};
pub use judge::{Judge, JudgeError, JudgeMessage};
pub(crate) use judge::{Parts as JudgeParts, rules_of};
pub use present::Present;
pub use station::{LinkGuard, LinkStatus, Listed, Station, StationTable, Undecoded};
