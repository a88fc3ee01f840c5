//! The records used by the cases.

use vault_store::{
    EnvelopeText, InsertOutcome, Page, PageLimit, Record, RecordId, RecordSource, Replacement,
    SealedRecord, Timestamp, Token, VaultStore,
};

/// A limit that no sample reaches.
pub(crate) const WIDE: PageLimit = PageLimit {
    records: std::num::NonZeroUsize::new(100_000).unwrap(),
    bytes: std::num::NonZeroUsize::new(1 << 30).unwrap(),
};

/// A record that is neither expired nor soft-deleted, whose token and envelope follow from its id.
pub(crate) fn record(id: &str) -> Record {
    Record {
        id: RecordId::from_stored(id),
        token: token(&format!("token of {id}")),
        envelope: envelope(&format!("v3:{id}")),
        created_at: seconds(1_700_000_000),
        updated_at: seconds(1_700_000_100),
        expires_at: None,
        soft_deleted_at: None,
    }
}

/// Creates `count` records in id order.
pub(crate) fn records(count: usize) -> Vec<Record> {
    (0..count).map(|n| record(&format!("record-{n:06}"))).collect()
}

pub(crate) fn token(text: &str) -> Token {
    Token::from_stored(text.to_owned())
}

pub(crate) fn envelope(text: &str) -> EnvelopeText {
    EnvelopeText::from_stored(text.as_bytes())
}

/// Whole seconds, which every schema can store.
pub(crate) fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// A replacement of what the record holds.
pub(crate) fn replacement(record: &Record, new: &str) -> Replacement {
    Replacement { id: record.id.clone(), expected: record.envelope.clone(), new: envelope(new) }
}

/// The record as a rekey sees it.
pub(crate) fn sealed(record: &Record) -> SealedRecord {
    SealedRecord {
        id: record.id.clone(),
        token: record.token.clone(),
        envelope: record.envelope.clone(),
    }
}

pub(crate) fn ids(records: &[Record]) -> Vec<RecordId> {
    records.iter().map(|record| record.id.clone()).collect()
}

/// Inserts records that cannot be refused.
pub(crate) async fn fill(store: &impl VaultStore, records: &[Record]) {
    let outcomes = store.insert(records.to_vec()).await.unwrap();
    assert_eq!(outcomes, vec![InsertOutcome::Inserted; records.len()]);
}

/// Reads pages until one without records, and checks that the cursor always advances and that every
/// row can be read.
pub(crate) async fn scan(source: &impl RecordSource, limit: PageLimit) -> Vec<SealedRecord> {
    let Page { records, unreadable } = scan_rows(source, limit).await;
    assert_eq!(unreadable, []);
    records
}

/// As [`scan`]; each unreadable row is returned with the number of records before it.
pub(crate) async fn scan_rows(source: &impl RecordSource, limit: PageLimit) -> Page<SealedRecord> {
    let mut all = Page::default();
    loop {
        let after = all.last().map(|record: &SealedRecord| record.id.clone());
        let page = source.read_page(after.as_ref(), limit).await.unwrap();
        assert_ascends(after.as_ref(), page.iter().map(|record| &record.id));
        if append(&mut all, page) == 0 {
            return all;
        }
    }
}

/// As [`scan`], with whole records.
pub(crate) async fn list_all(store: &impl VaultStore, limit: PageLimit) -> Vec<Record> {
    let Page { records, unreadable } = list_rows(store, limit).await;
    assert_eq!(unreadable, []);
    records
}

/// As [`scan_rows`], with whole records.
pub(crate) async fn list_rows(store: &impl VaultStore, limit: PageLimit) -> Page<Record> {
    let mut all = Page::default();
    loop {
        let after = all.last().map(|record: &Record| record.id.clone());
        let page = store.list(after.as_ref(), limit).await.unwrap();
        assert_ascends(after.as_ref(), page.iter().map(|record| &record.id));
        if append(&mut all, page) == 0 {
            return all;
        }
    }
}

/// Adds a page, and returns its number of records.
pub(crate) fn append<T>(all: &mut Page<T>, page: Page<T>) -> usize {
    let (before, records) = (all.len(), page.len());
    for mut row in page.unreadable {
        assert!(row.position < records.max(1), "a row behind the last record is of the next page");
        row.position += before;
        all.unreadable.push(row);
    }
    all.records.extend(page.records);
    records
}

pub(crate) fn assert_ascends<'a>(
    after: Option<&'a RecordId>,
    ids: impl Iterator<Item = &'a RecordId>,
) {
    let mut last = after.map(RecordId::as_bytes);
    for id in ids {
        assert!(last < Some(id.as_bytes()), "{id} does not ascend");
        last = Some(id.as_bytes());
    }
}
