//! A schema that the driver panics over: an error for everyone who calls, and nobody waits.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _};
use tempfile::TempDir;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{
    EnvelopeText, PageLimit, Purge, Query, Record, RecordId, SortKey, SortOrder, StoreErrorKind,
    Timestamp, Token, VaultStore as _,
};

const COLUMNS: [&str; 7] = [
    "`id` text",
    "`vault_token` text",
    "`vault_value` longtext",
    "`created_at` datetime",
    "`updated_at` datetime",
    "`expires_at` datetime",
    "`soft_deleted_at` datetime",
];

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("id {number}")),
        token: Token::new(format!("tk_{number}")).unwrap(),
        envelope: EnvelopeText::from_stored(*b"v3:x"),
        created_at: Timestamp::from_micros(1_700_000_000_000_000),
        updated_at: Timestamp::from_micros(1_700_000_000_000_000),
        expires_at: None,
        soft_deleted_at: None,
    }
}

async fn vault(folder: &TempDir) -> (PathBuf, SqliteStore) {
    let path = folder.path().join("vault.sqlite");
    let store = SqliteStore::create(&path, SqliteOptions::default()).await.unwrap();
    store.insert(vec![record(1), record(2)]).await.unwrap();
    (path, store)
}

/// Makes the type of a column bytes that are not UTF-8, as anyone who can write to the file can.
async fn spoil(path: &Path, column: &str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let sql = "SELECT CAST(sql AS BLOB) FROM sqlite_schema WHERE name = 'vault'";
    let sql: Vec<u8> = connection.fetch_one(sql).await.unwrap().get(0);
    let at = sql.windows(column.len()).position(|part| part == column.as_bytes()).unwrap();
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect::<String>()
    };
    let (before, after) = (&sql[..at + column.len() - 1], &sql[at + column.len()..]);
    let spoilt = format!(
        "PRAGMA writable_schema = 1; \
         UPDATE sqlite_schema SET sql = CAST(x'{}ff{}' AS TEXT) WHERE name = 'vault'; \
         PRAGMA schema_version = 4711",
        hex(before),
        hex(after)
    );
    connection.execute(AssertSqlSafe(spoilt)).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_is_not_text_is_refused() {
    for column in COLUMNS {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = vault(&folder).await;
        store.close().await;
        spoil(&path, column).await;
        let refused = SqliteStore::open(&path, SqliteOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{column}: {refused}");
        let refused = SqliteStore::migrate(&path, SqliteOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Corrupt, "{column}: {refused}");
    }
}

/// Each call answers, and no answer is an empty page where there are records.
#[tokio::test]
async fn a_schema_that_is_spoilt_while_the_vault_is_open_is_an_error_to_every_call() {
    let mut panicked = 0;
    for column in COLUMNS {
        let folder = tempfile::tempdir().unwrap();
        let (path, store) = vault(&folder).await;
        spoil(&path, column).await;
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let query = Query::all().order_by(SortKey::ExpiresAt, SortOrder::Descending);
        let everything = PageLimit::new(10, 1 << 20);
        let limit = 10.try_into().unwrap();
        let answers = [
            store.list(None, everything).await.map(|page| assert_eq!(page.len(), 2)),
            store.query(&query, now).await.map(|page| assert_eq!(page.len(), 2)),
            store.find(&[record(1).token]).await.map(|found| assert!(found[0].is_some())),
            store.purge_expired(Purge::Delete, now, None, limit).await.map(drop),
            store.insert(vec![record(3)]).await.map(drop),
            store.count().await.map(drop),
        ];
        let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        for error in &errors {
            let expected = [StoreErrorKind::Corrupt, StoreErrorKind::UnknownOutcome];
            assert!(expected.contains(&error.kind()), "{column}: {error}");
        }
        panicked += usize::from(!errors.is_empty());
        store.close().await;
    }
    assert!(panicked >= 4, "the driver noticed {panicked}");
}
