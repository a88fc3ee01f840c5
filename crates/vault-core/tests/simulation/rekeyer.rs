//! One rekeyer: begins, is polled, stopped or dropped, and resumes from its state; each of its
//! reports is checked.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use futures::{FutureExt, future::BoxFuture};
use vault_conformance::Intercepted;
use vault_core::rekey::{BodyCheck, MergeCheck, RekeyError, RekeyMode, RekeyState, RunStatus};
use vault_core::run::RunOptions;
use vault_core::store::PageLimit;
use vault_core::{RekeyReport, RekeySession, StoreErrorKind, Vault, VaultOptions};

use crate::backend::Sabotage;
use crate::chance::Chance;
use crate::chaos::Chaos;
use crate::counters::add;
use crate::ensure;
use crate::plans::Plan;
use crate::store::SimStore;
use crate::world::{Violation, World, policy};

pub(crate) struct Rekeyer {
    plan: Plan,
    sabotage: Sabotage,
    state: State,
    job: Job,
    /// When the last pass of this run read its first page.
    pass_begun: u64,
    firsts_seen: u64,
    /// How many records were rekeyed when it did.
    rekeyed_before: u64,
    /// When the store was last asked how many writes there were.
    counted: u64,
    counts_seen: u64,
    /// Whether it has come to its end before.
    completed: bool,
}

/// What one run leaves to the next.
#[derive(Default)]
struct Job {
    kept: Option<RekeyState>,
    started: u64,
    /// The ways to the store of all its runs; the last is that of the present one.
    stores: Vec<Arc<Intercepted<SimStore>>>,
    /// Whether a run died when it may have written what its state does not know.
    died: bool,
}

enum State {
    Idle,
    Beginning(BoxFuture<'static, Result<RekeySession, RekeyError>>),
    Running(Box<RekeySession>),
    Stopping(BoxFuture<'static, Box<RekeySession>>),
}

/// How a run is started.
#[derive(Clone, Copy)]
struct Begin {
    dry_run: RekeyMode,
    gone_from: usize,
    counts: bool,
    page: PageLimit,
    resume: bool,
}

impl Rekeyer {
    pub(crate) fn new(plan: Plan, sabotage: Sabotage) -> Self {
        Self {
            plan,
            sabotage,
            state: State::Idle,
            job: Job::default(),
            pass_begun: 0,
            firsts_seen: 0,
            rekeyed_before: 0,
            counted: 0,
            counts_seen: 0,
            completed: false,
        }
    }

    /// One poll, or one act of its caller. A report that it ends with comes back.
    pub(crate) fn act(
        &mut self,
        world: &mut World,
        chaos: &Arc<Chaos>,
        chance: &mut Chance,
    ) -> Result<Option<RekeyReport>, Violation> {
        world.time += 1;
        match std::mem::replace(&mut self.state, State::Idle) {
            // Beginning costs derivations, so it pauses first, and longer where there may be
            // nothing to do.
            State::Idle if !chance.one_in(if self.completed { 30 } else { 4 }) => {}
            State::Idle => self.begin(world, chaos, chance),
            // The process dies, or its future is dropped.
            State::Beginning(_) | State::Running(_) if chance.one_in(60) => self.die(chaos),
            State::Running(mut session) if chance.one_in(60) => {
                let stop = async move {
                    // An error has ended the run, which its report tells.
                    let _ = session.stop().await;
                    session
                };
                self.state = State::Stopping(stop.boxed());
            }
            State::Beginning(mut beginning) => match poll(&mut beginning) {
                Poll::Pending => self.state = State::Beginning(beginning),
                Poll::Ready(Ok(session)) => self.state = State::Running(Box::new(session)),
                Poll::Ready(Err(error)) => self.expected(&error)?,
            },
            State::Stopping(mut stopping) => match poll(&mut stopping) {
                Poll::Pending => self.state = State::Stopping(stopping),
                Poll::Ready(session) => {
                    add(&chaos.counters.stops, 1);
                    return self.ended(&session, world, chaos).map(Some);
                }
            },
            State::Running(session) => return self.step(session, world, chaos, chance),
        }
        Ok(None)
    }

    fn step(
        &mut self,
        mut session: Box<RekeySession>,
        world: &mut World,
        chaos: &Arc<Chaos>,
        chance: &mut Chance,
    ) -> Result<Option<RekeyReport>, Violation> {
        // The step's future is dropped at every poll, too.
        let polled = poll(pin!(session.step())).map(|step| step.map(|report| report.is_some()));
        if let Some(store) = self.job.stores.last() {
            let firsts = store.0.firsts.load(Relaxed);
            if firsts != self.firsts_seen {
                (self.firsts_seen, self.pass_begun) = (firsts, world.time);
                self.rekeyed_before = session.report().counts.rekeyed;
            }
            let counts = store.0.counted.load(Relaxed);
            if counts != self.counts_seen {
                (self.counts_seen, self.counted) = (counts, world.time);
            }
        }
        match polled {
            Poll::Pending => {}
            // Dies between the write and the state.
            Poll::Ready(Ok(true)) if chance.one_in(40) => {
                self.die(chaos);
                return Ok(None);
            }
            Poll::Ready(Ok(true)) => self.keep(&session)?,
            Poll::Ready(Ok(false)) => return self.ended(&session, world, chaos).map(Some),
            Poll::Ready(Err(error)) => {
                self.expected(&error)?;
                return self.ended(&session, world, chaos).map(Some);
            }
        }
        self.state = State::Running(session);
        Ok(None)
    }

    fn die(&mut self, chaos: &Arc<Chaos>) {
        self.job.died = true;
        add(&chaos.counters.crashes, 1);
    }

    fn keep(&mut self, session: &RekeySession) -> Result<(), Violation> {
        if !session.report().dry_run {
            let state = session.state().map_err(|error| format!("no state: {error}"))?;
            self.job.kept = Some(state);
        }
        Ok(())
    }

    /// Pairs that chain move a record on when they start over.
    fn chains(&self) -> bool {
        self.plan.chains()
    }

    fn begin(&mut self, world: &World, chaos: &Arc<Chaos>, chance: &mut Chance) {
        let gone_from = if chance.one_in(20) { 1 + chance.below(12) } else { 0 };
        let dry = !self.chains() && chance.one_in(20);
        let dry_run = if dry { RekeyMode::DryRun } else { RekeyMode::Apply };
        let resume = self.chains() || !chance.one_in(4);
        self.begin_as(
            world,
            chaos,
            Begin {
                dry_run,
                gone_from,
                counts: chance.one_in(2),
                page: PageLimit::new(1 + chance.below(5), chance.pick(&[1 << 20, 1000])),
                resume,
            },
        );
    }

    fn begin_as(&mut self, world: &World, chaos: &Arc<Chaos>, begin: Begin) {
        let store =
            SimStore::new(world.store.clone(), self.sabotage, chaos, begin.gone_from, begin.counts);
        let options = VaultOptions::default().open(policy());
        let vault = Vault::new(Arc::clone(&store), options);
        let timer: Arc<Chaos> = Arc::clone(chaos);
        let run = RunOptions::default().without_threads().page_limit(begin.page).timer(timer);
        let mut plan = self.plan.begin().dry_run(begin.dry_run).options(run);
        match self.job.kept.clone().filter(|_| begin.resume && begin.dry_run == RekeyMode::Apply) {
            Some(state) => {
                add(&chaos.counters.resumes, 1);
                plan = plan.resume(state);
            }
            None if self.chains() && !self.job.stores.is_empty() => {}
            None => self.job = Job { started: world.time, ..Job::default() },
        }
        (self.firsts_seen, self.counts_seen) = (0, 0);
        self.job.stores.push(store);
        self.state = State::Beginning(async move { vault.rekey(plan).await }.boxed());
    }

    /// Rekeys the quiet vault to the end: resumes where it was, or starts over.
    pub(crate) fn run_undisturbed(
        &mut self,
        world: &mut World,
        chaos: &Arc<Chaos>,
    ) -> Result<RekeyReport, Violation> {
        world.time += 1;
        self.plan.merge = MergeCheck::Off;
        if !matches!(std::mem::replace(&mut self.state, State::Idle), State::Idle) {
            self.die(chaos);
        }
        let begin = Begin {
            dry_run: RekeyMode::Apply,
            gone_from: 0,
            counts: true,
            page: PageLimit::new(3, 1 << 20),
            resume: true,
        };
        self.begin_as(world, chaos, begin);
        for _ in 0..10_000 {
            // A caller that never stops and never drops it.
            if let Some(report) = self.act(world, chaos, &mut Chance::never())? {
                ensure!(
                    report.end == RunStatus::Complete,
                    "an undisturbed rekey ended {:?}",
                    report.end
                );
                let (failed, conflict) = (report.counts.failed, report.counts.conflict);
                ensure!(
                    self.chains() || failed + conflict == 0,
                    "{failed} failed, {conflict} conflicts undisturbed"
                );
                return Ok(report);
            }
        }
        Err("an undisturbed rekey does not end".to_owned())
    }

    /// The report is true.
    fn ended(
        &mut self,
        session: &RekeySession,
        world: &World,
        chaos: &Arc<Chaos>,
    ) -> Result<RekeyReport, Violation> {
        let report = session.report().clone();
        let Some(store) = self.job.stores.last() else {
            return Err("a report without a run".to_owned());
        };
        let (counts, counters) = (report.counts, &chaos.counters);
        chaos.trace(counts.scanned * 1000 + counts.rekeyed);
        ensure!(counts.total() == counts.scanned, "the outcomes do not add up: {counts:?}");
        let now = store.0.backend.applied.load(Relaxed);
        let applied: u64 =
            self.job.stores.iter().map(|store| store.0.backend.applied.load(Relaxed)).sum();
        let unknown =
            self.job.died || self.job.stores.iter().any(|store| store.0.unknown.load(Relaxed));
        let rekeyed = counts.rekeyed;
        if report.dry_run {
            ensure!(now == 0, "a dry run wrote {now} records");
        } else if unknown {
            // What went in unseen and was changed again by a writer is counted as what it is now.
            ensure!(rekeyed <= applied, "{rekeyed} rekeyed, {applied} were written");
        } else {
            ensure!(rekeyed == applied, "{rekeyed} rekeyed, {applied} were written");
        }
        match report.end {
            RunStatus::Complete => self.completed(&report, world, chaos)?,
            RunStatus::Refused => {
                add(&counters.refusals, 1);
                ensure!(now == 0, "a refused rekey wrote {now} records");
                // The caller has been told, and allows it.
                self.plan.merge = MergeCheck::Off;
            }
            RunStatus::Failed => add(&counters.failures, 1),
            RunStatus::NotConverged => return Err("a pass does not end".to_owned()),
            RunStatus::Stopped => {}
            RunStatus::Running => return Err("an ended rekey is running".to_owned()),
        }
        if report.end == RunStatus::Complete {
            self.completed = true;
            add(&counters.completions, 1);
            add(&counters.dry_runs, u64::from(report.dry_run));
            let eventful = unknown || report.conflicts_settled + report.retries > 0;
            add(&counters.eventful_completions, u64::from(rekeyed > 0 && eventful));
            add(&counters.catch_ups, u64::from(report.catch_up_passes > 1));
            match self.plan.bodies {
                BodyCheck::All => {
                    ensure!(report.bodies_not_checked == 0, "bodies were left out");
                    add(&counters.completions_with_every_body, 1);
                }
                BodyCheck::Matching => {
                    add(&counters.completions_by_heads, u64::from(report.bodies_not_checked > 0));
                }
            }
            add(&counters.resumed_completions, u64::from(report.earlier.runs > 0));
            if !report.dry_run && !self.chains() {
                self.job = Job::default();
            }
        } else {
            self.keep(session)?;
            // A page that broke off is looked at again: what it moved is found to be new.
            self.job.died |= report.end == RunStatus::Failed;
        }
        Ok(report)
    }

    /// A complete rekey has looked at every record that was there all the while, and left none
    /// behind that was there when its last pass began.
    fn completed(
        &self,
        report: &RekeyReport,
        world: &World,
        chaos: &Chaos,
    ) -> Result<(), Violation> {
        let counts = report.counts;
        let least = world.present_since(self.job.started, self.plan.shard);
        let most = world.born + world.rewritten;
        ensure!(
            (least..=most).contains(&counts.scanned),
            "scanned {} of at least {least} and at most {most}",
            counts.scanned,
        );
        if !report.dry_run && counts.failed + counts.conflict == 0 && !self.chains() {
            // Without another pass after one that moved something, the store has vouched for all
            // until it was asked.
            let vouched = counts.rekeyed > self.rekeyed_before;
            add(&chaos.counters.vouched_completions, u64::from(vouched));
            let until = if vouched { self.counted } else { self.pass_begun };
            world.check_nothing_missed(&self.plan.pairs, self.plan.shard, until)?;
        }
        Ok(())
    }

    /// Only what the store was made to say may end a run, or what its plan asks for.
    fn expected(&self, error: &RekeyError) -> Result<(), Violation> {
        use StoreErrorKind::{Full, Other, Retryable, Stopped, UnknownOutcome, Unsupported};
        let kinds = [Full, Other, Retryable, Stopped, UnknownOutcome, Unsupported];
        match error {
            RekeyError::Store(error) if kinds.contains(&error.kind()) => Ok(()),
            RekeyError::Merge { records: 1.. } if self.plan.merge != MergeCheck::Off => Ok(()),
            other => Err(format!("a rekey ended with: {other}")),
        }
    }
}

/// No task is woken: the history decides who is polled when.
fn poll<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    pin!(&mut future).poll(&mut Context::from_waker(Waker::noop()))
}
