//! What a rekey decides by the heads of v3 records, and what it leaves unchecked.

use crate::world::{World, options, password, plan};
use futures::executor::block_on;
use vault_core::census::CensusPlan;
use vault_core::rekey::{BodyCheck, MergeCheck, RunStatus, Shard};
use vault_core::store::{HEAD_LEN, PageLimit};
use vault_core::{Record, RekeyPlan};

fn all(plan: RekeyPlan) -> RekeyPlan {
    plan.body_check(BodyCheck::All)
}

fn any_of(world: &World, owner: &str) -> Record {
    world.records().into_iter().find(|record| world.owner(&record.id) == owner).unwrap()
}

/// The text with another character at this place.
fn flipped(record: &Record, place: usize) -> Vec<u8> {
    let mut text = record.envelope.as_bytes().unwrap().to_vec();
    text[place] = if text[place] == b'A' { b'B' } else { b'A' };
    text
}

#[test]
fn damage_of_a_record_that_does_not_match_is_left_to_a_census() {
    let world = World::new();
    world.fill("old", 3);
    world.fill("other", 5);
    let damaged = any_of(&world, "other");
    world.plant(&damaged.id, &flipped(&damaged, HEAD_LEN + 3));

    let dry = plan().dry_run(vault_core::rekey::RekeyMode::DryRun);
    let counts = world.rekey(dry).unwrap().counts;
    assert_eq!((counts.rekeyed, counts.other_password, counts.damaged), (3, 5, 0));
    let report = world.rekey(plan()).unwrap();
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.other_password, counts.damaged), (3, 5, 0));
    assert_eq!((report.end, report.bodies_not_checked), (RunStatus::Complete, 5));
    assert!(!report.needs_attention());

    let census = block_on(async {
        world
            .vault()
            .census(CensusPlan::new().options(options()))
            .await
            .unwrap()
            .run()
            .await
            .unwrap()
    });
    assert_eq!(census.damaged, 1);
    let report =
        world.rekey(all(RekeyPlan::new().pair(password("new"), password("next")))).unwrap();
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.other_password, counts.damaged), (3, 4, 1));
    assert_eq!(report.bodies_not_checked, 0);
    assert!(report.needs_attention());
}

#[test]
fn damage_of_a_record_that_matches_is_found() {
    let world = World::new();
    world.fill("old", 4);
    world.fill("other", 4);
    let damaged = any_of(&world, "old");
    world.plant(&damaged.id, &flipped(&damaged, HEAD_LEN + 3));
    let report = world.rekey(plan()).unwrap();
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.other_password, counts.damaged), (3, 4, 1));
    assert_eq!(report.problems[0].at.id(), Some(&damaged.id));
    assert_eq!(report.bodies_not_checked, 4);
}

/// Of suite, cost and salt, a record is judged whole. Its nonce and its commitment say, changed or
/// not, that it is not of the password.
#[test]
fn a_head_that_was_changed_is_never_taken_for_one_of_the_password() {
    // One character has bits of both the salt and the nonce.
    for place in (3..HEAD_LEN).filter(|place| *place != 3 + 26 * 4 / 3) {
        let world = World::new();
        world.fill("old", 2);
        let damaged = any_of(&world, "old");
        world.plant(&damaged.id, &flipped(&damaged, place));
        let planted = world.records();
        let counts = world.rekey(plan()).unwrap().counts;
        assert_eq!((counts.rekeyed, counts.scanned), (1, 2), "at {place}");
        // Where the header ends, the checksum follows, which shows with its body.
        let decided = (3 + 26 * 4 / 3..HEAD_LEN - 8).contains(&place);
        assert_eq!(counts.other_password, u64::from(decided), "at {place}");
        assert_eq!(counts.damaged, u64::from(!decided), "at {place}");
        let is = world.records().into_iter().find(|record| record.id == damaged.id);
        assert_eq!(is, planted.iter().find(|record| record.id == damaged.id).cloned());

        let again = RekeyPlan::new().pair(password("old"), password("next"));
        let counts = world.rekey(all(again.merge_check(MergeCheck::Off))).unwrap().counts;
        assert_eq!((counts.damaged, counts.other_password), (1, 1), "at {place}");
    }
}

#[test]
fn a_head_with_a_length_that_no_envelope_has_is_judged_whole() {
    let world = World::new();
    world.fill("old", 2);
    world.fill("other", 3);
    for (number, record) in world.records().iter().enumerate() {
        let mut text = record.envelope.as_bytes().unwrap().to_vec();
        match number {
            0 => text.truncate(HEAD_LEN),
            1 => text.truncate(text.len() / 4 * 4),
            _ => continue,
        }
        world.plant_new(&format!("cut {number}"), &text);
    }
    let counts = world.rekey(plan()).unwrap().counts;
    let unsound = counts.damaged + counts.malformed;
    assert_eq!((counts.rekeyed, counts.other_password, unsound), (2, 3, 2));
}

/// Where few match, by their heads; where many do, whole; and where both are, as the last ones
/// were.
#[test]
fn however_many_match_the_outcomes_are_those_of_whole_records() {
    for one_in in [2, 40, 3000] {
        let world = World::new();
        let insert = |number: usize, owner: &str| {
            world.insert(&format!("{number:05}"), owner, format!("value {number}").as_bytes());
        };
        for number in 0..4000 {
            insert(number, if number.is_multiple_of(one_in) { "old" } else { "other" });
        }
        for number in 4000..6000 {
            insert(number, if number < 5000 { "old" } else { "other" });
        }
        let before = world.records();
        let options = || options().page_limit(PageLimit::new(100, 1 << 20));
        let by_heads = world.rekey(plan().options(options())).unwrap();
        world.restore(&before);
        let whole = world.rekey(all(plan()).options(options())).unwrap();
        assert_eq!(by_heads.counts, whole.counts, "one in {one_in}");
        assert_eq!((&by_heads.before, &by_heads.after), (&whole.before, &whole.after));
        let foreign = by_heads.counts.other_password;
        let left = by_heads.bodies_not_checked;
        if one_in == 2 {
            assert!((1..foreign / 2).contains(&left), "{left} of {foreign} left");
        } else {
            assert!((foreign / 2..=foreign).contains(&left), "{left} of {foreign} left");
        }
        world.hand_over("old", "new");
        world.check();
    }
}

#[test]
fn records_of_another_shard_are_not_counted_as_left() {
    let world = World::new();
    world.fill("old", 10);
    world.fill("other", 30);
    let reports = (0..3).map(|part| {
        let plan = plan().shard(Shard::new(part, 3).unwrap());
        world.rekey(plan).unwrap()
    });
    let sums = reports.fold((0, 0), |(rekeyed, left), report| {
        (rekeyed + report.counts.rekeyed, left + report.bodies_not_checked)
    });
    // What an earlier shard has moved is left by no other.
    assert_eq!(sums, (10, 30));
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_run_that_resumes_counts_what_it_leaves() {
    let world = World::new();
    world.fill("old", 10);
    world.fill("other", 30);
    let options = || options().page_limit(PageLimit::new(4, 1 << 20));
    let state = block_on(async {
        let mut session = world.vault().rekey(plan().options(options())).await.unwrap();
        for _ in 0..5 {
            session.step().await.unwrap().unwrap();
        }
        session.stop().await.unwrap();
        session.state().unwrap()
    });
    let report = world.rekey(plan().options(options()).resume(state)).unwrap();
    assert_eq!((report.counts.rekeyed, report.counts.scanned), (10, 40));
    // Its second pass reads everything, also what the first run moved.
    assert_eq!(report.bodies_not_checked, 40);
    world.hand_over("old", "new");
    world.check();
}
