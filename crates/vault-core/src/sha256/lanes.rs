//! The compression function of SHA-256 on eight states at once, one in each lane of the vectors.

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u32x8};
use zeroize::Zeroize as _;

use super::{BLOCK_LEN, STATE_WORDS, State, WORDS_PER_BLOCK};

/// How many messages are hashed at a time: as many as 256 bits have words.
pub(super) const LANES: usize = 8;

const ROUNDS: usize = 64;

/// One word of every lane.
type Words = [u32; LANES];

/// Eight states and the blocks that come next; wiped on drop.
pub(super) struct Lanes {
    level: Level,
    states: [Words; STATE_WORDS],
    block: [Words; WORDS_PER_BLOCK],
}

impl Lanes {
    /// Lanes, where they are the faster way.
    pub(super) fn of_this_processor() -> Option<Self> {
        static FASTER: LazyLock<Option<Level>> = LazyLock::new(detect);
        FASTER.map(Self::new)
    }

    /// Lanes on any processor, the faster way or not.
    #[cfg(test)]
    pub(super) fn any() -> Self {
        Self::new(Level::new())
    }

    fn new(level: Level) -> Self {
        Self { level, states: Default::default(), block: Default::default() }
    }

    pub(super) fn put_state(&mut self, lane: usize, state: &State) {
        for (words, word) in self.states.iter_mut().zip(state) {
            words[lane] = *word;
        }
    }

    pub(super) fn state(&self, lane: usize) -> State {
        self.states.map(|words| words[lane])
    }

    pub(super) fn put_block(&mut self, lane: usize, block: &[u8; BLOCK_LEN]) {
        for (words, bytes) in self.block.iter_mut().zip(block.as_chunks().0) {
            words[lane] = u32::from_be_bytes(*bytes);
        }
    }

    /// Takes the block of each lane into its state. What a lane without a message holds does not matter.
    pub(super) fn compress(&mut self) {
        let Self { level, states, block } = self;
        dispatch!(*level, simd => compress(simd, states, block));
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.states.zeroize();
        self.block.zeroize();
    }
}

/// AVX2 hashes eight messages four times as fast as the `sha2` crate without SHA instructions, and slower than it with
/// them. Vectors of 128 bits gain too little.
#[cfg(target_arch = "x86_64")]
fn detect() -> Option<Level> {
    let level = Level::new();
    let faster = level.as_avx2().is_some() && !std::arch::is_x86_feature_detected!("sha");
    faster.then_some(level)
}

/// Elsewhere SHA instructions are common, and wide vectors are not.
#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Option<Level> {
    None
}

// FIPS 180-4 §6.2.2; the message schedule is made as it is used, sixteen words at a time
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "vector instructions are only used within the function that was compiled for them"
)]
#[expect(clippy::many_single_char_names, reason = "the standard's names")]
fn compress<S: Simd>(simd: S, states: &mut [Words; STATE_WORDS], block: &[Words; WORDS_PER_BLOCK]) {
    let mut w: [u32x8<S>; WORDS_PER_BLOCK] = block.map(|words| words.simd_into(simd));
    let before: [u32x8<S>; STATE_WORDS] = states.map(|words| words.simd_into(simd));
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = before;
    for turn in 0..ROUNDS / WORDS_PER_BLOCK {
        // counted by a constant, or the compiler does not unroll it
        for t in 0..WORDS_PER_BLOCK {
            if turn > 0 {
                let (x, y) = (w[(t + 1) % WORDS_PER_BLOCK], w[(t + 14) % WORDS_PER_BLOCK]);
                let sigma_0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >> 3);
                let sigma_1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >> 10);
                w[t] = w[t] + sigma_0 + w[(t + 9) % WORDS_PER_BLOCK] + sigma_1;
            }
            let sum_1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
            let choice = g ^ (e & (f ^ g));
            let t1 = h + sum_1 + choice + (w[t] + K[turn * WORDS_PER_BLOCK + t]);
            let sum_0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
            let majority = (a & b) ^ (c & (a ^ b));
            (h, g, f, e) = (g, f, e, d + t1);
            (d, c, b, a) = (c, b, a, t1 + sum_0 + majority);
        }
    }
    let after = [a, b, c, d, e, f, g, h];
    for ((words, before), after) in states.iter_mut().zip(before).zip(after) {
        *words = (before + after).into();
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn rotate<S: Simd>(x: u32x8<S>, by: u32) -> u32x8<S> {
    (x >> by) | (x << (u32::BITS - by))
}

// FIPS 180-4 §4.2.2
const K: [u32; ROUNDS] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];
