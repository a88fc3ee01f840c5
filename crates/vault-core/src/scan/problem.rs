//! Records that a scan could not make sense of.

use vault_store::RecordId;

use crate::crypto::{envelope::Malformed, seal::Rejected};

/// How many damaged and malformed ids a report lists; the counts are exact whatever their number.
pub const MAX_PROBLEMS: usize = 1000;

/// A record that nobody can open, whatever the password.
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
    /// Changed since it was written, or moved from another id. Which of the two is not told: the second would tell
    /// that the record belongs to the password at hand.
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
