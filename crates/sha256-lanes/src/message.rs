//! A message and its padded blocks.

use crate::block::{BLOCK_LEN, START, State};

/// A message to hash: optionally a block that was hashed before, and two consecutive parts.
pub struct Message<'a> {
    pub(crate) begin: Begin<'a>,
    pub(crate) parts: [&'a [u8]; 2],
}

#[derive(Clone, Copy)]
pub(crate) enum Begin<'a> {
    Start,
    /// The state after the first block.
    AfterBlock(&'a State),
}

impl<'a> Message<'a> {
    /// Creates a message that consists of two consecutive parts.
    #[must_use]
    pub fn new(parts: [&'a [u8]; 2]) -> Self {
        Self { begin: Begin::Start, parts }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }

    /// The length with its padding: one bit, and the length in 64 more.
    pub(crate) fn blocks(&self) -> usize {
        (self.len() + 1 + size_of::<u64>()).div_ceil(BLOCK_LEN)
    }

    pub(crate) fn begin(&self) -> &State {
        match self.begin {
            Begin::Start => &START,
            Begin::AfterBlock(state) => state,
        }
    }

    /// Returns one block of the padded message, in place or, if it is not contiguous there, in the
    /// given space.
    pub(crate) fn block<'b>(
        &self,
        number: usize,
        space: &'b mut [u8; BLOCK_LEN],
    ) -> &'b [u8; BLOCK_LEN]
    where
        'a: 'b,
    {
        let begin = number * BLOCK_LEN;
        let [first, second] = self.parts;
        let whole = match begin.checked_sub(first.len()) {
            None => first[begin..].first_chunk(),
            Some(begin) => second.get(begin..).and_then(<[u8]>::first_chunk),
        };
        whole.unwrap_or_else(|| {
            self.fill(number, space);
            space
        })
    }

    // FIPS 180-4 §5.1.1
    pub(crate) fn fill(&self, number: usize, block: &mut [u8; BLOCK_LEN]) {
        let begin = number * BLOCK_LEN;
        block.fill(0);
        let (mut filled, mut skip) = (0, begin);
        for part in self.parts {
            let rest = part.get(skip..).unwrap_or_default();
            let taken = rest.len().min(BLOCK_LEN - filled);
            block[filled..filled + taken].copy_from_slice(&rest[..taken]);
            filled += taken;
            skip = skip.saturating_sub(part.len());
        }
        if filled < BLOCK_LEN && begin + filled == self.len() {
            block[filled] = 0x80;
        }
        if number + 1 == self.blocks() {
            let before = if let Begin::AfterBlock(_) = self.begin { BLOCK_LEN } else { 0 };
            let bits = (before + self.len()) as u64 * 8;
            block[BLOCK_LEN - size_of::<u64>()..].copy_from_slice(&bits.to_be_bytes());
        }
    }
}
