//! The names of the tables of a vault in an SQL database, which the caller chooses.

use std::{fmt, str::FromStr};

/// The name of a table: a letter or an underscore, then letters, digits and underscores, 63 characters at most.
///
/// Nothing in such a name can end a quoted identifier, and it is the same name on every SQL backend: Postgres would cut a
/// longer one short, and two that differ only behind the cut would be one table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName(Box<str>);

impl TableName {
    /// The longest name, in characters.
    pub const MAX_LEN: usize = 63;

    /// A name that keeps the rules.
    ///
    /// # Errors
    /// [`ParseTableNameError`] tells which rule the text breaks.
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

    /// The name's text.
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

/// As it stands in a statement: quoted, which keeps reserved words apart from the language.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Why a text is not the name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTableNameError {
    /// The text is empty.
    #[error("a table name must not be empty")]
    Empty,
    /// The text holds something else than ASCII letters, digits and underscores, or begins with a digit.
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
    /// The text begins with `sqlite_`, which SQLite keeps for itself.
    #[error("a table name must not begin with sqlite_, which SQLite keeps for itself")]
    Reserved,
    /// Both tables have one name; SQLite does not tell upper case from lower.
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
    /// The table of the records and the table of the settings.
    ///
    /// # Errors
    /// [`ParseTableNameError::Same`] when they are one.
    pub fn new(vault: TableName, meta: TableName) -> Result<Self, ParseTableNameError> {
        if vault.0.eq_ignore_ascii_case(&meta.0) {
            return Err(ParseTableNameError::Same);
        }
        Ok(Self { vault, meta })
    }

    /// The table of the records.
    #[must_use]
    pub fn vault(&self) -> &TableName {
        &self.vault
    }

    /// The table of the settings.
    #[must_use]
    pub fn meta(&self) -> &TableName {
        &self.meta
    }
}

/// `vault` and `vault_meta`, as the ancestor's documentation names them.
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
