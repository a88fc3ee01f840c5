//! Read operations, each within one read transaction.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};
use vault_store::{PageLimit, Record, RecordId, SealedRecord, Token};

use crate::error::Fault;
use crate::record::{self, Malformed};
use crate::schema::{RECORDS, SETTINGS, TOKENS};

/// Reads a page of ids, tokens and envelopes.
pub(crate) fn sealed_page(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Vec<SealedRecord>, Fault> {
    page(transaction, after, limit, sealed)
}

/// Reads a page of whole records.
pub(crate) fn record_page(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Vec<Record>, Fault> {
    page(transaction, after, limit, |id, row, _envelope| record::decode(id, row))
}

/// Reads the tokens and envelopes of some ids.
pub(crate) fn sealed_records(
    transaction: &ReadTransaction,
    ids: &[RecordId],
) -> Result<Vec<Option<SealedRecord>>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let read = |id: &RecordId| {
        let Some(row) = records.get(id.as_bytes())? else { return Ok(None) };
        record::envelope(row.value())
            .and_then(|envelope| sealed(id.as_bytes(), row.value(), envelope))
            .map(Some)
            .map_err(|malformed| damaged_record(id.as_bytes(), malformed))
    };
    ids.iter().map(read).collect()
}

/// Reads the records of some tokens.
pub(crate) fn find(
    transaction: &ReadTransaction,
    tokens: &[Token],
) -> Result<Vec<Option<Record>>, Fault> {
    let index = transaction.open_table(TOKENS)?;
    let records = transaction.open_table(RECORDS)?;
    let find = |token: &Token| {
        let Some(id) = index.get(token.as_str().as_bytes())? else { return Ok(None) };
        let id = id.value();
        let row = records.get(id)?.ok_or_else(|| Fault::DanglingToken { id: id.into() })?;
        record::decode(id, row.value()).map(Some).map_err(|malformed| damaged_record(id, malformed))
    };
    tokens.iter().map(find).collect()
}

/// Reads one setting.
pub(crate) fn setting(transaction: &ReadTransaction, name: &str) -> Result<Option<String>, Fault> {
    let settings = transaction.open_table(SETTINGS)?;
    let value = settings.get(name.as_bytes())?;
    value.map(|value| setting_text(name.as_bytes(), value.value())).transpose()
}

/// Reads all settings, by name.
pub(crate) fn settings(transaction: &ReadTransaction) -> Result<Vec<(String, String)>, Fault> {
    let settings = transaction.open_table(SETTINGS)?;
    let mut all = Vec::new();
    for row in settings.iter()? {
        let (name, value) = row?;
        let name = name.value();
        all.push((setting_text(name, name)?, setting_text(name, value.value())?));
    }
    Ok(all)
}

/// Decodes a text of the settings table; the name of its row is for an error.
pub(crate) fn setting_text(name: &[u8], bytes: &[u8]) -> Result<String, Fault> {
    let damaged = |malformed| Fault::Row { table: "settings", key: name.into(), malformed };
    record::text(bytes).map(str::to_owned).map_err(damaged)
}

/// An error about a row of the records table that does not decode.
pub(crate) fn damaged_record(id: &[u8], malformed: Malformed) -> Fault {
    Fault::Row { table: "records", key: id.into(), malformed }
}

fn page<T>(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
    decode: impl Fn(&[u8], &[u8], &[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, Fault> {
    let lower = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
    let records = transaction.open_table(RECORDS)?;
    let mut bytes = 0usize;
    let mut page = Vec::new();
    for entry in records.range::<&[u8]>((lower, Bound::Unbounded))? {
        let (id, row) = entry?;
        let (id, row) = (id.value(), row.value());
        let damaged = |malformed| damaged_record(id, malformed);
        let envelope = record::envelope(row).map_err(damaged)?;
        bytes = bytes.saturating_add(record::loaded_len(envelope));
        if !page.is_empty() && bytes > limit.bytes.get() {
            break;
        }
        page.push(decode(id, row, envelope).map_err(damaged)?);
        if page.len() == limit.records.get() {
            break;
        }
    }
    Ok(page)
}

fn sealed(id: &[u8], row: &[u8], envelope: &[u8]) -> Result<SealedRecord, Malformed> {
    Ok(SealedRecord {
        id: record::decode_id(id)?,
        // A token that is no longer text was modified, which its envelope detects.
        token: Token::from_stored(String::from_utf8_lossy(record::token(row)?).into_owned()),
        envelope: record::envelope_text(envelope),
    })
}
