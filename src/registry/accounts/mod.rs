//! People and programs of the API and the console: users, sessions, tokens.
//!
//! Who holds a cookie or a token is answered from memory. The command line changes accounts from a process of
//! its own (`townhub user reset`), so memory is compared with the file's account counter when somebody asks:
//! at most once a [`RECHECK_KNOWN`] for those who are let in, which bounds how long a session that another
//! process ended lives on; at most once a [`RECHECK_UNKNOWN`] for those who are not, which bounds what a flood
//! of made-up tokens costs however many different ones it has.

mod password;
mod refusals;
mod sessions;
mod tokens;
mod users;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde_json::Value;

use super::error::RegistryError;
use super::lockout::Tries;
use super::secrets::{Passwords, fingerprint};
use super::{Registry, lock};
use crate::audit::{self, Entry};
use crate::model::{Right, Role, Timestamp, ZoneId};
use refusals::Refusals;

pub use sessions::SessionInfo;
pub use tokens::{NewToken, TokenInfo};
pub use users::{UserChange, UserInfo};

/// The longest user name, password, cookie or token that is looked at, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 256;

/// The longest time for which a change by another process is not seen by those who are let in.
const RECHECK_KNOWN: Duration = Duration::from_secs(1);

/// The same for a cookie or token that is not known.
const RECHECK_UNKNOWN: Duration = Duration::from_millis(100);

/// In what steps the use of a session or token is written down: a write an hour, not one a request.
const USE_STEP: Duration = Duration::from_secs(3600);

/// The first user's name.
const FIRST_ADMIN: &str = "admin";

/// The account of a person or of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where it may see and do it; `None`: in the whole town.
    pub zones: Option<Vec<ZoneId>>,
}

/// Whoever holds a session's cookie or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whose it is.
    pub user: User,
    /// With what.
    pub by: Grant,
    /// Whether the user has to choose a new password before anything else.
    pub must_change: bool,
}

/// What lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A session of a person.
    Session {
        /// Its name in the list of sessions: the cookie cannot be told from it.
        id: String,
    },
    /// A token of a program.
    Token {
        /// Its number.
        id: i64,
        /// The rights it is limited to; `None`: all of its user's.
        scope: Option<Arc<[Right]>>,
    },
}

impl Holder {
    /// Whether the user's role has this right, and the token, if it is one, too.
    pub fn may(&self, right: Right) -> bool {
        let in_scope = match &self.by {
            Grant::Token { scope: Some(scope), .. } => scope.contains(&right),
            _ => true,
        };
        in_scope && self.user.role.may(right)
    }

    /// All that it may do.
    pub fn rights(&self) -> Vec<Right> {
        Right::ALL.into_iter().filter(|&right| self.may(right)).collect()
    }
}

/// What the registry keeps for this room.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Reads only, and beside the writer: a log-in does not wait for an import.
    reader: Mutex<Connection>,
    grants: RwLock<Grants>,
    tries: Mutex<Tries>,
    refusals: Mutex<Refusals>,
    passwords: Passwords,
}

/// Who is let in: sessions and tokens by their fingerprint.
#[derive(Debug)]
struct Grants {
    /// The file's account counter when this was read.
    version: i64,
    /// When it was last compared with the file's.
    checked_at: Timestamp,
    by_fingerprint: HashMap<[u8; 32], Granted>,
}

#[derive(Debug, Clone)]
struct Granted {
    holder: Holder,
    /// When it ends; a token from before tokens ended does not.
    ends_at: Option<Timestamp>,
    /// When its last use was written down.
    used_at: Option<Timestamp>,
}

impl Accounts {
    pub(super) fn open(
        mut reader: Connection,
        passwords: Passwords,
        now: Timestamp,
    ) -> Result<Self, RegistryError> {
        let grants = Grants::load(&reader.transaction()?, now)?;
        Ok(Accounts {
            reader: Mutex::new(reader),
            grants: RwLock::new(grants),
            tries: Mutex::default(),
            refusals: Mutex::default(),
            passwords,
        })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        lock(&self.reader)
    }

    fn granted(&self, fingerprint: &[u8; 32], now: Timestamp) -> Option<Granted> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let granted = grants.by_fingerprint.get(fingerprint)?;
        granted.ends_at.is_none_or(|end| now < end).then(|| granted.clone())
    }

    /// Replaces the grants, unless a thread that read the file later was faster.
    fn put_grants(&self, grants: Grants) {
        let mut current = self.grants.write().unwrap_or_else(PoisonError::into_inner);
        if grants.version >= current.version {
            *current = grants;
        }
    }

    /// Reads the grants anew when the file's are not those in memory, asking the file at most once per `every`.
    fn recheck(&self, every: Duration, now: Timestamp) -> Result<(), RegistryError> {
        let due =
            |grants: &Grants| now.since(grants.checked_at) >= every || now < grants.checked_at;
        if !due(&self.grants.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let mut reader = self.reader();
        let known = {
            let mut grants = self.grants.write().unwrap_or_else(PoisonError::into_inner);
            if !due(&grants) {
                return Ok(()); // Another thread asked while this one waited for the reader.
            }
            grants.checked_at = now;
            grants.version
        };
        let tx = reader.transaction()?;
        if version(&tx)? != known {
            self.put_grants(Grants::load(&tx, now)?);
        }
        Ok(())
    }

    /// The password's hash of a user who may log in.
    fn stored_password(&self, user: &str) -> Result<Option<String>, rusqlite::Error> {
        let reader = self.reader();
        let mut query =
            reader.prepare_cached("SELECT password FROM users WHERE name = ?1 AND disabled = 0")?;
        query.query_row([user], |row| row.get(0)).optional()
    }
}

impl Grants {
    fn load(tx: &Transaction<'_>, now: Timestamp) -> Result<Self, RegistryError> {
        let mut by_fingerprint = HashMap::new();
        let mut query = tx.prepare(
            "SELECT hash, name, role, zones, must_change, NULL AS token, NULL AS scope, expires_at,
                 NULL AS used_at
             FROM sessions JOIN users ON users.name = user WHERE disabled = 0 AND expires_at > ?1
             UNION ALL
             SELECT hash, name, role, zones, 0, id, scope, expires_at, used_at
             FROM tokens JOIN users ON users.name = user
             WHERE disabled = 0 AND (expires_at IS NULL OR expires_at > ?1)",
        )?;
        let mut rows = query.query([now.as_micros()])?;
        while let Some(row) = rows.next()? {
            let fingerprint: [u8; 32] = row.get("hash")?;
            let by = match row.get("token")? {
                Some(id) => Grant::Token { id, scope: tokens::scope(row)? },
                None => Grant::Session { id: sessions::name_of(&fingerprint) },
            };
            let holder = Holder { user: user(row)?, by, must_change: row.get("must_change")? };
            let time =
                |column| row.get::<_, Option<i64>>(column).map(|us| us.map(Timestamp::from_micros));
            let granted =
                Granted { holder, ends_at: time("expires_at")?, used_at: time("used_at")? };
            by_fingerprint.insert(fingerprint, granted);
        }
        Ok(Grants { version: version(tx)?, checked_at: now, by_fingerprint })
    }
}

/// The user in a row that has the columns `name`, `role` and `zones`.
fn user(row: &Row<'_>) -> Result<User, RegistryError> {
    let name: String = row.get("name")?;
    let role: String = row.get("role")?;
    let zones: Option<String> = row.get("zones")?;
    let corrupt = |why: &dyn ToString| RegistryError::corrupt("user", &name, why.to_string());
    let role = role.parse().map_err(|e| corrupt(&e))?;
    let zones = zones.map(|json| serde_json::from_str(&json)).transpose();
    let zones = zones.map_err(|e| corrupt(&e))?;
    Ok(User { name, role, zones })
}

fn version(db: &Connection) -> Result<i64, rusqlite::Error> {
    db.prepare_cached("SELECT accounts FROM versions")?.query_row((), |row| row.get(0))
}

impl Registry {
    /// Whose this session cookie or bearer token is: see [`Registry::holder`].
    pub fn who(&self, session_or_token: &str) -> Option<User> {
        self.holder(session_or_token).map(|holder| holder.user)
    }

    /// Who holds this session cookie or bearer token, and what he may do with it. In memory, because it is asked on every
    /// request; it touches SQLite for microseconds once a second, and for a short write once an hour and session or token.
    /// A used session lives on: its end moves to 12 hours from now.
    pub fn holder(&self, session_or_token: &str) -> Option<Holder> {
        if session_or_token.len() > MAX_CREDENTIAL_BYTES {
            return None;
        }
        let accounts = &self.0.accounts;
        let now = self.0.clock.now();
        let fingerprint = fingerprint(session_or_token);
        let ask_the_file = |every| {
            if let Err(error) = accounts.recheck(every, now) {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot read accounts");
            }
        };
        ask_the_file(RECHECK_KNOWN);
        let granted = accounts.granted(&fingerprint, now).or_else(|| {
            ask_the_file(RECHECK_UNKNOWN);
            accounts.granted(&fingerprint, now)
        })?;
        self.note_use(&fingerprint, &granted, now);
        Some(granted.holder)
    }

    /// Writes down that a session or token is in use, unless the writer is busy: then the next request will.
    fn note_use(&self, fingerprint: &[u8; 32], granted: &Granted, now: Timestamp) {
        let (sql, end) = match granted.holder.by {
            Grant::Session { .. } => {
                let lives = granted.ends_at.map_or(Duration::ZERO, |end| end.since(now));
                if lives + USE_STEP > sessions::LIFE {
                    return;
                }
                (
                    "UPDATE sessions SET expires_at = ?2 WHERE hash = ?1",
                    Some(now.plus(sessions::LIFE)),
                )
            }
            Grant::Token { .. } => {
                if granted.used_at.is_some_and(|used| now.since(used) < USE_STEP) {
                    return;
                }
                ("UPDATE tokens SET used_at = ?2 WHERE hash = ?1", None)
            }
        };
        let Ok(db) = self.0.writer.try_lock() else { return };
        let noted = db.execute(sql, params![fingerprint, end.unwrap_or(now).as_micros()]);
        if let Err(error) = noted {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot write down that a session or token is in use"
            );
            return;
        }
        let mut grants = self.0.accounts.grants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(granted) = grants.by_fingerprint.get_mut(fingerprint) {
            granted.ends_at = end.or(granted.ends_at);
            granted.used_at = Some(now);
        }
    }

    /// Makes a change of accounts in one transaction, then in memory.
    fn change_accounts<R>(
        &self,
        change: impl FnOnce(&Transaction<'_>, Timestamp) -> Result<R, RegistryError>,
    ) -> Result<R, RegistryError> {
        let now = self.0.clock.now();
        let mut db = lock(&self.0.writer);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = change(&tx, now)?;
        tx.execute("UPDATE versions SET accounts = accounts + 1", ())?;
        let grants = Grants::load(&tx, now)?;
        tx.commit()?;
        self.0.accounts.put_grants(grants);
        Ok(answer)
    }

    /// Logs a change of accounts in its transaction.
    fn log(
        &self,
        tx: &Transaction<'_>,
        at: Timestamp,
        action: &str,
        subject: &str,
        detail: Value,
    ) -> Result<(), rusqlite::Error> {
        audit::append(tx, &Entry { at, actor: &self.1.name, action, subject, detail })
    }

    fn hash(&self, password: &str) -> Result<String, RegistryError> {
        self.0.accounts.passwords.hash(password).map_err(RegistryError::Hashing)
    }
}
