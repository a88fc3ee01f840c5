//! Pairs that chain: what they do when their state is lost, or the vault was restored since.

use crate::world::{World, options, password};
use futures::executor::block_on;
use vault_core::rekey::{ChainDoubt, EarlierRun, MergeCheck, RekeyCounts, RekeyError, RekeyState};
use vault_core::store::PageLimit;
use vault_core::{RekeyPlan, RekeyReport};

fn chain() -> RekeyPlan {
    RekeyPlan::new()
        .pair(password("a"), password("b"))
        .pair(password("b"), password("c"))
        .options(options().page_limit(PageLimit::new(3, 1 << 20)))
}

fn swap() -> RekeyPlan {
    RekeyPlan::new()
        .pair(password("a"), password("b"))
        .pair(password("b"), password("a"))
        .options(options().page_limit(PageLimit::new(3, 1 << 20)))
}

fn chained_world() -> World {
    let world = World::new();
    world.fill("a", 10);
    world.fill("b", 10);
    world
}

/// The state that a finished run leaves.
fn finished(world: &World, plan: RekeyPlan) -> RekeyState {
    block_on(async {
        let mut session = world.vault().rekey(plan).await.unwrap();
        while session.step().await.unwrap().is_some() {}
        session.state().unwrap()
    })
}

#[test]
fn pairs_that_chain_are_refused_when_their_state_is_lost() {
    for moved in [3, 9, 15] {
        let world = chained_world();
        let began = die_once_moved(&world, chain(), moved);
        let (moved_to_c, before) = (world.count_under("c"), world.records());
        let doubt = chain_refused(world.rekey(chain().merge_check(MergeCheck::Off)));
        assert_eq!(doubt, ChainDoubt::EndInUse { records: moved_to_c });
        assert_eq!(world.records(), before);
        assert_eq!(world.rekey(chain().resume(began)).unwrap().counts.rekeyed, 20);
    }
    // No record is under the last password any more, but none is under the first one either.
    let world = World::new();
    world.fill("b", 4);
    let doubt = chain_refused(world.rekey(chain()));
    assert_eq!(doubt, ChainDoubt::BeginningUnused { records: 4 });
    let report = world.rekey(chain().earlier_run(EarlierRun::None)).unwrap();
    assert_eq!(report.counts.rekeyed, 4);
}

#[test]
fn pairs_that_chain_are_refused_in_a_vault_that_was_restored_since() {
    for plan in [chain as fn() -> RekeyPlan, swap] {
        let world = chained_world();
        let before = world.records();
        let state = die_once_moved(&world, plan(), 9);
        let rekeyed = counts_of(&world, plan(), &state).rekeyed;
        world.restore(&before);
        let doubt = chain_refused(world.rekey(plan().resume(state)));
        assert_eq!(doubt, ChainDoubt::NoneIsThere { records: rekeyed });

        let state = finished(&world, plan().earlier_run(EarlierRun::None));
        world.restore(&before);
        let doubt = chain_refused(world.rekey(plan().resume(state)));
        assert!(matches!(doubt, ChainDoubt::Unknown { .. }), "{doubt:?}");
        assert_eq!(world.records(), before);
        let report = world.rekey(plan().earlier_run(EarlierRun::None)).unwrap();
        assert_eq!(report.counts.rekeyed, 20);
    }
}

#[test]
fn a_finished_chain_goes_on_with_what_opens_under_a_password_that_is_only_old() {
    let world = chained_world();
    let state = finished(&world, chain());
    world.hand_over("b", "c");
    world.hand_over("a", "b");
    let report = world.rekey(chain().resume(state.clone())).unwrap();
    assert!(report.already_done);
    assert_eq!(report.rekeyed_now(), 0);
    for id in ["0 late", "5 late", "9 late"] {
        world.insert(id, "a", b"late");
    }
    let state = finished(&world, chain().resume(state));
    world.hand_over("a", "b");
    world.check();
    // Whose these are, nothing can tell.
    for id in ["0 later", "9 later"] {
        world.insert(id, "b", b"later");
    }
    let before = world.records();
    match chain_refused(world.rekey(chain().resume(state))) {
        ChainDoubt::Unknown { records } => assert_eq!(records, 2),
        other => panic!("{other}"),
    }
    assert_eq!(world.records(), before);
}

/// The state that is left of a run that dies after that many moves.
fn die_once_moved(world: &World, plan: RekeyPlan, moved: u64) -> RekeyState {
    block_on(async {
        let mut session = world.vault().rekey(plan).await.unwrap();
        while session.report().counts.rekeyed < moved {
            session.step().await.unwrap();
        }
        session.state().unwrap()
    })
}

/// What a run that resumes says was done before.
fn counts_of(world: &World, plan: RekeyPlan, state: &RekeyState) -> RekeyCounts {
    let session = block_on(world.vault().rekey(plan.resume(state.clone()))).unwrap();
    session.report().earlier.counts
}

fn chain_refused(result: Result<RekeyReport, RekeyError>) -> ChainDoubt {
    match result {
        Err(RekeyError::Chain(doubt)) => doubt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_last_password_that_is_in_use_is_in_doubt_without_a_state() {
    let world = chained_world();
    world.fill("c", 7);
    assert_eq!(chain_refused(world.rekey(chain())), ChainDoubt::EndInUse { records: 7 });
}
