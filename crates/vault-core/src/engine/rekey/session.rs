//! A rekey in progress, step by step.

mod ask;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

use super::error::RekeyError;
use super::{
    chain_check::ChainAsk,
    commit::{Committer, Page, PageOutcome},
    examine::Finding,
    kdf_tally::KdfTally,
    marks::MarkTally,
    merge_check::MergeChecker,
    pairs::Role,
    pass::{Chains, PassExaminer, Seen},
    plan::{EarlierRun, Marking, MergeCheck, RekeyMode},
    progress::{Asked, Progress},
    report::{FailureReason, MAX_REASONS, PreviousRuns, RekeyReport, RunStatus},
    state::{JobInfo, RekeyState, StateKey},
    tried::TriedSet,
    writers::WriterWatch,
};
use crate::crypto::key::PasswordKey;
use crate::crypto::salts::RunPolicy;
use crate::scan::problem::MAX_PROBLEMS;
use crate::scan::retry::Retry;
use crate::scan::workers::Workers;
use crate::scan::{Examined, Scan};
use vault_store::{PageLimit, RecordId, Timestamp, VaultStore};

/// How many consecutive pages may fail as a whole before the store counts as gone.
const GIVE_UP_AFTER: u32 = 3;

/// How many catch-up passes of a run may find something before the run concludes that another
/// writer keeps using an old password.
const MAX_PASSES: u32 = 32;

/// A rekey in progress.
///
/// Dropping it ends the run: a batch that was being written is committed completely or not at all,
/// and the worker threads end after their current record. [`stop`](RekeySession::stop) does the
/// same and returns what was committed.
///
/// After every step, another run can resume from [`state`](RekeySession::state), whatever happens
/// to this one.
pub struct RekeySession {
    stage: Stage,
    pub(super) passes: Passes,
    committer: Arc<Committer>,
    check: MergeCheck,
    marking: Marking,
    /// The checks that are still to be made.
    asking: Option<Asking>,
    /// Examined and not yet committed.
    page: Option<PendingPage>,
    scan_error: Option<RekeyError>,
    committing: Option<InFlight>,
    failed_in_a_row: u32,
    /// Whether this run started the current pass, and at its beginning.
    whole: bool,
    /// The store's write count when the current pass started.
    others: WriterWatch,
    /// The next count, while it is being read.
    counting: Option<BoxFuture<'static, WriterWatch>>,
    /// Whether a pass still has to retry records that an earlier run left unresolved.
    owed: bool,
    /// Unresolved by the last pass, and not yet seen by this one.
    due: HashSet<RecordId>,
    /// How many records their heads have decided in this pass.
    by_head: u64,
    /// Where a dry run resumed the first pass of a rekey; what was written before that is examined
    /// last.
    behind: Option<RecordId>,
    progress: Progress,
    started: Timestamp,
    tested: Arc<TriedSet>,
    state_key: StateKey,
    start: Instant,
    stage_start: Instant,
    /// How long reading took in earlier stages.
    read_before: Duration,
    total: u64,
    report: RekeyReport,
}

enum Stage {
    /// Checks that the vault matches what the state says about chained pairs.
    Chain(ChainAsk),
    /// Checks whether the new passwords already open records.
    Ask(Scan<MergeChecker>, Arc<MergeChecker>),
    Pass(Scan<PassExaminer>),
}

/// A page of the scan, or what is left of it after a round.
struct PendingPage {
    page: Page,
    last: Option<RecordId>,
    announced: bool,
}

/// A page being written, and since when.
struct InFlight {
    settled: BoxFuture<'static, PageOutcome>,
    last: Option<RecordId>,
    since: Instant,
}

/// What every pass needs.
pub(super) struct Passes {
    pub(super) store: Arc<dyn VaultStore>,
    pub(super) seeker: Arc<PassExaminer>,
    pub(super) workers: Arc<Workers>,
    pub(super) retry: Retry,
    pub(super) page: PageLimit,
}

/// What the checks need.
pub(super) struct Asking {
    pub(super) check: MergeCheck,
    pub(super) marking: Marking,
    /// An upgrade lists what it leaves, whatever is permitted.
    pub(super) upgrades: bool,
    /// The forms of the records; `None` where they make no difference.
    pub(super) marks: Option<Arc<MarkTally>>,
    pub(super) old: Vec<Arc<PasswordKey>>,
    pub(super) keys: Vec<Arc<PasswordKey>>,
    pub(super) policy: RunPolicy,
    pub(super) tally: Arc<KdfTally>,
    pub(super) tested: Arc<TriedSet>,
    /// The passwords of chained pairs; empty for others.
    pub(super) roles: Vec<(Role, Arc<PasswordKey>)>,
    pub(super) earlier_run: EarlierRun,
}

impl RekeySession {
    /// Returns how many records the vault, or the shard, held when the run started, to show
    /// progress against.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Commits one page (about two seconds of work) and returns the totals so far; `None` once the
    /// last pass found nothing to do. A step may also only check or announce records, without
    /// writing.
    ///
    /// # Errors
    /// [`RekeyError`] if continuing is pointless. What was committed stays, and
    /// [`report`](Self::report) returns it; running the same plan again is always safe.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the session keeps the work in flight, and the next call
    /// continues.
    pub async fn step(&mut self) -> Result<Option<&RekeyReport>, RekeyError> {
        if self.report.end != RunStatus::Running {
            return Ok(None);
        }
        let step = std::future::poll_fn(|cx| self.poll_step(cx)).await;
        self.count_time();
        match step {
            Ok(true) => Ok(Some(&self.report)),
            Ok(false) => Ok(None),
            Err(error) => {
                let refused = matches!(
                    error,
                    RekeyError::Merge { .. } | RekeyError::Marks(_) | RekeyError::Chain(_)
                );
                self.report.end = if refused { RunStatus::Refused } else { RunStatus::Failed };
                Err(error)
            }
        }
    }

    /// Takes all remaining steps.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn run(mut self) -> Result<RekeyReport, RekeyError> {
        while self.step().await?.is_some() {}
        Ok(self.report)
    }

    /// Ends the run: waits for the page being written, drops the rest, and counts exactly what was
    /// committed.
    ///
    /// # Errors
    /// [`RekeyError`] if the page being written failed; [`report`](Self::report) counts what it
    /// did.
    pub async fn stop(&mut self) -> Result<&RekeyReport, RekeyError> {
        let settled = match self.committing.take() {
            Some(InFlight { settled, last, since }) => {
                let settled = settled.await;
                self.take(settled, last, since.elapsed())
            }
            None => Ok(()),
        };
        if self.report.end == RunStatus::Running {
            self.report.end = if settled.is_ok() { RunStatus::Stopped } else { RunStatus::Failed };
        }
        self.count_time();
        settled.map(|()| &self.report)
    }

    /// Returns what was committed so far.
    #[must_use]
    pub fn report(&self) -> &RekeyReport {
        &self.report
    }

    /// Returns the position of the run, for [`RekeyPlan::resume`](super::RekeyPlan::resume). Store
    /// it after every step, before the next one: a resuming run may have to know what a step is
    /// about to write.
    ///
    /// # Errors
    /// [`RekeyError::Seal`] if the system has no randomness to give.
    pub fn state(&self) -> Result<RekeyState, RekeyError> {
        let before = self.report.earlier;
        let earlier = PreviousRuns {
            runs: before.runs + 1,
            counts: self.progress.counts,
            derivations: before.derivations + self.report.derivations,
            elapsed: before.elapsed + self.report.elapsed,
        };
        let info = JobInfo {
            // A dry run finishes nothing.
            finished: self.report.end == RunStatus::Complete
                && self.progress.open.is_empty()
                && !self.report.dry_run,
            started: self.started,
            scanned: self.progress.counts.scanned,
            total: self.total,
        };
        let body = self.tested.with_all(|key, marks| self.progress.to_bytes(&earlier, key, marks));
        Ok(self.state_key.seal(&info, body)?)
    }

    #[expect(clippy::too_many_arguments, reason = "one caller, which has just made each of them")]
    pub(super) fn new(
        passes: Passes,
        asking: Asking,
        progress: Progress,
        started: Timestamp,
        tested: Arc<TriedSet>,
        state_key: StateKey,
        total: u64,
        others: WriterWatch,
        report: RekeyReport,
    ) -> Self {
        let committer = Arc::new(Committer {
            store: Arc::clone(&passes.store),
            seeker: Arc::clone(&passes.seeker),
            workers: Arc::clone(&passes.workers),
            retry: passes.retry.clone(),
        });
        let (check, marking) = (asking.check, asking.marking);
        let (stage, asking) = match passes.ask_of_chain(&asking) {
            Some(ask) => (Stage::Chain(ask), Some(asking)),
            None => (passes.ask_or_pass(Some(asking), &progress, report.dry_run), None),
        };
        let mut session = Self {
            stage,
            passes,
            committer,
            check,
            marking,
            asking,
            page: None,
            scan_error: None,
            committing: None,
            failed_in_a_row: 0,
            whole: progress.cursor.is_none(),
            others,
            counting: None,
            owed: progress.pass == 1 && !progress.open.is_empty(),
            due: HashSet::new(),
            by_head: 0,
            behind: progress.cursor.clone().filter(|_| report.dry_run),
            progress,
            started,
            tested,
            state_key,
            start: Instant::now(),
            stage_start: Instant::now(),
            read_before: Duration::ZERO,
            total,
            report,
        };
        session.expect_due();
        session
    }

    /// Advances every stage. Ready with whether a step was taken, or all is done.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, RekeyError>> {
        loop {
            let scan = match &mut self.stage {
                Stage::Chain(_) => return self.poll_chain(cx),
                Stage::Ask(..) => return self.poll_ask(cx),
                Stage::Pass(scan) => scan,
            };
            let mut over = false;
            if self.page.is_none() && self.scan_error.is_none() {
                match scan.poll_next(cx) {
                    Poll::Ready(Some(Ok(examined))) => self.take_examined(examined),
                    // Commit what was examined before the error first.
                    Poll::Ready(Some(Err(error))) => self.scan_error = Some(error.into()),
                    Poll::Ready(None) => over = true,
                    Poll::Pending => {}
                }
            }
            if let Some(committing) = &mut self.committing {
                let settled = ready!(committing.settled.poll_unpin(cx));
                let took = committing.since.elapsed();
                let last = committing.last.take();
                self.committing = None;
                return Poll::Ready(self.take(settled, last, took).map(|()| true));
            }
            if let Some(examination) = self.page.take() {
                match self.commit(examination) {
                    Next::Write(committing) => self.committing = Some(committing),
                    Next::Announced(examination) => {
                        self.page = Some(examination);
                        return Poll::Ready(Ok(true));
                    }
                    Next::Refused(error) => return Poll::Ready(Err(error)),
                }
                continue;
            }
            return match self.scan_error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None if over => {
                    let others = ready!(self.poll_others(cx));
                    Poll::Ready(Ok(self.end_pass(others)))
                }
                None => Poll::Pending,
            };
        }
    }

    /// Reads the store's write count again.
    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<WriterWatch> {
        let dry_run = if self.report.dry_run { RekeyMode::DryRun } else { RekeyMode::Apply };
        let counting = self.counting.get_or_insert_with(|| {
            let store = Arc::clone(&self.passes.store);
            async move { WriterWatch::from_now_on(&*store, dry_run).await }.boxed()
        });
        let others = ready!(counting.poll_unpin(cx));
        self.counting = None;
        Poll::Ready(others)
    }

    fn take_examined(&mut self, examined: Examined<Seen>) {
        self.count_work(examined.derivations, examined.busy);
        self.by_head += examined.by_head;
        let report = &mut self.report;
        report.bodies_not_checked = report.bodies_not_checked.max(self.by_head);
        let page = Page { seen: examined.findings, ..Page::default() };
        self.page = Some(PendingPage { page, last: examined.last, announced: false });
    }

    /// Starts to write a page, unless something has to be done before.
    fn commit(&mut self, examination: PendingPage) -> Next {
        let PendingPage { page, last, announced } = examination;
        let seeker = &self.passes.seeker;
        if seeker.chains == Chains::Yes && !announced {
            let reseals = page.seen.iter().filter_map(|seen| match &seen.finding {
                Finding::Reseal(replacement, ..) => Some(replacement),
                _ => None,
            });
            let written = reseals.chain(&page.batch);
            self.tested.insert(written.filter_map(|written| seeker.mark_of_written(written)));
            return Next::Announced(PendingPage { page, last, announced: true });
        }
        let found = self.report.merge.found;
        let writes = page.seen.iter().any(|seen| matches!(seen.finding, Finding::Reseal(..)));
        let refused = if self.check != MergeCheck::Off && found > 0 {
            Some(RekeyError::Merge { records: found })
        } else if self.marking == Marking::Refuse && !self.report.marks.is_empty() {
            Some(RekeyError::Marks(self.report.marks.clone()))
        } else {
            None
        };
        if let Some(refused) = refused.filter(|_| writes) {
            // The caller may change something and retry.
            self.progress.asked = Asked::NotYet;
            return Next::Refused(refused);
        }
        let settled = Arc::clone(&self.committer).commit(page, self.progress.pass > 1);
        Next::Write(InFlight { settled: settled.boxed(), last, since: Instant::now() })
    }

    /// Adds the outcome of a page to the report.
    fn take(
        &mut self,
        mut settled: PageOutcome,
        last: Option<RecordId>,
        took: Duration,
    ) -> Result<(), RekeyError> {
        // A page that failed half-way counts, and a resuming run examines it again.
        let error = settled.error.take();
        let kept = error.as_ref().map(|_| self.progress.clone());
        self.progress.add(&settled);
        self.others.take(&settled);
        let report = &mut self.report;
        report.counts = self.progress.counts;
        report.before.clone_from(&self.progress.before);
        report.after.clone_from(&self.progress.after);
        report.by_pair = self.progress.counts_by_pair(report.by_pair.len());
        for problem in settled.problems {
            let known = report.problems.iter().any(|known| known.at == problem.at);
            if !known && report.problems.len() < MAX_PROBLEMS {
                report.problems.push(problem);
            }
        }
        note_reasons(&mut report.failures, settled.reasons);
        report.conflicts_settled += settled.conflicts;
        report.retries += settled.retries;
        report.derivations += settled.derivations;
        report.commit_time += took;
        report.pages += 1;
        for id in &settled.due {
            self.due.remove(id);
        }
        if let (Some(error), Some(kept)) = (error, kept) {
            self.progress = kept;
            return Err(error);
        }
        self.tested.insert(settled.marks);
        match settled.again {
            Some(page) => {
                let announced = false;
                self.page = Some(PendingPage { page, last, announced });
            }
            None if self.progress.pass == 1 => self.progress.cursor = last,
            None => {}
        }
        self.failed_in_a_row = if settled.refused.is_some() { self.failed_in_a_row + 1 } else { 0 };
        match settled.refused {
            Some(error) if self.failed_in_a_row >= GIVE_UP_AFTER => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Starts another pass, unless it would find nothing to do. Returns whether there is anything
    /// left.
    fn end_pass(&mut self, now: WriterWatch) -> bool {
        for id in std::mem::take(&mut self.due) {
            self.progress.count_missing(&id);
        }
        self.report.counts = self.progress.counts;
        if let Some(tally) = &self.passes.seeker.tally {
            self.report.kdf_doubt = tally.doubt();
        }
        if let Some((marks, left)) = self.passes.seeker.rekeyer.marks() {
            (self.report.marks, self.report.left) = (marks, left);
        }
        self.count_time();
        self.report.catch_up_passes += u32::from(self.progress.pass > 1);
        let again = match self.passes.seeker.chains {
            _ if self.report.dry_run => self.looks_behind(),
            _ if self.owed => true,
            // What others wrote under a password that is both old and new must not be moved:
            // without one that is only old, there is nothing to catch up with.
            Chains::Yes if self.passes.seeker.first.is_none() && self.progress.open.is_empty() => {
                false
            }
            _ if !self.whole => true,
            _ if !self.progress.found => false,
            // A retry may resolve what this pass left unresolved.
            _ if !self.progress.open.is_empty() => true,
            Chains::Yes if self.passes.seeker.first.is_none() => false,
            Chains::No | Chains::Yes => !self.others.no_foreign_writes_since(&now),
        };
        if !again {
            self.report.end = RunStatus::Complete;
            return false;
        }
        if self.report.catch_up_passes >= MAX_PASSES {
            self.report.end = RunStatus::NotConverged;
            return false;
        }
        self.owed = false;
        self.progress.pass += 1;
        (self.progress.cursor, self.progress.found, self.whole) = (None, false, true);
        self.others = now;
        self.begin_pass();
        true
    }

    /// Returns whether a dry run still has to examine what a rekey would catch up with, and up to
    /// which record.
    fn looks_behind(&mut self) -> bool {
        let behind = self.behind.take();
        let again = behind.is_some();
        *self.passes.seeker.until.write().unwrap_or_else(PoisonError::into_inner) = behind;
        again
    }

    fn begin_pass(&mut self) {
        self.by_head = 0;
        self.expect_due();
        self.read_before = self.report.read_time;
        self.stage = self.passes.pass(&self.progress);
    }

    /// This pass counts what the last one left unresolved.
    fn expect_due(&mut self) {
        if self.progress.pass > 1 {
            self.due = self.progress.open.keys().cloned().collect();
            let mut due = self.passes.seeker.due.write().unwrap_or_else(PoisonError::into_inner);
            *due = Some(self.due.clone());
        }
    }

    /// Updates the times of the report.
    fn count_time(&mut self) {
        let took = self.stage_start.elapsed();
        self.stage_start = Instant::now();
        let report = &mut self.report;
        let (stage, read) = match &self.stage {
            Stage::Chain(ask) => (&mut report.stages.merge_check, ask.scan.read_time()),
            Stage::Ask(scan, _) => (&mut report.stages.merge_check, scan.read_time()),
            Stage::Pass(scan) if self.progress.pass == 1 => {
                (&mut report.stages.first_pass, scan.read_time())
            }
            Stage::Pass(scan) => (&mut report.stages.catch_up, scan.read_time()),
        };
        *stage += took;
        report.read_time = self.read_before + read;
        report.elapsed = report.stages.prepare + self.start.elapsed();
    }

    fn count_work(&mut self, derivations: u64, busy: Duration) {
        self.report.derivations += derivations;
        self.report.crypto_time += busy;
    }
}

/// Sums up why records failed, for the first few different reasons.
fn note_reasons(failures: &mut Vec<FailureReason>, reasons: Vec<(String, u64)>) {
    for (reason, records) in reasons {
        if let Some(known) = failures.iter_mut().find(|known| known.reason == reason) {
            known.records += records;
        } else if failures.len() < MAX_REASONS {
            failures.push(FailureReason { reason, records });
        }
    }
}

/// What to do with an examined page.
enum Next {
    Write(InFlight),
    /// The state now contains its envelopes; the next step writes them.
    Announced(PendingPage),
    Refused(RekeyError),
}
