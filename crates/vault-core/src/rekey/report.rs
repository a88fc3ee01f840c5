//! What a rekey did, counted.

use std::time::Duration;

use crate::{Malformed, RecordId, Unopenable};

/// How many damaged and malformed ids a report lists; the counts are exact whatever their number.
pub const MAX_PROBLEMS: usize = 1000;

/// The records of a rekey by outcome. Every scanned record is counted under exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekeyCounts {
    /// Taken from the store and finished with.
    pub scanned: u64,
    /// Opened under an old password, and now stored under its new one, durably. In a dry run: would be.
    pub rekeyed: u64,
    /// Opens under none of the old passwords.
    pub other_password: u64,
    /// Opens under one of the new passwords (asked where asking is cheap: v1, and v3 once its salt is known).
    pub already_new: u64,
    /// Changed since it was written, or moved from another id.
    pub damaged: u64,
    /// Not an envelope that this version reads.
    pub malformed: u64,
    /// A writer changed it again and again while it was being settled; it was left as the writer wrote it.
    pub conflict: u64,
    /// Deleted meanwhile.
    pub missing: u64,
    /// The store refused it, also after trying again; it is still under its old password.
    pub failed: u64,
}

impl RekeyCounts {
    /// The sum over the outcomes, which equals `scanned`.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rekeyed
            + self.other_password
            + self.already_new
            + self.damaged
            + self.malformed
            + self.conflict
            + self.missing
            + self.failed
    }
}

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

impl From<Unopenable> for ProblemKind {
    fn from(unopenable: Unopenable) -> Self {
        match unopenable {
            Unopenable::Damaged => Self::Damaged,
            Unopenable::Malformed(malformed) => Self::Malformed(malformed),
        }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It has not: there are records left to scan.
    Running,
    /// Every record was scanned.
    Complete,
    /// The caller stopped it; the same run started again does the rest.
    Stopped,
    /// An error ended it.
    Failed,
}

/// What a rekey did so far: exactly what was committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RekeyReport {
    /// The records by outcome.
    pub counts: RekeyCounts,
    /// The first [`MAX_PROBLEMS`] damaged and malformed records, in the order of their ids.
    pub problems: Vec<Problem>,
    /// How many times a record that a writer had changed meanwhile was read and tried again.
    pub conflicts_settled: u64,
    /// How many batches were tried again after an error.
    pub retries: u64,
    /// How many pages were committed, or scanned where nothing matched.
    pub pages: u64,
    /// How many Argon2id computations were made.
    pub derivations: u64,
    /// Time since the run began.
    pub elapsed: Duration,
    /// Processor time of reading and sealing envelopes, summed over the workers.
    pub crypto_time: Duration,
    /// Time in which a batch was being written and settled.
    pub commit_time: Duration,
    /// How many workers there were.
    pub workers: usize,
    /// Whether nothing was written because the plan said so.
    pub dry_run: bool,
    /// Why it ended.
    pub end: RunEnd,
}

impl RekeyReport {
    /// Whether records remain that need a person's eye: damaged, malformed, conflicting or failed.
    #[must_use]
    pub fn has_remains(&self) -> bool {
        self.counts.damaged + self.counts.malformed + self.counts.conflict + self.counts.failed > 0
    }

    /// Whether nothing matched and nothing was under the new password yet: never a success by itself.
    #[must_use]
    pub fn found_nothing(&self) -> bool {
        self.counts.rekeyed + self.counts.already_new == 0
    }
}
