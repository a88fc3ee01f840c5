//! Thousands of seeded histories of the real rekey engine over a store in memory, on one thread, poll by poll.
//!
//! A history is a small vault with one or two rekeyers and a writer beside them. Store calls take their time, fail
//! before or after their effect or take effect late; rekeyers are stopped, dropped and begun anew. Then the faults end,
//! a rekey runs undisturbed, the next one finds nothing, and every record must be what the ledger says.
//!
//! `VAULTSTORE_SIM_HISTORIES` says how many histories, `VAULTSTORE_SIM_FIRST_SEED` where they begin.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod chance;
mod counters;
mod rekeyer;
mod store;
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use chance::Chance;
use counters::{Counters, add};
use rekeyer::Rekeyer;
use store::{Chaos, Sabotage};
use world::{Owner, Violation, World};

/// Plays the history of a seed; what comes back names everything that happened in it.
fn play(seed: u64, sabotage: Sabotage, counters: &Arc<Counters>) -> Result<u64, Violation> {
    let mut chance = Chance::of_seed(seed);
    let rarity = chance.pick(&[0, 6, 12, 25, 50]);
    let chaos = Chaos::new(seed, rarity, Arc::clone(counters));
    let mut world = World::new(&mut chance, Arc::clone(counters));
    let targets =
        chance.pick(&[&[Owner::New][..], &[Owner::New, Owner::New], &[Owner::New, Owner::Rival]]);
    let mut rekeyers: Vec<_> =
        targets.iter().map(|target| Rekeyer::new(*target, sabotage)).collect();
    let writes = chance.pick(&[0, 4, 8, 20]);
    for _ in 0..60 + chance.below(140) {
        if chance.one_in(writes) {
            world.write(&mut chance);
        } else if chance.one_in(10) {
            chaos.land_one();
        } else {
            let who = chance.below(rekeyers.len());
            rekeyers[who].act(&mut world, &chaos, &mut chance)?;
        }
    }
    drop(rekeyers);
    chaos.end();
    let mut last = Rekeyer::new(Owner::New, sabotage);
    last.run_undisturbed(&mut world, &chaos)?;
    let again = last.run_undisturbed(&mut world, &chaos)?;
    ensure!(again.counts.rekeyed == 0, "a second rekey found {}", again.counts.rekeyed);
    world.check()?;
    add(&counters.histories, 1);
    Ok(chaos.traced())
}

/// Plays so many histories on all cores, and tells the first seed that ends badly.
fn play_all(
    seeds: std::ops::Range<u64>,
    sabotage: Sabotage,
    counters: &Arc<Counters>,
) -> Option<(u64, Violation)> {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(violation) = play(seed, sabotage, counters) {
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
    let count = number("VAULTSTORE_SIM_HISTORIES", 20_000);
    let counters = Arc::new(Counters::default());

    let failed = play_all(first..first + count, Sabotage::None, &counters);

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
    ] {
        let found = play_all(0..10_000, sabotage, &Arc::default());
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
