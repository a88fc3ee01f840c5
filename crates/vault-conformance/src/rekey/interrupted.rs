//! A rekey that does not finish: the store fails, or the caller stops or drops it.

use std::sync::Arc;

use vault_core::rekey::RunStatus;
use vault_store::{RecordSource, StoreErrorKind, VaultStore};

use super::{
    begin,
    ledger::{Ledger, Moved, Owner},
    options, rekey, reopen,
    watched::Watched,
};
use crate::{Fault, FaultPlan, FaultyStore, StoreUnderTest, poll_at_most};

/// Which calls fail, after a first one is given.
type Plan = fn(u64) -> FaultPlan;

/// What fails: one call, or all from it on.
const FAULTS: [(Plan, Fault); 9] = [
    (FaultPlan::Nth, Fault::ErrorBefore(StoreErrorKind::Retryable)),
    (FaultPlan::From, Fault::ErrorBefore(StoreErrorKind::Retryable)),
    (FaultPlan::Nth, Fault::ErrorBefore(StoreErrorKind::Other)),
    (FaultPlan::Nth, Fault::ReplyLost),
    (FaultPlan::Nth, Fault::Delay(3)),
    (FaultPlan::Nth, Fault::DroppedAfter(1)),
    (FaultPlan::Nth, Fault::Torn { first: 1, kind: StoreErrorKind::UnknownOutcome }),
    (FaultPlan::Nth, Fault::Torn { first: 2, kind: StoreErrorKind::Retryable }),
    (FaultPlan::Nth, Fault::Torn { first: 1, kind: StoreErrorKind::Other }),
];

/// A rekey that is not done after this many calls or polls counts as stuck.
const MOST: usize = 10_000;

/// Whichever call of a rekey fails, and however: every record is there with its value, under the
/// old password or the new one; the report counts what happened; and running again does the rest.
pub async fn a_failing_store_never_loses_a_record<S: StoreUnderTest>(subject: &S) {
    for (plan, fault) in FAULTS {
        let (mut calls, mut torn) = (0, 0);
        loop {
            let fired = a_fault_loses_nothing(subject, plan(calls + 1), fault).await;
            torn += fired.torn;
            if !fired.at_all {
                break;
            }
            calls += 1;
            assert!(calls < MOST as u64, "the rekey does not end");
        }
        // Two settings, a count, four pages and three batches at least: else not every kind of call
        // went wrong.
        assert!(calls >= 10, "{fault:?} hit only {calls} calls");
        // How many records a batch has depends on how fast the machine is, but some have more than
        // one.
        assert!(torn > 0 || !matches!(fault, Fault::Torn { .. }), "{fault:?} tore nothing off");
    }
}

/// The effect of a fault.
struct Fired {
    at_all: bool,
    torn: u64,
}

async fn a_fault_loses_nothing<S: StoreUnderTest>(
    subject: &S,
    plan: FaultPlan,
    fault: Fault,
) -> Fired {
    let (store, ledger) = small_vault(subject).await;
    let faulty = Arc::new(FaultyStore::new(Arc::clone(&store), plan, fault));
    let ended = rekey(Arc::clone(&faulty), options(3)).await;
    let fired = Fired { at_all: faulty.fired() > 0, torn: faulty.torn() };
    drop(faulty);
    let store = reopen(subject, store).await;
    let under_new = ledger.check(&*store, Moved::Some).await;

    let moved = under_new - ledger.count(Owner::New);
    match ended {
        // It did not even begin: the settings or the count could not be read.
        Err(_) => assert_eq!(moved, 0),
        Ok((report, error)) => {
            let counts = report.counts;
            assert_eq!(counts.scanned, counts.total());
            if matches!(fault, Fault::DroppedAfter(_)) {
                // What a dropped call left at work may go in after the engine looked, and is found
                // already new.
                assert!(counts.rekeyed <= moved);
            } else {
                assert_eq!(counts.rekeyed, moved, "{plan:?} {fault:?}");
            }
            if error.is_none() {
                assert_eq!((report.end, counts.scanned), (RunStatus::Complete, 9));
                assert_eq!(counts.rekeyed + counts.already_new, under_new);
                assert_eq!(counts.rekeyed + counts.already_new + counts.failed, 8);
            }
        }
    }
    finish(&store, &ledger).await;
    fired
}

/// Dropped at any poll, a rekey has committed each batch completely or not at all, and running
/// again does the rest.
pub async fn a_dropped_rekey_loses_nothing<S: StoreUnderTest>(subject: &S) {
    for polls in 0..MOST {
        let (store, ledger) = small_vault(subject).await;
        let watched = Watched::over(Arc::clone(&store), Vec::new());
        let batches = watched.0.batches();
        // Without threads, so that each number of polls deterministically interrupts at another
        // point.
        let session = begin(watched, options(3).without_threads()).await.unwrap();
        let ended = poll_at_most(session.run(), polls).await;

        let store = reopen(subject, store).await;
        ledger.check(&*store, Moved::Some).await;
        let batches = batches.lock().unwrap().clone();
        for batch in batches {
            let ids: Vec<_> = batch.iter().map(|replacement| replacement.id.clone()).collect();
            let stored = store.read_records(&ids).await.unwrap();
            let written = stored
                .into_iter()
                .zip(batch.iter())
                .filter(|(now, replacement)| now.as_ref().unwrap().envelope == replacement.new)
                .count();
            assert!(written == 0 || written == batch.len(), "dropped after {polls} polls");
        }
        let store = finish_and_reopen(subject, store, &ledger).await;
        ledger.check(&*store, Moved::All).await;
        if let Some(report) = ended {
            assert_eq!(report.unwrap().counts.rekeyed, 7);
            return;
        }
    }
    panic!("a rekey takes more than {MOST} polls");
}

/// A stopped rekey reports exactly what the store contains, even after closing and reopening it.
pub async fn a_stopped_rekey_counts_exactly_what_was_committed<S: StoreUnderTest>(subject: &S) {
    for steps in 0..4 {
        let (store, ledger) = small_vault(subject).await;
        let mut session = begin(Arc::clone(&store), options(3)).await.unwrap();
        for _ in 0..steps {
            session.step().await.unwrap();
        }
        // Another step is started and dropped: the report includes what it has in flight.
        poll_at_most(session.step(), 2).await;
        let report = session.stop().await.unwrap().clone();
        drop(session);

        let store = reopen(subject, store).await;
        let under_new = ledger.check(&*store, Moved::Some).await;
        assert_eq!(report.counts.rekeyed, under_new - ledger.count(Owner::New));
        assert_eq!(report.counts.scanned, report.counts.total());
        finish(&store, &ledger).await;
    }
}

/// Nine records, seven of which are to be moved.
async fn small_vault<S: StoreUnderTest>(subject: &S) -> (Arc<S::Store>, Arc<Ledger>) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    for (owner, count) in [(Owner::Old, 7), (Owner::New, 1), (Owner::Foreign, 1)] {
        ledger.fill(&*store, owner, count).await;
    }
    (store, ledger)
}

/// Running again without faults does the rest.
async fn finish<S: VaultStore + 'static>(store: &Arc<S>, ledger: &Ledger) {
    let (report, error) = rekey(Arc::clone(store), options(3)).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(report.counts.rekeyed + report.counts.already_new, 8);
    ledger.check(&**store, Moved::All).await;
}

async fn finish_and_reopen<S: StoreUnderTest>(
    subject: &S,
    store: Arc<S::Store>,
    ledger: &Ledger,
) -> Arc<S::Store> {
    finish(&store, ledger).await;
    reopen(subject, store).await
}
