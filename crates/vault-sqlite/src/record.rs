//! Conversion between rows and records.

use sqlx::{Row as _, sqlite::SqliteRow};
use vault_store::{
    Change, EnvelopeHead, EnvelopeText, HasWeight, MAX_ENVELOPE_LEN, Record, RecordHead, RecordId,
    RecordUpdate, RowName, SealedRecord, Timestamp, Token, UnreadableReason,
};

use crate::error::{Fault, Unstorable};
use crate::time;

/// An envelope of up to this many bytes is returned with its row; a longer one is fetched
/// separately.
///
/// SQLite's thread runs ahead of the reader by up to `ROW_BUFFER` rows.
/// This limit bounds their memory, whatever the vault contains.
pub(crate) const INLINE_LEN: usize = 64 * 1024;

/// A row of a page.
pub(crate) trait Listed: HasWeight + Sized {
    fn decode(row: &SqliteRow) -> Result<Self, Fault>;
    fn id(&self) -> &RecordId;

    /// What it takes in a page, with an envelope that has yet to be fetched.
    fn full_weight(&self) -> usize {
        self.weight()
    }
}

/// A row with the `sealed!` or `whole!` columns.
pub(crate) trait Stored: Listed {
    /// The column after those of the record, in which a lookup returns which of its packed rows it
    /// found.
    const KEY: usize;

    fn envelope_mut(&mut self) -> &mut EnvelopeText;
}

/// A row with the columns of a head.
impl Listed for RecordHead {
    fn decode(row: &SqliteRow) -> Result<Self, Fault> {
        let len = row.try_get::<Option<i64>, _>(1)?.unwrap_or(0).unsigned_abs();
        let head = EnvelopeHead::from_stored(bytes(row, 2)?.unwrap_or_default(), len);
        Ok(Self { id: id(row)?, head })
    }

    fn id(&self) -> &RecordId {
        &self.id
    }
}

impl Listed for SealedRecord {
    fn decode(row: &SqliteRow) -> Result<Self, Fault> {
        Ok(Self { id: id(row)?, token: token(row)?, envelope: envelope(row)? })
    }

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn full_weight(&self) -> usize {
        weight(self, &self.envelope)
    }
}

impl Stored for SealedRecord {
    const KEY: usize = 6;

    fn envelope_mut(&mut self) -> &mut EnvelopeText {
        &mut self.envelope
    }
}

/// Accepts whatever the row contains; times are read as in [`time::read`].
impl Listed for Record {
    fn decode(row: &SqliteRow) -> Result<Self, Fault> {
        Ok(Self {
            id: id(row)?,
            envelope: envelope(row)?,
            token: token(row)?,
            created_at: time::read_or_epoch(bytes(row, 6)?),
            updated_at: time::read_or_epoch(bytes(row, 7)?),
            expires_at: time::read(bytes(row, 8)?),
            soft_deleted_at: time::read(bytes(row, 9)?),
        })
    }

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn full_weight(&self) -> usize {
        weight(self, &self.envelope)
    }
}

impl Stored for Record {
    const KEY: usize = 10;

    fn envelope_mut(&mut self) -> &mut EnvelopeText {
        &mut self.envelope
    }
}

/// The length of an envelope that was not returned with its row and still has to be fetched.
pub(crate) fn len_to_fetch(envelope: &EnvelopeText) -> Option<usize> {
    let len = usize::try_from(envelope.len()).ok()?;
    (envelope.as_bytes().is_none() && len <= MAX_ENVELOPE_LEN).then_some(len)
}

fn weight(record: &impl HasWeight, envelope: &EnvelopeText) -> usize {
    record.weight().saturating_add(len_to_fetch(envelope).unwrap_or(0))
}

/// Why a row is no record, if so.
pub(crate) fn unreadable(row: &SqliteRow) -> Result<Option<UnreadableReason>, Fault> {
    if let Some(len) = row.try_get::<Option<i64>, _>(5)? {
        let (is_id, len) = (len > 0, len.unsigned_abs());
        return Ok(Some(if is_id {
            UnreadableReason::IdTooLong { len }
        } else {
            UnreadableReason::TokenTooLong { len }
        }));
    }
    Ok(match row.try_get::<Option<&str>, _>(0) {
        Ok(Some(_)) => None,
        Ok(None) => Some(UnreadableReason::NoId),
        Err(sqlx::Error::ColumnDecode { .. }) => Some(UnreadableReason::IdNotText),
        Err(other) => return Err(other.into()),
    })
}

/// The name of a row: its number, or the start of its id in a table without row numbers.
pub(crate) fn row_name(row: &SqliteRow) -> RowName {
    match row.try_get::<Option<i64>, _>(4) {
        Ok(Some(number)) => RowName::number("rowid", number),
        _ => RowName::key("id", bytes(row, 0).ok().flatten().unwrap_or_default()),
    }
}

fn id(row: &SqliteRow) -> Result<RecordId, Fault> {
    if let Ok(Some(id)) = row.try_get::<Option<&str>, _>(0) {
        return Ok(RecordId::from_stored(id));
    }
    let reason = unreadable(row)?.unwrap_or(UnreadableReason::NoId);
    Err(Fault::Unreadable(row_name(row), reason))
}

/// The token. NULL is read as empty, and invalid UTF-8 with replacement characters.
fn token(row: &SqliteRow) -> Result<Token, Fault> {
    let token = String::from_utf8_lossy(bytes(row, 3)?.unwrap_or_default());
    Ok(Token::from_stored(token.into_owned()))
}

/// The envelope, or only its length: see [`len_to_fetch`]. NULL is read as an empty text.
fn envelope(row: &SqliteRow) -> Result<EnvelopeText, Fault> {
    let len = row.try_get::<Option<i64>, _>(1)?.unwrap_or(0);
    Ok(match bytes(row, 2)? {
        None if len > 0 => EnvelopeText::too_long(len.unsigned_abs()),
        text => EnvelopeText::from_stored(text.unwrap_or_default()),
    })
}

/// The bytes of a column, whatever its SQLite type; `None` for NULL.
pub(crate) fn bytes(row: &SqliteRow, column: usize) -> Result<Option<&[u8]>, Fault> {
    Ok(row.try_get_unchecked(column)?)
}

/// The texts of a record in the order of the statement `insert`.
pub(crate) struct NewRow<'a> {
    record: &'a Record,
    envelope: &'a str,
    times: [String; 4],
}

impl<'a> NewRow<'a> {
    /// Checks that the record can be stored.
    pub(crate) fn new(record: &'a Record) -> Result<Self, Unstorable> {
        text(record.id.as_bytes())?;
        text(record.token.as_str().as_bytes())?;
        Ok(Self {
            record,
            envelope: envelope_text(&record.envelope)?,
            times: [
                time::text(record.created_at)?,
                time::text(record.updated_at)?,
                time::text_or_never(record.expires_at)?,
                time::text_or_never(record.soft_deleted_at)?,
            ],
        })
    }

    /// The texts, ready to be packed.
    pub(crate) fn texts(&self) -> [&[u8]; 7] {
        let [created, updated, expires, soft_deleted] = &self.times;
        [
            self.record.id.as_bytes(),
            self.record.token.as_str().as_bytes(),
            self.envelope.as_bytes(),
            created.as_bytes(),
            updated.as_bytes(),
            expires.as_bytes(),
            soft_deleted.as_bytes(),
        ]
    }
}

/// The texts of an update; `None` stays unchanged.
pub(crate) struct ChangedTexts {
    pub(crate) envelope: Option<String>,
    pub(crate) updated_at: Option<String>,
    pub(crate) expires_at: Option<String>,
    pub(crate) soft_deleted_at: Option<String>,
}

impl ChangedTexts {
    /// Checks that the new values can be stored.
    pub(crate) fn new(change: &RecordUpdate) -> Result<Self, Unstorable> {
        Ok(Self {
            envelope: change.envelope.as_ref().map(envelope_text).transpose()?.map(str::to_owned),
            updated_at: change.updated_at.map(time::text).transpose()?,
            expires_at: changed_time(change.expires_at)?,
            soft_deleted_at: changed_time(change.soft_deleted_at)?,
        })
    }
}

/// The text of a time that changes.
fn changed_time(change: Change<Timestamp>) -> Result<Option<String>, Unstorable> {
    match change {
        Change::Keep => Ok(None),
        Change::Set(time) => time::text_or_never(Some(time)).map(Some),
        Change::Clear => time::text_or_never(None).map(Some),
    }
}

/// The text of an envelope to be stored.
pub(crate) fn envelope_text(envelope: &EnvelopeText) -> Result<&str, Unstorable> {
    text(envelope.as_bytes().ok_or(Unstorable::EnvelopeNotLoaded)?)
}

/// Text that every program reads the same way.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Unstorable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unstorable::NotText)?;
    if text.contains('\0') { Err(Unstorable::Nul) } else { Ok(text) }
}
