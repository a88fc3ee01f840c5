//! The contract of [`RecordSource`].

use std::collections::BTreeMap;

use vault_store::{
    EnvelopeText, MAX_ENVELOPE_LEN, PageLimit, RecordId, RecordSink, RecordSource, VaultStore,
    WriteOutcome,
};

use crate::StoreUnderTest;
use crate::samples::{
    WIDE, envelope, fill, ids, list_all, record, records, replacement, scan, sealed, seconds, token,
};

/// "Each record includes its token as stored."
pub async fn each_record_comes_with_its_token<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(20);
    // Neither the order of the tokens nor their number of bytes is that of the ids.
    for (number, record) in records.iter_mut().rev().enumerate() {
        record.token = token(&format!("{}-tk_ключ 🔑", "t".repeat(number)));
    }
    fill(&store, &records).await;
    let expected: Vec<_> = records.iter().map(sealed).collect();
    assert_eq!(scan(&store, PageLimit::new(3, 1 << 20)).await, expected);
    let read = store.read_records(&ids(&records)).await.unwrap();
    assert_eq!(read, expected.into_iter().map(Some).collect::<Vec<_>>());
}

/// "Pages are in strictly ascending order of the ids, compared as bytes."
pub async fn pages_ascend_strictly_by_id_compared_as_bytes<S: StoreUnderTest>(subject: &S) {
    // A locale, a case-insensitive collation, a numeric one and UTF-16 order each sort some of
    // these otherwise.
    let texts = [
        "B",
        "a",
        "Z",
        "z",
        "A",
        "ab",
        "a ",
        "a-b",
        "a_b",
        "10",
        "9",
        "é",
        "e\u{301}",
        "E",
        "e",
        "ß",
        "ss",
        "ä",
        "\u{ff5e}",
        "\u{1f511}",
        "~",
        "_",
        "%",
        "'",
        "0",
        "00",
        "я",
        "Я",
    ];
    let store = subject.fresh().await;
    let records = texts.map(record);
    fill(&store, &records).await;

    let mut expected = texts.to_vec();
    expected.sort_unstable();
    for limit in [PageLimit::new(1, 1), PageLimit::new(5, 1 << 20), WIDE] {
        let scanned = scan(&store, limit).await;
        let found: Vec<&str> = scanned.iter().map(|record| record.id.as_str()).collect();
        assert_eq!(found, expected);
        let listed = list_all(&store, limit).await;
        let found: Vec<&str> = listed.iter().map(|record| record.id.as_str()).collect();
        assert_eq!(found, expected);
    }
}

/// "`after` is exclusive", even if no record has that id, or no longer.
pub async fn after_is_exclusive<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    fill(&store, &["a", "aa", "b", "c", "d"].map(record)).await;
    store.delete(&RecordId::from_stored("c")).await.unwrap();

    let cases = [
        ("a", Some("aa")),
        ("aa", Some("b")),
        ("ab", Some("b")),
        ("b", Some("d")),
        ("c", Some("d")),
        ("A", Some("a")),
        ("d", None),
        ("é", None),
    ];
    for (after, expected) in cases {
        let after = RecordId::from_stored(after);
        let page = store.read_page(Some(&after), WIDE).await.unwrap();
        assert_eq!(page.first().map(|record| record.id.as_str()), expected, "after {after}");
        let page = store.list(Some(&after), WIDE).await.unwrap();
        assert_eq!(page.first().map(|record| record.id.as_str()), expected, "after {after}");
    }
}

/// "A record that is present during the whole scan is returned exactly once", whatever is added and
/// removed around it.
pub async fn a_record_present_during_the_whole_scan_comes_exactly_once<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    let records = records(80);
    fill(&store, &records).await;
    // Every fourth record is deleted on the way: one behind the cursor and one ahead of it, at
    // every other step; at the steps between, records come behind it and ahead. So the number of
    // records behind the cursor falls and rises.
    let (passing, staying): (Vec<_>, Vec<_>) =
        records.iter().enumerate().partition(|(n, _)| n % 4 == 1);
    let mut passing: std::collections::VecDeque<_> =
        passing.into_iter().map(|(_, record)| record.id.clone()).collect();

    let mut seen: BTreeMap<RecordId, usize> = BTreeMap::new();
    let mut after: Option<RecordId> = None;
    for step in 0.. {
        let page = store.read_page(after.as_ref(), PageLimit::new(4, 1 << 20)).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(after.as_ref() < Some(&last.id), "the cursor does not move on");
        after = Some(last.id.clone());
        for found in page {
            *seen.entry(found.id).or_default() += 1;
        }
        if step % 2 == 0 {
            for gone in [passing.pop_front(), passing.pop_back()].into_iter().flatten() {
                store.delete(&gone).await.unwrap();
            }
        } else if step < 20 {
            let behind = record(&format!("behind-{step:06}"));
            let ahead = record(&format!("record-{:06}-ahead", 79 - step));
            fill(&store, &[behind, ahead]).await;
        }
    }
    for (_, record) in staying {
        assert_eq!(seen.get(&record.id), Some(&1), "{}", record.id);
    }
}

/// "`limit` bounds the page in records and bytes."
pub async fn limit_is_a_maximum_in_records_and_in_bytes<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(20);
    for record in &mut records {
        record.envelope = envelope(&"é".repeat(50)); // 50 characters, 100 bytes
    }
    fill(&store, &records).await;

    let limits =
        [(1, 1 << 20, 1), (3, 1 << 20, 3), (20, 100, 1), (20, 199, 1), (20, 200, 2), (2, 1000, 2)];
    for (most_records, most_bytes, most) in limits {
        let limit = PageLimit::new(most_records, most_bytes);
        for after in [None, Some(&records[4].id)] {
            let page = store.read_page(after, limit).await.unwrap();
            assert!((1..=most).contains(&page.len()), "{} records under {limit:?}", page.len());
            let page = store.list(after, limit).await.unwrap();
            assert!((1..=most).contains(&page.len()), "{} records under {limit:?}", page.len());
        }
        assert_eq!(scan(&store, limit).await.len(), records.len());
    }
    // A driver's limit is often an i64 or a u32.
    let largest = PageLimit::new(usize::MAX, usize::MAX);
    assert_eq!(scan(&store, largest).await.len(), records.len());
    assert_eq!(list_all(&store, largest).await, records);
}

/// "A record larger than the byte limit is returned alone."
pub async fn a_single_record_beyond_the_bytes_comes_alone<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(7);
    for big in [0, 3, 4, 6] {
        records[big].envelope = envelope(&"x".repeat(1000));
    }
    fill(&store, &records).await;

    let limit = PageLimit::new(10, 100);
    let mut after = None;
    let mut pages = Vec::new();
    while let Some(last) = {
        let page = store.read_page(after.as_ref(), limit).await.unwrap();
        assert_eq!(
            page,
            store.list(after.as_ref(), limit).await.unwrap().iter().map(sealed).collect::<Vec<_>>()
        );
        let last = page.last().map(|record| record.id.clone());
        pages.push(page);
        last
    } {
        assert!(after.as_ref() < Some(&last), "the cursor does not move on");
        after = Some(last);
    }
    let scanned: Vec<_> = pages.iter().flatten().cloned().collect();
    assert_eq!(scanned, records.iter().map(sealed).collect::<Vec<_>>());
    for page in pages {
        let big = page.iter().any(|record| record.envelope.len() > 100);
        assert!(!big || page.len() == 1, "a big record came in a page of {}", page.len());
    }
}

/// "An empty page means that no records follow", and a non-empty page does not.
pub async fn an_empty_page_means_that_nothing_follows<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    assert_eq!(store.read_page(None, WIDE).await.unwrap(), []);
    assert_eq!(store.list(None, WIDE).await.unwrap(), []);

    let records = records(12);
    fill(&store, &records).await;
    let expected: Vec<_> = records.iter().map(sealed).collect();
    for most in 1..=13 {
        let limit = PageLimit::new(most, 1 << 20);
        assert_eq!(scan(&store, limit).await, expected);
        assert_eq!(list_all(&store, limit).await, records);
    }
    let last = records.last().map(|record| &record.id);
    assert_eq!(store.read_page(last, WIDE).await.unwrap(), []);
    assert_eq!(store.list(last, WIDE).await.unwrap(), []);
}

/// "Soft-deleted and expired records are part of the scan."
pub async fn soft_deleted_and_expired_records_are_part_of_the_scan<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(6);
    records[1].soft_deleted_at = Some(seconds(1_700_000_200));
    records[2].expires_at = Some(seconds(1_700_000_001));
    records[3].soft_deleted_at = Some(seconds(1));
    records[3].expires_at = Some(seconds(1));
    records[4].expires_at = Some(seconds(4_000_000_000));
    fill(&store, &records).await;

    let expected: Vec<_> = records.iter().map(sealed).collect();
    assert_eq!(scan(&store, PageLimit::new(2, 1 << 20)).await, expected);
    assert_eq!(list_all(&store, PageLimit::new(2, 1 << 20)).await, records);
    let read = store.read_records(&ids(&records)).await.unwrap();
    assert_eq!(read, expected.into_iter().map(Some).collect::<Vec<_>>());
}

/// "An envelope longer than `MAX_ENVELOPE_LEN` is returned as `EnvelopeText::too_long`", and hides
/// no other record.
pub async fn an_envelope_longer_than_the_maximum_comes_as_too_long<S: StoreUnderTest>(subject: &S) {
    let len = MAX_ENVELOPE_LEN as u64 + 1;
    let store = subject.fresh().await;
    let mut records = records(3);
    fill(&store, &[records[0].clone(), records[2].clone()]).await;
    let store = subject.plant_too_long(store, records[1].clone(), len).await;
    records[1].envelope = EnvelopeText::too_long(len);

    let expected: Vec<_> = records.iter().map(sealed).collect();
    assert_eq!(scan(&store, WIDE).await, expected);
    assert_eq!(list_all(&store, PageLimit::new(1, 1)).await, records);
    let read = store.read_records(&ids(&records)).await.unwrap();
    assert_eq!(read, expected.into_iter().map(Some).collect::<Vec<_>>());
    let found = store.find(&[records[1].token.clone()]).await.unwrap();
    assert_eq!(found, [Some(records[1].clone())]);
}

/// "Each page is a separate read: no snapshot is held between two pages."
pub async fn each_page_is_a_read_of_its_own<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let records = ["a", "b", "d", "e"].map(record);
    fill(&store, &records).await;
    let first = store.read_page(None, PageLimit::new(1, 1 << 20)).await.unwrap();
    assert_eq!(first, [sealed(&records[0])]);

    fill(&store, &[record("c")]).await;
    store.delete(&records[2].id).await.unwrap();
    let batch = [replacement(&records[3], "v3:changed")];
    assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied]);

    let rest = store.read_page(Some(&records[0].id), WIDE).await.unwrap();
    let mut changed = record("e");
    changed.envelope = envelope("v3:changed");
    assert_eq!(rest, [sealed(&records[1]), sealed(&record("c")), sealed(&changed)]);
}

/// 2,000 records are returned completely and in order under narrow and wide limits.
pub async fn many_records_come_under_any_limit<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let records = records(2_000);
    fill(&store, &records).await;

    let expected: Vec<_> = records.iter().map(sealed).collect();
    let limits = [
        PageLimit::new(7, 1 << 20),
        PageLimit::new(1_000, 500),
        PageLimit::new(1_999, 1 << 20),
        WIDE,
    ];
    for limit in limits {
        assert_eq!(scan(&store, limit).await, expected);
        assert_eq!(list_all(&store, limit).await, records);
    }
    assert_eq!(store.count().await.unwrap(), 2_000);
    let read = store.read_records(&ids(&records)).await.unwrap();
    assert_eq!(read, expected.into_iter().map(Some).collect::<Vec<_>>());
}
