//! What is there instead of the vault that an address names: a typing error is answered with it.

use std::fmt;

use crate::table::TableName;

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Nothing is in it.
    Empty,
    /// A redb database.
    Redb,
    /// An SQLite database.
    Sqlite,
    /// The state of a rekey.
    RekeyState,
    /// Anything else.
    Other,
}

impl FileKind {
    /// How many bytes are needed to tell.
    pub const MAGIC_LEN: usize = 16;

    /// The kind of a file that begins like this.
    #[must_use]
    pub fn of(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [] => Self::Empty,
            bytes if bytes.starts_with(b"redb\x1a\x0a\xa9\x0d\x0a") => Self::Redb,
            bytes if bytes.starts_with(b"SQLite format 3\0") => Self::Sqlite,
            bytes if bytes.starts_with(b"vaultstore-rekey") => Self::RekeyState,
            _ => Self::Other,
        }
    }
}

/// What the file is, and what the address of a vault in it begins with.
impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty file",
            Self::Redb => "a redb database, whose address begins with redb:",
            Self::Sqlite => "an SQLite database, whose address begins with sqlite:",
            Self::RekeyState => "the state of a rekey",
            Self::Other => "a file of another kind",
        })
    }
}

/// The tables of an SQL database that have the columns of a vault's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTables {
    /// Those of records.
    pub vaults: Vec<TableName>,
    /// Those of settings.
    pub metas: Vec<TableName>,
    /// Whether there is no table at all, of whatever program.
    pub is_empty: bool,
}

impl FoundTables {
    /// How many of each are looked for: enough to name them in a sentence.
    pub const MOST: usize = 5;
}

/// What a database holds instead of the tables that were asked for: the end of an error's first
/// line.
impl fmt::Display for FoundTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.vaults[..], &self.metas[..]) {
            ([], _) if self.is_empty => f.write_str("the database is empty"),
            ([], []) => f.write_str("no table of the database has the columns of a vault"),
            ([], metas) => {
                write!(f, "the database has settings of a vault in {}, and no records", list(metas))
            }
            ([vault], [meta]) => write!(f, "the database has a vault in {vault} and {meta}"),
            ([vault], []) => write!(f, "the database has a vault in {vault}"),
            (vaults, []) => write!(f, "the database has vaults in {}", list(vaults)),
            (vaults, metas) => write!(
                f,
                "the database has records of vaults in {} and settings in {}",
                list(vaults),
                list(metas)
            ),
        }
    }
}

impl FoundTables {
    /// What to do: name the tables that are there, or create some, if that is what was meant.
    #[must_use]
    pub fn hint(&self, create: &str) -> String {
        match (&self.vaults[..], &self.metas[..]) {
            ([], _) => format!("check the vault's address, or {create}"),
            ([vault], [meta]) => {
                let (vault, meta) = (vault.as_str(), meta.as_str());
                format!("name its tables in the vault's address: ?table={vault}&meta={meta}")
            }
            ([vault], []) => {
                format!("name its table in the vault's address: ?table={}", vault.as_str())
            }
            _ => "name the tables of one vault in its address: ?table=NAME&meta=NAME".to_owned(),
        }
    }
}

fn list(tables: &[TableName]) -> String {
    tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        TableName::new(text).unwrap()
    }

    #[test]
    fn first_bytes_tell_what_a_file_is() {
        assert_eq!(FileKind::of(b""), FileKind::Empty);
        assert_eq!(FileKind::of(b"redb\x1a\x0a\xa9\x0d\x0aand more"), FileKind::Redb);
        assert_eq!(FileKind::of(b"SQLite format 3\0"), FileKind::Sqlite);
        assert_eq!(FileKind::of(b"vaultstore-rekey\x02"), FileKind::RekeyState);
        assert_eq!(FileKind::of(b"redb"), FileKind::Other);
    }

    #[test]
    fn a_vault_under_other_names_is_named_as_it_is_typed() {
        let found = FoundTables {
            vaults: vec![name("secrets")],
            metas: vec![name("secrets_meta")],
            is_empty: false,
        };
        assert!(found.to_string().contains("\"secrets\" and \"secrets_meta\""), "{found}");
        assert!(found.hint("").ends_with(": ?table=secrets&meta=secrets_meta"));
        let several = FoundTables { vaults: vec![name("a"), name("b")], ..found };
        assert!(several.to_string().contains("\"a\", \"b\""), "{several}");
        let none = FoundTables { is_empty: true, ..FoundTables::default() };
        assert_eq!(none.to_string(), "the database is empty");
        assert!(none.hint("create one").ends_with("create one"));
    }
}
