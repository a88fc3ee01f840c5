//! Password identities: what the Go package stored for a time about which records share a password.

use crate::scrub::Remains;

/// How many rows of a vault say which records share a password.
///
/// The Go package wrote them for one version: a hash of each password, and for each record a link
/// to the hash of its password. Anyone who reads them can group the records by password without any
/// password, and test guesses at the cost of the hash, which is below that of the records. A rekey
/// neither reads nor changes them, so the links of records that it moved keep naming the hash of
/// the old password. This program never writes any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordIdentities {
    /// Rows about passwords: their hashes.
    pub identities: u64,
    /// Rows about records: links to such a hash.
    pub links: u64,
}

impl PasswordIdentities {
    /// Returns whether there is no such row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The result of removing [`PasswordIdentities`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurgedIdentities {
    /// What was removed.
    pub removed: PasswordIdentities,
    /// Where the removed rows may still be read, as far as the store can know.
    pub remains: Vec<Remains>,
}

impl PurgedIdentities {
    /// Creates a report with what was removed, and nothing that remains.
    #[must_use]
    pub fn of(removed: PasswordIdentities) -> Self {
        Self { removed, remains: Vec::new() }
    }
}
