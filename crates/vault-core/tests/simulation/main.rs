//! Thousands of seeded histories of the real rekey engine over a store in memory, on one thread,
//! poll by poll.
//!
//! A history is a small vault of all three formats and of several costs and salts, with one to
//! three rekeyers and a concurrent writer. The rekeyers have one target or several, one pair of
//! passwords or several, all of the vault or a part of it. Store calls take their time, fail before
//! or after their effect, take effect in part or late; rekeyers are stopped, dropped and restarted.
//! Then the faults end, a rekey runs undisturbed, the next one finds nothing, and every record must
//! be what the ledger says.
//!
//! `VAULTSTORE_SIM_HISTORIES` says how many histories (5,000; `cargo xtask ci` plays 100,000), and
//! a tenth as many of pairs that chain; `VAULTSTORE_SIM_FIRST_SEED` where they begin.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod backend;
mod chance;
mod chaos;
mod counters;
mod plans;
mod rekeyer;
mod store;
#[path = "../engine/v1.rs"]
mod v1;
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use backend::Sabotage;
use chance::Chance;
use chaos::Chaos;
use counters::{Counters, add};
use plans::Plan;
use rekeyer::Rekeyer;
use vault_core::rekey::{MergeCheck, RunStatus, WriteAs};
use world::{Move, Owner, Violation, World};

/// Plays the history of a seed; what comes back names everything that happened in it.
fn play(seed: u64, sabotage: Sabotage, counters: &Arc<Counters>) -> Result<u64, Violation> {
    let mut chance = Chance::of_seed(seed);
    let rarity = chance.pick(&[0, 6, 12, 25, 50]);
    let chaos = Chaos::new(seed, rarity, Arc::clone(counters));
    let owners = [Owner::Old, Owner::Old, Owner::Old, Owner::New, Owner::Foreign, Owner::Nobody];
    let mut world = World::new(&mut chance, &chaos, &owners);
    let (mut plans, takes) = plans::of_a_history(&mut chance, counters);
    if sabotage != Sabotage::None {
        for plan in &mut plans {
            plan.merge = MergeCheck::Off;
        }
    }
    let keeps_forms = plans.iter().all(|plan| plan.write == WriteAs::AsItWas);
    for plan in plans.iter_mut().filter(|_| sabotage == Sabotage::AnotherForm) {
        plan.write = WriteAs::Vault;
    }
    let moves: Vec<Move> = plans.iter().flat_map(|plan| plan.pairs.clone()).collect();
    let mut rekeyers: Vec<_> = plans.into_iter().map(|plan| Rekeyer::new(plan, sabotage)).collect();
    let writes = chance.pick(&[0, 4, 8, 20]);
    for _ in 0..60 + chance.below(140) {
        if chance.one_in(writes) {
            world.write(&mut chance, &chaos);
        } else if chance.one_in(10) {
            chaos.land_one();
        } else {
            let who = chance.below(rekeyers.len());
            rekeyers[who].act(&mut world, &chaos, &mut chance)?;
        }
    }
    chaos.end();
    // Unfinished rekeyers resume where they were.
    for rekeyer in &mut rekeyers[..takes] {
        rekeyer.run_undisturbed(&mut world, &chaos)?;
    }
    for rekeyer in &mut rekeyers[..takes] {
        let again = rekeyer.run_undisturbed(&mut world, &chaos)?;
        ensure!(again.counts.rekeyed == 0, "a second rekey found {}", again.counts.rekeyed);
    }
    world.check(&moves)?;
    if keeps_forms {
        world.check_forms()?;
        add(&counters.histories_written_as_they_were, 1);
    }
    add(&counters.histories, 1);
    Ok(chaos.traced())
}

/// Plays a history of pairs that chain: a record that was moved to a password is not moved on from
/// it, whatever fails and dies, and however often the run resumes.
fn play_chain(seed: u64, counters: &Arc<Counters>) -> Result<u64, Violation> {
    let mut chance = Chance::of_seed(seed);
    let chaos = Chaos::new(seed, chance.pick(&[0, 6, 12, 25]), Arc::clone(counters));
    let owners = [Owner::Old, Owner::Old, Owner::New, Owner::Foreign];
    let mut world = World::new(&mut chance, &chaos, &owners);
    let cycle = [(Owner::Old, Owner::New), (Owner::New, Owner::Old)];
    let line = [(Owner::Old, Owner::New), (Owner::New, Owner::Rival)];
    let pairs = chance.pick(&[&cycle, &line]);
    let mut rekeyer = Rekeyer::new(Plan::new(pairs, world::v3().into()), Sabotage::None);
    for _ in 0..20 + chance.below(120) {
        if chance.one_in(10) {
            chaos.land_one();
        } else if let Some(report) = rekeyer.act(&mut world, &chaos, &mut chance)?
            && report.end == RunStatus::Complete
        {
            break;
        }
        if world.has_changed() {
            world.check_moved_once(pairs)?;
        }
    }
    chaos.end();
    let report = rekeyer.run_undisturbed(&mut world, &chaos)?;
    let moved = world.check_moved_once(pairs)?;
    let open = report.counts.failed + report.counts.conflict;
    let due = world.owned_by(Owner::Old) + world.owned_by(Owner::New);
    ensure!(moved + open >= due, "{moved} of {due} moved, {open} left open");
    add(&counters.moved_once, moved);
    add(&counters.histories_of_chains, 1);
    Ok(chaos.traced())
}

/// Plays that many histories on all cores, and reports the first seed that ends badly.
fn play_all(
    seeds: std::ops::Range<u64>,
    play: impl Fn(u64) -> Result<u64, Violation> + Sync,
) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(violation) = play(seed) {
                next.store(seeds.end, Relaxed);
                return Some((seed, violation));
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let ends: Vec<_> = threads.into_iter().filter_map(|t| t.join().unwrap()).collect();
        ends.into_iter().min()
    })
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn no_history_loses_or_reverts_or_misses_a_record() {
    let first = number("VAULTSTORE_SIM_FIRST_SEED", 0);
    let count = number("VAULTSTORE_SIM_HISTORIES", 5_000);
    let counters = Arc::new(Counters::default());

    let seeds = first..first + count;
    let failed = play_all(seeds, |seed| play(seed, Sabotage::None, &counters));
    assert_eq!(failed, None, "play this seed again with VAULTSTORE_SIM_FIRST_SEED");
    let seeds = first..first + count / 10;
    let failed = play_all(seeds, |seed| play_chain(seed, &counters));
    assert_eq!(failed, None, "play this seed again with VAULTSTORE_SIM_FIRST_SEED");

    for (name, times) in counters.all() {
        println!("{name}: {times}");
        assert!(times > 0, "{name} never happened, so nothing was proved about it");
    }
}

#[test]
fn each_sabotage_is_found() {
    for sabotage in [
        Sabotage::NoCompareAndSwap,
        Sabotage::OffsetPaging,
        Sabotage::DroppedLastPage,
        Sabotage::InclusiveCursor,
        Sabotage::BumpedTimestamp,
        Sabotage::UndoOnUnknownOutcome,
        Sabotage::ConflictsReportedAsApplied,
        Sabotage::TornBatchReportedAsApplied,
        Sabotage::CheckpointBeforeWrite,
        Sabotage::OnePass,
        Sabotage::CountsOnlyOwnWrites,
        Sabotage::AnotherForm,
        Sabotage::HeadOfAnotherVersion,
    ] {
        let counters = Arc::default();
        let found = play_all(0..10_000, |seed| play(seed, sabotage, &counters));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{sabotage:?} was not found"));
        println!("{sabotage:?}: seed {seed}: {violation}");
    }
}

#[test]
fn a_seed_plays_the_same_history_every_time() {
    let counters = Arc::default();
    for seed in 0..100 {
        assert_eq!(play(seed, Sabotage::None, &counters), play(seed, Sabotage::None, &counters));
    }
}
