//! Read operations, each within one read transaction.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata as _, WriteTransaction};
use vault_store::{
    HasRoom, HasWeight, MAX_KEY_LEN, MAX_SETTINGS, OverLimit, Page, PageBuilder, PageLimit, Record,
    RecordHead, RecordId, RowName, SealedRecord, Token, UnreadableReason,
};

use crate::error::Fault;
use crate::record::{self, Malformed};
use crate::schema::{RECORDS, SETTINGS, TOKENS};

/// Reads a page of ids, tokens and envelopes.
pub(crate) fn sealed_page(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<SealedRecord>, Fault> {
    page(transaction, after, limit, record::weight, sealed)
}

/// Reads a page of ids and of the heads of envelopes.
pub(crate) fn heads_page(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<RecordHead>, Fault> {
    page(transaction, after, limit, record::head_weight, record::head)
}

/// Reads a page of whole records.
pub(crate) fn record_page(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<Record>, Fault> {
    page(transaction, after, limit, record::weight, record::decode)
}

/// Reads the tokens and envelopes of some ids.
pub(crate) fn sealed_records(
    transaction: &ReadTransaction,
    ids: &[RecordId],
) -> Result<Vec<Option<SealedRecord>>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let read = |id: &RecordId| {
        let Some(row) = records.get(id.as_bytes())? else { return Ok(None) };
        sealed(id.as_bytes(), row.value())
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
    if settings.len()? > MAX_SETTINGS as u64 {
        return Err(OverLimit::StoredSettings.into());
    }
    let mut all = Vec::new();
    for row in settings.iter()? {
        let (name, value) = row?;
        let name = name.value();
        if name.len() > MAX_KEY_LEN {
            return Err(OverLimit::StoredSettingName { len: name.len() as u64 }.into());
        }
        all.push((text_of(name, name)?, setting_text(name, value.value())?));
    }
    Ok(all)
}

/// The value of a setting, unless it is too long.
pub(crate) fn setting_text(name: &[u8], value: &[u8]) -> Result<String, Fault> {
    OverLimit::check_stored_setting(&String::from_utf8_lossy(name), value.len() as u64)?;
    text_of(name, value)
}

/// Text out of the settings table, with the name of its row for an error.
fn text_of(name: &[u8], bytes: &[u8]) -> Result<String, Fault> {
    let damaged = |malformed| Fault::Row { table: "settings", key: name.into(), malformed };
    record::text(bytes).map(str::to_owned).map_err(damaged)
}

/// An error about a row of the records table that does not decode.
pub(crate) fn damaged_record(id: &[u8], malformed: Malformed) -> Fault {
    Fault::Row { table: "records", key: id.into(), malformed }
}

/// As [`sealed_page`], of what a transaction has written.
pub(crate) fn sealed_page_in(
    transaction: &WriteTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<SealedRecord>, Fault> {
    page_in(&transaction.open_table(RECORDS)?, after, limit, record::weight, sealed)
}

/// As [`heads_page`], of what a transaction has written.
pub(crate) fn heads_page_in(
    transaction: &WriteTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Page<RecordHead>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    page_in(&records, after, limit, record::head_weight, record::head)
}

/// Reads one record of what a transaction has written.
pub(crate) fn sealed_record_in(
    transaction: &WriteTransaction,
    id: &RecordId,
) -> Result<Option<SealedRecord>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let Some(row) = records.get(id.as_bytes())? else { return Ok(None) };
    let record = sealed(id.as_bytes(), row.value());
    record.map(Some).map_err(|malformed| damaged_record(id.as_bytes(), malformed))
}

fn page<T: HasWeight>(
    transaction: &ReadTransaction,
    after: Option<&RecordId>,
    limit: PageLimit,
    weigh: impl Fn(&[u8], &[u8]) -> Result<usize, Malformed>,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, Malformed>,
) -> Result<Page<T>, Fault> {
    page_in(&transaction.open_table(RECORDS)?, after, limit, weigh, decode)
}

fn page_in<T: HasWeight>(
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    after: Option<&RecordId>,
    limit: PageLimit,
    weigh: impl Fn(&[u8], &[u8]) -> Result<usize, Malformed>,
    decode: impl Fn(&[u8], &[u8]) -> Result<T, Malformed>,
) -> Result<Page<T>, Fault> {
    let lower = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
    let mut page = PageBuilder::new(limit);
    let mut previous = after.map(|id| id.as_bytes().to_vec());
    for entry in records.range::<&[u8]>((lower, Bound::Unbounded))? {
        let (id, row) = entry?;
        let (id, row) = (id.value(), row.value());
        // A damaged page gives keys in another order, and a reader that pages on from the last one
        // might never come to an end.
        if previous.as_deref().is_some_and(|previous| previous >= id) {
            return Err(Fault::Disordered);
        }
        let previous = previous.get_or_insert_default();
        previous.clear();
        previous.extend_from_slice(id);
        if let Ok(weight) = weigh(id, row)
            && page.has_no_room_for(weight)
        {
            break;
        }
        match readable(id, row, &decode) {
            Ok(record) => {
                if page.push(record) == HasRoom::No {
                    break;
                }
            }
            Err(reason) => page.unreadable(|| row_name(id), reason),
        }
    }
    Ok(page.finish())
}

/// What a row decodes to; if to nothing, why, and nothing of it was copied.
pub(crate) fn readable<T>(
    id: &[u8],
    row: &[u8],
    decode: impl Fn(&[u8], &[u8]) -> Result<T, Malformed>,
) -> Result<T, UnreadableReason> {
    let token_len = record::token(row).map_or(0, <[u8]>::len);
    if let Some(reason) = UnreadableReason::of_lengths(id.len(), token_len) {
        return Err(reason);
    }
    decode(id, row).map_err(|malformed| match malformed {
        _ if record::text(id).is_err() => UnreadableReason::IdNotText,
        Malformed::Text => UnreadableReason::TokenNotText,
        _ => UnreadableReason::Damaged,
    })
}

/// What a row is called that has no id to be called by.
pub(crate) fn row_name(id: &[u8]) -> RowName {
    RowName::key("key", id)
}

fn sealed(id: &[u8], row: &[u8]) -> Result<SealedRecord, Malformed> {
    // A token that is no longer text was modified, which its envelope detects; so is one that is
    // not read.
    let token = record::token(row)?;
    let token = if token.len() > MAX_KEY_LEN { &[] } else { token };
    Ok(SealedRecord {
        id: record::decode_id(id)?,
        token: Token::from_stored(String::from_utf8_lossy(token).into_owned()),
        envelope: record::envelope_text(record::envelope(row)?),
    })
}
