//! Unreadable rows: how they are named, and why they cannot be read.

use std::fmt;

/// The longest id or token that is written or loaded, in bytes: 4 KiB.
///
/// This is sixteen times what every store holds (255 bytes), and more than a Postgres index
/// accepts. A row with a longer one is an [`UnreadableRow`]: it is not loaded, so that no row can
/// exhaust memory.
pub const MAX_KEY_LEN: usize = 4096;

/// How many bytes of a key the name of a row shows.
const SHOWN_LEN: usize = 64;

/// A row whose id or token cannot be read. A page names it and hides no other row because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// What the row is called in its database.
    pub name: RowName,
    /// Why it cannot be read.
    pub reason: UnreadableReason,
    /// How many more unreadable rows follow it directly that the page does not name.
    pub more: u64,
    /// How many records of the page come before it.
    pub position: usize,
}

impl UnreadableRow {
    /// How many rows this stands for.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.more.saturating_add(1)
    }
}

/// What an operator finds an unreadable row by, such as `rowid 17`. It holds printable ASCII only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowName(Box<str>);

impl RowName {
    /// The number of a row.
    #[must_use]
    pub fn number(what: &str, number: i64) -> Self {
        Self::new(format!("{what} {number}"))
    }

    /// The first bytes of a row's key, in quotes and escaped.
    #[must_use]
    pub fn key(what: &str, key: &[u8]) -> Self {
        let shown = &key[..key.len().min(SHOWN_LEN)];
        let cut = if shown.len() < key.len() { "..." } else { "" };
        Self::new(format!("{what} \"{}\"{cut}", shown.escape_ascii()))
    }

    /// A name as a text; what is not printable ASCII is escaped.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        let is_plain = |character: char| character.is_ascii_graphic() || character == ' ';
        let mut shown = String::new();
        for character in name.as_ref().chars() {
            if is_plain(character) {
                shown.push(character);
            } else {
                shown.extend(character.escape_default());
            }
        }
        Self(shown.into())
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a row cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableReason {
    /// It has no id.
    #[error("its id is NULL")]
    NoId,
    /// Its id is of another type, or not UTF-8.
    #[error("its id is not UTF-8 text")]
    IdNotText,
    /// Its id is longer than [`MAX_KEY_LEN`].
    #[error("its id has {len} bytes, and at most {MAX_KEY_LEN} are read")]
    IdTooLong {
        /// The length in bytes.
        len: u64,
    },
    /// Its token is longer than [`MAX_KEY_LEN`].
    #[error("its token has {len} bytes, and at most {MAX_KEY_LEN} are read")]
    TokenTooLong {
        /// The length in bytes.
        len: u64,
    },
    /// Its token is not UTF-8, in a store that keeps rows of its own layout.
    #[error("its token is not UTF-8 text")]
    TokenNotText,
    /// The row itself is cut short, or of an unknown layout.
    #[error("the row is damaged")]
    Damaged,
}

impl UnreadableReason {
    /// Why an id or token of these lengths is not loaded, if so.
    #[must_use]
    pub fn of_lengths(id: usize, token: usize) -> Option<Self> {
        if id > MAX_KEY_LEN {
            return Some(Self::IdTooLong { len: id as u64 });
        }
        (token > MAX_KEY_LEN).then_some(Self::TokenTooLong { len: token as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_printable_and_bounded_whatever_the_key_holds() {
        assert_eq!(RowName::number("rowid", -1).as_str(), "rowid -1");
        assert_eq!(RowName::key("key", b"a\xff\"\x1b").as_str(), r#"key "a\xff\"\x1b""#);
        assert_eq!(RowName::new("é\u{202e}\n").as_str(), r"\u{e9}\u{202e}\n");
        assert!(RowName::key("key", &vec![0xff; 100_000]).as_str().len() < 300);
    }

    #[test]
    fn lengths_up_to_the_maximum_are_read() {
        assert_eq!(UnreadableReason::of_lengths(MAX_KEY_LEN, MAX_KEY_LEN), None);
        let len = MAX_KEY_LEN as u64 + 1;
        let (long, max) = (MAX_KEY_LEN + 1, MAX_KEY_LEN);
        let of = UnreadableReason::of_lengths;
        assert_eq!(of(long, max), Some(UnreadableReason::IdTooLong { len }));
        assert_eq!(of(max, long), Some(UnreadableReason::TokenTooLong { len }));
    }
}
