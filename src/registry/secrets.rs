//! Making and checking secrets.
//!
//! Two kinds, two ways. What the hub makes itself, and device secrets, are long and random: nobody guesses
//! 128 bits however fast he hashes, so a salted SHA-256 keeps them safe, and the 10 000 devices that come back
//! at once after an outage are checked in milliseconds. What a person types may be guessed: argon2id makes
//! each guess cost 19 MiB and tens of milliseconds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::RngExt;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::lock;

/// Crockford's base 32 in lower case: 5 bits a symbol, no l, i, o, u to misread, safe in URLs, CSV and shells.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A device's secret: 26 symbols, 130 bits.
const DEVICE_SECRET_SYMBOLS: usize = 26;

/// A session's cookie or a bearer token: 52 symbols, 260 bits.
const GRANT_SYMBOLS: usize = 52;

/// A person's generated password: 5 groups of 4 symbols, 100 bits.
const PASSWORD_GROUPS: usize = 5;

/// How many log-ins may wait for their turn at the password hash. One hash is 19 MiB and about 20 ms, so the
/// last of them waits well under a second and a flood of log-ins holds neither memory nor threads.
const MAX_WAITING: usize = 16;

fn random_text(symbols: usize) -> String {
    let mut rng = rand::rng();
    (0..symbols)
        .map(|_| char::from(ALPHABET[usize::from(rng.random::<u8>()) % ALPHABET.len()]))
        .collect()
}

/// A new secret for a device or a service account.
pub(super) fn new_device_secret() -> String {
    random_text(DEVICE_SECRET_SYMBOLS)
}

/// A new value for a session's cookie or a bearer token.
pub(super) fn new_grant() -> String {
    random_text(GRANT_SYMBOLS)
}

/// A new password for a person, in groups so that it can be read out.
pub(super) fn new_password() -> String {
    (0..PASSWORD_GROUPS).map(|_| random_text(4)).collect::<Vec<_>>().join("-")
}

/// The name under which a cookie or token is kept: its SHA-256. No salt, because it must be found by it.
pub(super) fn fingerprint(grant: &str) -> [u8; 32] {
    Sha256::digest(grant.as_bytes()).into()
}

/// A stored device secret: salt and SHA-256 of salt and secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretHash {
    salt: [u8; 16],
    digest: [u8; 32],
}

impl SecretHash {
    /// Hashes `secret` with a new salt.
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut salt = [0; 16];
        rand::rng().fill(&mut salt);
        SecretHash { salt, digest: Self::digest(&salt, secret) }
    }

    /// Whether `secret` is the one; takes the same time whichever byte differs.
    pub(super) fn matches(&self, secret: &[u8]) -> bool {
        Self::digest(&self.salt, secret).ct_eq(&self.digest).into()
    }

    /// As stored: salt, then digest.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.salt[..], &self.digest[..]].concat()
    }

    /// From the stored bytes; `None` when they are not 48.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (salt, digest) = bytes.split_at_checked(16)?;
        Some(SecretHash { salt: salt.try_into().ok()?, digest: digest.try_into().ok()? })
    }

    fn digest(salt: &[u8; 16], secret: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(salt).chain_update(secret).finalize().into()
    }
}

/// Hashes and checks people's passwords, one at a time.
#[derive(Debug)]
pub(super) struct Passwords {
    params: Params,
    /// What a wrong name is checked against, so that it takes as long as a wrong password.
    nobody: String,
    turn: Mutex<()>,
    waiting: AtomicUsize,
}

/// The right to hash one password.
pub(super) struct Turn<'a> {
    passwords: &'a Passwords,
    _guard: MutexGuard<'a, ()>,
}

impl Passwords {
    /// With the parameters that OWASP recommends for argon2id: 19 MiB, 2 passes, 1 lane (the crate's defaults).
    ///
    /// # Errors
    /// When there is no memory for one hash.
    pub(super) fn new() -> Result<Self, argon2::password_hash::Error> {
        Self::with(Params::DEFAULT)
    }

    /// With parameters of no strength, for tests that log in often.
    #[cfg(test)]
    pub(super) fn weak() -> Self {
        Self::with(Params::new(8, 1, 1, None).expect("allowed")).expect("8 KiB are there")
    }

    fn with(params: Params) -> Result<Self, argon2::password_hash::Error> {
        let mut passwords = Passwords {
            params,
            nobody: String::new(),
            turn: Mutex::new(()),
            waiting: AtomicUsize::new(0),
        };
        passwords.nobody = passwords.hash(&new_password())?;
        Ok(passwords)
    }

    /// The PHC string to store for `password`.
    pub(super) fn hash(&self, password: &str) -> Result<String, argon2::password_hash::Error> {
        Ok(self.argon2().hash_password(password.as_bytes())?.to_string())
    }

    /// Waits for the right to check one password; `None` when too many wait already.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Turn { passwords: self, _guard: lock(&self.turn) })
    }

    fn argon2(&self) -> Argon2<'_> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }
}

impl Turn<'_> {
    /// Whether `password` is the one of the PHC string `stored`; for nobody's (`None`) it takes as long and is false.
    pub(super) fn check(self, password: &str, stored: Option<&str>) -> bool {
        let phc = stored.unwrap_or(&self.passwords.nobody);
        let right = PasswordHash::new(phc).is_ok_and(|hash| {
            self.passwords.argon2().verify_password(password.as_bytes(), &hash).is_ok()
        });
        right && stored.is_some()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.passwords.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_only_and_survives_storage() {
        let secret = new_device_secret();
        assert_eq!(secret.len(), DEVICE_SECRET_SYMBOLS);
        assert_ne!(secret, new_device_secret());
        let hash = SecretHash::new(secret.as_bytes());
        assert_ne!(hash, SecretHash::new(secret.as_bytes()), "salted");
        let stored = SecretHash::from_bytes(&hash.to_bytes()).unwrap();
        assert_eq!(stored, hash);
        assert!(stored.matches(secret.as_bytes()));
        assert!(!stored.matches(b""));
        assert!(!stored.matches(&secret.as_bytes()[1..]));
        assert_eq!(SecretHash::from_bytes(&[0; 47]), None);
    }

    #[test]
    fn a_password_is_checked_and_nobody_has_none() {
        let passwords = Passwords::weak();
        let password = new_password();
        let stored = passwords.hash(&password).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=8,"), "{stored}");
        let check = |password: &str, stored| passwords.turn().unwrap().check(password, stored);
        assert!(check(&password, Some(&stored)));
        assert!(!check("", Some(&stored)));
        assert!(!check(&password, None));
        assert!(!check(&password, Some("no hash")));
    }

    #[test]
    fn the_real_parameters_are_owasps() {
        let stored = Passwords::new().unwrap().hash("x").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    }

    #[test]
    fn no_more_than_the_limit_wait_for_a_turn() {
        let passwords = Passwords::weak();
        passwords.waiting.store(MAX_WAITING, Ordering::Relaxed);
        assert!(passwords.turn().is_none());
        passwords.waiting.store(MAX_WAITING - 1, Ordering::Relaxed);
        drop(passwords.turn().unwrap());
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), MAX_WAITING - 1);
    }
}
