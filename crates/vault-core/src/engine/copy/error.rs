//! Why a copy ended early.

use vault_store::StoreError;

/// The store that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// The source.
    Source,
    /// The target.
    Target,
}

/// A copy could not continue. What was copied stays, and starting the same copy again completes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A store failed.
    #[error("{error}")]
    Store {
        /// Which one.
        side: Side,
        /// Its error.
        #[source]
        error: StoreError,
    },
    /// The target contains records that are not in the source, or that differ from it. Nothing was
    /// written.
    #[error("the target holds records that are not copies of this vault's; nothing was copied")]
    TargetNotEmpty,
}

impl CopyError {
    pub(super) fn of(side: Side) -> impl Fn(StoreError) -> Self {
        move |error| Self::Store { side, error }
    }
}
