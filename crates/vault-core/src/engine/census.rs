//! Census and verification: what a vault contains, and which password opens what.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::crypto::envelope::{Envelope, Format, Malformed, V2Params};
use crate::crypto::kdf::{KdfMemory, KdfSetting};
use crate::crypto::key::PasswordKey;
use crate::crypto::policy::{NotTried, OpenPolicy};
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{Candidate, OpenOutcome, check_all, open_all};
use crate::crypto::secret::Plaintext;
use crate::engine::probe::Probe;
use crate::scan::error::ScanError;
use crate::scan::options::RunOptions;
use crate::scan::problem::{MAX_PROBLEMS, NotTriedCounts, Problem, ProblemKind, problem_of};
use crate::scan::retry::Retry;
use crate::scan::workers::Workers;
use crate::scan::{Examine, Scan};
use vault_store::{RecordId, SealedRecord, UnreadableRow, VaultStore};

/// Judges an opened value, for callers who know what it must be.
pub type ValueCheck = Arc<dyn Fn(&RecordId, &Plaintext) -> ValueVerdict + Send + Sync>;

/// The verdict of a [`ValueCheck`].
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueVerdict {
    /// The value is right.
    Right,
    /// The value is wrong.
    Wrong,
}

/// Options for a census.
#[derive(Default)]
pub struct CensusPlan {
    keys: Vec<Arc<PasswordKey>>,
    check: Option<ValueCheck>,
    list_unopened: Unopened,
    options: RunOptions,
}

/// Whether to list the records that no given password opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unopened {
    /// Only count them.
    #[default]
    Count,
    /// List the first [`MAX_PROBLEMS`].
    List,
    /// List every one, and every damaged and malformed record too: [`CensusSession::take_listed`]
    /// hands them over, so that they need not all be kept in memory.
    All,
}

impl CensusPlan {
    /// A census without passwords: formats, costs, sizes and damage, which need none.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also tries this key on each record. A record counts for the first key that opens it.
    #[must_use]
    pub fn key(mut self, key: Arc<PasswordKey>) -> Self {
        self.keys.push(key);
        self
    }

    /// Also judges every opened value.
    #[must_use]
    pub fn check_values(mut self, check: ValueCheck) -> Self {
        self.check = Some(check);
        self
    }

    /// Sets whether to list the records that none of the keys opens.
    #[must_use]
    pub fn list_unopened(mut self, list: Unopened) -> Self {
        self.list_unopened = list;
        self
    }

    /// Sets workers, memory and page sizes.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }
}

/// The findings of a census so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CensusReport {
    /// Records examined.
    pub scanned: u64,
    /// Records by format.
    pub formats: BTreeMap<Format, u64>,
    /// v3 records by salt and cost. A vault has one salt and cost, or more after a change of cost
    /// or a merge.
    pub kdfs: HashMap<KdfSetting, u64>,
    /// Bytes of envelope text.
    pub envelope_bytes: u64,
    /// The longest envelope text, in bytes.
    pub longest_envelope: u64,
    /// Records that were modified since they were written, or were moved.
    pub damaged: u64,
    /// Records that are not envelopes, and unreadable rows.
    pub malformed: u64,
    /// v1 and v2 records that no key opened: only their own password can tell whether they are
    /// damaged.
    pub unchecked: u64,
    /// Those of v2 among them.
    unopened_v2: u64,
    /// For each key of the plan, in order: how many records it opened.
    pub opened: Vec<u64>,
    /// Records without a problem that no key of the plan opened, including those that no key was
    /// tried on.
    pub unopened: u64,
    /// Records that no key was tried on. Without keys, only the costs below the floor are counted.
    pub not_tried: NotTriedCounts,
    /// Opened records whose value the plan's check found wrong.
    pub wrong_values: u64,
    /// The first [`MAX_PROBLEMS`] damaged and malformed records.
    pub problems: Vec<Problem>,
    /// The first [`MAX_PROBLEMS`] records that no key opened, if the plan lists them.
    pub unopened_ids: Vec<RecordId>,
    /// Number of Argon2id computations.
    pub derivations: u64,
    /// Time since the start.
    pub elapsed: Duration,
}

impl CensusReport {
    /// Whether there are v2 records that no key opened, which a wrong cost looks like.
    #[must_use]
    pub fn has_unopened_v2(&self) -> bool {
        self.unopened_v2 > 0
    }
}

/// How many v3 salts a census distinguishes; a hostile vault must not exhaust memory with them.
const MAX_KDFS: usize = 1000;

/// A census in progress. Dropping it ends it; nothing is ever written.
pub struct CensusSession {
    store: Arc<dyn VaultStore>,
    workers: Arc<Workers>,
    inspector: Arc<Inspector>,
    scan: Scan<Inspector>,
    list_unopened: Unopened,
    started: Instant,
    total: u64,
    report: CensusReport,
}

impl CensusSession {
    pub(crate) async fn start(
        store: Arc<dyn VaultStore>,
        plan: CensusPlan,
        policy: OpenPolicy,
        own: Option<KdfSetting>,
    ) -> Result<Self, ScanError> {
        let total = store.count().await?;
        let dearest =
            policy.v2_costs.iter().map(V2Params::params).max_by_key(|params| params.m_cost());
        let workers = Arc::new(plan.options.start_workers(
            total,
            dearest.copied().unwrap_or_default(),
            &[],
        )?);
        let retry = Retry::new(Arc::clone(&plan.options.timer));
        let report = CensusReport { opened: vec![0; plan.keys.len()], ..CensusReport::default() };
        // Without keys nothing is derived.
        let policy = if plan.keys.is_empty() {
            RunPolicy::of_own_output(OpenPolicy { allow_v1: true, ..policy })
        } else {
            RunPolicy::new(policy, own)
        };
        let inspector = Arc::new(Inspector { keys: plan.keys, check: plan.check, policy });
        let scan = Scan::new(
            Arc::new(Arc::clone(&store)),
            Arc::clone(&inspector),
            Arc::clone(&workers),
            retry,
            plan.options.page(),
        );
        let (list_unopened, started) = (plan.list_unopened, Instant::now());
        Ok(Self { store, workers, inspector, scan, list_unopened, started, total, report })
    }

    /// Returns how many records the vault held at the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Examines the next records, up to about two seconds of work; `None` once every record was
    /// examined.
    ///
    /// # Errors
    /// [`ScanError`] if continuing is pointless.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing; the next call continues.
    pub async fn step(&mut self) -> Result<Option<&CensusReport>, ScanError> {
        let step = std::future::poll_fn(|cx| self.scan.poll_next(cx)).await;
        self.report.elapsed = self.started.elapsed();
        let Some(examined) = step.transpose()? else { return Ok(None) };
        self.report.derivations += examined.derivations;
        for inspected in examined.findings {
            self.count(inspected);
        }
        Ok(Some(&self.report))
    }

    /// Takes all remaining steps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn run(mut self) -> Result<CensusReport, ScanError> {
        while self.step().await?.is_some() {}
        Ok(self.report)
    }

    /// Returns the findings so far.
    #[must_use]
    pub fn report(&self) -> &CensusReport {
        &self.report
    }

    /// Takes the damaged and malformed records and the ids of unopened ones out of the report,
    /// which lists them so far.
    pub fn take_listed(&mut self) -> (Vec<Problem>, Vec<RecordId>) {
        let report = &mut self.report;
        (std::mem::take(&mut report.problems), std::mem::take(&mut report.unopened_ids))
    }

    /// Tries other v2 costs than the configured ones, with the keys of the plan, on up to eight v2
    /// records; the first that opens one. Costs up to eight Argon2ids per cost and key.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn find_v2_params(
        &self,
        candidates: &[V2Params],
    ) -> Result<Option<V2Params>, ScanError> {
        let Inspector { keys, policy, .. } = &*self.inspector;
        let probe = Probe { store: &*self.store, workers: &self.workers, policy: policy.policy() };
        let sample = probe.sample(|_| true).await?;
        probe.cost(&sample, keys, candidates).await
    }

    fn count(&mut self, inspected: Inspected) {
        let all = self.list_unopened == Unopened::All;
        let has_room = |listed: usize| all || listed < MAX_PROBLEMS;
        let report = &mut self.report;
        report.scanned += 1 + inspected.more;
        report.envelope_bytes += inspected.len;
        report.longest_envelope = report.longest_envelope.max(inspected.len);
        if let Some(format) = inspected.format {
            *report.formats.entry(format).or_default() += 1;
        }
        if let Some(kdf) = inspected.kdf
            && (report.kdfs.len() < MAX_KDFS || report.kdfs.contains_key(&kdf))
        {
            *report.kdfs.entry(kdf).or_default() += 1;
        }
        match inspected.state {
            State::OpenedBy(key, verdict) => {
                if let Some(opened) = report.opened.get_mut(key) {
                    *opened += 1;
                }
                report.wrong_values += u64::from(verdict == ValueVerdict::Wrong);
            }
            State::Unopened(id, why) => {
                if let Some(why) = why {
                    report.not_tried.count(why);
                }
                report.unopened += 1;
                report.unchecked += u64::from(inspected.format != Some(Format::V3));
                report.unopened_v2 += u64::from(inspected.format == Some(Format::V2));
                if self.list_unopened != Unopened::Count && has_room(report.unopened_ids.len()) {
                    report.unopened_ids.push(id);
                }
            }
            State::Problem(problem) => {
                match problem.kind {
                    ProblemKind::Damaged => report.damaged += 1,
                    ProblemKind::Malformed(_) | ProblemKind::Unreadable(_) => {
                        report.malformed += 1 + inspected.more;
                    }
                }
                if has_room(report.problems.len()) {
                    report.problems.push(problem);
                }
            }
        }
    }
}

struct Inspector {
    keys: Vec<Arc<PasswordKey>>,
    check: Option<ValueCheck>,
    policy: RunPolicy,
}

struct Inspected {
    /// More rows like this one, which are not named.
    more: u64,
    len: u64,
    format: Option<Format>,
    kdf: Option<KdfSetting>,
    state: State,
}

enum State {
    OpenedBy(usize, ValueVerdict),
    /// By no key, and why none was tried if so.
    Unopened(RecordId, Option<NotTried>),
    Problem(Problem),
}

impl Examine for Inspector {
    type Finding = Inspected;

    fn unreadable(&self, row: UnreadableRow) -> Option<Inspected> {
        let more = row.more;
        let state = State::Problem(Problem::of_row(row));
        Some(Inspected { more, len: 0, format: None, kdf: None, state })
    }

    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Inspected>, ScanError> {
        let parsed: Vec<_> =
            records.iter().map(|record| Envelope::parse(&record.envelope)).collect();
        let bound = records.iter().map(SealedRecord::bound_to);
        let (mut untried, unopenable) = check_all(&parsed, bound, &self.policy);
        let mut inspected: Vec<_> = records
            .iter()
            .zip(&parsed)
            .map(|(record, parsed)| Inspected {
                more: 0,
                len: record.envelope.len(),
                format: parsed.as_ref().ok().map(Envelope::format),
                kdf: None,
                state: State::Unopened(record.id.clone(), None),
            })
            .collect();
        let problem = |index: usize, kind| {
            let id = records[index].id.clone();
            State::Problem(Problem::of(id, kind))
        };
        for (index, why) in unopenable {
            // A damaged header contains a cost and salt that were never used.
            match problem_of(why) {
                Ok(kind) => inspected[index].state = problem(index, kind),
                Err(why) => {
                    let id = records[index].id.clone();
                    inspected[index].state = State::Unopened(id, Some(why));
                    inspected[index].kdf = kdf_of(&parsed[index]);
                }
            }
        }
        for candidate in &untried {
            inspected[candidate.index].kdf = candidate.checked.kdf();
        }
        for (number, key) in self.keys.iter().enumerate() {
            for (Candidate { index, bound_to, .. }, outcome) in open_all(&mut untried, key, memory)?
            {
                inspected[index].state = match outcome {
                    OpenOutcome::Opened(value) => {
                        State::OpenedBy(number, self.verdict(bound_to.id, &value))
                    }
                    OpenOutcome::WrongPassword => continue,
                    OpenOutcome::Damaged => problem(index, ProblemKind::Damaged),
                    OpenOutcome::Malformed(malformed) => {
                        problem(index, ProblemKind::Malformed(malformed))
                    }
                    OpenOutcome::NotTried(why) => State::Unopened(bound_to.id.clone(), Some(why)),
                };
            }
        }
        Ok(inspected)
    }
}

fn kdf_of(parsed: &Result<Envelope, Malformed>) -> Option<KdfSetting> {
    match parsed {
        Ok(Envelope::V3(envelope)) => envelope.kdf().ok(),
        _ => None,
    }
}

impl Inspector {
    fn verdict(&self, id: &RecordId, value: &Plaintext) -> ValueVerdict {
        self.check.as_ref().map_or(ValueVerdict::Right, |check| check(id, value))
    }
}
