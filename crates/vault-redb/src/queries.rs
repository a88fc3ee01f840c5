//! Queries, each within one read transaction.
//!
//! redb has no indexes except those of ids and tokens. A query that names ids or tokens looks those
//! up. One in id order reads no further than its page. Any other query reads every row once, and
//! keeps only the cursors of its page in memory.

use std::{collections::BTreeSet, ops::Bound};

use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata};
use vault_store::{
    Cursor, Envelopes, HasCursor as _, HasWeight as _, Page, PageBuilder, PageLimit, Query, Record,
    RecordId, SortKey, SortOrder, Timestamp, UnreadableReason,
};

use crate::error::Fault;
use crate::reads::{readable, row_name};
use crate::record;
use crate::schema::{RECORDS, TOKENS};

type BytesTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Whether to continue with the next record or stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    More,
    Enough,
}

/// A row that a query may be about.
enum Candidate<'r> {
    /// Without its envelope.
    Record(Record),
    /// It is unreadable.
    Unreadable(&'r [u8], UnreadableReason),
}

/// Returns the records that a query selects.
pub(crate) fn query(
    transaction: &ReadTransaction,
    query: &Query,
    now: Timestamp,
) -> Result<Page<Record>, Fault> {
    let records = transaction.open_table(RECORDS)?;
    let mut place = Places::of(query);
    let mut names = PageBuilder::<Record>::new(query.page_limit());
    each_candidate(transaction, &records, query, range(query), |candidate| match candidate {
        Candidate::Record(record) if query.matches(&record, now) => {
            place.take(record.position(query.order()))
        }
        Candidate::Record(_) => Flow::More,
        Candidate::Unreadable(id, reason) => {
            names.unreadable(|| row_name(id), reason);
            Flow::More
        }
    })?;
    let records = page(&records, place.wanted(), query)?;
    Ok(Page { records, unreadable: names.finish().unreadable })
}

/// Returns how many records pass the filters. redb knows the total number.
pub(crate) fn count(
    transaction: &ReadTransaction,
    query: &Query,
    now: Timestamp,
) -> Result<u64, Fault> {
    let records = transaction.open_table(RECORDS)?;
    if query.matches_all() {
        return Ok(records.len()?);
    }
    let mut count = 0;
    let everywhere = (Bound::Unbounded, Bound::Unbounded);
    each_candidate(transaction, &records, query, everywhere, |candidate| {
        count += u64::from(matches!(candidate, Candidate::Record(it) if query.matches(&it, now)));
        Flow::More
    })?;
    Ok(count)
}

/// Visits records without their envelopes until the visitor has seen enough: at least those in the
/// range of the query, and in its order if that is id order.
fn each_candidate(
    transaction: &ReadTransaction,
    records: &BytesTable,
    query: &Query,
    range: (Bound<&[u8]>, Bound<&[u8]>),
    mut show: impl FnMut(Candidate<'_>) -> Flow,
) -> Result<(), Fault> {
    let mut show_row = |id: &[u8], row: &[u8]| {
        show(match readable(id, row, record::decode_without_envelope) {
            Ok(record) => Candidate::Record(record),
            Err(reason) => Candidate::Unreadable(id, reason),
        })
    };
    if let Some(mut ids) = named(transaction, query)? {
        while let Some(id) = match query.direction() {
            SortOrder::Ascending => ids.pop_first(),
            SortOrder::Descending => ids.pop_last(),
        } {
            if let Some(row) = records.get(&*id)?
                && show_row(&id, row.value()) == Flow::Enough
            {
                break;
            }
        }
        return Ok(());
    }
    let mut rows = records.range::<&[u8]>(range)?;
    loop {
        let entry = match query.direction() {
            SortOrder::Ascending => rows.next(),
            SortOrder::Descending => rows.next_back(),
        };
        let Some(entry) = entry else { return Ok(()) };
        let (id, row) = entry?;
        if show_row(id.value(), row.value()) == Flow::Enough {
            return Ok(());
        }
    }
}

/// Returns the ids that a query names, directly or by token, or `None` if it names none.
fn named(
    transaction: &ReadTransaction,
    query: &Query,
) -> Result<Option<BTreeSet<Box<[u8]>>>, Fault> {
    if let Some(ids) = query.ids() {
        return Ok(Some(ids.iter().map(|id| id.as_bytes().into()).collect()));
    }
    let Some(tokens) = query.tokens() else { return Ok(None) };
    let index = transaction.open_table(TOKENS)?;
    let mut ids = BTreeSet::new();
    for token in tokens {
        ids.extend(index.get(token.as_str().as_bytes())?.map(|id| Box::from(id.value())));
    }
    Ok(Some(ids))
}

/// Returns the candidate rows: in id order those after the cursor, otherwise all.
fn range(query: &Query) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let after = query.position().filter(|_| query.order() == SortKey::Id);
    let after = after.map_or(Bound::Unbounded, |place| Bound::Excluded(place.id.as_bytes()));
    match query.direction() {
        SortOrder::Ascending => (after, Bound::Unbounded),
        SortOrder::Descending => (Bound::Unbounded, after),
    }
}

/// The first cursors of an order, out of cursors that arrive in any order.
struct Places<'q> {
    query: &'q Query,
    /// How many to keep: those skipped by the offset, and the page.
    most: usize,
    kept: BTreeSet<Cursor>,
}

impl<'q> Places<'q> {
    fn of(query: &'q Query) -> Self {
        let offset = usize::try_from(query.skipped()).unwrap_or(usize::MAX);
        let most = offset.saturating_add(query.page_limit().records.get());
        Self { query, most, kept: BTreeSet::new() }
    }

    fn take(&mut self, place: Cursor) -> Flow {
        if self.query.is_ahead(&place) {
            self.kept.insert(place);
        }
        if self.kept.len() > self.most {
            drop(match self.query.direction() {
                SortOrder::Ascending => self.kept.pop_last(),
                SortOrder::Descending => self.kept.pop_first(),
            });
        }
        // In id order, none that follows can be among the first.
        if self.query.order() == SortKey::Id && self.kept.len() == self.most {
            Flow::Enough
        } else {
            Flow::More
        }
    }

    /// Returns the ids of the page, in order.
    fn wanted(self) -> Vec<RecordId> {
        let offset = usize::try_from(self.query.skipped()).unwrap_or(usize::MAX);
        let ids = self.kept.into_iter().map(|place| place.id);
        match self.query.direction() {
            SortOrder::Ascending => ids.skip(offset).collect(),
            SortOrder::Descending => ids.rev().skip(offset).collect(),
        }
    }
}

/// Decodes a row, given its id.
type Decode = fn(&[u8], &[u8]) -> Result<Record, record::Malformed>;

/// Loads the records of a page, as far as they fit.
fn page(records: &BytesTable, ids: Vec<RecordId>, query: &Query) -> Result<Vec<Record>, Fault> {
    let (decode, limit): (Decode, PageLimit) = match query.envelopes() {
        Envelopes::Loaded => (record::decode, query.page_limit()),
        // Bytes limit nothing.
        Envelopes::LengthOnly => {
            let records = query.page_limit().records.get();
            (record::decode_without_envelope, PageLimit::new(records, usize::MAX))
        }
    };
    let mut page = PageBuilder::new(limit);
    for id in ids {
        let id = id.as_bytes();
        let Some(row) = records.get(id)? else { continue };
        let Ok(record) = readable(id, row.value(), decode) else { continue };
        if page.has_no_room_for(record.weight()) {
            break;
        }
        page.push(record);
    }
    Ok(page.finish().records)
}
