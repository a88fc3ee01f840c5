//! What a resuming run has to know, as bytes.

use crate::scan::envelope_kind::EnvelopeKind;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use super::{
    commit::PageOutcome,
    plan::RekeyMode,
    report::{PreviousRuns, RekeyCounts, Unresolved},
    shard::Shard,
    tried::{KEY_LEN, RecordTag},
};
use crate::crypto::envelope::Format;
use crate::crypto::kdf::KdfParams;
use crate::crypto::policy::OpenPolicy;
use crate::engine::settings;
use crate::scan::problem::{MAX_PROBLEMS, NotTriedCounts, Problem, ProblemAt, ProblemKind};
use vault_store::{RecordId, RowName, StoreError, VaultStore};

/// The position of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) origin: JobId,
    pub(super) asked: Asked,
    /// The current pass; the first is 1.
    pub(super) pass: u32,
    /// The cursor of the first pass. Later passes start over, because they cost little.
    pub(super) cursor: Option<RecordId>,
    /// Whether this pass has found anything to do so far.
    pub(super) found: bool,
    /// Records whose outcome a later pass may still change.
    pub(super) open: HashMap<RecordId, Unresolved>,
    /// The damaged and malformed records that were counted.
    pub(super) problems: HashSet<ProblemAt>,
    pub(super) counts: RekeyCounts,
    pub(super) before: BTreeMap<EnvelopeKind, u64>,
    pub(super) after: BTreeMap<EnvelopeKind, u64>,
    /// How many records each pair moved, by its number.
    pub(super) by_pair: BTreeMap<usize, u64>,
    /// How many records were moved by finished jobs with the same passwords and other options.
    pub(super) moved_before: u64,
}

/// The vault and the plan that a state belongs to. The passwords are its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobId {
    pub(super) vault: [u8; 32],
    pub(super) plan: [u8; 32],
}

/// The result of the merge check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    NotYet,
    Done { found: u64, unasked: u64 },
}

impl JobId {
    pub(super) async fn of(
        store: &dyn VaultStore,
        shard: Shard,
        dry_run: RekeyMode,
        policy: &OpenPolicy,
        written: &str,
    ) -> Result<Self, StoreError> {
        // The cost may change in the meantime; the salt never does.
        let kdf = store.setting(settings::KDF).await?.unwrap_or_default();
        let salt = kdf.rsplit('$').next().unwrap_or_default();
        let mut plan = Sha256::new();
        plan.update(format!("{shard} {dry_run:?} {written}"));
        for cost in &policy.v2_costs {
            plan.update(format!(" {cost:?}"));
        }
        // What was not tried has to be tried by a job that does.
        let OpenPolicy { limits, allow_v1, max_salts, .. } = policy;
        plan.update(format!(" {limits:?} {allow_v1} {max_salts}"));
        Ok(Self { vault: Sha256::digest(salt).into(), plan: plan.finalize().into() })
    }
}

impl Progress {
    pub(super) fn new(origin: JobId) -> Self {
        Self {
            origin,
            asked: Asked::NotYet,
            pass: 1,
            cursor: None,
            found: false,
            open: HashMap::new(),
            problems: HashSet::new(),
            counts: RekeyCounts::default(),
            before: BTreeMap::new(),
            after: BTreeMap::new(),
            by_pair: BTreeMap::new(),
            moved_before: 0,
        }
    }

    /// How many records each pair moved, in the order of the plan.
    pub(super) fn counts_by_pair(&self, pairs: usize) -> Vec<u64> {
        (0..pairs).map(|pair| self.by_pair.get(&pair).copied().unwrap_or_default()).collect()
    }

    /// Continues a finished job: examines the whole vault once more.
    pub(super) fn start_another_pass(&mut self) {
        self.pass = self.pass.saturating_add(1).max(2);
        (self.cursor, self.found) = (None, false);
    }

    /// Adds the outcome of a page.
    pub(super) fn add(&mut self, settled: &PageOutcome) {
        let page = &settled.counts;
        self.found |= page.rekeyed + page.conflict > 0 || !settled.marks.is_empty();
        for id in &settled.due {
            self.close(id);
        }
        let sum = &mut self.counts;
        sum.rekeyed += page.rekeyed;
        sum.other_password += page.other_password;
        sum.already_new += page.already_new;
        sum.conflict += page.conflict;
        sum.missing += page.missing;
        sum.failed += page.failed;
        sum.not_tried.add(&page.not_tried);
        self.open.extend(settled.open.iter().cloned());
        for problem in &settled.problems {
            self.count_problem(problem);
        }
        if self.pass == 1 {
            self.counts.malformed += settled.unnamed;
        }
        self.counts.scanned = self.counts.total();
        for (sealing, count) in &settled.before {
            *self.before.entry(*sealing).or_default() += count;
            *self.after.entry(*sealing).or_default() += count;
        }
        for ((from, to), count) in &settled.moved {
            let left = self.after.entry(*from).or_default();
            *left = left.saturating_sub(*count);
            *self.after.entry(*to).or_default() += count;
        }
        self.after.retain(|_, count| *count > 0);
        for (pair, count) in &settled.by_pair {
            *self.by_pair.entry(*pair).or_default() += count;
        }
    }

    /// Reverts how a record was counted that now has another outcome.
    fn close(&mut self, id: &RecordId) {
        match self.open.remove(id) {
            Some(Unresolved::Conflict) => self.counts.conflict -= 1,
            Some(Unresolved::Failed) => self.counts.failed -= 1,
            None => {}
        }
    }

    /// Counts as deleted an unresolved record that no longer exists.
    pub(super) fn count_missing(&mut self, id: &RecordId) {
        self.close(id);
        self.counts.missing += 1;
        self.counts.scanned = self.counts.total();
    }

    /// Counts a problem once. Of more than are listed, later passes cannot tell which are new, and
    /// count none.
    fn count_problem(&mut self, problem: &Problem) {
        let known = self.problems.contains(&problem.at);
        let room = self.problems.len() < MAX_PROBLEMS;
        if known || self.pass > 1 && !room {
            return;
        }
        match problem.kind {
            ProblemKind::Damaged => self.counts.damaged += 1,
            ProblemKind::Malformed(_) | ProblemKind::Unreadable(_) => self.counts.malformed += 1,
        }
        if room {
            self.problems.insert(problem.at.clone());
        }
    }

    pub(super) fn to_bytes(
        &self,
        earlier: &PreviousRuns,
        key: &[u8; KEY_LEN],
        marks: &HashSet<RecordTag>,
    ) -> Vec<u8> {
        let mut to = Writer(Vec::with_capacity(1024 + 8 * marks.len()));
        to.bytes(&self.origin.vault);
        to.bytes(&self.origin.plan);
        to.bytes(key);
        let (asked, found, unasked) = match self.asked {
            Asked::NotYet => (0, 0, 0),
            Asked::Done { found, unasked } => (1, found, unasked),
        };
        to.numbers(&[asked, found, unasked, u64::from(self.pass), u64::from(self.found)]);
        to.ids(self.cursor.iter());
        for open in [Unresolved::Conflict, Unresolved::Failed] {
            let ids = self.open.iter().filter(|(_, how)| **how == open);
            to.ids(ids.map(|(id, _)| id).collect::<Vec<_>>().into_iter());
        }
        let problems: Vec<_> = self.problems.iter().map(problem_id).collect();
        to.ids(problems.iter());
        to.earlier(earlier);
        to.sealings(&self.before);
        to.sealings(&self.after);
        to.numbers(&[self.moved_before, self.by_pair.len() as u64]);
        for (pair, count) in &self.by_pair {
            to.numbers(&[*pair as u64, *count]);
        }
        to.numbers(&[marks.len() as u64]);
        for mark in marks {
            to.numbers(&[*mark]);
        }
        to.0
    }

    /// `None` if [`to_bytes`](Self::to_bytes) does not produce such bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Restored> {
        let mut from = Reader(bytes);
        let origin = JobId { vault: from.array()?, plan: from.array()? };
        let key = from.array()?;
        let asked = match [from.number()?, from.number()?, from.number()?] {
            [0, _, _] => Asked::NotYet,
            [_, found, unasked] => Asked::Done { found, unasked },
        };
        let pass = u32::try_from(from.number()?).ok()?;
        let found = from.number()? != 0;
        let cursor = from.ids()?.pop();
        let conflicts = from.ids()?.into_iter().map(|id| (id, Unresolved::Conflict));
        let mut open: HashMap<_, _> = conflicts.collect();
        open.extend(from.ids()?.into_iter().map(|id| (id, Unresolved::Failed)));
        let problems = from.ids()?.into_iter().map(problem_at).collect();
        let earlier = from.earlier()?;
        let (before, after) = (from.sealings()?, from.sealings()?);
        let moved_before = from.number()?;
        let count = from.count(16)?;
        let pairs = (0..count).map(|_| Some((from.number()?.try_into().ok()?, from.number()?)));
        let by_pair = pairs.collect::<Option<_>>()?;
        let count = from.count(8)?;
        let marks = (0..count).map(|_| from.number()).collect::<Option<_>>()?;
        let progress = Self {
            origin,
            asked,
            pass,
            cursor,
            found,
            open,
            problems,
            counts: earlier.counts,
            before,
            after,
            by_pair,
            moved_before,
        };
        from.0.is_empty().then_some(Restored { progress, earlier, key, marks })
    }
}

/// A reader for the serialized form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Restored {
    pub(super) progress: Progress,
    pub(super) earlier: PreviousRuns,
    pub(super) key: [u8; KEY_LEN],
    pub(super) marks: HashSet<RecordTag>,
}

/// The prefix of the name of an unreadable row where ids are stored.
const ROW: &str = "\0row ";

/// The place of a problem among ids.
fn problem_id(at: &ProblemAt) -> RecordId {
    match at {
        ProblemAt::Record(id) => id.clone(),
        ProblemAt::Row(name) => RecordId::from_stored(format!("{ROW}{name}")),
    }
}

fn problem_at(id: RecordId) -> ProblemAt {
    match id.as_str().strip_prefix(ROW) {
        Some(name) => ProblemAt::Row(RowName::new(name)),
        None => ProblemAt::Record(id),
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.bytes(&number.to_be_bytes());
        }
    }

    fn ids<'a>(&mut self, ids: impl ExactSizeIterator<Item = &'a RecordId>) {
        self.numbers(&[ids.len() as u64]);
        for id in ids {
            self.numbers(&[id.as_bytes().len() as u64]);
            self.bytes(id.as_bytes());
        }
    }

    fn earlier(&mut self, earlier: &PreviousRuns) {
        let PreviousRuns { runs, counts, derivations, elapsed } = earlier;
        self.numbers(&[u64::from(*runs), *derivations, micros(*elapsed)]);
        self.numbers(&[
            counts.scanned,
            counts.rekeyed,
            counts.other_password,
            counts.already_new,
            counts.damaged,
            counts.malformed,
            counts.conflict,
            counts.missing,
            counts.failed,
            counts.not_tried.v1,
            counts.not_tried.below_floor,
            counts.not_tried.other_salts,
        ]);
    }

    fn sealings(&mut self, sealings: &BTreeMap<EnvelopeKind, u64>) {
        self.numbers(&[sealings.len() as u64]);
        for (EnvelopeKind { format, cost }, count) in sealings {
            let format = match format {
                Format::V1 => 1,
                Format::V2 => 2,
                Format::V3 => 3,
            };
            // a cost without passes means no cost
            let cost = cost.map_or([0; 3], |cost| [cost.m_cost(), cost.t_cost(), cost.p_cost()]);
            self.numbers(&[format, *count]);
            self.numbers(&cost.map(u64::from));
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads how many items of at least this many bytes follow: never more than there is room for.
    fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len() / least).then_some(count)
    }

    fn ids(&mut self) -> Option<Vec<RecordId>> {
        let count = self.count(8)?;
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let len = self.count(1)?;
            let (id, rest) = self.0.split_at(len);
            self.0 = rest;
            ids.push(RecordId::from_stored(std::str::from_utf8(id).ok()?));
        }
        Some(ids)
    }

    fn earlier(&mut self) -> Option<PreviousRuns> {
        let runs = u32::try_from(self.number()?).ok()?;
        let (derivations, elapsed) = (self.number()?, Duration::from_micros(self.number()?));
        let counts = RekeyCounts {
            scanned: self.number()?,
            rekeyed: self.number()?,
            other_password: self.number()?,
            already_new: self.number()?,
            damaged: self.number()?,
            malformed: self.number()?,
            conflict: self.number()?,
            missing: self.number()?,
            failed: self.number()?,
            not_tried: NotTriedCounts {
                v1: self.number()?,
                below_floor: self.number()?,
                other_salts: self.number()?,
            },
        };
        Some(PreviousRuns { runs, counts, derivations, elapsed })
    }

    fn sealings(&mut self) -> Option<BTreeMap<EnvelopeKind, u64>> {
        let count = self.count(40)?;
        let mut sealings = BTreeMap::new();
        for _ in 0..count {
            let format = match self.number()? {
                1 => Format::V1,
                2 => Format::V2,
                3 => Format::V3,
                _ => return None,
            };
            let records = self.number()?;
            let mut part = || u32::try_from(self.number()?).ok();
            let cost = match [part()?, part()?, part()?] {
                [_, 0, _] => None,
                [m, t, p] => Some(KdfParams::new(m, t, p).ok()?),
            };
            sealings.insert(EnvelopeKind { format, cost }, records);
        }
        Some(sealings)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored() -> Restored {
        let id = |text: &str| RecordId::from_stored(text);
        let counts = RekeyCounts { rekeyed: 1, failed: 2, malformed: 3, ..RekeyCounts::default() };
        let not_tried = NotTriedCounts { v1: 4, below_floor: 5, other_salts: 6 };
        let counts = RekeyCounts { scanned: 21, not_tried, ..counts };
        let v3 = EnvelopeKind { format: Format::V3, cost: Some(KdfParams::DEFAULT) };
        let v1 = EnvelopeKind { format: Format::V1, cost: None };
        let progress = Progress {
            asked: Asked::Done { found: 7, unasked: 8 },
            pass: 3,
            cursor: Some(id("cursor")),
            found: true,
            open: [(id("é"), Unresolved::Conflict), (id(""), Unresolved::Failed)].into(),
            problems: [
                ProblemAt::Record(id("damaged")),
                ProblemAt::Row(RowName::key("key", b"a\xff\\")),
            ]
            .into(),
            counts,
            before: [(v3, 11), (v1, 12)].into(),
            after: [(v3, 23)].into(),
            by_pair: [(0, 15), (2, 8)].into(),
            moved_before: 24,
            ..Progress::new(JobId { vault: [1; 32], plan: [2; 32] })
        };
        let elapsed = Duration::from_micros(10);
        let earlier = PreviousRuns { runs: 2, counts, derivations: 9, elapsed };
        Restored { progress, earlier, key: [3; KEY_LEN], marks: (0..1000).collect() }
    }

    fn bytes(of: &Restored) -> Vec<u8> {
        of.progress.to_bytes(&of.earlier, &of.key, &of.marks)
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(Progress::from_bytes(&bytes(&restored())), Some(restored()));
        let fresh = Restored {
            progress: Progress::new(restored().progress.origin),
            earlier: PreviousRuns::default(),
            key: [3; KEY_LEN],
            marks: HashSet::new(),
        };
        assert_eq!(Progress::from_bytes(&bytes(&fresh)), Some(fresh));
    }

    #[test]
    fn no_cut_is_read_and_no_count_takes_memory_that_is_not_there() {
        let bytes = bytes(&Restored { marks: (0..9).collect(), ..restored() });
        for len in 0..bytes.len() {
            assert_eq!(Progress::from_bytes(&bytes[..len]), None);
            if len < bytes.len() - 8 {
                let huge = [&bytes[..len], &[0xff; 8]].concat();
                assert_eq!(Progress::from_bytes(&huge), None, "{len}");
            }
        }
    }
}
