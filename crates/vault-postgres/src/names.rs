//! Names of tables: checked when they are made, quoted where they are used.

use std::fmt;

use vault_core::{StoreError, StoreErrorKind};

/// The longest name in bytes; Postgres cuts a longer one off, and two that differ only behind the cut would be one table.
const MAX_LEN: usize = 63;

/// The names of the two tables where nobody chose others.
pub(crate) const DEFAULT: [&str; 2] = ["vault", "vault_meta"];

/// The name of a table: a letter or an underscore, and then up to 62 letters, digits or underscores, all of them ASCII.
///
/// A name is always quoted, so that a reserved word is a name like any other and upper case stays what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName(String);

impl TableName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Unsupported`](StoreErrorKind::Unsupported) for anything else, a name of more than 63 bytes included.
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if starts_well && name.bytes().all(is_word) && name.len() <= MAX_LEN {
            return Ok(Self(name));
        }
        Err(StoreError::new(
            StoreErrorKind::Unsupported,
            format!(
                "{name:?} cannot name a table: take a letter or an underscore and then up to 62 ASCII letters, digits \
                 or underscores"
            ),
        ))
    }

    /// One of the [`DEFAULT`] names.
    pub(crate) fn of_word(word: &'static str) -> Self {
        Self(word.to_owned())
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As it stands in a statement: quoted. The characters of a name need no escape.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_and_are_quoted() {
        for word in ["vault", "_", "Vault_2", "select", "user", &"x".repeat(63)] {
            assert_eq!(TableName::new(word).unwrap().to_string(), format!("\"{word}\""));
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let too_long = "x".repeat(64);
        let hostile = [
            "",
            "1st",
            "a b",
            "a\"b",
            "a'b",
            "a;b",
            "a.b",
            "a-b",
            "a--",
            "a\0b",
            "a\nb",
            "é",
            "vault; DROP TABLE vault",
            "\"; DROP TABLE vault; --",
            "$1",
            "%",
            &too_long,
        ];
        for name in hostile {
            let error = TableName::new(name).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{name:?}");
        }
    }
}
