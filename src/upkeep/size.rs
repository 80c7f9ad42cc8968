//! Amounts of disk, as people write and read them.

use std::str::FromStr;

use serde::Deserialize;

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

/// Units of bytes: the decimal ones that disks are sold by, and the binary ones.
const UNITS: [(&str, u64); 8] = [
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
];

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
        let trimmed = text.trim();
        let unit = trimmed.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = trimmed[..trimmed.len() - unit.len()]
            .parse()
            .map_err(|_: std::num::ParseFloatError| wrong())?;
        let unit = unit.trim().to_ascii_uppercase();
        if unit == "%" {
            let is_share = number > 0.0 && number < 100.0;
            return if is_share { Ok(Level::Percent(number)) } else { Err(wrong()) };
        }
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        Ok(Level::Bytes((number * factor as f64) as u64))
    }
}

impl TryFrom<String> for Level {
    type Error = NoLevel;

    fn try_from(text: String) -> Result<Self, NoLevel> {
        text.parse()
    }
}

/// Bytes for people: three digits at most, decimal units.
pub fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for (name, _) in &UNITS[..4] {
        if value < 1_000.0 {
            break;
        }
        value /= 1_000.0;
        unit = if *name == "KB" { "kB" } else { name };
    }
    if value < 10.0 && unit != "B" {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
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

    #[test]
    fn bytes_are_told_in_three_digits() {
        let told = [999, 1_200, 45_600_000, 7_890_000_000, 12_000_000_000_000].map(bytes_text);
        assert_eq!(told, ["999 B", "1.2 kB", "46 MB", "7.9 GB", "12 TB"]);
    }
}
