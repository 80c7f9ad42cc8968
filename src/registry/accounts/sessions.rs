//! Log-ins and sessions, and the password that a person has.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde_json::json;

use super::refusals::Refusal;
use super::{Grant, Holder, MAX_CREDENTIAL_BYTES, password};
use crate::model::Timestamp;
use crate::registry::door::Denied;
use crate::registry::error::RegistryError;
use crate::registry::secrets::{fingerprint, new_grant};
use crate::registry::{Registry, lock};

/// How long a session lives after its last use.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);

/// The most sessions of one user; a further log-in ends the one that would end first.
const MAX_SESSIONS: i64 = 100;

/// What is kept of a browser's name, in characters.
const MAX_AGENT_CHARS: usize = 200;

/// A session as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// Its name, to end it by; the cookie cannot be told from it.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// The browser, as it calls itself.
    pub agent: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was last used, to the hour.
    pub used_at: Timestamp,
    /// When it ends if it is not used.
    pub ends_at: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// A session's name in lists: the start of its fingerprint, which is a hash already.
pub(super) fn name_of(fingerprint: &[u8; 32]) -> String {
    fingerprint[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Registry {
    /// Checks a person's password (argon2id; blocks for tens of milliseconds: call it off the async threads) and opens
    /// a session; returns the session's cookie value. A wrong name takes as long as a wrong password; a disabled user's is
    /// a wrong name.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`]; [`Denied::LockedOut`] after 10 tries within 15 minutes that were wrong;
    /// [`Denied::Unavailable`] when SQLite fails or too many log in at once.
    pub fn log_in(&self, user: &str, password: &str) -> Result<String, Denied> {
        self.log_in_from(user, password, "")
    }

    /// The same from a browser that calls itself `agent`.
    ///
    /// # Errors
    /// As [`Registry::log_in`].
    pub fn log_in_from(&self, user: &str, password: &str, agent: &str) -> Result<String, Denied> {
        let checked = self.check_password(user, password)?;
        self.open_session(user, &checked, agent)
            .map_err(|e| unavailable(&e))?
            .ok_or(Denied::BadCredentials)
    }

    /// The stored hash that the password is right for. Counts the try.
    fn check_password(&self, user: &str, password: &str) -> Result<String, Denied> {
        if user.len() > MAX_CREDENTIAL_BYTES || password.len() > MAX_CREDENTIAL_BYTES {
            return Err(Denied::BadCredentials);
        }
        let accounts = &self.0.accounts;
        let turn = accounts.passwords.turn().ok_or(Denied::Unavailable)?;
        let stored = accounts.stored_password(user).map_err(|e| unavailable(&e.into()))?;
        let now = self.0.clock.now();
        let known = stored.is_some().then_some(user);
        let mut tries = lock(&accounts.tries);
        if !tries.begin(user, stored.as_deref(), now) {
            if tries.is_first_refusal(user) {
                lock(&accounts.refusals).put(now, known, Refusal::Locked);
            }
            return Err(Denied::LockedOut);
        }
        drop(tries);
        let right = turn.check(password, stored.as_deref());
        let Some(stored) = stored.filter(|_| right) else {
            lock(&accounts.refusals).put(now, known, Refusal::WrongPassword);
            return Err(Denied::BadCredentials);
        };
        lock(&accounts.tries).succeeded(user);
        Ok(stored)
    }

    /// Opens a session if the user's password still is the one that was checked.
    fn open_session(
        &self,
        user: &str,
        checked: &str,
        agent: &str,
    ) -> Result<Option<String>, RegistryError> {
        let cookie = new_grant();
        let fingerprint = fingerprint(&cookie);
        let agent: String =
            agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
        self.change_accounts(|tx, now| {
            tx.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.as_micros()])?;
            let opened = tx.execute(
                "INSERT INTO sessions (hash, user, created_at, expires_at, agent)
                 SELECT ?1, name, ?3, ?4, ?6 FROM users
                 WHERE name = ?2 AND password = ?5 AND disabled = 0",
                params![
                    fingerprint,
                    user,
                    now.as_micros(),
                    now.plus(LIFE).as_micros(),
                    checked,
                    agent
                ],
            )?;
            // Never the new one, even when all of them began at one time.
            tx.execute(
                "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user = ?1
                 ORDER BY hash = ?3 DESC, expires_at DESC, created_at DESC LIMIT -1 OFFSET ?2)",
                params![user, MAX_SESSIONS, fingerprint],
            )?;
            if opened == 0 {
                return Ok(None);
            }
            let detail = json!({ "session": name_of(&fingerprint), "agent": agent });
            let handle = self.named(user);
            handle.log(tx, now, "session.open", user, detail)?;
            Ok(Some(cookie))
        })
    }

    /// Ends a session; one that there is not, is ended already.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn log_out(&self, session: &str) -> Result<(), RegistryError> {
        let fingerprint = fingerprint(session);
        // Who is not logged in may ask too, and must not get a write to the disk for it.
        let Some(granted) = self.0.accounts.granted(&fingerprint, self.0.clock.now()) else {
            return Ok(());
        };
        self.change_accounts(|tx, now| {
            let ended = tx.execute("DELETE FROM sessions WHERE hash = ?1", [fingerprint])?;
            if ended > 0 {
                let user = granted.holder.user.name;
                let detail = json!({ "session": name_of(&fingerprint) });
                self.named(&user).log(tx, now, "session.close", &user, detail)?;
            }
            Ok(())
        })
    }

    /// The sessions of one user, or everybody's; the last opened first. `holder` is who asks.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn sessions(
        &self,
        holder: &Holder,
        only: Option<&str>,
    ) -> Result<Vec<SessionInfo>, RegistryError> {
        let reader = self.0.accounts.reader();
        let mut query = reader.prepare_cached(
            "SELECT hash, agent, created_at, expires_at, user FROM sessions
             WHERE (?1 IS NULL OR user = ?1) AND expires_at > ?2 ORDER BY created_at DESC, hash",
        )?;
        let now = self.0.clock.now();
        let sessions = query.query_map(params![only, now.as_micros()], |row| {
            let id = name_of(&row.get(0)?);
            let ends_at = Timestamp::from_micros(row.get(3)?);
            let current = matches!(&holder.by, Grant::Session { id: own } if *own == id);
            Ok(SessionInfo {
                current,
                id,
                user: row.get(4)?,
                agent: row.get(1)?,
                created_at: Timestamp::from_micros(row.get(2)?),
                used_at: ends_at.minus(LIFE),
                ends_at,
            })
        })?;
        Ok(sessions.collect::<Result<_, _>>()?)
    }

    /// Ends a session by its name in the list, if it is this user's; another's is as none.
    ///
    /// # Errors
    /// When there is no such session, or SQLite fails.
    pub fn end_session(&self, only: Option<&str>, id: &str) -> Result<(), RegistryError> {
        self.change_accounts(|tx, now| {
            let user: Option<String> = tx
                .query_row(
                    "DELETE FROM sessions WHERE (?1 IS NULL OR user = ?1)
                     AND lower(hex(substr(hash, 1, 8))) = ?2 RETURNING user",
                    params![only, id],
                    |row| row.get(0),
                )
                .optional()?;
            let user = user.ok_or_else(|| RegistryError::not_found("session", id))?;
            Ok(self.log(tx, now, "session.end", &user, json!({ "session": id }))?)
        })
    }

    /// Gives whoever asks the password that he chose, and ends his other sessions. Blocks as [`Registry::log_in`].
    ///
    /// # Errors
    /// [`RegistryError::Denied`] when `current` is wrong (such tries count as those of a log-in);
    /// [`RegistryError::Invalid`] with everything that is wrong with the new one; or SQLite fails.
    pub fn change_password(
        &self,
        holder: &Holder,
        current: &str,
        new: &str,
    ) -> Result<(), RegistryError> {
        let user = &holder.user.name;
        let checked = self.check_password(user, current).map_err(RegistryError::Denied)?;
        let mut errors = password::errors(user, new);
        if new == current {
            errors.push("it is the one that you have".to_owned());
        }
        if !errors.is_empty() {
            return Err(RegistryError::Invalid { what: "password of", id: user.clone(), errors });
        }
        let hash = self.hash(new)?;
        let own = match &holder.by {
            Grant::Session { id } => id.as_str(),
            Grant::Token { .. } => "",
        };
        self.change_accounts(|tx, now| {
            let changed = tx.execute(
                "UPDATE users SET password = ?3, must_change = 0 WHERE name = ?1 AND password = ?2",
                params![user, checked, hash],
            )?;
            if changed == 0 {
                // Somebody reset it in between.
                return Err(RegistryError::Denied(Denied::BadCredentials));
            }
            tx.execute(
                "DELETE FROM sessions WHERE user = ?1 AND lower(hex(substr(hash, 1, 8))) <> ?2",
                params![user, own],
            )?;
            Ok(self.log(tx, now, "user.password", user, json!({}))?)
        })
    }

    /// A handle whose changes are logged under this name.
    fn named(&self, user: &str) -> Self {
        let user =
            super::User { name: user.to_owned(), role: crate::model::Role::Viewer, zones: None };
        self.by(&user)
    }

    /// A session without a log-in, for tests that need many.
    #[cfg(test)]
    pub(crate) fn session_of(&self, user: &str) -> String {
        let stored = self.0.accounts.stored_password(user).unwrap().unwrap();
        self.open_session(user, &stored, "").unwrap().unwrap()
    }

    /// Takes the first password as changed, for tests of what comes after.
    #[cfg(test)]
    pub(crate) fn settle(&self, user: &str) {
        self.change_accounts(|tx, _| {
            tx.execute("UPDATE users SET must_change = 0 WHERE name = ?1", [user])?;
            Ok(())
        })
        .unwrap();
    }
}

fn unavailable(error: &RegistryError) -> Denied {
    tracing::error!(error = error as &dyn std::error::Error, "cannot check a log-in");
    Denied::Unavailable
}
