//! Times as other programs write them: queries, purges and conditions judge them as reading does.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::num::NonZeroUsize;

use support::{in_a_schema, record, records};
use vault_store::{
    Filter, HasCursor as _, Purge, Query, Record, RecordUpdate, SortKey, SortOrder, Timestamp,
    VaultStore, WriteOutcome,
};

/// At 2026-11-22 00:55:18 UTC.
const NOW: Timestamp = Timestamp::from_micros(1_795_308_918_000_000);

/// Ends as they occur: the first three have come, the others stand for never or are to come.
const TIMES: [&str; 11] = [
    "'2026-11-22 00:55:17+00'",
    "'2026-11-22 01:55:18+01'",
    "'1970-01-01 00:00:00+00'",
    "'2026-11-22 00:55:18.000001+00'",
    "'0001-01-01 00:00:00+00'",
    "'1969-12-31 23:59:59.999999+00'",
    "'-infinity'",
    "'infinity'",
    "'9999-12-31 23:59:59+00'",
    "'20000-01-01 00:00:00+00'",
    "NULL",
];

#[test]
fn an_end_is_judged_in_the_database_as_it_is_read() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(TIMES.len())).await.unwrap();
        for (number, time) in TIMES.iter().enumerate() {
            let hidden = TIMES[TIMES.len() - 1 - number];
            place
                .run_owned(format!(
                    "UPDATE vault SET expires_at = {time}, soft_deleted_at = {hidden}, \
                     created_at = coalesce({time}, now()) WHERE id = '{}'",
                    record(&format!("{number:06}")).id
                ))
                .await;
        }
        let all = store.query(&Query::all(), NOW).await.unwrap().records;
        let judged = |purge: Purge| -> Vec<_> {
            let taken =
                |record: &&Record| purge.takes(record.expires_at, record.soft_deleted_at, NOW);
            all.iter().filter(taken).map(|record| record.id.clone()).collect()
        };
        assert_eq!(judged(Purge::Delete).len(), 3);
        for (soft_deleted, expired) in [
            (Filter::Include, Filter::Only),
            (Filter::Include, Filter::Exclude),
            (Filter::Only, Filter::Include),
            (Filter::Exclude, Filter::Include),
        ] {
            let query = Query::new().soft_deleted(soft_deleted).expired(expired);
            let expected: Vec<_> =
                all.iter().filter(|record| query.matches(record, NOW)).cloned().collect();
            assert_eq!(store.query(&query, NOW).await.unwrap(), expected, "{query:?}");
            assert_eq!(store.count_matching(&query, NOW).await.unwrap(), expected.len() as u64);
        }
        for order in [SortKey::ExpiresAt, SortKey::CreatedAt] {
            pages_through_all(&store, &all, order).await;
        }
        for record in &all {
            let change = RecordUpdate::of(record.id.clone()).updated_at(NOW).if_times_match(record);
            assert_eq!(store.update(change).await.unwrap(), WriteOutcome::Applied);
        }
        for purge in [Purge::SoftDelete, Purge::Delete] {
            let expected = judged(purge);
            let purged = store.purge_expired(purge, NOW, None, NonZeroUsize::MAX).await.unwrap();
            assert_eq!(purged, expected);
        }
        assert_eq!(store.count().await.unwrap(), 8);
    });
}

async fn pages_through_all(store: &impl VaultStore, all: &[Record], order: SortKey) {
    let mut expected = all.to_vec();
    expected.sort_by_key(|record| record.position(order));
    let mut query = Query::all().order_by(order, SortOrder::Ascending).limit(1);
    let mut seen = Vec::new();
    while let Some(record) = store.query(&query, NOW).await.unwrap().records.pop() {
        query = query.after(&record);
        seen.push(record);
        assert!(seen.len() <= all.len(), "{order:?} goes round in circles");
    }
    assert_eq!(seen, expected, "{order:?}");
}
