//! Errors of the vault.

use crate::crypto::envelope::Malformed;
use crate::crypto::kdf::KdfError;
use crate::crypto::password_policy::PasswordPolicyViolation;
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
    #[error("the record is deleted; it can still be restored")]
    SoftDeleted,
    /// The record is expired.
    #[error("the record is expired")]
    Expired,
    /// The key does not open the record. If it was to be changed, nothing was changed.
    #[error("the password does not open this record")]
    WrongPassword,
    /// The record was modified since it was written, or was moved from another one.
    #[error(
        "the record is damaged: it changed since it was written, or its id or token did; restore it from a backup"
    )]
    Damaged,
    /// The record is not an envelope that this version reads.
    #[error("the record cannot be read: {0}")]
    Malformed(#[source] Malformed),
    /// Other writers kept changing the record.
    #[error("other writers kept changing this record, and this change was not made; try again")]
    ConcurrentModification,
    /// Another record, possibly a soft-deleted or expired one, has the token.
    #[error("a record has this token already, perhaps a deleted or expired one; choose another")]
    TokenTaken,
    /// Random tokens kept colliding.
    #[error("no free token was found; ask for longer tokens")]
    NoFreeToken,
    /// The record to restore is not soft-deleted.
    #[error("the record is not deleted, so there is nothing to restore")]
    NotSoftDeleted,
    /// The new password breaks a rule of the [`PasswordPolicy`](crate::password::PasswordPolicy).
    #[error(transparent)]
    PasswordPolicyViolation(#[from] PasswordPolicyViolation),
    /// The value could not be sealed: it is too large, or the system has no randomness or memory to
    /// give.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store holds a vault already.
    #[error("there is a vault already; open it, or choose another place")]
    AlreadyAVault,
    /// The store is empty: no vault was created in it yet.
    #[error("there is no vault in this store; create one first")]
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

impl From<SettingsFailure> for VaultError {
    fn from(error: SettingsFailure) -> Self {
        match error {
            SettingsFailure::Settings(error) => Self::Settings(error),
            SettingsFailure::Store(error) => Self::Store(error),
            SettingsFailure::Random(error) => Self::Random(error),
        }
    }
}
