//! The contract of [`VaultStore::write_count`]. A store that cannot count passes.

use std::num::NonZeroUsize;

use vault_store::{
    Purge, RecordSink, RecordSource, RecordUpdate, Timestamp, VaultStore, WriteCount, WriteOutcome,
};

use super::MOST_POLLS;
use crate::samples::{WIDE, envelope, fill, record, records, replacement, scan, sealed};
use crate::{StoreUnderTest, poll_at_most};

/// "If two counts differ only by some batches, nothing but those batches has changed a record in
/// between."
pub async fn a_write_count_tells_batches_from_all_other_writes<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let Some(mut before) = store.write_count().await.unwrap() else { return };
    let records = records(4);
    fill(&store, &records).await;
    before = assert_counted(&store, &before, "an insert").await;

    scan(&store, WIDE).await;
    let now = store.write_count().await.unwrap().unwrap();
    assert!(now.advanced_only_by(&before, 0), "reading is no write");

    let batch = [replacement(&records[0], "v3:new"), replacement(&records[1], "v3:new")];
    for outcome in [WriteOutcome::Applied, WriteOutcome::Conflict] {
        assert_eq!(store.swap_batch(batch.to_vec().into()).await.unwrap(), [outcome; 2]);
        let now = store.write_count().await.unwrap().unwrap();
        assert!(now.advanced_only_by(&before, 1), "a batch that was answered is one write");
        before = now;
    }

    let change = RecordUpdate {
        envelope: Some(envelope("v3:updated")),
        ..RecordUpdate::of(records[2].id.clone())
    };
    store.update(change).await.unwrap();
    before = assert_counted(&store, &before, "an update").await;
    store.delete(&records[3].id).await.unwrap();
    before = assert_counted(&store, &before, "a deletion").await;
    let expires =
        RecordUpdate::of(records[2].id.clone()).expires_at(Some(Timestamp::from_micros(0)));
    store.update(expires).await.unwrap();
    before = assert_counted(&store, &before, "a change of a time").await;
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let taken = store.purge_expired(purge, Timestamp::MAX, None, NonZeroUsize::MIN).await;
        assert_eq!(taken.unwrap().len(), 1);
        before = assert_counted(&store, &before, "a purge").await;
    }
}

/// A batch whose future was dropped counts as not done, or as a foreign write.
pub async fn a_dropped_batch_that_comes_to_pass_is_counted<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    if store.write_count().await.unwrap().is_none() {
        return;
    }
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the write is never ready");
        let record = record(&format!("dropped after {polls}"));
        fill(&store, std::slice::from_ref(&record)).await;
        let before = settled_count(&store).await;
        let batch = vec![replacement(&record, "v3:new")];
        let ready = poll_at_most(store.swap_batch(batch.into()), polls).await;
        if ready.is_some() {
            break;
        }
        let stored = store.read_records(std::slice::from_ref(&record.id)).await.unwrap();
        let now = settled_count(&store).await;
        let unchanged = stored == [Some(sealed(&record))];
        assert!(unchanged || !now.advanced_only_by(&before, 0), "no write was counted");
    }
}

async fn assert_counted<S: VaultStore>(store: &S, before: &WriteCount, write: &str) -> WriteCount {
    let now = store.write_count().await.unwrap().unwrap();
    assert!(!now.advanced_only_by(before, 0), "{write} was not counted");
    now
}

/// Waits until no write is in progress.
async fn settled_count<S: VaultStore>(store: &S) -> WriteCount {
    loop {
        if let Some(count) = store.write_count().await.unwrap() {
            return count;
        }
        std::thread::yield_now();
    }
}
