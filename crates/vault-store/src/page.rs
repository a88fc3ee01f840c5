//! The size limit of a page of records.

use std::num::NonZeroUsize;

/// The maximum size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Maximum number of records.
    pub records: NonZeroUsize,
    /// Maximum number of bytes of envelope text (the sum of
    /// [`loaded_len`](crate::EnvelopeText::loaded_len)), except that the first record is always
    /// returned.
    pub bytes: NonZeroUsize,
}

impl PageLimit {
    /// Creates a limit of records and bytes, each at least 1.
    #[must_use]
    pub fn new(records: usize, bytes: usize) -> Self {
        Self {
            records: NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN),
            bytes: NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN),
        }
    }
}
