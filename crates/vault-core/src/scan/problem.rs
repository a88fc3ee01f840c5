//! Damaged and malformed records.

use vault_store::{RecordId, RowName, UnreadableReason, UnreadableRow};

use crate::crypto::{envelope::Malformed, seal::Rejected};

/// How many damaged and malformed ids a report lists. The counts are always exact.
pub const MAX_PROBLEMS: usize = 1000;

/// A record that no password opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The record.
    pub at: ProblemAt,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

impl Problem {
    /// A problem of a record with an id.
    pub(crate) fn of(id: RecordId, kind: ProblemKind) -> Self {
        Self { at: ProblemAt::Record(id), kind }
    }

    /// A problem of a row that cannot be read.
    pub(crate) fn of_row(row: UnreadableRow) -> Self {
        Self { at: ProblemAt::Row(row.name), kind: ProblemKind::Unreadable(row.reason) }
    }
}

/// The location of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ProblemAt {
    /// In the record with this id.
    Record(RecordId),
    /// In a row whose id or token cannot be read.
    Row(RowName),
}

impl ProblemAt {
    /// Returns the id of the record; `None` if it cannot be read.
    #[must_use]
    pub fn id(&self) -> Option<&RecordId> {
        match self {
            Self::Record(id) => Some(id),
            Self::Row(_) => None,
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// Modified since it was written, or moved from another record. Which of the two is not
    /// reported: the second would reveal that the record belongs to the password that was tried.
    Damaged,
    /// Not an envelope that this version reads.
    Malformed(Malformed),
    /// Its row cannot be read: it counts as malformed.
    Unreadable(UnreadableReason),
}

impl From<Rejected> for ProblemKind {
    fn from(unopenable: Rejected) -> Self {
        match unopenable {
            Rejected::Damaged => Self::Damaged,
            Rejected::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}
