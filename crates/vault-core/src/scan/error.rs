//! What ends a pass over a vault early.

use vault_store::StoreError;

use crate::crypto::{kdf::KdfError, seal::SealError};
use crate::scan::workers::WorkerError;

/// Why a run over a vault ended early. Nothing that was committed is undone, and running again is
/// safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// The store failed, even when retried.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A derivation failed.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// A value could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The worker threads failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A newly sealed envelope did not open to the same value. It was not written.
    #[error("a newly sealed record did not open, and was not written")]
    VerificationFailed,
    /// The outcomes do not add up to the records scanned: a bug in this library.
    #[error("the outcomes do not add up to the records scanned")]
    InvariantViolated,
    /// The run was dropped while its workers were busy.
    #[error("the run was stopped")]
    Stopped,
}
