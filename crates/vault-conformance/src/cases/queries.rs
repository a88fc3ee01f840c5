//! The contract of queries and counts.

use std::{cmp::Ordering, collections::BTreeSet};

use vault_store::{
    EnvelopeText, Filter, PageLimit, Query, Record, RecordId, SortKey, SortOrder, Timestamp,
    VaultStore,
};

use crate::StoreUnderTest;
use crate::samples::{envelope, fill, record, records, seconds, token};

const STATES: [Filter; 3] = [Filter::Exclude, Filter::Include, Filter::Only];
const ORDERS: [SortKey; 5] =
    [SortKey::Id, SortKey::Token, SortKey::CreatedAt, SortKey::UpdatedAt, SortKey::ExpiresAt];
const DIRECTIONS: [SortOrder; 2] = [SortOrder::Ascending, SortOrder::Descending];

/// The time at which the records of the fixture are evaluated: some are expired or soft-deleted
/// from exactly then.
const NOW: Timestamp = Timestamp::from_micros(100_000_000);

/// Records that share one time or another, in every state.
fn shelf() -> Vec<Record> {
    let rows = [
        ("a", "t3", 10, 50, None, None),
        ("b", "t1", 30, 10, Some(100), None),
        ("c", "T2", 10, 20, Some(200), Some(100)),
        ("d", "t2", 20, 20, None, Some(300)),
        ("e", "\u{e9}", 20, 30, Some(99), Some(50)),
        ("f", "t0", 10, 20, Some(101), Some(101)),
        ("\u{e9}", "t", 30, 50, None, Some(99)),
    ];
    let mut shelf: Vec<Record> = rows
        .map(|(id, handle, created_at, updated_at, expires_at, soft_deleted_at)| Record {
            token: token(handle),
            created_at: seconds(created_at),
            updated_at: seconds(updated_at),
            expires_at: expires_at.map(seconds),
            soft_deleted_at: soft_deleted_at.map(seconds),
            ..record(id)
        })
        .into();
    shelf[0].expires_at = Some(Timestamp::MAX);
    shelf
}

async fn ids_of(store: &impl VaultStore, query: &Query) -> Vec<String> {
    let found = store.query(query, NOW).await.unwrap();
    found.into_iter().map(|record| record.id.as_str().to_owned()).collect()
}

/// Every filter must hold: ids, tokens, soft-deleted and expired or not, inclusively.
pub async fn a_query_lets_through_exactly_what_its_filters_match<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let shelf = shelf();
    fill(&store, &shelf).await;
    let wanted = |include, is_so: bool| match include {
        Filter::Exclude => !is_so,
        Filter::Include => true,
        Filter::Only => is_so,
    };
    let id = RecordId::from_stored;
    let named = [
        (Query::new(), None),
        (Query::new().id_in([]), Some(vec![])),
        (Query::new().token_in([]), Some(vec![])),
        (Query::new().id_in(["e", "nobody", "a", "e"].map(id)), Some(vec!["a", "e"])),
        (Query::new().token_in(["t1", "T3", "t1", "t2"].map(token)), Some(vec!["b", "d"])),
        (Query::new().id_in(["a", "b"].map(id)).token_in(["t1", "T2"].map(token)), Some(vec!["b"])),
    ];
    for (query, named) in named {
        for (soft_deleted, expired) in STATES.iter().flat_map(|one| STATES.map(|two| (*one, two))) {
            let query = query.clone().soft_deleted(soft_deleted).expired(expired);
            let expected: Vec<&str> = shelf
                .iter()
                .filter(|record| {
                    wanted(soft_deleted, record.soft_deleted_at.is_some_and(|at| at <= NOW))
                })
                .filter(|record| wanted(expired, record.expires_at.is_some_and(|at| at <= NOW)))
                .map(|record| record.id.as_str())
                .filter(|id| named.as_ref().is_none_or(|named| named.contains(id)))
                .collect();
            assert_eq!(ids_of(&store, &query).await, expected, "{query:?}");
        }
    }
    assert_eq!(store.query(&Query::all(), NOW).await.unwrap(), shelf);
}

/// The expected order, computed without the code under test.
fn compare(order: SortKey, one: &Record, other: &Record) -> Ordering {
    let never = |time: Option<Timestamp>| time.map_or(i64::MAX, Timestamp::as_micros);
    match order {
        SortKey::Id => Ordering::Equal,
        SortKey::Token => one.token.as_str().as_bytes().cmp(other.token.as_str().as_bytes()),
        SortKey::CreatedAt => one.created_at.cmp(&other.created_at),
        SortKey::UpdatedAt => one.updated_at.cmp(&other.updated_at),
        SortKey::ExpiresAt => never(one.expires_at).cmp(&never(other.expires_at)),
    }
    .then_with(|| one.id.as_bytes().cmp(other.id.as_bytes()))
}

fn sorted(order: SortKey, direction: SortOrder) -> Vec<Record> {
    let mut shelf = shelf();
    shelf.sort_by(|one, other| match direction {
        SortOrder::Ascending => compare(order, one, other),
        SortOrder::Descending => compare(order, other, one),
    });
    shelf
}

/// Both directions of every order. Ties are broken by id, in the same direction; "never" is later
/// than every time.
pub async fn a_query_comes_in_its_order_and_the_id_decides_among_equals<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    fill(&store, &shelf()).await;
    for (order, direction) in ORDERS.iter().flat_map(|order| DIRECTIONS.map(|way| (*order, way))) {
        let query = Query::all().order_by(order, direction);
        let found = store.query(&query, NOW).await.unwrap();
        assert_eq!(found, sorted(order, direction), "{order:?} {direction:?}");
        // Also where the store may take another way.
        let named = query.id_in(["a", "c", "e", "f"].map(RecordId::from_stored));
        let named = store.query(&named, NOW).await.unwrap();
        let expected: Vec<_> = sorted(order, direction)
            .into_iter()
            .filter(|record| "acef".contains(record.id.as_str()))
            .collect();
        assert_eq!(named, expected, "{order:?} {direction:?}");
    }
}

/// "The cursor is exclusive, whether or not its record still exists, and the offset is counted from
/// it."
pub async fn a_query_goes_on_after_a_position_and_an_offset<S: StoreUnderTest>(subject: &S) {
    for (order, direction) in ORDERS.iter().flat_map(|order| DIRECTIONS.map(|way| (*order, way))) {
        let store = subject.fresh().await;
        fill(&store, &shelf()).await;
        let sorted = sorted(order, direction);
        let query = Query::all().order_by(order, direction).limit(3);

        let mut next = query.clone();
        let mut seen = Vec::new();
        loop {
            let page = store.query(&next, NOW).await.unwrap();
            let Some(last) = page.last() else { break };
            next = next.after(last);
            seen.extend(page);
            assert!(seen.len() <= sorted.len(), "{order:?} {direction:?} repeats records");
        }
        assert_eq!(seen, sorted, "{order:?} {direction:?}");

        let offset = store.query(&query.clone().offset(2), NOW).await.unwrap();
        assert_eq!(offset, sorted[2..5]);
        let both = query.clone().after(&sorted[1]).offset(2);
        assert_eq!(store.query(&both, NOW).await.unwrap(), sorted[4..7]);
        assert_eq!(store.query(&query.clone().offset(7), NOW).await.unwrap(), []);
        assert_eq!(store.query(&query.clone().offset(u64::MAX), NOW).await.unwrap(), []);

        store.delete(&sorted[2].id).await.unwrap();
        let rest = store.query(&query.after(&sorted[2]), NOW).await.unwrap();
        assert_eq!(rest, sorted[3..6]);
    }
}

/// "The limit bounds the result in records and in bytes of loaded envelopes, except that the first
/// record is always returned", and "an empty result means that no records follow".
pub async fn the_limit_of_a_query_is_a_maximum_in_records_and_in_bytes<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    let mut records = records(12);
    for record in &mut records {
        record.envelope = envelope(&"é".repeat(50)); // 50 characters, 100 bytes
    }
    records[5].envelope = envelope(&"x".repeat(1000));
    fill(&store, &records).await;
    let newest_first = Query::all().order_by(SortKey::CreatedAt, SortOrder::Descending);
    for (most_records, most_bytes, most) in
        [(1, 1 << 20, 1), (3, 1 << 20, 3), (20, 1, 1), (20, 199, 1), (20, 200, 2), (2, 500, 2)]
    {
        let mut query = newest_first.clone().page(PageLimit::new(most_records, most_bytes));
        let mut seen = BTreeSet::new();
        loop {
            let page = store.query(&query, NOW).await.unwrap();
            assert!(page.len() <= most, "{} records of {query:?}", page.len());
            let Some(last) = page.last() else { break };
            query = query.after(last);
            for found in page {
                assert!(seen.insert(found.id), "a record came twice");
            }
        }
        assert_eq!(seen.len(), records.len());
    }
    let largest = Query::all().page(PageLimit::new(usize::MAX, usize::MAX));
    assert_eq!(store.query(&largest, NOW).await.unwrap(), records);
}

/// Without envelopes only their lengths are returned, and the byte limit has no effect.
pub async fn a_query_without_envelopes_tells_their_lengths<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(4);
    records[0].envelope = envelope("");
    records[1].envelope = envelope("é");
    records[3].envelope = envelope(&"x".repeat(100_000));
    fill(&store, &records).await;
    let query = Query::all().page(PageLimit::new(10, 1)).without_envelopes();
    let found = store.query(&query, NOW).await.unwrap();
    for (record, len) in records.iter_mut().zip([0, 2, 16, 100_000]) {
        record.envelope = EnvelopeText::not_loaded(len);
    }
    assert_eq!(found, records);
}

/// "Returns the number of records that pass the filters of a query. Its cursor, offset and limit
/// are ignored."
pub async fn count_matching_counts_what_the_filters_let_through<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    fill(&store, &shelf()).await;
    for (soft_deleted, expired) in STATES.iter().flat_map(|one| STATES.map(|two| (*one, two))) {
        for query in [Query::new(), Query::new().token_in(["t1", "T2", "t2", "x"].map(token))] {
            let query = query.soft_deleted(soft_deleted).expired(expired);
            let expected = store.query(&query, NOW).await.unwrap().len() as u64;
            let narrow = query.after_id(RecordId::from_stored("b")).offset(3).limit(1);
            assert_eq!(store.count_matching(&narrow, NOW).await.unwrap(), expected, "{narrow:?}");
        }
    }
    assert_eq!(store.count_matching(&Query::all(), NOW).await.unwrap(), 7);
    assert_eq!(store.count_matching(&Query::all().id_in([]), NOW).await.unwrap(), 0);
}
