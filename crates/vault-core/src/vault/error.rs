//! Errors of the vault.

use crate::crypto::envelope::Malformed;
use crate::crypto::kdf::KdfError;
use crate::crypto::password_policy::PasswordPolicyViolation;
use crate::crypto::policy::NotTried;
use crate::crypto::seal::SealError;
use crate::engine::settings::{SettingsError, SettingsFailure};
use crate::scan::workers::WorkerError;
use vault_store::{RngError, StoreError};

/// An error of the vault. No variant carries a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// No record has this token.
    #[error("no record has this token")]
    UnknownToken,
    /// The record is soft-deleted.
    #[error("the record is soft-deleted")]
    SoftDeleted,
    /// The record is expired.
    #[error("the record is expired")]
    Expired,
    /// The key does not open the record. If it was to be changed, nothing was changed.
    #[error("the password does not open this record")]
    WrongPassword,
    /// The record was modified since it was written, or was moved from another one.
    #[error("the record is damaged: it changed since it was written, or its id or token did")]
    Damaged,
    /// The record is not an envelope that this version reads.
    #[error("the record cannot be read: {0}")]
    Malformed(#[source] Malformed),
    /// The record's form is none that the [`OpenPolicy`](crate::envelope::OpenPolicy) trusts, so
    /// the key was not tried.
    #[error(transparent)]
    NotTried(NotTried),
    /// Other writers kept changing the record.
    #[error("the record kept changing concurrently")]
    ConcurrentModification,
    /// Another record, possibly a soft-deleted or expired one, has the token.
    #[error("another record has this token, perhaps a soft-deleted or expired one")]
    TokenTaken,
    /// A batch is larger than [`MAX_BATCH_RECORDS`](crate::Vault::MAX_BATCH_RECORDS) or
    /// [`MAX_BATCH_BYTES`](crate::Vault::MAX_BATCH_BYTES). Nothing was changed.
    #[error(
        "batch too large: {records} records of {bytes} bytes in all, and at most {} records of {} bytes are allowed",
        crate::Vault::MAX_BATCH_RECORDS,
        crate::Vault::MAX_BATCH_BYTES
    )]
    BatchTooLarge {
        /// The number of values.
        records: usize,
        /// The bytes of all values together.
        bytes: usize,
    },
    /// Random tokens kept colliding.
    #[error("no free token was found")]
    NoFreeToken,
    /// The record to restore is not soft-deleted.
    #[error("the record is not soft-deleted, so there is nothing to restore")]
    NotSoftDeleted,
    /// The new password breaks a rule of the [`PasswordPolicy`](crate::password::PasswordPolicy).
    #[error(transparent)]
    PasswordPolicyViolation(#[from] PasswordPolicyViolation),
    /// The value could not be sealed: it is too large, or the system has no randomness or memory to
    /// give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store holds a vault already.
    #[error("there is a vault already")]
    AlreadyAVault,
    /// The store is empty: no vault was created in it yet.
    #[error("there is no vault in this store")]
    NoVault,
    /// The vault's settings do not say how new records are sealed, or a new value of one is
    /// refused.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Argon2id could not run.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// The system has no randomness to give.
    #[error(transparent)]
    Random(#[from] RngError),
    /// The vault's thread failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl VaultError {
    /// Says what to do about it, in one line for people; nothing where the error says it all.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::SoftDeleted => "restore it first",
            Self::Damaged => "restore the record from a backup",
            Self::ConcurrentModification | Self::Random(_) => "try again",
            Self::TokenTaken => "choose another token",
            Self::NoFreeToken => "ask for longer tokens",
            Self::AlreadyAVault => "open it, or choose another place",
            Self::NoVault => "create one first",
            Self::Malformed(Malformed::CostOverLimit(over)) => over.hint(),
            Self::NotTried(why) => why.hint(),
            Self::Settings(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Worker(WorkerError::Start(_)) => {
                "raise the limit of processes and threads (`ulimit -u`), or end other programs"
            }
            Self::Worker(WorkerError::Lost) => "this is a bug in vaultstore; please report it",
            _ => return None,
        })
    }
}

impl From<SettingsFailure> for VaultError {
    fn from(error: SettingsFailure) -> Self {
        match error {
            SettingsFailure::Settings(error) => Self::Settings(error),
            SettingsFailure::Store(error) => Self::Store(error),
            SettingsFailure::Random(error) => Self::Random(error),
        }
    }
}
