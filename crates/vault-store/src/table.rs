//! Table names in an SQL database, which the caller chooses.

use std::{fmt, str::FromStr};

/// A table name: a letter or an underscore, then letters, digits and underscores, up to 63
/// characters.
///
/// No such name can terminate a quoted identifier, and it means the same on every SQL backend:
/// Postgres would truncate a longer one, and two names that differ only after the cut would be one
/// table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName(Box<str>);

impl TableName {
    /// The maximum length in characters.
    pub const MAX_LEN: usize = 63;

    /// Validates a name.
    ///
    /// # Errors
    /// [`ParseTableNameError`] says which rule the text violates.
    pub fn new(text: &str) -> Result<Self, ParseTableNameError> {
        let mut bytes = text.bytes();
        match bytes.next() {
            None => return Err(ParseTableNameError::Empty),
            Some(first) if first.is_ascii_alphabetic() || first == b'_' => {}
            Some(_) => return Err(ParseTableNameError::Character),
        }
        if !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(ParseTableNameError::Character);
        }
        if text.len() > Self::MAX_LEN {
            return Err(ParseTableNameError::TooLong { len: text.len() });
        }
        // https://www.sqlite.org/fileformat2.html#internal_schema_objects
        if text.to_ascii_lowercase().starts_with("sqlite_") {
            return Err(ParseTableNameError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// Returns the text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TableName {
    type Err = ParseTableNameError;

    fn from_str(text: &str) -> Result<Self, ParseTableNameError> {
        Self::new(text)
    }
}

/// As in a statement: quoted, so that reserved words work.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Why a text is not a table name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTableNameError {
    /// The text is empty.
    #[error("a table name must not be empty")]
    Empty,
    /// The text contains anything but ASCII letters, digits and underscores, or starts with a
    /// digit.
    #[error(
        "a table name has only ASCII letters, digits and underscores, and begins with no digit"
    )]
    Character,
    /// The text is longer than [`TableName::MAX_LEN`].
    #[error("a table name has at most {} characters, and this one has {len}", TableName::MAX_LEN)]
    TooLong {
        /// The length in characters.
        len: usize,
    },
    /// The text starts with `sqlite_`, which SQLite reserves.
    #[error("a table name must not begin with sqlite_, which SQLite keeps for itself")]
    Reserved,
    /// Both tables have the same name; SQLite ignores case.
    #[error("the two tables of a vault need two names")]
    Same,
}

/// The two tables of a vault in an SQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableNames {
    vault: TableName,
    meta: TableName,
}

impl TableNames {
    /// Combines the names of the records table and the settings table.
    ///
    /// # Errors
    /// [`ParseTableNameError::Same`] if they are the same.
    pub fn new(vault: TableName, meta: TableName) -> Result<Self, ParseTableNameError> {
        if vault.0.eq_ignore_ascii_case(&meta.0) {
            return Err(ParseTableNameError::Same);
        }
        Ok(Self { vault, meta })
    }

    /// Returns the name of the records table.
    #[must_use]
    pub fn vault(&self) -> &TableName {
        &self.vault
    }

    /// Returns the name of the settings table.
    #[must_use]
    pub fn meta(&self) -> &TableName {
        &self.meta
    }
}

/// `vault` and `vault_meta`, as in the documentation of the Go package.
impl Default for TableNames {
    fn default() -> Self {
        Self { vault: TableName("vault".into()), meta: TableName("vault_meta".into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_and_reserved_words_are_taken() {
        for name in ["vault", "_", "a1", "Vault_2", "select", "order", "TABLE", &"x".repeat(63)] {
            assert_eq!(TableName::new(name).unwrap().as_str(), name);
        }
        assert_eq!(TableName::new("select").unwrap().to_string(), "\"select\"");
    }

    #[test]
    fn hostile_names_are_refused() {
        let hostile = [
            "1a",
            "a b",
            "a;b",
            "a\"b",
            "a'b",
            "a`b",
            "a]b",
            "a--",
            "a\0",
            "a\n",
            "é",
            "a.b",
            "%s",
            "vault; DROP TABLE vault",
            "vault\" --",
        ];
        for name in hostile {
            assert_eq!(TableName::new(name), Err(ParseTableNameError::Character), "{name:?}");
        }
        assert_eq!(TableName::new(""), Err(ParseTableNameError::Empty));
        let long = "x".repeat(64);
        assert_eq!(TableName::new(&long), Err(ParseTableNameError::TooLong { len: 64 }));
        assert_eq!(TableName::new("SQLite_master"), Err(ParseTableNameError::Reserved));
    }

    #[test]
    fn one_name_does_not_do_for_two_tables() {
        let name = |text| TableName::new(text).unwrap();
        assert_eq!(TableNames::new(name("a"), name("A")), Err(ParseTableNameError::Same));
        assert_eq!(
            TableNames::new(name("vault"), name("vault_meta")).unwrap(),
            TableNames::default()
        );
    }
}
