//! The tables of a vault, which are those of the Go package, and how a database is recognized.
//!
//! There are three generations: `TEXT(40)` and `DATETIME` with a unique constraint on the column
//! and no settings table (0.27 and older); all `text` and nullable (0.30); and the current one,
//! which [`VAULT_TABLE`] and [`META_TABLE`] create. All of them are read and written as they are:
//! only the columns matter, because SQLite does not enforce their types. Before 0.27 there was no
//! `expires_at`; such a vault has to be migrated first.

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};
use vault_store::{FoundTables, TableName, TableNames};

use crate::error::Fault;
use crate::statements::Statement;

/// The records table, exactly as the Go package creates it.
pub(crate) const VAULT_TABLE: &str = "CREATE TABLE {vault} (`id` text NOT NULL,`vault_token` text NOT NULL,\
    `vault_value` longtext NOT NULL,`created_at` datetime NOT NULL,`updated_at` datetime NOT NULL,\
    `expires_at` datetime NOT NULL,`soft_deleted_at` datetime NOT NULL,PRIMARY KEY (`id`))";

/// The settings table, exactly as the Go package creates it.
pub(crate) const META_TABLE: &str = "CREATE TABLE {meta} (`id` integer PRIMARY KEY AUTOINCREMENT,\
    `object_type` text,`object_id` text,`meta_key` text,`meta_value` text)";

/// The columns that a records table must have.
const VAULT_COLUMNS: [&str; 5] = ["id", "vault_token", "vault_value", "created_at", "updated_at"];
/// The columns that a migration can add, because they then mean "never".
pub(crate) const LATER_COLUMNS: [&str; 2] = ["expires_at", "soft_deleted_at"];
const META_COLUMNS: [&str; 5] = ["id", "object_type", "object_id", "meta_key", "meta_value"];

/// What a database contains under the names of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) encoding: Encoding,
    pub(crate) vault: VaultTable,
    pub(crate) meta: MetaTable,
    /// The expression for the number of a row of the records table, with the alias `v`.
    pub(crate) row: &'static str,
}

/// The number that SQLite assigns to each row of an ordinary table.
pub(crate) const ROW_NUMBER: &str = "v.rowid";

/// The text encoding of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
}

/// The records table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VaultTable {
    /// It has every column.
    Complete { tokens: TokenIndex },
    /// It lacks columns that later versions added.
    Lacks(Vec<&'static str>, TokenIndex),
    /// There is nothing with this name.
    Absent,
    /// There is a table or view of another program with this name.
    Foreign,
}

/// Whether the database enforces unique tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenIndex {
    Unique,
    Absent,
}

/// The settings table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaTable {
    Present,
    Absent,
    Foreign,
}

/// Creates the tables of an empty vault.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    tables: &TableNames,
) -> Result<(), Fault> {
    run(connection, VAULT_TABLE, tables).await?;
    run(connection, META_TABLE, tables).await?;
    run(connection, &token_index(tables.vault()), tables).await
}

/// Runs a statement that changes the schema.
pub(crate) async fn run(
    connection: &mut SqliteConnection,
    template: &str,
    tables: &TableNames,
) -> Result<(), Fault> {
    Statement::new(template, tables).query().execute(connection).await?;
    Ok(())
}

/// Returns the statement that makes tokens unique. For the table `vault` the index has the name
/// that the Go package uses. Index names are unique in a database, so for another table it has
/// another name.
pub(crate) fn token_index(vault: &TableName) -> String {
    format!("CREATE UNIQUE INDEX `idx_{vault}_token` ON {{vault}}(`vault_token`)")
}

/// Examines the tables without changing anything.
pub(crate) async fn inspect(
    connection: &mut SqliteConnection,
    tables: &TableNames,
) -> Result<Schema, Fault> {
    let encoding: String =
        sqlx::query("PRAGMA encoding").fetch_one(&mut *connection).await?.try_get(0)?;
    let encoding = if encoding == "UTF-8" { Encoding::Utf8 } else { Encoding::Utf16 };
    if encoding == Encoding::Utf8 {
        check_text(connection, tables).await?;
    }
    Ok(Schema {
        encoding,
        vault: inspect_vault(connection, tables.vault()).await?,
        meta: inspect_meta(connection, tables.meta()).await?,
        row: row_number(connection, tables.vault()).await?,
    })
}

/// Checks what the driver takes for granted: that the types of columns are UTF-8. They are read as
/// bytes, of which no table has more than a few hundred.
async fn check_text(connection: &mut SqliteConnection, tables: &TableNames) -> Result<(), Fault> {
    let texts = "SELECT CAST(substr(sql, 1, 100000) AS BLOB) FROM sqlite_schema \
                 WHERE type = 'table' AND (name = ?1 COLLATE NOCASE OR name = ?2 COLLATE NOCASE)";
    let query = sqlx::query(texts).bind(tables.vault().as_str()).bind(tables.meta().as_str());
    for row in query.fetch_all(connection).await? {
        let text: Option<Vec<u8>> = row.try_get(0)?;
        if text.is_some_and(|text| std::str::from_utf8(&text).is_err()) {
            return Err(Fault::SchemaNotText);
        }
    }
    Ok(())
}

/// Finds the tables that have the columns of a vault's, whatever their names are.
pub(crate) async fn look_around(connection: &mut SqliteConnection) -> Result<FoundTables, Fault> {
    const ANY: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' LIMIT 1";
    let is_empty = sqlx::query(ANY).fetch_optional(&mut *connection).await?.is_none();
    // As in `inspect_vault`: only a key of its own makes a table one of records.
    let has_key = "AND (SELECT group_concat(lower(info.name)) FROM pragma_table_info(stored.name) AS info \
                   WHERE info.pk > 0) = 'id'";
    Ok(FoundTables {
        vaults: tables_with(connection, &VAULT_COLUMNS, has_key).await?,
        metas: tables_with(connection, &META_COLUMNS, "").await?,
        is_empty,
    })
}

/// Whether the settings of the only vault of a database are in a table of another name: then the
/// name was mistyped. A vault of the oldest generation has no settings anywhere.
pub(crate) fn has_its_settings_elsewhere(found: &FoundTables) -> bool {
    found.vaults.len() == 1 && !found.metas.is_empty()
}

async fn tables_with(
    connection: &mut SqliteConnection,
    columns: &[&str],
    condition: &str,
) -> Result<Vec<TableName>, Fault> {
    /// More tables than these are not looked at, in a database of any program.
    const LOOKED_AT: usize = 1000;
    let query = format!(
        "SELECT name FROM (SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT {LOOKED_AT}) AS stored \
         WHERE (SELECT count(*) FROM pragma_table_info(stored.name) AS info \
                WHERE lower(info.name) IN ('{}')) = {} {condition} ORDER BY name",
        columns.join("', '"),
        columns.len()
    );
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await?;
    // Of a name that cannot be part of an address, an answer would be of no use.
    let names =
        rows.iter().filter_map(|row| TableName::new(&row.try_get::<String, _>(0).ok()?).ok());
    Ok(names.take(FoundTables::MOST).collect())
}

async fn inspect_vault(
    connection: &mut SqliteConnection,
    name: &TableName,
) -> Result<VaultTable, Fault> {
    let Some(columns) = columns(connection, name).await? else { return Ok(VaultTable::Absent) };
    // Without a primary key a record could occur twice, and none could be addressed.
    if !columns.has_all(&VAULT_COLUMNS) || columns.key != ["id"] {
        return Ok(VaultTable::Foreign);
    }
    let tokens = inspect_token_index(connection, name).await?;
    let lacks: Vec<_> =
        LATER_COLUMNS.into_iter().filter(|column| !columns.has_all(&[column])).collect();
    if lacks.is_empty() {
        Ok(VaultTable::Complete { tokens })
    } else {
        Ok(VaultTable::Lacks(lacks, tokens))
    }
}

/// A table may be made without row numbers.
async fn row_number(
    connection: &mut SqliteConnection,
    name: &TableName,
) -> Result<&'static str, Fault> {
    let without =
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let row = sqlx::query(without).bind(name.as_str()).fetch_optional(connection).await?;
    let is_without = row.map(|row| row.try_get::<bool, _>(0)).transpose()?.unwrap_or(false);
    Ok(if is_without { "NULL" } else { ROW_NUMBER })
}

async fn inspect_meta(
    connection: &mut SqliteConnection,
    name: &TableName,
) -> Result<MetaTable, Fault> {
    Ok(match columns(connection, name).await? {
        None => MetaTable::Absent,
        Some(columns) if columns.has_all(&META_COLUMNS) => MetaTable::Present,
        Some(_) => MetaTable::Foreign,
    })
}

async fn inspect_token_index(
    connection: &mut SqliteConnection,
    name: &TableName,
) -> Result<TokenIndex, Fault> {
    let unique = "SELECT 1 FROM pragma_index_list(?1) AS list WHERE list.\"unique\" AND NOT list.partial \
        AND (SELECT group_concat(lower(info.name)) FROM pragma_index_info(list.name) AS info) = 'vault_token'";
    let row = sqlx::query(unique).bind(name.as_str()).fetch_optional(connection).await?;
    Ok(if row.is_some() { TokenIndex::Unique } else { TokenIndex::Absent })
}

/// The columns of a table, in lower case, because SQLite ignores case.
struct Columns {
    all: Vec<String>,
    key: Vec<String>,
}

impl Columns {
    fn has_all(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.all.iter().any(|column| column == name))
    }
}

/// The columns of a table; views and virtual tables do not count.
async fn columns(
    connection: &mut SqliteConnection,
    name: &TableName,
) -> Result<Option<Columns>, Fault> {
    let list = "SELECT type = 'table' FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let Some(row) = sqlx::query(list).bind(name.as_str()).fetch_optional(&mut *connection).await?
    else {
        return Ok(None);
    };
    let mut columns = Columns { all: Vec::new(), key: Vec::new() };
    if !row.try_get::<bool, _>(0)? {
        return Ok(Some(columns));
    }
    let info = "SELECT lower(name), pk > 0 FROM pragma_table_info(?1)";
    for row in sqlx::query(info).bind(name.as_str()).fetch_all(connection).await? {
        let name: String = row.try_get(0)?;
        if row.try_get(1)? {
            columns.key.push(name.clone());
        }
        columns.all.push(name);
    }
    Ok(Some(columns))
}
