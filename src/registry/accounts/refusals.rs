//! Log-ins that were refused, on their way to the audit log.
//!
//! They are collected in memory and written after the answer went out ([`Registry::log_refusals`]): were they written
//! before, a known name would take longer to refuse than a made-up one. How many there can be is bounded: a known name has
//! ten wrong tries in a quarter of an hour and then one entry for its lock; made-up names share one entry a minute. A
//! made-up name itself is not kept, because it may be a password that somebody typed into the wrong field.

use std::mem;
use std::time::Duration;

use rusqlite::TransactionBehavior;
use serde_json::json;

use crate::audit::{self, Entry};
use crate::model::Timestamp;
use crate::registry::error::RegistryError;
use crate::registry::{Registry, lock};

/// The actor of what nobody known did, and the subject when the name is nobody's.
const STRANGER: &str = "(stranger)";

/// The most refusals of known names that wait; more are counted as made-up ones.
const MAX_WAITING: usize = 1000;

/// How often made-up names get an entry.
const STRANGERS_EVERY: Duration = Duration::from_secs(60);

/// Refusals that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    known: Vec<(Timestamp, String, Refusal)>,
    strangers: u64,
    strangers_told_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    WrongPassword,
    /// Further tries are refused unseen; told once.
    Locked,
}

impl Refusals {
    /// Takes note of a refusal; `name` is `None` when it is nobody's.
    pub(super) fn put(&mut self, at: Timestamp, name: Option<&str>, refusal: Refusal) {
        match name.filter(|_| self.known.len() < MAX_WAITING) {
            Some(name) => self.known.push((at, name.to_owned(), refusal)),
            None => self.strangers += 1,
        }
    }

    /// The number of strangers that is to be told now.
    fn strangers(&mut self, now: Timestamp) -> Option<u64> {
        let told = self.strangers_told_at;
        let due = told.is_none_or(|told| now < told || now.since(told) >= STRANGERS_EVERY);
        if self.strangers == 0 || !due {
            return None;
        }
        self.strangers_told_at = Some(now);
        Some(mem::take(&mut self.strangers))
    }
}

impl Registry {
    /// Writes the log-ins that were refused since the last time into the audit log. Called after a refusal was answered.
    ///
    /// # Errors
    /// When SQLite fails; the refusals are then lost but for the security log.
    pub fn log_refusals(&self) -> Result<(), RegistryError> {
        let now = self.0.clock.now();
        let (known, strangers) = {
            let mut refusals = lock(&self.0.accounts.refusals);
            (mem::take(&mut refusals.known), refusals.strangers(now))
        };
        if known.is_empty() && strangers.is_none() {
            return Ok(());
        }
        let mut db = lock(&self.0.writer);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (at, name, refusal) in &known {
            let action = match refusal {
                Refusal::WrongPassword => "login.refused",
                Refusal::Locked => "login.locked_out",
            };
            let detail = json!({});
            audit::append(&tx, &Entry { at: *at, actor: STRANGER, action, subject: name, detail })?;
        }
        if let Some(tries) = strangers {
            let detail = json!({ "tries": tries });
            let action = "login.refused";
            audit::append(
                &tx,
                &Entry { at: now, actor: STRANGER, action, subject: STRANGER, detail },
            )?;
        }
        Ok(tx.commit()?)
    }
}
