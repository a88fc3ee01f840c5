//! How every connection to a database is set up, and what SQLite keeps next to the file.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions as _,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use crate::SqliteOptions;
use crate::driver::Driver;
use crate::statements::{ENDS, MOMENTS};
use crate::time;

/// How many rows a connection's thread may be ahead of the reader. Enough to switch threads rarely;
/// in the worst case, with each row as long as [`INLINE_LEN`](crate::record::INLINE_LEN) permits,
/// 32 MiB.
const ROW_BUFFER: usize = 512;

/// 16 MiB per connection, in SQLite's unit of negative KiB: what a page of a rekey changes stays in
/// memory until it is committed.
const CACHE: &str = "-16384";

pub(crate) fn connect_options(
    location: &Path,
    options: &SqliteOptions,
    driver: &Driver,
) -> SqliteConnectOptions {
    driver
        .names(SqliteConnectOptions::new())
        .filename(location)
        .create_if_missing(false)
        .busy_timeout(options.busy_timeout)
        .row_buffer_size(ROW_BUFFER)
        .collation(ENDS, time::compare_ends)
        .collation(MOMENTS, time::compare_moments)
        .pragma("cache_size", CACHE)
        // The creator of the file must not be able to make its views and triggers call functions
        // with side effects.
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging()
}

pub(crate) fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        // As FULL; in addition, without a write-ahead log, the removal of the journal, which
        // commits a change, is flushed.
        .synchronous(SqliteSynchronous::Extra)
        .pragma("secure_delete", "ON")
}

/// SQLite's additional files are named after the database, with a suffix.
pub(crate) fn sibling(location: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(location);
    name.push(ending);
    name.into()
}

/// A log or journal whose database is gone: SQLite would apply it to the new one.
pub(crate) fn left_by_another(location: &Path) -> Option<PathBuf> {
    let names = ["-wal", "-journal"].map(|ending| sibling(location, ending));
    names.into_iter().find(|name| fs::metadata(name).is_ok_and(|found| found.len() > 0))
}
