//! What ends a rekey early.

use vault_store::StoreError;

use super::{plan::InvalidPlan, state::ResumeError};
use crate::crypto::{kdf::KdfError, seal::SealError};
use crate::scan::{error::ScanError, workers::WorkerError};

/// What ends a run over the vault before its end. What was committed until then stays, and running again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// The store failed, also when tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A derivation could not be made.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// A value could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The worker threads failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A freshly sealed envelope did not open to the same value again. It was not written.
    #[error(
        "a freshly sealed record did not open again, so nothing was written for it; check this machine's memory"
    )]
    VerificationFailed,
    /// The outcomes do not add up to the records scanned: a bug of this library.
    #[error(
        "the outcomes do not add up to the records scanned, which is a bug in vaultstore; verify the vault before you trust the counts"
    )]
    InvariantViolated,
    /// The new password opens records already, and the plan does not allow to merge with them. Nothing was written.
    #[error(
        "the new password opens {records} records already, and records that are rekeyed now could never be told from them again; nothing was written (choose another password, or allow the merge)"
    )]
    Merge {
        /// How many.
        records: u64,
    },
    /// The database has triggers or rules that act on every replaced envelope, and the plan does not allow them. Nothing was
    /// written.
    #[error(
        "the database acts on its own when a record is changed ({}), which may show which records were rekeyed or change what is stored; nothing was written (remove or disable them for the time of the rekey, or allow them)",
        vault_store::list_hooks(hooks)
    )]
    WriteHooks {
        /// Which.
        hooks: Vec<vault_store::WriteHook>,
    },
    /// The state to resume from does not belong to this plan, or is none.
    #[error(transparent)]
    State(#[from] ResumeError),
    /// The run was dropped while its workers were busy.
    #[error("the run was stopped; what was committed stays, and running it again does the rest")]
    Stopped,
}

impl From<ScanError> for RekeyError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Store(error) => Self::Store(error),
            ScanError::Kdf(error) => Self::Kdf(error),
            ScanError::Seal(error) => Self::Seal(error),
            ScanError::Worker(error) => Self::Worker(error),
            ScanError::VerificationFailed => Self::VerificationFailed,
            ScanError::InvariantViolated => Self::InvariantViolated,
            ScanError::Stopped => Self::Stopped,
        }
    }
}
