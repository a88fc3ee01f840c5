//! Write operations, each within one write transaction.

use std::{num::NonZeroUsize, ops::Bound};

use redb::{ReadableTable, ReadableTableMetadata as _, Table, WriteTransaction};
use vault_store::{
    DeleteOutcome, InsertOutcome, MAX_SETTINGS, OverLimit, Purge, PutSetting, Record, RecordId,
    RecordUpdate, Replacement, Timestamp, WriteOutcome,
};

use crate::error::Fault;
use crate::reads::{damaged_record, readable, setting_text};
use crate::record::{self, Row};
use crate::schema::{RECORDS, SETTINGS, TOKENS};
use crate::shared::Verdict;

type BytesTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Replaces the envelopes of a batch.
pub(crate) fn batch(
    transaction: &WriteTransaction,
    batch: &[Replacement],
) -> Result<Verdict<Vec<WriteOutcome>>, Fault> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut buffer = Vec::new();
    let outcomes: Vec<_> = batch
        .iter()
        .map(|replacement| replace(&mut records, replacement, &mut buffer))
        .collect::<Result<_, _>>()?;
    Ok(commit_if_any(outcomes, &WriteOutcome::Applied))
}

/// Adds records.
pub(crate) fn insert(
    transaction: &WriteTransaction,
    new: &[Record],
) -> Result<Verdict<Vec<InsertOutcome>>, Fault> {
    new.iter().try_for_each(OverLimit::check_record)?;
    let mut records = transaction.open_table(RECORDS)?;
    let mut tokens = transaction.open_table(TOKENS)?;
    let outcomes: Vec<_> = new
        .iter()
        .map(|record| insert_one(&mut records, &mut tokens, record))
        .collect::<Result<_, _>>()?;
    Ok(commit_if_any(outcomes, &InsertOutcome::Inserted))
}

/// Updates one record.
pub(crate) fn update(
    transaction: &WriteTransaction,
    change: RecordUpdate,
) -> Result<Verdict<WriteOutcome>, Fault> {
    let mut records = transaction.open_table(RECORDS)?;
    let Some(mut record) = stored(&records, &change.id)? else {
        return Ok(Verdict::Abort(WriteOutcome::Missing));
    };
    if !change.if_matches.holds_for(&record) {
        return Ok(Verdict::Abort(WriteOutcome::Conflict));
    }
    record.envelope = change.envelope.unwrap_or(record.envelope);
    record.updated_at = change.updated_at.unwrap_or(record.updated_at);
    record.expires_at = change.expires_at.apply(record.expires_at);
    record.soft_deleted_at = change.soft_deleted_at.apply(record.soft_deleted_at);
    put(&mut records, &record)?;
    Ok(Verdict::Commit(WriteOutcome::Applied))
}

/// Deletes one record and its token.
pub(crate) fn delete(
    transaction: &WriteTransaction,
    id: &RecordId,
) -> Result<Verdict<DeleteOutcome>, Fault> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut tokens = transaction.open_table(TOKENS)?;
    Ok(match remove(&mut records, &mut tokens, id)? {
        DeleteOutcome::Deleted => Verdict::Commit(DeleteOutcome::Deleted),
        DeleteOutcome::Missing => Verdict::Abort(DeleteOutcome::Missing),
    })
}

/// Deletes or soft-deletes the next expired records.
pub(crate) fn purge(
    transaction: &WriteTransaction,
    purge: Purge,
    now: Timestamp,
    after: Option<&RecordId>,
    limit: NonZeroUsize,
) -> Result<Verdict<Vec<RecordId>>, Fault> {
    let mut records = transaction.open_table(RECORDS)?;
    let mut tokens = transaction.open_table(TOKENS)?;
    let expired = expired(&records, purge, now, after, limit)?;
    for id in &expired {
        match purge {
            Purge::Delete => drop(remove(&mut records, &mut tokens, id)?),
            Purge::SoftDelete => {
                if let Some(record) = stored(&records, id)? {
                    let hidden = Record { soft_deleted_at: Some(now), updated_at: now, ..record };
                    put(&mut records, &hidden)?;
                }
            }
        }
    }
    Ok(if expired.is_empty() { Verdict::Abort(expired) } else { Verdict::Commit(expired) })
}

/// Writes a setting.
pub(crate) fn put_setting(
    transaction: &WriteTransaction,
    name: &str,
    value: &str,
    put: PutSetting,
) -> Result<Verdict<String>, Fault> {
    OverLimit::check_setting(name, value)?;
    let mut settings = transaction.open_table(SETTINGS)?;
    if settings.len()? >= MAX_SETTINGS as u64 && settings.get(name.as_bytes())?.is_none() {
        return Err(OverLimit::OneSettingMore.into());
    }
    if put == PutSetting::IfAbsent
        && let Some(stored) = settings.get(name.as_bytes())?
    {
        return setting_text(name.as_bytes(), stored.value()).map(Verdict::Abort);
    }
    settings.insert(name.as_bytes(), value.as_bytes())?;
    Ok(Verdict::Commit(value.to_owned()))
}

/// Writes the settings of a new vault, if none of them is stored.
pub(crate) fn init_settings(
    transaction: &WriteTransaction,
    new: &[(String, String)],
) -> Result<Verdict<bool>, Fault> {
    let mut settings = transaction.open_table(SETTINGS)?;
    for (name, _) in new {
        if settings.get(name.as_bytes())?.is_some() {
            return Ok(Verdict::Abort(false));
        }
    }
    for (name, value) in new {
        OverLimit::check_setting(name, value)?;
        settings.insert(name.as_bytes(), value.as_bytes())?;
    }
    if settings.len()? > MAX_SETTINGS as u64 {
        return Err(OverLimit::OneSettingMore.into());
    }
    Ok(Verdict::Commit(true))
}

/// A transaction that changed nothing is not worth two flushes.
fn commit_if_any<T: PartialEq>(outcomes: Vec<T>, changed: &T) -> Verdict<Vec<T>> {
    if outcomes.contains(changed) { Verdict::Commit(outcomes) } else { Verdict::Abort(outcomes) }
}

fn replace(
    records: &mut BytesTable<'_>,
    replacement: &Replacement,
    buffer: &mut Vec<u8>,
) -> Result<WriteOutcome, Fault> {
    let id = replacement.id.as_bytes();
    let damaged = |malformed| damaged_record(id, malformed);
    let sealed = record::loaded(&replacement.new)?;
    let Some(mut row) = records.get_mut(id)? else { return Ok(WriteOutcome::Missing) };
    let stored = record::envelope(row.value()).map_err(damaged)?;
    if !record::holds(stored, &replacement.expected) {
        return Ok(WriteOutcome::Conflict);
    }
    let grows = sealed.len() > stored.len();
    record::with_envelope(row.value(), sealed, buffer).map_err(damaged)?;
    if grows {
        // A growing row may have to split its page, which only an insert does.
        drop(row);
        records.insert(id, buffer.as_slice())?;
    } else {
        row.insert(buffer.as_slice())?;
    }
    Ok(WriteOutcome::Applied)
}

fn insert_one(
    records: &mut BytesTable<'_>,
    tokens: &mut BytesTable<'_>,
    record: &Record,
) -> Result<InsertOutcome, Fault> {
    let (id, token) = (record.id.as_bytes(), record.token.as_str().as_bytes());
    if records.get(id)?.is_some() {
        return Ok(InsertOutcome::IdTaken);
    }
    if tokens.get(token)?.is_some() {
        return Ok(InsertOutcome::TokenTaken);
    }
    put(records, record)?;
    tokens.insert(token, id)?;
    Ok(InsertOutcome::Inserted)
}

fn remove(
    records: &mut BytesTable<'_>,
    tokens: &mut BytesTable<'_>,
    id: &RecordId,
) -> Result<DeleteOutcome, Fault> {
    let Some(row) = records.remove(id.as_bytes())? else { return Ok(DeleteOutcome::Missing) };
    let token =
        record::token(row.value()).map_err(|malformed| damaged_record(id.as_bytes(), malformed))?;
    tokens.remove(token)?;
    Ok(DeleteOutcome::Deleted)
}

fn expired(
    records: &BytesTable<'_>,
    purge: Purge,
    now: Timestamp,
    after: Option<&RecordId>,
    limit: NonZeroUsize,
) -> Result<Vec<RecordId>, Fault> {
    let lower = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_bytes()));
    let mut expired = Vec::new();
    for entry in records.range::<&[u8]>((lower, Bound::Unbounded))? {
        let (id, row) = entry?;
        // An unreadable row is left unchanged: nothing says that it has expired.
        let Ok(record) = readable(id.value(), row.value(), record::decode_without_envelope) else {
            continue;
        };
        if !purge.takes(record.expires_at, record.soft_deleted_at, now) {
            continue;
        }
        expired.push(record.id);
        if expired.len() == limit.get() {
            break;
        }
    }
    Ok(expired)
}

fn stored(records: &BytesTable<'_>, id: &RecordId) -> Result<Option<Record>, Fault> {
    let row = records.get(id.as_bytes())?;
    row.map(|row| record::decode(id.as_bytes(), row.value()))
        .transpose()
        .map_err(|malformed| damaged_record(id.as_bytes(), malformed))
}

/// Encodes a record straight into redb's page.
fn put(records: &mut BytesTable<'_>, record: &Record) -> Result<(), Fault> {
    let row = Row::new(record)?;
    let mut reserved = records.insert_reserve(record.id.as_bytes(), row.len())?;
    row.encode(reserved.as_mut());
    Ok(())
}
