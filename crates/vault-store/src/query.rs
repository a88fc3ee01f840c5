//! Questions to a vault: which records, in what order, and how much of them.

use std::{collections::BTreeSet, num::NonZeroUsize};

use crate::page::PageLimit;
use crate::record::{Record, RecordId};
use crate::time::Timestamp;
use crate::token::Token;

/// How many records an answer has at most, unless the query says otherwise.
const RECORDS: usize = 1000;

/// How many bytes of envelopes an answer has at most, unless the query says otherwise.
const BYTES: usize = 8 * 1024 * 1024;

/// Which records, in what order, and how much of them.
///
/// ```
/// use vault_store::{Filter, Query, SortKey, SortOrder};
///
/// let newest = Query::new()
///     .with_expired(Filter::Exclude)
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

/// Whether records in some state are part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// No.
    Exclude,
    /// Yes, beside the others.
    Include,
    /// Yes, and no others.
    Only,
}

/// What records are ordered by; among equal ones the id decides, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    /// The id, compared as bytes.
    Id,
    /// The token, compared as bytes.
    Token,
    /// The time of creation.
    CreatedAt,
    /// The time of change.
    UpdatedAt,
    /// The time of expiry; never is later than every time.
    ExpiresAt,
}

/// Which way an order runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortOrder {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// Whether envelopes are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelopes {
    /// They come with their records.
    Loaded,
    /// Only their lengths come: [`EnvelopeText::not_loaded`](crate::record::EnvelopeText::not_loaded).
    LengthOnly,
}

/// The place of a record in an order, whether or not it is still there.
///
/// Positions of one order compare as their records ascend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// What the order looks at first.
    pub rank: SortValue,
    /// What decides among equals.
    pub id: RecordId,
}

/// What an order looks at first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortValue {
    /// Nothing but the id.
    Id,
    /// The token.
    Token(Token),
    /// A time.
    Time(Timestamp),
    /// A time that never comes: later than every [`SortValue::Time`].
    Never,
}

/// Every record that is not soft-deleted, as [`Query::new`].
impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

impl Query {
    /// Every record that is not soft-deleted, expired ones included, by id, with envelopes: at most 1,000 records or 8 MiB
    /// at a time.
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

    /// Every record, soft-deleted and expired ones included; else as [`Query::new`].
    #[must_use]
    pub fn all() -> Self {
        Self::new().with_soft_deleted(Filter::Include)
    }

    /// Only records with one of these ids; none for no ids.
    #[must_use]
    pub fn id_in(mut self, ids: impl IntoIterator<Item = RecordId>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// Only records with one of these tokens; none for no tokens.
    #[must_use]
    pub fn token_in(mut self, tokens: impl IntoIterator<Item = Token>) -> Self {
        self.tokens = Some(tokens.into_iter().collect());
        self
    }

    /// Whether soft-deleted records are part of the answer.
    #[must_use]
    pub fn with_soft_deleted(mut self, include: Filter) -> Self {
        self.soft_deleted = include;
        self
    }

    /// Whether expired records are part of the answer.
    #[must_use]
    pub fn with_expired(mut self, include: Filter) -> Self {
        self.expired = include;
        self
    }

    /// The order of the answer. A place to go on from is given after this, since it belongs to an order.
    #[must_use]
    pub fn order_by(mut self, order: SortKey, direction: SortOrder) -> Self {
        (self.order, self.direction, self.after) = (order, direction, None);
        self
    }

    /// Goes on after this record of an earlier answer (keyset paging): no record is skipped or repeated because others
    /// came or went meanwhile, and a late page costs no more than the first.
    #[must_use]
    pub fn after(mut self, record: &impl HasCursor) -> Self {
        self.after = Some(record.position(self.order));
        self
    }

    /// Goes on after this id; the order becomes that of the ids, and its direction stays.
    #[must_use]
    pub fn after_id(mut self, id: RecordId) -> Self {
        (self.order, self.after) = (SortKey::Id, Some(Cursor { rank: SortValue::Id, id }));
        self
    }

    /// Leaves out so many records of the answer, which the store reads nevertheless; [`after`](Self::after) does not.
    #[must_use]
    pub fn offset(mut self, records: u64) -> Self {
        self.offset = records;
        self
    }

    /// At most so many records at a time; 0 is 1.
    #[must_use]
    pub fn limit(mut self, records: usize) -> Self {
        self.limit.records = NonZeroUsize::new(records).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// At most so many records and bytes of envelopes at a time.
    #[must_use]
    pub fn page(mut self, limit: PageLimit) -> Self {
        self.limit = limit;
        self
    }

    /// Loads no envelopes, only their lengths.
    #[must_use]
    pub fn without_envelopes(mut self) -> Self {
        self.envelopes = Envelopes::LengthOnly;
        self
    }
}

/// What was asked, for stores.
impl Query {
    /// The ids that are wanted; `None` is any.
    #[must_use]
    pub fn ids(&self) -> Option<&BTreeSet<RecordId>> {
        self.ids.as_ref()
    }

    /// The tokens that are wanted; `None` is any.
    #[must_use]
    pub fn tokens(&self) -> Option<&BTreeSet<Token>> {
        self.tokens.as_ref()
    }

    /// Whether soft-deleted records are part of the answer.
    #[must_use]
    pub fn soft_deleted(&self) -> Filter {
        self.soft_deleted
    }

    /// Whether expired records are part of the answer.
    #[must_use]
    pub fn expired(&self) -> Filter {
        self.expired
    }

    /// What the answer is ordered by.
    #[must_use]
    pub fn order(&self) -> SortKey {
        self.order
    }

    /// Which way the order runs.
    #[must_use]
    pub fn direction(&self) -> SortOrder {
        self.direction
    }

    /// The place to go on from; its rank is one of [`order`](Self::order).
    #[must_use]
    pub fn position(&self) -> Option<&Cursor> {
        self.after.as_ref()
    }

    /// How many records are left out first.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.offset
    }

    /// How much the answer has at most.
    #[must_use]
    pub fn page_limit(&self) -> PageLimit {
        self.limit
    }

    /// Whether envelopes are loaded.
    #[must_use]
    pub fn envelopes(&self) -> Envelopes {
        self.envelopes
    }

    /// Whether every record is wanted, so that counting needs no look at any.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.ids.is_none()
            && self.tokens.is_none()
            && (self.soft_deleted, self.expired) == (Filter::Include, Filter::Include)
    }

    /// Whether the filters let this record through; places and limits are another matter.
    #[must_use]
    pub fn matches(&self, record: &Record, now: Timestamp) -> bool {
        self.soft_deleted.lets(record.is_soft_deleted(now))
            && self.expired.lets(record.is_expired(now))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && self.tokens.as_ref().is_none_or(|tokens| tokens.contains(&record.token))
    }

    /// Whether a record at this place comes after the place to go on from.
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

/// What has a place in every order.
pub trait HasCursor {
    /// Its place.
    fn position(&self, order: SortKey) -> Cursor;
}

impl HasCursor for Record {
    fn position(&self, order: SortKey) -> Cursor {
        let times = (self.created_at, self.updated_at, self.expires_at);
        Cursor::new(order, &self.id, &self.token, times)
    }
}

impl Cursor {
    /// The place of what has this id, this token, and these times of creation, change and expiry.
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
            SortKey::ExpiresAt => expires_at.map_or(SortValue::Never, SortValue::Time),
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
