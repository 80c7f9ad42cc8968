//! Names and numbers of things. A value of one of these types is valid: it was checked when it was made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("a {what} must not be empty")]
    Empty {
        /// What the identifier names.
        what: &'static str,
    },
    /// The text is longer than the limit.
    #[error("a {what} has at most {limit} bytes, this one has {len}")]
    TooLong {
        /// What the identifier names.
        what: &'static str,
        /// The longest allowed length in bytes.
        limit: usize,
        /// The length in bytes that was given.
        len: usize,
    },
    /// The text has a character that is not allowed.
    #[error("a {what} has only {allowed}; `{text}` has `{found}`")]
    BadCharacter {
        /// What the identifier names.
        what: &'static str,
        /// The characters that are allowed, in words.
        allowed: &'static str,
        /// The text that was given.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
}

/// The longest identifier in bytes: it must fit into an MQTT topic level and a metric label with room to spare.
const MAX_ID_BYTES: usize = 64;

fn check(
    what: &'static str,
    allowed: &'static str,
    text: &str,
    is_allowed: fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong { what, limit: MAX_ID_BYTES, len: text.len() });
    }
    match text.chars().find(|&c| !is_allowed(c)) {
        None => Ok(()),
        Some(found) => Err(IdError::BadCharacter { what, allowed, text: text.to_owned(), found }),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($what, $allowed, text, $is_allowed)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')
}

fn is_metric_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

text_id!(
    /// A device as it names itself when it connects: also its MQTT user name and its level in a topic.
    DeviceId, "device id", "ASCII letters, digits and - _ . :", is_id_char
);
text_id!(
    /// A thing of the town that stands somewhere: a manhole, a gate, a parking bay.
    AssetId, "asset id", "ASCII letters, digits and - _ . :", is_id_char
);
text_id!(
    /// An area of the town.
    ZoneId, "zone id", "ASCII letters, digits and - _ . :", is_id_char
);
text_id!(
    /// A crew that is sent to handle cases.
    UnitId, "unit id", "ASCII letters, digits and - _ . :", is_id_char
);
text_id!(
    /// A device profile, which is a device model.
    ProfileId, "profile id", "ASCII letters, digits and - _ . :", is_id_char
);
text_id!(
    /// A point of a profile, for example `level`; with a device it names a series.
    MetricName, "metric name", "lower case ASCII letters, digits and _", is_metric_char
);

/// A series (one metric of one device) as the store numbers it: dense, from 0, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeriesId(pub u32);

impl SeriesId {
    /// The number as an index into a dense table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An asset as the map numbers it: kept for the asset's whole life, small enough for a live feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AssetNumber(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_that_exists_is_valid() {
        assert!("mh-014".parse::<DeviceId>().is_ok());
        assert!("CH4".parse::<MetricName>().is_err());
        assert_eq!("".parse::<DeviceId>(), Err(IdError::Empty { what: "device id" }));
        for bad in ["a/b", "a+b", "#", "井", "a b"] {
            assert!(matches!(bad.parse::<DeviceId>(), Err(IdError::BadCharacter { .. })), "{bad}");
        }
        let long = "x".repeat(MAX_ID_BYTES + 1);
        assert!(matches!(long.parse::<DeviceId>(), Err(IdError::TooLong { .. })));
        assert!(serde_json::from_str::<DeviceId>("\"a/b\"").is_err());
    }
}
