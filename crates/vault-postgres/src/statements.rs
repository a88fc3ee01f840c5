//! Every statement, created once with the names of the tables.
//!
//! Only SQL that Postgres-compatible distributed databases also accept; `schema.rs` says what was
//! tested.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use vault_store::{HEAD_LEN, MAX_KEY_LEN, MAX_SETTING_LEN, MAX_SETTINGS, TableName};

use crate::record::LONGEST;

/// A statement. A clone is a pointer.
#[derive(Clone, Debug)]
pub(crate) struct Statement(Arc<str>);

impl Statement {
    /// A statement consists only of constants and [`TableName`]s.
    pub(crate) fn new(text: String) -> Self {
        Self(text.into())
    }

    pub(crate) fn sql(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(&self.0))
    }
}

/// The statements over the two tables of a vault.
#[derive(Debug)]
pub(crate) struct Statements {
    /// The records table, for `queries.rs`.
    pub(crate) records: TableName,
    pub(crate) sealed_page: Page,
    pub(crate) record_page: Page,
    pub(crate) heads_page: Page,
    pub(crate) sealed_by_id: Statement,
    pub(crate) records_by_token: Statement,
    pub(crate) without_id: Statement,
    pub(crate) count: Statement,
    pub(crate) setting: Statement,
    pub(crate) settings: Statement,
    pub(crate) other_settings: Statement,
    pub(crate) lock: Statement,
    pub(crate) replace: Statement,
    pub(crate) hooks: Statement,
    pub(crate) has_hooks: Statement,
    pub(crate) stored: Statement,
    pub(crate) taken: Statement,
    pub(crate) insert: Statement,
    pub(crate) update: Statement,
    pub(crate) exists: Statement,
    pub(crate) delete: Statement,
    pub(crate) ended: Statement,
    pub(crate) times: Statement,
    pub(crate) purge_soft: Statement,
    pub(crate) purge_for_good: Statement,
    pub(crate) put_setting: Statement,
    pub(crate) put_setting_if_absent: Statement,
}

/// An envelope over the limit stays on the server; only its length is returned.
pub(crate) fn envelope_columns() -> String {
    format!(
        "CASE WHEN octet_length(envelope) <= {LONGEST} THEN envelope END AS envelope, octet_length(envelope)::bigint AS len"
    )
}

/// The first characters of an envelope. The server takes them off without reading the rest of what
/// is stored out of line.
fn head_columns() -> String {
    format!(
        "CASE WHEN octet_length(envelope) <= {LONGEST} THEN left(envelope, {HEAD_LEN}) END AS envelope, \
         octet_length(envelope)::bigint AS len"
    )
}

/// The id and the token; one over the limit stays on the server. In `ORDER BY`, the name of an
/// output column takes precedence over that of the table's, so the table has the alias `stored`.
pub(crate) fn key_columns() -> String {
    format!(
        "CASE WHEN octet_length(stored.id) <= {MAX_KEY_LEN} THEN stored.id END AS id, {}",
        token_column()
    )
}

fn token_column() -> String {
    format!("CASE WHEN octet_length(stored.token) <= {MAX_KEY_LEN} THEN stored.token END AS token")
}

/// For an unreadable row: the excessive length (negative for a token) and the start of a long id.
/// For each row: the bytes of its id and token.
///
/// Rows are not identified by `ctid`, which changes with every update and does not exist on every
/// server.
pub(crate) fn odd_columns() -> String {
    format!(
        "(CASE WHEN octet_length(stored.id) > {MAX_KEY_LEN} THEN octet_length(stored.id) \
         WHEN octet_length(stored.token) > {MAX_KEY_LEN} THEN -octet_length(stored.token) END)::bigint AS odd, \
         CASE WHEN octet_length(stored.id) > {MAX_KEY_LEN} THEN left(stored.id, 64) END AS id_begin, \
         (coalesce(octet_length(stored.id), 0) + coalesce(octet_length(stored.token), 0))::bigint AS key_len"
    )
}

/// What a row adds to the bytes of a page: as much as is sent of its id, token and envelope.
pub(crate) const WEIGHT: &str =
    "CASE WHEN odd IS NULL THEN key_len + coalesce(octet_length(envelope), 0) ELSE 0 END";

pub(crate) const TIMES: &str = "created_at, updated_at, expires_at, soft_deleted_at";

const OTHER_COLUMNS: &str = "token, created_at, updated_at, expires_at, soft_deleted_at";

impl Statements {
    pub(crate) fn over(records: &TableName, meta: &TableName) -> Self {
        let (envelope, token) = (envelope_columns(), token_column());
        let setting = format!("FROM {meta} WHERE scope = 'setting'");
        let value = format!(
            "CASE WHEN octet_length(value) <= {MAX_SETTING_LEN} THEN value END, octet_length(value)::bigint"
        );
        Self {
            records: records.clone(),
            sealed_page: Page::over(records, "", "", &envelope),
            record_page: Page::over(
                records,
                &format!("{TIMES}, "),
                &format!("{TIMES}, "),
                &envelope,
            ),
            heads_page: Page::over(records, "", "", &head_columns()),
            sealed_by_id: Statement::new(format!(
                "SELECT id, {envelope}, {token} FROM {records} AS stored WHERE id = ANY($1)"
            )),
            records_by_token: Statement::new(format!(
                "SELECT CASE WHEN octet_length(id) <= {MAX_KEY_LEN} THEN id END AS id, {envelope}, {OTHER_COLUMNS}, \
                 octet_length(id)::bigint AS odd, left(id, 64) AS id_begin FROM {records} WHERE token = ANY($1)"
            )),
            without_id: Statement::new(format!("SELECT count(*) FROM {records} WHERE id IS NULL")),
            count: Statement::new(format!("SELECT count(*) FROM {records}")),
            setting: Statement::new(format!("SELECT {value} {setting} AND name = $1")),
            settings: Statement::new(format!(
                "SELECT {value}, CASE WHEN octet_length(name) <= {MAX_KEY_LEN} THEN name END, octet_length(name)::bigint \
                 {setting} ORDER BY {meta}.name LIMIT {MAX_SETTINGS} + 1"
            )),
            other_settings: Statement::new(format!("SELECT count(*) {setting} AND name <> $1")),
            lock: Statement::new(format!(
                "SELECT id FROM {records} WHERE id = ANY($1) ORDER BY id FOR UPDATE"
            )),
            replace: replace(records),
            hooks: hooks(records),
            has_hooks: Statement::new(format!(
                "SELECT relhastriggers OR relhasrules FROM pg_class WHERE oid = to_regclass('{records}')"
            )),
            stored: Statement::new(format!(
                "SELECT count(*) FROM unnest($1::text[], $2::text[]) AS new (id, sealed) \
                 JOIN {records} AS stored ON stored.id = new.id AND stored.envelope = new.sealed"
            )),
            taken: Statement::new(format!(
                "SELECT id, token FROM {records} WHERE id = ANY($1) OR token = ANY($2)"
            )),
            insert: Statement::new(format!(
                "INSERT INTO {records} (id, envelope, {OTHER_COLUMNS}) \
                 SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], \
                 $6::timestamptz[], $7::timestamptz[]) \
                 ON CONFLICT DO NOTHING RETURNING id"
            )),
            update: update(records),
            exists: Statement::new(format!("SELECT 1 FROM {records} WHERE id = $1")),
            delete: Statement::new(format!("DELETE FROM {records} WHERE id = $1")),
            ended: Statement::new(format!(
                "SELECT id, expires_at, soft_deleted_at FROM {records} WHERE {} <= $1 AND octet_length(id) <= {MAX_KEY_LEN} \
                 AND coalesce(octet_length(token), 0) <= {MAX_KEY_LEN} \
                 AND ($2::text IS NULL OR id > $2::text) AND (NOT $3::boolean OR coalesce({} > $1, TRUE)) \
                 ORDER BY id LIMIT $4 FOR UPDATE",
                end("expires_at"),
                end("soft_deleted_at")
            )),
            purge_soft: Statement::new(format!(
                "UPDATE {records} SET soft_deleted_at = $2, updated_at = $2 WHERE id = ANY($1) RETURNING id"
            )),
            purge_for_good: Statement::new(format!(
                "DELETE FROM {records} WHERE id = ANY($1) RETURNING id"
            )),
            times: Statement::new(format!(
                "SELECT expires_at, soft_deleted_at FROM {records} WHERE id = $1 FOR UPDATE"
            )),
            put_setting: Statement::new(format!(
                "INSERT INTO {meta} (scope, name, value) VALUES ('setting', $1, $2) \
                 ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value"
            )),
            put_setting_if_absent: Statement::new(format!(
                "INSERT INTO {meta} (scope, name, value) VALUES ('setting', $1, $2) \
                 ON CONFLICT (scope, name) DO NOTHING"
            )),
        }
    }
}

/// The first page and later ones. One statement for both, with a condition that is always true at
/// first, could not be planned once for all pages.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) first: Statement,
    pub(crate) after: Statement,
}

impl Page {
    fn over(records: &TableName, inner: &str, outer: &str, envelope: &str) -> Self {
        Self {
            first: page(records, "stored.id IS NOT NULL", inner, outer, envelope),
            after: page(records, "stored.id > $4", inner, outer, envelope),
        }
    }
}

/// A page of up to `$1` records and `$2` bytes after `$3` skipped rows, of the rows that match a
/// condition.
///
/// The server sums up the bytes: it sends no envelope that does not fit into the page, and does not
/// even read those stored out of line. The first record is always returned.
fn page(
    records: &TableName,
    condition: &str,
    inner: &str,
    outer: &str,
    envelope: &str,
) -> Statement {
    let (keys, odd) = (key_columns(), odd_columns());
    Statement::new(format!(
        "SELECT id, envelope, len, token, {outer}odd, id_begin FROM (\
            SELECT *, {WEIGHT} AS weight, sum({WEIGHT}) OVER rows AS bytes \
            FROM (SELECT {keys}, {inner}{envelope}, {odd}, stored.id AS place FROM {records} AS stored \
            WHERE {condition} ORDER BY stored.id LIMIT $1 OFFSET $3) AS found \
            WINDOW rows AS (ORDER BY place ROWS UNBOUNDED PRECEDING)\
         ) AS summed WHERE bytes <= $2 OR bytes = weight ORDER BY place"
    ))
}

/// Replaces the envelopes of the rows that still hold the expected ones; [`Statements::lock`] has
/// locked all of them.
fn replace(records: &TableName) -> Statement {
    Statement::new(format!(
        "UPDATE {records} AS stored SET envelope = new.sealed \
         FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS new (id, expected, len, sealed) \
         WHERE stored.id = new.id AND octet_length(stored.envelope) = new.len \
         AND (stored.envelope = new.expected OR new.len > {LONGEST}) \
         RETURNING stored.id"
    ))
}

/// The triggers and rules that act when an envelope is replaced: not disabled ones, and not those
/// of other columns. An update is event 16 of a trigger and 2 of a rule.
fn hooks(records: &TableName) -> Statement {
    Statement::new(format!(
        "SELECT FALSE, tgname::text FROM pg_trigger WHERE tgrelid = to_regclass('{records}') AND NOT tgisinternal \
         AND tgenabled <> 'D' AND tgtype & 16 <> 0 AND (tgattr::text = '' OR EXISTS (\
             SELECT 1 FROM pg_attribute WHERE attrelid = tgrelid AND attname = 'envelope' \
             AND attnum::text = ANY (string_to_array(tgattr::text, ' ')))) \
         UNION ALL \
         SELECT TRUE, rulename::text FROM pg_rewrite WHERE ev_class = to_regclass('{records}') \
         AND ev_enabled <> 'D' AND ev_type = '2' ORDER BY 1, 2"
    ))
}

/// A time of expiry or soft deletion as it is read: NULL (never) before 1970
/// ([`Timestamp::as_end`](vault_store::Timestamp::as_end)), and at most the last `Timestamp`.
pub(crate) fn end(column: &str) -> String {
    format!(
        "CASE WHEN {column} >= timestamptz '1970-01-01 00:00:00+00' THEN {} END",
        bounded(column)
    )
}

/// A time of creation or modification as it is read: NULL, which no table of a vault permits, is
/// the epoch.
pub(crate) fn moment(column: &str) -> String {
    // Not around it: `least` passes over NULL.
    bounded(&format!("coalesce({column}, timestamptz '1970-01-01 00:00:00+00')"))
}

/// A time as it is read: at most the last time that a `Timestamp` holds.
fn bounded(column: &str) -> String {
    format!("least({column}, timestamptz '9999-12-30 22:00:00+00')")
}

/// Changes what is not NULL. A time that may itself be NULL has a parameter that says whether it
/// changes.
fn update(records: &TableName) -> Statement {
    Statement::new(format!(
        "UPDATE {records} SET envelope = coalesce($2::text, envelope), \
         updated_at = coalesce($3::timestamptz, updated_at), \
         expires_at = CASE WHEN $4::boolean THEN $5::timestamptz ELSE expires_at END, \
         soft_deleted_at = CASE WHEN $6::boolean THEN $7::timestamptz ELSE soft_deleted_at END \
         WHERE id = $1 AND ($9::bigint IS NULL OR (octet_length(envelope) = $9::bigint \
         AND (envelope = $8::text OR $9::bigint > {LONGEST})))"
    ))
}
