//! Times as other programs write them: queries, purges and conditions must judge them as reading
//! does.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{num::NonZeroUsize, path::Path};

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{
    Filter, HasCursor as _, Precondition, Purge, Query, Record, RecordId, RecordUpdate, SortKey,
    SortOrder, Timestamp, VaultStore, WriteOutcome,
};

/// At 2026-11-22 00:55:18 UTC.
const NOW: Timestamp = Timestamp::from_micros(1_795_308_918_000_000);

/// Ends as they occur, and some that no program should write.
const TIMES: [&str; 26] = [
    "'2026-11-22 00:55:17'",
    "'2026-11-22 00:55:18'",
    "'2026-11-22 00:55:19'",
    "'2026-11-22T00:55:18Z'",
    "'2026-11-22T01:55:18+01:00'",
    "'2026-11-21 23:55:19-01:00'",
    "'2026-11-22 00:55:18.25'",
    "'2026-11-22 00:55:17.999'",
    "' 2026-11-22 00:55:18\n'",
    "'2026-11-22'",
    "'9999-12-31 23:59:59'",
    "''",
    "'soon'",
    "'now'",
    "'2460000.5'",
    "1795308918",
    "'0001-01-01 00:00:00'",
    "'0001-01-01T00:00:00Z'",
    "'0001-01-01 00:00:00+00:00'",
    "'1969-12-31 23:59:59'",
    "'1970-01-01'",
    "'2024-02-30 00:00:00'",
    "'2024-01-01 24:00:00'",
    "'2024-01-01 00:00:60'",
    "'20240101'",
    "x'ff32303234'",
];

async fn vault() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.sqlite");
    let store = SqliteStore::create(&path, SqliteOptions::default()).await.unwrap();
    plant(&path).await;
    (folder, store)
}

/// One record per time, as its end and its beginning; of each the half is soft-deleted at another
/// one.
async fn plant(path: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    for (number, time) in TIMES.iter().enumerate() {
        let hidden = TIMES[TIMES.len() - 1 - number];
        let insert = format!(
            "INSERT INTO vault VALUES ('id {number:02}', 'token {number}', 'v3:x', {time}, {time}, {time}, {hidden})"
        );
        sqlx::query(AssertSqlSafe(insert)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn all(store: &SqliteStore) -> Vec<Record> {
    store.query(&Query::all(), NOW).await.unwrap().records
}

#[tokio::test]
async fn filters_and_counts_judge_as_reading_does() {
    let (_folder, store) = vault().await;
    let all = all(&store).await;
    assert_eq!(all.len(), TIMES.len());
    let expired: Vec<_> = all
        .iter()
        .zip(TIMES)
        .filter(|(record, _)| record.is_expired(NOW))
        .map(|(_, time)| time)
        .collect();
    assert_eq!(expired.len(), 10, "{expired:?}");
    for (soft_deleted, expired) in [
        (Filter::Include, Filter::Only),
        (Filter::Include, Filter::Exclude),
        (Filter::Only, Filter::Include),
        (Filter::Exclude, Filter::Include),
        (Filter::Exclude, Filter::Only),
    ] {
        let query = Query::new().soft_deleted(soft_deleted).expired(expired);
        let expected: Vec<_> =
            all.iter().filter(|record| query.matches(record, NOW)).cloned().collect();
        assert_eq!(store.query(&query, NOW).await.unwrap(), expected, "{query:?}");
        assert_eq!(store.count_matching(&query, NOW).await.unwrap(), expected.len() as u64);
    }
}

#[tokio::test]
async fn every_order_pages_through_all_records_once() {
    let (_folder, store) = vault().await;
    for order in [SortKey::CreatedAt, SortKey::UpdatedAt, SortKey::ExpiresAt] {
        for direction in [SortOrder::Ascending, SortOrder::Descending] {
            let mut expected = all(&store).await;
            expected.sort_by_key(|record| record.position(order));
            if direction == SortOrder::Descending {
                expected.reverse();
            }
            let mut query = Query::all().order_by(order, direction).limit(1);
            let mut seen = Vec::new();
            while let Some(record) = store.query(&query, NOW).await.unwrap().records.pop() {
                query = query.after(&record);
                seen.push(record);
                assert!(seen.len() <= TIMES.len(), "{order:?} {direction:?} goes round in circles");
            }
            assert_eq!(seen, expected, "{order:?} {direction:?}");
        }
    }
}

#[tokio::test]
async fn a_purge_takes_what_reading_calls_expired() {
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let (_folder, store) = vault().await;
        let expired = all(&store).await.into_iter().filter(|record| record.is_expired(NOW));
        let expected: Vec<RecordId> = expired
            .filter(|record| purge == Purge::Delete || !record.is_soft_deleted(NOW))
            .map(|record| record.id)
            .collect();
        assert!(!expected.is_empty());
        let purged = store.purge_expired(purge, NOW, None, NonZeroUsize::MAX).await.unwrap();
        assert_eq!(purged, expected);
    }
}

#[tokio::test]
async fn a_change_expects_times_as_they_were_read() {
    let (_folder, store) = vault().await;
    for record in all(&store).await {
        let change = RecordUpdate {
            updated_at: Some(NOW),
            ..RecordUpdate::of(record.id.clone()).if_times_match(&record)
        };
        assert_eq!(store.update(change.clone()).await.unwrap(), WriteOutcome::Applied);
        let other = change.if_matches(Precondition::default().expires_at(Some(Timestamp::MAX)));
        assert_eq!(store.update(other).await.unwrap(), WriteOutcome::Conflict);
    }
}
