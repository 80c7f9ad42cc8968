//! Where a page stands in the feed.

use std::fmt;
use std::str::FromStr;

/// An event's id: the run of the hub and the event's number in it. Written `epoch-seq`, for example `1790000000-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which run of the hub.
    pub epoch: u32,
    /// Which event; 0 is "before the first".
    pub seq: u64,
}

/// A text that is no event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no event id; write epoch-seq as the feed and the map gave it, for example 1790000000-42"
)]
pub struct CursorError {
    /// The text that was given.
    pub found: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        text.split_once('-')
            .and_then(|(epoch, seq)| {
                Some(Cursor { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
            })
            .ok_or_else(|| CursorError { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_was_written() {
        let cursor = Cursor { epoch: 7, seq: 42 };
        assert_eq!(cursor.to_string(), "7-42");
        assert_eq!("7-42".parse(), Ok(cursor));
        for bad in ["", "7", "7-", "-42", "7-x", "x-42", "7-42-1", "4294967296-1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
