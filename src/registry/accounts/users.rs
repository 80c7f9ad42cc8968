//! People: made, changed, disabled, deleted.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::json;

use super::{FIRST_ADMIN, User, user};
use crate::model::{Role, Timestamp, ZoneId};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::secrets::new_password;

/// The most users of a town.
const MAX_USERS: i64 = 1000;

/// The longest name in characters.
const MAX_NAME_CHARS: usize = 64;

/// The most zones of one user.
const MAX_ZONES: usize = 1000;

/// A user as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserInfo {
    /// Who it is and what he may do where.
    #[serde(flatten)]
    pub user: User,
    /// Whether he is kept out.
    pub disabled: bool,
    /// Whether he has to choose a new password first.
    pub must_change: bool,
    /// When he was added.
    pub created_at: Timestamp,
}

/// What to change of a user; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// What he may do.
    pub role: Option<Role>,
    /// Where; `Some(None)`: in the whole town.
    pub zones: Option<Option<Vec<ZoneId>>>,
    /// Whether he is kept out; his sessions then end.
    pub disabled: Option<bool>,
}

impl Registry {
    /// Every user by name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn users(&self) -> Result<Vec<UserInfo>, RegistryError> {
        let reader = self.0.accounts.reader();
        let mut query = reader.prepare("SELECT * FROM users ORDER BY name")?;
        let mut rows = query.query(())?;
        let mut users = Vec::new();
        while let Some(row) = rows.next()? {
            users.push(info(row)?);
        }
        Ok(users)
    }

    /// Makes the first administrator if there is no user yet, and returns its name and its one-time shown password.
    ///
    /// # Errors
    /// When SQLite fails, or there is no memory to hash the password.
    pub fn first_admin(&self) -> Result<Option<(String, String)>, RegistryError> {
        self.change_accounts(|tx, now| {
            if count(tx)? > 0 {
                return Ok(None);
            }
            let admin = User { name: FIRST_ADMIN.to_owned(), role: Role::Admin, zones: None };
            let password = self.insert_user(tx, now, &admin)?;
            Ok(Some((admin.name, password)))
        })
    }

    /// Makes a user with a generated password, which is returned and has to be changed at the first log-in.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] with everything that is wrong with the name or the zones;
    /// [`RegistryError::AlreadyExists`]; or SQLite fails.
    pub fn add_user(&self, new: &User) -> Result<String, RegistryError> {
        self.change_accounts(|tx, now| {
            let mut errors = name_errors(&new.name);
            errors.extend(self.zone_errors(new.zones.as_deref()));
            let users = count(tx)?;
            if users >= MAX_USERS {
                errors.push(format!("there are {users} users already; delete some"));
            }
            refuse("user", &new.name, errors)?;
            if find(tx, &new.name)?.is_some() {
                return Err(RegistryError::AlreadyExists { what: "user", id: new.name.clone() });
            }
            self.insert_user(tx, now, new)
        })
    }

    /// Changes a user's role, zones, or whether he is kept out.
    ///
    /// # Errors
    /// When there is no such user or zone; [`RegistryError::LastAdmin`]; or SQLite fails.
    pub fn change_user(&self, name: &str, change: &UserChange) -> Result<UserInfo, RegistryError> {
        self.change_accounts(|tx, now| {
            let before = find(tx, name)?.ok_or_else(|| RegistryError::not_found("user", name))?;
            if let Some(zones) = &change.zones {
                refuse("user", name, self.zone_errors(zones.as_deref()))?;
            }
            let mut after = before.clone();
            after.user.role = change.role.unwrap_or(after.user.role);
            after.user.zones = change.zones.clone().unwrap_or(after.user.zones);
            after.disabled = change.disabled.unwrap_or(after.disabled);
            if after == before {
                return Ok(after);
            }
            tx.execute(
                "UPDATE users SET role = ?2, zones = ?3, disabled = ?4 WHERE name = ?1",
                params![name, after.user.role.as_str(), zones_json(&after.user), after.disabled],
            )?;
            if after.disabled {
                tx.execute("DELETE FROM sessions WHERE user = ?1", [name])?;
            }
            keep_an_admin(tx)?;
            let detail = json!({ "before": state(&before), "after": state(&after) });
            self.log(tx, now, "user.change", name, detail)?;
            Ok(after)
        })
    }

    /// Gives a user a new generated password, which has to be changed at the next log-in; ends its sessions (its tokens
    /// stay), opens a locked-out name again, and returns the password.
    ///
    /// # Errors
    /// When there is no such user, SQLite fails, or there is no memory to hash the password.
    pub fn reset_password(&self, user: &str) -> Result<String, RegistryError> {
        self.change_accounts(|tx, now| {
            let password = new_password();
            let hash = self.hash(&password)?;
            let changed = tx.execute(
                "UPDATE users SET password = ?2, must_change = 1 WHERE name = ?1",
                params![user, hash],
            )?;
            if changed == 0 {
                return Err(RegistryError::not_found("user", user));
            }
            tx.execute("DELETE FROM sessions WHERE user = ?1", [user])?;
            self.log(tx, now, "user.reset", user, json!({}))?;
            Ok(password)
        })
    }

    /// Deletes a user with his sessions and tokens; what he did stays in the audit log.
    ///
    /// # Errors
    /// When there is no such user; [`RegistryError::LastAdmin`]; or SQLite fails.
    pub fn delete_user(&self, name: &str) -> Result<(), RegistryError> {
        self.change_accounts(|tx, now| {
            let before = find(tx, name)?.ok_or_else(|| RegistryError::not_found("user", name))?;
            tx.execute("DELETE FROM users WHERE name = ?1", [name])?;
            keep_an_admin(tx)?;
            Ok(self.log(tx, now, "user.delete", name, state(&before))?)
        })
    }

    fn insert_user(
        &self,
        tx: &Transaction<'_>,
        now: Timestamp,
        new: &User,
    ) -> Result<String, RegistryError> {
        let password = new_password();
        let hash = self.hash(&password)?;
        tx.execute(
            "INSERT INTO users (name, role, zones, password, created_at, must_change)
             VALUES (?1, ?2, ?3, ?4, ?5, 1)",
            params![new.name, new.role.as_str(), zones_json(new), hash, now.as_micros()],
        )?;
        let detail = json!({ "role": new.role, "zones": new.zones });
        self.log(tx, now, "user.add", &new.name, detail)?;
        Ok(password)
    }

    /// What is wrong with the zones that a user is to be limited to.
    fn zone_errors(&self, zones: Option<&[ZoneId]>) -> Vec<String> {
        let Some(zones) = zones else { return Vec::new() };
        if zones.is_empty() || zones.len() > MAX_ZONES {
            return vec![format!("a user has 1 to {MAX_ZONES} zones, or the whole town")];
        }
        let town = self.town();
        let unknown = zones.iter().filter(|zone| !town.zones.contains_key(*zone));
        unknown.map(|zone| format!("there is no zone `{zone}`")).collect()
    }
}

/// Somebody must be left who may change accounts everywhere.
fn keep_an_admin(tx: &Transaction<'_>) -> Result<(), RegistryError> {
    let left: i64 = tx.query_row(
        "SELECT count(*) FROM users WHERE role = ?1 AND disabled = 0 AND zones IS NULL",
        [Role::Admin.as_str()],
        |row| row.get(0),
    )?;
    if left > 0 { Ok(()) } else { Err(RegistryError::LastAdmin) }
}

fn refuse(what: &'static str, id: &str, errors: Vec<String>) -> Result<(), RegistryError> {
    let id = id.chars().take(MAX_NAME_CHARS).collect();
    if errors.is_empty() { Ok(()) } else { Err(RegistryError::Invalid { what, id, errors }) }
}

/// A name is read in lists, logs and addresses; one with a bracket in front is a part of the hub in the audit log.
fn name_errors(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS {
        errors.push(format!("a name has 1 to {MAX_NAME_CHARS} characters, this one has {chars}"));
    }
    if !name.chars().all(|c| c.is_alphanumeric() || "._-@".contains(c)) {
        errors.push("a name has letters, digits and . _ - @ only".to_owned());
    }
    if matches!(name, "." | "..") {
        errors.push("a name of dots is no name".to_owned());
    }
    errors
}

fn count(tx: &Transaction<'_>) -> Result<i64, rusqlite::Error> {
    tx.query_row("SELECT count(*) FROM users", (), |row| row.get(0))
}

fn find(tx: &Transaction<'_>, name: &str) -> Result<Option<UserInfo>, RegistryError> {
    let mut query = tx.prepare_cached("SELECT * FROM users WHERE name = ?1")?;
    query.query_row([name], |row| Ok(info(row))).optional()?.transpose()
}

fn info(row: &Row<'_>) -> Result<UserInfo, RegistryError> {
    Ok(UserInfo {
        user: user(row)?,
        disabled: row.get("disabled")?,
        must_change: row.get("must_change")?,
        created_at: Timestamp::from_micros(row.get("created_at")?),
    })
}

fn state(info: &UserInfo) -> serde_json::Value {
    json!({ "role": info.user.role, "zones": info.user.zones, "disabled": info.disabled })
}

fn zones_json(user: &User) -> Option<String> {
    user.zones.as_ref().map(|zones| json!(zones).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_log_and_an_address_can_hold() {
        for good in ["ann", "张三", "a.b-c_d@town", "7"] {
            assert!(name_errors(good).is_empty(), "{good}");
        }
        for bad in ["", " ann", "(hub)", "a/b", "a\nb", "..", &"x".repeat(65)] {
            assert!(!name_errors(bad).is_empty(), "{bad}");
        }
    }
}
