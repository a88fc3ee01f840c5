//! The faulty store fails where it is told to, and says so.

#![expect(clippy::unwrap_used, reason = "the store underneath never fails")]

use std::sync::Arc;

use futures::executor::block_on;
use vault_conformance::{Fault, FaultPlan, FaultyStore, poll_at_most};
use vault_store::{
    EnvelopeText, MemoryStore, PageLimit, PutSetting, Record, RecordId, RecordSink, Replacement,
    StoreErrorKind, Timestamp, Token, VaultStore,
};

/// Writes a setting; whether it was told to have been, and whether it was.
fn put(store: &FaultyStore<MemoryStore>, name: &str) -> (Result<String, StoreErrorKind>, bool) {
    let told = block_on(store.put_setting(name, "value", PutSetting::Always));
    let stored = block_on(store.inner().setting(name)).unwrap();
    (told.map_err(|error| error.kind()), stored.is_some())
}

fn faulty(plan: FaultPlan, fault: Fault) -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new(), plan, fault)
}

#[test]
fn an_error_before_the_effect_changes_nothing() {
    let store = faulty(FaultPlan::Nth(2), Fault::ErrorBefore(StoreErrorKind::Full));
    assert_eq!(put(&store, "1"), (Ok("value".to_owned()), true));
    assert_eq!(put(&store, "2"), (Err(StoreErrorKind::Full), false));
    assert_eq!(put(&store, "3"), (Ok("value".to_owned()), true));
    assert_eq!((store.calls(), store.fired()), (3, 1));
}

#[test]
fn a_lost_reply_leaves_the_effect() {
    let store = faulty(FaultPlan::From(2), Fault::ReplyLost);
    assert_eq!(put(&store, "1"), (Ok("value".to_owned()), true));
    assert_eq!(put(&store, "2"), (Err(StoreErrorKind::UnknownOutcome), true));
    assert_eq!(put(&store, "3"), (Err(StoreErrorKind::UnknownOutcome), true));
    assert_eq!(store.fired(), 2);
}

#[test]
fn a_delayed_call_is_pending_and_then_runs() {
    let store = faulty(FaultPlan::Every(1), Fault::Delay(3));
    let dropped = poll_at_most(store.put_setting("1", "value", PutSetting::Always), 3);
    assert!(block_on(dropped).is_none());
    assert_eq!(block_on(store.inner().setting("1")).unwrap(), None);
    assert_eq!(put(&store, "2"), (Ok("value".to_owned()), true));
    assert_eq!(store.fired(), 2);
}

#[test]
fn a_dropped_call_has_an_unknown_outcome() {
    let slow = faulty(FaultPlan::Every(1), Fault::Delay(3));
    for (polls, effect) in [(0, false), (3, false), (4, true)] {
        let store = FaultyStore::new(slow.clone(), FaultPlan::Nth(1), Fault::DroppedAfter(polls));
        let name = format!("after {polls}");
        let told = block_on(store.put_setting(&name, "value", PutSetting::Always));
        assert_eq!(told.unwrap_err().kind(), StoreErrorKind::UnknownOutcome);
        assert_eq!(block_on(slow.inner().setting(&name)).unwrap().is_some(), effect);
        assert_eq!(store.fired(), 1);
    }
}

#[test]
fn a_torn_batch_takes_effect_in_part() {
    let record = |number: usize| Record {
        id: RecordId::from_stored(format!("{number}")),
        token: Token::from_stored(format!("token {number}")),
        envelope: EnvelopeText::from_stored(*b"old"),
        created_at: Timestamp::MAX,
        updated_at: Timestamp::MAX,
        expires_at: None,
        soft_deleted_at: None,
    };
    let records: Vec<Record> = (0..3).map(record).collect();
    let batch = |count: usize| -> Arc<[Replacement]> {
        let replacement = |record: &Record| Replacement {
            id: record.id.clone(),
            expected: record.envelope.clone(),
            new: EnvelopeText::from_stored(*b"new"),
        };
        records[..count].iter().map(replacement).collect()
    };
    for (count, first, applied) in [(3, 2, 2), (3, 9, 2), (1, 1, 0)] {
        let torn = Fault::Torn { first, kind: StoreErrorKind::Retryable };
        let store = faulty(FaultPlan::Every(1), torn);
        block_on(store.inner().insert(records.clone())).unwrap();
        let told = block_on(store.swap_batch(batch(count)));
        assert_eq!(told.unwrap_err().kind(), StoreErrorKind::Retryable);
        let stored = block_on(store.inner().list(None, PageLimit::new(9, 999))).unwrap();
        let new = stored.iter().filter(|r| r.envelope == EnvelopeText::from_stored(*b"new"));
        assert_eq!((new.count(), store.torn()), (applied, applied as u64));
    }
}

#[test]
fn plans_hit_the_calls_that_they_name() {
    let hits = |plan| -> Vec<u64> {
        let store = faulty(plan, Fault::ErrorBefore(StoreErrorKind::Retryable));
        (1..=1000).filter(|_| block_on(store.count()).is_err()).collect()
    };
    assert_eq!(hits(FaultPlan::Nth(7)), [7]);
    assert_eq!(hits(FaultPlan::From(999)), [999, 1000]);
    assert_eq!(hits(FaultPlan::Every(400)), [400, 800]);
    assert_eq!(hits(FaultPlan::Every(0)), Vec::<u64>::new());

    let plan = |seed| FaultPlan::Seeded { seed, one_in: 10 };
    assert_eq!(hits(plan(1)), hits(plan(1)));
    assert_ne!(hits(plan(1)), hits(plan(2)));
    assert!((50..200).contains(&hits(plan(1)).len()));
}
