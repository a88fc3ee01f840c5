//! The records table before a scrub: what it is called, why it is not scrubbed, and all that
//! belongs to it.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use vault_store::{StoreError, StoreErrorKind as Kind};

use crate::error::Fault;
use crate::shared::Shared;

/// The columns by which a table may be rewritten, in this order.
const COLUMNS: [&str; 7] =
    ["updated_at", "created_at", "soft_deleted_at", "expires_at", "envelope", "token", "id"];

/// The records table. All names are quoted by the server.
#[derive(Debug)]
pub(crate) struct Table {
    /// With its schema.
    pub(crate) name: String,
    pub(crate) oid: i64,
    /// The index of the key over `id`.
    pub(crate) key: String,
    /// The size with its indexes and TOAST values.
    pub(crate) bytes: u64,
    /// The index by which the table was clustered before.
    clustered: Option<String>,
    column: Column,
}

/// A column on which nothing depends that forbids to change its type.
#[derive(Debug)]
struct Column {
    name: String,
    /// The type, with its collation.
    kind: String,
}

/// What must be the same before the commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(crate) rows: u64,
    /// The sum of the hashes of all rows.
    hash: Option<String>,
    /// What the catalogue says of the table and of all that belongs to it.
    catalogue: Option<String>,
}

impl Table {
    /// Finds the table, and refuses by name what a scrub would not keep.
    pub(crate) async fn find(
        shared: &Shared,
        connection: &mut PgConnection,
    ) -> Result<Self, Fault> {
        const TABLE: &str = "SELECT class.oid::int8, \
            format('%I.%I', nspname, relname), relkind = 'p' OR relispartition \
                OR EXISTS (SELECT 1 FROM pg_inherits WHERE class.oid IN (inhparent, inhrelid)), \
            (SELECT amname::text FROM pg_am WHERE pg_am.oid = relam), \
            pg_has_role(relowner, 'USAGE'), relowner::regrole::text, pg_total_relation_size(class.oid) \
            FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = relnamespace \
            WHERE class.oid = to_regclass($1)";
        let refuse = |what: String, hint: &str| {
            let place = shared.place();
            Fault::from(
                StoreError::new(Kind::Unsupported, format!("{place}: {what}"))
                    .with_hint(hint.to_owned()),
            )
        };
        let version: String = sqlx::query_scalar("SELECT version()")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        let foreign = ["CockroachDB", "YugabyteDB", "-YB-"];
        if let Some(server) = foreign.iter().find(|name| version.contains(**name)) {
            let what = format!("a vault on a server of another make ({server}) cannot be scrubbed");
            return Err(refuse(what, COPY));
        }
        let vault = shared.statements.records.to_string();
        let row =
            sqlx::query(TABLE).persistent(false).bind(&vault).fetch_one(&mut *connection).await?;
        let (oid, name): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if row.try_get(2)? {
            let what =
                format!("{name} is partitioned or inherits, and cannot be scrubbed as a whole");
            return Err(refuse(what, COPY));
        }
        let method: Option<String> = row.try_get(3)?;
        if method.as_deref() != Some("heap") {
            let method = method.unwrap_or_default();
            let what =
                format!("{name} uses the access method {method}, whose traces are not known");
            return Err(refuse(what, COPY));
        }
        if !row.try_get::<bool, _>(4)? {
            let owner: String = row.try_get(5)?;
            let what = format!("only the owner of {name} ({owner}) can scrub it");
            return Err(Fault::from(
                StoreError::new(Kind::Denied, format!("{}: {what}", shared.place()))
                    .with_hint("scrub as its owner, or as an administrator"),
            ));
        }
        let bytes = row.try_get::<i64, _>(6)?.unsigned_abs();
        refuse_what_reacts(connection, oid, &name, refuse).await?;
        let Some(key) = key_of(connection, oid).await? else {
            let what = format!("{name} has no key over its ids that it can be ordered by");
            return Err(refuse(what, "create its primary key"));
        };
        let Some(column) = free_column(connection, oid).await? else {
            let views = dependents(connection, oid).await?;
            let what = format!("every column of {name} is used by others ({views})");
            return Err(refuse(what, "drop these, scrub, and create them again"));
        };
        let clustered = clustered_by(connection, oid).await?;
        Ok(Self { name, oid, key, bytes, clustered, column })
    }

    /// The statement that inserts every row again. The expression is not the bare column, so the
    /// server does not copy row versions.
    pub(crate) fn rewrite(&self) -> String {
        let (table, Column { name, kind }) = (&self.name, &self.column);
        format!(
            "ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind} USING COALESCE({name}, {name})"
        )
    }

    /// `CLUSTER` notes its index in the catalogue.
    pub(crate) fn mark_as_before(&self) -> String {
        match &self.clustered {
            Some(index) => format!("ALTER TABLE {} CLUSTER ON {index}", self.name),
            None => format!("ALTER TABLE {} SET WITHOUT CLUSTER", self.name),
        }
    }

    pub(crate) async fn bytes_now(&self, connection: &mut PgConnection) -> Result<u64, Fault> {
        let size = sqlx::query_scalar::<_, i64>("SELECT pg_total_relation_size($1::int8::oid)")
            .persistent(false);
        Ok(size.bind(self.oid).fetch_one(connection).await?.unsigned_abs())
    }

    pub(crate) async fn inventory(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Inventory, Fault> {
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int4")
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        // Before 14, a row is hashed by its text, which takes longer.
        let hash = if version >= 140_000 {
            "hash_record_extended(record, 0)"
        } else {
            "hashtextextended(record::text, 0)"
        };
        let rows = format!("SELECT count(*), sum({hash})::text FROM {} AS record", self.name);
        let row =
            sqlx::query(AssertSqlSafe(rows)).persistent(false).fetch_one(&mut *connection).await?;
        let (rows, hash) = (row.try_get::<i64, _>(0)?.unsigned_abs(), row.try_get(1)?);
        let catalogue = sqlx::query_scalar(CATALOGUE)
            .persistent(false)
            .bind(self.oid)
            .fetch_one(connection)
            .await?;
        Ok(Inventory { rows, hash, catalogue })
    }
}

const COPY: &str = "copy the vault to another place, and destroy this one";

/// Everything that belongs to a table, by names and definitions, a line each.
const CATALOGUE: &str = "WITH its AS (SELECT $1::int8::oid AS oid) \
    SELECT string_agg(item, E'\n' ORDER BY item) FROM ( \
    SELECT concat_ws(' ', 'class', relname, relkind, relowner, relacl, reloptions, relpersistence, relreplident, \
        reltablespace, relrowsecurity, relforcerowsecurity, obj_description(class.oid, 'pg_class')) AS item \
    FROM pg_class AS class, its WHERE class.oid = its.oid \
        OR class.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = its.oid) \
    UNION ALL SELECT concat_ws(' ', 'column', attnum, attname, format_type(atttypid, atttypmod), attcollation, \
        attnotnull, attacl, attoptions, attstorage, attidentity, attgenerated, attstattarget, pg_get_expr(adbin, adrelid), \
        col_description(attrelid, attnum)) \
    FROM its JOIN pg_attribute ON attrelid = its.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
    WHERE attnum > 0 \
    UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisprimary, indisunique, indimmediate, \
        indisclustered, indisvalid, indisready, indislive, indisreplident) FROM its JOIN pg_index ON indrelid = its.oid \
    UNION ALL SELECT concat_ws(' ', 'constraint', conname, conrelid::regclass, confrelid::regclass, convalidated, \
        pg_get_constraintdef(pg_constraint.oid), obj_description(pg_constraint.oid, 'pg_constraint')) \
    FROM its JOIN pg_constraint ON its.oid IN (conrelid, confrelid) \
    UNION ALL SELECT concat_ws(' ', 'trigger', tgenabled, pg_get_triggerdef(pg_trigger.oid), \
        obj_description(pg_trigger.oid, 'pg_trigger')) FROM its JOIN pg_trigger ON tgrelid = its.oid \
    WHERE NOT tgisinternal \
    UNION ALL SELECT concat_ws(' ', 'rule', ev_enabled, pg_get_ruledef(pg_rewrite.oid)) \
    FROM its JOIN pg_rewrite ON ev_class = its.oid \
    UNION ALL SELECT concat_ws(' ', 'policy', polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid), \
        pg_get_expr(polwithcheck, polrelid)) FROM its JOIN pg_policy ON polrelid = its.oid \
    UNION ALL SELECT concat_ws(' ', 'publication', prpubid) FROM its JOIN pg_publication_rel ON prrelid = its.oid \
    UNION ALL SELECT concat_ws(' ', 'statistics', pg_get_statisticsobjdef(pg_statistic_ext.oid)) \
    FROM its JOIN pg_statistic_ext ON stxrelid = its.oid) AS items";

/// Refuses what would act on a rewrite, or holds the table although no session does.
async fn refuse_what_reacts(
    connection: &mut PgConnection,
    oid: i64,
    name: &str,
    refuse: impl Fn(String, &str) -> Fault,
) -> Result<(), Fault> {
    const EVENTS: &str = "SELECT evtname::text FROM pg_event_trigger \
        WHERE evtevent = 'table_rewrite' AND evtenabled <> 'D' ORDER BY 1 LIMIT 1";
    const PREPARED: &str = "SELECT gid FROM pg_prepared_xacts JOIN pg_locks \
        ON virtualtransaction = '-1/' || transaction::text WHERE relation = $1::int8::oid LIMIT 1";
    const CITUS: &str = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')";
    if let Some(event) = sqlx::query_scalar::<_, String>(EVENTS)
        .persistent(false)
        .fetch_optional(&mut *connection)
        .await?
    {
        let what = format!("the event trigger {event} acts on tables that are rewritten");
        return Err(refuse(what, "disable it for the time of the scrub"));
    }
    let prepared = sqlx::query_scalar::<_, String>(PREPARED).persistent(false).bind(oid);
    if let Some(gid) = prepared.fetch_optional(&mut *connection).await? {
        let what = format!("the prepared transaction {gid} holds {name}");
        return Err(refuse(what, "commit it or roll it back, then scrub"));
    }
    if sqlx::query_scalar::<_, bool>(CITUS).persistent(false).fetch_one(connection).await? {
        return Err(refuse("a vault in a Citus database cannot be scrubbed".to_owned(), COPY));
    }
    Ok(())
}

async fn key_of(connection: &mut PgConnection, oid: i64) -> Result<Option<String>, Fault> {
    const KEY: &str = "SELECT quote_ident(class.relname) FROM pg_index \
        JOIN pg_class AS class ON class.oid = indexrelid JOIN pg_am ON pg_am.oid = class.relam \
        JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] \
        WHERE indrelid = $1::int8::oid AND attname = 'id' AND indisunique AND indisvalid AND indpred IS NULL \
        AND amname = 'btree' ORDER BY indisprimary DESC, class.relname LIMIT 1";
    Ok(sqlx::query_scalar(KEY).persistent(false).bind(oid).fetch_optional(connection).await?)
}

async fn clustered_by(connection: &mut PgConnection, oid: i64) -> Result<Option<String>, Fault> {
    const INDEX: &str = "SELECT quote_ident(relname) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
        WHERE indrelid = $1::int8::oid AND indisclustered";
    Ok(sqlx::query_scalar(INDEX).persistent(false).bind(oid).fetch_optional(connection).await?)
}

/// Others that name a column of the table and would have to be made again if its type changed.
const OTHERS: &str = "SELECT refobjsubid, pg_describe_object(classid, objid, objsubid) FROM pg_depend \
    WHERE refclassid = 'pg_class'::regclass AND refobjid = $1::int8::oid AND refobjsubid > 0 \
    AND (classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass, 'pg_trigger'::regclass, \
                     'pg_publication_rel'::regclass, 'pg_proc'::regclass) \
         OR classid = 'pg_attrdef'::regclass AND objid NOT IN ( \
             SELECT oid FROM pg_attrdef WHERE adrelid = refobjid AND adnum = refobjsubid) \
         OR classid = 'pg_class'::regclass AND objid = refobjid)";

async fn free_column(connection: &mut PgConnection, oid: i64) -> Result<Option<Column>, Fault> {
    let column = format!(
        "SELECT quote_ident(attname), format_type(atttypid, atttypmod) || coalesce( \
            (SELECT format(' COLLATE %I.%I', nspname, collname) FROM pg_collation \
             JOIN pg_namespace AS space ON space.oid = collnamespace WHERE pg_collation.oid = attcollation), '') \
         FROM pg_attribute WHERE attrelid = $1::int8::oid AND attnum > 0 AND NOT attisdropped \
         AND attgenerated = '' AND attidentity = '' AND attname::text = ANY ($2) \
         AND attnum NOT IN (SELECT refobjsubid FROM ({OTHERS}) AS others) \
         ORDER BY array_position($2, attname::text) LIMIT 1"
    );
    let names = COLUMNS.map(str::to_owned);
    let row = sqlx::query(AssertSqlSafe(column)).persistent(false).bind(oid).bind(&names[..]);
    let row = row.fetch_optional(connection).await?;
    row.map(|row| Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)? })).transpose()
}

async fn dependents(connection: &mut PgConnection, oid: i64) -> Result<String, Fault> {
    let names = format!(
        "SELECT coalesce(string_agg(DISTINCT name, ', '), '') FROM ({OTHERS}) AS others (number, name)"
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(names))
        .persistent(false)
        .bind(oid)
        .fetch_one(connection)
        .await?)
}
