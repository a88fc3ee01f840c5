//! The compression function of SHA-256 on eight states at once, one in each lane of a vector.

use std::sync::LazyLock;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u32x8};
use zeroize::Zeroize as _;

use crate::block::{BLOCK_LEN, STATE_WORDS, State, WORDS_PER_BLOCK};

/// The number of messages hashed at a time: the number of 32-bit words in 256 bits.
pub(super) const LANES: usize = 8;

/// One word of every lane.
type Words = [u32; LANES];

/// Eight states and their next blocks; wiped on drop.
pub(super) struct Lanes {
    level: Level,
    states: [Words; STATE_WORDS],
    block: [Words; WORDS_PER_BLOCK],
}

impl Lanes {
    /// Uses lanes if they are faster on this processor.
    pub(super) fn of_this_processor() -> Option<Self> {
        static FASTER: LazyLock<Option<Level>> = LazyLock::new(detect);
        FASTER.map(Self::new)
    }

    /// Uses lanes on any processor.
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

    /// Compresses the block of each lane into its state. The contents of lanes without a message do
    /// not matter.
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

/// AVX2 hashes eight messages seven times as fast as the `sha2` crate without SHA instructions, and
/// more slowly than with them. 128-bit vectors gain too little.
#[cfg(target_arch = "x86_64")]
fn detect() -> Option<Level> {
    let level = Level::new();
    let faster = level.as_avx2().is_some() && !std::arch::is_x86_feature_detected!("sha");
    faster.then_some(level)
}

/// On other architectures SHA instructions are common, and wide vectors are not.
#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Option<Level> {
    None
}

/// Sixteen rounds, each preceded by computing its word of the message schedule, unless that is a
/// word of the block.
///
/// Unrolled, with the working variables rotating from round to round: in a loop, the compiler moves
/// them, which takes a third longer.
macro_rules! sixteen_rounds {
    ($w:ident, $words:ident, $k:expr, [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident]) => {
        sixteen_rounds!(@ $w, $words, $k, $a $b $c $d $e $f $g $h, 0 1 2 3 4 5 6 7);
        sixteen_rounds!(@ $w, $words, $k, $a $b $c $d $e $f $g $h, 8 9 10 11 12 13 14 15);
    };
    (@ $w:ident, $words:ident, $k:expr, $a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $t:literal $($more:literal)*) => {
        $words!($w, $t);
        let t1 = $h + sum_1($e) + choice($e, $f, $g) + ($w[$t] + $k[$t]);
        $d += t1;
        $h = t1 + sum_0($a) + majority($a, $b, $c);
        sixteen_rounds!(@ $w, $words, $k, $h $a $b $c $d $e $f $g, $($more)*);
    };
    (@ $w:ident, $words:ident, $k:expr, $($state:ident)*,) => {};
}

/// The first sixteen words are the block.
macro_rules! of_the_block {
    ($w:ident, $t:literal) => {};
}

/// The others are computed from earlier ones and overwrite those no longer needed.
macro_rules! scheduled {
    ($w:ident, $t:literal) => {
        $w[$t] += sigma_0($w[($t + 1) % WORDS_PER_BLOCK])
            + $w[($t + 9) % WORDS_PER_BLOCK]
            + sigma_1($w[($t + 14) % WORDS_PER_BLOCK]);
    };
}

// FIPS 180-4 §6.2.2; the message schedule is computed as it is used, sixteen words at a time
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
    let (first, others) = K.split_at(1);
    sixteen_rounds!(w, of_the_block, first[0], [a b c d e f g h]);
    for k in others {
        sixteen_rounds!(w, scheduled, k, [a b c d e f g h]);
    }
    let after = [a, b, c, d, e, f, g, h];
    for ((words, before), after) in states.iter_mut().zip(before).zip(after) {
        *words = (before + after).into();
    }
}

/// The functions of FIPS 180-4 §4.1.2, and the rotation that they consist of.
macro_rules! functions {
    ($($name:ident($($x:ident),+) = $value:expr;)*) => {
        $(
            #[inline(always)]
            fn $name<S: Simd>($($x: u32x8<S>),+) -> u32x8<S> {
                $value
            }
        )*
    };
}

functions! {
    sum_0(x) = rotate(x, 2) ^ rotate(x, 13) ^ rotate(x, 22);
    sum_1(x) = rotate(x, 6) ^ rotate(x, 11) ^ rotate(x, 25);
    sigma_0(x) = rotate(x, 7) ^ rotate(x, 18) ^ (x >> 3);
    sigma_1(x) = rotate(x, 17) ^ rotate(x, 19) ^ (x >> 10);
    choice(x, y, z) = z ^ (x & (y ^ z));
    majority(x, y, z) = (x & y) ^ (z & (x ^ y));
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn rotate<S: Simd>(x: u32x8<S>, by: u32) -> u32x8<S> {
    (x >> by) | (x << (u32::BITS - by))
}

// FIPS 180-4 §4.2.2
const K: [[u32; WORDS_PER_BLOCK]; 4] = [
    [
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
    ],
    [
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
    ],
    [
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
    ],
    [
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
    ],
];
