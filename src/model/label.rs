//! Text for people, in both languages of the town.

use serde::{Deserialize, Serialize};

/// A text in Chinese and English. A file may give one plain string, which then serves both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Spelling")]
pub struct Label {
    /// Chinese (zh-CN).
    pub zh: String,
    /// English.
    pub en: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Both { zh: String, en: String },
    One(String),
}

impl From<Spelling> for Label {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Both { zh, en } => Label { zh, en },
            Spelling::One(text) => Label::same(&text),
        }
    }
}

impl Label {
    /// One text for both languages.
    pub fn same(text: &str) -> Self {
        Label { zh: text.to_owned(), en: text.to_owned() }
    }

    /// A text in each language.
    pub fn new(zh: impl Into<String>, en: impl Into<String>) -> Self {
        Label { zh: zh.into(), en: en.into() }
    }
}
