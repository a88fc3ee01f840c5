//! How long a scenario runs, its chances, and what it reports.

use std::{
    env,
    time::{Duration, Instant},
};

/// How long a scenario tries beyond its time to see what it has to: far more than any machine
/// needs.
const PATIENCE: Duration = Duration::from_mins(30);

/// The rounds of a scenario: at least a number, for a time under torture, and until all that has to
/// be seen was.
pub(crate) struct Rounds {
    done: u32,
    least: u32,
    until: Instant,
    chances: Chances,
}

impl Rounds {
    pub(crate) fn at_least(least: u32) -> Self {
        let until = Instant::now() + Duration::from_secs(seconds().unwrap_or(0));
        Self { done: 0, least, until, chances: Chances::of(0) }
    }

    /// Whether there is another round; what is still to be seen is never given up in silence.
    pub(crate) fn again(&mut self, seen: bool) -> bool {
        let late = self.until + PATIENCE;
        assert!(seen || Instant::now() < late, "not seen in {} rounds", self.done);
        let again = !seen || self.done < self.least || Instant::now() < self.until;
        self.done += u32::from(again);
        again
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.chances.below(bound)
    }
}

/// Numbers by `SplitMix64`.
pub(crate) struct Chances(u64);

impl Chances {
    /// Another row of numbers for each of these, all from the seed of torture.
    pub(crate) fn of(number: u64) -> Self {
        Self(number << 32 ^ self::number("VAULTSTORE_TORTURE_SEED").unwrap_or(0))
    }

    /// A number below the bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// How long each scenario takes at least; only torture says so.
pub(crate) fn seconds() -> Option<u64> {
    number("VAULTSTORE_TORTURE_SECONDS")
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap())
}

/// A line that `cargo xtask torture` collects.
pub(crate) fn figures(scenario: &str, figures: &str) {
    println!("torture: {scenario}: {figures}, lost: 0");
}

pub(crate) fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}
