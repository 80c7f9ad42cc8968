//! Bearer tokens of programs.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::json;

use crate::model::{Right, Timestamp};
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::secrets::{fingerprint, new_grant};

/// The most tokens in the town.
const MAX_TOKENS: i64 = 1000;

/// The longest token label in characters.
const MAX_LABEL_CHARS: usize = 100;

/// How long a token lives when nobody says how long.
const DEFAULT_DAYS: u32 = 365;

/// The longest life of a token.
const MAX_DAYS: u32 = 3650;

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken<'a> {
    /// Whose rights and zones it has.
    pub user: &'a str,
    /// A name by which to know it again.
    pub label: &'a str,
    /// The rights it is limited to; `None`: all that its user has at any time.
    pub scope: Option<Vec<Right>>,
    /// How many days it lives; `None`: 365.
    pub days: Option<u32>,
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
    /// The rights it is limited to; `None`: all of its user's.
    pub scope: Option<Vec<Right>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; a token from before tokens ended does not.
    pub ends_at: Option<Timestamp>,
    /// When it was last used, to the hour.
    pub used_at: Option<Timestamp>,
}

impl<'a> NewToken<'a> {
    /// One with all the rights of its user for a year.
    pub fn of(user: &'a str, label: &'a str) -> Self {
        NewToken { user, label, scope: None, days: None }
    }

    /// Everything that is wrong with it.
    fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let chars = self.label.chars().count();
        if self.label.trim().is_empty() || chars > MAX_LABEL_CHARS {
            errors.push(format!(
                "a label has 1 to {MAX_LABEL_CHARS} characters, this one has {chars}"
            ));
        }
        if self
            .scope
            .as_ref()
            .is_some_and(|scope| scope.is_empty() || scope.len() > Right::ALL.len())
        {
            errors.push("a scope has one right at least, each once".to_owned());
        }
        if let Some(days) = self.days.filter(|days| !(1..=MAX_DAYS).contains(days)) {
            errors.push(format!("a token lives 1 to {MAX_DAYS} days, not {days}"));
        }
        errors
    }
}

impl Registry {
    /// Makes a bearer token with all the rights of its user for a year: see [`Registry::make_token`].
    ///
    /// # Errors
    /// As [`Registry::make_token`].
    pub fn create_token(&self, user: &str, label: &str) -> Result<String, RegistryError> {
        self.make_token(&NewToken::of(user, label))
    }

    /// Makes a bearer token for programs and returns it: stored hashed, never shown again.
    ///
    /// # Errors
    /// When there is no such user, [`RegistryError::Invalid`] with everything that is wrong with it, there are too many
    /// tokens, or SQLite fails.
    pub fn make_token(&self, new: &NewToken<'_>) -> Result<String, RegistryError> {
        let invalid = |errors| RegistryError::Invalid {
            what: "token",
            id: new.label.chars().take(MAX_LABEL_CHARS).collect(),
            errors,
        };
        let errors = new.errors();
        if !errors.is_empty() {
            return Err(invalid(errors));
        }
        let token = new_grant();
        let scope = new.scope.as_ref().map(|scope| json!(scope));
        let life = Duration::from_secs(86_400 * u64::from(new.days.unwrap_or(DEFAULT_DAYS)));
        self.change_accounts(|tx, now| {
            let ended =
                tx.execute("DELETE FROM tokens WHERE expires_at <= ?1", [now.as_micros()])?;
            let tokens: i64 = tx.query_row("SELECT count(*) FROM tokens", (), |row| row.get(0))?;
            if tokens >= MAX_TOKENS {
                let why = format!("there are {tokens} tokens already; delete some");
                return Err(invalid(vec![why]));
            }
            let ends_at = now.plus(life);
            let made = tx.execute(
                "INSERT INTO tokens (hash, user, label, created_at, scope, expires_at)
                 SELECT ?1, name, ?3, ?4, ?5, ?6 FROM users WHERE name = ?2",
                params![
                    fingerprint(&token),
                    new.user,
                    new.label.trim(),
                    now.as_micros(),
                    scope.as_ref().map(ToString::to_string),
                    ends_at.as_micros()
                ],
            )?;
            if made == 0 {
                return Err(RegistryError::not_found("user", new.user));
            }
            let id = tx.last_insert_rowid().to_string();
            let detail = json!({
                "user": new.user, "label": new.label.trim(), "scope": scope, "ends_at": ends_at,
                "ended_before": ended,
            });
            self.log(tx, now, "token.add", &id, detail)?;
            Ok(token)
        })
    }

    /// Every token, in the order of their making.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, RegistryError> {
        let reader = self.0.accounts.reader();
        let mut query = reader.prepare("SELECT * FROM tokens ORDER BY id")?;
        let mut rows = query.query(())?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            let time =
                |column| row.get::<_, Option<i64>>(column).map(|us| us.map(Timestamp::from_micros));
            tokens.push(TokenInfo {
                id: row.get("id")?,
                user: row.get("user")?,
                label: row.get("label")?,
                scope: scope(row)?.map(|scope| scope.to_vec()),
                created_at: Timestamp::from_micros(row.get("created_at")?),
                ends_at: time("expires_at")?,
                used_at: time("used_at")?,
            });
        }
        Ok(tokens)
    }

    /// Deletes a token: whoever holds it is let in no more.
    ///
    /// # Errors
    /// When there is no such token, or SQLite fails.
    pub fn delete_token(&self, id: i64) -> Result<(), RegistryError> {
        self.delete_token_of(None, id)
    }

    /// Deletes a token if it is this user's; another's is as none.
    ///
    /// # Errors
    /// As [`Registry::delete_token`].
    pub fn delete_token_of(&self, user: Option<&str>, id: i64) -> Result<(), RegistryError> {
        self.change_accounts(|tx, now| {
            let deleted: Option<(String, String)> = tx
                .query_row(
                    "DELETE FROM tokens WHERE id = ?1 AND (?2 IS NULL OR user = ?2)
                     RETURNING user, label",
                    params![id, user],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            let id = id.to_string();
            let (user, label) = deleted.ok_or_else(|| RegistryError::not_found("token", &id))?;
            Ok(self.log(tx, now, "token.delete", &id, json!({ "user": user, "label": label }))?)
        })
    }
}

/// The scope in a row that has the column `scope`. A right that this program does not know is one nobody has.
pub(super) fn scope(row: &Row<'_>) -> Result<Option<Arc<[Right]>>, RegistryError> {
    let Some(json) = row.get::<_, Option<String>>("scope")? else { return Ok(None) };
    let names: Vec<String> = serde_json::from_str(&json)
        .map_err(|error| RegistryError::corrupt("token scope", &json, error))?;
    Ok(Some(names.iter().filter_map(|name| name.parse().ok()).collect()))
}
