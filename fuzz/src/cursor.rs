//! Keyset paging: whatever the ids and the limits are, the pages together are every record once, in
//! order.

use std::{
    collections::BTreeSet,
    pin::pin,
    task::{Context, Poll, Waker},
};

use vault_core::store::{
    EnvelopeText, HasWeight, InsertOutcome, MAX_KEY_LEN, PageLimit, RecordSource as _,
};
use vault_core::{MemoryStore, Record, RecordId, Timestamp, Token, VaultStore as _};

/// The most records of one input, so that inputs stay fast.
const MAX_RECORDS: usize = 200;

/// The first two bytes are the limits in records and in bytes, the third is how long envelopes are
/// at most; the rest is ids, each ended by a line feed.
pub fn list_cursor(data: &[u8]) {
    let Some(([records, bytes, longest], ids)) = data.split_first_chunk() else { return };
    let limit = PageLimit::new(usize::from(*records), usize::from(*bytes));
    // Longer ids are refused.
    let ids = ids.split(|byte| *byte == b'\n').take(MAX_RECORDS).map(id);
    let ids: Vec<RecordId> = ids.filter(|id| id.as_bytes().len() <= MAX_KEY_LEN).collect();
    let stored: Vec<Record> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| record(id, number, usize::from(*longest)))
        .collect();
    let distinct: BTreeSet<RecordId> = ids.iter().cloned().collect();

    let store = MemoryStore::new();
    let outcomes = ready(store.insert(stored)).expect("memory does not fail");
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == InsertOutcome::Inserted).count(),
        distinct.len()
    );

    let expected: Vec<RecordId> = distinct.into_iter().collect();
    assert_eq!(scanned(&store, limit), expected);
    assert_eq!(listed(&store, limit), expected);
}

fn id(bytes: &[u8]) -> RecordId {
    RecordId::from_stored(String::from_utf8_lossy(bytes))
}

fn record(id: &RecordId, number: usize, longest: usize) -> Record {
    let now = Timestamp::from_micros(0);
    Record {
        id: id.clone(),
        token: Token::from_stored(format!("token{number}")),
        envelope: EnvelopeText::from_stored(vec![b'e'; number * 7 % (longest + 1)]),
        created_at: now,
        updated_at: now,
        expires_at: None,
        soft_deleted_at: None,
    }
}

fn scanned(store: &MemoryStore, limit: PageLimit) -> Vec<RecordId> {
    let mut seen: Vec<RecordId> = Vec::new();
    loop {
        let page = ready(store.read_page(seen.last(), limit)).expect("memory does not fail");
        if page.is_empty() {
            return seen;
        }
        assert_within(limit, page.iter().map(HasWeight::weight));
        take_ascending(&mut seen, page.into_iter().map(|record| record.id));
    }
}

fn listed(store: &MemoryStore, limit: PageLimit) -> Vec<RecordId> {
    let mut seen: Vec<RecordId> = Vec::new();
    loop {
        let page = ready(store.list(seen.last(), limit)).expect("memory does not fail");
        if page.is_empty() {
            return seen;
        }
        assert_within(limit, page.iter().map(HasWeight::weight));
        take_ascending(&mut seen, page.into_iter().map(|record| record.id));
    }
}

/// A page is a maximum in records and in bytes, except that its first record always comes.
fn assert_within(limit: PageLimit, lengths: impl Iterator<Item = usize> + Clone) {
    let records = lengths.clone().count();
    assert!(records <= limit.records.get());
    assert!(records == 1 || lengths.sum::<usize>() <= limit.bytes.get());
}

fn take_ascending(seen: &mut Vec<RecordId>, page: impl Iterator<Item = RecordId>) {
    for id in page {
        assert!(
            seen.last().is_none_or(|last| last.as_bytes() < id.as_bytes()),
            "ids ascend strictly"
        );
        seen.push(id);
    }
}

/// The store in memory never waits, so that no executor is needed.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the store in memory waits for nothing"),
    }
}
