//! What a name that is no ordinary table is.

use vault_store::TableName;

/// A relation under the name of a table that is none, or not all of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotATable {
    pub(crate) name: TableName,
    pub(crate) kind: TableKind,
}

/// What it is instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    View,
    Foreign,
    /// A table that others inherit from.
    Inherited,
    Other,
}
