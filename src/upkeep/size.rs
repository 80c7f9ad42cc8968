//! Levels of a disk, as people write them.

use std::str::FromStr;

use serde::Deserialize;

use crate::model::size;

/// So much of a file system: bytes, or a share of all of it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Level {
    /// Bytes.
    Bytes(u64),
    /// Percent of the whole, above 0 and below 100.
    Percent(f64),
}

/// The text is no amount of disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount of disk; write for example \"2 GB\", \"500 MB\" or \"10 %\"")]
pub struct NoLevel(String);

impl Level {
    /// In bytes, of a file system with so many.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            Level::Bytes(bytes) => bytes,
            Level::Percent(percent) => (total_bytes as f64 * percent / 100.0) as u64,
        }
    }
}

impl FromStr for Level {
    type Err = NoLevel;

    fn from_str(text: &str) -> Result<Self, NoLevel> {
        let wrong = || NoLevel(text.to_owned());
        if let Some(share) = text.trim().strip_suffix('%') {
            let is_share = |percent: &f64| *percent > 0.0 && *percent < 100.0;
            return share
                .trim()
                .parse()
                .ok()
                .filter(is_share)
                .map(Level::Percent)
                .ok_or_else(wrong);
        }
        size::bytes(text).map(Level::Bytes).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Level {
    type Error = NoLevel;

    fn try_from(text: String) -> Result<Self, NoLevel> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Level>) {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }

    #[test]
    fn an_amount_is_read_as_people_write_it() {
        check("2 GB", Some(Level::Bytes(2_000_000_000)));
        check("1.5GiB", Some(Level::Bytes(3 << 29)));
        check("500 mb", Some(Level::Bytes(500_000_000)));
        check("10 %", Some(Level::Percent(10.0)));
        check("0.5%", Some(Level::Percent(0.5)));
        for wrong in ["", "2", "GB", "2 G", "100 %", "0 %", "-1 GB", "1 GB extra", "1.2.3 GB"] {
            check(wrong, None);
        }
        assert_eq!(Level::Percent(5.0).of(2_000), 100);
    }
}
