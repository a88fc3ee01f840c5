//! Records, and the part of them that a rekey sees.

use std::fmt;

use crate::random::RngError;
use crate::time::Timestamp;
use crate::token::Token;

/// The longest envelope text that is written or loaded, in bytes: 32 MiB.
///
/// A longer stored text is not loaded at all (see [`EnvelopeText::too_long`]), so that no row can
/// exhaust memory. The limit leaves room for a value of about 24 MiB.
pub const MAX_ENVELOPE_LEN: usize = 32 * 1024 * 1024;

/// The primary key of a record. Ids are compared and ordered as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(Box<str>);

impl RecordId {
    /// The longest id that is parsed, in bytes: what every store can hold.
    pub const MAX_LEN: usize = 255;

    /// Generates a `UUIDv7` (RFC 9562 §5.7): its leading timestamp keeps new records together at
    /// the end of the key order.
    ///
    /// # Errors
    /// [`RngError`] if the system has no randomness to give.
    pub fn generate(now: Timestamp) -> Result<Self, RngError> {
        let mut random = [0u8; 10];
        crate::random::fill_random(&mut random)?;
        let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Ok(Self(uuid.to_string().into()))
    }

    /// Wraps an id as stored in a database: any text.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes of the id, which order records and to which an envelope is bound.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text stored for one record, exactly as the store holds it.
///
/// A valid envelope is ASCII, but a store returns whatever it holds; only the envelope parser
/// judges it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeText(Text);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    Bytes(Box<[u8]>),
    NotLoaded(u64),
}

impl EnvelopeText {
    /// Wraps a stored text. If it is longer than [`MAX_ENVELOPE_LEN`], only its length is kept.
    #[must_use]
    pub fn from_stored(bytes: impl Into<Box<[u8]>>) -> Self {
        let bytes = bytes.into();
        if bytes.len() > MAX_ENVELOPE_LEN {
            return Self::too_long(bytes.len() as u64);
        }
        Self(Text::Bytes(bytes))
    }

    /// Represents a stored text of more than [`MAX_ENVELOPE_LEN`] bytes, which a store never loads.
    #[must_use]
    pub fn too_long(len: u64) -> Self {
        Self::not_loaded(len)
    }

    /// Represents a stored text of this length that was not requested.
    #[must_use]
    pub fn not_loaded(len: u64) -> Self {
        Self(Text::NotLoaded(len))
    }

    /// Returns the bytes of the text, or `None` if it was too long to load or not requested.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Text::Bytes(bytes) => Some(bytes),
            Text::NotLoaded(_) => None,
        }
    }

    /// Returns the length of the stored text in bytes.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "no caller asks whether an envelope is empty; parsing answers that"
    )]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Text::Bytes(bytes) => bytes.len() as u64,
            Text::NotLoaded(len) => *len,
        }
    }

    /// Returns the memory that this text occupies in bytes, for bounding a page.
    #[must_use]
    pub fn loaded_len(&self) -> usize {
        self.as_bytes().map_or(0, <[u8]>::len)
    }
}

/// Shows only the length: an envelope in a log is a ciphertext to attack.
impl fmt::Debug for EnvelopeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvelopeText({} bytes)", self.len())
    }
}

/// A stored row. Its only secret is inside the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The primary key.
    pub id: RecordId,
    /// The token, unique in the vault.
    pub token: Token,
    /// The sealed value.
    pub envelope: EnvelopeText,
    /// When the record was created.
    pub created_at: Timestamp,
    /// When its owner last changed it. A rekey does not update it.
    pub updated_at: Timestamp,
    /// When it expires; `None` means never, and so does a time before 1970 ([`Timestamp::as_end`]).
    pub expires_at: Option<Timestamp>,
    /// When it was soft-deleted; `None` means that it is not, and so does a time before 1970.
    pub soft_deleted_at: Option<Timestamp>,
}

impl Record {
    /// Returns what its envelope is bound to.
    #[must_use]
    pub fn bound_to(&self) -> BoundTo<'_> {
        BoundTo { id: &self.id, token: &self.token }
    }

    /// Returns whether the record is expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        Timestamp::has_come(self.expires_at, now)
    }

    /// Returns whether the record is soft-deleted at `now`.
    #[must_use]
    pub fn is_soft_deleted(&self, now: Timestamp) -> bool {
        Timestamp::has_come(self.soft_deleted_at, now)
    }
}

/// The part of a record that a rekey sees: its envelope, and what that is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// The primary key.
    pub id: RecordId,
    /// The token.
    pub token: Token,
    /// The sealed value.
    pub envelope: EnvelopeText,
}

impl SealedRecord {
    /// Returns what its envelope is bound to.
    #[must_use]
    pub fn bound_to(&self) -> BoundTo<'_> {
        BoundTo { id: &self.id, token: &self.token }
    }
}

/// What a v3 envelope is bound to: the id and the token of its record. It opens for no other
/// (`docs/format.md` §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundTo<'a> {
    /// The record's id.
    pub id: &'a RecordId,
    /// The record's token.
    pub token: &'a Token,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_are_uuid_v7_and_ordered_by_time() {
        let early = RecordId::generate(Timestamp::from_micros(1_000_000)).unwrap();
        let late = RecordId::generate(Timestamp::from_micros(2_000_000)).unwrap();
        assert!(early < late);
        assert_eq!(uuid::Uuid::parse_str(early.as_str()).unwrap().get_version_num(), 7);
    }

    #[test]
    fn an_envelope_over_the_limit_is_not_kept() {
        let text = EnvelopeText::from_stored(vec![b'a'; MAX_ENVELOPE_LEN + 1]);
        assert_eq!(text, EnvelopeText::too_long(MAX_ENVELOPE_LEN as u64 + 1));
        assert_eq!(text.as_bytes(), None);
        assert_eq!(text.loaded_len(), 0);
    }

    #[test]
    fn debug_shows_no_ciphertext() {
        assert_eq!(format!("{:?}", EnvelopeText::from_stored(*b"v3:abc")), "EnvelopeText(6 bytes)");
    }
}
