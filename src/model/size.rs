//! Sizes in bytes, as people write and read them.

/// Units of bytes: the decimal ones that disks are sold by, and the binary ones.
const UNITS: [(&str, u64); 9] = [
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("B", 1),
];

/// The bytes of a text such as `4 GB`, `500MB` or `1.5 GiB`; `None` when it is no size.
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text[..text.len() - unit.len()].parse().ok()?;
    let unit = unit.trim().to_ascii_uppercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let bytes = number * factor as f64;
    (bytes < u64::MAX as f64).then_some(bytes as u64)
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

    #[test]
    fn a_size_is_read_as_people_write_it() {
        for (text, size) in [
            ("4 GB", 4_000_000_000),
            ("500MB", 500_000_000),
            (" 1.5 GiB ", 3 << 29),
            ("2kb", 2_000),
            ("12 B", 12),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for wrong in
            ["", "2", "GB", "2 G", "10 %", "-1 GB", "1 GB extra", "1.2.3 GB", "99999999999 TB"]
        {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn bytes_are_told_in_three_digits() {
        let told = [999, 1_200, 45_600_000, 7_890_000_000, 12_000_000_000_000].map(bytes_text);
        assert_eq!(told, ["999 B", "1.2 kB", "46 MB", "7.9 GB", "12 TB"]);
    }
}
