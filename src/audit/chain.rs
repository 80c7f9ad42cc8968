//! The chain: from a row and the hash before it to its own hash.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::model::Timestamp;

/// A SHA-256, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

/// What a row says, its hash aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) seq: i64,
    pub(super) at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    /// The JSON as it is stored, byte by byte.
    pub(super) detail: &'a str,
}

impl Hash {
    /// What the first row follows.
    pub const START: Hash = Hash([0; 32]);

    /// The hash of the row that follows the one with this hash: SHA-256 over this hash, then the number and the time in 8
    /// bytes each, then the texts in UTF-8 with their length in bytes before each in 8 bytes; numbers are big-endian.
    /// The lengths keep two texts from passing for two others.
    pub(super) fn next(self, row: &Row<'_>) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(row.seq.to_be_bytes());
        hasher.update(row.at.as_micros().to_be_bytes());
        for text in [row.actor, row.action, row.subject, row.detail] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        Hash(hasher.finalize().into())
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('?'));
        }
        text
    })
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no hash; write 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Hash(hash))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl ToSql for Hash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        bytes.try_into().map(Hash).map_err(|_| FromSqlError::InvalidBlobSize {
            expected_size: 32,
            blob_size: bytes.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_as_it_was_written() {
        let row = Row {
            seq: 1,
            at: Timestamp::from_secs(1),
            actor: "ann",
            action: "user.add",
            subject: "bob",
            detail: "{}",
        };
        let hash = Hash::START.next(&row);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for wrong in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert!(wrong.parse::<Hash>().is_err(), "{wrong}");
        }
        // A shift from one text to the next is another row.
        let shifted = Row { actor: "an", action: "nuser.add", ..row };
        assert_ne!(Hash::START.next(&shifted), hash);
    }
}
