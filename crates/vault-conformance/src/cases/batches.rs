//! The contract of [`RecordSink`].

use std::{sync::Barrier, thread};

use futures::future::join_all;
use vault_store::{
    EnvelopeText, MAX_ENVELOPE_LEN, RecordId, RecordSink, RecordSource, Replacement, SealedRecord,
    StoreErrorKind, VaultStore, WriteOutcome,
};

use super::MOST_POLLS;
use crate::samples::{
    WIDE, envelope, fill, ids, list_all, record, records, replacement, scan, sealed, seconds,
};
use crate::{StoreUnderTest, poll_at_most};

/// How many callers compete for one record.
const RIVALS: usize = 8;

/// "A batch is atomic: on error, no record was changed."
///
/// The batch ends with a value that some backends cannot hold. A store that accepts it must accept
/// the batch.
pub async fn a_batch_is_all_or_nothing_on_error<S: StoreUnderTest>(subject: &S) {
    for odd in values_that_may_be_refused() {
        let store = subject.fresh().await;
        let records = records(8);
        fill(&store, &records).await;
        let mut batch: Vec<_> =
            records.iter().map(|record| replacement(record, "v3:new")).collect();
        batch[7].new = odd;

        let answer = store.swap_batch(batch.clone().into()).await;
        let store = subject.reopen(store).await;
        let stored = scan(&store, WIDE).await;
        match answer {
            Ok(outcomes) => {
                assert_eq!(outcomes, [WriteOutcome::Applied; 8]);
                assert_eq!(stored, batch.iter().map(after).collect::<Vec<_>>());
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unsupported);
                assert_eq!(stored, records.iter().map(sealed).collect::<Vec<_>>());
            }
        }
    }
}

/// Text with NUL, bytes that are not text, and an envelope that was never loaded.
pub(super) fn values_that_may_be_refused() -> [EnvelopeText; 3] {
    [
        envelope("v3:\0"),
        EnvelopeText::from_stored([0xff, 0xfe, 0x80]),
        EnvelopeText::too_long(MAX_ENVELOPE_LEN as u64 + 1),
    ]
}

/// "There is one outcome per replacement, in order", whatever the order of the ids.
pub async fn one_outcome_per_replacement_in_order<S: StoreUnderTest>(subject: &S) {
    use WriteOutcome::{Applied, Conflict, Missing};
    let store = subject.fresh().await;
    assert_eq!(store.swap_batch([].into()).await.unwrap(), []);
    fill(&store, &["a", "b", "c", "d", "e"].map(record)).await;

    let stale = |id| Replacement { expected: envelope("stale"), ..replacement(&record(id), "x") };
    let batch = [
        replacement(&record("e"), "v3:e2"),
        stale("b"),
        replacement(&record("nobody"), "x"),
        replacement(&record("a"), "v3:a2"),
        stale("d"),
        replacement(&record("c"), "v3:c2"),
    ];
    let outcomes = store.swap_batch(batch.into()).await.unwrap();
    assert_eq!(outcomes, [Applied, Conflict, Missing, Applied, Conflict, Applied]);

    let stored: Vec<_> = scan(&store, WIDE).await.into_iter().map(|r| r.envelope).collect();
    assert_eq!(stored, ["v3:a2", "v3:b", "v3:c2", "v3:d", "v3:e2"].map(envelope));
}

/// "`Applied` is durable when the future resolves."
pub async fn applied_is_durable<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    let mut records = records(20);
    fill(&store, &records).await;
    for round in 0..3 {
        let sealed_anew = format!("v3:round {round}");
        let batch: Vec<_> = records.iter().map(|r| replacement(r, &sealed_anew)).collect();
        let outcomes = store.swap_batch(batch.into()).await.unwrap();
        assert_eq!(outcomes, [WriteOutcome::Applied; 20]);
        for record in &mut records {
            record.envelope = envelope(&sealed_anew);
        }
        store = subject.reopen(store).await;
        assert_eq!(list_all(&store, WIDE).await, records);
    }
}

/// "`Conflict` leaves the record untouched", and envelopes are compared byte for byte.
pub async fn conflict_leaves_the_record_untouched<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut stored = record("a");
    stored.envelope = envelope("v3:Abc é");
    fill(&store, std::slice::from_ref(&stored)).await;

    let others =
        ["", "v3:abc é", "V3:ABC É", "v3:Abc é ", " v3:Abc é", "v3:Abc", "v3:Abc e\u{301}", "%"];
    for other in others {
        let batch =
            [Replacement { expected: envelope(other), ..replacement(&stored, "v3:overwritten") }];
        let outcomes = store.swap_batch(batch.into()).await.unwrap();
        assert_eq!(outcomes, [WriteOutcome::Conflict], "expected {other:?}");
        assert_eq!(list_all(&store, WIDE).await, std::slice::from_ref(&stored));
    }
}

/// "Only the envelope changes: no timestamp and no other column."
pub async fn only_the_envelope_changes<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(4);
    records[1].expires_at = Some(seconds(1));
    records[2].soft_deleted_at = Some(seconds(2));
    records[3].expires_at = Some(seconds(4_000_000_000));
    fill(&store, &records).await;

    let batch: Vec<_> = records.iter().map(|record| replacement(record, "v3:new")).collect();
    assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied; 4]);
    for record in &mut records {
        record.envelope = envelope("v3:new");
    }
    assert_eq!(list_all(&store, WIDE).await, records);
    let tokens: Vec<_> = records.iter().map(|record| record.token.clone()).collect();
    let found = store.find(&tokens).await.unwrap();
    assert_eq!(found, records.into_iter().map(Some).collect::<Vec<_>>());
}

/// "Dropping the future commits the whole batch or nothing", and harms no later write.
///
/// The future is dropped after 0, 1, 2, … polls, until it is ready by then.
pub async fn dropping_the_future_commits_the_whole_batch_or_nothing<S: StoreUnderTest>(
    subject: &S,
) {
    let mut store = subject.fresh().await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the write is never ready");
        let records: Vec<_> =
            (0..8).map(|n| record(&format!("dropped after {polls}, record {n}"))).collect();
        fill(&store, &records).await;
        let batch: Vec<_> = records.iter().map(|record| replacement(record, "v3:new")).collect();
        let ready = poll_at_most(store.swap_batch(batch.clone().into()), polls).await;

        let later = record(&format!("inserted after {polls} polls"));
        fill(&store, std::slice::from_ref(&later)).await;
        store = subject.reopen(store).await;
        let stored = store.read_records(&ids(&records)).await.unwrap();
        let before: Vec<_> = records.iter().map(sealed).map(Some).collect();
        let written: Vec<_> = batch.iter().map(after).map(Some).collect();
        assert!(stored == before || stored == written, "a torn batch after {polls} polls");
        assert_eq!(store.find(std::slice::from_ref(&later.token)).await.unwrap(), [Some(later)]);
        if let Some(outcomes) = ready {
            assert_eq!(outcomes.unwrap(), [WriteOutcome::Applied; 8]);
            assert!(stored == written, "the batch was applied and is gone");
            break;
        }
    }
}

/// The contents of the store once the replacement is applied.
fn after(replacement: &Replacement) -> SealedRecord {
    SealedRecord { envelope: replacement.new.clone(), ..sealed(&record(replacement.id.as_str())) }
}

/// Of many futures that replace the same expected envelope, exactly one is `Applied`; the others
/// are conflicts.
pub async fn of_many_futures_that_replace_one_envelope_exactly_one_is_applied<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    let contested = record("contested");
    fill(&store, std::slice::from_ref(&contested)).await;

    let writes = (0..RIVALS).map(|rival| {
        store.swap_batch([replacement(&contested, &format!("v3:rival {rival}"))].into())
    });
    let answers = join_all(writes).await;
    let outcomes = answers.into_iter().flat_map(Result::unwrap).collect();
    assert_one_winner(&store, &contested.id, outcomes).await;
}

/// As with futures, exactly one of many threads wins, in each of several rounds.
pub async fn of_many_threads_that_replace_one_envelope_exactly_one_is_applied<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    for round in 0..10 {
        let contested = record(&format!("contested-{round}"));
        fill(&store, std::slice::from_ref(&contested)).await;
        let start = Barrier::new(RIVALS);
        let compete = |rival| {
            let batch = [replacement(&contested, &format!("v3:rival {rival}"))];
            start.wait();
            subject.block_on(store.swap_batch(batch.into())).unwrap()
        };
        let outcomes = thread::scope(|scope| {
            let rivals: Vec<_> =
                (0..RIVALS).map(|rival| scope.spawn(move || compete(rival))).collect();
            rivals.into_iter().flat_map(|rival| rival.join().unwrap()).collect()
        });
        assert_one_winner(&store, &contested.id, outcomes).await;
    }
}

/// Checks that the caller that got `Applied` is the one whose envelope is stored.
async fn assert_one_winner(store: &impl VaultStore, id: &RecordId, outcomes: Vec<WriteOutcome>) {
    let winners: Vec<_> =
        (0..RIVALS).filter(|rival| outcomes[*rival] == WriteOutcome::Applied).collect();
    let conflicts = outcomes.iter().filter(|outcome| **outcome == WriteOutcome::Conflict).count();
    assert_eq!((winners.len(), conflicts), (1, RIVALS - 1));
    let stored = store.read_records(std::slice::from_ref(id)).await.unwrap();
    let expected = SealedRecord {
        envelope: envelope(&format!("v3:rival {}", winners[0])),
        ..sealed(&record(id.as_str()))
    };
    assert_eq!(stored, [Some(expected)]);
}

/// A batch of 2,000 replacements is one batch, whatever the parameter limit of the driver.
pub async fn a_batch_may_be_large<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let records = records(2_000);
    fill(&store, &records).await;
    let batch: Vec<_> = records.iter().map(|record| replacement(record, "v3:new")).collect();
    let outcomes = store.swap_batch(batch.clone().into()).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Applied; 2_000]);
    assert_eq!(scan(&store, WIDE).await, batch.iter().map(after).collect::<Vec<_>>());
}
