//! Every statement that reads or writes records and settings.
//!
//! `{vault}` and `{meta}` stand for the quoted table names, the only parts that are not constant.
//! Texts are passed as described in `packed.rs`. `json_each` has columns `id`, `key` and `value`,
//! so the table always has the alias `v`. Ids are compared as bytes, whatever the collation of the
//! table.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

use vault_store::{HEAD_LEN, MAX_ENVELOPE_LEN, MAX_KEY_LEN, MAX_SETTING_LEN, TableNames};

/// A statement with the table names filled in.
#[derive(Clone, Debug)]
pub(crate) struct Statement(Arc<str>);

impl Statement {
    /// Fills in the names, which is safe: see [`TableName`](vault_store::TableName).
    pub(crate) fn new(template: &str, tables: &TableNames) -> Self {
        let sql = template
            .replace("{vault}", &tables.vault().to_string())
            .replace("{meta}", &tables.meta().to_string());
        Self(sql.into())
    }

    pub(crate) fn query<'q>(&self) -> Query<'q, Sqlite, SqliteArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(&self.0)))
    }

    /// Appends to this statement: only constants, because all values are parameters.
    pub(crate) fn followed_by(&self, more: &str) -> Self {
        Self(format!("{}{more}", self.0).into())
    }

    #[cfg(test)]
    pub(crate) fn sql(&self) -> &str {
        &self.0
    }
}

macro_rules! statements {
    ($($name:ident = $sql:expr;)*) => {
        /// Creates the statements for one pair of tables.
        #[derive(Debug)]
        pub(crate) struct Statements {
            $(pub(crate) $name: Statement,)*
        }

        impl Statements {
            /// `row` is the number of a row of the alias `v`, or NULL.
            pub(crate) fn new(tables: &TableNames, row: &str) -> Self {
                let fill = |template: &str| {
                    let template = template.replace("{row}", row);
                    let template = template.replace("{longest}", &MAX_KEY_LEN.to_string());
                    let template = template.replace("{envelope}", &MAX_ENVELOPE_LEN.to_string());
                    let template = template.replace("{head}", &HEAD_LEN.to_string());
                    Statement::new(&template.replace("{setting}", &MAX_SETTING_LEN.to_string()), tables)
                };
                Self { $($name: fill($sql),)* }
            }
        }
    };
}

/// The columns of every record before its times: id, length of the envelope, the envelope as far as
/// requested, token, number of the row, and the excessive length (negative for a token) if the id
/// or token is too long to be read.
///
/// `octet_length` reads only the row header, so what is not requested is not loaded.
macro_rules! columns {
    ($envelope:literal) => {
        concat!(
            "CASE WHEN octet_length(v.id) <= {longest} THEN v.id END, octet_length(v.vault_value), ",
            $envelope,
            ", CASE WHEN octet_length(v.vault_token) <= {longest} THEN v.vault_token END, {row}, \
             CASE WHEN octet_length(v.id) > {longest} THEN octet_length(v.id) \
             WHEN octet_length(v.vault_token) > {longest} THEN -octet_length(v.vault_token) END"
        )
    };
}

/// The columns of a sealed record, with the envelope if it has at most `?3` bytes.
macro_rules! sealed {
    () => {
        columns!("CASE WHEN octet_length(v.vault_value) <= ?3 THEN v.vault_value END")
    };
}

/// The columns of a head. As bytes, of which `substr` otherwise counts characters; `?3` is not
/// used.
macro_rules! head {
    () => {
        columns!("CASE WHEN octet_length(v.vault_value) <= {envelope} THEN substr(CAST(v.vault_value AS BLOB), 1, {head}) END")
    };
}

/// The columns of a whole record, starting with those of a sealed record.
macro_rules! whole {
    () => {
        concat!(sealed!(), ", v.created_at, v.updated_at, v.expires_at, v.soft_deleted_at")
    };
}

/// The collation that compares times of expiry and of soft deletion as this crate reads them,
/// whatever text they are: see [`time::compare_ends`](crate::time::compare_ends). SQLite's own
/// functions accept other texts as times (30 February, 24:00) and know no "never".
pub(crate) const ENDS: &str = "vaultstore_ends";

/// The same for times of creation and modification: see
/// [`time::compare_moments`](crate::time::compare_moments).
pub(crate) const MOMENTS: &str = "vaultstore_moments";

/// A time of expiry or soft deletion in a column, which compares as it is read.
macro_rules! end {
    ($column:literal) => {
        concat!("ifnull(CAST(", $column, " AS TEXT), '') COLLATE vaultstore_ends")
    };
}

/// A time of creation or modification in a column, which compares as it is read.
macro_rules! moment {
    ($column:literal) => {
        concat!("ifnull(CAST(", $column, " AS TEXT), '') COLLATE vaultstore_moments")
    };
}

pub(crate) use {end, moment};

/// A packed text of the current row, at these indices of its position and length.
macro_rules! packed {
    ($position:literal, $length:literal) => {
        concat!("substr(?2, row.value->>", $position, ", row.value->>", $length, ")")
    };
}

macro_rules! text {
    ($position:literal, $length:literal) => {
        concat!("CAST(", packed!($position, $length), " AS TEXT)")
    };
}

// A page. SQLite sorts NULL and numbers first and blobs last, so the first and the last page find
// ids that are not text.
statements! {
    first_sealed = concat!(
        "SELECT ", sealed!(), " FROM {vault} AS v ORDER BY v.id COLLATE BINARY LIMIT ?2 OFFSET ?4"
    );
    next_sealed = concat!(
        "SELECT ", sealed!(), " FROM {vault} AS v WHERE v.id COLLATE BINARY > ?1 ORDER BY v.id COLLATE BINARY \
         LIMIT ?2 OFFSET ?4"
    );
    first_heads = concat!(
        "SELECT ", head!(), " FROM {vault} AS v ORDER BY v.id COLLATE BINARY LIMIT ?2 OFFSET ?4"
    );
    next_heads = concat!(
        "SELECT ", head!(), " FROM {vault} AS v WHERE v.id COLLATE BINARY > ?1 ORDER BY v.id COLLATE BINARY \
         LIMIT ?2 OFFSET ?4"
    );
    first_whole = concat!(
        "SELECT ", whole!(), " FROM {vault} AS v ORDER BY v.id COLLATE BINARY LIMIT ?2 OFFSET ?4"
    );
    next_whole = concat!(
        "SELECT ", whole!(), " FROM {vault} AS v WHERE v.id COLLATE BINARY > ?1 ORDER BY v.id COLLATE BINARY \
         LIMIT ?2 OFFSET ?4"
    );
    envelope = "SELECT vault_value FROM {vault} AS v WHERE v.id COLLATE BINARY = ?1";
    // CROSS JOIN keeps the order of the tables: each packed row is looked up, not the other way
    // round.
    sealed_by_id = concat!(
        "SELECT ", sealed!(), ", row.key FROM json_each(?1) AS row CROSS JOIN {vault} AS v \
         ON v.id COLLATE BINARY = ", text!(0, 1)
    );
    whole_by_token = concat!(
        "SELECT ", whole!(), ", row.key FROM json_each(?1) AS row CROSS JOIN {vault} AS v \
         ON v.vault_token COLLATE BINARY = ", text!(0, 1)
    );
    present = concat!(
        "SELECT row.key FROM json_each(?1) AS row CROSS JOIN {vault} AS v ON v.id COLLATE BINARY = ", text!(0, 1)
    );
    count = "SELECT count(*) FROM {vault}";
    // The start of a query; its conditions, order and limit are assembled in `queries.rs`.
    query_loaded = concat!("SELECT ", whole!(), " FROM {vault} AS v");
    query_length_only = concat!(
        "SELECT ", columns!("NULL"), ", v.created_at, v.updated_at, v.expires_at, v.soft_deleted_at FROM {vault} AS v"
    );
    query_count = "SELECT count(*) FROM {vault} AS v";

    // Only the envelope is set. An envelope that is NULL equals nothing.
    replace = concat!(
        "UPDATE {vault} AS v SET vault_value = ", text!(4, 5), " FROM json_each(?1) AS row \
         WHERE v.id COLLATE BINARY = ", text!(0, 1), " \
         AND CASE WHEN row.value->>2 THEN CAST(v.vault_value AS BLOB) = ", packed!(2, 3), " \
         ELSE octet_length(v.vault_value) = row.value->>3 END RETURNING id"
    );
    // What SQLite would run for a replacement: the program of a trigger starts with its name.
    replacement_plan = "EXPLAIN UPDATE {vault} SET vault_value = vault_value";
    // Of both tables, whatever fires them.
    triggers = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    stored = concat!(
        "SELECT count(*) FROM json_each(?1) AS row CROSS JOIN {vault} AS v ON v.id COLLATE BINARY = ", text!(0, 1),
        " WHERE CAST(v.vault_value AS BLOB) = ", packed!(2, 3)
    );
    update = "UPDATE {vault} AS v SET vault_value = ifnull(?2, v.vault_value), updated_at = ifnull(?3, updated_at), \
              expires_at = ifnull(?4, expires_at), soft_deleted_at = ifnull(?5, soft_deleted_at) \
              WHERE v.id COLLATE BINARY = ?1 AND (?6 IS NULL OR CAST(v.vault_value AS BLOB) = ?6) \
              AND (?7 IS NULL OR octet_length(v.vault_value) = ?7)";
    // Candidates of a purge, after `?1` if that is not NULL, in order; each is judged once more
    // when it was read. Rows that are unreadable to a scan are left alone.
    ended = concat!(
        "SELECT v.id, v.expires_at, v.soft_deleted_at FROM {vault} AS v WHERE typeof(v.id) = 'text' \
         AND octet_length(v.id) <= {longest} AND ifnull(octet_length(v.vault_token), 0) <= {longest} \
         AND (?1 IS NULL OR v.id COLLATE BINARY > ?1) AND ", end!("v.expires_at"), " <= ?2 ORDER BY v.id COLLATE BINARY"
    );
    purge_soft = concat!(
        "UPDATE {vault} AS v SET soft_deleted_at = ?3, updated_at = ?3 WHERE v.id COLLATE BINARY IN \
         (SELECT ", text!(0, 1), " FROM json_each(?1) AS row)"
    );
    purge_for_good = concat!(
        "DELETE FROM {vault} AS v WHERE v.id COLLATE BINARY IN (SELECT ", text!(0, 1), " FROM json_each(?1) AS row)"
    );
    delete = "DELETE FROM {vault} AS v WHERE v.id COLLATE BINARY = ?1";
    // Which of the rows (id, token) have an id or a token that a record already has.
    taken = concat!(
        "SELECT * FROM (SELECT row.key, \
         EXISTS (SELECT 1 FROM {vault} AS v WHERE v.id COLLATE BINARY = ", text!(0, 1), ") AS id_taken, \
         EXISTS (SELECT 1 FROM {vault} AS v WHERE v.vault_token COLLATE BINARY = ", text!(2, 3), ") AS token_taken \
         FROM json_each(?1) AS row) WHERE id_taken OR token_taken"
    );
    insert = concat!(
        "INSERT INTO {vault} \
         (id, vault_token, vault_value, created_at, updated_at, expires_at, soft_deleted_at) SELECT ",
        text!(0, 1), ", ", text!(2, 3), ", ", text!(4, 5), ", ", text!(6, 7), ", ",
        text!(8, 9), ", ", text!(10, 11), ", ", text!(12, 13), " FROM json_each(?1) AS row"
    );

    // Of several rows with one name, which nothing prevents, the Go package reads the oldest.
    setting = "SELECT CASE WHEN octet_length(meta_value) <= {setting} THEN meta_value END, octet_length(meta_value) \
               FROM {meta} WHERE object_type = 'vault' AND object_id = 'settings' \
               AND meta_key COLLATE BINARY = ?1 ORDER BY id LIMIT 1";
    settings = "SELECT CASE WHEN octet_length(meta_key) <= {longest} THEN meta_key END, octet_length(meta_key), \
                CASE WHEN octet_length(meta_value) <= {setting} THEN meta_value END, octet_length(meta_value) \
                FROM {meta} WHERE object_type = 'vault' AND object_id = 'settings' \
                AND meta_key IS NOT NULL ORDER BY meta_key COLLATE BINARY, id";
    other_settings = "SELECT count(*) FROM (SELECT DISTINCT meta_key FROM {meta} WHERE object_type = 'vault' \
                      AND object_id = 'settings' AND octet_length(meta_key) <= {longest} \
                      AND meta_key COLLATE BINARY <> ?1 LIMIT ?2)";
    set_setting = "UPDATE {meta} SET meta_value = ?2 WHERE object_type = 'vault' AND object_id = 'settings' \
                   AND meta_key COLLATE BINARY = ?1";
    password_identities = crate::identities::IDENTITIES;
    password_links = crate::identities::LINKS;
    purge_password_identities = crate::identities::DELETE_IDENTITIES;
    purge_password_links = crate::identities::DELETE_LINKS;
    add_setting = "INSERT INTO {meta} (object_type, object_id, meta_key, meta_value) \
                   VALUES ('vault', 'settings', ?1, ?2)";
}
