//! Random histories, compared with the in-memory store.

use std::{collections::BTreeSet, num::NonZeroUsize};

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy},
    prop_oneof,
    sample::select,
    test_runner::{Config, TestRunner},
};
use vault_store::{
    Change, DeleteOutcome, EnvelopeText, Expected, Filter, InsertOutcome, MemoryStore, PageLimit,
    Precondition, Purge, PutSetting, Query, Record, RecordId, RecordSource, RecordUpdate,
    Replacement, SealedRecord, SortKey, SortOrder, Timestamp, Token, VaultStore, WriteOutcome,
};

use crate::StoreUnderTest;
use crate::samples::{WIDE, envelope, list_all, scan, seconds, token};

pub use crate::rekey::random_rekeys_end_as_a_model_does;
pub use crate::vault::random_histories_of_a_vault_agree_with_a_model;

/// Few texts, so that operations interact; their byte order is not dictionary order.
const IDS: [&str; 8] = ["A", "B", "a", "aa", "b", "é", "\u{ff5e}", "\u{1f511}"];
const TOKENS: [&str; 6] = ["t", "T", "t ", "tk_1", "%", "é"];
/// Of different lengths, because a printed history shows nothing else of an envelope.
const ENVELOPES: [&str; 5] = ["", "v", "v1", "v2:", "v3:é"];
const SETTINGS: [&str; 3] = ["a", "A", "%"];

/// Random histories of every operation return the same results from the backend as from
/// [`MemoryStore`], step by step, and leave the same contents. A page may be shorter than the
/// reference's, but not empty before the end.
///
/// [`StoreUnderTest::histories`] says how many; one that fails is shrunk and printed.
pub fn random_histories_answer_like_the_store_in_memory<S: StoreUnderTest>(subject: &S) {
    let config = Config {
        failure_persistence: None, // the printed history is enough to repeat a failure
        ..Config::with_cases(subject.histories())
    };
    let result = TestRunner::new(config).run(&vec(step(), 1..40), |history| {
        subject.block_on(replay(subject, history));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

async fn replay<S: StoreUnderTest>(subject: &S, history: Vec<Step>) {
    let model = MemoryStore::new();
    let mut store = subject.fresh().await;
    for step in history {
        let Step::Run(operation) = step else {
            store = subject.reopen(store).await;
            continue;
        };
        let operation = expect_what_is_stored(operation, &model).await;
        let expected = run(&model, operation.clone()).await;
        let answer = run(&store, operation.clone()).await;
        assert!(answer.agrees_with(&expected), "{operation:?}: {answer:?}, not {expected:?}");
    }
    let store = subject.reopen(store).await;
    assert_eq!(list_all(&store, WIDE).await, list_all(&model, WIDE).await);
    assert_eq!(scan(&store, WIDE).await, scan(&model, WIDE).await);
    assert_eq!(store.settings().await.unwrap(), model.settings().await.unwrap());
    let tokens = TOKENS.map(token);
    assert_eq!(store.find(&tokens).await.unwrap(), model.find(&tokens).await.unwrap());
}

#[derive(Clone, Debug)]
enum Step {
    Run(Operation),
    Reopen,
}

#[derive(Clone, Debug)]
enum Operation {
    Insert(Vec<Record>),
    Update(Expectation, RecordUpdate),
    WriteBatch(Vec<(Expectation, Replacement)>),
    Delete(RecordId),
    ReadPage(Option<RecordId>, PageLimit),
    ReadRecords(Vec<RecordId>),
    List(Option<RecordId>, PageLimit),
    Find(Vec<Token>),
    Count,
    Query(Query, Timestamp),
    CountMatching(Query, Timestamp),
    Purge(Purge, Timestamp, Option<RecordId>, NonZeroUsize),
    PutSetting(&'static str, &'static str, PutSetting),
    Setting(&'static str),
    Settings,
}

/// Whether a compare-and-swap expects what the history drew, or what the record holds by then.
#[derive(Clone, Copy, Debug)]
enum Expectation {
    Drawn,
    Stored,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Inserted(Vec<InsertOutcome>),
    Written(Vec<WriteOutcome>),
    Deleted(DeleteOutcome),
    Page(vault_store::Page<SealedRecord>),
    Sealed(Vec<Option<SealedRecord>>),
    Listed(vault_store::Page<Record>),
    Found(Vec<Option<Record>>),
    Count(u64),
    Purged(Vec<RecordId>),
    Put(String),
    Setting(Option<String>),
    Settings(Vec<(String, String)>),
}

impl Answer {
    /// A limit is a maximum: any prefix of the reference's page is valid, but an empty page is the
    /// end.
    fn agrees_with(&self, expected: &Self) -> bool {
        match (self, expected) {
            (Self::Page(page), Self::Page(full)) => is_page_of(page, full),
            (Self::Listed(page), Self::Listed(full)) => is_page_of(page, full),
            _ => self == expected,
        }
    }
}

fn is_page_of<T: PartialEq>(page: &[T], full: &[T]) -> bool {
    full.starts_with(page) && page.is_empty() == full.is_empty()
}

/// Fills in the envelopes that the model now holds, where a step requires it.
async fn expect_what_is_stored(operation: Operation, model: &MemoryStore) -> Operation {
    match operation {
        Operation::Update(Expectation::Stored, mut change) => {
            change.if_matches.envelope = stored(model, &change.id).await;
            Operation::Update(Expectation::Stored, change)
        }
        Operation::WriteBatch(mut batch) => {
            for (expectation, replacement) in &mut batch {
                if let Expectation::Stored = expectation
                    && let Some(envelope) = stored(model, &replacement.id).await
                {
                    replacement.expected = envelope;
                }
            }
            Operation::WriteBatch(batch)
        }
        other => other,
    }
}

async fn stored(model: &MemoryStore, id: &RecordId) -> Option<EnvelopeText> {
    let mut read = model.read_records(std::slice::from_ref(id)).await.unwrap();
    read.remove(0).map(|record| record.envelope)
}

async fn run(store: &impl VaultStore, operation: Operation) -> Answer {
    match operation {
        Operation::Insert(records) => Answer::Inserted(store.insert(records).await.unwrap()),
        Operation::Update(_, change) => Answer::Written(vec![store.update(change).await.unwrap()]),
        Operation::WriteBatch(batch) => {
            let batch = batch.into_iter().map(|(_, replacement)| replacement).collect();
            Answer::Written(store.swap_batch(batch).await.unwrap())
        }
        Operation::Delete(id) => Answer::Deleted(store.delete(&id).await.unwrap()),
        Operation::ReadPage(after, limit) => {
            Answer::Page(store.read_page(after.as_ref(), limit).await.unwrap())
        }
        Operation::ReadRecords(ids) => Answer::Sealed(store.read_records(&ids).await.unwrap()),
        Operation::List(after, limit) => {
            Answer::Listed(store.list(after.as_ref(), limit).await.unwrap())
        }
        Operation::Find(tokens) => Answer::Found(store.find(&tokens).await.unwrap()),
        Operation::Count => Answer::Count(store.count().await.unwrap()),
        Operation::Query(query, now) => Answer::Listed(store.query(&query, now).await.unwrap()),
        Operation::CountMatching(query, now) => {
            Answer::Count(store.count_matching(&query, now).await.unwrap())
        }
        Operation::Purge(purge, now, after, limit) => {
            Answer::Purged(store.purge_expired(purge, now, after.as_ref(), limit).await.unwrap())
        }
        Operation::PutSetting(name, value, put) => {
            Answer::Put(store.put_setting(name, value, put).await.unwrap())
        }
        Operation::Setting(name) => Answer::Setting(store.setting(name).await.unwrap()),
        Operation::Settings => Answer::Settings(store.settings().await.unwrap()),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        15 => operation().prop_map(Step::Run),
        1 => Just(Step::Reopen),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => vec(any_record(), 1..4).prop_map(Operation::Insert),
        2 => (any_expectation(), any_change())
            .prop_map(|(expectation, change)| Operation::Update(expectation, change)),
        4 => vec((any_expectation(), any_replacement()), 0..6)
            .prop_map(|batch| Operation::WriteBatch(without_repeated_ids(batch))),
        2 => any_id().prop_map(Operation::Delete),
        2 => (option::of(any_id()), any_limit())
            .prop_map(|(after, limit)| Operation::ReadPage(after, limit)),
        1 => vec(any_id(), 0..4).prop_map(Operation::ReadRecords),
        1 => (option::of(any_id()), any_limit())
            .prop_map(|(after, limit)| Operation::List(after, limit)),
        1 => vec(select(&TOKENS[..]).prop_map(token), 0..4).prop_map(Operation::Find),
        1 => Just(Operation::Count),
        3 => (any_query(), any_time()).prop_map(|(query, now)| Operation::Query(query, now)),
        1 => (any_query(), any_time())
            .prop_map(|(query, now)| Operation::CountMatching(query, now)),
        2 => (
            select(vec![Purge::SoftDelete, Purge::Delete]),
            any_time(),
            option::of(any_id()),
            (1usize..4).prop_map(|most| NonZeroUsize::new(most).unwrap()),
        )
            .prop_map(|(purge, now, after, most)| Operation::Purge(purge, now, after, most)),
        3 => (
            select(&SETTINGS[..]),
            select(&ENVELOPES[..]),
            select(vec![PutSetting::Always, PutSetting::IfAbsent]),
        )
            .prop_map(|(name, value, put)| Operation::PutSetting(name, value, put)),
        1 => select(&SETTINGS[..]).prop_map(Operation::Setting),
        1 => Just(Operation::Settings),
    ]
}

fn any_id() -> impl Strategy<Value = RecordId> {
    select(&IDS[..]).prop_map(RecordId::from_stored)
}

fn any_envelope() -> impl Strategy<Value = EnvelopeText> {
    select(&ENVELOPES[..]).prop_map(envelope)
}

/// Whole seconds, which every schema can store.
fn any_time() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000).prop_map(seconds)
}

fn any_limit() -> impl Strategy<Value = PageLimit> {
    (1usize..5, 1usize..12).prop_map(|(records, bytes)| PageLimit::new(records, bytes))
}

/// A cursor may be that of a record that was never stored.
fn any_query() -> impl Strategy<Value = Query> {
    let include = || select(vec![Filter::Exclude, Filter::Include, Filter::Only]);
    let orders = vec![
        SortKey::Id,
        SortKey::Token,
        SortKey::CreatedAt,
        SortKey::UpdatedAt,
        SortKey::ExpiresAt,
    ];
    let order = (select(orders), select(vec![SortOrder::Ascending, SortOrder::Descending]));
    let names = (
        option::weighted(0.2, vec(any_id(), 0..5)),
        option::weighted(0.2, vec(select(&TOKENS[..]).prop_map(token), 0..5)),
    );
    let part = (option::of(any_record()), 0u64..3, any_limit());
    ((include(), include()), names, order, part).prop_map(|(states, (ids, tokens), order, part)| {
        let (after, offset, limit) = part;
        let mut query = Query::new()
            .soft_deleted(states.0)
            .expired(states.1)
            .order_by(order.0, order.1)
            .offset(offset)
            .page(limit);
        if let Some(ids) = ids {
            query = query.id_in(ids);
        }
        if let Some(tokens) = tokens {
            query = query.token_in(tokens);
        }
        after.iter().fold(query, Query::after)
    })
}

fn any_expectation() -> impl Strategy<Value = Expectation> {
    select(vec![Expectation::Stored, Expectation::Drawn])
}

fn any_record() -> impl Strategy<Value = Record> {
    let texts = (any_id(), select(&TOKENS[..]).prop_map(token), any_envelope());
    let times = (any_time(), any_time(), option::of(any_time()), option::of(any_time()));
    (texts, times).prop_map(|((id, token, envelope), times)| {
        let (created_at, updated_at, expires_at, soft_deleted_at) = times;
        Record { id, token, envelope, created_at, updated_at, expires_at, soft_deleted_at }
    })
}

fn any_replacement() -> impl Strategy<Value = Replacement> {
    (any_id(), any_envelope(), any_envelope()).prop_map(|(id, expected, new)| Replacement {
        id,
        expected,
        new,
    })
}

fn any_change() -> impl Strategy<Value = RecordUpdate> {
    let envelopes = (option::of(any_envelope()), option::of(any_envelope()));
    let expected = || option::weighted(0.1, option::weighted(0.1, any_time()));
    let times = (
        option::of(any_time()),
        option::of(option::of(any_time())),
        option::of(option::of(any_time())),
    );
    (any_id(), envelopes, times, (expected(), expected())).prop_map(
        |(id, (expected, envelope), times, at)| {
            let (updated_at, expires_at, soft_deleted_at) = times;
            let change = |drawn: Option<Option<_>>| drawn.map_or(Change::Keep, Change::from);
            let expect = |drawn: Option<Option<_>>| drawn.map_or(Expected::Any, Expected::from);
            let if_matches = Precondition {
                envelope: expected,
                expires_at: expect(at.0),
                soft_deleted_at: expect(at.1),
            };
            RecordUpdate {
                id,
                if_matches,
                envelope,
                updated_at,
                expires_at: change(expires_at),
                soft_deleted_at: change(soft_deleted_at),
            }
        },
    )
}

/// "An id occurs at most once in a batch" is the caller's part of the contract.
fn without_repeated_ids(
    mut batch: Vec<(Expectation, Replacement)>,
) -> Vec<(Expectation, Replacement)> {
    let mut seen = BTreeSet::new();
    batch.retain(|(_, replacement)| seen.insert(replacement.id.clone()));
    batch
}
