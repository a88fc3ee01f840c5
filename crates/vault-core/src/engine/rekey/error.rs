//! Errors that end a rekey early.

use vault_store::{RngError, StoreError};

use super::{marks::Marks, plan::InvalidPlan, state::ResumeError};
use crate::crypto::{kdf::KdfError, password_policy::PasswordPolicyViolation, seal::SealError};
use crate::engine::settings::{SettingsError, SettingsFailure};
use crate::scan::{error::ScanError, workers::WorkerError};

/// Why a rekey ended early. What was committed until then stays, and running again is safe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RekeyError {
    /// The plan is invalid.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// A new password breaks a rule of the [`PasswordPolicy`](crate::password::PasswordPolicy).
    #[error(transparent)]
    PasswordPolicyViolation(#[from] PasswordPolicyViolation),
    /// The vault's settings do not say how re-encrypted records are to be sealed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Random(#[from] RngError),
    /// The store failed, even when retried.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Argon2id could not run.
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
    /// The new password already opens records, and the plan does not permit a merge. Nothing was
    /// written.
    #[error(
        "the new password is already used by {records} records, and rekeying would merge the two groups irreversibly"
    )]
    Merge {
        /// Number of records.
        records: u64,
    },
    /// Records would be written in another form than others of theirs, and the plan does not permit
    /// that. Nothing was written.
    #[error(
        "the rekey would mark {0}: anyone who takes the database could tell them from the others, and that they share a password"
    )]
    Marks(Marks),
    /// The database has triggers or rules that act on every replaced envelope, and the plan does
    /// not permit them. Nothing was written.
    #[error(
        "the database acts on its own when a record is changed ({}), which may reveal which records were rekeyed or change what is stored",
        vault_store::list_hooks(hooks)
    )]
    WriteHooks {
        /// The triggers and rules.
        hooks: Vec<vault_store::WriteHook>,
    },
    /// It cannot be determined what an earlier run of chained pairs did, and the plan does not say
    /// that there was none. Nothing was written.
    #[error(
        "{0}; records that were moved once could be moved again, which would merge them with others irreversibly"
    )]
    Chain(#[from] ChainDoubt),
    /// The state to resume from does not belong to this plan, or is not a state.
    #[error(transparent)]
    State(#[from] ResumeError),
    /// The run was dropped while its workers were busy.
    #[error("the run was stopped")]
    Stopped,
}

/// Why chained pairs are not moved: it cannot be determined what an earlier run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainDoubt {
    /// There is no state, and records open under a password that only ends a chain.
    #[error(
        "there is no state of an earlier run, and records open under the last password of a chain already ({records})"
    )]
    EndInUse {
        /// Number of records.
        records: u64,
    },
    /// There is no state, and no record opens under a password that only starts a chain, although
    /// others do.
    #[error(
        "there is no state of an earlier run, and no record opens under the first password of a chain, but some under \
         those after it ({records})"
    )]
    BeginningUnused {
        /// Number of records.
        records: u64,
    },
    /// The state says that records were moved, but the vault contains none of them.
    #[error(
        "by its state an earlier run re-encrypted records ({records}), and none of them is in the vault as it was written"
    )]
    NoneIsThere {
        /// Number of records.
        records: u64,
    },
    /// The first pass of these pairs was finished, and there are records that it did not write
    /// under a password that is both old and new.
    #[error(
        "an earlier run was done with these pairs, and records that it did not write ({records}) open under a password that is \
         an old and a new one"
    )]
    Unknown {
        /// Number of records.
        records: u64,
    },
}

impl From<SettingsFailure> for RekeyError {
    fn from(error: SettingsFailure) -> Self {
        match error {
            SettingsFailure::Settings(error) => Self::Settings(error),
            SettingsFailure::Store(error) => Self::Store(error),
            SettingsFailure::Random(error) => Self::Random(error),
        }
    }
}

impl RekeyError {
    /// Returns what to do about it, in one line; `None` if it depends on more than the error knows.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::Plan(plan) => return plan.hint(),
            Self::Store(error) => return error.hint(),
            Self::State(state) => state.hint(),
            Self::Worker(WorkerError::Start(_)) => {
                "use fewer workers, or raise the system's limit of threads"
            }
            Self::VerificationFailed => "check this machine's memory",
            Self::InvariantViolated => {
                "this is a bug in vaultstore: verify the vault before you trust the counts, and report it"
            }
            Self::Worker(_) => "this is a bug in vaultstore; please report it",
            Self::Merge { .. } => "choose another new password, or allow the merge",
            Self::Marks(_) => {
                "move all records of such a form in one run, write records as they were, or allow the marks"
            }
            Self::WriteHooks { .. } => {
                "remove or disable them for the time of the rekey, or allow them"
            }
            Self::Settings(error) => return error.hint(),
            Self::Stopped => "run it again: what was committed stays, and the rest is done then",
            _ => return None,
        })
    }
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
