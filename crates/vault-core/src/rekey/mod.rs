//! The bulk rekey: every record that opens under an old password is sealed anew under its new one.
//!
//! Nothing stored says which records share a password, so the engine tries the old password on each. It is a step
//! function that its caller drives: a step reads, tests, seals and commits one page, while the next page is being
//! examined and the one after that is being read. Progress is what a step returns; cancelling is not calling it again.

mod commit;
mod examine;
mod report;

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

pub use self::report::{MAX_PROBLEMS, Problem, ProblemKind, RekeyCounts, RekeyReport, RunEnd};
use self::{
    commit::{Committer, Settled},
    examine::{Finding, Pair, Rekeyer},
};
use crate::{
    EngineError, OpenPolicy, Password, RunOptions, SealSpec, VaultKey, VaultStore, VerifyError,
    retry::Retry,
    scan::{Examined, Scan},
    workers::Workers,
};

/// How many pages in a row may fail as a whole before the store is taken to be gone.
const GIVE_UP_AFTER: u32 = 3;

/// What to rekey, and how.
#[derive(Debug, Default)]
pub struct RekeyPlan {
    pairs: Vec<(Password, Password)>,
    write: Option<SealSpec>,
    dry_run: DryRun,
    options: RunOptions,
}

/// Whether a rekey writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DryRun {
    /// Write.
    #[default]
    No,
    /// Only count what would be rekeyed.
    Yes,
}

impl RekeyPlan {
    /// A plan without any password yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair: what opens under `old` will be under `new`. A record is tried with the old passwords in the order
    /// of the pairs, moved at most once per run, and never on from one pair's new password to another's.
    #[must_use]
    pub fn pair(mut self, old: Password, new: Password) -> Self {
        self.pairs.push((old, new));
        self
    }

    /// The format and cost to write; without it, the vault's own.
    #[must_use]
    pub fn write_as(mut self, spec: SealSpec) -> Self {
        self.write = Some(spec);
        self
    }

    /// Whether to write at all.
    #[must_use]
    pub fn dry_run(mut self, dry_run: DryRun) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Workers, memory and page sizes.
    #[must_use]
    pub fn options(mut self, options: RunOptions) -> Self {
        self.options = options;
        self
    }

    /// The passwords that records are moved to.
    pub(crate) fn new_passwords(&self) -> impl Iterator<Item = &Password> {
        self.pairs.iter().map(|(_, new)| new)
    }

    /// The format and cost that were asked for.
    pub(crate) fn asked_spec(&self) -> Option<SealSpec> {
        self.write
    }
}

/// A plan that cannot be carried out as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPlan {
    /// There is no pair of passwords.
    #[error("a rekey needs an old and a new password")]
    NoPair,
    /// Old and new are the same: nothing would change hands.
    #[error("the old and the new password are the same; give a new one")]
    SamePassword,
    /// The new password is empty.
    #[error("the new password is empty; give one that is not")]
    EmptyNewPassword,
    /// Two pairs have the same old password.
    #[error(
        "two pairs have the same old password, so a record could go either way; give each old password once"
    )]
    AmbiguousPair,
}

/// A rekey under way.
///
/// Dropping it ends the run: a batch that was being written is committed whole or not at all, and the worker threads
/// end after the record at hand. [`stop`](RekeySession::stop) does the same and also tells what was committed.
pub struct RekeySession {
    scan: Scan<Rekeyer>,
    committer: Arc<Committer>,
    examined: Option<Examined<Finding>>,
    scan_error: Option<EngineError>,
    /// The page being written, since when.
    committing: Option<(BoxFuture<'static, Settled>, Instant)>,
    failed_in_a_row: u32,
    begun: Instant,
    total: u64,
    report: RekeyReport,
}

impl RekeySession {
    /// Prepares a run: derives nothing yet, writes nothing, starts the worker threads.
    pub(crate) async fn start(
        store: Arc<dyn VaultStore>,
        plan: RekeyPlan,
        policy: OpenPolicy,
        spec: SealSpec,
    ) -> Result<Self, EngineError> {
        let pairs = checked(plan.pairs)?;
        let total = store.count().await?;
        let workers = Arc::new(plan.options.start_workers(total, spec.params())?);
        let retry = Retry::new(Arc::clone(plan.options.timer()));
        let write = (plan.dry_run == DryRun::No).then_some(spec);
        let derivations = verify_new_masters(&pairs, write, &workers).await?;
        let rekeyer = Arc::new(Rekeyer::new(pairs, policy, write));
        let page = plan.options.page();
        let scan = Scan::new(
            Arc::new(Arc::clone(&store)),
            Arc::clone(&rekeyer),
            Arc::clone(&workers),
            retry.clone(),
            page,
        );
        let report = RekeyReport {
            counts: RekeyCounts::default(),
            problems: Vec::new(),
            conflicts_settled: 0,
            retries: 0,
            pages: 0,
            derivations,
            elapsed: Duration::ZERO,
            crypto_time: Duration::ZERO,
            commit_time: Duration::ZERO,
            workers: workers.count().get(),
            dry_run: write.is_none(),
            end: RunEnd::Running,
        };
        let committer = Arc::new(Committer { store, rekeyer, workers, retry });
        Ok(Self {
            scan,
            committer,
            examined: None,
            scan_error: None,
            committing: None,
            failed_in_a_row: 0,
            begun: Instant::now(),
            total,
            report,
        })
    }

    /// How many records the vault held when the run began, to show progress against.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Commits one page, at most about two seconds of work, and tells all that was done so far; `None` when every
    /// record was scanned.
    ///
    /// # Errors
    /// [`EngineError`] when going on is pointless. What was committed stays, and [`report`](Self::report) tells it;
    /// running the same plan again is always safe.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the work in flight stays in the session, and the next call goes on.
    pub async fn step(&mut self) -> Result<Option<&RekeyReport>, EngineError> {
        if self.report.end != RunEnd::Running {
            return Ok(None);
        }
        let step = std::future::poll_fn(|cx| self.poll_step(cx)).await;
        self.report.elapsed = self.begun.elapsed();
        match step {
            Ok(true) => Ok(Some(&self.report)),
            Ok(false) => {
                self.report.end = RunEnd::Complete;
                Ok(None)
            }
            Err(error) => {
                self.report.end = RunEnd::Failed;
                Err(error)
            }
        }
    }

    /// Takes every step that is left.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub async fn run(mut self) -> Result<RekeyReport, EngineError> {
        while self.step().await?.is_some() {}
        Ok(self.report)
    }

    /// Ends the run: waits for the page that is being written, drops the rest, and counts exactly what was committed.
    pub async fn stop(mut self) -> RekeyReport {
        if let Some((committing, since)) = self.committing.take() {
            let settled = committing.await;
            // An error here would have ended the run anyway; the counts are true in any case.
            let _ = self.take(settled, since.elapsed());
        }
        if self.report.end == RunEnd::Running {
            self.report.end = RunEnd::Stopped;
        }
        self.report.elapsed = self.begun.elapsed();
        self.report
    }

    /// What was committed so far.
    #[must_use]
    pub fn report(&self) -> &RekeyReport {
        &self.report
    }

    /// Moves every stage on; ready with whether a page was committed, or the scan is over.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, EngineError>> {
        loop {
            let mut over = false;
            if self.examined.is_none() && self.scan_error.is_none() {
                match self.scan.poll_next(cx) {
                    Poll::Ready(Some(Ok(examined))) => self.examined = Some(examined),
                    // What was examined before the error is committed first.
                    Poll::Ready(Some(Err(error))) => self.scan_error = Some(error),
                    Poll::Ready(None) => over = true,
                    Poll::Pending => {}
                }
            }
            if let Some((committing, since)) = &mut self.committing {
                let Poll::Ready(settled) = committing.poll_unpin(cx) else { return Poll::Pending };
                let took = since.elapsed();
                self.committing = None;
                return Poll::Ready(self.take(settled, took).map(|()| true));
            }
            if let Some(examined) = self.examined.take() {
                self.report.derivations += examined.derivations;
                self.report.crypto_time += examined.busy;
                let committing = Arc::clone(&self.committer).commit(examined.findings);
                self.committing = Some((committing.boxed(), Instant::now()));
                continue;
            }
            return match self.scan_error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None if over => Poll::Ready(Ok(false)),
                None => Poll::Pending,
            };
        }
    }

    /// Adds a settled page to the report.
    fn take(&mut self, settled: Settled, took: Duration) -> Result<(), EngineError> {
        let (sum, page) = (&mut self.report.counts, &settled.counts);
        sum.scanned += page.scanned;
        sum.rekeyed += page.rekeyed;
        sum.other_password += page.other_password;
        sum.already_new += page.already_new;
        sum.damaged += page.damaged;
        sum.malformed += page.malformed;
        sum.conflict += page.conflict;
        sum.missing += page.missing;
        sum.failed += page.failed;
        let room = MAX_PROBLEMS - self.report.problems.len();
        self.report.problems.extend(settled.problems.into_iter().take(room));
        self.report.conflicts_settled += settled.conflicts;
        self.report.retries += settled.retries;
        self.report.derivations += settled.derivations;
        self.report.commit_time += took;
        self.report.pages += 1;
        if let Some(error) = settled.error {
            return Err(error);
        }
        if self.report.counts.total() != self.report.counts.scanned {
            return Err(EngineError::Miscount);
        }
        self.failed_in_a_row = if settled.refused.is_some() { self.failed_in_a_row + 1 } else { 0 };
        match settled.refused {
            Some(error) if self.failed_in_a_row >= GIVE_UP_AFTER => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The keys of a plan that makes sense.
fn checked(pairs: Vec<(Password, Password)>) -> Result<Vec<Pair>, InvalidPlan> {
    if pairs.is_empty() {
        return Err(InvalidPlan::NoPair);
    }
    for (number, (old, new)) in pairs.iter().enumerate() {
        if new.is_empty() {
            return Err(InvalidPlan::EmptyNewPassword);
        }
        if old.is_same_as(new) {
            return Err(InvalidPlan::SamePassword);
        }
        if pairs[..number].iter().any(|(earlier, _)| earlier.is_same_as(old)) {
            return Err(InvalidPlan::AmbiguousPair);
        }
    }
    let key = |password| Arc::new(VaultKey::new(password));
    Ok(pairs.into_iter().map(|(old, new)| Pair { old: key(old), new: key(new) }).collect())
}

/// One master seals every record of a v3 run. It is derived twice and compared before the first write, because a
/// memory fault in it would lock every record under a password that nobody has, and each would pass its own check.
async fn verify_new_masters(
    pairs: &[Pair],
    write: Option<SealSpec>,
    workers: &Workers,
) -> Result<u64, EngineError> {
    let Some(SealSpec::V3 { kdf, .. }) = write else { return Ok(0) };
    let mut derivations = 0;
    for pair in pairs {
        let new = Arc::clone(&pair.new);
        let verified = workers.submit(move |memory| {
            let before = memory.derivations();
            new.verify_prepared(&kdf, memory).map(|()| memory.derivations() - before)
        });
        let made =
            verified.await.map_err(|lost| EngineError::Worker(lost.into()))?.map_err(|error| {
                match error {
                    VerifyError::Kdf(error) => EngineError::Kdf(error),
                    VerifyError::Mismatch => EngineError::SelfCheck,
                }
            })?;
        derivations += made;
    }
    Ok(derivations)
}
