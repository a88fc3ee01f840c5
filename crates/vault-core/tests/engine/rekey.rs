//! The rekey engine over the store in memory, without any runtime.

use std::{num::NonZeroUsize, sync::Arc};

use crate::world::{Interposer, World, cheap, options, password, plan};
use futures::executor::block_on;
use vault_core::envelope::{OpenPolicy, SealParams, V2Params};
use vault_core::rekey::{InvalidPlan, MergeCheck, RekeyError, RekeyMode, RunStatus, WriteAs};
use vault_core::run::{MAX_PROBLEMS, ProblemKind};
use vault_core::settings::SettingsError;
use vault_core::store::{PageLimit, RecordSource};
use vault_core::{KdfParams, MemoryStore, RekeyPlan, VaultStore};

/// Merges, because here it is looked at what moves; what is refused is in `resume.rs`.
#[test]
fn a_rekey_moves_exactly_the_records_under_the_old_password() {
    let world = World::new();
    world.fill("old", 40);
    world.fill("new", 20);
    world.fill("other", 20);
    let before = world.records();

    let report = world.rekey(plan()).unwrap();

    assert_eq!(
        (report.counts.rekeyed, report.counts.already_new, report.counts.other_password),
        (40, 20, 20)
    );
    assert_eq!((report.counts.scanned, report.counts.total()), (80, 80));
    assert_eq!(report.end, RunStatus::Complete);
    for (old, now) in before.iter().zip(world.records()) {
        let moved = world.owner(&old.id) == "old";
        assert_eq!(old.envelope != now.envelope, moved, "only the matching envelopes change");
        let unchanged = vault_core::Record { envelope: old.envelope.clone(), ..now.clone() };
        assert_eq!(&unchanged, old, "no time and no token changes");
    }
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_second_rekey_finds_nothing() {
    let world = World::new();
    world.fill("old", 30);
    world.rekey(plan()).unwrap();
    let before = world.records();
    let again = world.rekey(plan()).unwrap();
    assert_eq!((again.counts.rekeyed, again.counts.already_new), (0, 30));
    // That records open under the new password does not tell that this rekey moved them.
    assert!(again.moved_nothing());
    assert_eq!(world.records(), before);
}

#[test]
fn nothing_under_either_password_is_told_apart_from_success() {
    let world = World::new();
    world.fill("other", 5);
    assert!(world.rekey(plan()).unwrap().moved_nothing());
}

#[test]
fn soft_deleted_and_expired_records_are_rekeyed_too() {
    let world = World::new();
    world.fill("old", 3);
    let records = world.records();
    world.soft_delete(&records[0].id);
    world.expire(&records[1].id);
    assert_eq!(world.rekey(plan()).unwrap().counts.rekeyed, 3);
}

#[test]
fn a_bad_record_stops_nothing_and_hides_nothing() {
    let world = World::new();
    world.fill("old", 10);
    let ids: Vec<_> = world.records().into_iter().map(|record| record.id).collect();
    world.damage(&ids[3]);
    world.plant(&ids[5], b"v9:AAAA");
    world.plant(&ids[6], b"");
    world.swap(&ids[7], &ids[8]);

    let report = world.rekey(plan()).unwrap();

    assert_eq!((report.counts.rekeyed, report.counts.damaged, report.counts.malformed), (5, 3, 2));
    assert!(report.needs_attention());
    let listed: Vec<_> =
        report.problems.iter().filter_map(|problem| problem.at.id().cloned()).collect();
    assert_eq!(listed, [&ids[3], &ids[5], &ids[6], &ids[7], &ids[8]].map(Clone::clone));
    assert_eq!(report.problems[0].kind, ProblemKind::Damaged);
    assert!(matches!(report.problems[1].kind, ProblemKind::Malformed(_)));
    assert_eq!(
        report.problems[3].kind,
        ProblemKind::Damaged,
        "a moved record is not told from a changed one"
    );
}

#[test]
fn the_list_of_problems_is_bounded_and_the_count_is_not() {
    let world = World::new();
    for number in 0..=MAX_PROBLEMS {
        world.plant_new(&format!("bad-{number}"), b"not an envelope");
    }
    let report = world.rekey(plan()).unwrap();
    assert_eq!(report.counts.malformed, MAX_PROBLEMS as u64 + 1);
    assert_eq!(report.problems.len(), MAX_PROBLEMS);
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let world = World::new();
    world.fill("old", 12);
    world.fill("other", 3);
    let before = world.records();
    let report = world.rekey(plan().dry_run(RekeyMode::DryRun)).unwrap();
    assert_eq!((report.counts.rekeyed, report.counts.other_password), (12, 3));
    assert!(report.dry_run);
    assert_eq!(world.records(), before);
}

#[test]
fn several_pairs_share_one_scan_and_never_chain() {
    let world = World::new();
    world.fill("a", 5);
    world.fill("b", 7);
    world.fill("c", 3);
    let cycle = RekeyPlan::new()
        .pair(password("a"), password("b"))
        .pair(password("b"), password("a"))
        .pair(password("c"), password("d"))
        .options(options());
    let report = world.rekey(cycle).unwrap();
    assert_eq!(report.counts.rekeyed, 15);
    world.swap_owners("a", "b");
    world.hand_over("c", "d");
    world.check();
}

#[test]
fn a_plan_without_sense_is_refused_before_anything_is_read() {
    let refused = |plan: RekeyPlan| match World::new().rekey(plan) {
        Err(RekeyError::Plan(invalid)) => invalid,
        other => panic!("{other:?}"),
    };
    let pair = |old, new| RekeyPlan::new().pair(password(old), password(new));
    assert_eq!(refused(RekeyPlan::new()), InvalidPlan::NoPair);
    assert_eq!(refused(pair("same", "same")), InvalidPlan::SamePassword);
    assert_eq!(refused(pair("old", "")), InvalidPlan::EmptyNewPassword);
    assert_eq!(
        refused(pair("a", "b").pair(password("a"), password("c"))),
        InvalidPlan::AmbiguousPair
    );
}

#[test]
fn an_old_password_may_break_every_rule_for_new_ones() {
    let world = World::new();
    world.fill("", 2);
    let report = world
        .rekey(RekeyPlan::new().pair(password(""), password("new")).options(options()))
        .unwrap();
    assert_eq!(report.counts.rekeyed, 2);
}

#[test]
fn pages_are_bounded_in_records() {
    let world = World::new();
    world.fill("old", 50);
    let interposer = Interposer::watching();
    let options =
        options().page_limit(PageLimit::new(7, 1 << 20)).workers(NonZeroUsize::new(2).unwrap());
    let report = world.rekey_through(&interposer, plan().options(options)).unwrap();
    assert_eq!(report.counts.rekeyed, 50);
    assert!(report.pages >= 8, "{} pages", report.pages);
    assert!(interposer.batches().iter().all(|batch| *batch <= 7), "{:?}", interposer.batches());
}

#[test]
fn pages_are_bounded_in_bytes() {
    let world = World::new();
    world.fill("old", 20);
    let interposer = Interposer::watching();
    let report = world
        .rekey_through(&interposer, plan().options(options().page_limit(PageLimit::new(1000, 1))))
        .unwrap();
    assert_eq!(report.counts.rekeyed, 20);
    assert!(interposer.batches().iter().all(|batch| *batch == 1), "{:?}", interposer.batches());
}

#[test]
fn v2_records_become_v3_and_v3_records_become_v2() {
    let v2 = V2Params::new(cheap());
    let open = OpenPolicy::trusting().v2_costs([v2]);
    let world = World::with_policy(open);
    world.fill("old", 4);
    let to_v2 = plan().write_as(SealParams::V2 { params: cheap() });
    assert_eq!(world.rekey(to_v2).unwrap().counts.rekeyed, 4);
    assert!(
        world.records().iter().all(|record| record
            .envelope
            .as_bytes()
            .unwrap()
            .starts_with(b"v2:"))
    );
    world.hand_over("old", "new");
    world.check();

    let back = RekeyPlan::new().pair(password("new"), password("newer")).options(options());
    let back = back.write_as(WriteAs::Vault).merge_check(MergeCheck::Full);
    assert_eq!(world.rekey(back).unwrap().counts.rekeyed, 4);
    assert!(
        world.records().iter().all(|record| record
            .envelope
            .as_bytes()
            .unwrap()
            .starts_with(b"v3:"))
    );
    world.hand_over("new", "newer");
    world.check();
}

#[test]
fn argon2id_is_computed_once_per_password_and_salt_not_per_record() {
    let world = World::new();
    world.fill("old", 50);
    world.fill("other", 50);
    let report = world.rekey(plan()).unwrap();
    assert_eq!(
        report.derivations, 3,
        "the old master, the new one, and the new one once more to compare"
    );
}

#[test]
fn a_cost_below_the_floor_is_not_written() {
    let world = World::new();
    world.fill("old", 1);
    let vault = vault_core::Vault::new(world.store.clone(), vault_core::VaultOptions::default());
    let refused = block_on(vault.rekey(plan().write_as(SealParams::V2 { params: cheap() })));
    assert!(matches!(refused, Err(RekeyError::Settings(SettingsError::CostBelowMinimum(_)))));
    let expensive = KdfParams::RFC9106_FIRST;
    let refused = block_on(vault.rekey(plan().write_as(SealParams::V2 { params: expensive })));
    assert!(matches!(refused, Err(RekeyError::Settings(SettingsError::CostOverLimit(_)))));
}

#[test]
fn a_writers_update_is_settled_and_never_reverted() {
    let world = World::new();
    world.fill("old", 20);
    let ids: Vec<_> = world.records().into_iter().map(|record| record.id).collect();
    // Between the reading of a page and its first batch, writers change three of its records and
    // delete a fourth.
    let interposer = Interposer::before_write(1, {
        let (world, ids) = (world.clone(), ids.clone());
        move || {
            world.rewrite(&ids[2], "old", b"a newer value");
            world.rewrite(&ids[4], "other", b"foreign");
            world.rewrite(&ids[6], "new", b"moved already");
            world.remove(&ids[8]);
        }
    });

    let report = world.rekey_through(&interposer, plan()).unwrap();

    let counts = report.counts;
    assert_eq!(
        (counts.rekeyed, counts.other_password, counts.already_new, counts.missing),
        (17, 1, 1, 1)
    );
    assert_eq!((counts.conflict, report.conflicts_settled), (0, 3));
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_record_that_writers_never_leave_alone_is_left_as_they_wrote_it() {
    let world = World::new();
    world.fill("old", 5);
    let id = world.records()[2].id.clone();
    let interposer = Interposer::before_every_write({
        let (world, id) = (world.clone(), id.clone());
        move || world.rewrite(&id, "old", b"again")
    });
    let report = world.rekey_through(&interposer, plan()).unwrap();
    assert_eq!((report.counts.rekeyed, report.counts.conflict), (4, 1));
    assert!(report.needs_attention());
    world.hand_over_but("old", "new", &id);
    world.check();
}

#[test]
fn an_empty_vault_is_rekeyed_at_once() {
    let report = World::new().rekey(plan()).unwrap();
    assert_eq!((report.counts.scanned, report.end), (0, RunStatus::Complete));
}

#[test]
fn a_shared_store_is_a_store() {
    let store: Arc<dyn VaultStore> = Arc::new(MemoryStore::new());
    assert_eq!(block_on(Arc::clone(&store).count()).unwrap(), 0);
    assert!(block_on(store.read_page(None, PageLimit::new(1, 1))).unwrap().is_empty());
}
