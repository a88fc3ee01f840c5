//! What a rekey did, counted.

use crate::scan::envelope_kind::EnvelopeKind;
use std::{collections::BTreeMap, time::Duration};

use super::plan::MergeCheck;
use crate::crypto::envelope::Format;
use crate::scan::problem::Problem;
use vault_store::WriteHook;

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

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It has not: there are records left to scan.
    Running,
    /// The last pass over the whole vault found nothing to do, or nobody else wrote since it began: no record whose last
    /// write came before it is under an old password, but those that the report counts as conflict or failed.
    Complete,
    /// Pass after pass, records under an old password were found: somebody still writes with it.
    NotConverged,
    /// The caller stopped it; the same run started again does the rest.
    Stopped,
    /// A new password is in use already, and the plan does not allow to merge with its records. Nothing was written.
    Refused,
    /// An error ended it.
    Failed,
}

/// What a rekey did so far: exactly what was committed.
///
/// The counts and the sealings are of the whole job, also when earlier runs did part of it; numbers and times of the
/// work are of this run alone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RekeyReport {
    /// The records by outcome: all that the first pass found, and what later passes found to do.
    pub counts: RekeyCounts,
    /// The first [`MAX_PROBLEMS`](crate::scan::problem::MAX_PROBLEMS) damaged and malformed records.
    pub problems: Vec<Problem>,
    /// How the records were sealed that were found sound.
    pub before: BTreeMap<EnvelopeKind, u64>,
    /// How these records are sealed now. In a dry run: would be.
    pub after: BTreeMap<EnvelopeKind, u64>,
    /// What the runs did that this one resumes.
    pub earlier: PreviousRuns,
    /// Whether an earlier run of the same plan had finished the job, and this one looked for what was written since.
    pub already_done: bool,
    /// Why the store refused the records that are counted as failed: up to five different reasons.
    pub failures: Vec<FailureReason>,
    /// What the vault was asked before the first write.
    pub merge: MergeReport,
    /// Passes over the whole vault after the first that came to their end.
    pub catch_up_passes: u32,
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
    /// Time in each stage; the stages follow each other.
    pub stages: StageTimes,
    /// Time in which a page was being read, beside everything else.
    pub read_time: Duration,
    /// Processor time of reading and sealing envelopes, summed over the workers.
    pub crypto_time: Duration,
    /// Time in which a batch was being written and settled.
    pub commit_time: Duration,
    /// How many workers there were.
    pub workers: usize,
    /// Triggers and rules of the database that act on each record that is rekeyed.
    pub write_hooks: Vec<WriteHook>,
    /// Whether nothing was written because the plan said so.
    pub dry_run: bool,
    /// Why it ended.
    pub end: RunStatus,
}

/// Why the store refused records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureReason {
    /// What the store said, without any id.
    pub reason: String,
    /// How often it said so. A record that fails again in a later pass counts again.
    pub records: u64,
}

/// How many different reasons a report lists.
pub(super) const MAX_REASONS: usize = 5;

/// What the runs did that a run resumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreviousRuns {
    /// How many there were.
    pub runs: u32,
    /// The records that they counted, which the counts of the report include.
    pub counts: RekeyCounts,
    /// Their Argon2id computations.
    pub derivations: u64,
    /// Their time.
    pub elapsed: Duration,
}

/// What the vault was asked before the first write: whether a new password opens records already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// Which records were to be asked.
    pub check: MergeCheck,
    /// How many were asked by this run.
    pub asked: u64,
    /// How many a new password opened.
    pub found: u64,
    /// How many v2 records were not asked, because each answer costs an Argon2id.
    pub unasked: u64,
}

/// How long each stage of a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Until the first record was looked at: settings, master keys.
    pub prepare: Duration,
    /// Asking whether the new passwords open records already.
    pub merge_check: Duration,
    /// The first pass.
    pub first_pass: Duration,
    /// The passes after it.
    pub catch_up: Duration,
}

impl RekeyReport {
    /// Whether records remain that need a person's eye: damaged, malformed, conflicting, failed, or still being written
    /// under an old password.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        let counts = &self.counts;
        counts.damaged + counts.malformed + counts.conflict + counts.failed > 0
            || self.end == RunStatus::NotConverged
    }

    /// Whether no record was re-encrypted, neither by this run nor by those that it resumes, and the store refused none
    /// either: never a success by itself, whatever is under the new password.
    #[must_use]
    pub fn moved_nothing(&self) -> bool {
        self.counts.rekeyed + self.counts.failed + self.counts.conflict == 0 && !self.already_done
    }

    /// Records of v2 that no old password opened: whether they are damaged, only their own password can tell.
    #[must_use]
    pub fn not_checkable(&self) -> u64 {
        // Of what was opened the cost is known.
        let unopened = EnvelopeKind { format: Format::V2, cost: None };
        self.after.get(&unopened).copied().unwrap_or_default()
    }

    /// How many records this run re-encrypted, without those before it.
    #[must_use]
    pub fn rekeyed_now(&self) -> u64 {
        self.counts.rekeyed.saturating_sub(self.earlier.counts.rekeyed)
    }

    /// Whether a rekey of this plan would merge its records with others: only a dry run ends with this, a rekey is
    /// refused.
    #[must_use]
    pub fn would_merge(&self) -> bool {
        self.merge.check != MergeCheck::Off
            && self.counts.rekeyed > 0
            && self.counts.already_new + self.merge.found > 0
    }
}

/// How a record was counted that is still under its old password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    Conflict,
    Failed,
}
