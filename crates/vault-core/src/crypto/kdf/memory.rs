//! The one place that runs Argon2id, and the memory that it runs in.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Block, Version};
use zeroize::Zeroize as _;

use crate::crypto::kdf::KdfParams;

/// The memory that Argon2id runs in, reused from one derivation to the next.
///
/// One thread owns one. A derivation of `m` KiB allocates nothing if `m` KiB were used before.
/// Memory is allocated fallibly: a shortage is a [`KdfError`], never an abort.
///
/// # Security
/// The memory is wiped when released or dropped.
pub struct KdfMemory {
    blocks: Blocks,
    max_retained_kib: u32,
    /// Where a thread of several derives what needs more than its share.
    large: Option<LargeMemory>,
    derivations: u64,
}

/// Memory that the threads of a run share for what needs more than their shares, so that one of
/// them derives such a thing at a time. It is kept: an allocator may take new memory for the next
/// one before it returns what the last one released.
#[derive(Clone, Default)]
pub(crate) struct LargeMemory(Arc<Mutex<Blocks>>);

/// Wiped when released or dropped.
#[derive(Default)]
struct Blocks(Vec<Block>);

impl KdfMemory {
    /// Creates memory that keeps as much as its largest derivation needed.
    #[must_use]
    pub fn new() -> Self {
        Self::with_retained_kib(u32::MAX)
    }

    /// Creates memory that keeps at most `max_kib` KiB between derivations and releases the rest at
    /// once.
    #[must_use]
    pub fn with_retained_kib(max_kib: u32) -> Self {
        Self { blocks: Blocks::default(), max_retained_kib: max_kib, large: None, derivations: 0 }
    }

    /// Creates the memory of one thread of several. A derivation that needs more than this share
    /// runs in the other memory, so that together they use their shares and one more derivation.
    pub(crate) fn with_share(share_kib: u32, large: LargeMemory) -> Self {
        Self { large: Some(large), ..Self::with_retained_kib(share_kib) }
    }

    /// Returns how many Argon2id derivations have run in this memory.
    #[must_use]
    pub fn derivations(&self) -> u64 {
        self.derivations
    }

    /// Returns the memory currently held, in KiB.
    #[must_use]
    pub fn held_kib(&self) -> usize {
        self.blocks.0.capacity()
    }

    /// Runs Argon2id 1.3 (RFC 9106) without a secret or associated data, filling `out`.
    pub(crate) fn derive(
        &mut self,
        password: &[u8],
        salt: &[u8],
        params: &KdfParams,
        out: &mut [u8],
    ) -> Result<(), KdfError> {
        let KdfParams { m_cost, t, p } = *params;
        let argon2_params = argon2::Params::new(m_cost, t, p, Some(out.len()))
            .map_err(|_| KdfError::Unsupported)?;
        let large = self.large.as_ref().filter(|_| m_cost > self.max_retained_kib);
        let mut large = large.map(|large| large.0.lock().unwrap_or_else(PoisonError::into_inner));
        let blocks = large.as_deref_mut().unwrap_or(&mut self.blocks);
        blocks.hold(argon2_params.block_count(), m_cost)?;
        self.derivations += 1;
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, argon2_params)
            .hash_password_into_with_memory(password, salt, out, blocks.0.as_mut_slice())
            .map_err(|_| KdfError::Unsupported);
        if large.is_none() && self.blocks.0.len() as u64 > u64::from(self.max_retained_kib) {
            self.blocks.give_back();
        }
        result
    }
}

impl Blocks {
    /// Ensures that at least `count` blocks of 1 KiB are held.
    fn hold(&mut self, count: usize, m_cost: u32) -> Result<(), KdfError> {
        if self.0.len() >= count {
            return Ok(());
        }
        // release the old blocks first: never hold both
        self.give_back();
        self.0.try_reserve_exact(count).map_err(|_| KdfError::OutOfMemory { kib: m_cost })?;
        self.0.resize(count, Block::new());
        Ok(())
    }

    fn give_back(&mut self) {
        self.0.zeroize();
        self.0 = Vec::new();
    }
}

impl Default for KdfMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for KdfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KdfMemory({} KiB, {} derivations)", self.held_kib(), self.derivations)
    }
}

/// Argon2id could not run. Nothing is known about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KdfError {
    /// The system did not provide the memory.
    #[error(
        "Argon2id needs {kib} KiB of memory, and the system did not give them; close other programs or use fewer workers"
    )]
    OutOfMemory {
        /// The requested memory, in KiB.
        kib: u32,
    },
    /// The password has 4 GiB or more, for which Argon2id is not defined.
    #[error("Argon2id is not defined for this input; a password must be shorter than 4 GiB")]
    Unsupported,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(memory: &mut KdfMemory, m_cost: u32, t: u32, password: &[u8]) -> [u8; 32] {
        let params = KdfParams::new(m_cost, t, 1).unwrap();
        let mut out = [0; 32];
        memory.derive(password, b"somesalt", &params, &mut out).unwrap();
        out
    }

    #[test]
    fn argon2id_gives_what_the_reference_implementation_gives() {
        // phc-winner-argon2, src/test.c: Argon2id, version 1.3, t = 2, m = 2^16, p = 1
        let expected = [
            0x09, 0x31, 0x61, 0x15, 0xd5, 0xcf, 0x24, 0xed, 0x5a, 0x15, 0xa3, 0x1a, 0x3b, 0xa3,
            0x26, 0xe5, 0xcf, 0x32, 0xed, 0xc2, 0x47, 0x02, 0x98, 0x7c, 0x02, 0xb6, 0x56, 0x6f,
            0x61, 0x91, 0x3c, 0xf7,
        ];
        assert_eq!(derive(&mut KdfMemory::new(), 1 << 16, 2, b"password"), expected);
    }

    #[test]
    fn memory_used_before_changes_no_result() {
        let mut memory = KdfMemory::new();
        let costs = [(64, 1), (8, 3), (1024, 1), (8, 3), (64, 1)];
        for (m_cost, t) in costs {
            let fresh = derive(&mut KdfMemory::new(), m_cost, t, b"password");
            assert_eq!(derive(&mut memory, m_cost, t, b"password"), fresh);
        }
        assert_eq!((memory.derivations(), memory.held_kib()), (5, 1024));
    }

    #[test]
    fn what_is_beyond_the_retained_size_is_given_back() {
        let mut memory = KdfMemory::with_retained_kib(64);
        derive(&mut memory, 64, 1, b"");
        assert_eq!(memory.held_kib(), 64);
        derive(&mut memory, 65 * 4, 1, b"");
        assert_eq!(memory.held_kib(), 0);
        derive(&mut memory, 8, 1, b"");
        assert_eq!(memory.held_kib(), 8);
    }

    #[test]
    fn what_is_beyond_its_share_is_derived_in_the_memory_of_the_group_and_gives_the_same() {
        let large = LargeMemory::default();
        let mut group = [64, 64].map(|share| KdfMemory::with_share(share, large.clone()));
        for memory in &mut group {
            for (m_cost, of_group) in [(64, 0), (256, 256), (128, 256)] {
                let fresh = derive(&mut KdfMemory::new(), m_cost, 1, b"password");
                assert_eq!(derive(memory, m_cost, 1, b"password"), fresh);
                assert_eq!(memory.held_kib(), 64);
                assert!(large.0.lock().unwrap().0.len() >= of_group);
            }
        }
        assert_eq!(large.0.lock().unwrap().0.capacity(), 256);
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        let mut memory = KdfMemory::new();
        derive(&mut memory, 8, 1, b"");
        assert_eq!(memory.blocks.hold(usize::MAX, 1), Err(KdfError::OutOfMemory { kib: 1 }));
        assert_eq!(derive(&mut memory, 8, 1, b""), derive(&mut KdfMemory::new(), 8, 1, b""));
    }
}
