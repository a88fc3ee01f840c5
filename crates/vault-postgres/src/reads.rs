//! Read operations, each with one statement.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use sqlx::{Postgres, Row as _, postgres::PgRow, query::Query};
use vault_store::{PageLimit, Record, RecordId, SealedRecord, Token};
use vault_store::{WriteHook, WriteHookKind};

use crate::error::Fault;
use crate::record;
use crate::shared::Shared;
use crate::statements::Page;

/// Reads a page of ids, tokens and envelopes.
pub(crate) async fn sealed_page(
    shared: &Shared,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Vec<SealedRecord>, Fault> {
    page(shared, &shared.statements.sealed_page, after, limit, record::sealed).await
}

/// Reads a page of whole records.
pub(crate) async fn record_page(
    shared: &Shared,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<Vec<Record>, Fault> {
    page(shared, &shared.statements.record_page, after, limit, record::whole).await
}

/// Reads the tokens and envelopes of some ids.
pub(crate) async fn sealed_records(
    shared: &Shared,
    ids: &[RecordId],
) -> Result<Vec<Option<SealedRecord>>, Fault> {
    let asked: Vec<_> = ids.iter().map(|id| record::text(id.as_str())).collect::<Result<_, _>>()?;
    let query = sqlx::query(shared.statements.sealed_by_id.sql()).bind(asked);
    let found = rows(shared, query, record::sealed).await?;
    let found: HashMap<_, _> =
        found.into_iter().map(|record| (record.id.clone(), record)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// Reads the records of some tokens.
pub(crate) async fn find(shared: &Shared, tokens: &[Token]) -> Result<Vec<Option<Record>>, Fault> {
    let asked: Vec<_> =
        tokens.iter().map(|token| record::text(token.as_str())).collect::<Result<_, _>>()?;
    let query = sqlx::query(shared.statements.records_by_token.sql()).bind(asked);
    let found = rows(shared, query, record::whole).await?;
    let found: HashMap<_, _> =
        found.into_iter().map(|record| (record.token.clone(), record)).collect();
    Ok(tokens.iter().map(|token| found.get(token).cloned()).collect())
}

/// Returns the number of records; the server counts them one by one.
pub(crate) async fn count(shared: &Shared) -> Result<u64, Fault> {
    let row = sqlx::query(shared.statements.count.sql()).fetch_one(&shared.pool).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// Reads one setting.
pub(crate) async fn setting(shared: &Shared, name: &str) -> Result<Option<String>, Fault> {
    let query = sqlx::query(shared.statements.setting.sql()).bind(record::text(name)?);
    let row = query.fetch_optional(&shared.pool).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Reads all settings, by name.
pub(crate) async fn settings(shared: &Shared) -> Result<Vec<(String, String)>, Fault> {
    let query = sqlx::query(shared.statements.settings.sql());
    rows(shared, query, |row| Ok((row.try_get(0)?, row.try_get(1)?))).await
}

/// Returns the triggers and rules that act when an envelope is replaced.
pub(crate) async fn hooks(shared: &Shared) -> Result<Vec<WriteHook>, Fault> {
    let query = sqlx::query(shared.statements.hooks.sql());
    rows(shared, query, |row| {
        let is_rule = row.try_get(0)?;
        let kind = if is_rule { WriteHookKind::Rule } else { WriteHookKind::Trigger };
        Ok(WriteHook::new(kind, row.try_get::<String, _>(1)?))
    })
    .await
}

async fn page<T>(
    shared: &Shared,
    page: &Page,
    after: Option<&RecordId>,
    limit: PageLimit,
    decode: impl Fn(&PgRow) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let statement = if after.is_some() { &page.after } else { &page.first };
    let mut query = sqlx::query(statement.sql())
        .bind(i64::try_from(limit.records.get()).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit.bytes.get()).unwrap_or(i64::MAX));
    if let Some(after) = after {
        query = query.bind(record::text(after.as_str())?);
    }
    rows(shared, query, decode).await
}

/// Decodes each row as it arrives, so that an envelope is held twice only while its row is decoded.
pub(crate) async fn rows<T>(
    shared: &Shared,
    query: Query<'_, Postgres, sqlx::postgres::PgArguments>,
    decode: impl Fn(&PgRow) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut rows = query.fetch(&shared.pool);
    let mut decoded = Vec::new();
    while let Some(row) = rows.try_next().await? {
        decoded.push(decode(&row)?);
    }
    Ok(decoded)
}
