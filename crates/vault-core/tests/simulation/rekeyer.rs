//! One rekeyer: begins, is polled, stopped or dropped, ends, and begins again; each of its reports is checked.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use futures::{FutureExt, future::BoxFuture};
use vault_core::{
    DryRun, EngineError, KdfFloor, PageLimit, RekeyPlan, RekeyReport, RekeySession, RunEnd,
    RunOptions, StoreErrorKind, Vault, VaultError, VaultOptions,
};

use crate::{
    chance::Chance,
    counters::add,
    ensure,
    store::{Chaos, Sabotage, SimStore},
    world::{Owner, Violation, World, spec},
};

pub(crate) struct Rekeyer {
    target: Owner,
    sabotage: Sabotage,
    state: State,
    store: Option<Arc<SimStore>>,
    begun: u64,
}

enum State {
    Idle,
    Beginning(BoxFuture<'static, Result<RekeySession, VaultError>>),
    Running(Box<RekeySession>),
    Stopping(BoxFuture<'static, RekeyReport>),
}

impl Rekeyer {
    pub(crate) fn new(target: Owner, sabotage: Sabotage) -> Self {
        Self { target, sabotage, state: State::Idle, store: None, begun: 0 }
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
            // Beginning costs three derivations, so it pauses first.
            State::Idle if !chance.one_in(5) => {}
            State::Idle => self.begin(world, chaos, chance),
            // The process dies, or its future is dropped.
            State::Beginning(_) | State::Running(_) if chance.one_in(60) => {
                add(&chaos.counters.crashes, 1);
            }
            State::Running(session) if chance.one_in(60) => {
                self.state = State::Stopping(session.stop().boxed());
            }
            State::Beginning(mut beginning) => match poll(&mut beginning) {
                Poll::Pending => self.state = State::Beginning(beginning),
                Poll::Ready(Ok(session)) => self.state = State::Running(Box::new(session)),
                Poll::Ready(Err(VaultError::Engine(error))) => expected(&error)?,
                Poll::Ready(Err(error)) => return Err(format!("could not begin: {error}")),
            },
            State::Stopping(mut stopping) => match poll(&mut stopping) {
                Poll::Pending => self.state = State::Stopping(stopping),
                Poll::Ready(report) => {
                    add(&chaos.counters.stops, 1);
                    return self.ended(report, world, chaos).map(Some);
                }
            },
            State::Running(mut session) => {
                // The step's future is dropped at every poll, too.
                let step = match poll(pin!(session.step())) {
                    Poll::Pending | Poll::Ready(Ok(Some(_))) => None,
                    Poll::Ready(Ok(None)) => Some(None),
                    Poll::Ready(Err(error)) => Some(Some(error)),
                };
                match step {
                    None => self.state = State::Running(session),
                    Some(error) => {
                        error.as_ref().map_or(Ok(()), expected)?;
                        return self.ended(session.report().clone(), world, chaos).map(Some);
                    }
                }
            }
        }
        Ok(None)
    }

    fn begin(&mut self, world: &World, chaos: &Arc<Chaos>, chance: &mut Chance) {
        let gone_from = if chance.one_in(20) { 1 + chance.below(12) } else { 0 };
        let dry_run = if chance.one_in(20) { DryRun::Yes } else { DryRun::No };
        self.begin_as(world, chaos, dry_run, gone_from, 1 + chance.below(5));
    }

    fn begin_as(
        &mut self,
        world: &World,
        chaos: &Arc<Chaos>,
        dry_run: DryRun,
        gone_from: usize,
        page: usize,
    ) {
        let store = SimStore::new(world.store.clone(), self.sabotage, chaos, gone_from);
        let options = VaultOptions { floor: KdfFloor::NONE, ..VaultOptions::default() };
        let vault = Vault::open(Arc::clone(&store), options);
        let timer: Arc<Chaos> = Arc::clone(chaos);
        let run = RunOptions::default()
            .without_threads()
            .page_limit(PageLimit::new(page, 1 << 20))
            .wait_with(timer);
        let plan = RekeyPlan::new()
            .pair(Owner::Old.password(), self.target.password())
            .write_as(spec())
            .dry_run(dry_run)
            .options(run);
        self.begun = world.time;
        self.store = Some(store);
        self.state = State::Beginning(async move { vault.rekey(plan).await }.boxed());
    }

    /// Rekeys the quiet vault to the end.
    pub(crate) fn run_undisturbed(
        &mut self,
        world: &mut World,
        chaos: &Arc<Chaos>,
    ) -> Result<RekeyReport, Violation> {
        world.time += 1;
        self.begin_as(world, chaos, DryRun::No, 0, 3);
        for _ in 0..10_000 {
            // A caller that never stops and never drops it.
            if let Some(report) = self.act(world, chaos, &mut Chance::never())? {
                ensure!(
                    report.end == RunEnd::Complete,
                    "an undisturbed rekey ended {:?}",
                    report.end
                );
                let (failed, conflict) = (report.counts.failed, report.counts.conflict);
                ensure!(
                    failed + conflict == 0,
                    "{failed} failed, {conflict} conflicts undisturbed"
                );
                return Ok(report);
            }
        }
        Err("an undisturbed rekey does not end".to_owned())
    }

    /// The report is true.
    fn ended(
        &self,
        report: RekeyReport,
        world: &World,
        chaos: &Arc<Chaos>,
    ) -> Result<RekeyReport, Violation> {
        let Some(store) = &self.store else { return Err("a report without a run".to_owned()) };
        let (counts, counters) = (report.counts, &chaos.counters);
        chaos.trace(counts.scanned * 1000 + counts.rekeyed);
        ensure!(counts.total() == counts.scanned, "the outcomes do not add up: {counts:?}");
        let applied = store.backend.applied.load(Relaxed);
        let (unknown, rekeyed) = (store.unknown.load(Relaxed), counts.rekeyed);
        if report.dry_run {
            ensure!(applied == 0, "a dry run wrote {applied} records");
        } else if unknown {
            // What went in unseen and was changed again by a writer is counted as what it is now.
            ensure!(rekeyed <= applied, "{rekeyed} rekeyed, {applied} were written");
        } else {
            ensure!(rekeyed == applied, "{rekeyed} rekeyed, {applied} were written");
        }
        match report.end {
            RunEnd::Complete => self.completed(&report, world)?,
            RunEnd::Failed => add(&counters.failures, 1),
            RunEnd::Stopped => {}
            RunEnd::Running => return Err("an ended rekey is running".to_owned()),
        }
        if report.end == RunEnd::Complete {
            add(&counters.completions, 1);
            let eventful = unknown || report.conflicts_settled + report.retries > 0;
            add(&counters.eventful_completions, u64::from(rekeyed > 0 && eventful));
        }
        Ok(report)
    }

    /// A complete rekey has looked at every record that was there all the while, and left none behind.
    fn completed(&self, report: &RekeyReport, world: &World) -> Result<(), Violation> {
        let counts = report.counts;
        let least = world.present_since(self.begun);
        ensure!(
            (least..=world.born).contains(&counts.scanned),
            "scanned {} of at least {least} and at most {}",
            counts.scanned,
            world.born
        );
        if !report.dry_run && counts.failed + counts.conflict == 0 {
            world.check_nothing_missed(self.begun)?;
        }
        Ok(())
    }
}

/// Only what the store was made to say may end a run.
fn expected(error: &EngineError) -> Result<(), Violation> {
    use StoreErrorKind::{Full, Retryable, Stopped, UnknownOutcome, Unsupported};
    let kinds = [Full, Retryable, Stopped, UnknownOutcome, Unsupported];
    match error {
        EngineError::Store(error) if kinds.contains(&error.kind()) => Ok(()),
        other => Err(format!("a rekey ended with: {other}")),
    }
}

/// Nobody is woken: the history decides who is polled when.
fn poll<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    pin!(&mut future).poll(&mut Context::from_waker(Waker::noop()))
}
