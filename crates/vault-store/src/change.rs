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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Soft-delete them; they keep their tokens.
    SoftDelete,
    /// Delete them permanently.
    Delete,
}

/// The outcome of deleting a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The record was deleted.
    Deleted,
    /// The record did not exist.
    Missing,
}

/// Whether writing a setting may overwrite one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSetting {
    /// Write unconditionally.
    Always,
    /// Write only if the setting does not exist, so that two processes that open a new vault agree.
    IfAbsent,
}

/// A conditional change to one record. Fields that are `None` stay unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordUpdate {
    /// The record.
    pub id: RecordId,
    /// Apply only if the record still holds this envelope.
    pub expected: Option<EnvelopeText>,
    /// Apply only if this is still its time of expiry; `Some(None)` means never.
    pub expected_expires_at: Option<Option<Timestamp>>,
    /// Apply only if this is still its time of soft deletion; `Some(None)` means that it is not
    /// soft-deleted.
    pub expected_soft_deleted_at: Option<Option<Timestamp>>,
    /// The new envelope.
    pub envelope: Option<EnvelopeText>,
    /// The new time of modification.
    pub updated_at: Option<Timestamp>,
    /// The new time of expiry; `Some(None)` means never.
    pub expires_at: Option<Option<Timestamp>>,
    /// The new time of soft deletion; `Some(None)` restores the record.
    pub soft_deleted_at: Option<Option<Timestamp>>,
}

impl RecordUpdate {
    /// An update that changes nothing, to be filled in.
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

    /// Requires that the times of expiry and soft deletion are still those of `record`.
    #[must_use]
    pub fn if_times_match(mut self, record: &Record) -> Self {
        self.expected_expires_at = Some(record.expires_at);
        self.expected_soft_deleted_at = Some(record.soft_deleted_at);
        self
    }

    /// Returns whether a record still has the expected times of expiry and soft deletion.
    #[must_use]
    pub fn expects_times_of(&self, record: &Record) -> bool {
        self.expected_expires_at.is_none_or(|expected| record.expires_at == expected)
            && self
                .expected_soft_deleted_at
                .is_none_or(|expected| record.soft_deleted_at == expected)
    }
}
