//! The tables of a vault in redb, and how a file is recognized as one.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `vaultstore` | the text `schema` | the schema's version, 4 bytes little-endian; this is version 1 |
//! | `records` | id | a row: times, token, envelope (see `record.rs`) |
//! | `tokens` | token | id |
//! | `settings` | name | value |
//!
//! All keys and values have redb's type `&[u8]`, even where they contain UTF-8: redb panics if a
//! typed value does not decode, while our own decoding can tell which row is damaged. redb orders
//! such keys as bytes, as the contract requires.

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use crate::error::Fault;

/// A table of ours.
pub(crate) type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Id to row.
pub(crate) const RECORDS: Bytes = TableDefinition::new("records");
/// Token to id.
pub(crate) const TOKENS: Bytes = TableDefinition::new("tokens");
/// Name to value.
pub(crate) const SETTINGS: Bytes = TableDefinition::new("settings");
/// The table that makes a redb file a vault.
const MARKER: Bytes = TableDefinition::new("vaultstore");

/// All tables of a vault, that of the records first.
pub(crate) const ALL: [Bytes; 4] = [RECORDS, TOKENS, SETTINGS, MARKER];

const SCHEMA_KEY: &[u8] = b"schema";
const SCHEMA_VERSION: u32 = 1;

/// What a redb file contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// A vault of this version.
    Ours,
    /// A vault of a newer version of this program.
    Newer(u32),
    /// Another program's data, or nothing.
    Foreign,
    /// A vault without a valid version or without one of its tables.
    Damaged,
}

/// Creates the tables of an empty vault.
pub(crate) fn create(transaction: &WriteTransaction) -> Result<(), Fault> {
    for table in [RECORDS, TOKENS, SETTINGS] {
        transaction.open_table(table)?;
    }
    transaction.open_table(MARKER)?.insert(SCHEMA_KEY, SCHEMA_VERSION.to_le_bytes().as_slice())?;
    Ok(())
}

/// Returns whether there is any table, of whatever program.
pub(crate) fn has_tables(transaction: &ReadTransaction) -> Result<bool, Fault> {
    Ok(transaction.list_tables()?.next().is_some()
        || transaction.list_multimap_tables()?.next().is_some())
}

/// Recognizes a vault, without changing anything.
pub(crate) fn inspect(transaction: &ReadTransaction) -> Result<Schema, Fault> {
    let marker = match transaction.open_table(MARKER) {
        Ok(marker) => marker,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_absent_or_of_another_type) => return Ok(Schema::Foreign),
    };
    let version = marker.get(SCHEMA_KEY)?;
    match version.and_then(|stored| stored.value().try_into().map(u32::from_le_bytes).ok()) {
        Some(SCHEMA_VERSION) => {}
        Some(newer) if newer > SCHEMA_VERSION => return Ok(Schema::Newer(newer)),
        Some(_) | None => return Ok(Schema::Damaged),
    }
    for table in [RECORDS, TOKENS, SETTINGS] {
        match transaction.open_table(table) {
            Ok(_) => {}
            Err(TableError::Storage(error)) => return Err(error.into()),
            Err(_absent_or_of_another_type) => return Ok(Schema::Damaged),
        }
    }
    Ok(Schema::Ours)
}
