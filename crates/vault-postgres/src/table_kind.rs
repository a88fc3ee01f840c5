//! What a name refers to that is not an ordinary table.

use vault_store::{FoundTables, TableName};

/// A relation with the name of a table that is not a table, or only part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotATable {
    pub(crate) name: TableName,
    pub(crate) kind: TableKind,
}

/// Its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    View,
    Foreign,
    /// A table with inheriting tables.
    Inherited,
    /// A table with a column that no unique key covers alone, so that two records could share an id
    /// or a token.
    WithoutKey(&'static str),
    /// A table with a column whose type does not return what was stored, or finds it under another
    /// value: `char(n)`, `citext`.
    WrongType {
        column: &'static str,
        right: &'static str,
    },
    Other,
}

/// The tables with a vault's columns, and where else there are such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// In the schemas that the connection searches.
    pub(crate) found: FoundTables,
    /// Other schemas that hold a vault.
    pub(crate) schemas: Vec<String>,
}
