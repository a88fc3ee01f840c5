//! What a creation that was broken off has left at the path of a vault. Earlier versions created
//! the database in place.

use std::{fs, path::Path};

use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use vault_files::{is_leftover, is_ours_alone};
use vault_store::TableNames;

use crate::SqliteOptions;
use crate::connect::{connect_options, durable, left_by_another};
use crate::driver::Driver;
use crate::error::{self, Fault, SQLITE_CORRUPT, SQLITE_NOTADB};
use crate::schema::{self, Encoding, MetaTable, TokenIndex, VaultTable};
use crate::statements::Statements;
use crate::writes;

/// The shortest page that a database can consist of, in bytes.
const SHORTEST: u64 = 512;

/// What is at the path of a vault that is to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A database without records, which is now a vault.
    Completed,
    /// A file that contains nothing and may be replaced.
    Leftover,
    /// Nothing, or anything else.
    Other,
}

/// Looks at what is there. A database of this user that has no tables except those of this vault,
/// and no row in them, is completed.
///
/// A file is read as such only after SQLite has found no database in it: closing it releases the
/// locks that other connections of this process hold.
pub(crate) async fn look(
    location: &Path,
    options: &SqliteOptions,
    settings: &[(String, String)],
) -> Found {
    if !is_ours_alone(location) {
        return Found::Other;
    }
    let len = fs::metadata(location).map_or(0, |found| found.len());
    if len == 0 && left_by_another(location).is_none() {
        return Found::Leftover;
    }
    // SQLite itself takes a file of one byte, whatever it is, for an empty one.
    if (1..SHORTEST).contains(&len) {
        return if is_left(location) { Found::Leftover } else { Found::Other };
    }
    match complete(location, options, settings).await {
        Ok(true) => Found::Completed,
        Err(Fault::Sqlx(error))
            if matches!(error::primary_code(&error), Some(SQLITE_NOTADB | SQLITE_CORRUPT))
                && is_left(location) =>
        {
            Found::Leftover
        }
        _ => Found::Other,
    }
}

/// Whether a file contains nothing: no page but the first, which describes the others and has no
/// row of a table. A log or journal next to it could contain its pages.
pub(crate) fn is_left(location: &Path) -> bool {
    is_leftover(location, first_page_len) && left_by_another(location).is_none()
}

/// The length of the first page of an SQLite database, from its header.
fn first_page_len(start: &[u8]) -> Option<usize> {
    let size = start.strip_prefix(b"SQLite format 3\0")?.get(..2)?;
    match u16::from_be_bytes(size.try_into().ok()?) {
        1 => Some(1 << 16),
        size if size.is_power_of_two() && size >= 512 => Some(size.into()),
        _ => None,
    }
}

/// Completes a database; `false` if it is anything else than an empty vault. Nothing was changed
/// then.
async fn complete(
    location: &Path,
    options: &SqliteOptions,
    settings: &[(String, String)],
) -> Result<bool, Fault> {
    let driver = Driver::new();
    let connect = durable(connect_options(location, options, &driver));
    let work = async {
        let mut connection = connect.connect().await?;
        let completed = fill(&mut connection, options, settings).await;
        // What was committed stays, whether or not the log can be moved into the database now.
        let _ = connection.close().await;
        completed
    };
    driver.unless_it_panics(work).await.unwrap_or(Err(Fault::PanickedWhileWriting))
}

async fn fill(
    connection: &mut SqliteConnection,
    options: &SqliteOptions,
    settings: &[(String, String)],
) -> Result<bool, Fault> {
    let tables = &options.tables;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if !has_no_rows(&mut transaction, tables).await? {
        return Ok(false);
    }
    let schema = schema::inspect(&mut transaction, tables).await?;
    let tokens = match schema.vault {
        _ if schema.encoding == Encoding::Utf16 => return Ok(false),
        // A vault, and not what is left of its creation.
        VaultTable::Complete { .. } if schema.meta == MetaTable::Present => return Ok(false),
        VaultTable::Lacks(..) | VaultTable::Foreign => return Ok(false),
        VaultTable::Complete { tokens } => tokens,
        VaultTable::Absent => {
            schema::run(&mut transaction, schema::VAULT_TABLE, tables).await?;
            TokenIndex::Absent
        }
    };
    match schema.meta {
        MetaTable::Foreign => return Ok(false),
        MetaTable::Present => {}
        MetaTable::Absent => schema::run(&mut transaction, schema::META_TABLE, tables).await?,
    }
    if tokens == TokenIndex::Absent {
        schema::run(&mut transaction, &schema::token_index(tables.vault()), tables).await?;
    }
    let statements = Statements::new(tables, schema::ROW_NUMBER);
    writes::init_settings(&mut transaction, &statements, settings).await?;
    transaction.commit().await.map_err(Fault::Commit)?;
    Ok(true)
}

/// Whether there is no other object than the tables of this vault and their indexes, and no row.
async fn has_no_rows(
    connection: &mut SqliteConnection,
    tables: &TableNames,
) -> Result<bool, Fault> {
    const OBJECTS: &str = "SELECT type, name, tbl_name FROM sqlite_schema \
                           WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 10";
    for row in sqlx::query(OBJECTS).fetch_all(&mut *connection).await? {
        let [kind, name, table] = [row.try_get(0)?, row.try_get(1)?, row.try_get::<String, _>(2)?];
        let is_ours = |name: &str| {
            [tables.vault(), tables.meta()]
                .iter()
                .any(|ours| name.eq_ignore_ascii_case(ours.as_str()))
        };
        let is_index = kind == "index" && is_ours(&table);
        if !is_index && (kind != "table" || !is_ours(&name)) {
            return Ok(false);
        }
        if kind == "table" {
            let count = format!("SELECT EXISTS (SELECT 1 FROM \"{name}\")");
            if sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *connection).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
