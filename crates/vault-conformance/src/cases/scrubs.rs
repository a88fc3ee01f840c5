//! The contract of [`VaultStore::scrub`]. A store that answers
//! [`Unsupported`](StoreErrorKind::Unsupported) passes.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use vault_store::{
    InsertOutcome, MAX_ENVELOPE_LEN, Page, PutSetting, Record, RecordSink, Replacement,
    ScrubOptions, ScrubReport, SealedRecord, StoreError, StoreErrorKind, VaultStore, WriteOutcome,
};

use super::MOST_POLLS;
use crate::samples::{
    WIDE, envelope, fill, list_all, list_rows, record, records, scan_rows, seconds,
};
use crate::{StoreUnderTest, poll_at_most};

/// How often a writer writes at least, and how many scrubs run at least while it writes.
const WRITES: usize = 20;
const SCRUBS: usize = 3;

/// "Everything that can be read is as before: ids, tokens, envelopes, times, settings, unreadable
/// rows."
pub async fn a_scrub_changes_nothing_that_can_be_read<S: StoreUnderTest>(subject: &S) {
    let mut records = records(60);
    for (number, record) in (0..).zip(&mut records) {
        record.envelope =
            envelope(&format!("v3:{}", "x".repeat(usize::try_from(number * 97).unwrap())));
        record.expires_at = (number % 3 == 0).then(|| seconds(1 + number));
        record.soft_deleted_at = (number % 4 == 1).then(|| seconds(2));
        record.updated_at = seconds(1_800_000_000 - number);
    }
    let store = subject.fresh().await;
    // Not in the order of the ids, and with gaps where some were deleted.
    for chunk in records.chunks(7).rev() {
        fill(&store, chunk).await;
    }
    for gone in records.drain(20..30) {
        store.delete(&gone.id).await.unwrap();
    }
    for (name, value) in [("format", "v3"), ("a", ""), ("note", "é")] {
        store.put_setting(name, value, PutSetting::Always).await.unwrap();
    }
    let store = subject.plant_too_long(store, record("z-1"), MAX_ENVELOPE_LEN as u64 + 9).await;
    let (store, _) = subject.plant_unreadable(store, record("z-2")).await;

    let before = everything(&store).await;
    let Some(report) = supported(store.scrub(ScrubOptions::default()).await) else { return };
    assert_eq!(report.rows, (before.rows.len() + before.rows.unreadable.len()) as u64);
    assert!(report.is_complete(), "{report:?}");
    before.assert_is(&store).await;
    let store = subject.reopen(store).await;
    before.assert_is(&store).await;
    // Also of what a scrub wrote, and of an empty vault.
    store.scrub(ScrubOptions::default()).await.unwrap();
    before.assert_is(&subject.reopen(store).await).await;
    let empty = subject.fresh().await;
    assert_eq!(empty.scrub(ScrubOptions::default()).await.unwrap().rows, 0);
    assert_eq!(list_all(&subject.reopen(empty).await, WIDE).await, []);
}

/// "Concurrent writers wait or get `Retryable`. What was acknowledged is never lost."
pub async fn no_concurrent_write_is_lost_by_a_scrub<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut expected = records(200);
    fill(&store, &expected).await;
    if supported(store.scrub(ScrubOptions::default()).await).is_none() {
        return;
    }
    let start = Barrier::new(2);
    let (has_written, has_scrubbed) = (AtomicBool::new(false), AtomicBool::new(false));
    let (held, inserted) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let _ends = Sets(&has_written);
            start.wait();
            write_until(&has_scrubbed, subject, &store)
        });
        let scrubber = scope.spawn(|| {
            let _ends = Sets(&has_scrubbed);
            start.wait();
            for number in 1.. {
                subject.block_on(patiently(async || store.scrub(ScrubOptions::default()).await));
                if number >= SCRUBS {
                    has_scrubbed.store(true, SeqCst);
                    if has_written.load(SeqCst) {
                        return;
                    }
                }
            }
        });
        scrubber.join().unwrap();
        writer.join().unwrap()
    });
    expected[7] = held;
    expected.extend(inserted);
    assert_eq!(list_all(&store, WIDE).await, expected);
    assert_eq!(list_all(&subject.reopen(store).await, WIDE).await, expected);
}

/// Replaces one record again and again, and inserts others, until the scrubs are done; what was
/// acknowledged at the end.
fn write_until<S: StoreUnderTest>(
    has_scrubbed: &AtomicBool,
    subject: &S,
    store: &S::Store,
) -> (Record, Vec<Record>) {
    let mut held = record("record-000007");
    let mut inserted = Vec::new();
    for number in 0.. {
        if number >= WRITES {
            if has_scrubbed.load(SeqCst) {
                break;
            }
            // The scrubs get their turn.
            thread::sleep(Duration::from_micros(50));
        }
        let new = envelope(&format!("v3:written {number}"));
        let batch: Arc<[_]> = [Replacement {
            id: held.id.clone(),
            expected: held.envelope.clone(),
            new: new.clone(),
        }]
        .into();
        let outcomes = subject.block_on(patiently(async || store.swap_batch(batch.clone()).await));
        assert_eq!(outcomes, [WriteOutcome::Applied]);
        held.envelope = new;
        let record = record(&format!("written-{number:06}"));
        let outcomes =
            subject.block_on(patiently(async || store.insert(vec![record.clone()]).await));
        assert_eq!(outcomes, [InsertOutcome::Inserted]);
        inserted.push(record);
    }
    (held, inserted)
}

/// Says that its thread has ended, also by a panic.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// "Dropping the future leaves it done or not done", and harms no later write.
pub async fn dropping_a_scrub_loses_nothing<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    let mut expected = records(50);
    fill(&store, &expected).await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the scrub is never ready");
        let ready = poll_at_most(store.scrub(ScrubOptions::default()), polls).await;
        let later = record(&format!("z-{polls:05}"));
        let inserted = patiently(async || store.insert(vec![later.clone()]).await).await;
        assert_eq!(inserted, [InsertOutcome::Inserted]);
        expected.push(later);
        store = subject.reopen(store).await;
        assert_eq!(list_all(&store, WIDE).await, expected, "after {polls} polls");
        match ready {
            Some(answer)
                if answer.as_ref().is_err_and(|e| e.kind() == StoreErrorKind::Retryable) => {}
            Some(answer) => {
                supported(answer);
                break;
            }
            None => {}
        }
    }
}

/// The report, or nothing of a store that cannot be scrubbed.
fn supported(answer: Result<ScrubReport, StoreError>) -> Option<ScrubReport> {
    match answer {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => None,
        answer => Some(answer.unwrap()),
    }
}

/// Calls until the answer is something else than `Retryable`.
async fn patiently<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    for _ in 0..MOST_POLLS {
        match call().await {
            Err(error) if error.kind() == StoreErrorKind::Retryable => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("the store is busy for ever");
}

/// All that can be read of a vault.
#[derive(Debug, PartialEq)]
struct Everything {
    rows: Page<Record>,
    sealed: Page<SealedRecord>,
    found: Vec<Option<Record>>,
    settings: Vec<(String, String)>,
}

async fn everything(store: &impl VaultStore) -> Everything {
    let rows = list_rows(store, WIDE).await;
    let tokens: Vec<_> = rows.iter().map(|record| record.token.clone()).collect();
    Everything {
        sealed: scan_rows(store, WIDE).await,
        found: store.find(&tokens).await.unwrap(),
        settings: store.settings().await.unwrap(),
        rows,
    }
}

impl Everything {
    /// A row that has no id is named by its place in the database, which a scrub may change.
    async fn assert_is(&self, store: &impl VaultStore) {
        let mut now = everything(store).await;
        for (now, before) in [
            (&mut now.rows.unreadable, &self.rows.unreadable),
            (&mut now.sealed.unreadable, &self.sealed.unreadable),
        ] {
            let of = |rows: &[vault_store::UnreadableRow]| {
                rows.iter().map(|row| (row.position, row.reason)).collect::<Vec<_>>()
            };
            assert_eq!(of(now), of(before));
            now.clone_from(before);
        }
        assert_eq!(now, *self);
    }
}
