//! Read operations, each with one statement in a transaction of its own.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Postgres, Row as _, postgres::PgRow, query::Query};
use vault_store::{
    HasWeight, MAX_KEY_LEN, MAX_SETTINGS, OverLimit, Page as RecordPage, PageBuilder, PageLimit,
    Record, RecordHead, RecordId, RowName, SealedRecord, Token, Trace, UnreadableReason,
    UnreadableRow,
};
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
) -> Result<RecordPage<SealedRecord>, Fault> {
    page(shared, &shared.statements.sealed_page, after, limit, record::sealed).await
}

/// Reads a page of ids and of the heads of envelopes.
pub(crate) async fn heads_page(
    shared: &Shared,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<RecordPage<RecordHead>, Fault> {
    page(shared, &shared.statements.heads_page, after, limit, record::head).await
}

/// Reads a page of whole records.
pub(crate) async fn record_page(
    shared: &Shared,
    after: Option<&RecordId>,
    limit: PageLimit,
) -> Result<RecordPage<Record>, Fault> {
    page(shared, &shared.statements.record_page, after, limit, record::whole).await
}

/// Reads the tokens and envelopes of some ids.
pub(crate) async fn sealed_records(
    shared: &Shared,
    ids: &[RecordId],
) -> Result<Vec<Option<SealedRecord>>, Fault> {
    let asked: Vec<_> = ids.iter().map(|id| record::text(id.as_str())).collect::<Result<_, _>>()?;
    let query = shared.query(&shared.statements.sealed_by_id).bind(asked);
    let found = rows(shared, query, record::sealed).await?;
    let found: HashMap<_, _> =
        found.into_iter().map(|record| (record.id.clone(), record)).collect();
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// Reads the records of some tokens.
pub(crate) async fn find(shared: &Shared, tokens: &[Token]) -> Result<Vec<Option<Record>>, Fault> {
    let asked: Vec<_> =
        tokens.iter().map(|token| record::text(token.as_str())).collect::<Result<_, _>>()?;
    let query = shared.query(&shared.statements.records_by_token).bind(asked);
    let found = rows(shared, query, record::whole).await?;
    let found: HashMap<_, _> =
        found.into_iter().map(|record| (record.token.clone(), record)).collect();
    Ok(tokens.iter().map(|token| found.get(token).cloned()).collect())
}

/// Returns the number of records; the server counts them one by one.
pub(crate) async fn count(shared: &Shared) -> Result<u64, Fault> {
    let mut transaction = shared.read().await?;
    let count = shared.query(&shared.statements.count);
    let row = count.fetch_one(transaction.connection()).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// Reads one setting.
pub(crate) async fn setting(shared: &Shared, name: &str) -> Result<Option<String>, Fault> {
    let query = shared.query(&shared.statements.setting).bind(record::text(name)?);
    let mut transaction = shared.read().await?;
    let row = query.fetch_optional(transaction.connection()).await?;
    row.map(|row| setting_value(&row, name)).transpose()
}

/// Reads all settings, by name.
pub(crate) async fn settings(shared: &Shared) -> Result<Vec<(String, String)>, Fault> {
    let query = shared.query(&shared.statements.settings);
    let all = rows(shared, query, |row| {
        if let Some(name) = row.try_get::<Option<String>, _>(2)? {
            let value = setting_value(row, &name)?;
            return Ok((name, value));
        }
        let len = row.try_get::<i64, _>(3)?.unsigned_abs();
        Err(OverLimit::StoredSettingName { len }.into())
    });
    let all = all.await?;
    if all.len() > MAX_SETTINGS { Err(OverLimit::StoredSettings.into()) } else { Ok(all) }
}

/// Decodes the value in the first column, with its length in the second; a value that is too long
/// was not sent.
pub(crate) fn setting_value(row: &PgRow, name: &str) -> Result<String, Fault> {
    OverLimit::check_stored_setting(name, row.try_get::<i64, _>(1)?.unsigned_abs())?;
    Ok(row.try_get::<Option<String>, _>(0)?.unwrap_or_default())
}

/// Returns the triggers and rules that act when an envelope is replaced.
pub(crate) async fn hooks(shared: &Shared) -> Result<Vec<WriteHook>, Fault> {
    let query = shared.query(&shared.statements.hooks);
    rows(shared, query, |row| {
        let is_rule = row.try_get(0)?;
        let kind = if is_rule { WriteHookKind::Rule } else { WriteHookKind::Trigger };
        Ok(WriteHook::new(kind, row.try_get::<String, _>(1)?))
    })
    .await
}

/// What the server says of itself, the database and the records table.
pub(crate) async fn place_id(shared: &Shared) -> Result<Option<String>, Fault> {
    // The first names the cluster. Where a user may not ask, or a server has no such function, its
    // start is as good: two addresses that are compared are asked one after the other.
    const SERVER: [&str; 2] = [
        "SELECT system_identifier::text FROM pg_control_system()",
        "SELECT pg_postmaster_start_time()::text",
    ];
    let mut server = None;
    for question in SERVER {
        if server.is_none() {
            // An error ends the transaction.
            let mut transaction = shared.read().await?;
            let question = sqlx::query_scalar::<_, String>(question).persistent(false);
            server = question.fetch_one(transaction.connection()).await.ok();
        }
    }
    let Some(server) = server else { return Ok(None) };
    let table = format!(
        "SELECT oid::text || ' ' || to_regclass('{}')::oid::text FROM pg_database \
         WHERE datname = current_database()",
        shared.statements.records
    );
    let mut transaction = shared.read().await?;
    let table = sqlx::query_scalar(AssertSqlSafe(table)).persistent(false);
    let table: Option<String> = table.fetch_one(transaction.connection()).await?;
    Ok(table.map(|table| format!("{server} {table}")))
}

/// What any session can read of the rows besides their columns.
pub(crate) async fn traces(shared: &Shared) -> Result<Vec<Trace>, Fault> {
    // A place is a page and a line on it, of which a page has fewer than 2^12.
    let rows_of = format!(
        "SELECT id, xmin::text::int8, cmin::text::int8, ((ctid::text::point)[0])::int8 * 4096 \
         + ((ctid::text::point)[1])::int8 FROM {} WHERE id IS NOT NULL AND octet_length(id) <= {MAX_KEY_LEN}",
        shared.statements.records
    );
    let query = sqlx::query(AssertSqlSafe(rows_of)).persistent(false);
    let decode = |row: &PgRow| {
        Ok((row.try_get::<String, _>(0)?, [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]))
    };
    let mut traces = [Vec::new(), Vec::new(), Vec::new()];
    for (id, numbers) in rows(shared, query, decode).await? {
        let id = RecordId::from_stored(id);
        for (trace, number) in traces.iter_mut().zip(numbers) {
            trace.push((id.clone(), number));
        }
    }
    let [xmin, cmin, place] = traces;
    Ok(vec![
        Trace::new("xmin", "the transaction that wrote a row (xmin)", xmin),
        Trace::new("cmin", "the command that wrote a row (cmin)", cmin),
        Trace::new("place", "the place of a row in the table (ctid)", place).order(),
    ])
}

/// The settings of this session by which the server logs the parameters of its statements.
pub(crate) async fn statement_logs(shared: &Shared) -> Result<Vec<String>, Fault> {
    // Of a statement as a whole, by its time, by a sample, and by two extensions.
    const LOGS: &str = "SELECT name || ' = ' || setting FROM (SELECT name, current_setting(name, true) AS setting \
        FROM unnest(ARRAY['log_statement', 'log_min_duration_statement', 'log_min_duration_sample', \
            'log_transaction_sample_rate', 'auto_explain.log_min_duration', 'pgaudit.log_parameter']) AS name) AS settings \
        WHERE setting IS NOT NULL AND NOT (CASE name WHEN 'log_statement' THEN setting IN ('none', 'ddl') \
            WHEN 'log_transaction_sample_rate' THEN setting = '0' \
            WHEN 'pgaudit.log_parameter' THEN setting = 'off' ELSE setting = '-1' END) \
        AND (name ~ '[.]' OR coalesce(current_setting('log_parameter_max_length', true), '-1') <> '0') \
        AND (name !~ '^auto_explain' \
            OR coalesce(current_setting('auto_explain.log_parameter_max_length', true), '0') <> '0') ORDER BY 1";
    rows(shared, sqlx::query(LOGS).persistent(false), |row| Ok(row.try_get(0)?)).await
}

async fn page<T: HasWeight>(
    shared: &Shared,
    page: &Page,
    after: Option<&RecordId>,
    limit: PageLimit,
    decode: impl Fn(&PgRow) -> Result<T, Fault>,
) -> Result<RecordPage<T>, Fault> {
    let statement = if after.is_some() { &page.after } else { &page.first };
    let after = after.map(|after| record::text(after.as_str())).transpose()?;
    let mut page = PageBuilder::new(limit);
    let mut seen = 0;
    loop {
        let mut query = shared
            .query(statement)
            .bind(i64::try_from(limit.records.get()).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit.bytes.get()).unwrap_or(i64::MAX))
            .bind(i64::try_from(seen).unwrap_or(i64::MAX));
        if let Some(after) = after {
            query = query.bind(after);
        }
        let found = fill(shared, query, &mut page, &decode).await?;
        if !page.is_empty() {
            return Ok(page.finish());
        }
        if found < limit.records.get() {
            return name_those_without_id(shared, page).await;
        }
        seen += found;
    }
}

/// Takes the records and names the unreadable rows; returns the number of rows.
pub(crate) async fn fill<T: HasWeight>(
    shared: &Shared,
    query: Query<'_, Postgres, sqlx::postgres::PgArguments>,
    page: &mut PageBuilder<T>,
    decode: impl Fn(&PgRow) -> Result<T, Fault>,
) -> Result<usize, Fault> {
    let mut transaction = shared.read().await?;
    let mut rows = query.fetch(transaction.connection());
    let mut found = 0;
    while let Some(row) = rows.try_next().await? {
        found += 1;
        match record::unreadable(&row)? {
            Some((name, reason)) => page.unreadable(|| name, reason),
            // The server has kept the limit; a record that it has sent has room.
            None => drop(page.push(decode(&row)?)),
        }
    }
    Ok(found)
}

/// Rows without an id, which exist only in a table whose primary key was dropped, have no position
/// in id order.
async fn name_those_without_id<T: HasWeight>(
    shared: &Shared,
    page: PageBuilder<T>,
) -> Result<RecordPage<T>, Fault> {
    let query = shared.query(&shared.statements.without_id);
    let mut transaction = shared.read().await?;
    let count: i64 = query.fetch_one(transaction.connection()).await?.try_get(0)?;
    let mut page = page.finish();
    if count > 0 {
        page.unreadable.push(UnreadableRow {
            name: RowName::new("without an id"),
            reason: UnreadableReason::NoId,
            more: count.unsigned_abs() - 1,
            position: 0,
        });
    }
    Ok(page)
}

/// Decodes each row as it arrives, so that an envelope is held twice only while its row is decoded.
pub(crate) async fn rows<T>(
    shared: &Shared,
    query: Query<'_, Postgres, sqlx::postgres::PgArguments>,
    decode: impl Fn(&PgRow) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut transaction = shared.read().await?;
    let mut rows = query.fetch(transaction.connection());
    let mut decoded = Vec::new();
    while let Some(row) = rows.try_next().await? {
        decoded.push(decode(&row)?);
    }
    Ok(decoded)
}
