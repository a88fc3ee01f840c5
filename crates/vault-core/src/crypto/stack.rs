//! Wipes the stack below a caller, where calls that have returned left copies of secrets.
//!
//! A buffer that is wiped on drop was often moved before, and code of others (the key schedule of AES, the last block of
//! Argon2id) keeps its own copies in its frames. What is left there stays until another call happens to write over it, and
//! is in every core file until then.

use std::hint::black_box;

use zeroize::Zeroize as _;

/// Several times what the deepest frames of sealing, opening and deriving take together.
const WORDS: usize = 16 * 1024 / size_of::<u64>();

/// Overwrites the next 16 KiB of the stack: where the calls that the caller made before had their frames. Takes about a
/// microsecond.
#[inline(never)]
pub(crate) fn wipe_below() {
    let mut words = [0_u64; WORDS];
    words.as_mut_slice().zeroize();
    black_box(&words);
}
