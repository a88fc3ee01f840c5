//! Changes to records and what became of them.

use crate::record::{EnvelopeText, Record, RecordId};
use crate::time::Timestamp;

/// One compare-and-swap of a batch: write `sealed` only if the record still holds `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The record.
    pub id: RecordId,
    /// The envelope that was read.
    pub expected: EnvelopeText,
    /// The envelope to store instead.
    pub sealed: EnvelopeText,
}

/// What became of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The new state is stored and durable.
    Applied,
    /// The record is not as expected any more and was left as it is.
    Conflict,
    /// There is no such record.
    Missing,
}

/// What became of a record to insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertOutcome {
    /// Stored and durable.
    Inserted,
    /// Another record, perhaps a soft-deleted one, has this token.
    TokenTaken,
    /// Another record has this id.
    IdTaken,
}

/// What is done to expired records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// They are hidden, and keep their tokens.
    SoftDelete,
    /// They are removed for good.
    Delete,
}

/// What became of a record to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// Gone.
    Deleted,
    /// It was not there.
    Missing,
}

/// Whether writing a setting may overwrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSetting {
    /// Write, whatever is there.
    Always,
    /// Write only when the setting does not exist, so that two processes that open a new vault agree.
    IfAbsent,
}

/// A change to one record; what is `None` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordUpdate {
    /// The record.
    pub id: RecordId,
    /// Change it only if it still holds this envelope.
    pub expected: Option<EnvelopeText>,
    /// Change it only if it still expires then; `Some(None)` is never.
    pub expected_expires_at: Option<Option<Timestamp>>,
    /// Change it only if it still is soft-deleted from then on; `Some(None)` is not at all.
    pub expected_soft_deleted_at: Option<Option<Timestamp>>,
    /// The new envelope.
    pub envelope: Option<EnvelopeText>,
    /// The new time of change.
    pub updated_at: Option<Timestamp>,
    /// The new time of expiry; `Some(None)` is never.
    pub expires_at: Option<Option<Timestamp>>,
    /// The new time of soft deletion; `Some(None)` restores the record.
    pub soft_deleted_at: Option<Option<Timestamp>>,
}

impl RecordUpdate {
    /// A change of nothing, to be filled in.
    #[must_use]
    pub fn of(id: RecordId) -> Self {
        Self {
            id,
            expected: None,
            expected_expires_at: None,
            expected_soft_deleted_at: None,
            envelope: None,
            updated_at: None,
            expires_at: None,
            soft_deleted_at: None,
        }
    }

    /// Lets the change be made only if the record still expires, and is soft-deleted, when it was as it was read.
    #[must_use]
    pub fn if_times_match(mut self, record: &Record) -> Self {
        self.expected_expires_at = Some(record.expires_at);
        self.expected_soft_deleted_at = Some(record.soft_deleted_at);
        self
    }

    /// Whether a record still is as the change expects it, its envelope aside.
    #[must_use]
    pub fn expects_times_of(&self, record: &Record) -> bool {
        self.expected_expires_at.is_none_or(|expected| record.expires_at == expected)
            && self
                .expected_soft_deleted_at
                .is_none_or(|expected| record.soft_deleted_at == expected)
    }
}
