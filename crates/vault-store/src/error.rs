//! Errors: what failed on what, and a hint of what the caller can do about it.

use std::{borrow::Cow, error::Error, fmt};

/// An error of a store.
///
/// The message (`Display`) says what failed and on what, [`hint`](StoreError::hint) what to do
/// about it, and [`kind`](StoreError::kind) the same for programs. `source()` is the driver's own
/// error.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error with one line that names what failed, on what. It must not hold a secret.
    ///
    /// What to do follows from the kind, unless [`with_hint`](Self::with_hint) knows better.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Says what to do where that is more than the kind's own [`hint`](StoreErrorKind::hint).
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
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

    /// Returns what to do, in one line; `None` if that is unknown.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or(self.kind.hint())
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
    /// Change the request: the store cannot hold this value.
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
    /// Whether the call that failed certainly changed nothing.
    #[must_use]
    pub fn nothing_was_changed(self) -> bool {
        self != Self::UnknownOutcome
    }

    /// What to do about it, in one line for people; none where the kind alone does not tell.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Retryable => "try again",
            Self::UnknownOutcome => {
                "the change may or may not have been made: look before you try again"
            }
            Self::Locked => "wait for the other process, or stop it",
            Self::NotFound | Self::NotAVault => "check the vault's address",
            Self::AlreadyExists => "choose another place; what is there was left as it is",
            Self::NewerSchema => "use a newer version of vaultstore",
            Self::OlderSchema => "upgrade the vault's tables with `vaultstore migrate`",
            Self::Denied => "ask for the permission, or work as a user who has it",
            Self::Full => "free some space, then try again",
            Self::Stopped => "open the vault again",
            Self::Corrupt => "restore the vault from a backup",
            Self::Unsupported | Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_of_its_own_goes_before_that_of_the_kind() {
        let error = StoreError::new(StoreErrorKind::Full, "v.redb: disk full");
        assert_eq!(error.hint(), StoreErrorKind::Full.hint());
        let error = error.with_hint("raise the quota");
        assert_eq!(
            (error.to_string().as_str(), error.hint()),
            ("v.redb: disk full", Some("raise the quota"))
        );
    }

    #[test]
    fn only_an_unknown_outcome_may_have_changed_something() {
        assert!(StoreErrorKind::Full.nothing_was_changed());
        assert!(!StoreErrorKind::UnknownOutcome.nothing_was_changed());
    }
}
