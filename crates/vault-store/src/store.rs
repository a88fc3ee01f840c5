//! The contract of a store.
//!
//! A backend implements these traits and sees ids, tokens, times and envelope text; the signatures cannot carry a key
//! or a plaintext. Each sentence of the contract is a case of the `vault-conformance` suite, which runs on any
//! backend with one line.

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;

use crate::change::{
    DeleteOutcome, InsertOutcome, Purge, PutSetting, RecordUpdate, Replacement, WriteOutcome,
};
use crate::error::StoreError;
use crate::page::PageLimit;
use crate::query::Query;
use crate::record::{Record, RecordId, SealedRecord};
use crate::time::Timestamp;
use crate::token::Token;
use crate::write_count::WriteCount;
use crate::write_hook::WriteHook;

/// Reads the vault page by page.
///
/// # Contract
/// - Pages ascend strictly by id, compared as bytes.
/// - `after` is exclusive.
/// - A record present during the whole scan comes exactly once.
/// - `limit` is a maximum, in records and in bytes; a single record beyond the bytes comes alone.
/// - An empty page means that nothing follows.
/// - Soft-deleted and expired records are part of the scan.
/// - An envelope longer than [`MAX_ENVELOPE_LEN`](crate::record::MAX_ENVELOPE_LEN) comes as [`too_long`](crate::record::EnvelopeText::too_long).
/// - Each record comes with its token as it is stored: what is no text comes as some text, since a token that was changed
///   is found by its envelope, which is bound to it.
/// - The store never looks into an envelope.
/// - Each page is a read of its own: no snapshot is held between two pages.
#[async_trait]
pub trait RecordSource: Send + Sync {
    /// The next records after an id, or the first ones.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError>;

    /// The records with these ids as they are now: one answer per id, in order; `None` is gone.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed.
    async fn read_records(&self, ids: &[RecordId])
    -> Result<Vec<Option<SealedRecord>>, StoreError>;
}

/// Replaces envelopes, and nothing else.
///
/// # Contract
/// - A batch is all or nothing on error (after [`UnknownOutcome`](crate::error::StoreErrorKind::UnknownOutcome): all or nothing, but nobody knows which).
/// - One outcome per replacement, in order.
/// - `Applied` is durable when the future resolves.
/// - `Conflict` leaves the record untouched.
/// - Only the envelope changes: no timestamp and no other column.
/// - Dropping the future commits the whole batch or nothing.
#[async_trait]
pub trait RecordSink: Send + Sync {
    /// Writes each replacement whose record still holds the expected envelope. No id comes twice in a batch.
    ///
    /// # Errors
    /// [`StoreError`]; its kind tells whether trying again can help.
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError>;
}

/// What the token API needs beside reading pages and replacing envelopes.
///
/// # Contract
/// - Every operation is atomic and, once its future resolves, durable.
/// - A token belongs to one record at a time, soft-deleted and expired ones included.
/// - Dropping a future leaves the operation done or not done, never half.
/// - What the store cannot hold (a NUL, bytes that are no text, an envelope that was too long to load) is refused as
///   [`Unsupported`](crate::error::StoreErrorKind::Unsupported); ids, tokens and setting names of up to 255 bytes of UTF-8
///   without NUL, and envelopes up to [`MAX_ENVELOPE_LEN`](crate::record::MAX_ENVELOPE_LEN), are always held.
#[async_trait]
pub trait VaultStore: RecordSource + RecordSink {
    /// Adds records in one atomic step: one outcome per record, in order. A record whose token or id is taken (also
    /// by an earlier one of the same call) is left out; the others go in. On error none goes in. Where both are
    /// taken, the outcome is `IdTaken`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError>;

    /// The records with these tokens, soft-deleted and expired ones included: one answer per token, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError>;

    /// The records that match a query, each once, in its order. Whether a record is soft-deleted or expired is judged at
    /// `now`: from the very moment on. Positions compare strictly: the one to go on from is exclusive, whether or not its
    /// record is still there. The offset is counted from there. The limit is a maximum in records and in bytes of loaded
    /// envelopes, except that the first record always comes. An empty answer means that nothing follows.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError>;

    /// How many records the filters of a query let through; its position, offset and limit count for nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError>;

    /// Changes one record if it still is as expected: envelope, time of expiry and time of soft deletion, each where the
    /// change names one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError>;

    /// Removes one record for good, and frees its token.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError>;

    /// Removes or hides records that are expired at `now`, in one atomic step: the first ones in id order after an id, at
    /// most `limit`. The answer is their ids, ascending; an empty one means that none follows. A record that is not
    /// expired any more when it is its turn is left alone.
    ///
    /// [`Purge::Delete`] takes soft-deleted records as well and frees the tokens. [`Purge::SoftDelete`] leaves them as
    /// they are, and sets the times of soft deletion and of change of the others to `now`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError>;

    /// The value of a setting.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// All settings in the order of their names, compared as bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Writes a setting and returns what is stored now: with [`PutSetting::IfAbsent`], possibly somebody else's value.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError>;

    /// Whole records in id order after an id, soft-deleted and expired ones included, bounded as in
    /// [`RecordSource::read_page`]: a query, unless a store has a shorter way.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, StoreError> {
        let page = Query::all().page(limit);
        let page = match after {
            Some(id) => page.after_id(id.clone()),
            None => page,
        };
        self.query(&page, Timestamp::MAX).await
    }

    /// How many records there are, soft-deleted and expired ones included: a query, unless a store has a shorter way.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count(&self) -> Result<u64, StoreError> {
        self.count_matching(&Query::all(), Timestamp::MAX).await
    }

    /// How many writes there were so far; `None` where the store cannot tell, which is the default, or while one is under
    /// way. A rekey that sees that nobody else wrote meanwhile has nothing to catch up with; without a count it reads the
    /// vault once more.
    ///
    /// Between two counts that [differ only](WriteCount::advanced_only_by) by some batches, nothing but those batches has
    /// changed a record: every other write through this store, be it dropped half-way or refused, counts as one at least,
    /// and what others do to the same database makes `external` another number. [`WriteCounter`](crate::write_count::WriteCounter) counts the
    /// former.
    ///
    /// # Errors
    /// [`StoreError`]; the caller knows as little as from `None`.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        Ok(None)
    }

    /// The triggers and rules of the database that act when [`swap_batch`](RecordSink::swap_batch) replaces an envelope;
    /// none where the store has nothing of the kind, which is the default. A rekey names them before its first write.
    ///
    /// Whether or not there are any, what is [`Applied`](WriteOutcome::Applied) is stored as it was sent: a store that has
    /// them reads what they have made of a record before it commits, and answers with
    /// [`Unsupported`](crate::error::StoreErrorKind::Unsupported) where that is something else.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        Ok(Vec::new())
    }

    /// Waits for the calls that still run and gives back what the store holds: connections, locks, logs beside the
    /// file. Whatever is called later may be refused as [`Stopped`](crate::error::StoreErrorKind::Stopped).
    ///
    /// A store that is dropped instead does the same in its own time, which a process that ends may not have. The default
    /// does nothing.
    async fn close(&self) {}
}

// A shared store is a store: `Vault::new` takes either.

#[async_trait]
impl<S: RecordSource + ?Sized> RecordSource for Arc<S> {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        (**self).read_page(after, limit).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        (**self).read_records(ids).await
    }
}

#[async_trait]
impl<S: RecordSink + ?Sized> RecordSink for Arc<S> {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        (**self).swap_batch(batch).await
    }
}

#[async_trait]
impl<S: VaultStore + ?Sized> VaultStore for Arc<S> {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        (**self).insert(records).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        (**self).find(tokens).await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Vec<Record>, StoreError> {
        (**self).query(query, now).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        (**self).count_matching(query, now).await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        (**self).update(change).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        (**self).delete(id).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        (**self).purge_expired(purge, now, after, limit).await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Vec<Record>, StoreError> {
        (**self).list(after, limit).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        (**self).count().await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        (**self).setting(name).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        (**self).settings().await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        (**self).put_setting(name, value, put).await
    }

    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        (**self).write_count().await
    }

    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        (**self).write_hooks().await
    }

    async fn close(&self) {
        (**self).close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_limit_of_zero_is_one() {
        assert_eq!(PageLimit::new(0, 0), PageLimit::new(1, 1));
    }
}
