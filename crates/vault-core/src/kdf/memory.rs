//! The one place where Argon2id runs, and the memory it runs in.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Version};
use zeroize::Zeroize as _;

use crate::KdfParams;

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
        Self { blocks: Vec::new(), max_retained_kib: max_kib, derivations: 0 }
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
        let KdfParams { m_kib, t, p } = *params;
        let argon2_params =
            argon2::Params::new(m_kib, t, p, Some(out.len())).map_err(|_| KdfError::Unsupported)?;
        self.hold(argon2_params.block_count(), m_kib)?;
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
    fn hold(&mut self, count: usize, m_kib: u32) -> Result<(), KdfError> {
        if self.blocks.len() >= count {
            return Ok(());
        }
        // the old blocks go first: never both at once
        self.give_back();
        self.blocks.try_reserve_exact(count).map_err(|_| KdfError::OutOfMemory { kib: m_kib })?;
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
