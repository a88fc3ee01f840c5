//! Wipes the stack below a caller, where calls that have returned left copies of secrets.
//!
//! A buffer that is wiped on drop has often been moved before, and third-party code (the key
//! schedule of AES, the last block of Argon2id) keeps its own copies in its stack frames. These
//! stay until another call happens to overwrite them, and are in every core file until then.

use std::hint::black_box;

use zeroize::Zeroize as _;

/// Several times what the deepest frames of sealing, opening and deriving need together.
const WORDS: usize = 16 * 1024 / size_of::<u64>();

/// Overwrites the next 16 KiB of the stack, where earlier calls of the caller had their frames.
/// Takes about a microsecond.
#[inline(never)]
pub(crate) fn wipe_below() {
    let mut words = [0_u64; WORDS];
    words.as_mut_slice().zeroize();
    black_box(&words);
}
