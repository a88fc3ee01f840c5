//! Damaged and malformed records.

use vault_store::RecordId;

use crate::crypto::{envelope::Malformed, seal::Rejected};

/// How many damaged and malformed ids a report lists. The counts are always exact.
pub const MAX_PROBLEMS: usize = 1000;

/// A record that no password opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The record.
    pub id: RecordId,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Modified since it was written, or moved from another record. Which of the two is not
    /// reported: the second would reveal that the record belongs to the password that was tried.
    Damaged,
    /// Not an envelope that this version reads.
    Malformed(Malformed),
}

impl From<Rejected> for ProblemKind {
    fn from(unopenable: Rejected) -> Self {
        match unopenable {
            Rejected::Damaged => Self::Damaged,
            Rejected::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}
