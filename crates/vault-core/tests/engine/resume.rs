//! What a rekey remembers: resuming, catching up, shards, and what it asks before its first write.

use std::sync::Arc;

use crate::world::{Interposer, NoWait, World, cheap, password};
use futures::executor::block_on;
use vault_core::envelope::{Format, OpenPolicy, SealParams, V2Params};
use vault_core::rekey::{
    EarlierRun, InvalidPlan, Marking, MergeCheck, RekeyError, RekeyMode, RekeyState, ResumeError,
    RunStatus, Shard, WriteAs,
};
use vault_core::run::RunOptions;
use vault_core::store::PageLimit;
use vault_core::{RecordId, RekeyPlan, RekeyReport, RekeySession, StoreErrorKind};

const PAGE: usize = 10;

fn options() -> RunOptions {
    let page = PageLimit::new(PAGE, 1 << 20);
    RunOptions::default().timer(Arc::new(NoWait)).page_limit(page)
}

fn plan() -> RekeyPlan {
    RekeyPlan::new().pair(password("old"), password("new")).options(options())
}

/// A vault whose records are all v2.
fn v2_world(old: usize, other: usize) -> World {
    let policy = OpenPolicy::trusting().v2_costs([V2Params::new(cheap())]);
    let world = World::with_policy(policy);
    world.fill("v3 old", old);
    world.fill("v3 other", other);
    let to_v2 = RekeyPlan::new()
        .pair(password("v3 old"), password("old"))
        .pair(password("v3 other"), password("other"))
        .write_as(SealParams::V2 { params: cheap() });
    assert_eq!(world.rekey(to_v2).unwrap().counts.rekeyed, (old + other) as u64);
    world.hand_over("v3 old", "old");
    world.hand_over("v3 other", "other");
    world
}

/// Steps until that many records were scanned, and dies: only the state is left.
fn die_after(world: &World, plan: RekeyPlan, scanned: u64) -> RekeyState {
    block_on(async {
        let mut session = world.vault().rekey(plan).await.unwrap();
        let mut state = session.state().unwrap();
        while session.report().counts.scanned < scanned {
            session.step().await.unwrap().unwrap();
            state = session.state().unwrap();
        }
        state
    })
}

fn refused(world: &World, plan: RekeyPlan) -> ResumeError {
    match world.rekey(plan) {
        Err(RekeyError::State(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_resumes_derives_only_for_what_was_not_tried() {
    let world = v2_world(300, 700);
    let state = die_after(&world, plan(), 900);
    // As bytes, as if another process had kept it.
    let state = RekeyState::from_bytes(state.as_bytes().to_vec()).unwrap();

    let report = world.rekey(plan().resume(state)).unwrap();

    // 100 for testing, one page's, two for the key of the state, one to verify the new master.
    assert!(report.derivations <= 100 + PAGE as u64 + 3, "{}", report.derivations);
    let tried = report.earlier.counts.scanned;
    assert!((900..900 + PAGE as u64).contains(&tried), "{tried}");
    assert!(report.derivations >= 1000 - tried, "what was not tried is");
    assert_eq!((report.counts.rekeyed, report.counts.other_password), (300, 700));
    assert_eq!((report.counts.scanned, report.end), (1000, RunStatus::Complete));
    assert_eq!(report.earlier.runs, 1);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_catch_up_pass_over_an_unchanged_v2_vault_derives_nothing() {
    let v2 = SealParams::V2 { params: cheap() };
    for write in [WriteAs::AsItWas, WriteAs::Spec(v2), WriteAs::Vault] {
        let world = v2_world(30, 70);
        let plan = plan().write_as(write).marks(Marking::Allow);
        let report = world.rekey_through(&Interposer::not_counting(), plan).unwrap();
        assert_eq!(report.catch_up_passes, 1);
        // 100 for testing; v2 seals and opens again; the rest is three for keys.
        let sealing = if write == WriteAs::Vault { 0 } else { 2 * 30 };
        let keys = if write == WriteAs::Spec(v2) { 2 } else { 3 };
        assert_eq!(report.derivations, 100 + sealing + keys);
        world.hand_over("old", "new");
        world.check();
    }
}

#[test]
fn a_job_of_many_runs_ends_with_the_same_counts() {
    let world = v2_world(25, 25);
    world.fill("old", 25);
    world.fill("other", 25);
    let (mut state, mut runs, mut derivations) = (None, 0u32, 0);
    let report = block_on(async {
        loop {
            let plan = state.take().into_iter().fold(plan(), RekeyPlan::resume);
            let mut session = world.vault().rekey(plan).await.unwrap();
            runs += 1;
            let mut more = true;
            // Each run comes a step further: the merge check and the catch-up start over each time.
            for _ in 0..runs {
                more = more && session.step().await.unwrap().is_some();
            }
            derivations += session.report().derivations;
            if !more {
                break session.report().clone();
            }
            assert_eq!(session.stop().await.unwrap().end, RunStatus::Stopped);
            state = Some(session.state().unwrap());
        }
    });
    assert!((4..100).contains(&runs), "{runs}");
    assert_eq!((report.counts.rekeyed, report.counts.other_password), (50, 50));
    assert_eq!((report.counts.scanned, report.counts.total()), (100, 100));
    assert_eq!(report.earlier.runs + 1, runs);
    assert_eq!(report.earlier.derivations + report.derivations, derivations);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_state_is_refused_with_other_passwords_another_vault_and_another_plan() {
    let world = v2_world(20, 20);
    let state = die_after(&world, plan(), 10);
    let other = |old, new| {
        let plan = RekeyPlan::new().pair(password(old), password(new)).options(options());
        refused(&world, plan.resume(state.clone()))
    };
    assert_eq!(other("old", "now"), ResumeError::OtherPasswords);
    assert_eq!(other("odd", "new"), ResumeError::OtherPasswords);
    let shard = plan().shard(Shard::new(0, 2).unwrap()).resume(state.clone());
    assert_eq!(refused(&world, shard), ResumeError::OtherPlan);
    let of_dry_run = die_after(&world, plan().dry_run(RekeyMode::DryRun), 10);
    assert_eq!(refused(&world, plan().resume(of_dry_run)), ResumeError::OtherPlan);
    let elsewhere = v2_world(1, 1);
    assert_eq!(refused(&elsewhere, plan().resume(state.clone())), ResumeError::OtherVault);
    world.check_nothing_but("old", "new");
    // Nothing of that has spoiled it.
    assert_eq!(world.rekey(plan().resume(state)).unwrap().counts.rekeyed, 20);
}

#[test]
fn a_rehearsal_counts_what_an_interrupted_rekey_has_left() {
    let world = v2_world(20, 20);
    let state = die_after(&world, plan(), 10);
    // Written behind the pass since then.
    world.insert("00000", "old", b"late");
    let rehearsal = || plan().dry_run(RekeyMode::DryRun).resume(state.clone());
    let before = world.records();
    let rehearsed = world.rekey(rehearsal()).unwrap();
    assert!(!rehearsed.would_merge() && !rehearsed.already_done);
    assert_eq!(world.records(), before);
    let state_of_it =
        block_on(async { world.vault().rekey(rehearsal()).await.unwrap().state().unwrap() });
    assert_eq!(refused(&world, plan().resume(state_of_it)), ResumeError::OtherPlan);

    let done = world.rekey(plan().resume(state)).unwrap();
    assert_eq!(rehearsed.rekeyed_now(), done.rekeyed_now());
    assert_eq!((rehearsed.counts, done.counts.rekeyed), (done.counts, 21));
}

#[test]
fn a_rehearsal_knows_that_the_job_is_done() {
    let world = v2_world(20, 20);
    let state = block_on(async {
        let mut session = world.vault().rekey(plan()).await.unwrap();
        while session.step().await.unwrap().is_some() {}
        session.state().unwrap()
    });
    let rehearsal = || plan().dry_run(RekeyMode::DryRun).resume(state.clone());
    let report = world.rekey(rehearsal()).unwrap();
    assert!(report.already_done && !report.moved_nothing());
    assert_eq!(report.rekeyed_now(), 0);
    world.hand_over("old", "new");
    world.insert("late", "old", b"late");
    let report = world.rekey(rehearsal()).unwrap();
    assert_eq!((report.rekeyed_now(), report.would_merge()), (1, false));
    // Of another job it knows nothing.
    let swapped = RekeyPlan::new().pair(password("new"), password("old")).options(options());
    let report = world.rekey(swapped.dry_run(RekeyMode::DryRun).resume(state)).unwrap();
    assert!(!report.already_done);
    assert_eq!(report.counts.rekeyed, 20);
}

#[test]
fn a_finished_job_is_remembered_by_one_with_other_options_however_often() {
    let world = v2_world(20, 20);
    let finish = |plan: RekeyPlan| {
        block_on(async {
            let mut session = world.vault().rekey(plan).await.unwrap();
            while session.step().await.unwrap().is_some() {}
            (session.report().clone(), session.state().unwrap())
        })
    };
    let (_, mut state) = finish(plan());
    let half = || plan().shard(Shard::new(0, 2).unwrap());
    for plan in [half(), half(), plan(), plan().dry_run(RekeyMode::DryRun)] {
        let (report, next) = finish(plan.resume(state));
        assert_eq!((report.counts.rekeyed, report.moved_before), (0, 20));
        assert!(!report.moved_nothing() && !report.already_done);
        state = next;
    }
    // A dry run has moved nothing, whatever its state says.
    let world = v2_world(20, 20);
    let (report, state) = block_on(async {
        let dry = plan().dry_run(RekeyMode::DryRun);
        let mut session = world.vault().rekey(dry).await.unwrap();
        while session.step().await.unwrap().is_some() {}
        (session.report().clone(), session.state().unwrap())
    });
    assert_eq!((report.counts.rekeyed, state.info().finished), (20, false));
    assert_eq!(refused(&world, plan().resume(state)), ResumeError::OtherPlan);
}

#[test]
fn each_pair_has_its_count_in_a_dry_run_and_over_all_runs() {
    for v2 in [false, true] {
        let world = if v2 { v2_world(15, 7) } else { World::new() };
        if !v2 {
            world.fill("old", 15);
            world.fill("other", 7);
        }
        world.fill("of nobody", 3);
        let pairs = || {
            plan()
                .pair(password("unused"), password("spare"))
                .pair(password("other"), password("more"))
        };
        let dry = world.rekey(pairs().dry_run(RekeyMode::DryRun)).unwrap();
        assert_eq!(dry.by_pair, [15, 0, 7]);
        let state = die_after(&world, pairs(), 10);
        let report = world.rekey(pairs().resume(state)).unwrap();
        assert_eq!((report.by_pair, report.counts.rekeyed), (vec![15, 0, 7], 22));
    }
}

#[test]
fn a_record_that_failed_first_is_counted_as_what_it_is_last() {
    let world = World::new();
    world.fill("old", 50);
    // Five tries of one page are refused; the pass continues, and the next one takes the page up
    // again.
    let interposer = Interposer::failing(2..=6, StoreErrorKind::Retryable, false);
    let report = world.rekey_through(&interposer, plan()).unwrap();
    assert_eq!(interposer.fired(), 5);
    assert_eq!((report.counts.rekeyed, report.counts.failed), (50, 0));
    assert_eq!((report.counts.scanned, report.counts.total()), (50, 50));
    world.hand_over("old", "new");
    world.check();
}

fn merge_refused(result: Result<RekeyReport, RekeyError>) -> u64 {
    match result {
        Err(RekeyError::Merge { records }) => records,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_merge_is_refused_before_the_first_write_unless_allowed() {
    let world = World::new();
    world.fill("old", 30);
    world.fill("new", 7);
    world.fill("other", 5);
    let before = world.records();
    assert_eq!(merge_refused(world.rekey(plan())), 7);
    assert_eq!(world.records(), before);
    let dry = world.rekey(plan().dry_run(RekeyMode::DryRun)).unwrap();
    assert!(dry.would_merge());

    let report = world.rekey(plan().merge_check(MergeCheck::Off)).unwrap();
    assert_eq!((report.counts.rekeyed, report.counts.already_new), (30, 7));
    // With nothing left to move there is nothing to merge, and nothing to refuse.
    let again = world.rekey(plan()).unwrap();
    assert_eq!((again.counts.rekeyed, again.counts.already_new, again.merge.found), (0, 37, 37));
}

#[test]
fn v2_records_are_asked_only_when_told_to_and_the_report_says_so() {
    let world = v2_world(20, 10);
    world.rename("other", "new");
    let report =
        world.rekey(plan().dry_run(RekeyMode::DryRun).merge_check(MergeCheck::Full)).unwrap();
    assert_eq!((report.merge.found, report.merge.unasked), (10, 0));
    assert!(report.would_merge());
    assert_eq!(merge_refused(world.rekey(plan().merge_check(MergeCheck::Full))), 10);
    world.check_nothing_but("old", "new");

    let cheap = world.rekey(plan()).unwrap();
    assert_eq!(
        (cheap.merge.check, cheap.merge.found, cheap.merge.unasked),
        (MergeCheck::Fast, 0, 30)
    );
    assert_eq!(cheap.counts.rekeyed, 20);
}

#[test]
fn a_run_that_resumes_does_not_take_its_own_records_for_a_merge() {
    let world = World::new();
    world.fill("old", 60);
    let state = die_after(&world, plan(), 20);
    assert_eq!(world.count_under("new"), 20);
    let report = world.rekey(plan().resume(state)).unwrap();
    assert_eq!((report.counts.rekeyed, report.merge.found), (60, 0));
    // Who lost the state has to say that it is no merge.
    let world = World::new();
    world.fill("old", 60);
    die_after(&world, plan(), 20);
    assert_eq!(merge_refused(world.rekey(plan())), 20);
}

#[test]
fn pairs_that_would_merge_are_refused_and_pairs_that_make_room_are_not() {
    let world = World::new();
    for (name, count) in [("a", 5), ("b", 6), ("c", 7)] {
        world.fill(name, count);
    }
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().fold(RekeyPlan::new().options(options()), |plan, (old, new)| {
            plan.pair(password(old), password(new))
        })
    };
    match world.rekey(pairs(&[("a", "x"), ("b", "x")])) {
        Err(RekeyError::Plan(InvalidPlan::MergingPairs)) => {}
        other => panic!("{other:?}"),
    }
    let first_run = pairs(&[("a", "b"), ("b", "c")]).earlier_run(EarlierRun::None);
    assert_eq!(merge_refused(world.rekey(first_run)), 7);
    let report = world.rekey(pairs(&[("a", "b"), ("b", "c"), ("c", "a")])).unwrap();
    assert_eq!(report.counts.rekeyed, 18);
    assert_eq!(["a", "b", "c"].map(|name| world.count_under(name)), [7, 5, 6]);
}

#[test]
fn a_moved_record_is_not_moved_on_by_the_run_that_resumes() {
    for polls in 0..200 {
        let world = World::new();
        world.fill("a", 20);
        world.fill("b", 20);
        let chain = || {
            RekeyPlan::new()
                .pair(password("a"), password("b"))
                .pair(password("b"), password("c"))
                .options(options().without_threads().page_limit(PageLimit::new(3, 1 << 20)))
        };
        let state = block_on(die_at_poll(world.vault().rekey(chain()), polls));
        let Some(state) = state else {
            assert!(polls > 20);
            return;
        };
        let report = world.rekey(chain().resume(state)).unwrap();
        assert_eq!((report.counts.rekeyed, report.counts.scanned), (40, 40), "{polls}");
        world.hand_over("b", "c");
        world.hand_over("a", "b");
        world.check();
    }
    panic!("a rekey takes more than 200 polls");
}

/// The state that is left of a run that dies at a poll; `None` when it was done before.
async fn die_at_poll(
    begin: impl Future<Output = Result<RekeySession, RekeyError>>,
    polls: usize,
) -> Option<RekeyState> {
    let mut session = begin.await.unwrap();
    let mut state = session.state().unwrap();
    for _ in 0..polls {
        if let std::task::Poll::Ready(step) = futures::poll!(Box::pin(session.step())) {
            step.unwrap()?;
            state = session.state().unwrap();
        }
    }
    Some(state)
}

#[test]
fn shards_are_disjoint_and_together_the_whole() {
    let world = World::new();
    world.fill("old", 60);
    world.fill("other", 30);
    let shard = |index| plan().shard(Shard::new(index, 4).unwrap());
    let mut counts = Vec::new();
    for index in [2, 0, 3, 1, 1] {
        let report = world.rekey(shard(index)).unwrap();
        counts.push((report.counts.scanned, report.counts.rekeyed));
    }
    assert_eq!(counts.iter().map(|(_, rekeyed)| rekeyed).sum::<u64>(), 60);
    assert_eq!(counts[..4].iter().map(|(scanned, _)| scanned).sum::<u64>(), 90);
    assert_eq!(counts[4].1, 0);
    assert!(counts[..4].iter().all(|(_, rekeyed)| *rekeyed > 0), "{counts:?}");
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_report_says_how_records_were_sealed_before_and_are_after() {
    let world = v2_world(20, 10);
    world.fill("old", 5);
    world.damage(&RecordId::from_stored("00000-old"));
    let report = world.rekey(plan().write_as(WriteAs::Vault).marks(Marking::Allow)).unwrap();
    let forms = |of: &std::collections::BTreeMap<vault_core::rekey::EnvelopeKind, u64>| {
        of.iter().map(|(sealing, count)| (sealing.format, sealing.cost, *count)).collect::<Vec<_>>()
    };
    // A v2 does not store its cost: it is known of those that opened.
    let cost = Some(cheap());
    let before = [(Format::V2, None, 10), (Format::V2, cost, 20), (Format::V3, cost, 4)];
    assert_eq!(forms(&report.before), before);
    assert_eq!(forms(&report.after), [(Format::V2, None, 10), (Format::V3, cost, 24)]);
    assert_eq!(report.not_checkable(), 10);
    assert_eq!(report.counts.damaged, 1);
    let stages = report.stages;
    let sum = stages.prepare + stages.merge_check + stages.first_pass + stages.catch_up;
    assert!(sum <= report.elapsed && !stages.first_pass.is_zero(), "{stages:?}");
}
