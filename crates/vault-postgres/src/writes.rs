//! Write operations, each within one transaction.
//!
//! Every function here runs in a separate task (see `shared.rs`), so that none of them is ever
//! dropped half-way.

use std::{collections::HashSet, num::NonZeroUsize};

use sqlx::{Executor as _, Row as _};
use vault_store::{
    DeleteOutcome, InsertOutcome, MAX_SETTINGS, OverLimit, Purge, PutSetting, Record, RecordId,
    RecordUpdate, Replacement, Timestamp, WriteOutcome,
};

use crate::error::Fault;
use crate::reads;
use crate::record::{self, Time};
use crate::shared::Shared;
use crate::transaction::Transaction;

/// How often an insert starts over when others take its ids or tokens between two of its
/// statements.
const INSERT_TRIES: usize = 8;

/// Replaces the envelopes of a batch.
///
/// The rows are locked first, in the order of their ids: two batches that share rows wait for one
/// another instead of deadlocking. The lock also determines which rows exist.
pub(crate) async fn batch(
    shared: &Shared,
    batch: &[Replacement],
) -> Result<Vec<WriteOutcome>, Fault> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Replacements::of(batch)?;
    let mut transaction = shared.begin().await?;
    let lock = shared.query(&shared.statements.lock).bind(&columns.ids);
    let there = ids(&mut transaction, lock).await?;
    let replace = shared
        .query(&shared.statements.replace)
        .bind(&columns.ids)
        .bind(&columns.expected)
        .bind(&columns.expected_len)
        .bind(&columns.new);
    let applied = ids(&mut transaction, replace).await?;
    let outcome = |replacement: &Replacement| {
        if applied.contains(replacement.id.as_str()) {
            WriteOutcome::Applied
        } else if there.contains(replacement.id.as_str()) {
            WriteOutcome::Conflict
        } else {
            WriteOutcome::Missing
        }
    };
    let outcomes = batch.iter().map(outcome).collect();
    let written = columns.ids.iter().zip(&columns.new);
    let written = written.filter(|(id, _)| applied.contains(**id)).map(|(id, text)| (*id, *text));
    verify(shared, &mut transaction, written).await?;
    if applied.is_empty() {
        transaction.abort().await?;
    } else {
        transaction.commit().await?;
    }
    Ok(outcomes)
}

/// Adds records.
pub(crate) async fn insert(
    shared: &Shared,
    records: &[Record],
) -> Result<Vec<InsertOutcome>, Fault> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    records.iter().try_for_each(OverLimit::check_record)?;
    for _ in 0..INSERT_TRIES {
        if let Some(outcomes) = try_insert(shared, records).await? {
            return Ok(outcomes);
        }
    }
    Err(Fault::Outrun)
}

/// Updates one record.
pub(crate) async fn update(shared: &Shared, change: &RecordUpdate) -> Result<WriteOutcome, Fault> {
    let id = record::text(change.id.as_str())?;
    let envelope = change.envelope.as_ref().map(record::envelope).transpose()?;
    let if_matches = &change.if_matches;
    let expected = if_matches.envelope.as_ref().map(record::expected);
    let time = |time: Option<_>| time.map(Time);
    let mut transaction = shared.begin().await?;
    // Other programs store "never" in several ways, so the times are compared as they are read. The
    // lock keeps them until the change is made.
    if if_matches.names_times() {
        let times = shared.query(&shared.statements.times).bind(id);
        let outcome = match times.fetch_optional(transaction.connection()).await? {
            None => Some(WriteOutcome::Missing),
            Some(row) => {
                let [expires_at, soft_deleted_at] = record::ends(&row, 0)?;
                let fits = if_matches.times_match(expires_at, soft_deleted_at);
                (!fits).then_some(WriteOutcome::Conflict)
            }
        };
        if let Some(outcome) = outcome {
            transaction.abort().await?;
            return Ok(outcome);
        }
    }
    let update = shared
        .query(&shared.statements.update)
        .bind(id)
        .bind(envelope)
        .bind(time(change.updated_at))
        .bind(!change.expires_at.is_keep())
        .bind(time(change.expires_at.apply(None)))
        .bind(!change.soft_deleted_at.is_keep())
        .bind(time(change.soft_deleted_at.apply(None)))
        .bind(expected.and_then(|(text, _)| text))
        .bind(expected.map(|(_, len)| len));
    if update.execute(transaction.connection()).await?.rows_affected() > 0 {
        verify(shared, &mut transaction, envelope.map(|envelope| (id, envelope)).into_iter())
            .await?;
        transaction.commit().await?;
        return Ok(WriteOutcome::Applied);
    }
    let exists = shared.query(&shared.statements.exists).bind(id);
    let there = exists.fetch_optional(transaction.connection()).await?;
    transaction.abort().await?;
    Ok(if there.is_some() { WriteOutcome::Conflict } else { WriteOutcome::Missing })
}

/// Deletes or soft-deletes the next expired records. The server selects and locks them, and
/// [`Purge::takes`] decides about each from what was read. Because of the lock, a concurrent
/// renewal either waits, or is waited for and evaluated again.
pub(crate) async fn purge(
    shared: &Shared,
    purge: Purge,
    now: Timestamp,
    after: Option<&RecordId>,
    limit: NonZeroUsize,
) -> Result<Vec<RecordId>, Fault> {
    let statement = match purge {
        Purge::SoftDelete => &shared.statements.purge_soft,
        Purge::Delete => &shared.statements.purge_for_good,
    };
    let after = after.map(|id| record::text(id.as_str())).transpose()?;
    let mut transaction = shared.begin().await?;
    let ended = shared
        .query(&shared.statements.ended)
        .bind(Time(now))
        .bind(after)
        .bind(purge == Purge::SoftDelete)
        .bind(i64::try_from(limit.get()).unwrap_or(i64::MAX));
    let mut judged: Vec<String> = Vec::new();
    for row in ended.fetch_all(transaction.connection()).await? {
        let [expires_at, soft_deleted_at] = record::ends(&row, 1)?;
        if purge.takes(expires_at, soft_deleted_at, now) {
            judged.push(row.try_get(0)?);
        }
    }
    if judged.is_empty() {
        transaction.abort().await?;
        return Ok(Vec::new());
    }
    let query = shared.query(statement).bind(&judged);
    let query = if purge == Purge::SoftDelete { query.bind(Time(now)) } else { query };
    let purged = ids(&mut transaction, query).await?;
    transaction.commit().await?;
    let mut purged: Vec<RecordId> = purged.into_iter().map(RecordId::from_stored).collect();
    purged.sort_unstable();
    Ok(purged)
}

/// Deletes one record.
pub(crate) async fn delete(shared: &Shared, id: &RecordId) -> Result<DeleteOutcome, Fault> {
    let id = record::text(id.as_str())?;
    let mut transaction = shared.begin().await?;
    let delete = shared.query(&shared.statements.delete).bind(id);
    if delete.execute(transaction.connection()).await?.rows_affected() == 0 {
        transaction.abort().await?;
        return Ok(DeleteOutcome::Missing);
    }
    transaction.commit().await?;
    Ok(DeleteOutcome::Deleted)
}

/// Writes a setting.
pub(crate) async fn put_setting(
    shared: &Shared,
    name: &str,
    value: &str,
    put: PutSetting,
) -> Result<String, Fault> {
    let (name, value) = (record::text(name)?, record::text(value)?);
    OverLimit::check_setting(name, value)?;
    let statement = match put {
        PutSetting::Always => &shared.statements.put_setting,
        PutSetting::IfAbsent => &shared.statements.put_setting_if_absent,
    };
    let mut transaction = shared.begin().await?;
    shared.query(statement).bind(name).bind(value).execute(transaction.connection()).await?;
    let read = shared.query(&shared.statements.setting).bind(name);
    let row = read.fetch_optional(transaction.connection()).await?;
    let others = shared.query(&shared.statements.other_settings).bind(name);
    let others: i64 = others.fetch_one(transaction.connection()).await?.try_get(0)?;
    if usize::try_from(others).is_ok_and(|others| others >= MAX_SETTINGS) {
        transaction.abort().await?;
        return Err(OverLimit::OneSettingMore.into());
    }
    transaction.commit().await?;
    // Nothing removes settings; if someone just did, the caller starts over.
    reads::setting_value(&row.ok_or(Fault::Outrun)?, name)
}

/// Writes the settings of a new vault, if none of them is stored.
pub(crate) async fn init_settings(
    shared: &Shared,
    settings: &[(String, String)],
) -> Result<bool, Fault> {
    let mut transaction = shared.begin().await?;
    for (name, value) in settings {
        let (name, value) = (record::text(name)?, record::text(value)?);
        OverLimit::check_setting(name, value)?;
        let insert = shared.query(&shared.statements.put_setting_if_absent);
        let insert = insert.bind(name).bind(value).execute(transaction.connection());
        if insert.await?.rows_affected() == 0 {
            transaction.abort().await?;
            return Ok(false);
        }
    }
    let all = shared.query(&shared.statements.other_settings).bind("");
    let all: i64 = all.fetch_one(transaction.connection()).await?.try_get(0)?;
    if usize::try_from(all).is_ok_and(|all| all > MAX_SETTINGS) {
        transaction.abort().await?;
        return Err(OverLimit::OneSettingMore.into());
    }
    transaction.commit().await?;
    Ok(true)
}

/// One attempt to insert; `None` if someone else took an id or a token in the meantime.
///
/// Which records are skipped depends on the records before them in the same call. This is decided
/// here, based on what is stored; the statement then inserts the rest, or shows that the decision
/// was outdated.
async fn try_insert(
    shared: &Shared,
    records: &[Record],
) -> Result<Option<Vec<InsertOutcome>>, Fault> {
    let all = Columns::of(records.iter())?;
    let mut transaction = shared.begin().await?;
    let taken = shared.query(&shared.statements.taken).bind(&all.ids).bind(&all.tokens);
    let outcomes = decide(records, taken.fetch_all(transaction.connection()).await?)?;
    let mut new: Vec<_> = records
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == InsertOutcome::Inserted)
        .map(|(record, _)| record)
        .collect();
    if new.is_empty() {
        transaction.abort().await?;
        return Ok(Some(outcomes));
    }
    // In id order, like the locks of a batch.
    new.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let columns = Columns::of(new.iter().copied())?;
    let insert = shared
        .query(&shared.statements.insert)
        .bind(&columns.ids)
        .bind(&columns.envelopes)
        .bind(&columns.tokens)
        .bind(&columns.created_at)
        .bind(&columns.updated_at)
        .bind(&columns.expires_at)
        .bind(&columns.soft_deleted_at);
    if ids(&mut transaction, insert).await?.len() < new.len() {
        transaction.abort().await?;
        return Ok(None);
    }
    let written = columns.ids.iter().copied().zip(columns.envelopes.iter().copied());
    verify(shared, &mut transaction, written).await?;
    transaction.commit().await?;
    Ok(Some(outcomes))
}

/// Returns the outcome of each record, given the ids and tokens that are stored.
fn decide(
    records: &[Record],
    stored: Vec<sqlx::postgres::PgRow>,
) -> Result<Vec<InsertOutcome>, Fault> {
    let (mut ids, mut tokens) = (HashSet::new(), HashSet::new());
    for row in stored {
        ids.insert(row.try_get::<String, _>(0)?);
        tokens.insert(row.try_get::<String, _>(1)?);
    }
    let mut decide_one = |record: &Record| {
        if ids.contains(record.id.as_str()) {
            InsertOutcome::IdTaken
        } else if tokens.contains(record.token.as_str()) {
            InsertOutcome::TokenTaken
        } else {
            ids.insert(record.id.as_str().to_owned());
            tokens.insert(record.token.as_str().to_owned());
            InsertOutcome::Inserted
        }
    };
    Ok(records.iter().map(&mut decide_one).collect())
}

/// Verifies that what was written is what the transaction would commit, if a trigger or a rule
/// could have changed it.
async fn verify<'a>(
    shared: &Shared,
    transaction: &mut Transaction,
    written: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), Fault> {
    let (ids, envelopes): (Vec<_>, Vec<_>) = written.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    let connection = transaction.connection();
    let has_hooks = shared.query(&shared.statements.has_hooks).fetch_optional(&mut *connection);
    match has_hooks.await? {
        Some(row) if row.try_get(0)? => {}
        _ => return Ok(()),
    }
    // Run deferred ones now.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
    let stored = shared.query(&shared.statements.stored).bind(&ids).bind(&envelopes);
    let same: i64 = stored.fetch_one(connection).await?.try_get(0)?;
    if usize::try_from(same).is_ok_and(|same| same == ids.len()) {
        Ok(())
    } else {
        Err(Fault::Altered)
    }
}

/// Reads the ids that a statement returns.
async fn ids(
    transaction: &mut Transaction,
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
) -> Result<HashSet<String>, Fault> {
    let rows = query.fetch_all(transaction.connection()).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// A batch, one array per column.
struct Replacements<'a> {
    ids: Vec<&'a str>,
    expected: Vec<Option<&'a str>>,
    expected_len: Vec<i64>,
    new: Vec<&'a str>,
}

impl<'a> Replacements<'a> {
    fn of(batch: &'a [Replacement]) -> Result<Self, Fault> {
        let (expected, expected_len) =
            batch.iter().map(|replacement| record::expected(&replacement.expected)).unzip();
        Ok(Self {
            ids: texts(batch.iter().map(|replacement| replacement.id.as_str()))?,
            expected,
            expected_len,
            new: batch
                .iter()
                .map(|replacement| record::envelope(&replacement.new))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Records, one array per column.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<&'a str>,
    tokens: Vec<&'a str>,
    envelopes: Vec<&'a str>,
    created_at: Vec<Time>,
    updated_at: Vec<Time>,
    expires_at: Vec<Option<Time>>,
    soft_deleted_at: Vec<Option<Time>>,
}

impl<'a> Columns<'a> {
    fn of(records: impl Iterator<Item = &'a Record>) -> Result<Self, Fault> {
        let mut columns = Self::default();
        for record in records {
            columns.ids.push(record::text(record.id.as_str())?);
            columns.tokens.push(record::text(record.token.as_str())?);
            columns.envelopes.push(record::envelope(&record.envelope)?);
            columns.created_at.push(Time(record.created_at));
            columns.updated_at.push(Time(record.updated_at));
            columns.expires_at.push(record.expires_at.map(Time));
            columns.soft_deleted_at.push(record.soft_deleted_at.map(Time));
        }
        Ok(columns)
    }
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>, Fault> {
    texts.map(|text| record::text(text).map_err(Fault::from)).collect()
}
