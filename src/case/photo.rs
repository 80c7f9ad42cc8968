//! Evidence photos: small, of a known type by their own first bytes, kept under their hash.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{CaseError, CaseId};
use crate::model::Timestamp;

/// The largest photo in bytes: a phone's camera, scaled by the page to what shows a manhole.
pub const MAX_PHOTO_BYTES: usize = 4 * 1024 * 1024;

/// The most photos of one case.
const MAX_PHOTOS: i64 = 40;

/// The types that are taken, by their first bytes: what a browser shows and cannot run.
const TYPES: [(&str, &str, &[u8]); 3] = [
    ("jpg", "image/jpeg", &[0xFF, 0xD8, 0xFF]),
    ("png", "image/png", &[0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A]),
    ("webp", "image/webp", b"RIFF"),
];

/// Why a photo is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhotoError {
    /// Larger than [`MAX_PHOTO_BYTES`].
    #[error("a photo has at most {} MiB, this one has {found} bytes", MAX_PHOTO_BYTES >> 20)]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// By its first bytes it is none of the known types.
    #[error("this is no JPEG, PNG or WebP")]
    Type,
    /// The case has [`MAX_PHOTOS`] already.
    #[error("a case has at most {MAX_PHOTOS} photos")]
    TooMany,
}

/// A stored photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Media type.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The name and media type under which a photo is kept.
fn identify(bytes: &[u8]) -> Result<(String, &'static str), PhotoError> {
    if bytes.len() > MAX_PHOTO_BYTES {
        return Err(PhotoError::TooLarge { found: bytes.len() });
    }
    let is_webp = bytes.get(8..12) == Some(b"WEBP");
    let known = TYPES
        .iter()
        .find(|(kind, _, start)| bytes.starts_with(start) && (*kind != "webp" || is_webp));
    let (extension, media_type, _) = known.ok_or(PhotoError::Type)?;
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((format!("{hash}.{extension}"), media_type))
}

/// Keeps a photo for a case and returns its name; the same bytes twice are one photo.
pub(super) fn put(
    db: &mut Connection,
    case: CaseId,
    actor: &str,
    bytes: &[u8],
    at: Timestamp,
) -> Result<String, CaseError> {
    let (name, media_type) = identify(bytes)?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let count: i64 = tx.query_row(
        "SELECT count(*) FROM case_photo WHERE case_id = ?",
        [case.0 as i64],
        |row| row.get(0),
    )?;
    if count >= MAX_PHOTOS {
        return Err(PhotoError::TooMany.into());
    }
    tx.execute(
        "INSERT OR IGNORE INTO case_photo (name, case_id, at, actor, type, bytes) VALUES (?, ?, ?, ?, ?, ?)",
        params![name, case.0 as i64, at.as_micros(), actor, media_type, bytes],
    )?;
    tx.commit()?;
    Ok(name)
}

/// A case's photo.
///
/// # Errors
/// When SQLite fails.
pub fn photo(db: &Connection, case: CaseId, name: &str) -> Result<Option<Photo>, CaseError> {
    let found = db
        .prepare_cached("SELECT type, bytes FROM case_photo WHERE name = ? AND case_id = ?")?
        .query_row(params![name, case.0 as i64], |row| {
            Ok(Photo { media_type: row.get(0)?, bytes: row.get(1)? })
        })
        .optional()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_is_known_by_its_first_bytes() {
        let check = |bytes: &[u8], expected: Result<&str, PhotoError>| {
            assert_eq!(identify(bytes).map(|(_, kind)| kind), expected, "{bytes:?}");
        };
        check(&[0xFF, 0xD8, 0xFF, 0xE0], Ok("image/jpeg"));
        check(b"\x89PNG\r\n\x1a\n...", Ok("image/png"));
        check(b"RIFF....WEBPVP8 ", Ok("image/webp"));
        check(b"RIFF....WAVEfmt ", Err(PhotoError::Type));
        check(b"<svg onload=alert(1)>", Err(PhotoError::Type));
        check(b"", Err(PhotoError::Type));
        let large = [&[0xFF, 0xD8, 0xFF][..], &vec![0; MAX_PHOTO_BYTES]].concat();
        check(&large, Err(PhotoError::TooLarge { found: MAX_PHOTO_BYTES + 3 }));
    }
}
