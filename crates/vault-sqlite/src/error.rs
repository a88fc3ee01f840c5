//! Conversion of SQLite's errors.
//!
//! # What is certain after a failure
//!
//! A transaction that fails before its commit is rolled back. A commit that SQLite answers with
//! "busy" or "full" has not happened. A commit that fails in any other way (the flush of the log,
//! say) may be replayed by the recovery after a crash, so its kind is `UnknownOutcome`.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use sqlx::error::DatabaseError;
use tokio::task::JoinError;
use vault_files::Trouble;
use vault_store::{
    FileKind, FoundTables, OverLimit, RowName, StoreError, StoreErrorKind as Kind, TableName,
    UnreadableReason,
};

use crate::driver::Panicked;

/// An internal error, before it is phrased with the path.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite or its driver failed before the change took effect.
    Sqlx(sqlx::Error),
    /// The commit failed.
    Commit(sqlx::Error),
    /// The row that was asked for cannot be read.
    Unreadable(RowName, UnreadableReason),
    /// A setting of this name, or without a readable one, is not UTF-8 text.
    SettingNotText(Option<String>),
    /// More than a store writes or loads.
    OverLimit(OverLimit),
    /// A value cannot be stored.
    Unstorable(Unstorable),
    /// The schema of the tables is not UTF-8 text.
    SchemaNotText,
    /// An index gave rows in another order than its own.
    Disordered,
    /// A thread of the driver has panicked.
    Panicked,
    /// A thread of the driver panicked during a write.
    PanickedWhileWriting,
    /// A trigger changed what was written; the transaction was rolled back.
    Altered,
    /// There is no settings table.
    NoMetaTable,
    /// An error that is in words already.
    Phrased(StoreError),
    /// A task was aborted or panicked while reading.
    ReadEnded(JoinError),
    /// A task was aborted or panicked while writing.
    WriteEnded(JoinError),
}

/// Why a value cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// Text with a NUL character, where SQLite's own functions and other programs would truncate
    /// it.
    Nul,
    /// Bytes that are not UTF-8.
    NotText,
    /// An envelope that was too long to load.
    EnvelopeNotLoaded,
    /// A time before the year 0.
    TimeTooEarly,
}

impl From<Panicked> for Fault {
    fn from(_: Panicked) -> Self {
        Self::Panicked
    }
}

impl Fault {
    /// One line that names the vault, with a hint where the kind has none or a worse one.
    pub(crate) fn into_store_error(self, path: &Path) -> StoreError {
        let file = path;
        let path = path.display();
        match self {
            Self::Phrased(error) => error,
            Self::Sqlx(error) if found_no_room(&error, file) => full(&path).with_source(error),
            Self::Sqlx(error) => from_sqlx(error, &path),
            Self::Commit(error) => from_commit(error, file),
            Self::Unreadable(name, reason) => StoreError::new(
                Kind::Corrupt,
                format!("{path}: the row {name} cannot be read: {reason}"),
            )
            .with_hint("restore that row from a backup, or delete it"),
            Self::SettingNotText(name) => {
                let what = name.map_or_else(
                    || "the name of a setting is not UTF-8 text".to_owned(),
                    |name| format!("the setting \"{name}\" is not UTF-8 text"),
                );
                StoreError::new(Kind::Corrupt, format!("{path}: {what}"))
            }
            Self::SchemaNotText => StoreError::new(
                Kind::Corrupt,
                format!("{path}: the database is damaged: its schema is not UTF-8 text"),
            ),
            Self::Disordered => StoreError::new(
                Kind::Corrupt,
                format!("{path}: the database is damaged: an index is not in order"),
            ),
            Self::Panicked => StoreError::new(
                Kind::Corrupt,
                format!("{path}: the database is damaged: it led the driver into an impossible state"),
            ),
            Self::PanickedWhileWriting => StoreError::new(
                Kind::UnknownOutcome,
                format!(
                    "{path}: the database is damaged: it led the driver into an impossible state while a change was \
                     being made"
                ),
            ),
            Self::OverLimit(over) => over.into_store_error(path),
            Self::Unstorable(unstorable) => {
                let (what, hint) = describe(unstorable);
                StoreError::new(Kind::Unsupported, format!("{path}: {what}")).with_hint(hint)
            }
            Self::Altered => StoreError::new(
                Kind::Unsupported,
                format!(
                    "{path}: a trigger of the database stores something other than what was written, so the change was \
                     undone"
                ),
            )
            .with_hint("remove the trigger"),
            Self::NoMetaTable => StoreError::new(
                Kind::OlderSchema,
                format!("{path}: a vault of an older version, without a table for settings"),
            ),
            Self::ReadEnded(error) => StoreError::new(
                Kind::Stopped,
                format!("{path}: a read was stopped from outside"),
            )
            .with_source(error),
            Self::WriteEnded(error) => StoreError::new(
                Kind::UnknownOutcome,
                format!("{path}: a change was stopped from outside"),
            )
            .with_source(error),
        }
    }

    /// As [`into_store_error`](Self::into_store_error), while opening: a lock that outlasted the
    /// timeout there is not a short one of another transaction.
    pub(crate) fn into_open_error(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlx(error) if primary_code(&error) == Some(SQLITE_BUSY) => StoreError::new(
                Kind::Locked,
                format!("{}: locked by another process", path.display()),
            )
            .with_source(error),
            Self::Sqlx(error) if primary_code(&error) == Some(SQLITE_NOTADB) => {
                StoreError::new(Kind::NotAVault, format!("{}: {}", path.display(), kind_of(path)))
                    .with_source(error)
            }
            other => other.into_store_error(path),
        }
    }
}

/// What a file is that SQLite does not take for a database, and so holds no locks on.
fn kind_of(path: &Path) -> String {
    let mut start = Vec::with_capacity(FileKind::MAGIC_LEN);
    let read = File::open(path)
        .and_then(|file| file.take(FileKind::MAGIC_LEN as u64).read_to_end(&mut start));
    match (read, FileKind::of(&start)) {
        (Err(_), _) | (_, FileKind::Sqlite) => "not an SQLite database".to_owned(),
        (Ok(_), kind) => format!("{kind}, not an SQLite database"),
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
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

/// SQLite cannot open the database with its log or journal.
pub(crate) fn log_cannot_be_read(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::Denied,
        format!(
            "{path}: its log or journal holds changes that this user cannot read, and the file is incomplete without them"
        ),
    )
    .with_hint("open it as a user who may write to its folder")
}

/// The file has more than one name, and SQLite's log belongs to one of them.
pub(crate) fn hard_linked(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::Other,
        format!(
            "{path}: the file has more than one name (hard links), and SQLite keeps its log under only one of them"
        ),
    )
    .with_hint("remove the other names, or use a copy of the database")
}

/// The database is intact and has no records table of this name.
pub(crate) fn no_vault_in(path: &Path, table: &TableName, found: &FoundTables) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::NotAVault,
        format!("{path}: the table {table} is missing or not one of a vault; {found}"),
    )
    .with_hint(found.hint(if found.is_empty {
        "create the tables of a vault with `vaultstore migrate`"
    } else {
        "create a vault in this database with `vaultstore migrate --create`"
    }))
}

/// The settings of another vault would become those of a new one.
pub(crate) fn settings_of_another(
    path: &Path,
    meta: &TableName,
    found: &FoundTables,
) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::NotAVault,
        format!("{path}: the table {meta} belongs to another vault; {found}"),
    )
    .with_hint(found.hint("name other tables"))
}

/// The records table lacks a column that later versions added.
pub(crate) fn older_schema(path: &Path, column: &str) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::OlderSchema,
        format!("{path}: a vault of an older version, without the column {column}"),
    )
}

/// The database stores text as UTF-16, which sorts differently.
pub(crate) fn not_utf_8(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::Unsupported,
        format!("{path}: an SQLite database in UTF-16, where texts have another order"),
    )
    .with_hint("copy its tables into a database in UTF-8")
}

/// SQLite accepts a path only as text.
pub(crate) fn path_is_no_text(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(Kind::Unsupported, format!("{path}: not a path that SQLite can open"))
        .with_hint("choose a path in UTF-8, without a NUL character")
}

/// Asynchronous I/O needs a runtime.
pub(crate) fn no_runtime(path: &Path) -> StoreError {
    let path = path.display();
    StoreError::new(
        Kind::Other,
        format!("{path}: an SQLite vault can be opened only within a tokio runtime"),
    )
    .with_hint("start a tokio runtime")
}

/// Examining or creating the file itself failed.
pub(crate) fn from_io(error: io::Error, path: &Path) -> StoreError {
    let shown = path.display();
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::NotFound => (Kind::NotFound, format!("{shown}: no such file")),
        io::ErrorKind::NotADirectory => {
            (Kind::NotFound, format!("{shown}: leads through something that is not a folder"))
        }
        io::ErrorKind::AlreadyExists => (Kind::AlreadyExists, format!("{shown}: exists already")),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            return denied(&shown).with_source(error);
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            return full(&shown).with_source(error);
        }
        io::ErrorKind::InvalidInput => return path_is_no_text(path).with_source(error),
        _ => {
            let said = vault_store::impossible_path(&error, &shown)
                .or_else(|| limit_of_system(&error, &shown))
                .unwrap_or_else(|| disk_failed(&shown));
            return said.with_source(error);
        }
    };
    StoreError::new(kind, sentence).with_source(error)
}

/// The creation of the file could not start, or the file could not be renamed to its path.
pub(crate) fn not_created(trouble: Trouble, path: &Path) -> StoreError {
    let shown = path.display();
    let error = match trouble {
        Trouble::Busy => {
            let message = format!("{shown}: another process is creating this vault");
            return StoreError::new(Kind::Locked, message);
        }
        Trouble::Foreign(folder) => return foreign_folder(&folder, path),
        Trouble::Io(error) => error,
    };
    let (kind, message) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            return no_room_for(path).with_source(error);
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (Kind::Denied, format!("{shown}: no permission to create a file in this folder"))
        }
        io::ErrorKind::NotFound => {
            (Kind::NotFound, format!("{shown}: the folder of the vault does not exist"))
        }
        _ => return from_io(error, path),
    };
    StoreError::new(kind, message).with_source(error)
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

/// A log or journal at the path of a new vault belongs to a database that is gone.
pub(crate) fn changes_of_another(path: &Path, left: &Path) -> StoreError {
    let (path, left) = (path.display(), left.display());
    StoreError::new(
        Kind::Other,
        format!(
            "{path}: the vault cannot be created next to {left}, which SQLite would apply to it"
        ),
    )
    .with_hint(format!("restore the database that {left} belongs to, or remove {left}"))
}

/// Creating the database failed, and nothing is left of it.
pub(crate) fn creation_failed(fault: Fault, made: &Path, path: &Path) -> StoreError {
    match fault {
        // No one has this vault yet, so no one has to check whether it was committed.
        Fault::Sqlx(error) | Fault::Commit(error) => {
            if found_no_room(&error, made) {
                return no_room_for(path).with_source(error);
            }
            from_sqlx(error, &path.display())
        }
        other => other.into_store_error(path),
    }
}

fn no_room_for(path: &Path) -> StoreError {
    let message = format!("{}: no space left on the disk to create the vault", path.display());
    StoreError::new(Kind::Full, message)
}

// https://www.sqlite.org/rescode.html
pub(crate) const SQLITE_ERROR: u8 = 1;
const SQLITE_PERM: u8 = 3;
const SQLITE_BUSY: u8 = 5;
const SQLITE_LOCKED: u8 = 6;
pub(crate) const SQLITE_READONLY: u8 = 8;
const SQLITE_IOERR: u8 = 10;
const SQLITE_IOERR_SHMSIZE: i32 = 4874;
pub(crate) const SQLITE_CORRUPT: u8 = 11;
const SQLITE_FULL: u8 = 13;
pub(crate) const SQLITE_CANTOPEN: u8 = 14;
const SQLITE_TOOBIG: u8 = 18;
pub(crate) const SQLITE_NOTADB: u8 = 26;

/// The low byte of SQLite's result code: the class of the error.
pub(crate) fn primary_code(error: &sqlx::Error) -> Option<u8> {
    code(error).map(|code| code.to_le_bytes()[0])
}

/// SQLite's extended result code.
fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error().and_then(DatabaseError::code)?.parse().ok()
}

/// Returns whether SQLite failed because the disk is full. It reports this for a write to the
/// database or its journal. If it cannot create or extend one of its other files, it reports an I/O
/// error or a missing permission, so the file system itself is asked.
fn found_no_room(error: &sqlx::Error, path: &Path) -> bool {
    match primary_code(error) {
        Some(SQLITE_FULL) => true,
        // The shared memory is a file next to the database. SQLite reports this code only if that
        // file does not fit on the disk.
        Some(SQLITE_IOERR) if code(error) == Some(SQLITE_IOERR_SHMSIZE) => true,
        Some(SQLITE_IOERR | SQLITE_CANTOPEN) => vault_files::has_no_room(path),
        _ => false,
    }
}

fn from_sqlx(error: sqlx::Error, path: &impl Display) -> StoreError {
    if let sqlx::Error::Io(io) = &error
        && let Some(limit) = limit_of_system(io, path)
    {
        return limit.with_source(error);
    }
    if let sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed = error {
        return disk_failed(path).with_source(error);
    }
    let sentence = match primary_code(&error) {
        Some(SQLITE_BUSY | SQLITE_LOCKED) => return busy(path).with_source(error),
        Some(SQLITE_CANTOPEN | SQLITE_IOERR) if is_short_of_files() => {
            return vault_store::out_of_files(path).with_source(error);
        }
        Some(SQLITE_PERM | SQLITE_READONLY | SQLITE_CANTOPEN) => {
            return denied(path).with_source(error);
        }
        Some(SQLITE_IOERR) => return disk_failed(path).with_source(error),
        Some(SQLITE_CORRUPT) => {
            let sentence = format!("{path}: the database is damaged");
            return StoreError::new(Kind::Corrupt, sentence).with_source(error);
        }
        Some(SQLITE_NOTADB) => {
            let sentence = format!("{path}: not an SQLite database");
            return StoreError::new(Kind::NotAVault, sentence).with_source(error);
        }
        Some(SQLITE_TOOBIG) => {
            let sentence = format!("{path}: SQLite holds at most 1 GB at a time");
            return StoreError::new(Kind::Unsupported, sentence)
                .with_hint("ask for less")
                .with_source(error);
        }
        None if matches!(error, sqlx::Error::PoolTimedOut) => return busy(path).with_source(error),
        _ => format!("{path}: the database failed"),
    };
    StoreError::new(Kind::Other, sentence).with_source(error)
}

fn from_commit(error: sqlx::Error, file: &Path) -> StoreError {
    let path = &file.display();
    match primary_code(&error) {
        Some(SQLITE_BUSY | SQLITE_LOCKED) => busy(path),
        Some(SQLITE_FULL) => full(path),
        _ => {
            let cause = if found_no_room(&error, file) {
                "no space was left on the disk"
            } else {
                "the disk failed"
            };
            StoreError::new(
                Kind::UnknownOutcome,
                format!("{path}: {cause} while a change was being committed"),
            )
        }
    }
    .with_source(error)
}

fn busy(path: &impl Display) -> StoreError {
    StoreError::new(Kind::Retryable, format!("{path}: being written to by another process"))
}

fn denied(path: &impl Display) -> StoreError {
    StoreError::new(
        Kind::Denied,
        format!("{path}: permission denied, for the file or for the folder it is in"),
    )
}

/// The error of a file or a thread that a limit of the system is behind, and neither a permission
/// nor the disk.
fn limit_of_system(error: &io::Error, path: &impl Display) -> Option<StoreError> {
    if vault_store::is_out_of_files(error) {
        return Some(vault_store::out_of_files(path));
    }
    // This is what starting a thread fails with.
    (error.kind() == io::ErrorKind::WouldBlock).then(|| vault_store::no_thread(path))
}

/// Whether the system opens too few files for one connection: the database, its log, the index of
/// the log, and its folder. SQLite says only that it could not open one.
pub(crate) fn is_short_of_files() -> bool {
    let held: io::Result<Vec<_>> = (0..4).map(|_| fs::File::open("/dev/null")).collect();
    held.is_err_and(|error| vault_store::is_out_of_files(&error))
}

fn full(path: &impl Display) -> StoreError {
    StoreError::new(Kind::Full, format!("{path}: no space left on the disk"))
}

fn disk_failed(path: &impl Display) -> StoreError {
    StoreError::new(Kind::Stopped, format!("{path}: the disk failed"))
        .with_hint("check the disk, then open the vault again")
}

/// What it is, and what to do.
fn describe(unstorable: Unstorable) -> (&'static str, &'static str) {
    match unstorable {
        Unstorable::Nul => {
            ("a text with a NUL character cannot be stored", "remove that character")
        }
        Unstorable::NotText => {
            ("bytes that are not UTF-8 cannot be stored", "leave that record out")
        }
        Unstorable::EnvelopeNotLoaded => (
            "an envelope over the size limit was never loaded and cannot be stored",
            "leave that record out",
        ),
        Unstorable::TimeTooEarly => {
            ("a time before the year 0 cannot be stored", "choose a later time")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_tell_what_a_caller_can_do() {
        let kind = |kind: io::ErrorKind| from_io(kind.into(), Path::new("v")).kind();
        assert_eq!(kind(io::ErrorKind::StorageFull), Kind::Full);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), Kind::Denied);
        assert_eq!(kind(io::ErrorKind::NotFound), Kind::NotFound);
        assert_eq!(kind(io::ErrorKind::TimedOut), Kind::Stopped);
    }

    /// The call is one of many: only the whole run knows what it changed.
    #[test]
    fn what_passes_in_the_middle_of_a_run_says_nothing_about_all_of_it() {
        for error in
            [busy(&"v"), full(&"v"), disk_failed(&"v"), from_sqlx(sqlx::Error::RowNotFound, &"v")]
        {
            assert!(!error.to_string().contains("nothing was"), "{error}");
        }
    }
}
