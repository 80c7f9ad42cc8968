//! People and programs of the API and the console: users, sessions, tokens.
//!
//! Who holds a cookie or a token is answered from memory. The command line changes accounts from a process of
//! its own (`townhub user reset`), so memory is compared with the file's account counter when somebody asks:
//! at most once a [`RECHECK_KNOWN`] for those who are let in, which bounds how long a session that another
//! process ended lives on; at most once a [`RECHECK_UNKNOWN`] for those who are not, which bounds what a flood
//! of made-up tokens costs however many different ones it has.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::Serialize;

use super::door::Denied;
use super::error::RegistryError;
use super::lockout::Tries;
use super::secrets::{Passwords, fingerprint, new_grant, new_password};
use super::{Registry, lock};
use crate::model::{Role, Timestamp, ZoneId};

/// How long a session lives after its last use.
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);

/// In what steps a used session's end is moved on: a write an hour, not one a request.
const SESSION_STEP: Duration = Duration::from_secs(3600);

/// The most sessions of one user; a further log-in ends the one that would end first.
const MAX_SESSIONS: i64 = 100;

/// The most tokens in the town.
const MAX_TOKENS: i64 = 1000;

/// The longest token label in characters.
const MAX_LABEL_CHARS: usize = 100;

/// The longest user name, password, cookie or token that is looked at, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 256;

/// The longest time for which a change by another process is not seen by those who are let in.
const RECHECK_KNOWN: Duration = Duration::from_secs(1);

/// The same for a cookie or token that is not known.
const RECHECK_UNKNOWN: Duration = Duration::from_millis(100);

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

/// A bearer token as a list shows it: the token itself is stored hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenInfo {
    /// Its number, to delete it by.
    pub id: i64,
    /// Whose it is.
    pub user: String,
    /// What its owner called it.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What the registry keeps for this room.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Reads only, and beside the writer: a log-in does not wait for an import.
    reader: Mutex<Connection>,
    grants: RwLock<Grants>,
    tries: Mutex<Tries>,
    passwords: Passwords,
}

/// Who is let in: sessions and tokens by their fingerprint.
#[derive(Debug)]
struct Grants {
    /// The file's account counter when this was read.
    version: i64,
    /// When it was last compared with the file's.
    checked_at: Timestamp,
    by_fingerprint: HashMap<[u8; 32], Grant>,
}

#[derive(Debug, Clone)]
struct Grant {
    user: User,
    /// When a session ends; a token does not.
    ends_at: Option<Timestamp>,
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
            passwords,
        })
    }

    fn grant(&self, fingerprint: &[u8; 32], now: Timestamp) -> Option<Grant> {
        let grants = self.grants.read().unwrap_or_else(PoisonError::into_inner);
        let grant = grants.by_fingerprint.get(fingerprint)?;
        grant.ends_at.is_none_or(|end| now < end).then(|| grant.clone())
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
        let mut reader = lock(&self.reader);
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

    fn stored_password(&self, user: &str) -> Result<Option<String>, rusqlite::Error> {
        let reader = lock(&self.reader);
        let mut query = reader.prepare_cached("SELECT password FROM users WHERE name = ?1")?;
        query.query_row([user], |row| row.get(0)).optional()
    }
}

impl Grants {
    fn load(tx: &Transaction<'_>, now: Timestamp) -> Result<Self, RegistryError> {
        let mut by_fingerprint = HashMap::new();
        let mut query = tx.prepare(
            "SELECT hash, name, role, zones, expires_at FROM sessions JOIN users ON users.name = user
             WHERE expires_at > ?1
             UNION ALL
             SELECT hash, name, role, zones, NULL FROM tokens JOIN users ON users.name = user",
        )?;
        let mut rows = query.query([now.as_micros()])?;
        while let Some(row) = rows.next()? {
            let user = user(row)?;
            let ends_at = row.get::<_, Option<i64>>("expires_at")?.map(Timestamp::from_micros);
            by_fingerprint.insert(row.get(0)?, Grant { user, ends_at });
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
    /// Makes the first administrator if there is no user yet, and returns its name and its one-time shown password.
    ///
    /// # Errors
    /// When SQLite fails, or there is no memory to hash the password.
    pub fn first_admin(&self) -> Result<Option<(String, String)>, RegistryError> {
        self.change_accounts(|tx, now| {
            let users: i64 = tx.query_row("SELECT count(*) FROM users", (), |row| row.get(0))?;
            if users > 0 {
                return Ok(None);
            }
            let password = new_password();
            let hash = self.hash(&password)?;
            tx.execute(
                "INSERT INTO users (name, role, password, created_at) VALUES (?1, ?2, ?3, ?4)",
                params![FIRST_ADMIN, Role::Admin.as_str(), hash, now.as_micros()],
            )?;
            Ok(Some((FIRST_ADMIN.to_owned(), password)))
        })
    }

    /// Gives a user a new generated password, ends its sessions (its tokens stay), opens a locked-out name again,
    /// and returns the password.
    ///
    /// # Errors
    /// When there is no such user, SQLite fails, or there is no memory to hash the password.
    pub fn reset_password(&self, user: &str) -> Result<String, RegistryError> {
        self.change_accounts(|tx, _| {
            let password = new_password();
            let hash = self.hash(&password)?;
            let changed =
                tx.execute("UPDATE users SET password = ?2 WHERE name = ?1", params![user, hash])?;
            if changed == 0 {
                return Err(RegistryError::not_found("user", user));
            }
            tx.execute("DELETE FROM sessions WHERE user = ?1", [user])?;
            Ok(password)
        })
    }

    /// Checks a person's password (argon2id; blocks for tens of milliseconds: call it off the async threads) and opens
    /// a session; returns the session's cookie value. A wrong name takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`]; [`Denied::LockedOut`] after 10 tries within 15 minutes that were wrong;
    /// [`Denied::Unavailable`] when SQLite fails or too many log in at once.
    pub fn log_in(&self, user: &str, password: &str) -> Result<String, Denied> {
        if user.len() > MAX_CREDENTIAL_BYTES || password.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::BadCredentials);
        }
        let accounts = &self.0.accounts;
        let turn = accounts.passwords.turn().ok_or(Denied::Unavailable)?;
        let stored = accounts.stored_password(user).map_err(|e| unavailable(&e.into()))?;
        if !lock(&accounts.tries).begin(user, stored.as_deref(), self.0.clock.now()) {
            return Err(Denied::LockedOut);
        }
        if !turn.check(password, stored.as_deref()) {
            return Err(Denied::BadCredentials);
        }
        lock(&accounts.tries).succeeded(user);
        self.open_session(user, stored.as_deref())
            .map_err(|e| unavailable(&e))?
            .ok_or(Denied::BadCredentials)
    }

    /// Opens a session if the user's password still is the one that was checked.
    fn open_session(
        &self,
        user: &str,
        checked: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        let cookie = new_grant();
        self.change_accounts(|tx, now| {
            tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.as_micros()])?;
            let opened = tx.execute(
                "INSERT INTO sessions (hash, user, created_at, expires_at)
                 SELECT ?1, name, ?3, ?4 FROM users WHERE name = ?2 AND password = ?5",
                params![
                    fingerprint(&cookie),
                    user,
                    now.as_micros(),
                    now.plus(SESSION_LIFE).as_micros(),
                    checked
                ],
            )?;
            tx.execute(
                "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user = ?1
                 ORDER BY expires_at DESC, created_at DESC LIMIT -1 OFFSET ?2)",
                params![user, MAX_SESSIONS],
            )?;
            Ok((opened > 0).then_some(cookie))
        })
    }

    /// Ends a session; one that there is not, is ended already.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn log_out(&self, session: &str) -> Result<(), RegistryError> {
        let fingerprint = fingerprint(session);
        // Who is not logged in may ask too, and must not get a write to the disk for it.
        if self.0.accounts.grant(&fingerprint, self.0.clock.now()).is_none() {
            return Ok(());
        }
        self.change_accounts(|tx, _| {
            tx.execute("DELETE FROM sessions WHERE hash = ?1", [fingerprint])?;
            Ok(())
        })
    }

    /// Makes a bearer token for programs and returns it: stored hashed, never shown again.
    ///
    /// # Errors
    /// When there is no such user, the label is empty or too long, there are too many tokens, or SQLite fails.
    pub fn create_token(&self, user: &str, label: &str) -> Result<String, RegistryError> {
        let invalid = |error: String| RegistryError::Invalid {
            what: "token",
            id: label.chars().take(MAX_LABEL_CHARS).collect(),
            errors: vec![error],
        };
        let chars = label.chars().count();
        if label.trim().is_empty() || chars > MAX_LABEL_CHARS {
            let error =
                format!("a label has 1 to {MAX_LABEL_CHARS} characters, this one has {chars}");
            return Err(invalid(error));
        }
        let token = new_grant();
        self.change_accounts(|tx, now| {
            let tokens: i64 = tx.query_row("SELECT count(*) FROM tokens", (), |row| row.get(0))?;
            if tokens >= MAX_TOKENS {
                return Err(invalid(format!("there are {tokens} tokens already; delete some")));
            }
            let made = tx.execute(
                "INSERT INTO tokens (hash, user, label, created_at)
                 SELECT ?1, name, ?3, ?4 FROM users WHERE name = ?2",
                params![fingerprint(&token), user, label.trim(), now.as_micros()],
            )?;
            if made == 0 { Err(RegistryError::not_found("user", user)) } else { Ok(token) }
        })
    }

    /// Every token, in the order of their making.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, RegistryError> {
        let reader = lock(&self.0.accounts.reader);
        let mut query =
            reader.prepare("SELECT id, user, label, created_at FROM tokens ORDER BY id")?;
        let tokens = query.query_map((), |row| {
            let created_at = Timestamp::from_micros(row.get(3)?);
            Ok(TokenInfo { id: row.get(0)?, user: row.get(1)?, label: row.get(2)?, created_at })
        })?;
        Ok(tokens.collect::<Result<_, _>>()?)
    }

    /// Deletes a token: whoever holds it is let in no more.
    ///
    /// # Errors
    /// When there is no such token, or SQLite fails.
    pub fn delete_token(&self, id: i64) -> Result<(), RegistryError> {
        self.change_accounts(|tx, _| {
            match tx.execute("DELETE FROM tokens WHERE id = ?1", [id])? {
                0 => Err(RegistryError::not_found("token", &id.to_string())),
                _ => Ok(()),
            }
        })
    }

    /// Who holds this session cookie or bearer token. In memory, because it is asked on every request; it touches
    /// SQLite for microseconds once a second, and for a short write once an hour and session. A used session
    /// lives on: its end moves to 12 hours from now.
    pub fn who(&self, session_or_token: &str) -> Option<User> {
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
        let grant = accounts.grant(&fingerprint, now).or_else(|| {
            ask_the_file(RECHECK_UNKNOWN);
            accounts.grant(&fingerprint, now)
        })?;
        if grant.ends_at.is_some_and(|end| end.since(now) + SESSION_STEP <= SESSION_LIFE) {
            self.renew(&fingerprint, now);
        }
        Some(grant.user)
    }

    /// Moves a session's end on, unless the writer is busy: then the next request will.
    fn renew(&self, fingerprint: &[u8; 32], now: Timestamp) {
        let Ok(db) = self.0.writer.try_lock() else { return };
        let end = now.plus(SESSION_LIFE);
        let moved = db.execute(
            "UPDATE sessions SET expires_at = ?2 WHERE hash = ?1",
            params![fingerprint, end.as_micros()],
        );
        if let Err(error) = moved {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot prolong a session");
            return;
        }
        let mut grants = self.0.accounts.grants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(grant) = grants.by_fingerprint.get_mut(fingerprint) {
            grant.ends_at = Some(end);
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

    fn hash(&self, password: &str) -> Result<String, RegistryError> {
        self.0.accounts.passwords.hash(password).map_err(RegistryError::Hashing)
    }
}

fn unavailable(error: &RegistryError) -> Denied {
    tracing::error!(error = error as &dyn std::error::Error, "cannot check a log-in");
    Denied::Unavailable
}
