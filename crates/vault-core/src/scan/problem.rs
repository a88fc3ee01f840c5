//! Damaged and malformed records.

use vault_store::{RecordId, RowName, UnreadableReason, UnreadableRow};

use crate::crypto::{envelope::Malformed, policy::NotTried, seal::Rejected};

/// How many damaged and malformed ids a report lists. The counts are always exact.
pub const MAX_PROBLEMS: usize = 1000;

/// A record that no password opens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
///
/// Exhaustive on purpose: a caller has to handle each outcome.
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

/// Sorts what no password was tried on: problems, and what the policy leaves out.
pub(crate) fn problem_of(rejected: Rejected) -> Result<ProblemKind, NotTried> {
    match rejected {
        Rejected::Damaged => Ok(ProblemKind::Damaged),
        Rejected::Malformed(malformed) => Ok(ProblemKind::Malformed(malformed)),
        Rejected::NotTried(why) => Err(why),
    }
}

/// Records that no password was tried on, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotTriedCounts {
    /// Of v1, which the policy does not allow.
    pub v1: u64,
    /// Of v3, with a cost below the floor.
    pub below_floor: u64,
    /// Of v3, with a salt and cost beyond as many as the policy tries besides the vault's own.
    pub other_salts: u64,
}

impl NotTriedCounts {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.v1 + self.below_floor + self.other_salts
    }

    pub(crate) fn count(&mut self, why: NotTried) {
        *match why {
            NotTried::V1 => &mut self.v1,
            NotTried::BelowFloor(_) => &mut self.below_floor,
            NotTried::Salt => &mut self.other_salts,
        } += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.v1 += other.v1;
        self.below_floor += other.below_floor;
        self.other_salts += other.other_salts;
    }
}
