//! What a remote engine has to do, and how it fails.
//!
//! An engine keeps readings by name and time: the same reading written again is the same reading. How each engine comes by
//! that stands in its file. It knows no commits and no numbers of series; those are the hub's own.

use std::time::Duration;

use super::lines::Precision;
use crate::model::{Sample, Timestamp};
use crate::store::{Bucket, SeriesKey};

/// A time series database of others.
pub(super) trait Engine: Send + Sync + std::fmt::Debug {
    /// Its name, for people.
    fn name(&self) -> &'static str;

    /// How exactly it keeps times. Of readings of a series that are one time to it, the hub sends one.
    fn precision(&self) -> Precision;

    /// How long after its acknowledgement a written line may still be lost when the engine is killed. The hub keeps what it
    /// sent for so long, and sends it again when the engine failed meanwhile.
    fn settles_in(&self) -> Duration;

    /// Takes lines of [`super::lines`], all with [`Engine::precision`]. Returns when the engine has acknowledged them.
    ///
    /// # Errors
    /// As [`EngineError`] says; some of the lines may have been taken all the same.
    fn write(&self, lines: &[u8]) -> Result<(), EngineError>;

    /// The samples with `from <= observed_at < to`, by time, each time once, at most `limit`.
    ///
    /// # Errors
    /// The engine does not answer as it should.
    fn range(
        &self,
        key: &SeriesKey,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Sample>, EngineError>;

    /// Steps as of [`Store::aggregate`](crate::store::Store::aggregate), counted by the engine, but for what weighs time;
    /// `None` when its own counting would be wrong or is not worth it, and the readings are to be counted here.
    ///
    /// # Errors
    /// The engine does not answer as it should.
    fn aggregate(
        &self,
        _key: &SeriesKey,
        _from: Timestamp,
        _to: Timestamp,
        _step: Duration,
    ) -> Result<Option<Vec<Bucket>>, EngineError> {
        Ok(None)
    }

    /// Every series that the engine has, with its newest sample if that is of the last 30 days before `now`.
    ///
    /// # Errors
    /// The engine does not answer as it should.
    fn latest(&self, now: Timestamp) -> Result<Vec<(SeriesKey, Option<Sample>)>, EngineError>;

    /// Whether the engine would take lines.
    ///
    /// # Errors
    /// It would not; the error says what is missing.
    fn ping(&self) -> Result<(), EngineError>;

    /// Cuts off what is being asked, and refuses every further question.
    fn close(&self);
}

/// Why an engine did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    /// It cannot be reached, or has no time: the same may succeed later.
    #[error("it does not answer: {why}")]
    Away {
        /// What happened.
        why: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It refuses the hub: a person has to mend the token, the bucket or the address.
    #[error("it refuses the hub ({why}); check address, token, organization and bucket in [store]")]
    Denied {
        /// Its words.
        why: String,
    },
    /// It will never take these lines, or not all of them.
    #[error("it refuses some readings: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
    /// The request is too large for it.
    #[error("a request is too large for it")]
    TooLarge,
    /// It answered something that is no answer.
    #[error("its answer makes no sense: {why}")]
    Nonsense {
        /// What is wrong with it.
        why: String,
    },
}
