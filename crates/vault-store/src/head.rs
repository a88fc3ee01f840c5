//! The beginning of an envelope, for reads that decide without the rest.

use std::fmt;

use crate::page::HasWeight;
use crate::record::{EnvelopeText, MAX_ENVELOPE_LEN, RecordId, SealedRecord};

/// How many bytes of an envelope its head has: the header and the checksum of a v3 text.
pub const HEAD_LEN: usize = 131;

/// The first [`HEAD_LEN`] bytes of a stored envelope, or all of a shorter one, and the length of
/// the whole text. The head of a text over [`MAX_ENVELOPE_LEN`] is empty.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvelopeHead {
    /// Zero behind the end of the text.
    bytes: [u8; HEAD_LEN],
    len: u64,
}

impl EnvelopeHead {
    /// Takes the head off the beginning of a stored text; `len` is the length of the whole text in
    /// bytes.
    #[must_use]
    pub fn from_stored(beginning: &[u8], len: u64) -> Self {
        let mut bytes = [0; HEAD_LEN];
        let taken = beginning.len().min(head_len(len));
        bytes[..taken].copy_from_slice(&beginning[..taken]);
        Self { bytes, len }
    }

    /// Returns the bytes of the head, at most [`HEAD_LEN`].
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..head_len(self.len)]
    }

    /// Returns the length of the whole stored text in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "as for the text that it begins")]
    pub fn len(&self) -> u64 {
        self.len
    }
}

fn head_len(len: u64) -> usize {
    if len > MAX_ENVELOPE_LEN as u64 {
        return 0;
    }
    usize::try_from(len).map_or(0, |len| len.min(HEAD_LEN))
}

impl From<&EnvelopeText> for EnvelopeHead {
    fn from(text: &EnvelopeText) -> Self {
        Self::from_stored(text.as_bytes().unwrap_or_default(), text.len())
    }
}

/// Shows only the length, as for the whole text.
impl fmt::Debug for EnvelopeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvelopeHead(of {} bytes)", self.len)
    }
}

/// The id of a record and the head of its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The primary key.
    pub id: RecordId,
    /// The beginning of the sealed value.
    pub head: EnvelopeHead,
}

impl From<SealedRecord> for RecordHead {
    fn from(record: SealedRecord) -> Self {
        Self { head: EnvelopeHead::from(&record.envelope), id: record.id }
    }
}

/// The bytes of its id and of its head.
impl HasWeight for RecordHead {
    fn weight(&self) -> usize {
        self.id.as_bytes().len().saturating_add(self.head.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_beginning_of_a_text_and_never_longer_than_it() {
        let text: Vec<u8> = (0..200).collect();
        for len in [0, 1, HEAD_LEN - 1, HEAD_LEN, HEAD_LEN + 1, 200] {
            let whole = EnvelopeText::from_stored(&text[..len]);
            let head = EnvelopeHead::from(&whole);
            assert_eq!(head.as_bytes(), &text[..len.min(HEAD_LEN)]);
            assert_eq!(head.len(), len as u64);
            // However much of the text it was taken off.
            assert_eq!(EnvelopeHead::from_stored(&text, len as u64), head);
        }
    }

    #[test]
    fn a_text_over_the_limit_has_an_empty_head() {
        let len = MAX_ENVELOPE_LEN as u64 + 1;
        let head = EnvelopeHead::from_stored(b"v3:", len);
        assert_eq!(head, EnvelopeHead::from(&EnvelopeText::too_long(len)));
        assert_eq!((head.as_bytes(), head.len()), (&b""[..], len));
    }
}
