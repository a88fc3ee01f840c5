//! Upgrades a database to the current schema.

use std::{fmt, path::Path};

use sqlx::{Connection as _, Row as _, SqliteConnection};
use vault_store::{FoundTables, StoreError, TableNames};

use crate::driver::Driver;
use crate::error::{self, Fault};
use crate::schema::{self, Encoding, MetaTable, TokenIndex, VaultTable};
use crate::statements::Statement;
use crate::time::NEVER;
use crate::{SqliteOptions, identities, open};

/// The result of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationReport {
    /// What was changed, in this order; empty if the schema was current.
    pub changes: Vec<SchemaChange>,
    /// Number of tokens that belong to more than one record, including the empty token. While there
    /// are any, the database cannot enforce unique tokens. Nothing was done about it: only their
    /// owner knows which record is the right one.
    pub shared_tokens: u64,
    /// Number of password identities that an old version of the Go package has left in the settings
    /// table: password hashes, which anyone who reads the file can attack offline.
    pub password_identities: u64,
    /// Number of rows that say which record was sealed under which of these passwords.
    pub password_links: u64,
}

/// A change that a migration made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaChange {
    /// The records table was created.
    VaultTableCreated,
    /// A column was added to the records table, with the value "never" in every row.
    ColumnAdded(&'static str),
    /// The settings table was created.
    MetaTableCreated,
    /// An index that keeps tokens unique was created.
    TokenIndexCreated,
}

/// One sentence for a user.
impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VaultTableCreated => f.write_str("the records table was created"),
            Self::ColumnAdded(column) => {
                write!(f, "the column {column} was added, with the value \"never\" in every record")
            }
            Self::MetaTableCreated => f.write_str("the settings table was created"),
            Self::TokenIndexCreated => f.write_str("an index that keeps tokens unique was created"),
        }
    }
}

/// Creates what is missing, in one transaction.
pub(crate) async fn migrate(
    path: &Path,
    options: &SqliteOptions,
    missing: Missing,
) -> Result<MigrationReport, StoreError> {
    let driver = Driver::new();
    let mut connection = open::connect(path, options, &driver).await?;
    let tables = &options.tables;
    let worked = driver.unless_it_panics(work(&mut connection, tables, missing)).await;
    let report = match worked.unwrap_or(Err(Fault::PanickedWhileWriting)) {
        Ok(Outcome::Done(report)) => Ok(report),
        Ok(Outcome::Utf16) => Err(error::not_utf_8(path)),
        Ok(Outcome::NoVault(found)) => Err(error::no_vault_in(path, tables.vault(), &found)),
        Ok(Outcome::NoMeta(found)) => Err(error::no_vault_in(path, tables.meta(), &found)),
        Ok(Outcome::OthersMeta(found)) => {
            Err(error::settings_of_another(path, tables.meta(), &found))
        }
        Err(fault) => Err(fault.into_open_error(path)),
    };
    // What was committed stays, whether or not the log can be moved into the database now.
    let _ = driver.unless_it_panics(connection.close()).await;
    report
}

/// What to do if the database has tables, and not those of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Create them.
    Create,
    /// Refuse: the names may be mistyped.
    Refuse,
}

enum Outcome {
    Done(MigrationReport),
    Utf16,
    NoVault(FoundTables),
    NoMeta(FoundTables),
    OthersMeta(FoundTables),
}

async fn work(
    connection: &mut SqliteConnection,
    tables: &TableNames,
    missing: Missing,
) -> Result<Outcome, Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let schema = schema::inspect(&mut transaction, tables).await?;
    if schema.encoding == Encoding::Utf16 {
        return Ok(Outcome::Utf16);
    }
    let found = schema::look_around(&mut transaction).await?;
    let is_mistyped = missing == Missing::Refuse && schema::has_its_settings_elsewhere(&found);
    match (&schema.vault, schema.meta) {
        (VaultTable::Foreign, _) => return Ok(Outcome::NoVault(found)),
        (VaultTable::Absent, MetaTable::Present) if !found.vaults.is_empty() => {
            return Ok(Outcome::OthersMeta(found));
        }
        (VaultTable::Absent, _) if missing == Missing::Refuse && !found.is_empty => {
            return Ok(Outcome::NoVault(found));
        }
        (_, MetaTable::Foreign) => return Ok(Outcome::NoMeta(found)),
        (VaultTable::Complete { .. } | VaultTable::Lacks(..), MetaTable::Absent) if is_mistyped => {
            return Ok(Outcome::NoMeta(found));
        }
        _ => {}
    }
    let mut changes = Vec::new();
    let tokens = match schema.vault {
        VaultTable::Foreign => return Ok(Outcome::NoVault(found)),
        VaultTable::Complete { tokens } => tokens,
        VaultTable::Lacks(columns, tokens) => {
            for column in columns {
                schema::run(&mut transaction, &add_column(column), tables).await?;
                changes.push(SchemaChange::ColumnAdded(column));
            }
            tokens
        }
        VaultTable::Absent => {
            schema::run(&mut transaction, schema::VAULT_TABLE, tables).await?;
            changes.push(SchemaChange::VaultTableCreated);
            TokenIndex::Absent
        }
    };
    if schema.meta == MetaTable::Absent {
        schema::run(&mut transaction, schema::META_TABLE, tables).await?;
        changes.push(SchemaChange::MetaTableCreated);
    }
    let shared_tokens = number(&mut transaction, SHARED_TOKENS, tables).await?;
    if tokens == TokenIndex::Absent && shared_tokens == 0 {
        schema::run(&mut transaction, &schema::token_index(tables.vault()), tables).await?;
        changes.push(SchemaChange::TokenIndexCreated);
    }
    let report = MigrationReport {
        changes,
        shared_tokens,
        password_identities: number(&mut transaction, identities::IDENTITIES, tables).await?,
        password_links: number(&mut transaction, identities::LINKS, tables).await?,
    };
    transaction.commit().await.map_err(Fault::Commit)?;
    Ok(Outcome::Done(report))
}

/// NULL is not a token, and any number of records may have none.
const SHARED_TOKENS: &str = "SELECT count(*) FROM (SELECT 1 FROM {vault} WHERE vault_token IS NOT NULL \
    GROUP BY vault_token COLLATE BINARY HAVING count(*) > 1)";

fn add_column(column: &str) -> String {
    format!("ALTER TABLE {{vault}} ADD COLUMN `{column}` datetime NOT NULL DEFAULT '{NEVER}'")
}

async fn number(
    connection: &mut SqliteConnection,
    template: &str,
    tables: &TableNames,
) -> Result<u64, Fault> {
    let row = Statement::new(template, tables).query().fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}
