//! The contract of a store.
//!
//! A backend implements these traits and sees ids, tokens, times and envelope text; the signatures
//! cannot carry a key or a plaintext. The `vault-conformance` suite has a case for each sentence of
//! the contract and runs on any backend.

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;

use crate::change::{
    DeleteOutcome, InsertOutcome, Purge, PutSetting, RecordUpdate, Replacement, WriteOutcome,
};
use crate::error::{StoreError, StoreErrorKind};
use crate::head::RecordHead;
use crate::identities::{PasswordIdentities, PurgedIdentities};
use crate::page::{Page, PageLimit};
use crate::query::Query;
use crate::record::{Record, RecordId, SealedRecord};
use crate::scrub::{ScrubOptions, ScrubReport};
use crate::time::Timestamp;
use crate::token::Token;
use crate::trace::Trace;
use crate::write_count::WriteCount;
use crate::write_hook::WriteHook;

/// Reads the vault page by page.
///
/// # Contract
/// - Pages are in strictly ascending order of the ids, compared as bytes.
/// - `after` is exclusive.
/// - A record that is present during the whole scan is returned exactly once.
/// - `limit` bounds the page in records and bytes; ids and tokens count as bytes, like envelopes. A
///   record larger than the byte limit is returned alone.
/// - A page without records means that no records follow.
/// - An unreadable row (its id is not text, or its id or token is longer than
///   [`MAX_KEY_LEN`](crate::MAX_KEY_LEN) and therefore never loaded) is not a record and hides
///   none: a page lists those before its last record in [`unreadable`](Page::unreadable), each with
///   its position. A page without records lists all that follow.
/// - Soft-deleted and expired records are part of the scan.
/// - An envelope longer than [`MAX_ENVELOPE_LEN`](crate::record::MAX_ENVELOPE_LEN) is returned as
///   [`too_long`](crate::record::EnvelopeText::too_long).
/// - Each record includes its token as stored. A token that is not text is returned as some text: a
///   token that was modified is detected through its envelope, which authenticates it.
/// - The store never interprets an envelope.
/// - Each page is a separate read: no snapshot is held between two pages.
#[async_trait]
pub trait RecordSource: Send + Sync {
    /// Returns the records after `after`, or the first page if `None`.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing was changed.
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError>;

    /// Returns the current records with these ids: one entry per id, in order. `None` means that
    /// the record is gone.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing was changed.
    async fn read_records(&self, ids: &[RecordId])
    -> Result<Vec<Option<SealedRecord>>, StoreError>;

    /// Returns of the records after `after` only the ids and the
    /// [heads](crate::head::EnvelopeHead) of their envelopes, so that nothing else needs to be
    /// loaded. What is said of a page holds, with these differences:
    ///
    /// - Of a record, the bytes of its id and its head count. If they are more than the byte limit,
    ///   it is returned alone.
    /// - The head of an envelope longer than
    ///   [`MAX_ENVELOPE_LEN`](crate::record::MAX_ENVELOPE_LEN) is empty.
    /// - A head and its length are of one version of the envelope: the current one.
    ///
    /// The default reads whole records.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing was changed.
    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        Ok(self.read_page(after, limit).await?.map(RecordHead::from))
    }
}

/// Replaces envelopes, and nothing else.
///
/// # Contract
/// - A batch is atomic: on error, no record was changed. After
///   [`UnknownOutcome`](crate::error::StoreErrorKind::UnknownOutcome), either all or none were.
/// - There is one outcome per replacement, in order.
/// - `Applied` is durable when the future resolves.
/// - `Conflict` leaves the record untouched.
/// - Only the envelope changes: no timestamp and no other column.
/// - Dropping the future commits the whole batch or nothing.
#[async_trait]
pub trait RecordSink: Send + Sync {
    /// Writes each replacement whose record still holds the expected envelope. An id occurs at most
    /// once in a batch.
    ///
    /// # Errors
    /// [`StoreError`]. Its kind says whether a retry can help.
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError>;
}

/// The rest of what the token API needs from a store.
///
/// # Contract
/// - Every operation is atomic and, once its future resolves, durable.
/// - A token belongs to one record at a time, including soft-deleted and expired records.
/// - Dropping a future leaves the operation either done or not done, never half done.
/// - A store refuses what it cannot hold (a NUL, bytes that are not text, an envelope that was too
///   long to load) as [`Unsupported`](crate::error::StoreErrorKind::Unsupported). Every store holds
///   ids, tokens and setting names of up to 255 bytes of UTF-8 without NUL, and envelopes up to
///   [`MAX_ENVELOPE_LEN`](crate::record::MAX_ENVELOPE_LEN).
/// - What would not be read again is refused in the same way: ids, tokens and setting names over
///   [`MAX_KEY_LEN`](crate::MAX_KEY_LEN), values of settings over
///   [`MAX_SETTING_LEN`](crate::MAX_SETTING_LEN), and settings beyond the number of
///   [`MAX_SETTINGS`](crate::MAX_SETTINGS).
#[async_trait]
pub trait VaultStore: RecordSource + RecordSink {
    /// Adds records in one atomic step and returns one outcome per record, in order. A record whose
    /// token or id is taken (possibly by an earlier record of the same call) is skipped; the others
    /// are stored. On error, none is. If both are taken, the outcome is `IdTaken`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError>;

    /// Returns the records with these tokens, including soft-deleted and expired ones: one entry
    /// per token, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Returns the records that match a query, each once, in its order. Expiry and soft deletion
    /// are evaluated at `now`, inclusively. The cursor is exclusive, whether or not its record
    /// still exists, and the offset is counted from it. The limit bounds the result in records and
    /// in bytes, as in a page, except that the first record is always returned; without envelopes,
    /// bytes limit nothing. A result without records means that no records follow.
    ///
    /// Unreadable rows are left out. The store lists those that it finds on the way, whatever the
    /// filters; the next page may list one again.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError>;

    /// Returns the number of records that pass the filters of a query. Its cursor, offset and limit
    /// are ignored.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError>;

    /// Updates one record if its preconditions hold: the envelope, the time of expiry and the time
    /// of soft deletion, each where the update names one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError>;

    /// Deletes one record permanently, and frees its token.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError>;

    /// Deletes or soft-deletes records that are expired at `now`, in one atomic step: the first
    /// ones in id order after `after`, up to `limit`. Returns their ids in ascending order; an
    /// empty result means that none follow. A record that is no longer expired when its turn comes
    /// is left unchanged.
    ///
    /// [`Purge::Delete`] includes soft-deleted records and frees the tokens. [`Purge::SoftDelete`]
    /// leaves soft-deleted records as they are, and sets the times of soft deletion and of
    /// modification of the others to `now`.
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

    /// Returns the value of a setting.
    ///
    /// # Errors
    /// [`StoreError`]; [`Corrupt`](crate::error::StoreErrorKind::Corrupt) for a value longer than
    /// [`MAX_SETTING_LEN`](crate::MAX_SETTING_LEN), which is not loaded.
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Returns all settings in the order of their names, compared as bytes.
    ///
    /// # Errors
    /// [`StoreError`]; [`Corrupt`](crate::error::StoreErrorKind::Corrupt) where there are more than
    /// [`MAX_SETTINGS`](crate::MAX_SETTINGS) or one is too long. Then none is loaded.
    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError>;

    /// Writes a setting and returns the value that is then stored: with [`PutSetting::IfAbsent`],
    /// possibly one that another writer stored.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError>;

    /// Writes the settings of a new vault in one atomic step, if none of these names is stored.
    /// Returns `false` if any is; then nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError>;

    /// Returns whole records in id order after an id, including soft-deleted and expired ones,
    /// bounded as in [`RecordSource::read_page`]. The default is a query.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<Record>, StoreError> {
        let page = Query::all().page(limit);
        let page = match after {
            Some(id) => page.after_id(id.clone()),
            None => page,
        };
        self.query(&page, Timestamp::MAX).await
    }

    /// Returns the number of records, including soft-deleted and expired ones. The default is a
    /// query.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count(&self) -> Result<u64, StoreError> {
        self.count_matching(&Query::all(), Timestamp::MAX).await
    }

    /// Returns the number of writes so far, or `None` if the store cannot tell (the default) or
    /// while a write is in progress. A rekey that sees no foreign writes needs no catch-up pass;
    /// without a count it reads the vault once more.
    ///
    /// If two counts [differ only](WriteCount::advanced_only_by) by some batches, nothing but those
    /// batches has changed a record in between. Every other write through this store, even one that
    /// is dropped or refused, counts as at least one, and writes by others to the same database
    /// change `external`. [`WriteCounter`](crate::write_count::WriteCounter) counts the former.
    ///
    /// # Errors
    /// [`StoreError`], which tells the caller as little as `None`.
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        Ok(None)
    }

    /// Returns the triggers and rules of the database that act when
    /// [`swap_batch`](RecordSink::swap_batch) replaces an envelope. The default, for stores without
    /// such a thing, is none. A rekey reports them before its first write.
    ///
    /// In any case, what is [`Applied`](WriteOutcome::Applied) is stored as it was sent: a store
    /// with triggers reads the result before it commits, and returns
    /// [`Unsupported`](crate::error::StoreErrorKind::Unsupported) if it differs.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns the settings by which the database may log which records
    /// [`swap_batch`](RecordSink::swap_batch) replaces, each as `name = value`. The default, for
    /// stores without such a log, is none. A rekey reports them before its first write.
    ///
    /// A store keeps its parameters out of such logs where it may. Logs of proxies and replicas,
    /// and extensions that hide their settings, are beyond it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn statement_logs(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns what the storage tells of the records besides their columns, for a report of what a
    /// thief could tell. The default is nothing: a store in one file is looked at as a file.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn traces(&self) -> Result<Vec<Trace>, StoreError> {
        Ok(Vec::new())
    }

    /// Returns what identifies the table of the records, the same under every address of its
    /// server. Two stores with the same one hold the same records. `None` (the default) if the
    /// store cannot tell, or if it is a file, which the file system identifies.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn place_id(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Writes the whole vault again, byte for byte, so that its storage no longer tells which
    /// records were replaced: not by where they lie, nor by what is left of earlier envelopes. The
    /// default is [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// - Everything that can be read is as before: ids, tokens, envelopes, times, settings,
    ///   unreadable rows.
    /// - It is atomic: a crash leaves the storage from before or from after, each with everything.
    /// - Concurrent writers wait or get [`Retryable`](StoreErrorKind::Retryable). What was
    ///   acknowledged is never lost.
    /// - What the store counted before and after is the same, or nothing is changed.
    /// - What it could not reach is in [`remains`](ScrubReport::remains). The report never claims
    ///   that something was erased from a disk.
    /// - Dropping the future leaves it done or not done.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing was changed, except after
    /// [`UnknownOutcome`](StoreErrorKind::UnknownOutcome). Whatever the store cannot preserve is
    /// refused, by name, before anything is written.
    async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        let _ = options;
        Err(no_scrub())
    }

    /// Begins a copy of the vault that replacements are written into, so that a rekey reads once
    /// and writes once: what [`scrub`](Self::scrub) does afterwards is then done already. The
    /// default is [`Unsupported`](StoreErrorKind::Unsupported).
    ///
    /// # Errors
    /// As [`scrub`](Self::scrub).
    async fn stage(&self) -> Result<Arc<dyn StagedStore>, StoreError> {
        Err(no_stage())
    }

    /// Counts the rows that say which records share a password, as other programs write them. The
    /// default, for stores that only this program writes, is none: it never writes any.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn password_identities(&self) -> Result<PasswordIdentities, StoreError> {
        Ok(PasswordIdentities::default())
    }

    /// Removes the rows that [`password_identities`](Self::password_identities) counts, in one
    /// transaction, whether or not they can be read. The default removes none.
    ///
    /// - Records, tokens, times and settings stay byte for byte.
    /// - What another program writes afterwards is counted again.
    ///
    /// # Errors
    /// [`StoreError`]. Nothing was removed, except after
    /// [`UnknownOutcome`](StoreErrorKind::UnknownOutcome).
    async fn purge_password_identities(&self) -> Result<PurgedIdentities, StoreError> {
        Ok(PurgedIdentities::default())
    }

    /// Waits for running calls and releases what the store holds: connections, locks, log files.
    /// Later calls may fail with [`Stopped`](crate::error::StoreErrorKind::Stopped).
    ///
    /// A dropped store does the same in the background, for which an exiting process may not have
    /// the time. The default does nothing.
    async fn close(&self) {}
}

/// A copy of a vault in the making, which takes the place of the vault in one step.
///
/// It is a store: it reads as the vault, and takes replacements
/// ([`swap_batch`](RecordSink::swap_batch)), preferably in ascending order of the ids. They are not
/// durable, and nobody else sees them, before [`publish`](Self::publish). Other changes are
/// refused. As long as it exists, changes of the vault itself get
/// [`Retryable`](crate::error::StoreErrorKind::Retryable). Dropping it discards the copy.
#[async_trait]
pub trait StagedStore: VaultStore {
    /// Completes the copy, reads it back, and puts it in the place of the vault, with the
    /// guarantees of [`VaultStore::scrub`]. Other calls fail afterwards.
    ///
    /// # Errors
    /// As [`VaultStore::scrub`].
    async fn publish(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError>;
}

fn no_scrub() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "this store cannot be scrubbed")
        .with_hint("copy the vault to another place, and destroy this one")
}

fn no_stage() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "this store cannot be rebuilt while it is rekeyed")
        .with_hint("rekey it in place, then run `vaultstore scrub`")
}

// A shared or boxed store is a store: `Vault::new` takes any of them, also `Box<dyn VaultStore>`.

macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<S: RecordSource + ?Sized> RecordSource for $pointer<S> {
            async fn read_page(
                &self,
                after: Option<&RecordId>,
                limit: PageLimit,
            ) -> Result<Page<SealedRecord>, StoreError> {
                (**self).read_page(after, limit).await
            }

            async fn read_records(
                &self,
                ids: &[RecordId],
            ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
                (**self).read_records(ids).await
            }

            async fn read_heads(
                &self,
                after: Option<&RecordId>,
                limit: PageLimit,
            ) -> Result<Page<RecordHead>, StoreError> {
                (**self).read_heads(after, limit).await
            }
        }

        #[async_trait]
        impl<S: RecordSink + ?Sized> RecordSink for $pointer<S> {
            async fn swap_batch(
                &self,
                batch: Arc<[Replacement]>,
            ) -> Result<Vec<WriteOutcome>, StoreError> {
                (**self).swap_batch(batch).await
            }
        }

        #[async_trait]
        impl<S: VaultStore + ?Sized> VaultStore for $pointer<S> {
            async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
                (**self).insert(records).await
            }

            async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
                (**self).find(tokens).await
            }

            async fn query(
                &self,
                query: &Query,
                now: Timestamp,
            ) -> Result<Page<Record>, StoreError> {
                (**self).query(query, now).await
            }

            async fn count_matching(
                &self,
                query: &Query,
                now: Timestamp,
            ) -> Result<u64, StoreError> {
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
            ) -> Result<Page<Record>, StoreError> {
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

            async fn init_settings(
                &self,
                settings: &[(String, String)],
            ) -> Result<bool, StoreError> {
                (**self).init_settings(settings).await
            }

            async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
                (**self).write_count().await
            }

            async fn traces(&self) -> Result<Vec<Trace>, StoreError> {
                (**self).traces().await
            }

            async fn statement_logs(&self) -> Result<Vec<String>, StoreError> {
                (**self).statement_logs().await
            }

            async fn write_hooks(&self) -> Result<Vec<WriteHook>, StoreError> {
                (**self).write_hooks().await
            }

            async fn place_id(&self) -> Result<Option<String>, StoreError> {
                (**self).place_id().await
            }

            async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
                (**self).scrub(options).await
            }

            async fn stage(&self) -> Result<Arc<dyn StagedStore>, StoreError> {
                (**self).stage().await
            }

            async fn password_identities(&self) -> Result<PasswordIdentities, StoreError> {
                (**self).password_identities().await
            }

            async fn purge_password_identities(&self) -> Result<PurgedIdentities, StoreError> {
                (**self).purge_password_identities().await
            }

            async fn close(&self) {
                (**self).close().await;
            }
        }
    };
}

forward!(Arc);
forward!(Box);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_limit_of_zero_is_one() {
        assert_eq!(PageLimit::new(0, 0), PageLimit::new(1, 1));
    }
}
