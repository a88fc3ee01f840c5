//! Writing the database again, in place: `VACUUM`, then the log is emptied.
//!
//! | step | a crash after it leaves |
//! | --- | --- |
//! | check the free space, count the rows of every table | the old database |
//! | `VACUUM` under `secure_delete`: one transaction of SQLite's | the old or the new one, by SQLite's own recovery |
//! | count again | the new one |
//! | `wal_checkpoint(TRUNCATE)`, which waits for readers up to the busy timeout | the new one, perhaps with its log |
//!
//! `VACUUM` keeps what other programs have in the file: tables, triggers, views, page size,
//! encoding. It writes the rows in the order in which they came, which a rekey never changes. The
//! comparison afterwards can only report a difference: what keeps the rows is SQLite's transaction.
//!
//! A new file that takes the place of this one would be faster, and would lose what other processes
//! write that have the old one open and idle: nothing of SQLite shuts them out.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use vault_store::{
    Remains, RemainsKind, ScrubReport, StoreError, StoreErrorKind as Kind, TableName,
};

use crate::connect::sibling;
use crate::error::{self, Fault, SQLITE_ERROR};

/// What a database holds, as far as it can be counted.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    /// The rows of each table, by its name.
    tables: Vec<(String, i64)>,
    /// The bytes of all ids, tokens and envelopes.
    bytes: i64,
}

/// Scrubs the database that this connection writes to; the caller holds it, so that no other write
/// through this store comes between.
pub(crate) async fn scrub(
    connection: &mut SqliteConnection,
    path: &Path,
    vault: &TableName,
) -> Result<ScrubReport, Fault> {
    let file = fs::canonicalize(path).map_err(|error| error::from_io(error, path))?;
    let log = sibling(&file, "-wal");
    let (bytes_before, log_before) = (size(&file) + size(&log), size(&log));
    check_room(&file, path)?;

    let version = data_version(connection).await?;
    let before = inventory(connection, vault).await?;
    sqlx::query("VACUUM")
        .execute(&mut *connection)
        .await
        .map_err(|error| not_vacuumed(error, path))?;
    let after = inventory(connection, vault).await?;
    // Another process may have written something before or after the vacuum.
    let is_alone = data_version(connection).await? == version;
    if is_alone && after != before {
        return Err(differs(path).into());
    }

    let is_log_empty = empty_log(connection, &log).await?;
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    let rows = after.tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(vault.as_str()));
    let mut report = ScrubReport::of(rows.map_or(0, |(_, rows)| rows.unsigned_abs()));
    report.bytes_before = Some(bytes_before);
    report.bytes_after = Some(size(&file) + size(&log));
    if !is_log_empty {
        let what =
            "the log next to the file still holds old envelopes: another process reads the vault";
        report
            .remains
            .push(Remains::new(RemainsKind::InUse, what).remedy("close it, then run scrub again"));
    } else if free > 0 {
        let what = "another process has written since, and left free pages in the file";
        report.remains.push(Remains::new(RemainsKind::InUse, what).remedy("run scrub again"));
    }
    if log_before > 0 && is_log_empty {
        let what = "the blocks of the old log were returned to the file system, and may keep their content until they are reused";
        report.remains.push(Remains::new(RemainsKind::OldBlocks, what).remedy(
            "`fstrim` tells a solid-state disk which blocks are free; only encryption of the disk covers the rest",
        ));
    }
    Ok(report)
}

/// Empties the log, or the journal of a database that cannot have a log. Returns whether it is.
pub(crate) async fn empty_log(
    connection: &mut SqliteConnection,
    log: &Path,
) -> Result<bool, Fault> {
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    match mode.as_str() {
        "wal" => {
            let busy: i64 = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut *connection)
                .await?
                .try_get(0)?;
            Ok(busy == 0 && size(log) == 0)
        }
        // Its journal stays, with the old pages in it.
        "persist" => {
            sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut *connection).await?;
            sqlx::query("PRAGMA journal_mode = PERSIST").execute(&mut *connection).await?;
            Ok(true)
        }
        _ => Ok(true),
    }
}

/// `VACUUM` writes a temporary copy, and then the log, from which the file is written.
fn check_room(file: &Path, path: &Path) -> Result<(), Fault> {
    let len = size(file);
    let folder = file.parent().unwrap_or(file).to_owned();
    for (folder, needed, of) in [
        (folder, len.saturating_mul(2), "next to it"),
        (temporary_folder(), len, "for temporary files"),
    ] {
        let free = vault_files::free_bytes(&folder);
        if let Some(free) = free.filter(|free| *free < needed) {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let message = format!(
                "{}: SQLite needs {} MiB {of} in {}, which has {} MiB left",
                path.display(),
                mib(needed),
                folder.display(),
                mib(free)
            );
            return Err(StoreError::new(Kind::Full, message)
                .with_hint(
                    "free some space there; SQLITE_TMPDIR names another folder for temporary files",
                )
                .into());
        }
    }
    Ok(())
}

/// Where SQLite creates temporary files: <https://www.sqlite.org/tempfiles.html>, section 5.
fn temporary_folder() -> PathBuf {
    let named = ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    let known = ["/var/tmp", "/usr/tmp", "/tmp", "."].into_iter().map(PathBuf::from);
    named.chain(known).find(|folder| folder.is_dir()).unwrap_or_default()
}

/// The size of a file; 0 if there is none.
fn size(path: &Path) -> u64 {
    fs::metadata(path).as_ref().map_or(0, fs::Metadata::len)
}

/// Changes whenever another connection has changed the database.
async fn data_version(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut *connection).await?)
}

/// Counts the rows of every table that has rows of its own; only a virtual one has not.
async fn inventory(
    connection: &mut SqliteConnection,
    vault: &TableName,
) -> Result<Inventory, Fault> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        // A quoted name holds any character but NUL, which SQLite cannot store in a schema.
        let sql = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        tables.push((name, rows));
    }
    let sql = format!(
        "SELECT ifnull(sum(ifnull(octet_length(id), 0) + ifnull(octet_length(vault_token), 0) \
         + ifnull(octet_length(vault_value), 0)), 0) FROM {vault}"
    );
    let bytes = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
    Ok(Inventory { tables, bytes })
}

/// Nothing was changed. What SQLite says names the collation or the extension that it lacks.
fn not_vacuumed(error: sqlx::Error, path: &Path) -> Fault {
    if error::primary_code(&error) != Some(SQLITE_ERROR) {
        return error.into();
    }
    let said = error.as_database_error().map_or("", |error| error.message());
    let message = format!("{}: SQLite cannot write this database again: {said}", path.display());
    StoreError::new(Kind::Unsupported, message)
        .with_hint("run VACUUM with the program that made the other tables of this database")
        .with_source(error)
        .into()
}

fn differs(path: &Path) -> StoreError {
    let message =
        format!("{}: after VACUUM the tables hold other rows than before", path.display());
    StoreError::new(Kind::Corrupt, message)
}
