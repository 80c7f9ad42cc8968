//! Which time a message's readings get.

use std::time::Duration;

use crate::model::Timestamp;
use crate::profile::DeviceTime;

/// How far ahead of the hub a device's clock may run and still be believed: crystal drift of a device that was last
/// set weeks ago, no more.
const FUTURE_TOLERANCE: Duration = Duration::from_secs(120);

/// How old a back-filled reading may be. Devices cache weeks; a clock that lost its battery says 1970 or 2000.
const OLDEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The time of a message's readings.
pub(super) struct MessageTime {
    pub(super) observed_at: Timestamp,
    /// The device's time cannot be true, or cannot be read; the hub's stands in.
    pub(super) is_wrong: bool,
}

pub(super) fn judge(
    device_time: DeviceTime,
    received_at: Timestamp,
    newest: Option<Timestamp>,
) -> MessageTime {
    let is_credible = |time: Timestamp| {
        time <= received_at.plus(FUTURE_TOLERANCE) && time >= received_at.minus(OLDEST)
    };
    let said = match device_time {
        DeviceTime::At(time) | DeviceTime::History(time) => Some(time),
        DeviceTime::Relative(micros) => {
            Some(Timestamp::from_micros(received_at.as_micros().saturating_add(micros)))
        }
        DeviceTime::Unsaid | DeviceTime::Unreadable => None,
    };
    match said.filter(|time| is_credible(*time)) {
        Some(time) => MessageTime { observed_at: time, is_wrong: false },
        None => MessageTime {
            observed_at: own_time(received_at, newest),
            is_wrong: device_time != DeviceTime::Unsaid,
        },
    }
}

/// The hub's time for a message, a microsecond after the device's newest reading at least: two messages that came in
/// one packet are two readings.
fn own_time(received_at: Timestamp, newest: Option<Timestamp>) -> Timestamp {
    match newest {
        Some(newest) if newest >= received_at => newest.plus(Duration::from_micros(1)),
        _ => received_at,
    }
}
