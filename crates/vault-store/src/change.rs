//! Changes to records, and their outcomes.

use crate::record::{EnvelopeText, Record, RecordId};
use crate::time::Timestamp;

/// One compare-and-swap of a batch: writes `new` only if the record still holds `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The record.
    pub id: RecordId,
    /// The envelope that was read.
    pub expected: EnvelopeText,
    /// The envelope to store instead.
    pub new: EnvelopeText,
}

/// The outcome of a compare-and-swap.
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The new state is stored and durable.
    Applied,
    /// The record no longer meets the preconditions and was left unchanged.
    Conflict,
    /// The record does not exist.
    Missing,
}

/// The outcome of inserting a record.
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertOutcome {
    /// Stored and durable.
    Inserted,
    /// Another record, possibly a soft-deleted one, has this token.
    TokenTaken,
    /// Another record has this id.
    IdTaken,
}

/// What to do with expired records.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Soft-delete them; they keep their tokens.
    SoftDelete,
    /// Delete them permanently.
    Delete,
}

impl Purge {
    /// Returns whether this purge takes a record with these times, according to
    /// [`Timestamp::has_come`]. Every removal of expired records is decided here.
    #[must_use]
    pub fn takes(
        self,
        expires_at: Option<Timestamp>,
        soft_deleted_at: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        Timestamp::has_come(expires_at, now)
            && (self == Self::Delete || !Timestamp::has_come(soft_deleted_at, now))
    }
}

/// The outcome of deleting a record.
///
/// Exhaustive on purpose: a caller has to handle each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The record was deleted.
    Deleted,
    /// The record did not exist.
    Missing,
}

/// Whether writing a setting may overwrite one.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSetting {
    /// Write unconditionally.
    Always,
    /// Write only if the setting does not exist, so that two processes that open a new vault agree.
    IfAbsent,
}

/// A change to an optional field of a record, such as its time of expiry.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Leaves the field unchanged.
    #[default]
    Keep,
    /// Sets the field.
    Set(T),
    /// Clears the field.
    Clear,
}

impl<T> Change<T> {
    /// Returns the value after the change.
    #[must_use]
    pub fn apply(self, stored: Option<T>) -> Option<T> {
        match self {
            Self::Keep => stored,
            Self::Set(value) => Some(value),
            Self::Clear => None,
        }
    }

    /// Returns whether the field stays unchanged.
    #[must_use]
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T> From<Option<T>> for Change<T> {
    /// [`Set`](Self::Set) for `Some`, [`Clear`](Self::Clear) for `None`.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Clear, Self::Set)
    }
}

/// A condition on an optional field of a record.
///
/// Exhaustive on purpose: a backend has to handle each variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected<T> {
    /// Any value, or none.
    #[default]
    Any,
    /// Exactly this value.
    Is(T),
    /// No value.
    Unset,
}

impl<T: PartialEq> Expected<T> {
    /// Returns whether a stored value meets the condition.
    #[must_use]
    pub fn matches(&self, stored: &Option<T>) -> bool {
        match self {
            Self::Any => true,
            Self::Is(value) => stored.as_ref() == Some(value),
            Self::Unset => stored.is_none(),
        }
    }

    /// Returns the required value, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<T>
    where
        T: Copy,
    {
        match self {
            Self::Is(value) => Some(*value),
            Self::Any | Self::Unset => None,
        }
    }

    /// Returns whether there is no condition.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

impl<T> From<Option<T>> for Expected<T> {
    /// [`Is`](Self::Is) for `Some`, [`Unset`](Self::Unset) for `None`.
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unset, Self::Is)
    }
}

/// The condition under which an update applies. The default is no condition.
///
/// The fields are public because a backend has to check each of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// The record still holds this envelope.
    pub envelope: Option<EnvelopeText>,
    /// Its time of expiry is still this one.
    pub expires_at: Expected<Timestamp>,
    /// Its time of soft deletion is still this one.
    pub soft_deleted_at: Expected<Timestamp>,
}

impl Precondition {
    /// Requires that the times of expiry and soft deletion are still those of `record`.
    #[must_use]
    pub fn times_of(record: &Record) -> Self {
        Self {
            envelope: None,
            expires_at: record.expires_at.into(),
            soft_deleted_at: record.soft_deleted_at.into(),
        }
    }

    /// Requires that the record still holds this envelope.
    #[must_use]
    pub fn envelope(mut self, envelope: EnvelopeText) -> Self {
        self.envelope = Some(envelope);
        self
    }

    /// Requires this time of expiry; `None` means never.
    #[must_use]
    pub fn expires_at(mut self, expected: impl Into<Expected<Timestamp>>) -> Self {
        self.expires_at = expected.into();
        self
    }

    /// Requires this time of soft deletion; `None` means that the record is not soft-deleted.
    #[must_use]
    pub fn soft_deleted_at(mut self, expected: impl Into<Expected<Timestamp>>) -> Self {
        self.soft_deleted_at = expected.into();
        self
    }

    /// Returns whether a record meets the condition.
    #[must_use]
    pub fn holds_for(&self, record: &Record) -> bool {
        self.envelope.as_ref().is_none_or(|expected| record.envelope == *expected)
            && self.times_hold_for(record)
    }

    /// Returns whether the times of a record meet the condition.
    #[must_use]
    pub fn times_hold_for(&self, record: &Record) -> bool {
        self.times_match(record.expires_at, record.soft_deleted_at)
    }

    /// Returns whether these times of expiry and soft deletion meet the condition. All times that
    /// mean never ([`Timestamp::as_end`]) are the same.
    #[must_use]
    pub fn times_match(
        &self,
        expires_at: Option<Timestamp>,
        soft_deleted_at: Option<Timestamp>,
    ) -> bool {
        let end = |time: Option<Timestamp>| time.and_then(Timestamp::as_end);
        let fits = |expected: &Expected<Timestamp>, stored| {
            expected.is_any() || end(expected.value()) == end(stored)
        };
        fits(&self.expires_at, expires_at) && fits(&self.soft_deleted_at, soft_deleted_at)
    }

    /// Returns whether there is a condition on the record's times.
    #[must_use]
    pub fn names_times(&self) -> bool {
        !(self.expires_at.is_any() && self.soft_deleted_at.is_any())
    }
}

/// A conditional change to one record. What it does not name stays unchanged.
///
/// ```
/// use vault_store::{Change, RecordId, RecordUpdate};
///
/// // From now on, the record never expires.
/// let update = RecordUpdate::of(RecordId::from_stored("a")).expires_at(None);
/// assert_eq!(update.expires_at, Change::Clear);
/// assert_eq!(update.soft_deleted_at, Change::Keep);
/// ```
///
/// The fields are public because a backend has to honour each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordUpdate {
    /// The record.
    pub id: RecordId,
    /// The condition under which the update applies.
    pub if_matches: Precondition,
    /// The new envelope.
    pub envelope: Option<EnvelopeText>,
    /// The new time of modification.
    pub updated_at: Option<Timestamp>,
    /// The new time of expiry; [`Clear`](Change::Clear) means never.
    pub expires_at: Change<Timestamp>,
    /// The new time of soft deletion; [`Clear`](Change::Clear) restores the record.
    pub soft_deleted_at: Change<Timestamp>,
}

impl RecordUpdate {
    /// An update that changes nothing, to be filled in by the methods below.
    #[must_use]
    pub fn of(id: RecordId) -> Self {
        Self {
            id,
            if_matches: Precondition::default(),
            envelope: None,
            updated_at: None,
            expires_at: Change::Keep,
            soft_deleted_at: Change::Keep,
        }
    }

    /// Replaces the envelope.
    #[must_use]
    pub fn envelope(mut self, envelope: EnvelopeText) -> Self {
        self.envelope = Some(envelope);
        self
    }

    /// Sets the time of modification.
    #[must_use]
    pub fn updated_at(mut self, time: Timestamp) -> Self {
        self.updated_at = Some(time);
        self
    }

    /// Changes the time of expiry; `None` means never.
    #[must_use]
    pub fn expires_at(mut self, change: impl Into<Change<Timestamp>>) -> Self {
        self.expires_at = change.into();
        self
    }

    /// Changes the time of soft deletion; `None` restores the record.
    #[must_use]
    pub fn soft_deleted_at(mut self, change: impl Into<Change<Timestamp>>) -> Self {
        self.soft_deleted_at = change.into();
        self
    }

    /// Applies the update only if the record meets this condition.
    #[must_use]
    pub fn if_matches(mut self, precondition: Precondition) -> Self {
        self.if_matches = precondition;
        self
    }

    /// Applies the update only if the times of expiry and soft deletion are still those of
    /// `record`. A condition on the envelope stays.
    #[must_use]
    pub fn if_times_match(mut self, record: &Record) -> Self {
        self.if_matches =
            Precondition { envelope: self.if_matches.envelope, ..Precondition::times_of(record) };
        self
    }
}
