//! Conversion of rows, times and texts to and from the server.

use sqlx::{
    Decode, Encode, Postgres, Row as _, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid,
    },
};
use vault_store::{
    EnvelopeHead, EnvelopeText, MAX_ENVELOPE_LEN, Record, RecordHead, RecordId, RowName,
    SealedRecord, Timestamp, Token, UnreadableReason,
};

use crate::error::{Fault, Unstorable};

/// A text that the server can store. Checked here, because it would abort the transaction there.
pub(crate) fn text(text: &str) -> Result<&str, Unstorable> {
    if text.contains('\0') { Err(Unstorable::Nul) } else { Ok(text) }
}

/// An envelope that the server can store.
pub(crate) fn envelope(envelope: &EnvelopeText) -> Result<&str, Unstorable> {
    let bytes = envelope.as_bytes().ok_or(Unstorable::EnvelopeNotLoaded)?;
    text(std::str::from_utf8(bytes).map_err(|_| Unstorable::NotText)?)
}

/// What a compare-and-swap compares: the text and its length. A text that was never loaded is equal
/// by its length. One that the server cannot store (`None` with a length that was loaded) equals
/// none.
pub(crate) fn expected(expected: &EnvelopeText) -> (Option<&str>, i64) {
    (envelope(expected).ok(), i64::try_from(expected.len()).unwrap_or(i64::MAX))
}

/// The row of `SELECT id, envelope, octet_length(envelope), token`, where an envelope over the
/// limit is NULL.
pub(crate) fn sealed(row: &PgRow) -> Result<SealedRecord, Fault> {
    Ok(SealedRecord { id: id(row)?, token: token(row)?, envelope: envelope_of(row)? })
}

/// The row of `SELECT id, left(envelope, …), octet_length(envelope), token`. Of characters that are
/// longer than a byte, more than a head are sent.
pub(crate) fn head(row: &PgRow) -> Result<RecordHead, Fault> {
    let beginning = row.try_get::<Option<String>, _>(1)?.unwrap_or_default();
    let len = row.try_get::<Option<i64>, _>(2)?.unwrap_or(0).unsigned_abs();
    Ok(RecordHead { id: id(row)?, head: EnvelopeHead::from_stored(beginning.as_bytes(), len) })
}

/// The row of `SELECT id, envelope, octet_length(envelope), token, …` with the four times.
pub(crate) fn whole(row: &PgRow) -> Result<Record, Fault> {
    Ok(Record {
        id: id(row)?,
        token: token(row)?,
        envelope: envelope_of(row)?,
        created_at: moment(row, 4)?,
        updated_at: moment(row, 5)?,
        expires_at: end(row, 6)?,
        soft_deleted_at: end(row, 7)?,
    })
}

/// The times of expiry and of soft deletion in two columns, the first of which is named by its
/// number.
pub(crate) fn ends(row: &PgRow, column: usize) -> Result<[Option<Timestamp>; 2], Fault> {
    Ok([end(row, column)?, end(row, column + 1)?])
}

/// NULL, which no table of a vault permits, is read as the epoch.
fn moment(row: &PgRow, column: usize) -> Result<Timestamp, Fault> {
    let time = row.try_get::<Option<Time>, _>(column)?;
    Ok(time.map_or(Timestamp::from_micros(0), |time| time.0))
}

fn end(row: &PgRow, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.try_get::<Option<Time>, _>(column)?.map(|time| time.0))
}

/// What a row is called whose id or token is too long, and why it is not read; `None` for a record.
pub(crate) fn unreadable(row: &PgRow) -> Result<Option<(RowName, UnreadableReason)>, Fault> {
    let Some(len) = row.try_get::<Option<i64>, _>("odd")? else { return Ok(None) };
    let (is_id, len) = (len > 0, len.unsigned_abs());
    Ok(Some(if is_id {
        let begin = row.try_get::<Option<String>, _>("id_begin")?.unwrap_or_default();
        (RowName::key("id", format!("{begin}...").as_bytes()), UnreadableReason::IdTooLong { len })
    } else {
        let id = row.try_get::<Option<String>, _>(0)?.unwrap_or_default();
        (RowName::key("id", id.as_bytes()), UnreadableReason::TokenTooLong { len })
    }))
}

/// The first column as an id.
fn id(row: &PgRow) -> Result<RecordId, Fault> {
    match row.try_get::<Option<String>, _>(0)? {
        Some(id) => Ok(RecordId::from_stored(id)),
        None => Err(match unreadable(row)? {
            Some((name, reason)) => Fault::Unreadable(name, reason),
            None => Fault::Unreadable(RowName::new("without an id"), UnreadableReason::NoId),
        }),
    }
}

/// Decodes the token. NULL, which no table of a vault permits, or a token that is too long to be
/// read is read as empty.
fn token(row: &PgRow) -> Result<Token, Fault> {
    Ok(Token::from_stored(row.try_get::<Option<String>, _>(3)?.unwrap_or_default()))
}

fn envelope_of(row: &PgRow) -> Result<EnvelopeText, Fault> {
    Ok(match row.try_get::<Option<String>, _>(1)? {
        Some(text) => EnvelopeText::from_stored(text.into_bytes()),
        None => match row.try_get::<Option<i64>, _>(2)? {
            Some(len) => EnvelopeText::too_long(len.unsigned_abs()),
            // NULL, which no table of a vault permits, is read as an empty text.
            None => EnvelopeText::from_stored([]),
        },
    })
}

/// The maximum length of a loaded envelope, in the server's type.
#[expect(clippy::cast_possible_wrap, reason = "32 MiB fit into any integer")]
pub(crate) const LONGEST: i64 = MAX_ENVELOPE_LEN as i64;

/// A time as `timestamptz` represents it: microseconds since 2000-01-01 UTC, 8 bytes big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

/// From the Unix epoch to Postgres's, in microseconds.
const EPOCH: i64 = 946_684_800_000_000;

/// The type's OID, fixed in Postgres's catalogue.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The earliest time wraps to none: the server rejects times before 4714 BC.
        buffer.extend(self.0.as_micros().saturating_sub(EPOCH).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Time {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a timestamptz came as text".into());
        }
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        // `infinity` and `-infinity` are the ends of the range, and stay so.
        Ok(Self(Timestamp::from_micros(micros.saturating_add(EPOCH))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_postgres_cannot_hold_is_refused_before_it_is_sent() {
        assert_eq!(text("a\0b"), Err(Unstorable::Nul));
        assert_eq!(envelope(&EnvelopeText::from_stored(*b"v3:\0")), Err(Unstorable::Nul));
        assert_eq!(envelope(&EnvelopeText::from_stored([0xff])), Err(Unstorable::NotText));
        let too_long = EnvelopeText::too_long(MAX_ENVELOPE_LEN as u64 + 1);
        assert_eq!(envelope(&too_long), Err(Unstorable::EnvelopeNotLoaded));
        assert_eq!(envelope(&EnvelopeText::from_stored(*b"v3:a")), Ok("v3:a"));
    }
}
