//! Questions to a vault: which records, in what order, and how much of them.

use std::{collections::BTreeSet, num::NonZeroUsize};

use crate::{PageLimit, Record, RecordId, Timestamp, Token};

/// How many records an answer has at most, unless the query says otherwise.
const RECORDS: usize = 1000;

/// How many bytes of envelopes an answer has at most, unless the query says otherwise.
const BYTES: usize = 8 * 1024 * 1024;

/// Which records, in what order, and how much of them.
///
/// ```
/// use vault_core::{Direction, Include, OrderBy, Query};
///
/// let newest = Query::new()
///     .with_expired(Include::No)
///     .order_by(OrderBy::CreatedAt, Direction::Descending)
///     .limit(20);
/// # assert_eq!(newest.page_limit().records.get(), 20);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    ids: Option<BTreeSet<RecordId>>,
    tokens: Option<BTreeSet<Token>>,
    soft_deleted: Include,
    expired: Include,
    order: OrderBy,
    direction: Direction,
    after: Option<Position>,
    offset: u64,
    limit: PageLimit,
    envelopes: Envelopes,
}

/// Whether records in some state are part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    /// No.
    No,
    /// Yes, beside the others.
    Yes,
    /// Yes, and no others.
    Only,
}

/// What records are ordered by; among equal ones the id decides, in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderBy {
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
pub enum Direction {
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
    /// Only their lengths come: [`EnvelopeText::not_loaded`](crate::EnvelopeText::not_loaded).
    LengthOnly,
}

/// The place of a record in an order, whether or not it is still there.
///
/// Positions of one order compare as their records ascend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// What the order looks at first.
    pub key: SortKey,
    /// What decides among equals.
    pub id: RecordId,
}

/// What an order looks at first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortKey {
    /// Nothing but the id.
    Id,
    /// The token.
    Token(Token),
    /// A time.
    Time(Timestamp),
    /// A time that never comes: later than every [`SortKey::Time`].
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
            soft_deleted: Include::No,
            expired: Include::Yes,
            order: OrderBy::Id,
            direction: Direction::Ascending,
            after: None,
            offset: 0,
            limit: PageLimit::new(RECORDS, BYTES),
            envelopes: Envelopes::Loaded,
        }
    }

    /// Every record, soft-deleted and expired ones included; else as [`Query::new`].
    #[must_use]
    pub fn all() -> Self {
        Self::new().with_soft_deleted(Include::Yes)
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
    pub fn with_soft_deleted(mut self, include: Include) -> Self {
        self.soft_deleted = include;
        self
    }

    /// Whether expired records are part of the answer.
    #[must_use]
    pub fn with_expired(mut self, include: Include) -> Self {
        self.expired = include;
        self
    }

    /// The order of the answer. A place to go on from is given after this, since it belongs to an order.
    #[must_use]
    pub fn order_by(mut self, order: OrderBy, direction: Direction) -> Self {
        (self.order, self.direction, self.after) = (order, direction, None);
        self
    }

    /// Goes on after this record of an earlier answer (keyset paging): no record is skipped or repeated because others
    /// came or went meanwhile, and a late page costs no more than the first.
    #[must_use]
    pub fn after(mut self, record: &impl Ordered) -> Self {
        self.after = Some(record.position(self.order));
        self
    }

    /// Goes on after this id; the order becomes that of the ids, and its direction stays.
    #[must_use]
    pub fn after_id(mut self, id: RecordId) -> Self {
        (self.order, self.after) = (OrderBy::Id, Some(Position { key: SortKey::Id, id }));
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
    pub fn soft_deleted(&self) -> Include {
        self.soft_deleted
    }

    /// Whether expired records are part of the answer.
    #[must_use]
    pub fn expired(&self) -> Include {
        self.expired
    }

    /// What the answer is ordered by.
    #[must_use]
    pub fn order(&self) -> OrderBy {
        self.order
    }

    /// Which way the order runs.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The place to go on from; its key is one of [`order`](Self::order).
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
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
            && (self.soft_deleted, self.expired) == (Include::Yes, Include::Yes)
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
    pub fn is_ahead(&self, position: &Position) -> bool {
        self.after.as_ref().is_none_or(|after| match self.direction {
            Direction::Ascending => position > after,
            Direction::Descending => position < after,
        })
    }
}

impl Include {
    fn lets(self, is_so: bool) -> bool {
        match self {
            Self::No => !is_so,
            Self::Yes => true,
            Self::Only => is_so,
        }
    }
}

/// What has a place in every order.
pub trait Ordered {
    /// Its place.
    fn position(&self, order: OrderBy) -> Position;
}

impl Ordered for Record {
    fn position(&self, order: OrderBy) -> Position {
        let times = (self.created_at, self.updated_at, self.expires_at);
        Position::new(order, &self.id, &self.token, times)
    }
}

impl Position {
    /// The place of what has this id, this token, and these times of creation, change and expiry.
    pub(crate) fn new(
        order: OrderBy,
        id: &RecordId,
        token: &Token,
        (created_at, updated_at, expires_at): (Timestamp, Timestamp, Option<Timestamp>),
    ) -> Self {
        let key = match order {
            OrderBy::Id => SortKey::Id,
            OrderBy::Token => SortKey::Token(token.clone()),
            OrderBy::CreatedAt => SortKey::Time(created_at),
            OrderBy::UpdatedAt => SortKey::Time(updated_at),
            OrderBy::ExpiresAt => expires_at.map_or(SortKey::Never, SortKey::Time),
        };
        Self { key, id: id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: SortKey, id: &str) -> Position {
        Position { key, id: RecordId::from_stored(id) }
    }

    #[test]
    fn never_is_later_than_every_time_and_the_id_decides_among_equals() {
        let time = |micros| SortKey::Time(Timestamp::from_micros(micros));
        assert!(at(time(1), "b") < at(time(2), "a"));
        assert!(at(time(2), "a") < at(time(2), "b"));
        assert!(at(SortKey::Time(Timestamp::MAX), "b") < at(SortKey::Never, "a"));
    }

    #[test]
    fn another_order_forgets_the_place() {
        let query = Query::new().after_id(RecordId::from_stored("a"));
        assert!(query.position().is_some());
        let query = query.order_by(OrderBy::Token, Direction::Descending);
        assert_eq!(query.position(), None);
    }

    #[test]
    fn a_limit_of_zero_is_one() {
        assert_eq!(Query::new().limit(0).page_limit().records, NonZeroUsize::MIN);
    }
}
