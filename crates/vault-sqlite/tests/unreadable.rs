//! Unreadable rows, and settings that are too long to load, as other programs can write them into a
//! database.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};
use std::{num::NonZeroUsize, path::Path};
use tempfile::TempDir;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{
    MAX_KEY_LEN, MAX_SETTING_LEN, MAX_SETTINGS, Page, PageLimit, Purge, PutSetting, Query,
    RecordId, RecordSource as _, SortKey, SortOrder, StoreErrorKind, Timestamp, Token,
    UnreadableReason as Reason, VaultStore as _,
};

/// As an old generation of the Go package makes it: every column may be NULL, and an id may have
/// any type.
const ANY_ID: &str = "CREATE TABLE vault (id PRIMARY KEY, vault_token, vault_value, created_at, \
                      updated_at, expires_at, soft_deleted_at); \
                      CREATE TABLE vault_meta (id integer PRIMARY KEY AUTOINCREMENT, object_type text, \
                      object_id text, meta_key text, meta_value)";

/// As above, without row numbers.
const WITHOUT_ROWID: &str = "CREATE TABLE vault (id PRIMARY KEY, vault_token, vault_value, created_at, \
                             updated_at, expires_at, soft_deleted_at) WITHOUT ROWID";

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn execute(path: &Path, sql: &str) {
    let mut connection = connect(path).await;
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

/// A vault of two records, `b` and `d`, among rows with these ids and tokens.
async fn vault(folder: &TempDir, schema: &str, rows: &[(&str, &str)]) -> SqliteStore {
    let path = folder.path().join("vault.sqlite");
    execute(&path, schema).await;
    let sound = [("'b'", "'tk_b'"), ("'d'", "'tk_d'")];
    for (id, token) in rows.iter().chain(&sound) {
        let insert = format!(
            "INSERT INTO vault (id, vault_token, vault_value) VALUES ({id}, {token}, 'v2:x')"
        );
        execute(&path, &insert).await;
    }
    SqliteStore::open(&path, SqliteOptions::default()).await.unwrap()
}

fn limit(records: usize) -> PageLimit {
    PageLimit::new(records, 1 << 20)
}

/// Every page of a scan: the ids, and the names and reasons of the others.
async fn scan(store: &SqliteStore, records: usize) -> (Vec<String>, Vec<(String, Reason)>) {
    let (mut ids, mut rows, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.read_page(after.as_ref(), limit(records)).await.unwrap();
        rows.extend(page.unreadable.into_iter().map(|row| (row.name.to_string(), row.reason)));
        let Some(last) = page.records.last() else { return (ids, rows) };
        after = Some(last.id.clone());
        ids.extend(page.records.into_iter().map(|record| record.id.to_string()));
    }
}

#[tokio::test]
async fn rows_without_a_readable_id_are_named_by_their_number_and_hide_none() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("printf('%.*c', {}, 'c')", MAX_KEY_LEN + 1);
    let longest = format!("printf('%.*c', {MAX_KEY_LEN}, 'c')");
    let rows = [
        ("NULL", "'1'"),
        ("NULL", "'2'"),
        ("17", "'3'"),
        ("1.5", "'4'"),
        ("x'62'", "'5'"),
        ("CAST(x'62ff' AS TEXT)", "'6'"),
        (long.as_str(), "'7'"),
        ("'a'", long.as_str()),
        (longest.as_str(), "'9'"),
    ];
    let store = vault(&folder, ANY_ID, &rows).await;
    let too_long = MAX_KEY_LEN as u64 + 1;
    let mut expected = [
        (1, Reason::NoId),
        (2, Reason::NoId),
        (3, Reason::IdNotText),
        (4, Reason::IdNotText),
        (5, Reason::IdNotText),
        (6, Reason::IdNotText),
        (7, Reason::IdTooLong { len: too_long }),
        (8, Reason::TokenTooLong { len: too_long }),
    ]
    .map(|(number, reason)| (format!("rowid {number}"), reason));
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    for records in [1, 2, 3, 100] {
        let (ids, mut rows) = scan(&store, records).await;
        assert_eq!(ids, ["b".to_owned(), "c".repeat(MAX_KEY_LEN), "d".to_owned()]);
        rows.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(rows, expected, "pages of {records}");
    }
    for order in [SortKey::Token, SortKey::CreatedAt] {
        let query = Query::all().order_by(order, SortOrder::Ascending).limit(1);
        let Page { records, unreadable } = store.query(&query, Timestamp::MAX).await.unwrap();
        assert_eq!((records.len(), unreadable.is_empty()), (1, false));
    }
    // Who asks for such a row is told what is wrong with it.
    let asked = store.find(&[Token::from_stored("6".to_owned())]).await.unwrap_err();
    assert_eq!(asked.kind(), StoreErrorKind::Corrupt);
    assert!(asked.to_string().contains("rowid 6"), "{asked}");
    let sound = store.find(&[Token::from_stored("tk_b".to_owned())]).await.unwrap();
    assert!(sound[0].is_some());
}

#[tokio::test]
async fn a_purge_leaves_the_rows_alone_that_nobody_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("printf('%.*c', {}, 'c')", MAX_KEY_LEN + 1);
    let rows = [
        ("NULL", "'1'"),
        ("17", "'2'"),
        ("x'62'", "'3'"),
        ("CAST(x'62ff' AS TEXT)", "'4'"),
        (long.as_str(), "'5'"),
        ("'a'", long.as_str()),
        ("'aa'", "CAST(x'62ff' AS TEXT)"),
        ("'c' || char(0)", "NULL"),
    ];
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let folder = tempfile::tempdir_in(&folder).unwrap();
        let store = vault(&folder, ANY_ID, &rows).await;
        let path = folder.path().join("vault.sqlite");
        execute(&path, "UPDATE vault SET expires_at = '2001-01-01 00:00:00'").await;
        let now = Timestamp::from_micros(2_000_000_000_000_000);
        let mut purged = Vec::new();
        let one = NonZeroUsize::MIN;
        loop {
            let last = purged.last();
            let next = store.purge_expired(purge, now, last, one).await.unwrap();
            let Some(id) = next.into_iter().next() else { break };
            purged.push(id);
        }
        let purged: Vec<_> = purged.iter().map(RecordId::as_str).collect();
        assert_eq!(purged, ["aa", "b", "c\0", "d"]);
        let (_, unreadable) = scan(&store, 100).await;
        assert_eq!(unreadable.len(), 6);
    }
}

#[tokio::test]
async fn a_table_without_row_numbers_is_read_and_its_odd_rows_named_by_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [("CAST(x'62ff' AS TEXT)", "'1'")];
    let store = vault(&folder, WITHOUT_ROWID, &rows).await;
    let (ids, rows) = scan(&store, 1).await;
    assert_eq!(ids, ["b", "d"]);
    assert_eq!(rows, [(r#"id "b\xff""#.to_owned(), Reason::IdNotText)]);
}

#[tokio::test]
async fn settings_over_the_limits_are_refused_by_their_length_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sqlite");
    let store = vault(&folder, ANY_ID, &[]).await;
    store.put_setting("sound", "value", PutSetting::Always).await.unwrap();
    let add = |name: &str, value: &str| {
        format!(
            "INSERT INTO vault_meta (object_type, object_id, meta_key, meta_value) \
             VALUES ('vault', 'settings', {name}, {value})"
        )
    };
    execute(&path, &add("'giant'", "CAST(zeroblob(100000000) AS TEXT)")).await;
    let refused = store.setting("giant").await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Corrupt);
    assert!(refused.to_string().contains("giant has 100000000 bytes"), "{refused}");
    assert_eq!(store.settings().await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.setting("sound").await.unwrap().as_deref(), Some("value"));

    let most = format!("printf('%.*c', {MAX_SETTING_LEN}, 'x')");
    execute(&path, &format!("UPDATE vault_meta SET meta_value = {most} WHERE meta_key = 'giant'"))
        .await;
    assert_eq!(store.settings().await.unwrap().len(), 2);

    let long = format!("printf('%.*c', {}, 'n')", MAX_KEY_LEN + 1);
    execute(&path, &add(&long, "''")).await;
    assert_eq!(store.settings().await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    execute(&path, "DELETE FROM vault_meta WHERE length(meta_key) > 100").await;

    for number in 2..MAX_SETTINGS {
        execute(&path, &add(&format!("'n{number}'"), "''")).await;
    }
    assert_eq!(store.settings().await.unwrap().len(), MAX_SETTINGS);
    execute(&path, &add("'one more'", "''")).await;
    assert_eq!(store.settings().await.unwrap_err().kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_setting_that_is_not_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault(&folder, ANY_ID, &[]).await;
    let path = folder.path().join("vault.sqlite");
    let values = ["x'00ff'", "CAST(x'c328' AS text)"];
    for value in values {
        let plant = format!(
            "DELETE FROM vault_meta; INSERT INTO vault_meta (object_type, object_id, meta_key, meta_value) \
             VALUES ('vault', 'settings', 'kdf', {value})"
        );
        execute(&path, &plant).await;
        for refused in [store.setting("kdf").await.err(), store.settings().await.err()] {
            let refused = refused.unwrap();
            assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{refused}");
            assert!(refused.to_string().ends_with("the setting \"kdf\" is not UTF-8 text"));
        }
        execute(&path, &format!("UPDATE vault_meta SET meta_key = {value}, meta_value = 'v3'"))
            .await;
        let refused = store.settings().await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{refused}");
        assert_eq!(store.setting("kdf").await.unwrap(), None);
    }
}
