//! The one place where Argon2id runs, and the memory it runs in.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Block, Version};
use zeroize::Zeroize as _;

use crate::crypto::kdf::KdfParams;

/// The memory that Argon2id runs in, kept from one derivation to the next.
///
/// One thread owns one; a derivation of `m` KiB then allocates nothing when `m` KiB were used before. Memory is taken
/// fallibly: too little of it is a [`KdfError`], never an abort.
///
/// # Security
/// The memory is wiped when it is given back or dropped.
pub struct KdfMemory {
    blocks: Vec<Block>,
    max_retained_kib: u32,
    /// Held by whoever of a group takes more than it may keep, so that only one does at a time.
    alone: Arc<Mutex<()>>,
    derivations: u64,
}

impl KdfMemory {
    /// Memory that keeps what its dearest derivation took.
    #[must_use]
    pub fn new() -> Self {
        Self::with_retained_kib(u32::MAX)
    }

    /// Memory that keeps at most `max_kib` KiB between derivations and gives anything beyond back at once.
    #[must_use]
    pub fn with_retained_kib(max_kib: u32) -> Self {
        Self::with_share(max_kib, Arc::default())
    }

    /// Memory of one thread of several: what needs more than its share waits until none of the others takes more than
    /// theirs, so that together they take their shares and one derivation at most.
    pub(crate) fn with_share(share_kib: u32, alone: Arc<Mutex<()>>) -> Self {
        Self { blocks: Vec::new(), max_retained_kib: share_kib, alone, derivations: 0 }
    }

    /// How many Argon2id derivations have run in this memory.
    #[must_use]
    pub fn derivations(&self) -> u64 {
        self.derivations
    }

    /// The memory that is held now, in KiB.
    #[must_use]
    pub fn held_kib(&self) -> usize {
        self.blocks.capacity()
    }

    /// Argon2id 1.3 (RFC 9106) without a secret or associated data, filling `out`.
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
        let alone = Arc::clone(&self.alone);
        let _alone = (m_cost > self.max_retained_kib)
            .then(|| alone.lock().unwrap_or_else(PoisonError::into_inner));
        self.hold(argon2_params.block_count(), m_cost)?;
        self.derivations += 1;
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, argon2_params)
            .hash_password_into_with_memory(password, salt, out, self.blocks.as_mut_slice())
            .map_err(|_| KdfError::Unsupported);
        if self.blocks.len() as u64 > u64::from(self.max_retained_kib) {
            self.give_back();
        }
        result
    }

    /// Holds at least `count` blocks of 1 KiB.
    fn hold(&mut self, count: usize, m_cost: u32) -> Result<(), KdfError> {
        if self.blocks.len() >= count {
            return Ok(());
        }
        // the old blocks go first: never both at once
        self.give_back();
        self.blocks.try_reserve_exact(count).map_err(|_| KdfError::OutOfMemory { kib: m_cost })?;
        self.blocks.resize(count, Block::new());
        Ok(())
    }

    fn give_back(&mut self) {
        self.blocks.zeroize();
        self.blocks = Vec::new();
    }
}

impl Default for KdfMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for KdfMemory {
    fn drop(&mut self) {
        self.blocks.zeroize();
    }
}

impl fmt::Debug for KdfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KdfMemory({} KiB, {} derivations)", self.held_kib(), self.derivations)
    }
}

/// Argon2id could not run; nothing is known about the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KdfError {
    /// The system did not give the memory.
    #[error(
        "Argon2id needs {kib} KiB of memory, and the system did not give them; close other programs or use fewer workers"
    )]
    OutOfMemory {
        /// The memory that was asked for, in KiB.
        kib: u32,
    },
    /// The password is of 4 GiB or more, which Argon2id is not defined for.
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
    fn memory_that_cannot_be_had_is_an_error() {
        let mut memory = KdfMemory::new();
        derive(&mut memory, 8, 1, b"");
        assert_eq!(memory.hold(usize::MAX, 1), Err(KdfError::OutOfMemory { kib: 1 }));
        assert_eq!(derive(&mut memory, 8, 1, b""), derive(&mut KdfMemory::new(), 8, 1, b""));
    }
}
