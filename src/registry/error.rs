//! What can go wrong in the registry.

use std::path::PathBuf;

/// Why the registry cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// SQLite said no.
    #[error("the town's state database failed")]
    Database(#[from] rusqlite::Error),
    /// The file cannot be made or opened.
    #[error("the town's state file {} cannot be opened", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file was written by a newer program.
    #[error(
        "the town's state file has schema version {found}, this program knows versions up to {known}: \
         start the program that wrote it, or a newer one, or restore a backup"
    )]
    NewerDatabase {
        /// The version in the file.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is SQLite, but not a town's.
    #[error(
        "the file is a SQLite database of another program, not a town's state; name another file"
    )]
    ForeignDatabase,
    /// A stored row cannot be read back.
    #[error("the stored {what} `{id}` is damaged: {why}")]
    Corrupt {
        /// device, asset, zone, ...
        what: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A document is not what it claims to be (whole-document faults; row faults are in the report).
    #[error("{0}")]
    Document(String),
    /// A single thing that was handed in is wrong.
    #[error("{what} `{id}` is refused: {}", errors.join("; "))]
    Invalid {
        /// device, service account, token, ...
        what: &'static str,
        /// Its id.
        id: String,
        /// Everything that is wrong with it and what would be right.
        errors: Vec<String>,
    },
    /// A thing that is named does not exist.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// device, asset, user, ...
        what: &'static str,
        /// The id that was given.
        id: String,
    },
    /// There is one by this name.
    #[error("there is a {what} `{id}` already")]
    AlreadyExists {
        /// user, ...
        what: &'static str,
        /// The name that was given.
        id: String,
    },
    /// The change would leave nobody who may change accounts.
    #[error("one administrator of the whole town must remain; make another one first")]
    LastAdmin,
    /// The password that was to prove who asks is wrong.
    #[error(transparent)]
    Denied(super::door::Denied),
    /// A password could not be hashed (in practice: no memory).
    #[error("the password could not be hashed")]
    Hashing(#[source] argon2::password_hash::Error),
}

impl RegistryError {
    pub(super) fn corrupt(what: &'static str, id: &str, why: impl ToString) -> Self {
        RegistryError::Corrupt { what, id: id.to_owned(), why: why.to_string() }
    }

    pub(super) fn not_found(what: &'static str, id: &str) -> Self {
        RegistryError::NotFound { what, id: id.to_owned() }
    }
}
