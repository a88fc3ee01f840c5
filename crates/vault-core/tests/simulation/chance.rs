//! The one source of chance: everything that happens in a history follows from its seed.

/// `SplitMix64` (Steele, Lea, Flood 2014).
pub(crate) struct Chance {
    state: u64,
    strikes: bool,
}

impl Chance {
    pub(crate) fn of_seed(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0xd134_2543_de82_ef95), strikes: true }
    }

    /// Chance that never strikes.
    pub(crate) fn never() -> Self {
        Self { state: 0, strikes: false }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below the bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// Once in that many times; 0 is never.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.strikes && times != 0 && self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
