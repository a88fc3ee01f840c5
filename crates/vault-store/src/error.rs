//! Errors: what failed, on what, and what the caller can do about it.

use std::{error::Error, fmt};

/// A store did not do what it was asked.
///
/// [`kind`](StoreError::kind) says what a caller can do; the driver's own error is the `source()`.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with one clear sentence that names what failed, on what, and what to do; it must not hold a secret.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps the driver's error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What a caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Try again: nothing was changed, and the cause passes (a deadlock, a serialization failure, a lost connection).
    Retryable,
    /// Read again before anything else: the change may or may not have been made (the reply to a commit was lost).
    UnknownOutcome,
    /// Wait or stop the other process: it holds the vault's lock.
    Locked,
    /// Check the address: there is nothing.
    NotFound,
    /// Choose another place: something is there already.
    AlreadyExists,
    /// Check the address: what is there is not a vault.
    NotAVault,
    /// Use a newer version of this program: the vault's schema is newer than this one knows.
    NewerSchema,
    /// Upgrade the schema: the vault's is older than this program writes.
    OlderSchema,
    /// Ask for the permission.
    Denied,
    /// Free space: the disk is full, and nothing was changed.
    Full,
    /// Open the store again: this handle stopped after a failure of the disk or the server.
    Stopped,
    /// Restore from a backup: the database itself is damaged.
    Corrupt,
    /// Mend the request: the store cannot hold this value.
    Unsupported,
    /// Give up: anything else.
    Other,
}

impl StoreErrorKind {
    /// Whether doing the same once more can help.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Retryable | Self::UnknownOutcome)
    }
}
