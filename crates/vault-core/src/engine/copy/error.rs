//! Why a copy ended early.

use vault_store::StoreError;

/// The store that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The vault that is copied.
    Source,
    /// The vault that it is copied into.
    Target,
}

/// A copy could not go on; what was copied stays, and the same copy started again does the rest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A store failed.
    #[error("{error}")]
    Store {
        /// Which of the two.
        side: Side,
        /// What it said.
        #[source]
        error: StoreError,
    },
    /// The target holds records that are not in the source, or differ from it; nothing was written.
    #[error(
        "the target holds records that are no copies of this vault's, and nothing was copied; choose an empty target, or merge \
         into it"
    )]
    TargetNotEmpty,
}

impl CopyError {
    pub(super) fn of(side: Side) -> impl Fn(StoreError) -> Self {
        move |error| Self::Store { side, error }
    }
}
