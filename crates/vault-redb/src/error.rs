//! Conversion of redb's errors.
//!
//! # What is certain after a failure
//!
//! A write transaction that fails before its commit never takes effect: redb drops it. This crate
//! commits in two phases: redb writes all pages and the description of the new state into the
//! header's spare slot, flushes, and only then writes the header that makes the spare slot the
//! current one, and flushes again. Recovery after a two-phase commit reads only the current slot.
//! So a commit that failed *before* that second header write was attempted has certainly not
//! happened, and its error keeps the kind of its cause, such as `Full` for a full disk. After that,
//! the outcome is unknown: the write may have reached the disk although it, the flush, or redb's
//! clean-up afterwards failed. The kind is then `UnknownOutcome`.
//! [`VaultFile`](crate::file::VaultFile) observes each write and distinguishes the two.
//!
//! After any I/O error redb refuses to continue (`PreviousIo`), because the operating system may
//! have dropped what it could not write. This store then refuses reads as well, because redb's
//! cache may differ from what is on disk. Reopening the vault recovers the last committed state.

use std::{io, path::Path};

use redb::{DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError};
use vault_files::Trouble;
use vault_store::{OverLimit, StoreError, StoreErrorKind as Kind};

use crate::pages::Oversized;
use crate::record::{Malformed, Unstorable};

/// An internal error, before it is phrased with the path.
#[derive(Debug)]
pub(crate) enum Fault {
    /// redb failed before the change took effect.
    Redb(redb::Error),
    /// The commit failed when it may already have taken effect.
    CommitInDoubt(redb::Error),
    /// A row does not decode.
    Row { table: &'static str, key: Box<[u8]>, malformed: Malformed },
    /// A token refers to a record that does not exist.
    DanglingToken { id: Box<[u8]> },
    /// A value cannot be stored.
    Unstorable(Unstorable),
    /// More than a store writes or loads.
    OverLimit(OverLimit),
    /// A change of a vault that was opened for reading only.
    ReadOnly,
    /// A change while a copy of the vault is in the making.
    Rebuilding,
    /// An error that is in words already.
    Phrased(StoreError),
    /// Keys are not in their order.
    Disordered,
    /// redb panicked.
    Panicked,
    /// An earlier error has stopped the store.
    Stopped(Stop),
}

/// Why a store refuses to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The disk failed. The vault may be intact after it is reopened.
    Failed,
    /// redb encountered a state that it considers impossible.
    Damaged,
    /// The store was closed.
    Closed,
}

impl Fault {
    /// Returns whether the store must not be used any further.
    pub(crate) fn stop(&self) -> Option<Stop> {
        match self {
            Self::Redb(redb::Error::Io(io)) if is_damage(io.kind()) => Some(Stop::Damaged),
            Self::CommitInDoubt(_) | Self::Redb(redb::Error::Io(_) | redb::Error::PreviousIo) => {
                Some(Stop::Failed)
            }
            Self::Redb(redb::Error::LockPoisoned(_)) | Self::Panicked => Some(Stop::Damaged),
            Self::Redb(_)
            | Self::Row { .. }
            | Self::DanglingToken { .. }
            | Self::Disordered
            | Self::Unstorable(_)
            | Self::OverLimit(_)
            | Self::ReadOnly
            | Self::Rebuilding
            | Self::Phrased(_)
            | Self::Stopped(_) => None,
        }
    }

    /// One line that names the vault, with a hint where the kind has none or a worse one.
    pub(crate) fn into_store_error(self, path: &Path) -> StoreError {
        let path = path.display();
        match self {
            Self::Phrased(error) => error,
            Self::Rebuilding => {
                StoreError::new(Kind::Retryable, format!("{path}: being rebuilt by a rekey"))
            }
            Self::Redb(error) => from_redb(error, &path),
            Self::CommitInDoubt(error) => {
                let cause = match &error {
                    redb::Error::Io(io) if is_full(io.kind()) => "no space was left on the disk",
                    _ => "the disk failed",
                };
                StoreError::new(
                    Kind::UnknownOutcome,
                    format!("{path}: {cause} while a change was being committed"),
                )
                .with_source(error)
            }
            Self::Row { table, key, malformed } => StoreError::new(
                Kind::Corrupt,
                format!(
                    "{path}: the row with the key 0x{} of the table {table} is damaged ({})",
                    hex(&key),
                    describe(malformed)
                ),
            ),
            Self::DanglingToken { id } => StoreError::new(
                Kind::Corrupt,
                format!("{path}: a token leads to the record 0x{}, which is not there", hex(&id)),
            ),
            Self::Disordered => StoreError::new(
                Kind::Corrupt,
                format!("{path}: the database is damaged: its records are not in order"),
            ),
            Self::OverLimit(over) => over.into_store_error(path),
            Self::Unstorable(Unstorable::EnvelopeNotLoaded) => StoreError::new(
                Kind::Unsupported,
                format!(
                    "{path}: an envelope over the size limit was never loaded and cannot be stored"
                ),
            )
            .with_hint("leave that record out"),
            Self::Unstorable(Unstorable::TokenTooLong) => StoreError::new(
                Kind::Unsupported,
                format!("{path}: a token of 4 GiB or more cannot be stored"),
            )
            .with_hint("choose a shorter token"),
            Self::Stopped(Stop::Failed) => StoreError::new(
                Kind::Stopped,
                format!("{path}: an earlier input/output error has stopped this store"),
            ),
            Self::Stopped(Stop::Closed) => {
                StoreError::new(Kind::Stopped, format!("{path}: this store was closed"))
            }
            Self::ReadOnly => {
                StoreError::new(Kind::Denied, format!("{path}: can be read, but not written"))
            }
            Self::Panicked | Self::Stopped(Stop::Damaged) => damaged(&path),
        }
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<SetDurabilityError> for Fault {
    fn from(error: SetDurabilityError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        Self::Redb(error.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Redb(redb::Error::Io(error))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Phrased(error)
    }
}

impl From<OverLimit> for Fault {
    fn from(over: OverLimit) -> Self {
        Self::OverLimit(over)
    }
}

impl From<Unstorable> for Fault {
    fn from(unstorable: Unstorable) -> Self {
        Self::Unstorable(unstorable)
    }
}

/// The file at the path is not a vault.
pub(crate) fn not_a_vault(path: &Path, what: &str) -> StoreError {
    let path = path.display();
    StoreError::new(Kind::NotAVault, format!("{path}: {what}, not a vault"))
}

/// Whenever the path was looked at, another file was there.
pub(crate) fn replaced_too_often(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(Kind::Retryable, format!("{path}: replaced by another file again and again"))
}

/// The vault was created by a newer version.
pub(crate) fn newer_schema(path: &Path, version: u32) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::NewerSchema,
        format!("{path}: a vault of schema {version}, which this version does not know"),
    )
}

/// The vault's tables are inconsistent.
pub(crate) fn damaged_schema(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(Kind::Corrupt, format!("{path}: a vault without a usable schema"))
}

/// Opening or creating the file itself failed.
pub(crate) fn from_open(error: io::Error, path: &Path) -> StoreError {
    let shown = path.display();
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::NotFound => (Kind::NotFound, format!("{shown}: no such file")),
        io::ErrorKind::AlreadyExists => (Kind::AlreadyExists, format!("{shown}: exists already")),
        io::ErrorKind::NotADirectory => {
            (Kind::NotFound, format!("{shown}: leads through something that is not a folder"))
        }
        io::ErrorKind::IsADirectory => return not_a_vault(path, "a folder"),
        _ => match vault_store::impossible_path(&error, &shown) {
            Some(said) => return said.with_source(error),
            None => return Fault::from(error).into_store_error(path),
        },
    };
    StoreError::new(kind, sentence).with_source(error)
}

/// The creation of the file could not start.
pub(crate) fn not_created(trouble: Trouble, path: &Path) -> StoreError {
    match trouble {
        Trouble::Io(error) => from_creation(error, path),
        Trouble::Busy => StoreError::new(
            Kind::Locked,
            format!("{}: another process is creating this vault", path.display()),
        ),
        Trouble::Foreign(folder) => foreign_folder(&folder, path),
    }
}

/// The file that replaces the vault's could not be created.
pub(crate) fn not_rebuilt(trouble: Trouble, path: &Path) -> Fault {
    let shown = path.display();
    let error = match trouble {
        Trouble::Io(error) => match from_creation(error, path) {
            denied if denied.kind() == Kind::Denied => denied,
            error => StoreError::new(
                error.kind(),
                format!("{shown}: the new file could not be created next to it"),
            )
            .with_source(error),
        },
        Trouble::Busy => StoreError::new(
            Kind::Locked,
            format!("{shown}: another process is creating or replacing this file"),
        ),
        Trouble::Foreign(folder) => StoreError::new(
            Kind::Other,
            format!(
                "{shown}: cannot be rebuilt, because {} is not a private folder",
                folder.display()
            ),
        )
        .with_hint(format!("remove {}", folder.display())),
    };
    Fault::Phrased(error)
}

/// The folder in which a new file is prepared exists and could be read or changed by others.
fn foreign_folder(folder: &Path, path: &Path) -> StoreError {
    let (folder, path) = (folder.display(), path.display());
    StoreError::new(
        Kind::Other,
        format!("{path}: the vault cannot be created, because {folder} is not a private folder"),
    )
    .with_hint(format!("remove {folder}, or choose another path"))
}

/// Creating the database failed, and nothing is left of it.
pub(crate) fn creation_failed(fault: Fault, path: &Path) -> StoreError {
    match fault {
        // No one has this vault yet, so no one has to check whether it was committed.
        Fault::Redb(redb::Error::Io(error)) | Fault::CommitInDoubt(redb::Error::Io(error)) => {
            from_creation(error, path)
        }
        other => other.into_store_error(path),
    }
}

/// As [`from_open`], while there is no vault that could be opened again.
pub(crate) fn from_creation(error: io::Error, path: &Path) -> StoreError {
    let shown = path.display();
    let (kind, message) = match error.kind() {
        kind if is_full(kind) => {
            (Kind::Full, format!("{shown}: no space left on the disk to create the vault"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, format!("{shown}: no permission to create a file in this folder"))
        }
        io::ErrorKind::NotFound => {
            (Kind::NotFound, format!("{shown}: the folder of the vault does not exist"))
        }
        _ => return from_open(error, path),
    };
    StoreError::new(kind, message).with_source(error)
}

/// The error after redb has panicked: its state can no longer be trusted.
fn damaged(path: &impl std::fmt::Display) -> StoreError {
    StoreError::new(
        Kind::Corrupt,
        format!("{path}: the database is damaged: it ran into an impossible state"),
    )
}

fn from_redb(error: redb::Error, path: &impl std::fmt::Display) -> StoreError {
    let (kind, sentence) = match &error {
        redb::Error::Io(io) if vault_store::is_out_of_files(io) => {
            return vault_store::out_of_files(path).with_source(error);
        }
        redb::Error::Io(io) => match oversized(io) {
            Some(oversized) => (Kind::Corrupt, format!("{path}: {oversized}")),
            None => return from_io(io.kind(), error, path),
        },
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            (Kind::Locked, format!("{path}: already open, in this process or another one"))
        }
        redb::Error::Corrupted(_) | redb::Error::RepairAborted => {
            (Kind::Corrupt, format!("{path}: the database is damaged or cut short"))
        }
        redb::Error::LockPoisoned(_) => return damaged(path).with_source(error),
        redb::Error::UpgradeRequired(_) => (
            Kind::NotAVault,
            format!("{path}: a redb file of an old format, in which no vault was ever written"),
        ),
        redb::Error::PreviousIo => {
            (Kind::Stopped, format!("{path}: an earlier input/output error has stopped this store"))
        }
        redb::Error::ValueTooLarge(_) => {
            (Kind::Unsupported, format!("{path}: cannot hold a value of more than 3 GiB"))
        }
        _ => (Kind::Other, format!("{path}: the database failed")),
    };
    StoreError::new(kind, sentence).with_source(error)
}

fn oversized(error: &io::Error) -> Option<&Oversized> {
    error.get_ref()?.downcast_ref()
}

fn from_io(kind: io::ErrorKind, error: redb::Error, path: &impl std::fmt::Display) -> StoreError {
    let (kind, sentence) = match kind {
        kind if is_full(kind) => (Kind::Full, format!("{path}: no space left on the disk")),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, format!("{path}: permission denied for reading"))
        }
        kind if is_damage(kind) => {
            (Kind::Corrupt, format!("{path}: the database is damaged or cut short"))
        }
        _ => (Kind::Stopped, format!("{path}: the disk failed")),
    };
    StoreError::new(kind, sentence).with_source(error)
}

/// redb reads only within the length stated in its header.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

pub(crate) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

fn describe(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Short => "it is cut short",
        Malformed::Version => "its layout is unknown",
        Malformed::Flags => "its times do not add up",
        Malformed::Text => "it is not UTF-8",
    }
}

/// A key that may not be text, in full up to 64 bytes: it identifies the row and is not secret.
fn hex(key: &[u8]) -> String {
    use std::fmt::Write as _;
    let shown = &key[..key.len().min(64)];
    let mut hex = String::with_capacity(2 * shown.len() + 3);
    for byte in shown {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    if shown.len() < key.len() {
        hex.push('…');
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_tell_what_a_caller_can_do() {
        let kind = |kind: io::ErrorKind| {
            Fault::from(io::Error::from(kind)).into_store_error(Path::new("v")).kind()
        };
        assert_eq!(kind(io::ErrorKind::StorageFull), Kind::Full);
        assert_eq!(kind(io::ErrorKind::QuotaExceeded), Kind::Full);
        assert_eq!(kind(io::ErrorKind::FileTooLarge), Kind::Full);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), Kind::Denied);
        assert_eq!(kind(io::ErrorKind::ReadOnlyFilesystem), Kind::Denied);
        assert_eq!(kind(io::ErrorKind::UnexpectedEof), Kind::Corrupt);
        assert_eq!(kind(io::ErrorKind::TimedOut), Kind::Stopped);
    }

    #[test]
    fn keys_are_shown_in_hex_and_bounded() {
        assert_eq!(hex(b"\x00\xff"), "00ff");
        assert_eq!(hex(&[0; 65]).chars().count(), 129);
    }
}
