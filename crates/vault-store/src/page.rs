//! How much one page of records may hold.

use std::num::NonZeroUsize;

/// How much a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many records.
    pub records: NonZeroUsize,
    /// At most so many bytes of envelope text ([`loaded_len`](crate::EnvelopeText::loaded_len) summed), except that the first record always comes.
    pub bytes: NonZeroUsize,
}

impl PageLimit {
    /// Records and bytes, each at least one.
    #[must_use]
    pub fn new(records: usize, bytes: usize) -> Self {
        Self {
            records: NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN),
            bytes: NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN),
        }
    }
}
