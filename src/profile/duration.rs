//! Durations as people write them: `800ms`, `10s`, `15min`, `6h`, `3d`.

use std::time::Duration;

/// The longest duration that makes sense in a profile: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error(
        "`{0}` is no duration; write a whole number and ms, s, min, h or d, for example \"15min\""
    )]
    Unclear(String),
    #[error("`{0}` could be months or metres; minutes are `min`")]
    Minutes(String),
    #[error("`{0}` is longer than a year")]
    TooLong(String),
}

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let unclear = || DurationError::Unclear(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| unclear())?;
    let unit_ms = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "m" => return Err(DurationError::Minutes(text.to_owned())),
        _ => return Err(unclear()),
    };
    let duration = number.checked_mul(unit_ms).map(Duration::from_millis);
    duration.filter(|d| *d <= LONGEST).ok_or_else(|| DurationError::TooLong(text.to_owned()))
}

/// Writes a duration in its largest whole unit.
pub(crate) fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
    let (unit, unit_ms) = units
        .into_iter()
        .find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(*unit_ms))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for text in ["800ms", "10s", "90s", "15min", "6h", "3d", "0s"] {
            let duration = parse(text).expect(text);
            assert_eq!(format(duration), text);
        }
        assert_eq!(parse("15 min"), Ok(Duration::from_secs(900)));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for text in ["", "15", "min", "1.5h", "-5s", "5 minutes", "5S", "99999999999999999999s"] {
            assert_eq!(parse(text), Err(DurationError::Unclear(text.to_owned())), "{text}");
        }
        assert_eq!(parse("5m"), Err(DurationError::Minutes("5m".to_owned())));
        assert_eq!(parse("400d"), Err(DurationError::TooLong("400d".to_owned())));
        assert!(parse("18446744073709551615d").is_err());
    }
}
