//! The contract of [`RecordSource`] about unreadable rows, and about the
//! size of a page.

use std::collections::BTreeSet;

use vault_store::{
    MAX_KEY_LEN, Page, PageLimit, Query, Record, RecordId, RecordSource, SortKey, SortOrder,
    StoreErrorKind, Timestamp, UnreadableRow, VaultStore,
};

use crate::samples::{
    WIDE, fill, list_all, list_rows, record, records, scan, scan_rows, sealed, token,
};
use crate::{Planted, StoreUnderTest};

/// "Ids and tokens count as bytes, like envelopes": not even short envelopes make a page of long
/// ones large.
pub async fn ids_and_tokens_count_as_bytes_of_a_page<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(20);
    for (number, record) in records.iter_mut().enumerate() {
        record.id = RecordId::from_stored(format!("{number:0100}"));
        record.token = token(&format!("{number:0100}"));
    }
    fill(&store, &records).await;
    for (most_bytes, most) in [(1, 1), (399, 1), (500, 2), (1000, 4)] {
        let limit = PageLimit::new(20, most_bytes);
        let page = store.read_page(None, limit).await.unwrap();
        assert!((1..=most).contains(&page.len()), "{} records under {limit:?}", page.len());
        let page = store.list(None, limit).await.unwrap();
        assert!((1..=most).contains(&page.len()), "{} records under {limit:?}", page.len());
        let query = Query::all().order_by(SortKey::Token, SortOrder::Descending).page(limit);
        let page = store.query(&query, Timestamp::MAX).await.unwrap();
        assert!((1..=most).contains(&page.len()), "{} records of {query:?}", page.len());
        assert_eq!(scan(&store, limit).await.len(), records.len());
        assert_eq!(list_all(&store, limit).await, records);
    }
}

/// "An unreadable row is no record, and hides none: the page that goes past it names it,
/// at its place."
pub async fn a_row_that_nobody_can_read_is_named_at_its_place_and_hides_none<S: StoreUnderTest>(
    subject: &S,
) {
    let (store, records, places) = planted(subject).await;
    let expected: Vec<_> = records.iter().map(sealed).collect();
    for most in [1, 2, 3, 5, 100] {
        let limit = PageLimit::new(most, 1 << 20);
        let scanned = scan_rows(&store, limit).await;
        assert_eq!(scanned.records, expected, "{limit:?}");
        assert_names(&scanned, &places);
        let listed = list_rows(&store, limit).await;
        assert_eq!(listed.records, records, "{limit:?}");
        assert_names(&listed, &places);
    }
}

/// "An unreadable row is left out. The store names those that it meets on its way."
pub async fn a_query_names_the_rows_that_nobody_can_read<S: StoreUnderTest>(subject: &S) {
    let (store, records, places) = planted(subject).await;
    for order in [SortKey::Id, SortKey::Token, SortKey::CreatedAt, SortKey::ExpiresAt] {
        for direction in [SortOrder::Ascending, SortOrder::Descending] {
            let mut query = Query::all().order_by(order, direction).limit(3);
            let (mut found, mut named) = (BTreeSet::new(), BTreeSet::new());
            loop {
                let page = store.query(&query, Timestamp::MAX).await.unwrap();
                named.extend(page.unreadable.into_iter().map(|row| row.name));
                let Some(last) = page.records.last() else { break };
                query = query.after(last);
                for record in page.records {
                    assert!(found.insert(record.id), "a record came twice");
                }
            }
            assert_eq!(found, records.iter().map(|record| record.id.clone()).collect());
            assert_eq!(named.len(), places.len(), "{order:?} {direction:?}");
        }
    }
}

/// "What would not be read again is refused": ids and tokens over the limit, and with them the
/// whole call.
pub async fn ids_and_tokens_that_would_not_be_read_are_refused<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let long = "x".repeat(MAX_KEY_LEN + 1);
    let long_id = Record { token: token("a token"), ..record(&long) };
    let long_token = Record { token: token(&long), ..record("an id") };
    for refused in [long_id, long_token] {
        let answer = store.insert(vec![record("a"), refused]).await;
        assert_eq!(answer.map_err(|error| error.kind()), Err(StoreErrorKind::Unsupported));
        assert_eq!(scan(&store, WIDE).await, []);
    }
}

/// Six records, with unreadable rows after the first, after the second (two) and after the last, as
/// far as the store can hold any. Returns the number of records before each of them.
pub(super) async fn planted<S: StoreUnderTest>(subject: &S) -> (S::Store, Vec<Record>, Vec<usize>) {
    let mut store = subject.fresh().await;
    let records = records(6);
    fill(&store, &records).await;
    let mut places = Vec::new();
    for (before, twin) in [(1, "a"), (2, "a"), (2, "b"), (6, "a")] {
        let behind = &records[before - 1];
        let id = RecordId::from_stored(format!("{}{twin}", behind.id));
        let token = token(&format!("of {id}"));
        let (planted, one_more) =
            subject.plant_unreadable(store, Record { id, token, ..behind.clone() }).await;
        store = planted;
        if one_more == Planted::Yes {
            places.push(before);
        }
    }
    (store, records, places)
}

pub(super) fn assert_names<T>(page: &Page<T>, places: &[usize]) {
    let distinct: BTreeSet<_> = page.unreadable.iter().map(|row| &row.name).collect();
    let named: u64 = page.unreadable.iter().map(UnreadableRow::rows).sum();
    assert_eq!(named, places.len() as u64);
    assert_eq!(distinct.len(), page.unreadable.len(), "two rows have one name");
    // There is no position after the last record.
    let before: Vec<_> = page.unreadable.iter().map(|row| row.position).collect();
    assert_eq!(before, places);
}
