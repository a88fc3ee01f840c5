//! The results of a rekey.

use crate::scan::envelope_kind::EnvelopeKind;
use std::{collections::BTreeMap, time::Duration};

use super::{
    marks::Marks,
    plan::{Marking, MergeCheck},
};
use crate::crypto::envelope::Format;
use crate::crypto::kdf::KdfSetting;
use crate::scan::problem::{NotTriedCounts, Problem};
use vault_store::{RecordId, WriteHook};

/// The records of a rekey by outcome. Every scanned record is counted under exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RekeyCounts {
    /// Records processed.
    pub scanned: u64,
    /// Opened under an old password, and now durably stored under its new one. In a dry run: would
    /// be.
    pub rekeyed: u64,
    /// Opens under none of the old passwords.
    pub other_password: u64,
    /// Opens under one of the new passwords (checked where this is cheap: v1, and v3 once its salt
    /// is known).
    pub already_new: u64,
    /// Modified since it was written, or moved from another record.
    pub damaged: u64,
    /// Not an envelope that this version reads.
    pub malformed: u64,
    /// Writers kept changing it while the engine tried to replace it; it was left as written.
    pub conflict: u64,
    /// Deleted in the meantime.
    pub missing: u64,
    /// The store refused it repeatedly; it is still under its old password.
    pub failed: u64,
    /// No password was tried on it, because the caller's
    /// [`OpenPolicy`](crate::envelope::OpenPolicy) does not trust its form.
    pub not_tried: NotTriedCounts,
}

impl RekeyCounts {
    /// Returns the sum of the outcomes, which equals `scanned`.
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
            + self.not_tried.total()
    }
}

/// How a run ended.
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// It has not ended: there are records left to scan.
    Running,
    /// The last pass over the whole vault found nothing to do, or there were no other writes since
    /// it started: no record whose last write preceded it is under an old password, except those
    /// counted as conflict or failed.
    Complete,
    /// Records under an old password kept appearing: another writer is still using it.
    NotConverged,
    /// The caller stopped it; running it again completes the job.
    Stopped,
    /// A new password is already in use, and the plan does not permit a merge. Nothing was written.
    Refused,
    /// An error ended it.
    Failed,
}

/// What a rekey has done so far: exactly what was committed.
///
/// The counts and kinds cover the whole job, including the part done by earlier runs. Work figures
/// and times cover only this run.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run")]
pub struct RekeyReport {
    /// The records by outcome: all that the first pass found, and what later passes found to do.
    pub counts: RekeyCounts,
    /// The first [`MAX_PROBLEMS`](crate::scan::problem::MAX_PROBLEMS) damaged and malformed
    /// records.
    pub problems: Vec<Problem>,
    /// How the intact records were sealed before.
    pub before: BTreeMap<EnvelopeKind, u64>,
    /// How these records are sealed now. In a dry run: would be.
    pub after: BTreeMap<EnvelopeKind, u64>,
    /// What the previous runs did that this one resumes.
    pub earlier: PreviousRuns,
    /// Whether an earlier run had made the merge check: a run that resumes it is not refused.
    pub(super) asked_before: bool,
    /// Whether an earlier run of the same plan had finished the job, and this one looked for what
    /// was written since.
    pub already_done: bool,
    /// How many records were re-encrypted by finished jobs with the same passwords and other
    /// options, such as another shard or another choice about v1. They are not in the counts.
    pub moved_before: u64,
    /// How many records were re-encrypted from each pair of the plan, in its order. A record of
    /// chained pairs whose write was not reported, because the process was killed, is in none.
    pub by_pair: Vec<u64>,
    /// Why the store refused the records counted as failed: up to five different reasons.
    pub failures: Vec<FailureReason>,
    /// The result of the merge check.
    pub merge: MergeReport,
    /// How many v3 records were decided by their headers, because no old password opens them: what
    /// follows the header was not checked for damage
    /// ([`BodyCheck`](crate::engine::rekey::BodyCheck)). Of all passes of this run, the most.
    pub bodies_not_checked: u64,
    /// Number of completed passes over the whole vault after the first.
    pub catch_up_passes: u32,
    /// How many times a concurrently changed record was read and tried again.
    pub conflicts_settled: u64,
    /// Number of batches retried after an error.
    pub retries: u64,
    /// Number of pages committed, or scanned if nothing matched.
    pub pages: u64,
    /// Number of Argon2id computations.
    pub derivations: u64,
    /// Time since the start of the run.
    pub elapsed: Duration,
    /// Time of each stage; the stages follow one another.
    pub stages: StageTimes,
    /// Time during which a page was being read, concurrently with everything else.
    pub read_time: Duration,
    /// CPU time of opening and sealing envelopes, summed over the workers.
    pub crypto_time: Duration,
    /// Time during which a batch was being written and its conflicts resolved.
    pub commit_time: Duration,
    /// Number of workers.
    pub workers: usize,
    /// The vault's setting `kdf`, if more than half of the v3 records have one other salt or cost.
    /// The check before the first write finds it. A run without that check reads a sample before
    /// the first write: every record of a vault of up to 16,384, or about a thousand from all over
    /// a larger one; its first pass then counts all.
    pub kdf_doubt: Option<KdfDoubt>,
    /// Records that the run would mark, or did: written in another form than others of theirs. It
    /// is known before the first write, unless the plan permits marks and makes no merge check.
    pub marks: Marks,
    /// For an upgrade, the first 1,000 records that have another form and that no password opens.
    pub left: Vec<RecordId>,
    /// Whether records stay under their password.
    pub upgrades: bool,
    /// What the plan says about marks.
    pub(super) marking: Marking,
    /// Settings by which the database may log which records are rekeyed, each as `name = value`.
    pub statement_logs: Vec<String>,
    /// Triggers and rules of the database that act on each rekeyed record.
    pub write_hooks: Vec<WriteHook>,
    /// Whether this was a dry run.
    pub dry_run: bool,
    /// How it ended.
    pub end: RunStatus,
}

/// Why the store refused records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailureReason {
    /// The store's message, without any id.
    pub reason: String,
    /// How often it occurred. A record that fails again in a later pass counts again.
    pub records: u64,
}

/// Maximum number of different reasons in a report.
pub(super) const MAX_REASONS: usize = 5;

/// What the previous runs did that a run resumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreviousRuns {
    /// Number of runs.
    pub runs: u32,
    /// Their counts, which are included in those of the report.
    pub counts: RekeyCounts,
    /// Their Argon2id computations.
    pub derivations: u64,
    /// Their time.
    pub elapsed: Duration,
}

/// The result of the merge check: whether a new password already opened records before the first
/// write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeReport {
    /// Which records were to be checked.
    pub check: MergeCheck,
    /// How many this run checked.
    pub asked: u64,
    /// How many a new password opened.
    pub found: u64,
    /// How many v2 records were not checked, because each would cost an Argon2id.
    pub unasked: u64,
}

/// A vault's setting `kdf` that disagrees with most of its records: with their salt, or with a
/// lower cost.
///
/// Its owner may have changed it, or anybody else who can write to the database. Records keep their
/// salt, and their cost where it is higher, unless the plan asks for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KdfDoubt {
    /// The setting.
    pub setting: KdfSetting,
    /// What more than half of the v3 records have instead.
    pub most: KdfSetting,
    /// How many have that, or a little more: of a vault with over 1,000 salts and costs, not all
    /// are counted.
    pub records: u64,
    /// Of how many v3 records.
    pub of: u64,
}

/// How long each stage of a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageTimes {
    /// Before the first record: settings, master keys.
    pub prepare: Duration,
    /// The merge check.
    pub merge_check: Duration,
    /// The first pass.
    pub first_pass: Duration,
    /// The later passes.
    pub catch_up: Duration,
}

impl RekeyReport {
    /// Returns whether anything needs attention: damaged, malformed, conflicting or failed records,
    /// records that no password was tried on, or another writer that keeps using an old password.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        let counts = &self.counts;
        let untried = counts.not_tried.total();
        counts.damaged + counts.malformed + counts.conflict + counts.failed + untried > 0
            || self.end == RunStatus::NotConverged
    }

    /// Returns whether no record was re-encrypted by this run, those that it resumes and finished
    /// jobs with the same passwords, and the store refused none: never a success by itself,
    /// whatever is under the new password.
    #[must_use]
    pub fn moved_nothing(&self) -> bool {
        self.counts.rekeyed + self.counts.failed + self.counts.conflict + self.moved_before == 0
            && !self.already_done
    }

    /// Returns the number of v2 records that no old password opened: only their own password can
    /// tell whether they are damaged.
    #[must_use]
    pub fn not_checkable(&self) -> u64 {
        // The cost of what was opened is known.
        let unopened = EnvelopeKind { format: Format::V2, cost: None };
        self.after.get(&unopened).copied().unwrap_or_default()
    }

    /// Returns how many records this run re-encrypted, without previous runs.
    #[must_use]
    pub fn rekeyed_now(&self) -> u64 {
        self.counts.rekeyed.saturating_sub(self.earlier.counts.rekeyed)
    }

    /// Returns whether a rekey of this plan would merge its records with others. Only a dry run
    /// ends with this; a rekey is refused. One that resumes a run has the answer of that run.
    #[must_use]
    pub fn would_merge(&self) -> bool {
        let found = if self.asked_before { 0 } else { self.counts.already_new };
        self.merge.check != MergeCheck::Off
            && self.rekeyed_now() > 0
            && found + self.merge.found > 0
    }
}

impl RekeyReport {
    /// Returns whether a rekey of this plan would mark records, and be refused for it. Only a dry
    /// run ends with this.
    #[must_use]
    pub fn would_mark(&self) -> bool {
        self.marking == Marking::Refuse && self.rekeyed_now() > 0 && !self.marks.is_empty()
    }
}

/// How a record was counted that is still under its old password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    Conflict,
    Failed,
}
