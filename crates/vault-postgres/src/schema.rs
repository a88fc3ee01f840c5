//! The tables of a vault in Postgres, how they are recognized, created and upgraded.
//!
//! ```sql
//! CREATE TABLE "vault" (
//!     id text COLLATE "C" PRIMARY KEY,       -- "C" orders by bytes, whatever the database's collation
//!     token text COLLATE "C" NOT NULL UNIQUE,
//!     envelope text COLLATE "C" NOT NULL,
//!     created_at timestamptz NOT NULL,
//!     updated_at timestamptz NOT NULL,
//!     expires_at timestamptz,                -- NULL is never
//!     soft_deleted_at timestamptz            -- NULL is not at all
//! );
//! CREATE TABLE "vault_meta" (
//!     scope text COLLATE "C" NOT NULL,       -- 'schema' or 'setting'
//!     name text COLLATE "C" NOT NULL,
//!     value text NOT NULL,
//!     PRIMARY KEY (scope, name)
//! );
//! ```
//!
//! The row `('schema', 'version')` contains the schema's version; this is version 1. Version 0
//! means that the tables are being created.
//!
//! # Other servers that speak the Postgres protocol
//!
//! Every statement of this crate is tested on PostgreSQL 15, in a database with byte order and in
//! one with an ICU collation. Nothing was run on the following servers: the statements are limited
//! to what these are known to accept, and these are the known differences.
//!
//! - `CockroachDB` rejects `COLLATE "C"` on a column (cockroachdb/cockroach#96828) and orders text
//!   by bytes anyway, so the clause is omitted there. It may report conflicts (40001, retryable)
//!   where Postgres waits, and a commit of unknown outcome as 40003, which is reported as such.
//! - `YugabyteDB` distributes a primary key by its hash unless `yb_use_hash_splitting_by_default`
//!   is off when the tables are created; with the hash, every page sorts the table. Tables are
//!   created there immediately, not with their transaction: run an interrupted `migrate` again.
//! - Citus: the tables stay local or become reference tables. All unique keys of a distributed
//!   table must contain its distribution column, and a vault's two keys have no column in common.
//!
//! Advisory locks, `LISTEN`, triggers and stored procedures are not used anywhere.

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, Row as _, SqlSafeStr,
    postgres::PgArguments, query::Query,
};

use vault_store::TableName;

use crate::around::{self, COLUMNS};
use crate::error::Fault;
use crate::options::{Migration, PostgresOptions};
use crate::session::{READ, WRITE};
use crate::sqlstate::code_of;
use crate::table_kind::{NotATable, TableKind};

const VERSION: u32 = 1;
/// The tables are being created.
const UNFINISHED: u32 = 0;

/// How often `migrate` starts over when another process does the same.
const TRIES: usize = 10;

/// What the database contains under the names of a vault's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// A vault of this version.
    Ours,
    /// A vault whose tables were not finished.
    Unfinished,
    /// A vault of a newer version of this program.
    Newer(u32),
    /// Nothing.
    Absent,
    /// Another program's table.
    Foreign,
    /// Something that cannot return all records.
    NotATable(NotATable),
    /// Settings of a vault, and no table of records with this name.
    NoRecords,
    /// A vault without a valid version, or with records whose columns are not those of a vault.
    Damaged,
}

/// The outcome of creating or upgrading the tables.
pub(crate) enum Migrated {
    Done(Migration),
    Newer(u32),
    Foreign,
    NotATable(NotATable),
    /// There are tables, and not those of the vault.
    NotHere(Schema),
}

/// What to do if the database has tables, and not those of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Create them.
    Create,
    /// Refuse: the names may be mistyped.
    Refuse,
}

/// Recognizes a vault, without changing anything.
pub(crate) async fn inspect(
    connection: &mut PgConnection,
    options: &PostgresOptions,
) -> Result<Schema, Fault> {
    let mut transaction = connection.begin_with(READ).await?;
    let schema = inspect_in(&mut transaction, options).await;
    transaction.rollback().await?;
    schema
}

async fn inspect_in(
    connection: &mut PgConnection,
    options: &PostgresOptions,
) -> Result<Schema, Fault> {
    if let Some(what) = not_a_table(connection, options).await? {
        return Ok(Schema::NotATable(what));
    }
    let meta = options.tables.meta();
    let version = format!("SELECT value FROM {meta} WHERE scope = 'schema' AND name = 'version'");
    let version = match unnamed(AssertSqlSafe(version)).fetch_optional(&mut *connection).await {
        Ok(row) => row.map(|row| row.try_get::<String, _>(0)).transpose()?,
        Err(error) => return not_a_table_of_ours(error, Schema::Absent, Schema::Foreign),
    };
    match version.as_deref().map(str::parse) {
        Some(Ok(VERSION)) => {}
        Some(Ok(UNFINISHED)) => return Ok(Schema::Unfinished),
        Some(Ok(newer)) => return Ok(Schema::Newer(newer)),
        Some(Err(_)) | None => return Ok(Schema::Damaged),
    }
    let columns = format!("SELECT {} FROM {} LIMIT 0", COLUMNS.join(", "), options.tables.vault());
    if let Err(error) = unnamed(AssertSqlSafe(columns)).execute(&mut *connection).await {
        return not_a_table_of_ours(error, Schema::NoRecords, Schema::NoRecords);
    }
    Ok(match unfit(connection, options.tables.vault()).await? {
        None => Schema::Ours,
        Some(what) => Schema::NotATable(what),
    })
}

/// A statement without a name: these run once, and a name would stay with a pooler's connection.
fn unnamed<'q>(sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

/// Creates the tables of a vault and, in the same transaction, these settings; or upgrades existing
/// tables to this version. Nothing else is changed.
///
/// Safe from several processes at the same time: the row of the version is locked while the tables
/// are created. A process that loses the race for that row starts over and finds everything done.
pub(crate) async fn migrate(
    connection: &mut PgConnection,
    options: &PostgresOptions,
    settings: &[(String, String)],
    missing: Missing,
) -> Result<Migrated, Fault> {
    let schema = connection.fetch_one("SELECT current_schema()::text").await?;
    if schema.try_get::<Option<String>, _>(0)?.is_none() {
        return Err(Fault::NoSchema);
    }
    // Asked first: of several processes that start in an empty database, one creates the tables.
    let is_empty = around::look(connection).await?.found.is_empty;
    match inspect(connection, options).await? {
        found @ Schema::NoRecords => return Ok(Migrated::NotHere(found)),
        found @ Schema::Absent if missing == Missing::Refuse && !is_empty => {
            return Ok(Migrated::NotHere(found));
        }
        _ => {}
    }
    let mut tries = 1;
    loop {
        match try_migrate(connection, options, settings).await {
            Err(Fault::Sqlx(error)) if tries < TRIES && was_outrun(&error) => tries += 1,
            Err(Fault::Sqlx(error)) => {
                return not_a_table_of_ours(error, None, Some(Migrated::Foreign))?
                    .ok_or(Fault::Outrun);
            }
            other => return other,
        }
    }
}

/// Texts are returned unchanged only if the server uses Unicode.
pub(crate) async fn check_encoding(connection: &mut PgConnection) -> Result<(), Fault> {
    let encoding: String = connection.fetch_one("SHOW server_encoding").await?.try_get(0)?;
    if encoding == "UTF8" { Ok(()) } else { Err(Fault::Encoding(encoding)) }
}

/// Which of the two names refers to something other than an ordinary or partitioned table with all
/// its rows in itself.
async fn not_a_table(
    connection: &mut PgConnection,
    options: &PostgresOptions,
) -> Result<Option<NotATable>, Fault> {
    const KIND: &str = "SELECT relkind::text, \
        EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = pg_class.oid), \
        EXISTS (SELECT 1 FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid \
                WHERE inhparent = pg_class.oid AND part.relkind = 'f') \
        FROM pg_class WHERE oid = to_regclass($1)";
    for name in [options.tables.vault(), options.tables.meta()] {
        let row = unnamed(KIND).bind(name.to_string()).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { continue };
        let (is_parent, has_foreign_part) = (row.try_get(1)?, row.try_get(2)?);
        let kind = match row.try_get::<String, _>(0)?.as_str() {
            "r" if is_parent => TableKind::Inherited,
            "p" if has_foreign_part => TableKind::Foreign,
            "r" | "p" => continue,
            "v" | "m" => TableKind::View,
            "f" => TableKind::Foreign,
            _ => TableKind::Other,
        };
        return Ok(Some(NotATable { name: name.clone(), kind }));
    }
    Ok(None)
}

async fn try_migrate(
    connection: &mut PgConnection,
    options: &PostgresOptions,
    settings: &[(String, String)],
) -> Result<Migrated, Fault> {
    let mut transaction = connection.begin_with(WRITE).await?;
    if let Some(what) = not_a_table(&mut transaction, options).await? {
        return Ok(Migrated::NotATable(what));
    }
    let (records, meta) = (options.tables.vault(), options.tables.meta());
    let collate = by_bytes(&mut transaction).await?;
    let run = |statement: String| sqlx::raw_sql(AssertSqlSafe(statement));
    // Checked first: a role that may use the tables need not be allowed to create them.
    if columns_of(&mut transaction, meta.as_str()).await?.is_empty() {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {meta} (scope text {collate} NOT NULL, name text {collate} NOT NULL, \
             value text NOT NULL, PRIMARY KEY (scope, name))"
        );
        run(create).execute(&mut *transaction).await?;
    }
    let first = format!(
        "INSERT INTO {meta} (scope, name, value) VALUES ('schema', 'version', '{UNFINISHED}') ON CONFLICT (scope, name) \
         DO NOTHING"
    );
    run(first).execute(&mut *transaction).await?;
    let lock =
        format!("SELECT value FROM {meta} WHERE scope = 'schema' AND name = 'version' FOR UPDATE");
    let row = unnamed(AssertSqlSafe(lock)).fetch_one(&mut *transaction).await?;
    match row.try_get::<String, _>(0)?.parse() {
        Ok(UNFINISHED) => {}
        Ok(VERSION) => {
            let unfit = unfit(&mut transaction, records).await?;
            return Ok(unfit.map_or(Migrated::Done(Migration::Current), Migrated::NotATable));
        }
        Ok(newer) => return Ok(Migrated::Newer(newer)),
        Err(_) => return Ok(Migrated::Foreign),
    }
    let found = columns_of(&mut transaction, records.as_str()).await?;
    if found.is_empty() {
        let create = format!(
            "CREATE TABLE {records} (id text {collate} PRIMARY KEY, token text {collate} NOT NULL UNIQUE, \
             envelope text {collate} NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, \
             expires_at timestamptz, soft_deleted_at timestamptz)"
        );
        run(create).execute(&mut *transaction).await?;
    } else if found != COLUMNS {
        return Ok(Migrated::Foreign);
    } else if let Some(unfit) = unfit(&mut transaction, records).await? {
        return Ok(Migrated::NotATable(unfit));
    }
    for (name, value) in settings {
        let setting = format!("INSERT INTO {meta} (scope, name, value) VALUES ('setting', $1, $2)");
        let setting = unnamed(AssertSqlSafe(setting)).bind(name).bind(value);
        setting.execute(&mut *transaction).await?;
    }
    let done = format!(
        "UPDATE {meta} SET value = '{VERSION}' WHERE scope = 'schema' AND name = 'version'"
    );
    run(done).execute(&mut *transaction).await?;
    transaction.commit().await.map_err(Fault::in_commit)?;
    Ok(Migrated::Done(Migration::Created))
}

/// Why a table with the columns of the records is not one of a vault, if so.
async fn unfit(
    connection: &mut PgConnection,
    table: &TableName,
) -> Result<Option<NotATable>, Fault> {
    match without_key(connection, table).await? {
        None => of_wrong_type(connection, table).await,
        without_key => Ok(without_key),
    }
}

/// The first column that would not return what was stored: `char(n)` pads, `name` cuts, and
/// `citext` and some collations find one id under another.
async fn of_wrong_type(
    connection: &mut PgConnection,
    table: &TableName,
) -> Result<Option<NotATable>, Fault> {
    const TYPES: &str = "SELECT attname::text, coalesce(base.typname, type.typname)::text, \
        coalesce(collisdeterministic, TRUE) FROM pg_attribute \
        JOIN pg_type AS type ON type.oid = atttypid \
        LEFT JOIN pg_type AS base ON type.typtype = 'd' AND base.oid = type.typbasetype \
        LEFT JOIN pg_collation AS rules ON rules.oid = attcollation \
        WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let rows = unnamed(TYPES).bind(table.to_string()).fetch_all(connection).await?;
    for row in rows {
        let (name, kind): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let Some(column) = COLUMNS.into_iter().find(|column| *column == name) else { continue };
        let (right, is_right) = if column.ends_with("_at") {
            ("timestamptz", kind == "timestamptz")
        } else {
            ("text", matches!(kind.as_str(), "text" | "varchar") && row.try_get(2)?)
        };
        if !is_right {
            let kind = TableKind::WrongType { column, right };
            return Ok(Some(NotATable { name: table.clone(), kind }));
        }
    }
    Ok(None)
}

/// Which of the two keys a table lacks, if it lacks one. An insert relies on both: without them two
/// processes that insert at the same time could give two records the same id or token, and one of
/// them could never be read again. Only a key that is checked at once and for every row counts.
async fn without_key(
    connection: &mut PgConnection,
    table: &TableName,
) -> Result<Option<NotATable>, Fault> {
    const KEYS: &str = "SELECT attname::text FROM pg_index \
        JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
        WHERE indrelid = to_regclass($1) AND indisunique AND indisvalid AND indimmediate \
        AND indpred IS NULL AND indnkeyatts = 1";
    let rows = unnamed(KEYS).bind(table.to_string()).fetch_all(connection).await?;
    let keys = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
    let missing = ["id", "token"].into_iter().find(|column| !keys.iter().any(|key| key == column));
    Ok(missing.map(|column| NotATable { name: table.clone(), kind: TableKind::WithoutKey(column) }))
}

/// The columns of a table in the schema in which new tables are created; empty if there is no such
/// table.
async fn columns_of(connection: &mut PgConnection, table: &str) -> Result<Vec<String>, Fault> {
    const COLUMNS: &str = "SELECT column_name::text FROM information_schema.columns \
                           WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";
    let rows = unnamed(COLUMNS).bind(table).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// What makes a column compare by bytes.
async fn by_bytes(connection: &mut PgConnection) -> Result<&'static str, Fault> {
    let version: String = connection.fetch_one("SELECT version()").await?.try_get(0)?;
    Ok(if version.contains("CockroachDB") { "" } else { "COLLATE \"C\"" })
}

/// Returns whether a migration failed because of another one at the same time.
fn was_outrun(error: &sqlx::Error) -> bool {
    // unique_violation (in Postgres's own catalogue), duplicate_table, duplicate_object,
    // serialization_failure, deadlock_detected
    matches!(code_of(error), Some("23505" | "42P07" | "42710" | "40001" | "40P01"))
}

/// What an error says about a table: it is absent, or its columns are another program's.
fn not_a_table_of_ours<T>(error: sqlx::Error, absent: T, foreign: T) -> Result<T, Fault> {
    match code_of(&error) {
        Some("42P01") => Ok(absent),
        // undefined_column, wrong_object_type, datatype_mismatch, undefined_function (no operator
        // for these types), invalid_column_reference (no such unique key), undefined_object
        Some("42703" | "42809" | "42804" | "42883" | "42P10" | "42704") => Ok(foreign),
        _ => Err(error.into()),
    }
}
