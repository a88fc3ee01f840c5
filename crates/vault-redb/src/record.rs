//! One row of the `records` table, byte for byte.
//!
//! | offset | bytes | what |
//! | ---: | ---: | --- |
//! | 0 | 1 | layout version, 1 |
//! | 1 | 1 | flags: bit 0 it expires, bit 1 it is soft-deleted; the others are zero |
//! | 2 | 4 | length of the token, *t* |
//! | 6 | 8 | time of creation |
//! | 14 | 8 | time of change |
//! | 22 | 8 | time of expiry; zero without flag bit 0 |
//! | 30 | 8 | time of soft deletion; zero without flag bit 1 |
//! | 38 | *t* | token, UTF-8 |
//! | 38 + *t* | the rest | envelope, exactly as it was given |
//!
//! Integers are little-endian. Times are signed microseconds since 1970. The id is the key of the
//! row and not repeated in it.

use vault_store::{
    EnvelopeHead, EnvelopeText, HEAD_LEN, MAX_ENVELOPE_LEN, Record, RecordHead, RecordId,
    Timestamp, Token,
};

const VERSION: u8 = 1;
const EXPIRES: u8 = 1;
const SOFT_DELETED: u8 = 2;
const FLAGS: usize = 1;
const TOKEN_LEN: usize = 2;
const CREATED_AT: usize = 6;
const UPDATED_AT: usize = 14;
const EXPIRES_AT: usize = 22;
const SOFT_DELETED_AT: usize = 30;
const HEADER_LEN: usize = 38;

/// Why bytes are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It ends within its header or its token.
    Short,
    /// Its layout version is not 1.
    Version,
    /// It has unknown flags, or a time without the corresponding flag.
    Flags,
    /// An id, a token or a setting is not UTF-8.
    Text,
}

/// Why a record cannot be stored as a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// The text of the envelope was not loaded, so there is nothing to store.
    EnvelopeNotLoaded,
    /// The token is longer than a row can represent.
    TokenTooLong,
}

/// A record that fits into a row.
pub(crate) struct Row<'a> {
    record: &'a Record,
    token_len: u32,
    envelope: &'a [u8],
}

impl<'a> Row<'a> {
    pub(crate) fn new(record: &'a Record) -> Result<Self, Unstorable> {
        let token_len =
            u32::try_from(record.token.as_str().len()).map_err(|_| Unstorable::TokenTooLong)?;
        Ok(Self { record, token_len, envelope: loaded(&record.envelope)? })
    }

    pub(crate) fn len(&self) -> usize {
        HEADER_LEN + self.record.token.as_str().len() + self.envelope.len()
    }

    /// Fills exactly [`Row::len`] bytes.
    pub(crate) fn encode(&self, row: &mut [u8]) {
        let Record { token, created_at, updated_at, expires_at, soft_deleted_at, .. } = self.record;
        let flag = |time: &Option<Timestamp>, bit| if time.is_some() { bit } else { 0 };
        row[0] = VERSION;
        row[FLAGS] = flag(expires_at, EXPIRES) | flag(soft_deleted_at, SOFT_DELETED);
        row[TOKEN_LEN..CREATED_AT].copy_from_slice(&self.token_len.to_le_bytes());
        put_time(row, CREATED_AT, Some(*created_at));
        put_time(row, UPDATED_AT, Some(*updated_at));
        put_time(row, EXPIRES_AT, *expires_at);
        put_time(row, SOFT_DELETED_AT, *soft_deleted_at);
        let (stored_token, stored_envelope) = row[HEADER_LEN..].split_at_mut(token.as_str().len());
        stored_token.copy_from_slice(token.as_str().as_bytes());
        stored_envelope.copy_from_slice(self.envelope);
    }
}

/// Decodes the whole record of a row.
pub(crate) fn decode(id: &[u8], row: &[u8]) -> Result<Record, Malformed> {
    decode_with(id, row, envelope_text)
}

/// Decodes the record of a row, with only the length of its envelope.
pub(crate) fn decode_without_envelope(id: &[u8], row: &[u8]) -> Result<Record, Malformed> {
    decode_with(id, row, |stored| EnvelopeText::not_loaded(stored.len() as u64))
}

fn decode_with(
    id: &[u8],
    row: &[u8],
    envelope: impl FnOnce(&[u8]) -> EnvelopeText,
) -> Result<Record, Malformed> {
    let envelope_at = envelope_start(row)?;
    let flags = row[FLAGS];
    if flags & !(EXPIRES | SOFT_DELETED) != 0 {
        return Err(Malformed::Flags);
    }
    Ok(Record {
        id: decode_id(id)?,
        token: Token::from_stored(text(&row[HEADER_LEN..envelope_at])?.to_owned()),
        envelope: envelope(&row[envelope_at..]),
        created_at: time(row, CREATED_AT),
        updated_at: time(row, UPDATED_AT),
        expires_at: optional_time(row, EXPIRES_AT, flags & EXPIRES != 0)?,
        soft_deleted_at: optional_time(row, SOFT_DELETED_AT, flags & SOFT_DELETED != 0)?,
    })
}

/// Decodes the key of a row.
pub(crate) fn decode_id(id: &[u8]) -> Result<RecordId, Malformed> {
    text(id).map(RecordId::from_stored)
}

/// Decodes UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

/// Returns the envelope's bytes within a row without decoding anything else: what a scan and a
/// compare-and-swap need.
pub(crate) fn envelope(row: &[u8]) -> Result<&[u8], Malformed> {
    envelope_start(row).map(|start| &row[start..])
}

/// Returns the token's bytes within a row.
pub(crate) fn token(row: &[u8]) -> Result<&[u8], Malformed> {
    envelope_start(row).map(|end| &row[HEADER_LEN..end])
}

/// Converts stored bytes to an envelope text, with one copy, or none if they are too long.
pub(crate) fn envelope_text(stored: &[u8]) -> EnvelopeText {
    if stored.len() > MAX_ENVELOPE_LEN {
        return EnvelopeText::too_long(stored.len() as u64);
    }
    EnvelopeText::from_stored(stored)
}

/// What a record takes in a page ([`HasWeight`](vault_store::HasWeight)).
pub(crate) fn weight(id: &[u8], row: &[u8]) -> Result<usize, Malformed> {
    let envelope = envelope(row)?.len();
    let loaded = if envelope > MAX_ENVELOPE_LEN { 0 } else { envelope };
    Ok(id.len() + token(row)?.len() + loaded)
}

/// The id and the head of a row's envelope; nothing else of it is copied.
pub(crate) fn head(id: &[u8], row: &[u8]) -> Result<RecordHead, Malformed> {
    let envelope = envelope(row)?;
    let head = EnvelopeHead::from_stored(envelope, envelope.len() as u64);
    Ok(RecordHead { id: decode_id(id)?, head })
}

/// What the head of a record takes in a page.
pub(crate) fn head_weight(id: &[u8], row: &[u8]) -> Result<usize, Malformed> {
    Ok(id.len() + envelope(row)?.len().min(HEAD_LEN))
}

/// Returns whether the stored bytes equal this text.
pub(crate) fn holds(stored: &[u8], expected: &EnvelopeText) -> bool {
    match expected.as_bytes() {
        Some(bytes) => stored == bytes,
        None => stored.len() > MAX_ENVELOPE_LEN && stored.len() as u64 == expected.len(),
    }
}

/// Returns the bytes of a text to be stored.
pub(crate) fn loaded(envelope: &EnvelopeText) -> Result<&[u8], Unstorable> {
    envelope.as_bytes().ok_or(Unstorable::EnvelopeNotLoaded)
}

/// Writes a row into `buffer` that equals the stored one except for its envelope.
pub(crate) fn with_envelope(
    row: &[u8],
    sealed: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), Malformed> {
    buffer.clear();
    buffer.extend_from_slice(&row[..envelope_start(row)?]);
    buffer.extend_from_slice(sealed);
    Ok(())
}

/// Checks what every reader of a row relies on: the version, and that header and token are
/// complete.
fn envelope_start(row: &[u8]) -> Result<usize, Malformed> {
    let header: &[u8; HEADER_LEN] = row.first_chunk().ok_or(Malformed::Short)?;
    if header[0] != VERSION {
        return Err(Malformed::Version);
    }
    let token_len = u32::from_le_bytes(array(header, TOKEN_LEN));
    let start = usize::try_from(token_len).ok().and_then(|len| len.checked_add(HEADER_LEN));
    start.filter(|start| *start <= row.len()).ok_or(Malformed::Short)
}

fn put_time(row: &mut [u8], at: usize, time: Option<Timestamp>) {
    let micros = time.map_or(0, Timestamp::as_micros);
    row[at..at + 8].copy_from_slice(&micros.to_le_bytes());
}

fn time(row: &[u8], at: usize) -> Timestamp {
    Timestamp::from_micros(i64::from_le_bytes(array(row, at)))
}

fn optional_time(row: &[u8], at: usize, present: bool) -> Result<Option<Timestamp>, Malformed> {
    match (present, time(row, at)) {
        (true, time) => Ok(Some(time)),
        (false, time) if time.as_micros() == 0 => Ok(None),
        (false, _) => Err(Malformed::Flags),
    }
}

/// Reads `N` bytes at an offset that the caller has checked to be within the header.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vault_store::HasWeight as _;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let time = || any::<i64>().prop_map(Timestamp::from_micros);
        let some_time = || proptest::option::of(time());
        let envelope = proptest::collection::vec(any::<u8>(), 0..200);
        (".*", ".*", envelope, time(), time(), some_time(), some_time()).prop_map(
            |(id, token, envelope, created_at, updated_at, expires_at, soft_deleted_at)| Record {
                id: RecordId::from_stored(id),
                token: Token::from_stored(token),
                envelope: EnvelopeText::from_stored(envelope),
                created_at,
                updated_at,
                expires_at,
                soft_deleted_at,
            },
        )
    }

    fn encoded(record: &Record) -> Vec<u8> {
        let row = Row::new(record).unwrap();
        let mut bytes = vec![0xff; row.len()];
        row.encode(&mut bytes);
        bytes
    }

    fn example() -> Record {
        Record {
            id: RecordId::from_stored("id"),
            token: Token::from_stored("tk".to_owned()),
            envelope: EnvelopeText::from_stored(*b"v3:x"),
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2),
            expires_at: None,
            soft_deleted_at: Some(Timestamp::from_micros(-1)),
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        let mut expected = vec![1, 2, 2, 0, 0, 0];
        for micros in [1i64, 2, 0, -1] {
            expected.extend(micros.to_le_bytes());
        }
        expected.extend(b"tkv3:x");
        assert_eq!(encoded(&example()), expected);
    }

    #[test]
    fn a_record_keeps_its_row_but_the_envelope() {
        let mut changed = example();
        changed.envelope = EnvelopeText::from_stored(*b"v3:longer");
        let mut buffer = vec![0; 3];
        with_envelope(&encoded(&example()), b"v3:longer", &mut buffer).unwrap();
        assert_eq!(buffer, encoded(&changed));
    }

    #[test]
    fn every_malformed_row_is_told_apart() {
        let good = encoded(&example());
        let with = |at: usize, byte| {
            let mut row = good.clone();
            row[at] = byte;
            decode(b"id", &row)
        };
        assert_eq!(decode(b"id", &good[..37]), Err(Malformed::Short));
        assert_eq!(decode(b"id", &good[..39]), Err(Malformed::Short));
        assert_eq!(with(5, 0xff), Err(Malformed::Short));
        assert_eq!(with(0, 2), Err(Malformed::Version));
        assert_eq!(with(1, 4), Err(Malformed::Flags));
        assert_eq!(with(1, 0), Err(Malformed::Flags));
        assert_eq!(with(HEADER_LEN, 0xff), Err(Malformed::Text));
        assert_eq!(decode(b"\xff", &good), Err(Malformed::Text));
        assert_eq!(decode(b"id", &good), Ok(example()));
    }

    #[test]
    fn an_envelope_over_the_limit_is_not_copied_and_not_stored() {
        let stored = vec![b'a'; MAX_ENVELOPE_LEN + 1];
        let too_long = EnvelopeText::too_long(stored.len() as u64);
        assert_eq!(envelope_text(&stored), too_long);
        assert!(holds(&stored, &too_long));
        assert!(!holds(&stored, &EnvelopeText::too_long(stored.len() as u64 + 1)));
        assert_eq!(loaded(&too_long), Err(Unstorable::EnvelopeNotLoaded));
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(record in record()) {
            let row = encoded(&record);
            prop_assert_eq!(envelope(&row).unwrap(), record.envelope.as_bytes().unwrap());
            prop_assert_eq!(token(&row).unwrap(), record.token.as_str().as_bytes());
            prop_assert_eq!(weight(record.id.as_bytes(), &row).unwrap(), record.weight());
            prop_assert_eq!(decode(record.id.as_bytes(), &row).unwrap(), record);
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes_and_nothing_panics(
            id in proptest::collection::vec(any::<u8>(), 0..4),
            version in 0u8..3,
            flags in 0u8..5,
            token_len in 0u8..8,
            tail in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let row = [&[version, flags, token_len, 0, 0, 0], tail.as_slice()].concat();
            if let Ok(record) = decode(&id, &row)
                && [record.created_at, record.updated_at].iter().all(|at| *at < Timestamp::MAX)
                && [record.expires_at, record.soft_deleted_at].iter().all(|at| *at < Some(Timestamp::MAX))
            {
                prop_assert_eq!(encoded(&record), row);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(row in proptest::collection::vec(any::<u8>(), 0..120)) {
            let whole = decode(b"id", &row).is_ok();
            prop_assert!(!whole || envelope(&row).is_ok());
            prop_assert_eq!(envelope(&row).is_ok(), token(&row).is_ok());
        }
    }
}
