//! The contract of [`RecordSource::read_heads`].

use vault_store::{
    EnvelopeHead, EnvelopeText, HEAD_LEN, MAX_ENVELOPE_LEN, Page, PageLimit, Record, RecordHead,
    RecordId, RecordSink, RecordSource, VaultStore, WriteOutcome,
};

use super::unreadable::{assert_names, planted};
use crate::StoreUnderTest;
use crate::samples::{
    WIDE, append, assert_ascends, envelope, fill, record, records, replacement, seconds,
};

/// "Returns of the records after `after` only the ids and the heads of their envelopes."
pub async fn heads_are_the_beginnings_of_the_envelopes<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let lens = [0, 1, HEAD_LEN - 1, HEAD_LEN, HEAD_LEN + 1, 4000, 70_000];
    // Characters of one byte, of two and of four: a head may end within one.
    let texts = lens.iter().flat_map(|len| ["x", "é", "🔑"].map(|text| text.repeat(*len)));
    let mut records: Vec<_> = texts.enumerate().map(|(n, text)| with(n, &text)).collect();
    // Postgres keeps a long text that cannot be compressed out of line.
    records.push(with(records.len(), &incompressible(100_000)));
    records.push(with(records.len(), "v3:\u{1}\u{7f}"));
    fill(&store, &records).await;
    for limit in [PageLimit::new(1, 1), PageLimit::new(4, 1 << 20), WIDE] {
        assert_eq!(scan_heads(&store, limit).await, heads(&records));
    }
}

/// "What is said of a page holds": its order, its cursor, its end, and what belongs to it.
pub async fn a_page_of_heads_keeps_the_rules_of_a_page<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    assert_eq!(store.read_heads(None, WIDE).await.unwrap(), []);
    let mut records = ["B", "Z", "_", "a", "aa", "é", "\u{ff5e}", "\u{1f511}"].map(record);
    records[1].soft_deleted_at = Some(seconds(1));
    records[2].expires_at = Some(seconds(1));
    fill(&store, &records).await;
    for most in 1..=9 {
        let limit = PageLimit::new(most, 1 << 20);
        assert_eq!(scan_heads(&store, limit).await, heads(&records));
    }
    store.delete(&records[4].id).await.unwrap();
    for (after, expected) in [("A", Some("B")), ("a", Some("é")), ("aa", Some("é")), ("🔑", None)]
    {
        let after = RecordId::from_stored(after);
        let page = store.read_heads(Some(&after), WIDE).await.unwrap();
        assert_eq!(page.first().map(|head| head.id.as_str()), expected, "after {after}");
    }
}

/// "What is said of a page holds": an unreadable row hides none, and is named at its place.
pub async fn a_page_of_heads_names_the_rows_that_nobody_can_read<S: StoreUnderTest>(subject: &S) {
    let (store, records, places) = planted(subject).await;
    for most in [1, 2, 3, 5, 100] {
        let scanned = scan_head_rows(&store, PageLimit::new(most, 1 << 20)).await;
        assert_eq!(scanned.records, heads(&records));
        assert_names(&scanned, &places);
    }
}

/// "Of a record, the bytes of its id and its head count. If they are more than the byte limit, it
/// is returned alone."
pub async fn a_page_of_heads_is_bounded_in_records_and_in_bytes<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let records: Vec<_> = (0..20).map(|n| with(n, &"é".repeat(500))).collect();
    fill(&store, &records).await;
    let one = records[0].id.as_bytes().len() + HEAD_LEN;
    let limits = [
        (1, 1 << 20, 1),
        (3, 1 << 20, 3),
        (20, 1, 1),
        (20, 2 * one - 1, 1),
        (20, 2 * one, 2),
        (20, 5 * one + 1, 5),
    ];
    for (most_records, most_bytes, most) in limits {
        let limit = PageLimit::new(most_records, most_bytes);
        for after in [None, Some(&records[4].id)] {
            let page = store.read_heads(after, limit).await.unwrap();
            assert!((1..=most).contains(&page.len()), "{} heads under {limit:?}", page.len());
        }
        assert_eq!(scan_heads(&store, limit).await, heads(&records));
    }
    let largest = PageLimit::new(usize::MAX, usize::MAX);
    assert_eq!(scan_heads(&store, largest).await, heads(&records));
}

/// "The head of an envelope longer than `MAX_ENVELOPE_LEN` is empty", and it hides no other.
pub async fn the_head_of_an_envelope_that_is_too_long_is_empty<S: StoreUnderTest>(subject: &S) {
    let len = MAX_ENVELOPE_LEN as u64 + 1;
    let store = subject.fresh().await;
    let mut records = records(3);
    fill(&store, &[records[0].clone(), records[2].clone()]).await;
    let store = subject.plant_too_long(store, records[1].clone(), len).await;
    records[1].envelope = EnvelopeText::too_long(len);
    let scanned = scan_heads(&store, WIDE).await;
    assert_eq!(scanned, heads(&records));
    assert_eq!((scanned[1].head.as_bytes(), scanned[1].head.len()), (&b""[..], len));
}

/// "A head and its length are of one version of the envelope: the current one."
pub async fn a_head_is_of_the_current_version<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records: Vec<_> = (0..4).map(|n| with(n, &"before".repeat(100))).collect();
    fill(&store, &records).await;
    let first = store.read_heads(None, PageLimit::new(1, 1 << 20)).await.unwrap();
    assert_eq!(first, heads(&records[..1]));
    assert_eq!(scan_heads(&store, WIDE).await, heads(&records));
    for (record, text) in records.iter_mut().zip(["after".repeat(100), "short".to_owned()]) {
        let batch = [replacement(record, &text)];
        assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied]);
        record.envelope = envelope(&text);
    }
    assert_eq!(scan_heads(&store, WIDE).await, heads(&records));
}

fn with(number: usize, text: &str) -> Record {
    Record { envelope: envelope(text), ..record(&format!("record-{number:06}")) }
}

/// Random letters, always the same.
fn incompressible(len: usize) -> String {
    let mut state = 1u64;
    let letter = |_| {
        // Knuth's MMIX, whose high bits are random enough.
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        char::from(b'A' + (state >> 59) as u8 % 26)
    };
    (0..len).map(letter).collect()
}

fn heads(records: &[Record]) -> Vec<RecordHead> {
    let head = |record: &Record| RecordHead {
        id: record.id.clone(),
        head: EnvelopeHead::from(&record.envelope),
    };
    records.iter().map(head).collect()
}

async fn scan_heads(source: &impl RecordSource, limit: PageLimit) -> Vec<RecordHead> {
    let Page { records, unreadable } = scan_head_rows(source, limit).await;
    assert_eq!(unreadable, []);
    records
}

async fn scan_head_rows(source: &impl RecordSource, limit: PageLimit) -> Page<RecordHead> {
    let mut all = Page::default();
    loop {
        let after = all.last().map(|head: &RecordHead| head.id.clone());
        let page = source.read_heads(after.as_ref(), limit).await.unwrap();
        assert_ascends(after.as_ref(), page.iter().map(|head| &head.id));
        if append(&mut all, page) == 0 {
            return all;
        }
    }
}
