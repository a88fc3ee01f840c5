//! Queries: which records, in what order, and how many.

use std::{collections::BTreeSet, num::NonZeroUsize};

use crate::page::PageLimit;
use crate::record::{Record, RecordId};
use crate::time::Timestamp;
use crate::token::Token;

/// The default maximum number of records in a result.
const RECORDS: usize = 1000;

/// The default maximum number of envelope bytes in a result.
const BYTES: usize = 8 * 1024 * 1024;

/// Selects records: which ones, in what order, and how many.
///
/// ```
/// use vault_store::{Filter, Query, SortKey, SortOrder};
///
/// let newest = Query::new()
///     .expired(Filter::Exclude)
///     .order_by(SortKey::CreatedAt, SortOrder::Descending)
///     .limit(20);
/// # assert_eq!(newest.page_limit().records.get(), 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    ids: Option<BTreeSet<RecordId>>,
    tokens: Option<BTreeSet<Token>>,
    soft_deleted: Filter,
    expired: Filter,
    order: SortKey,
    direction: SortOrder,
    after: Option<Cursor>,
    offset: u64,
    limit: PageLimit,
    envelopes: Envelopes,
}

/// Whether records in some state are selected.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Not these records.
    Exclude,
    /// These and the others.
    Include,
    /// Only these.
    Only,
}

/// What records are ordered by. Ties are broken by id, in the same direction.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// The id, compared as bytes.
    Id,
    /// The token, compared as bytes.
    Token,
    /// The time of creation.
    CreatedAt,
    /// The time of modification.
    UpdatedAt,
    /// The time of expiry. Records that never expire come last in ascending order.
    ExpiresAt,
}

/// The direction of an order.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Whether envelopes are loaded.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelopes {
    /// Yes.
    Loaded,
    /// No, only their lengths:
    /// [`EnvelopeText::not_loaded`](crate::record::EnvelopeText::not_loaded).
    LengthOnly,
}

/// The position of a record in an order, whether or not the record still exists.
///
/// Cursors of one order compare as their records do in ascending order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The primary sort value.
    pub rank: SortValue,
    /// The tie-breaker.
    pub id: RecordId,
}

/// A primary sort value.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortValue {
    /// None: the order is by id.
    Id,
    /// The token.
    Token(Token),
    /// A time.
    Time(Timestamp),
    /// Never: later than every [`SortValue::Time`].
    Never,
}

/// The same as [`Query::new`].
impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

impl Query {
    /// Selects every record that is not soft-deleted, including expired ones, by id, with
    /// envelopes, up to 1,000 records or 8 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ids: None,
            tokens: None,
            soft_deleted: Filter::Exclude,
            expired: Filter::Include,
            order: SortKey::Id,
            direction: SortOrder::Ascending,
            after: None,
            offset: 0,
            limit: PageLimit::new(RECORDS, BYTES),
            envelopes: Envelopes::Loaded,
        }
    }

    /// Selects every record, including soft-deleted and expired ones; otherwise as [`Query::new`].
    #[must_use]
    pub fn all() -> Self {
        Self::new().soft_deleted(Filter::Include)
    }

    /// Restricts the result to these ids. An empty list matches nothing.
    #[must_use]
    pub fn id_in(mut self, ids: impl IntoIterator<Item = RecordId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Restricts the result to these tokens. An empty list matches nothing.
    #[must_use]
    pub fn token_in(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.tokens = Some(tokens.into_iter().collect());
        self
    }

    /// Whether soft-deleted records are selected.
    #[must_use]
    pub fn soft_deleted(mut self, include: Filter) -> Self {
        self.soft_deleted = include;
        self
    }

    /// Whether expired records are selected.
    #[must_use]
    pub fn expired(mut self, include: Filter) -> Self {
        self.expired = include;
        self
    }

    /// Sets the order. This resets the cursor, which belongs to an order.
    #[must_use]
    pub fn order_by(mut self, order: SortKey, direction: SortOrder) -> Self {
        (self.order, self.direction, self.after) = (order, direction, None);
        self
    }

    /// Continues after this record of an earlier result (keyset paging). Records that are added or
    /// removed in between cause no record to be skipped or repeated, and a late page costs no more
    /// than the first.
    #[must_use]
    pub fn after(mut self, record: &impl HasCursor) -> Self {
        self.after = Some(record.position(self.order));
        self
    }

    /// Continues after this id. The order becomes that of the ids; its direction stays.
    #[must_use]
    pub fn after_id(mut self, id: RecordId) -> Self {
        (self.order, self.after) = (SortKey::Id, Some(Cursor { rank: SortValue::Id, id }));
        self
    }

    /// Skips the first records of the result. The store still reads them, unlike with
    /// [`after`](Self::after).
    #[must_use]
    pub fn offset(mut self, records: u64) -> Self {
        self.offset = records;
        self
    }

    /// Sets the maximum number of records (at least 1).
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit.records = NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Sets the maximum number of records and of envelope bytes.
    #[must_use]
    pub fn page(mut self, limit: PageLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Loads only the lengths of envelopes.
    #[must_use]
    pub fn without_envelopes(mut self) -> Self {
        self.envelopes = Envelopes::LengthOnly;
        self
    }
}

/// Getters, for stores.
impl Query {
    /// Returns the selected ids; `None` means any.
    #[must_use]
    pub fn ids(&self) -> Option<&BTreeSet<RecordId>> {
        self.ids.as_ref()
    }

    /// Returns the selected tokens; `None` means any.
    #[must_use]
    pub fn tokens(&self) -> Option<&BTreeSet<Token>> {
        self.tokens.as_ref()
    }

    /// Whether soft-deleted records are selected.
    #[must_use]
    pub fn soft_deleted_filter(&self) -> Filter {
        self.soft_deleted
    }

    /// Whether expired records are selected.
    #[must_use]
    pub fn expired_filter(&self) -> Filter {
        self.expired
    }

    /// Returns the sort key.
    #[must_use]
    pub fn order(&self) -> SortKey {
        self.order
    }

    /// Returns the sort direction.
    #[must_use]
    pub fn direction(&self) -> SortOrder {
        self.direction
    }

    /// Returns the cursor to continue from; its sort value is one of [`order`](Self::order).
    #[must_use]
    pub fn position(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// Returns the number of records to skip.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.offset
    }

    /// Returns the maximum size of the result.
    #[must_use]
    pub fn page_limit(&self) -> PageLimit {
        self.limit
    }

    /// Whether envelopes are loaded.
    #[must_use]
    pub fn envelopes(&self) -> Envelopes {
        self.envelopes
    }

    /// Returns whether every record is selected, so that counting needs no filter.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.ids.is_none()
            && self.tokens.is_none()
            && (self.soft_deleted, self.expired) == (Filter::Include, Filter::Include)
    }

    /// Returns whether a record passes the filters. Cursor and limits are ignored.
    #[must_use]
    pub fn matches(&self, record: &Record, now: Timestamp) -> bool {
        self.soft_deleted.lets(record.is_soft_deleted(now))
            && self.expired.lets(record.is_expired(now))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && self.tokens.as_ref().is_none_or(|tokens| tokens.contains(&record.token))
    }

    /// Returns whether a record at this position comes after the cursor.
    #[must_use]
    pub fn is_ahead(&self, position: &Cursor) -> bool {
        self.after.as_ref().is_none_or(|after| match self.direction {
            SortOrder::Ascending => position > after,
            SortOrder::Descending => position < after,
        })
    }
}

impl Filter {
    fn lets(self, is_so: bool) -> bool {
        match self {
            Self::Exclude => !is_so,
            Self::Include => true,
            Self::Only => is_so,
        }
    }
}

/// Anything that has a position in every order.
pub trait HasCursor {
    /// Returns its position.
    fn position(&self, order: SortKey) -> Cursor;
}

impl HasCursor for Record {
    fn position(&self, order: SortKey) -> Cursor {
        let times = (self.created_at, self.updated_at, self.expires_at);
        Cursor::new(order, &self.id, &self.token, times)
    }
}

impl Cursor {
    /// Creates the cursor of a record with this id, this token, and these times of creation,
    /// modification and expiry.
    pub fn new(
        order: SortKey,
        id: &RecordId,
        token: &Token,
        (created_at, updated_at, expires_at): (Timestamp, Timestamp, Option<Timestamp>),
    ) -> Self {
        let rank = match order {
            SortKey::Id => SortValue::Id,
            SortKey::Token => SortValue::Token(token.clone()),
            SortKey::CreatedAt => SortValue::Time(created_at),
            SortKey::UpdatedAt => SortValue::Time(updated_at),
            SortKey::ExpiresAt => {
                let end = expires_at.and_then(Timestamp::as_end);
                end.map_or(SortValue::Never, SortValue::Time)
            }
        };
        Self { rank, id: id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rank: SortValue, id: &str) -> Cursor {
        Cursor { rank, id: RecordId::from_stored(id) }
    }

    #[test]
    fn never_is_later_than_every_time_and_the_id_decides_among_equals() {
        let time = |micros| SortValue::Time(Timestamp::from_micros(micros));
        assert!(at(time(1), "b") < at(time(2), "a"));
        assert!(at(time(2), "a") < at(time(2), "b"));
        assert!(at(SortValue::Time(Timestamp::MAX), "b") < at(SortValue::Never, "a"));
    }

    #[test]
    fn another_order_forgets_the_place() {
        let query = Query::new().after_id(RecordId::from_stored("a"));
        assert!(query.position().is_some());
        let query = query.order_by(SortKey::Token, SortOrder::Descending);
        assert_eq!(query.position(), None);
    }

    #[test]
    fn a_limit_of_zero_is_one() {
        assert_eq!(Query::new().limit(0).page_limit().records, NonZeroUsize::MIN);
    }
}
