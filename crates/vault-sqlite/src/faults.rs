//! Tests of internal failures: a full disk, and a connection left inside a transaction.

use std::path::Path;

use sqlx::{AssertSqlSafe, Executor as _};
use tempfile::TempDir;
use vault_store::{
    EnvelopeText, InsertOutcome, PageLimit, Record, RecordId, RecordSink, Replacement,
    StoreErrorKind, Timestamp, Token, VaultStore, WriteOutcome,
};

use crate::{SqliteOptions, SqliteStore};

fn record(number: usize, len: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:06}")),
        token: Token::from_stored(format!("tk_{number}")),
        envelope: EnvelopeText::from_stored(vec![b'a'; len]),
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(0),
        expires_at: None,
        soft_deleted_at: None,
    }
}

async fn vault_in(folder: &TempDir) -> SqliteStore {
    let path = folder.path().join("vault.sqlite");
    SqliteStore::create(path, SqliteOptions::default()).await.unwrap()
}

/// Limits the database to this many pages; beyond that, SQLite reports a full disk.
async fn limit_pages(store: &SqliteStore, pages: u32) {
    let mut writer = store.shared.writer.acquire().await.unwrap();
    let limit = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    writer.execute(limit).await.unwrap();
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_changed_and_later_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault_in(&folder).await;
    let records: Vec<_> = (0..20).map(|number| record(number, 2000)).collect();
    store.insert(records.clone()).await.unwrap();
    limit_pages(&store, 40).await;

    let batch: Vec<_> = records
        .iter()
        .map(|record| Replacement {
            id: record.id.clone(),
            expected: record.envelope.clone(),
            new: EnvelopeText::from_stored(vec![b'b'; 9000]),
        })
        .collect();
    let error = store.swap_batch(batch.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
    let new = (100..200).map(|number| record(number, 2000)).collect();
    assert_eq!(store.insert(new).await.unwrap_err().kind(), StoreErrorKind::Full);
    assert_eq!(store.list(None, PageLimit::new(1000, 1 << 20)).await.unwrap(), records);

    limit_pages(&store, 1000).await;
    assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied; 20]);
}

#[tokio::test]
async fn a_connection_that_comes_back_within_a_transaction_takes_no_later_write_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault_in(&folder).await;
    for (number, pool) in [&store.shared.writer, &store.shared.readers].into_iter().enumerate() {
        // As if a `begin` had been dropped while in flight: the driver knows of no transaction.
        pool.acquire().await.unwrap().execute("BEGIN").await.unwrap();
        let outcome = store.insert(vec![record(number, 10)]).await.unwrap();
        assert_eq!(outcome, [InsertOutcome::Inserted]);
        assert_eq!(store.count().await.unwrap(), number as u64 + 1);
    }
    let path = store.shared.path.clone();
    store.close().await;
    assert_eq!(count(&path).await, 2);
}

#[tokio::test]
async fn dropped_transactions_lose_no_later_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault_in(&folder).await;
    for number in 0..200 {
        let patience = std::time::Duration::from_micros(number as u64 * 3);
        let _ = tokio::time::timeout(patience, store.insert(vec![record(number, 10)])).await;
        let outcome = store.insert(vec![record(1000 + number, 10)]).await.unwrap();
        assert_eq!(outcome, [InsertOutcome::Inserted]);
    }
    let path = store.shared.path.clone();
    store.close().await;
    // Each of the dropped calls completed nevertheless.
    assert_eq!(count(&path).await, 400);
}

async fn count(path: &Path) -> u64 {
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    store.count().await.unwrap()
}

/// Pages and lookups must not read the whole table, whatever the planner estimates.
#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = vault_in(&folder).await;
    let statements = &store.shared.statements;
    for statement in [
        &statements.next_sealed,
        &statements.next_whole,
        &statements.envelope,
        &statements.sealed_by_id,
        &statements.whole_by_token,
        &statements.present,
        &statements.replace,
        &statements.update,
        &statements.delete,
        &statements.taken,
    ] {
        let explain = format!("EXPLAIN QUERY PLAN {}", statement.sql());
        let rows =
            sqlx::query(AssertSqlSafe(explain)).fetch_all(&store.shared.readers).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 3)).collect();
        assert!(steps.iter().any(|step| step.contains("SEARCH v")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("SCAN v")), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "{steps:?}");
    }
}
