//! The word to stop, for work of minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::UpkeepError;

/// Said once, heard everywhere. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn check(&self) -> Result<(), UpkeepError> {
        if self.is_set() { Err(UpkeepError::Stopped) } else { Ok(()) }
    }
}
