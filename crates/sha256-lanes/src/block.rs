//! Blocks and states of SHA-256.

/// The length of a digest, in bytes.
pub const DIGEST_LEN: usize = 32;

/// The length of a block, in bytes.
pub(crate) const BLOCK_LEN: usize = 64;
pub(crate) const WORDS_PER_BLOCK: usize = 16;
pub(crate) const STATE_WORDS: usize = 8;

pub(crate) type State = [u32; STATE_WORDS];

// FIPS 180-4 §5.3.3
pub(crate) const START: State = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
