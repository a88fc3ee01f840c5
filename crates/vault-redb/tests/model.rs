//! Random histories on the store and on `MemoryStore`, which must answer alike at every step.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;
use vault_core::{
    DeleteOutcome, EnvelopeText, InsertOutcome, MemoryStore, PageLimit, PutSetting, Record,
    RecordChange, RecordId, RecordSink, RecordSource, Replacement, SealedRecord, Timestamp, Token,
    VaultStore, WriteOutcome,
};
use vault_redb::{RedbOptions, RedbStore};

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<Record>),
    Batch(Vec<Replacement>),
    Update(RecordChange),
    Delete(RecordId),
    Page(Option<RecordId>, PageLimit),
    List(Option<RecordId>, PageLimit),
    Read(Vec<RecordId>),
    Find(Vec<Token>),
    Put(String, String, PutSetting),
    Setting(String),
    Reopen,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Inserted(Vec<InsertOutcome>),
    Written(Vec<WriteOutcome>),
    Deleted(DeleteOutcome),
    Page(Vec<SealedRecord>),
    Records(Vec<Record>),
    Read(Vec<Option<SealedRecord>>),
    Found(Vec<Option<Record>>),
    Setting(Option<String>),
    Done,
}

async fn answer(store: &dyn VaultStore, step: Step) -> Answer {
    match step {
        Step::Insert(records) => Answer::Inserted(store.insert(records).await.unwrap()),
        Step::Batch(batch) => Answer::Written(store.write_batch(batch.into()).await.unwrap()),
        Step::Update(change) => Answer::Written(vec![store.update(change).await.unwrap()]),
        Step::Delete(id) => Answer::Deleted(store.delete(&id).await.unwrap()),
        Step::Page(after, limit) => {
            Answer::Page(store.read_page(after.as_ref(), limit).await.unwrap())
        }
        Step::List(after, limit) => {
            Answer::Records(store.list(after.as_ref(), limit).await.unwrap())
        }
        Step::Read(ids) => Answer::Read(store.read_records(&ids).await.unwrap()),
        Step::Find(tokens) => Answer::Found(store.find(&tokens).await.unwrap()),
        Step::Put(name, value, put) => {
            Answer::Setting(Some(store.put_setting(&name, &value, put).await.unwrap()))
        }
        Step::Setting(name) => Answer::Setting(store.setting(&name).await.unwrap()),
        Step::Reopen => Answer::Done,
    }
}

/// Few ids, tokens and envelopes, so that they meet.
fn id() -> impl Strategy<Value = RecordId> {
    prop_oneof![
        8 => (0..12u8).prop_map(|number| RecordId::from_stored(format!("{number:02}"))),
        1 => Just(RecordId::from_stored("")),
        1 => Just(RecordId::from_stored("Z")),
        1 => Just(RecordId::from_stored("é")),
    ]
}

fn token() -> impl Strategy<Value = Token> {
    (0..12u8).prop_map(|number| Token::new(format!("tk_{number}")).unwrap())
}

/// Of three lengths: within a page, a page of its own, several pages.
fn envelope() -> impl Strategy<Value = EnvelopeText> {
    let length = prop_oneof![6 => 0..3usize, 2 => Just(3000usize), 1 => Just(20_000usize)];
    (length, b'a'..b'c').prop_map(|(length, byte)| EnvelopeText::from_stored(vec![byte; length]))
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn record() -> impl Strategy<Value = Record> {
    let times = (time(), time(), proptest::option::of(time()), proptest::option::of(time()));
    (id(), token(), envelope(), times).prop_map(|(id, token, envelope, times)| Record {
        id,
        token,
        envelope,
        created_at: times.0,
        updated_at: times.1,
        expires_at: times.2,
        soft_deleted_at: times.3,
    })
}

fn change() -> impl Strategy<Value = RecordChange> {
    use proptest::option::of;
    (id(), of(envelope()), of(envelope()), of(time()), of(of(time())), of(of(time()))).prop_map(
        |(id, expected, envelope, updated_at, expires_at, soft_deleted_at)| RecordChange {
            id,
            expected,
            envelope,
            updated_at,
            expires_at,
            soft_deleted_at,
        },
    )
}

fn batch() -> impl Strategy<Value = Vec<Replacement>> {
    proptest::collection::vec((id(), envelope(), envelope()), 0..12).prop_map(|replacements| {
        let mut batch: Vec<Replacement> = Vec::new();
        for (id, expected, sealed) in replacements {
            if batch.iter().all(|earlier| earlier.id != id) {
                batch.push(Replacement { id, expected, sealed });
            }
        }
        batch
    })
}

fn limit() -> impl Strategy<Value = PageLimit> {
    (0..6usize, prop_oneof![Just(usize::MAX), 0..6000usize])
        .prop_map(|(records, bytes)| PageLimit::new(records, bytes))
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::{collection::vec, option::of};
    let name = || (0..3u8).prop_map(|number| format!("setting {number}"));
    let put = prop_oneof![Just(PutSetting::Always), Just(PutSetting::IfAbsent)];
    prop_oneof![
        4 => vec(record(), 0..6).prop_map(Step::Insert),
        4 => batch().prop_map(Step::Batch),
        3 => change().prop_map(Step::Update),
        2 => id().prop_map(Step::Delete),
        2 => (of(id()), limit()).prop_map(|(after, limit)| Step::Page(after, limit)),
        2 => (of(id()), limit()).prop_map(|(after, limit)| Step::List(after, limit)),
        1 => vec(id(), 0..4).prop_map(Step::Read),
        1 => vec(token(), 0..4).prop_map(Step::Find),
        1 => (name(), ".*", put).prop_map(|(name, value, put)| Step::Put(name, value, put)),
        1 => name().prop_map(Step::Setting),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn redb_answers_as_memory_does(steps in proptest::collection::vec(step(), 1..40)) {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("vault.redb");
            let mut store = RedbStore::create(&path, RedbOptions::default()).await.unwrap();
            let memory = MemoryStore::new();
            for step in steps {
                if matches!(step, Step::Reopen) {
                    drop(store);
                    store = RedbStore::open(&path, RedbOptions::default()).await.unwrap();
                }
                let expected = answer(&memory, step.clone()).await;
                prop_assert_eq!(answer(&store, step).await, expected);
            }
            let whole = PageLimit::new(usize::MAX, usize::MAX);
            prop_assert_eq!(store.list(None, whole).await.unwrap(), memory.list(None, whole).await.unwrap());
            prop_assert_eq!(store.count().await.unwrap(), memory.count().await.unwrap());
            prop_assert_eq!(store.settings().await.unwrap(), memory.settings().await.unwrap());
            Ok(())
        })?;
    }
}

#[test]
fn thousands_of_rows_are_paged_and_rewritten_exactly_once() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.redb");
        let store = RedbStore::create(&path, RedbOptions::default()).await.unwrap();
        let record = |number: usize| Record {
            id: RecordId::from_stored(format!("{number:06}")),
            token: Token::new(format!("tk_{number}")).unwrap(),
            envelope: EnvelopeText::from_stored(vec![b'o'; 500 + number % 7]),
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2),
            expires_at: None,
            soft_deleted_at: None,
        };
        store.insert((0..5000).map(record).collect()).await.unwrap();

        let (mut after, mut seen) = (None, 0);
        loop {
            let page = store.read_page(after.as_ref(), PageLimit::new(333, 1 << 20)).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            seen += page.len();
            // Shorter, as long and longer than what was there.
            let sealed = |index: usize| EnvelopeText::from_stored(vec![b'n'; 480 + index % 60]);
            let batch: Arc<[Replacement]> = page
                .into_iter()
                .enumerate()
                .map(|(index, row)| Replacement {
                    id: row.id,
                    expected: row.envelope,
                    sealed: sealed(index),
                })
                .collect();
            let outcomes = store.write_batch(batch).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
        }
        assert_eq!(seen, 5000);
        let rows = store.list(None, PageLimit::new(5000, usize::MAX)).await.unwrap();
        assert!(rows.iter().all(|row| row.envelope.as_bytes().unwrap()[0] == b'n'));
        assert_eq!(
            rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(),
            (0..5000).map(|n| record(n).id).collect::<Vec<_>>()
        );
    });
}
