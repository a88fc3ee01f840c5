//! What a database holds instead of the vault that an address names.

use sqlx::{Connection as _, PgConnection, Row as _};
use vault_store::{FoundTables, TableName};

use crate::error::Fault;
use crate::session::READ;
use crate::table_kind::Around;

/// The columns of the records, in their order.
pub(crate) const COLUMNS: [&str; 7] =
    ["id", "token", "envelope", "created_at", "updated_at", "expires_at", "soft_deleted_at"];

/// The columns of the settings.
const META_COLUMNS: [&str; 3] = ["scope", "name", "value"];

/// Looks, and changes nothing.
pub(crate) async fn look(connection: &mut PgConnection) -> Result<Around, Fault> {
    const ANY: &str = "SELECT EXISTS (SELECT 1 FROM pg_class JOIN pg_namespace AS space \
        ON space.oid = relnamespace WHERE space.nspname = ANY (current_schemas(false)) \
        AND relkind IN ('r', 'p', 'v', 'm', 'f'))";
    let mut transaction = connection.begin_with(READ).await?;
    let any = sqlx::query_scalar(ANY).persistent(false);
    let any: bool = any.fetch_one(&mut *transaction).await?;
    let vaults = tables_with(&mut transaction, &COLUMNS).await?;
    let metas = tables_with(&mut transaction, &META_COLUMNS).await?;
    transaction.rollback().await?;
    let mut schemas: Vec<String> = vaults
        .iter()
        .filter(|table| !table.is_searched)
        .map(|table| table.schema.clone())
        .collect();
    schemas.dedup();
    schemas.truncate(FoundTables::MOST);
    let searched = |tables: Vec<Table>| {
        let names = tables.into_iter().filter(|table| table.is_searched);
        let names = names.filter_map(|table| TableName::new(&table.name).ok());
        names.take(FoundTables::MOST).collect()
    };
    let found = FoundTables { vaults: searched(vaults), metas: searched(metas), is_empty: !any };
    Ok(Around { found, schemas })
}

struct Table {
    name: String,
    schema: String,
    is_searched: bool,
}

async fn tables_with(connection: &mut PgConnection, columns: &[&str]) -> Result<Vec<Table>, Fault> {
    const TABLES: &str = "SELECT relname::text, space.nspname::text, coalesce(pg_table_is_visible(class.oid), FALSE) \
        FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = relnamespace \
        WHERE relkind IN ('r', 'p') AND space.nspname !~ '^(pg_|information_schema$)' \
        AND (SELECT count(*) FROM pg_attribute WHERE attrelid = class.oid AND attnum > 0 \
             AND NOT attisdropped AND attname::text = ANY ($1)) = $2 \
        ORDER BY 3 DESC, 2, 1 LIMIT 100";
    let count = i64::try_from(columns.len()).unwrap_or(i64::MAX);
    let rows = sqlx::query(TABLES)
        .persistent(false)
        .bind(columns)
        .bind(count)
        .fetch_all(connection)
        .await?;
    let table = |row: &sqlx::postgres::PgRow| {
        Ok(Table { name: row.try_get(0)?, schema: row.try_get(1)?, is_searched: row.try_get(2)? })
    };
    rows.iter().map(table).collect()
}
