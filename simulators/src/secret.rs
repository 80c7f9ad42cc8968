//! Secrets of the devices: derived from one key, so that a second run finds the devices it made in the first.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Length of a key in bytes.
const KEY_BYTES: usize = 32;
/// Block length of SHA-256 in bytes.
const BLOCK_BYTES: usize = 64;

/// The key that all secrets of a town come from.
#[derive(Clone)]
pub struct Key([u8; KEY_BYTES]);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or made.
    #[error("the key file {path} cannot be read or made")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the key file {path} has {found} bytes, a key has {KEY_BYTES}; remove it to get a new key"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Key(bytes)
    }

    /// Reads the key from a file; the first time, makes the file with a random key that only its owner can read.
    ///
    /// # Errors
    /// When the file cannot be read or made, or does not hold 32 bytes.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return make(path).map_err(failed);
            }
            Err(error) => return Err(failed(error)),
        };
        let found = bytes.len();
        let bytes =
            bytes.try_into().map_err(|_| KeyError::Length { path: path.to_owned(), found })?;
        Ok(Key(bytes))
    }

    /// The secret of a device: 64 hex digits of HMAC-SHA-256 of its id.
    pub fn secret(&self, device: &str) -> String {
        hmac(&self.0, device.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn make(path: &Path) -> io::Result<Key> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let key: [u8; KEY_BYTES] = rand::random();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(&key)?;
    Ok(Key(key))
}

/// HMAC-SHA-256 (RFC 2104) with a key of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        for (slot, byte) in block.iter_mut().zip(key) {
            *slot ^= byte;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4231() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder =
            std::env::temp_dir().join(format!("townsim-key-{:016x}", rand::random::<u64>()));
        let path = folder.join("deep").join("key");
        let first = Key::open(&path).unwrap().secret("mh-001");
        assert_eq!(first, Key::open(&path).unwrap().secret("mh-001"));
        assert_ne!(first, Key::open(&path).unwrap().secret("mh-002"));
        fs::write(&path, "short").unwrap();
        assert!(matches!(Key::open(&path), Err(KeyError::Length { found: 5, .. })));
        fs::remove_dir_all(&folder).unwrap();
        assert!(!format!("{:?}", Key::from_bytes([7; 32])).contains('7'));
    }
}
