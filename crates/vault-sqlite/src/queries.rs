//! Queries. Each is one statement assembled from constants: conditions, an order, and a limit.
//!
//! The schema of the Go package has no indexes except those of ids and tokens. A query that names
//! ids or tokens, or is in id order, uses them. Any other query reads every row once, and SQLite
//! keeps only its page.

use sqlx::{Row as _, SqliteConnection, query::Query as Bound, sqlite::SqliteArguments};
use vault_store::{
    EnvelopeText, Envelopes, Filter, HasCursor as _, Page, PageLimit, Query, Record, SortKey,
    SortOrder, SortValue, Timestamp,
};

use crate::error::Fault;
use crate::packed::Packed;
use crate::statements::{Statement, Statements, end, moment};
use crate::{reads, time};

/// Returns the records that a query selects.
pub(crate) async fn query(
    connection: &mut SqliteConnection,
    statements: &Statements,
    query: &Query,
    now: Timestamp,
) -> Result<Page<Record>, Fault> {
    let rest = format!("{}{}", conditions(query, Place::Counts, now), order(query));
    let limit = query.page_limit();
    let page = match query.envelopes() {
        Envelopes::Loaded => {
            let statement = statements.query_loaded.followed_by(&rest);
            let bound = |passed| bind(&statement, query, now, passed);
            let page = reads::rows(connection, bound, limit).await?;
            reads::fetch_long(connection, statements, page).await?
        }
        Envelopes::LengthOnly => {
            let statement = statements.query_length_only.followed_by(&rest);
            let bound = |passed| bind(&statement, query, now, passed);
            // Bytes limit nothing.
            let limit = PageLimit::new(limit.records.get(), usize::MAX);
            let mut page: Page<Record> = reads::rows(connection, bound, limit).await?;
            for record in &mut page.records {
                record.envelope = EnvelopeText::not_loaded(record.envelope.len());
            }
            page
        }
    };
    // As in a scan: a reader that pages on must come to an end.
    let is_behind = |record: &Record| !query.is_ahead(&record.position(SortKey::Id));
    if query.order() == SortKey::Id && page.iter().any(is_behind) {
        return Err(Fault::Disordered);
    }
    Ok(page)
}

/// Returns how many records pass the filters.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    statements: &Statements,
    query: &Query,
    now: Timestamp,
) -> Result<u64, Fault> {
    let statement = statements.query_count.followed_by(&conditions(query, Place::IsIgnored, now));
    let row = bind(&statement, query, now, 0)?.fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// Whether the cursor is one of the conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Counts,
    IsIgnored,
}

/// The parameters of every query, used or not: the cursor's id (`?1`) and key (`?5`), limit (`?2`)
/// and offset (`?6`, plus the rows that were skipped), the longest envelope returned with its row
/// (`?3`), the current time (`?4`), ids and tokens (`?7` to `?10`).
fn bind<'q>(
    statement: &Statement,
    query: &Query,
    now: Timestamp,
    passed: u64,
) -> Result<Bound<'q, sqlx::Sqlite, SqliteArguments>, Fault> {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let place = query.position();
    let key = match place.map(|place| &place.rank) {
        None | Some(SortValue::Id) => None,
        Some(SortValue::Token(token)) => Some(token.as_str().to_owned()),
        Some(SortValue::Time(time)) => Some(time::precise_text(*time)?),
        Some(SortValue::Never) => Some(time::NEVER.to_owned()),
    };
    let ids = query.ids().into_iter().flatten().map(|id| [id.as_bytes()]);
    let tokens = query.tokens().into_iter().flatten().map(|token| [token.as_str().as_bytes()]);
    let (id_places, id_bytes) = Packed::rows(ids).into_parameters();
    let (token_places, token_bytes) = Packed::rows(tokens).into_parameters();
    Ok(statement
        .query()
        .bind(place.map(|place| place.id.as_str().to_owned()))
        .bind(number(query.page_limit().records.get()))
        .bind(reads::INLINE)
        .bind(time::precise_text(now)?)
        .bind(key)
        .bind(i64::try_from(query.skipped().saturating_add(passed)).unwrap_or(i64::MAX))
        .bind(id_places)
        .bind(id_bytes)
        .bind(token_places)
        .bind(token_bytes))
}

fn conditions(query: &Query, place: Place, now: Timestamp) -> String {
    const SOFT_DELETED: &str = concat!("(", end!("v.soft_deleted_at"), " <= ?4)");
    const EXPIRED: &str = concat!("(", end!("v.expires_at"), " <= ?4)");
    const IDS: &str = "v.id COLLATE BINARY IN (SELECT CAST(substr(?8, row.value->>0, row.value->>1) AS TEXT) \
                       FROM json_each(?7) AS row)";
    const TOKENS: &str = "v.vault_token COLLATE BINARY IN \
                          (SELECT CAST(substr(?10, row.value->>0, row.value->>1) AS TEXT) \
                          FROM json_each(?9) AS row)";
    let mut conditions = String::from(" WHERE TRUE");
    let mut and = |condition: &str| {
        conditions.push_str(" AND ");
        conditions.push_str(condition);
    };
    if query.ids().is_some() {
        and(IDS);
    }
    if query.tokens().is_some() {
        and(TOKENS);
    }
    // By a clock before 1970, which compares as never itself, nothing has ended.
    let at_all = |state| if now.as_end().is_some() { state } else { "FALSE" };
    for (state, include) in
        [(SOFT_DELETED, query.soft_deleted_filter()), (EXPIRED, query.expired_filter())]
    {
        match include {
            Filter::Include => {}
            Filter::Only => and(at_all(state)),
            Filter::Exclude => and(&format!("NOT {}", at_all(state))),
        }
    }
    if query.position().is_some() && place == Place::Counts {
        let ahead = match query.direction() {
            SortOrder::Ascending => ">",
            SortOrder::Descending => "<",
        };
        match key(query.order()) {
            None => and(&format!("v.id COLLATE BINARY {ahead} ?1")),
            Some(column) => and(&format!(
                "({column} {ahead} ?5 OR ({column} = ?5 AND v.id COLLATE BINARY {ahead} ?1))"
            )),
        }
    }
    conditions
}

fn order(query: &Query) -> String {
    let way = match query.direction() {
        SortOrder::Ascending => "ASC",
        SortOrder::Descending => "DESC",
    };
    let key = key(query.order()).map(|column| format!("{column} {way}, "));
    let key = key.unwrap_or_default();
    format!(" ORDER BY {key}v.id COLLATE BINARY {way} LIMIT ?2 OFFSET ?6")
}

/// The SQL of the primary sort key. Every row has one, and its collation compares it as it is read.
fn key(order: SortKey) -> Option<&'static str> {
    Some(match order {
        SortKey::Id => return None,
        SortKey::Token => "ifnull(CAST(v.vault_token AS TEXT), '') COLLATE BINARY",
        SortKey::CreatedAt => moment!("v.created_at"),
        SortKey::UpdatedAt => moment!("v.updated_at"),
        SortKey::ExpiresAt => end!("v.expires_at"),
    })
}
