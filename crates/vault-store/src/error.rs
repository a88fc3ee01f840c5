//! Errors: what failed, on what, and what the caller can do about it.

use std::{error::Error, fmt};

/// An error of a store.
///
/// [`kind`](StoreError::kind) says what a caller can do; `source()` is the driver's own error.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with one clear sentence that names what failed, on what, and what to do; it must
    /// not hold a secret.
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

    /// Returns what a caller can do.
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
    /// Retry: nothing was changed, and the cause is temporary (a deadlock, a serialization failure,
    /// a lost connection).
    Retryable,
    /// Read before you retry: the change may or may not have been made (the reply to a commit was
    /// lost).
    UnknownOutcome,
    /// Wait for the process that holds the vault's lock, or stop it.
    Locked,
    /// Check the address: nothing exists there.
    NotFound,
    /// Choose another address: something already exists there.
    AlreadyExists,
    /// Check the address: what exists there is not a vault.
    NotAVault,
    /// Use a newer version of this program: the vault's schema is newer than this one knows.
    NewerSchema,
    /// Upgrade the schema: it is older than this program writes.
    OlderSchema,
    /// Get permission.
    Denied,
    /// Free space: the disk is full, and nothing was changed.
    Full,
    /// Reopen the store: this handle stopped after a disk or server failure.
    Stopped,
    /// Restore from a backup: the database itself is damaged.
    Corrupt,
    /// Fix the request: the store cannot hold this value.
    Unsupported,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// Returns whether a retry can help.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Retryable | Self::UnknownOutcome)
    }
}
