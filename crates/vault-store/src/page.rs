//! Pages of records and their size limits.

use std::num::NonZeroUsize;
use std::ops::Deref;

use crate::record::{Record, SealedRecord};
use crate::unreadable::{RowName, UnreadableReason, UnreadableRow};

/// The maximum size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Maximum number of records.
    pub records: NonZeroUsize,
    /// Maximum number of bytes of ids, tokens and envelope text (the sum of
    /// [`weight`](HasWeight::weight)), except that the first record is always returned.
    pub bytes: NonZeroUsize,
}

impl PageLimit {
    /// Creates a limit of records and bytes, each at least 1.
    #[must_use]
    pub fn new(records: usize, bytes: usize) -> Self {
        Self {
            records: NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN),
            bytes: NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// What counts as the bytes of a record in a page.
pub trait HasWeight {
    /// The bytes of its id, its token and its envelope, as far as they are loaded.
    fn weight(&self) -> usize;
}

impl HasWeight for SealedRecord {
    fn weight(&self) -> usize {
        let keys = self.id.as_bytes().len().saturating_add(self.token.as_str().len());
        keys.saturating_add(self.envelope.loaded_len())
    }
}

impl HasWeight for Record {
    fn weight(&self) -> usize {
        let keys = self.id.as_bytes().len().saturating_add(self.token.as_str().len());
        keys.saturating_add(self.envelope.loaded_len())
    }
}

/// Records in order, and the unreadable rows before the last of them.
///
/// It reads like a slice of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The records. None means that no record follows.
    pub records: Vec<T>,
    /// The unreadable rows before the last record, or, in a page without records, all that follow.
    pub unreadable: Vec<UnreadableRow>,
}

impl<T> Page<T> {
    /// The same page with each record made into something else.
    #[must_use]
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        let records = self.records.into_iter().map(make).collect();
        Page { records, unreadable: self.unreadable }
    }
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { records: Vec::new(), unreadable: Vec::new() }
    }
}

impl<T> Deref for Page<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.records
    }
}

/// A page on whose way every row could be read.
impl<T> From<Vec<T>> for Page<T> {
    fn from(records: Vec<T>) -> Self {
        Self { records, unreadable: Vec::new() }
    }
}

impl<T> FromIterator<T> for Page<T> {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        Vec::from_iter(records).into()
    }
}

/// Its records; what cannot be read is in [`unreadable`](Page::unreadable) alone.
impl<T> IntoIterator for Page<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Page<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.iter()
    }
}

/// A page is equal to a list of records if it holds these, and names no unreadable row.
impl<T: PartialEq> PartialEq<[T]> for Page<T> {
    fn eq(&self, records: &[T]) -> bool {
        self.unreadable.is_empty() && self.records == records
    }
}

impl<T: PartialEq> PartialEq<&[T]> for Page<T> {
    fn eq(&self, records: &&[T]) -> bool {
        *self == **records
    }
}

impl<T: PartialEq, const N: usize> PartialEq<[T; N]> for Page<T> {
    fn eq(&self, records: &[T; N]) -> bool {
        *self == records[..]
    }
}

impl<T: PartialEq> PartialEq<Vec<T>> for Page<T> {
    fn eq(&self, records: &Vec<T>) -> bool {
        *self == records[..]
    }
}

/// How many unreadable rows a page names one by one; the others are counted.
const MAX_NAMED: usize = 1000;

/// Fills a page within its limit; for stores.
#[derive(Debug)]
pub struct PageBuilder<T> {
    limit: PageLimit,
    bytes: usize,
    page: Page<T>,
}

impl<T: HasWeight> PageBuilder<T> {
    /// An empty page.
    #[must_use]
    pub fn new(limit: PageLimit) -> Self {
        Self { limit, bytes: 0, page: Page::default() }
    }

    /// Whether the page takes no further record, whatever its length.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.page.records.len() >= self.limit.records.get()
    }

    /// Whether a record of this weight has no room any more. The first one always has.
    #[must_use]
    pub fn has_no_room_for(&self, weight: usize) -> bool {
        let bytes = self.bytes.saturating_add(weight);
        !self.page.records.is_empty() && (self.is_full() || bytes > self.limit.bytes.get())
    }

    /// Adds a record if there is room for it. Without, it is dropped, and so is whatever follows.
    pub fn push(&mut self, record: T) -> HasRoom {
        self.push_as(record.weight(), record)
    }

    /// As [`push`](Self::push), for a record whose envelope is yet to be loaded and counts already.
    pub fn push_as(&mut self, weight: usize, record: T) -> HasRoom {
        if self.has_no_room_for(weight) {
            return HasRoom::No;
        }
        self.bytes = self.bytes.saturating_add(weight);
        self.page.records.push(record);
        if self.is_full() { HasRoom::No } else { HasRoom::Yes }
    }

    /// Names a row that cannot be read.
    pub fn unreadable(&mut self, name: impl FnOnce() -> RowName, reason: UnreadableReason) {
        let position = self.page.records.len();
        if self.page.unreadable.len() >= MAX_NAMED
            && let Some(last) = self.page.unreadable.last_mut()
            && last.position == position
        {
            last.more = last.more.saturating_add(1);
            return;
        }
        self.page.unreadable.push(UnreadableRow { name: name(), reason, more: 0, position });
    }

    /// Whether the page has no record yet, so that it must not end while rows follow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.page.records.is_empty()
    }

    /// The page. Rows behind its last record are named by the next one.
    #[must_use]
    pub fn finish(mut self) -> Page<T> {
        let records = self.page.records.len();
        if records > 0 {
            self.page.unreadable.retain(|row| row.position < records);
        }
        self.page
    }
}

/// Whether a page takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HasRoom {
    /// It does.
    Yes,
    /// It does not: it is full.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EnvelopeText, RecordId};
    use crate::token::Token;

    fn record(id: &str, envelope: &str) -> SealedRecord {
        SealedRecord {
            id: RecordId::from_stored(id),
            token: Token::from_stored("tk".to_owned()),
            envelope: EnvelopeText::from_stored(envelope.as_bytes()),
        }
    }

    #[test]
    fn ids_and_tokens_weigh_as_much_as_envelopes() {
        let mut page = PageBuilder::new(PageLimit::new(9, 10));
        assert_eq!(page.push(record("long id, which comes alone", "")), HasRoom::Yes);
        assert_eq!(page.push(record("", "")), HasRoom::No);
        let mut page = PageBuilder::new(PageLimit::new(9, 10));
        assert_eq!(page.push(record("id", "v")), HasRoom::Yes);
        assert_eq!(page.push(record("id", "v")), HasRoom::Yes);
        assert_eq!(page.push(record("id", "v")), HasRoom::No);
        assert_eq!(page.finish().len(), 2);
    }

    #[test]
    fn a_page_names_the_rows_before_its_last_record_and_a_bounded_number_of_them() {
        let mut page = PageBuilder::new(PageLimit::new(9, 1000));
        let name = |number| move || RowName::number("rowid", number);
        for number in 0..5000 {
            page.unreadable(name(number), UnreadableReason::NoId);
        }
        assert!(page.is_empty());
        page.push(record("a", ""));
        page.unreadable(name(5000), UnreadableReason::IdNotText);
        let page = page.finish();
        assert_eq!((page.len(), page.unreadable.len()), (1, MAX_NAMED));
        assert_eq!(page.unreadable.iter().map(UnreadableRow::rows).sum::<u64>(), 5000);
        assert!(page.unreadable.iter().all(|row| row.position == 0));
    }

    #[test]
    fn a_page_without_records_names_all_that_follows() {
        let mut page = PageBuilder::<SealedRecord>::new(PageLimit::new(9, 1000));
        page.unreadable(|| RowName::number("rowid", 1), UnreadableReason::NoId);
        let page = page.finish();
        assert_eq!(page.unreadable.len(), 1);
        assert_ne!(page, Vec::new(), "a page that names a row is not equal to none");
    }
}
