//! What a rekey does about concurrent writers, as far as it knows of them.

use crate::world::{Interposer, World, options, password};
use futures::executor::block_on;
use vault_core::rekey::{BodyCheck, MergeCheck, RunStatus};
use vault_core::store::PageLimit;
use vault_core::{RekeyPlan, StoreErrorKind};

fn plan() -> RekeyPlan {
    let options = options().page_limit(PageLimit::new(10, 1 << 20));
    RekeyPlan::new().pair(password("old"), password("new")).options(options)
}

#[test]
fn what_is_written_behind_the_cursor_is_caught_up_with() {
    let world = World::new();
    world.fill("old", 50);
    // Before the third batch, another record under the old password comes first in the order of
    // ids.
    let interposer = Interposer::before_write(3, {
        let world = world.clone();
        move || world.insert("!first", "old", b"behind")
    });
    let report = world.rekey_through(&interposer, plan()).unwrap();
    assert_eq!((interposer.fired(), report.counts.rekeyed, report.counts.scanned), (1, 51, 51));
    // There was no other writer during the second pass.
    assert_eq!((report.catch_up_passes, report.end), (1, RunStatus::Complete));
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn without_other_writers_there_is_nothing_to_catch_up_with() {
    let world = World::new();
    world.fill("old", 50);
    world.fill("other", 50);
    let report = world.rekey(plan()).unwrap();
    assert_eq!((report.catch_up_passes, report.end), (0, RunStatus::Complete));
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_store_that_does_not_count_its_writes_is_read_once_more() {
    let world = World::new();
    world.fill("old", 50);
    let report = world.rekey_through(&Interposer::not_counting(), plan()).unwrap();
    assert_eq!((report.catch_up_passes, report.end), (1, RunStatus::Complete));
}

#[test]
fn after_a_batch_of_unknown_fate_the_count_proves_nothing() {
    let world = World::new();
    world.fill("old", 50);
    let interposer = Interposer::failing(2..=2, StoreErrorKind::UnknownOutcome, true);
    let report = world.rekey_through(&interposer, plan()).unwrap();
    assert_eq!((interposer.fired(), report.catch_up_passes), (1, 1));
    assert_eq!(report.counts.rekeyed, 50);
}

#[test]
fn any_write_of_another_is_reason_enough_to_look_again() {
    for ahead in [false, true] {
        let world = World::new();
        world.fill("old", 50);
        let interposer = Interposer::before_write(2, {
            let world = world.clone();
            let id = if ahead { "~last" } else { "!first" };
            move || world.insert(id, "other", b"value")
        });
        let report = world.rekey_through(&interposer, plan()).unwrap();
        assert_eq!((interposer.fired(), report.catch_up_passes), (1, 1));
    }
}

#[test]
fn a_writer_who_never_stops_is_told() {
    let world = World::new();
    world.fill("old", 5);
    let interposer = Interposer::before_every_write({
        let (world, number) = (world.clone(), std::sync::atomic::AtomicU32::new(0));
        move || {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            world.insert(&format!("!{number}"), "old", b"again");
        }
    });
    let state = block_on(async {
        let mut session = world.vault_through(&interposer).rekey(plan()).await.unwrap();
        while session.step().await.unwrap().is_some() {}
        assert_eq!(session.report().end, RunStatus::NotConverged);
        assert!(session.report().needs_attention());
        session.state().unwrap()
    });
    // Once that has ended, the same rekey does the rest, however many passes there were before.
    assert_eq!(world.rekey(plan().resume(state)).unwrap().end, RunStatus::Complete);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_merge_is_asked_of_the_headers() {
    let world = World::new();
    world.fill("old", 3);
    world.fill("new", 4);
    world.fill("other", 5);
    let under_new = |world: &World| {
        let mut records = world.records().into_iter();
        records.find(|record| world.owner(&record.id) == "new").unwrap()
    };
    // Damaged behind its header, it still is one of the new password's; within, it cannot be
    // determined.
    let record = under_new(&world);
    let mut text = record.envelope.as_bytes().unwrap().to_vec();
    let last = text.len() - 5;
    text[last] = if text[last] == b'A' { b'B' } else { b'A' };
    world.plant(&record.id, &text);
    let off = || plan().merge_check(MergeCheck::Off);
    let report = world.rekey(off().body_check(BodyCheck::All)).unwrap();
    assert_eq!((report.counts.damaged, report.counts.already_new), (1, 3));
    // By its header, as what the first run moved.
    let report = world.rekey(off()).unwrap();
    assert_eq!((report.counts.damaged, report.counts.already_new), (0, 7));
    let again = world.rekey(plan()).unwrap();
    assert_eq!((again.merge.asked, again.merge.found), (12, 7));

    text[80] = if text[80] == b'A' { b'B' } else { b'A' };
    world.plant(&record.id, &text);
    let again = world.rekey(plan()).unwrap();
    assert_eq!((again.merge.asked, again.merge.found), (12, 6));
}
