//! Prepares a run: checks the plan, loads a state, derives what is needed before the first record.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use super::error::RekeyError;
use super::{
    examine::Rekeyer,
    kdf_tally::KdfTally,
    marks::{MarkTally, Marks},
    pairs::{Pairs, checked, upgrading},
    pass::{Chains, PassExaminer},
    plan::{Marking, MergeCheck, RekeyMode, RekeyPlan, WriteHooks},
    progress::{Asked, JobId, Progress, Restored},
    report::{KdfDoubt, MergeReport, PreviousRuns, RekeyReport, RunStatus, StageTimes},
    sample::sample,
    session::{Asking, Passes, RekeySession},
    state::{JobInfo, RekeyState, ResumeError, StateKey},
    tried::TriedSet,
    writers::WriterWatch,
};
use crate::crypto::kdf::KdfSetting;
use crate::crypto::key::VerifyError;
use crate::crypto::policy::OpenPolicy;
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::{SealError, SealParams};
use crate::scan::retry::Retry;
use crate::scan::workers::Workers;
use vault_store::{Timestamp, VaultStore, WriteHook, fill_random};

impl RekeySession {
    /// Prepares a run: writes nothing, starts the worker threads, derives the keys of its state.
    pub(crate) async fn start(
        store: Arc<dyn VaultStore>,
        plan: RekeyPlan,
        policy: OpenPolicy,
        spec: SealParams,
        own: Option<KdfSetting>,
        now: Timestamp,
    ) -> Result<Self, RekeyError> {
        let started = Instant::now();
        let (reseal, written) = (plan.reseal(spec), plan.written());
        let upgrades = plan.upgrades();
        let pairs = if upgrades {
            upgrading(plan.upgrades, &plan.pairs, &spec)?
        } else {
            checked(plan.pairs, plan.merge)?
        };
        let hooks = store.write_hooks().await?;
        let statement_logs = store.statement_logs().await?;
        if plan.hooks == WriteHooks::Refuse && plan.dry_run == RekeyMode::Apply {
            refuse_writing(&hooks)?;
        }
        let origin = JobId::of(&*store, plan.shard, plan.dry_run, &policy, &written).await?;
        let rehearsed = match plan.dry_run {
            RekeyMode::Apply => origin,
            RekeyMode::DryRun => {
                JobId::of(&*store, plan.shard, RekeyMode::Apply, &policy, &written).await?
            }
        };
        let stored = store.count().await?;
        let total = plan.shard.share(stored);
        let workers =
            Arc::new(plan.options.start_workers(total, spec.params(), &policy.v2_costs)?);
        let write = (plan.dry_run == RekeyMode::Apply).then_some(spec);
        let kdf = if let SealParams::V3 { kdf, .. } = spec { Some(kdf) } else { None };
        let run = RunPolicy::new(policy.clone(), own.into_iter().chain(kdf));
        let tally = Arc::new(KdfTally::new(own));
        let keys = Keys { pairs, write, spec, policy, origin, rehearsed };
        let Prepared { pairs, state_key, derivations, restored } =
            keys.prepare(plan.resume, &workers).await?;
        let (Restored { progress, earlier, key, marks }, job) = restored;
        let tested = Arc::new(TriedSet::restored(key, marks));
        let marks = Arc::new(MarkTally::new(reseal, run.clone(), plan.merge).upgrading(upgrades));
        let rehearsed_marks = (write.is_none() && !upgrades).then(|| Arc::clone(&marks));
        let asking = Asking {
            check: plan.merge,
            marking: plan.marking,
            marks: (write.is_some() || upgrades).then_some(marks),
            upgrades,
            old: pairs.list.iter().map(|pair| Arc::clone(&pair.old)).collect(),
            keys: pairs.fresh_keys(),
            policy: run.clone(),
            tally: Arc::clone(&tally),
            tested: Arc::clone(&tested),
            roles: if pairs.chain() { pairs.roles() } else { Vec::new() },
            earlier_run: plan.earlier_run,
        };
        // The merge check reads every record before the first write, and a dry run never writes.
        let asks = progress.asked == Asked::NotYet && asking.check != MergeCheck::Off;
        let counted_before = write.is_none() || (asks && !asking.keys.is_empty());
        let counts = write.is_none() || !counted_before;
        let chains = if pairs.chain() { Chains::Yes } else { Chains::No };
        let number_of_pairs = pairs.list.len();
        let first = Some(pairs.first()).filter(|first| pairs.chain() && !first.is_empty());
        let seeker = Arc::new(PassExaminer {
            first: first.map(|first| {
                Rekeyer::new(first, run.clone(), reseal, plan.dry_run)
                    .counting_marks(rehearsed_marks.clone())
            }),
            rekeyer: Rekeyer::new(pairs.list, run, reseal, plan.dry_run)
                .counting_marks(rehearsed_marks)
                .upgrading(upgrades),
            tested: Arc::clone(&tested),
            shard: plan.shard,
            chains,
            due: RwLock::new(None),
            until: RwLock::new(None),
            bodies: plan.bodies,
            tally: counts.then(|| Arc::clone(&tally)),
        });
        let mut report = new_report(&progress, earlier, plan.merge, number_of_pairs);
        if own.is_some() && !counted_before {
            report.kdf_doubt = sampled_doubt(&*store, stored, own).await?;
        }
        report.marking = plan.marking;
        report.derivations = derivations;
        report.workers = workers.count().get();
        report.dry_run = write.is_none();
        // A finished job that moved nothing has nothing to show for it.
        report.already_done = job.is_some_and(|job| job.finished) && earlier.counts.rekeyed > 0;
        report.write_hooks = hooks;
        report.upgrades = upgrades;
        report.statement_logs = statement_logs;
        report.stages.prepare = started.elapsed();
        let retry = Retry::new(Arc::clone(&plan.options.timer));
        let page = plan.options.page();
        let others = WriterWatch::from_now_on(&*store, plan.dry_run).await;
        let passes = Passes { store, seeker, workers, retry, page };
        Ok(Self::new(
            passes,
            asking,
            progress,
            job.map_or(now, |job| job.started),
            tested,
            state_key,
            total,
            others,
            report,
        ))
    }
}

/// Refuses triggers and rules that may write.
fn refuse_writing(hooks: &[WriteHook]) -> Result<(), RekeyError> {
    let hooks: Vec<_> = hooks.iter().filter(|hook| hook.may_write()).cloned().collect();
    if hooks.is_empty() { Ok(()) } else { Err(RekeyError::WriteHooks { hooks }) }
}

/// Whether the setting `kdf` fits a sample of the vault.
async fn sampled_doubt(
    store: &dyn VaultStore,
    stored: u64,
    own: Option<KdfSetting>,
) -> Result<Option<KdfDoubt>, RekeyError> {
    let tally = KdfTally::new(own);
    sample(store, stored, fill_random, |page| tally.count_records(page.iter())).await?;
    Ok(tally.doubt())
}

/// The parameters that the keys of a run are derived with.
struct Keys {
    pairs: Pairs,
    write: Option<SealParams>,
    spec: SealParams,
    policy: OpenPolicy,
    origin: JobId,
    /// The job that a dry run rehearses, whose state it loads as the job itself would; otherwise
    /// `origin`.
    rehearsed: JobId,
}

/// What is known before the first record is examined.
struct Prepared {
    pairs: Pairs,
    state_key: StateKey,
    derivations: u64,
    /// The position of the job, and what its state revealed.
    restored: (Restored, Option<JobInfo>),
}

impl Keys {
    /// Derives on a worker thread what costs an Argon2id.
    async fn prepare(
        self,
        state: Option<RekeyState>,
        workers: &Workers,
    ) -> Result<Prepared, RekeyError> {
        let prepared = workers.submit(move |memory| {
            let before = memory.derivations();
            let kdf = match (&state, self.spec) {
                (Some(state), _) => state.kdf(&self.policy.limits)?,
                // The master keys of a v3 run are used for its state too.
                (None, SealParams::V3 { kdf, .. }) => kdf,
                (None, SealParams::V2 { params }) => {
                    KdfSetting::generate(params).map_err(SealError::from)?
                }
            };
            let state_key = StateKey::derive(&self.pairs.keys(), kdf, memory)?;
            let restored = match state {
                Some(state) => self.resumed(&state, &state_key)?,
                None => (fresh(self.origin)?, None),
            };
            if let Some(SealParams::V3 { kdf, .. }) = self.write {
                verify_new_masters(&self.pairs, &kdf, memory)?;
            }
            let derivations = memory.derivations() - before;
            Ok(Prepared { pairs: self.pairs, state_key, derivations, restored })
        });
        prepared.await.map_err(|lost| RekeyError::Worker(lost.into()))?
    }
}

impl Keys {
    /// Loads a state. A finished one does not get in the way: another plan starts its own job, and
    /// the same plan makes one more pass.
    fn resumed(
        &self,
        state: &RekeyState,
        key: &StateKey,
    ) -> Result<(Restored, Option<JobInfo>), RekeyError> {
        let info = state.info();
        match restore(state, key, self.origin) {
            Ok(mut restored)
                if [self.rehearsed, self.origin].contains(&restored.progress.origin) =>
            {
                // What a dry run counts as re-encrypted is not: no rekey may take up its state.
                restored.progress.origin = self.origin;
                if info.finished {
                    restored.progress.start_another_pass();
                }
                Ok((restored, Some(info)))
            }
            // With other costs or another shard, nothing of this plan was done, unless its pairs
            // chain. That those passwords were rekeyed is known, though.
            Ok(Restored { progress: done, .. }) if info.finished && !self.pairs.chain() => {
                let mut fresh = fresh(self.origin)?;
                fresh.progress.moved_before = done.moved_before + done.counts.rekeyed;
                Ok((fresh, None))
            }
            Ok(_) => Err(ResumeError::OtherPlan.into()),
            Err(ResumeError::OtherPasswords | ResumeError::OtherVault) if info.finished => {
                Ok((fresh(self.origin)?, None))
            }
            Err(refused) => Err(refused.into()),
        }
    }
}

/// One master key seals every record of a v3 run. It is derived twice and compared before the first
/// write, because a memory fault in it would lock every record under an unknown password, and each
/// would pass its own verification.
fn verify_new_masters(
    pairs: &Pairs,
    kdf: &KdfSetting,
    memory: &mut crate::crypto::kdf::KdfMemory,
) -> Result<(), RekeyError> {
    for pair in &pairs.list {
        pair.new.verify_prepared(kdf, memory).map_err(|error| match error {
            VerifyError::Kdf(error) => RekeyError::Kdf(error),
            VerifyError::Mismatch => RekeyError::VerificationFailed,
        })?;
    }
    Ok(())
}

/// Opens a state of this vault, whatever the options of its job.
fn restore(state: &RekeyState, key: &StateKey, origin: JobId) -> Result<Restored, ResumeError> {
    let restored = Progress::from_bytes(&state.open(key)?).ok_or(ResumeError::Forged)?;
    if restored.progress.origin.vault != origin.vault {
        return Err(ResumeError::OtherVault);
    }
    Ok(restored)
}

fn fresh(origin: JobId) -> Result<Restored, RekeyError> {
    let tested = TriedSet::new().map_err(SealError::from)?;
    let key = tested.with_all(|key, _| *key);
    let (progress, earlier) = (Progress::new(origin), PreviousRuns::default());
    Ok(Restored { progress, earlier, key, marks: HashSet::new() })
}

/// What earlier runs did; nothing of this one yet.
fn new_report(
    progress: &Progress,
    earlier: PreviousRuns,
    check: MergeCheck,
    number_of_pairs: usize,
) -> RekeyReport {
    let (found, unasked) = match progress.asked {
        Asked::NotYet => (0, 0),
        Asked::Done { found, unasked } => (found, unasked),
    };
    RekeyReport {
        counts: progress.counts,
        problems: Vec::new(),
        before: progress.before.clone(),
        after: progress.after.clone(),
        earlier,
        asked_before: progress.asked != Asked::NotYet,
        already_done: false,
        moved_before: progress.moved_before,
        by_pair: progress.counts_by_pair(number_of_pairs),
        failures: Vec::new(),
        merge: MergeReport { check, asked: 0, found, unasked },
        bodies_not_checked: 0,
        catch_up_passes: 0,
        conflicts_settled: 0,
        retries: 0,
        pages: 0,
        derivations: 0,
        elapsed: Duration::ZERO,
        stages: StageTimes::default(),
        read_time: Duration::ZERO,
        crypto_time: Duration::ZERO,
        commit_time: Duration::ZERO,
        workers: 0,
        dry_run: false,
        kdf_doubt: None,
        marks: Marks::default(),
        left: Vec::new(),
        upgrades: false,
        marking: Marking::Refuse,
        write_hooks: Vec::new(),
        statement_logs: Vec::new(),
        end: RunStatus::Running,
    }
}
