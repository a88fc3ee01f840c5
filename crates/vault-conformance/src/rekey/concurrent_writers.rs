//! Writers concurrent with a rekey.

use std::{sync::Arc, task::Poll};

use futures::future::{BoxFuture, FutureExt};
use vault_store::{RecordId, VaultStore, WriteOutcome};

use super::{
    begin,
    ledger::{Ledger, Moved, Owner},
    options, rekey, reopen,
    watched::Watched,
};
use crate::{Fault, FaultPlan, FaultyStore, StoreUnderTest};

/// How many batches of the rekey meet a writer; fewer than the rounds in which the engine resolves
/// a conflict.
const MET: usize = 6;

/// What writers update, delete and insert between the read of a page and its batch is neither lost
/// nor reverted, whatever password they use, and the rekey resolves every conflict.
pub async fn no_concurrent_write_is_lost_or_reverted_by_a_rekey<S: StoreUnderTest>(subject: &S) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    ledger.fill(&*store, Owner::Old, 20).await;
    let ids = ledger.ids(Owner::Old);
    // Pages of eight: each deed changes four records of the batch that it comes before.
    let deeds = (0..2).map(|page| deed(&store, &ledger, ids[8 * page..].to_vec(), page));
    let watched = Watched::over(Arc::clone(&store), deeds.collect());

    let (report, error) = rekey(watched, options(8)).await.unwrap();

    assert!(error.is_none(), "{error:?}");
    assert_eq!(report.conflicts_settled, 6);
    let counts = report.counts;
    assert_eq!((counts.conflict, counts.failed, counts.missing), (0, 0, 2));
    assert_eq!(counts.scanned, counts.total());
    let store = reopen(subject, store).await;
    // What was inserted behind the cursor was found by another pass.
    assert!(report.catch_up_passes >= 1, "{} passes", report.catch_up_passes);
    assert_eq!(ledger.check(&*store, Moved::All).await, counts.rekeyed + counts.already_new);
}

/// Updates the first records under each password, deletes one, and inserts one behind the cursor.
fn deed<S: VaultStore + 'static>(
    store: &Arc<S>,
    ledger: &Arc<Ledger>,
    ids: Vec<RecordId>,
    number: usize,
) -> BoxFuture<'static, ()> {
    let (store, ledger) = (Arc::clone(store), Arc::clone(ledger));
    async move {
        for (owner, id) in [Owner::Old, Owner::New, Owner::Foreign].into_iter().zip(&ids) {
            let outcome = ledger.rewrite(&*store, id, owner, b"newer").await;
            assert_eq!(outcome, WriteOutcome::Applied);
        }
        ledger.delete(&*store, &ids[4]).await;
        let behind = ledger.record(&format!("0000-behind-{number}"), Owner::Old, b"late");
        ledger.insert(&*store, Owner::Old, b"late", behind).await;
    }
    .boxed()
}

/// A writer that updates between two polls of a rekey, while its batch is in flight, loses no
/// update, whether early or late in the batch.
pub async fn no_write_between_two_polls_of_a_rekey_is_lost_or_reverted<S: StoreUnderTest>(
    subject: &S,
) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    ledger.fill(&*store, Owner::Old, 4).await;
    let ids = ledger.ids(Owner::Old);
    let slow = FaultyStore::new(Arc::clone(&store), FaultPlan::Every(1), Fault::Delay(2));
    let watched = Watched::over(Arc::new(slow), Vec::new());
    let batches = watched.0.batches();

    let mut session = begin(watched, options(4)).await.unwrap();
    let (mut updates, mut met, mut waited) = (0, 0, 0);
    loop {
        // The step is also dropped at every poll, for which it is designed.
        match futures::poll!(session.step().boxed()) {
            Poll::Ready(step) => {
                if step.unwrap().is_none() {
                    break;
                }
            }
            Poll::Pending => {
                let started = batches.lock().unwrap().len();
                (met, waited) = if started == met { (met, waited + 1) } else { (started, 1) };
                // The first batch meets the writer at once, the second one poll later, and so on.
                if waited == met && met <= MET {
                    updates += update_all(&store, &ledger, &ids, met).await;
                }
                std::thread::yield_now();
            }
        }
    }

    let report = session.report().clone();
    drop(session);
    assert!(updates >= ids.len(), "{updates} updates met a batch");
    assert!(report.conflicts_settled > 0);
    // What was written again under the old password after its batch was moved by a later pass.
    assert!(report.counts.rekeyed >= 4);
    assert_eq!(report.counts.conflict, 0);
    let store = reopen(subject, store).await;
    // A writer that knows the old password may have written it again after the batch went in.
    ledger.check(&*store, Moved::Some).await;
    let (_, error) = rekey(Arc::clone(&store), options(4)).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    ledger.check(&*store, Moved::All).await;
}

/// How many of the updates were acknowledged.
async fn update_all(
    store: &Arc<impl VaultStore>,
    ledger: &Ledger,
    ids: &[RecordId],
    number: usize,
) -> usize {
    let value = format!("update {number}");
    let mut applied = 0;
    for id in ids {
        let outcome = ledger.rewrite(&**store, id, Owner::Old, value.as_bytes()).await;
        applied += usize::from(outcome == WriteOutcome::Applied);
    }
    applied
}
