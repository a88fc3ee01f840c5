//! Queries. Each is one statement assembled from constants: conditions, an order, and a limit.
//!
//! The schema has no indexes except those of ids and tokens. A query that names ids or tokens, or
//! is in their order, uses them. Any other query reads every row once on the server, which keeps
//! only the page.

use sqlx::{Postgres, QueryBuilder, Row as _};
use vault_store::{
    Envelopes, Filter, Page, PageBuilder, PageLimit, Query, Record, SortKey, SortOrder, SortValue,
    Timestamp,
};

use crate::error::Fault;
use crate::reads;
use crate::record::{self, Time};
use crate::shared::Shared;
use crate::statements::{TIMES, WEIGHT, end, envelope_columns, key_columns, moment, odd_columns};

/// Returns the records that a query selects. As with pages, the server sums up the bytes and sends
/// no envelope that does not fit.
pub(crate) async fn query(
    shared: &Shared,
    query: &Query,
    now: Timestamp,
) -> Result<Page<Record>, Fault> {
    let limit = match query.envelopes() {
        Envelopes::Loaded => query.page_limit(),
        // Bytes limit nothing.
        Envelopes::LengthOnly => PageLimit::new(query.page_limit().records.get(), usize::MAX),
    };
    let mut page = PageBuilder::new(limit);
    let mut seen = 0;
    loop {
        let mut sql = statement(shared, query, now, limit, seen)?;
        let query = sql.build().persistent(shared.names_statements());
        let found = reads::fill(shared, query, &mut page, record::whole).await?;
        if !page.is_empty() || found < limit.records.get() {
            return Ok(page.finish());
        }
        // A page without records would be the last.
        seen += found as u64;
    }
}

fn statement(
    shared: &Shared,
    query: &Query,
    now: Timestamp,
    limit: PageLimit,
    passed: u64,
) -> Result<QueryBuilder<Postgres>, Fault> {
    let envelope = match query.envelopes() {
        Envelopes::Loaded => envelope_columns(),
        Envelopes::LengthOnly => {
            "NULL::text AS envelope, octet_length(envelope)::bigint AS len".to_owned()
        }
    };
    let (keys, odd) = (key_columns(), odd_columns());
    let (key, way) = (key(query.order()), way(query.direction()));
    let mut sql = QueryBuilder::<Postgres>::new(format!(
        "SELECT id, envelope, len, token, {TIMES}, odd, id_begin FROM (\
            SELECT *, {WEIGHT} AS weight, sum({WEIGHT}) OVER rows AS bytes \
            FROM (SELECT {keys}, {TIMES}, {key} AS key, stored.id AS place, {envelope}, {odd} FROM "
    ));
    sql.push(&shared.statements.records).push(" AS stored");
    filter(&mut sql, query, now)?;
    go_on_after(&mut sql, query)?;
    sql.push(format!(" ORDER BY {key} {way}, stored.id {way} LIMIT "));
    sql.push_bind(number(limit.records.get()));
    let offset = query.skipped().saturating_add(passed);
    sql.push(" OFFSET ").push_bind(i64::try_from(offset).unwrap_or(i64::MAX));
    sql.push(format!(
        ") AS found WINDOW rows AS (ORDER BY key {way}, place {way} ROWS UNBOUNDED PRECEDING)\
         ) AS summed WHERE bytes <= "
    ));
    sql.push_bind(number(limit.bytes.get()));
    sql.push(format!(" OR bytes = weight ORDER BY key {way}, place {way}"));
    Ok(sql)
}

/// Returns how many records pass the filters.
pub(crate) async fn count(shared: &Shared, query: &Query, now: Timestamp) -> Result<u64, Fault> {
    let mut sql = QueryBuilder::<Postgres>::new("SELECT count(*) FROM ");
    sql.push(&shared.statements.records);
    filter(&mut sql, query, now)?;
    let mut transaction = shared.read().await?;
    let query = sql.build().persistent(shared.names_statements());
    let row = query.fetch_one(transaction.connection()).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

fn filter(sql: &mut QueryBuilder<Postgres>, query: &Query, now: Timestamp) -> Result<(), Fault> {
    sql.push(" WHERE TRUE");
    if let Some(ids) = query.ids() {
        let ids = ids.iter().map(|id| record::text(id.as_str())).collect::<Result<Vec<_>, _>>()?;
        sql.push(" AND id = ANY(").push_bind(ids).push(")");
    }
    if let Some(tokens) = query.tokens() {
        let tokens = tokens.iter().map(|token| record::text(token.as_str()));
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        sql.push(" AND token = ANY(").push_bind(tokens).push(")");
    }
    for (column, include) in
        [("soft_deleted_at", query.soft_deleted_filter()), ("expires_at", query.expired_filter())]
    {
        let state = match include {
            Filter::Include => continue,
            Filter::Only => "TRUE",
            Filter::Exclude => "FALSE",
        };
        sql.push(format!(" AND coalesce({} <= ", end(column))).push_bind(Time(now));
        sql.push(format!(", FALSE) = {state}"));
    }
    Ok(())
}

fn go_on_after(sql: &mut QueryBuilder<Postgres>, query: &Query) -> Result<(), Fault> {
    let Some(place) = query.position() else { return Ok(()) };
    let ahead = match query.direction() {
        SortOrder::Ascending => ">",
        SortOrder::Descending => "<",
    };
    let id = record::text(place.id.as_str())?;
    sql.push(format!(" AND ({}, stored.id) {ahead} (", key(query.order())));
    match &place.rank {
        SortValue::Id => sql.push_bind(id),
        SortValue::Token(token) => sql.push_bind(record::text(token.as_str())?),
        SortValue::Time(time) => sql.push_bind(Time(*time)),
        SortValue::Never => sql.push(NEVER),
    };
    sql.push(", ").push_bind(id).push(")");
    Ok(())
}

/// Later than any time that a [`Timestamp`] can represent.
const NEVER: &str = "timestamptz '9999-12-31 23:59:59+00'";

/// What rows are ordered by before their ids, as it is read.
fn key(order: SortKey) -> String {
    match order {
        SortKey::Id => "stored.id".to_owned(),
        SortKey::Token => "stored.token".to_owned(),
        SortKey::CreatedAt => moment("stored.created_at"),
        SortKey::UpdatedAt => moment("stored.updated_at"),
        SortKey::ExpiresAt => format!("coalesce({}, {NEVER})", end("stored.expires_at")),
    }
}

fn way(direction: SortOrder) -> &'static str {
    match direction {
        SortOrder::Ascending => "ASC",
        SortOrder::Descending => "DESC",
    }
}

fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
