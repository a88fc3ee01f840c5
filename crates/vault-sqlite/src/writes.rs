//! Write operations, each within one immediate transaction.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
};

use futures::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection};
use vault_store::{
    DeleteOutcome, EnvelopeText, InsertOutcome, MAX_SETTINGS, OverLimit, Purge, PutSetting, Query,
    Record, RecordId, RecordUpdate, Replacement, Timestamp, WriteOutcome,
};

use crate::error::Fault;
use crate::packed::{Packed, Part};
use crate::record::{self, ChangedTexts, NewRow};
use crate::statements::Statements;
use crate::{queries, reads, time};

/// Replaces the envelopes of a batch with one statement.
pub(crate) async fn batch(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Replacement],
) -> Result<Vec<WriteOutcome>, Fault> {
    let applied = replace(connection, statements, batch).await?;
    let written = batch.iter().filter(|replacement| applied.contains(replacement.id.as_str()));
    let written = written.map(|replacement| (&replacement.id, &replacement.new));
    verify(connection, statements, written).await?;
    let left: Vec<&Replacement> =
        batch.iter().filter(|replacement| !applied.contains(replacement.id.as_str())).collect();
    let conflicts = present(connection, statements, &left).await?;
    let outcome = |replacement: &Replacement| match &replacement.id {
        id if applied.contains(id.as_str()) => WriteOutcome::Applied,
        id if conflicts.contains(id) => WriteOutcome::Conflict,
        _ => WriteOutcome::Missing,
    };
    Ok(batch.iter().map(outcome).collect())
}

/// Adds records.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    statements: &Statements,
    records: &[Record],
) -> Result<Vec<InsertOutcome>, Fault> {
    records.iter().try_for_each(OverLimit::check_record)?;
    let rows: Vec<NewRow<'_>> = records.iter().map(NewRow::new).collect::<Result<_, _>>()?;
    let taken = taken(connection, statements, records).await?;
    let outcomes = outcomes(records, &taken);
    let new = rows
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == InsertOutcome::Inserted)
        .map(|(row, _)| row.texts());
    let (places, bytes) = Packed::rows(new).into_parameters();
    statements.insert.query().bind(places).bind(bytes).execute(&mut *connection).await?;
    let written = records
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == InsertOutcome::Inserted)
        .map(|(record, _)| (&record.id, &record.envelope));
    verify(connection, statements, written).await?;
    Ok(outcomes)
}

/// Updates one record.
pub(crate) async fn update(
    connection: &mut SqliteConnection,
    statements: &Statements,
    change: &RecordUpdate,
) -> Result<WriteOutcome, Fault> {
    let texts = ChangedTexts::new(change)?;
    // Other programs write times in many ways, so they are compared as parsed. The transaction
    // started as a writer, which makes the two statements atomic.
    if change.if_matches.names_times() {
        let query = Query::all().id_in([change.id.clone()]).without_envelopes();
        let stored = queries::query(connection, statements, &query, Timestamp::MAX).await?;
        match stored.first() {
            None => return Ok(WriteOutcome::Missing),
            Some(record) if !change.if_matches.times_hold_for(record) => {
                return Ok(WriteOutcome::Conflict);
            }
            Some(_) => {}
        }
    }
    let expected = change.if_matches.envelope.as_ref().map(Part::from);
    let (expected, expected_len) = match expected {
        None => (None, None),
        Some(Part::Text(text)) => (Some(text), None),
        Some(Part::Length(len)) => (None, i64::try_from(len).ok()),
    };
    let query = statements
        .update
        .query()
        .bind(change.id.as_str())
        .bind(texts.envelope)
        .bind(texts.updated_at)
        .bind(texts.expires_at)
        .bind(texts.soft_deleted_at)
        .bind(expected)
        .bind(expected_len);
    if query.execute(&mut *connection).await?.rows_affected() > 0 {
        let written = change.envelope.as_ref().map(|envelope| (&change.id, envelope));
        verify(connection, statements, written.into_iter()).await?;
        return Ok(WriteOutcome::Applied);
    }
    let there = reads::sealed_records(connection, statements, std::slice::from_ref(&change.id));
    Ok(match there.await?.as_slice() {
        [Some(_)] => WriteOutcome::Conflict,
        _ => WriteOutcome::Missing,
    })
}

/// Deletes or soft-deletes the next expired records. SQLite selects them, and [`Purge::takes`]
/// decides about each from what was read. The transaction, which started as a writer, keeps them
/// unchanged in between.
pub(crate) async fn purge(
    connection: &mut SqliteConnection,
    statements: &Statements,
    purge: Purge,
    now: Timestamp,
    after: Option<&RecordId>,
    limit: NonZeroUsize,
) -> Result<Vec<RecordId>, Fault> {
    let statement = match purge {
        Purge::SoftDelete => &statements.purge_soft,
        Purge::Delete => &statements.purge_for_good,
    };
    let ended =
        statements.ended.query().bind(after.map(RecordId::as_str)).bind(time::precise_text(now)?);
    let mut rows = ended.fetch(&mut *connection);
    let mut purged = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let [expires_at, soft_deleted_at] = [1, 2].map(|column| record::bytes(&row, column));
        // A row whose id cannot be read is left alone: nothing could name it.
        if purge.takes(time::read(expires_at?), time::read(soft_deleted_at?), now)
            && let Ok(id) = row.try_get::<String, _>(0)
        {
            purged.push(RecordId::from_stored(id));
        }
        if purged.len() == limit.get() {
            break;
        }
    }
    drop(rows);
    if !purged.is_empty() {
        let ids = purged.iter().map(|id| [id.as_bytes()]);
        let (places, bytes) = Packed::rows(ids).into_parameters();
        let query = statement.query().bind(places).bind(bytes).bind(time::text(now)?);
        query.execute(connection).await?;
    }
    Ok(purged)
}

/// Deletes one record.
pub(crate) async fn delete(
    connection: &mut SqliteConnection,
    statements: &Statements,
    id: &RecordId,
) -> Result<DeleteOutcome, Fault> {
    let deleted = statements.delete.query().bind(id.as_str()).execute(connection).await?;
    Ok(match deleted.rows_affected() {
        0 => DeleteOutcome::Missing,
        _ => DeleteOutcome::Deleted,
    })
}

/// Writes a setting.
pub(crate) async fn put_setting(
    connection: &mut SqliteConnection,
    statements: &Statements,
    name: &str,
    value: &str,
    put: PutSetting,
) -> Result<String, Fault> {
    record::text(name.as_bytes())?;
    record::text(value.as_bytes())?;
    OverLimit::check_setting(name, value)?;
    let most = i64::try_from(MAX_SETTINGS).unwrap_or(i64::MAX);
    let others = statements.other_settings.query().bind(name).bind(most);
    let others: i64 = others.fetch_one(&mut *connection).await?.try_get(0)?;
    if others >= most && reads::setting(connection, statements, name).await?.is_none() {
        return Err(OverLimit::OneSettingMore.into());
    }
    if put == PutSetting::IfAbsent
        && let Some(stored) = reads::setting(connection, statements, name).await?
    {
        return Ok(stored);
    }
    // Nothing in the Go package's table makes a name unique; this transaction, which started as a
    // writer, does.
    let set = statements.set_setting.query().bind(name).bind(value);
    if set.execute(&mut *connection).await?.rows_affected() == 0 {
        statements.add_setting.query().bind(name).bind(value).execute(connection).await?;
    }
    Ok(value.to_owned())
}

/// Writes the settings of a new vault, if none of them is stored.
pub(crate) async fn init_settings(
    connection: &mut SqliteConnection,
    statements: &Statements,
    settings: &[(String, String)],
) -> Result<bool, Fault> {
    for (name, _) in settings {
        if reads::setting(connection, statements, name).await?.is_some() {
            return Ok(false);
        }
    }
    for (name, value) in settings {
        put_setting(connection, statements, name, value, PutSetting::Always).await?;
    }
    Ok(true)
}

/// Writes the replacements whose records are still as expected, and returns their ids.
async fn replace(
    connection: &mut SqliteConnection,
    statements: &Statements,
    batch: &[Replacement],
) -> Result<HashSet<String>, Fault> {
    let mut rows = Vec::with_capacity(batch.len());
    for replacement in batch {
        let sealed = record::envelope_text(&replacement.new)?;
        rows.push([
            Part::from(replacement.id.as_bytes()),
            Part::from(&replacement.expected),
            Part::from(sealed.as_bytes()),
        ]);
    }
    let (places, bytes) = Packed::rows(rows).into_parameters();
    let mut rows = statements.replace.query().bind(places).bind(bytes).fetch(connection);
    let mut applied = HashSet::with_capacity(batch.len());
    while let Some(row) = rows.try_next().await? {
        applied.insert(row.try_get(0)?);
    }
    Ok(applied)
}

/// Verifies that what was written is what the transaction would commit, if a trigger could have
/// changed it.
async fn verify<'a>(
    connection: &mut SqliteConnection,
    statements: &Statements,
    written: impl Iterator<Item = (&'a RecordId, &'a EnvelopeText)>,
) -> Result<(), Fault> {
    let triggers = statements.triggers.query().fetch_one(&mut *connection).await?;
    if triggers.try_get::<i64, _>(0)? == 0 {
        return Ok(());
    }
    let rows: Vec<_> =
        written.map(|(id, text)| [Part::from(id.as_bytes()), Part::from(text)]).collect();
    let count = rows.len();
    let (places, bytes) = Packed::rows(rows).into_parameters();
    let same = statements.stored.query().bind(places).bind(bytes).fetch_one(connection).await?;
    match usize::try_from(same.try_get::<i64, _>(0)?) {
        Ok(same) if same == count => Ok(()),
        _ => Err(Fault::Altered),
    }
}

/// Returns which records of the replacements exist.
async fn present<'a>(
    connection: &mut SqliteConnection,
    statements: &Statements,
    replacements: &[&'a Replacement],
) -> Result<HashSet<&'a RecordId>, Fault> {
    let mut present = HashSet::new();
    if replacements.is_empty() {
        return Ok(present);
    }
    let ids = replacements.iter().map(|replacement| [replacement.id.as_bytes()]);
    let (places, bytes) = Packed::rows(ids).into_parameters();
    for row in statements.present.query().bind(places).bind(bytes).fetch_all(connection).await? {
        let replacement = usize::try_from(row.try_get::<i64, _>(0)?).ok();
        if let Some(replacement) = replacement.and_then(|at| replacements.get(at)) {
            present.insert(&replacement.id);
        }
    }
    Ok(present)
}

/// What a record to insert shares with an existing one.
#[derive(Clone, Copy)]
struct Taken {
    id: bool,
    token: bool,
}

/// Returns the records whose id or token is stored, by their position in the call.
async fn taken(
    connection: &mut SqliteConnection,
    statements: &Statements,
    records: &[Record],
) -> Result<HashMap<usize, Taken>, Fault> {
    let rows =
        records.iter().map(|record| [record.id.as_bytes(), record.token.as_str().as_bytes()]);
    let (places, bytes) = Packed::rows(rows).into_parameters();
    let mut taken = HashMap::new();
    for row in statements.taken.query().bind(places).bind(bytes).fetch_all(connection).await? {
        let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        taken.insert(place, Taken { id: row.try_get(1)?, token: row.try_get(2)? });
    }
    Ok(taken)
}

/// Goes through the records in order: what an earlier one of the same call takes counts as taken
/// too.
fn outcomes(records: &[Record], taken: &HashMap<usize, Taken>) -> Vec<InsertOutcome> {
    let (mut ids, mut tokens) = (HashSet::new(), HashSet::new());
    let outcome = |(place, record): (usize, &Record)| {
        let stored = taken.get(&place).copied().unwrap_or(Taken { id: false, token: false });
        if stored.id || ids.contains(record.id.as_str()) {
            return InsertOutcome::IdTaken;
        }
        if stored.token || tokens.contains(record.token.as_str()) {
            return InsertOutcome::TokenTaken;
        }
        ids.insert(record.id.as_str().to_owned());
        tokens.insert(record.token.as_str().to_owned());
        InsertOutcome::Inserted
    };
    records.iter().enumerate().map(outcome).collect()
}
