//! A store with one defect, built on the store in memory.

#![expect(clippy::unwrap_used, reason = "the store underneath never fails")]

mod pages;
mod queries;
mod scrubs;
mod writes;

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
};

use async_trait::async_trait;
use vault_store::{
    Change, DeleteOutcome, EnvelopeHead, EnvelopeText, InsertOutcome, MAX_KEY_LEN, MAX_SETTING_LEN,
    MemoryStore, OverLimit, Page, PageLimit, Precondition, Purge, PutSetting, Query, Record,
    RecordHead, RecordId, RecordSink, RecordSource, RecordUpdate, Replacement, ScrubOptions,
    ScrubReport, SealedRecord, StoreError, StoreErrorKind, Timestamp, Token, UnreadableReason,
    VaultStore, WriteCount, WriteOutcome,
};

/// What is wrong with a [`BrokenStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Nothing: shows that the wrapper itself keeps the contract.
    None,
    /// Nothing either: values that a text column cannot hold are refused as a whole.
    RefusesOddValues,

    InclusiveCursor,
    OffsetPaging,
    CaseInsensitiveOrder,
    DropsLastRecordOfAll,
    EmptyPageInTheMiddle,
    RepeatsTheLastRecord,
    IgnoresLimitInBytes,
    CountsCharactersAsBytes,
    IgnoresLimitInRecords,
    NothingBeyondTheBytes,
    HidesSoftDeletedFromScan,
    HidesExpiredFromScan,
    ScansTokensInOrder,
    ReadsWithoutTokens,
    SnapshotAcrossPages,
    LoadsTooLongAsEmpty,
    StopsAfterAThousand,
    CountsEnvelopesOnly,
    HidesUnreadableRows,
    NamesUnreadableRowsTwice,
    StopsAtUnreadableRows,
    QueriesHideUnreadableRows,
    TakesLongKeys,
    TakesLongSettings,

    CutsHeadsShort,
    CutsHeadsByCharacters,
    HeadsInclusiveCursor,
    HeadsHideUnreadableRows,
    HeadsIgnoreLimits,
    LeavesOutHeadsOfTooLong,
    KeepsFirstHeads,
    HeadsWithoutTheirLength,

    LastWriteWins,
    ChecksAndWritesInTwoSteps,
    ConflictOverwrites,
    ComparesWithoutCase,
    BumpsUpdatedAt,
    RestoresOnWrite,
    OutcomesInOrderOfIds,
    OutcomeLeftOutForMissing,
    PrefixOnError,
    PrefixOnDrop,
    CountsAnsweredBatchesOnly,
    TrimsEnvelopes,
    RefusesWhatIsNoEnvelope,
    SmallBatchesOnly,
    CutsLargeEnvelopes,

    HalfInsertOnDrop,
    PrefixInsertOnError,
    TokenOfSoftDeletedIsFree,
    HidesSoftDeletedFromFind,
    FindInOrderOfTokens,
    InsertReplacesSameId,
    UpdateIgnoresExpected,
    UpdateClearsExpiry,
    HalfUpdateOnDrop,
    DeleteKeepsToken,
    DeleteOnlyHides,
    HalfDeleteOnDrop,
    CountsOnlyLive,
    WholeMinutes,
    TrimsTokens,

    PutNeverOverwrites,
    IfAbsentOverwrites,
    IfAbsentInTwoSteps,
    IfAbsentTellsOwnValue,
    EmptySettingIsAbsent,
    SettingsWithoutCase,
    InitsSettingsOneByOne,

    QueryShowsSoftDeleted,
    QueryTakesNoIdsForAny,
    ExpiresAMomentLate,
    NeverComesFirst,
    DescendsByKeyAndAscendsById,
    RepeatsThePosition,
    OffsetBeforePosition,
    IgnoresLimitOfQueries,
    LengthOnlyWithoutLength,
    CountsOnePage,
    PurgesWhatIsNotExpired,
    PurgesZeroTimes,
    PurgeHidesAgain,
    PurgeKeepsTokens,
    PurgeIsUnbounded,
    PurgeBeginsAnew,
    PurgeInTwoSteps,
    HalfPurgeOnDrop,
    ForgetsPurges,
    UpdateIgnoresTimes,
    UpdateInTwoSteps,
    InsertsInTwoSteps,

    ForgetsBatches,
    ForgetsInserts,
    ForgetsUpdates,
    ForgetsDeletes,
    ForgetsSettings,

    ScrubRestoresSoftDeleted,
    ScrubRevertsConcurrentWrites,
    HalfScrubOnDrop,
}

/// A store in memory with one defect.
pub(crate) struct BrokenStore {
    defect: Defect,
    inner: MemoryStore,
    /// What a defect that pages by offset or by snapshot keeps between two pages.
    scan: Mutex<Scan>,
    /// Tokens that a defective delete leaves behind.
    ghosts: Mutex<HashSet<Token>>,
    /// What a defect that forgets goes back to.
    durable: Mutex<Option<MemoryStore>>,
    /// The heads that were given, for a defect that gives them again.
    heads: Mutex<HashMap<RecordId, EnvelopeHead>>,
    /// How many batches were answered, for a defect that counts nothing else.
    answered: AtomicU64,
}

#[derive(Default)]
struct Scan {
    given: usize,
    snapshot: Vec<Record>,
}

impl BrokenStore {
    pub(crate) fn new(defect: Defect) -> Self {
        Self {
            defect,
            inner: MemoryStore::new(),
            scan: Mutex::default(),
            ghosts: Mutex::default(),
            durable: Mutex::default(),
            heads: Mutex::default(),
            answered: AtomicU64::new(0),
        }
    }

    /// As a restart would leave it.
    pub(crate) fn reopened(mut self) -> Self {
        if let Some(durable) = self.durable.lock().unwrap().take() {
            self.inner = durable;
        }
        self
    }

    /// Writes past the store, whatever it refuses.
    pub(crate) async fn plant(&self, record: Record) {
        assert_eq!(self.inner.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
    }

    /// As [`plant`](Self::plant), an unreadable row.
    pub(crate) fn plant_unreadable(&self, place: RecordId) {
        self.inner.plant_unreadable(place, UnreadableReason::IdNotText);
    }

    /// Lets the operation that follows be forgotten, if that is the defect.
    async fn about_to(&self, forgetting: Defect) {
        if self.defect == forgetting {
            let copy = copy_of(&self.inner).await;
            *self.durable.lock().unwrap() = Some(copy);
        }
    }

    /// Makes room for a record as a defect does, or tells that there is none.
    async fn claim(&self, record: &Record) -> Option<InsertOutcome> {
        match self.defect {
            Defect::TokenOfSoftDeletedIsFree => {
                let mut found = self.inner.find(std::slice::from_ref(&record.token)).await.unwrap();
                if let Some(holder) = found.remove(0).filter(|r| r.soft_deleted_at.is_some()) {
                    self.inner.delete(&holder.id).await.unwrap();
                }
            }
            Defect::InsertsInTwoSteps => {
                let tokens = std::slice::from_ref(&record.token);
                if self.inner.find(tokens).await.unwrap() != [None] {
                    return Some(InsertOutcome::TokenTaken);
                }
                dawdle();
                if let Some(holder) = self.inner.find(tokens).await.unwrap().remove(0) {
                    self.inner.delete(&holder.id).await.unwrap();
                }
            }
            Defect::InsertReplacesSameId => drop(self.inner.delete(&record.id).await.unwrap()),
            _ if self.ghosts.lock().unwrap().contains(&record.token) => {
                return Some(InsertOutcome::TokenTaken);
            }
            _ => {}
        }
        None
    }
}

fn text(envelope: &EnvelopeText) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(envelope.as_bytes().unwrap_or_default())
}

/// As much of a text as there is room for.
fn cut(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text)
}

fn refusal() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "the store cannot hold this envelope")
}

async fn contents(store: &MemoryStore) -> Vec<Record> {
    store.list(None, PageLimit::new(usize::MAX, usize::MAX)).await.unwrap().records
}

async fn copy_of(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    copy.insert(contents(store).await).await.unwrap();
    for (name, value) in store.settings().await.unwrap() {
        copy.put_setting(&name, &value, PutSetting::Always).await.unwrap();
    }
    copy
}

/// Time enough for another thread to come between two steps.
fn dawdle() {
    std::thread::sleep(std::time::Duration::from_micros(300));
}

/// A place to be interrupted or dropped at.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[async_trait]
impl RecordSource for BrokenStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let mut page = self.page(after, limit).await;
        if self.defect == Defect::ScansTokensInOrder {
            let mut tokens: Vec<_> = page.iter().map(|record| record.token.clone()).collect();
            tokens.sort_unstable();
            page.records.iter_mut().zip(tokens).for_each(|(record, token)| record.token = token);
        }
        Ok(page.map(|Record { id, token, envelope, .. }| SealedRecord { id, token, envelope }))
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let mut records = self.inner.read_records(ids).await?;
        if self.defect == Defect::ReadsWithoutTokens {
            let none = Token::from_stored(String::new());
            records.iter_mut().flatten().for_each(|record| record.token = none.clone());
        }
        Ok(records)
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        Ok(self.heads(after, limit).await)
    }
}

#[async_trait]
impl RecordSink for BrokenStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.about_to(Defect::ForgetsBatches).await;
        if self.defect == Defect::SmallBatchesOnly && batch.len() > 999 {
            return Err(refusal());
        }
        let mut kept = Vec::new();
        for replacement in batch.iter() {
            match self.kept(&replacement.new) {
                Ok(new) => kept.push(Replacement { new, ..replacement.clone() }),
                Err(refusal) => {
                    if self.defect == Defect::PrefixOnError {
                        self.write(kept).await;
                    }
                    return Err(refusal);
                }
            }
        }
        let outcomes = self.write(kept).await;
        if self.defect == Defect::CountsAnsweredBatchesOnly {
            yield_once().await;
            self.answered.fetch_add(1, Relaxed);
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl VaultStore for BrokenStore {
    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        let local = self.answered.load(Relaxed);
        let counts = self.defect == Defect::CountsAnsweredBatchesOnly;
        Ok(counts.then_some(WriteCount { local, external: 0 }))
    }

    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.about_to(Defect::ForgetsInserts).await;
        if self.defect != Defect::TakesLongKeys
            && let Some(over) =
                records.iter().find_map(|record| OverLimit::check_record(record).err())
        {
            return Err(StoreError::new(StoreErrorKind::Unsupported, format!("{over:?}")));
        }
        let mut kept = Vec::new();
        for record in records {
            match self.kept(&record.envelope) {
                Ok(envelope) => kept.push(Record { envelope, ..record }),
                Err(refusal) => {
                    if self.defect == Defect::PrefixInsertOnError {
                        self.inner.insert(kept).await?;
                    }
                    return Err(refusal);
                }
            }
        }
        let half = kept.len() / 2;
        let mut outcomes = Vec::new();
        for (n, mut record) in kept.into_iter().enumerate() {
            if self.defect == Defect::HalfInsertOnDrop && n == half {
                yield_once().await;
            }
            if self.defect == Defect::WholeMinutes {
                let minutes = record.created_at.as_micros() / 60_000_000;
                record.created_at = Timestamp::from_micros(minutes * 60_000_000);
            }
            if self.defect == Defect::TrimsTokens {
                record.token = Token::from_stored(record.token.as_str().trim().to_owned());
            }
            if self.defect == Defect::TakesLongKeys {
                record.id = RecordId::from_stored(cut(record.id.as_str(), MAX_KEY_LEN));
                record.token = Token::from_stored(cut(record.token.as_str(), MAX_KEY_LEN).into());
            }
            match self.claim(&record).await {
                Some(refused) => outcomes.push(refused),
                None => outcomes.extend(self.inner.insert(vec![record]).await?),
            }
        }
        Ok(outcomes)
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut tokens = tokens.to_vec();
        if self.defect == Defect::FindInOrderOfTokens {
            tokens.sort();
        }
        let mut found = self.inner.find(&tokens).await?;
        if self.defect == Defect::HidesSoftDeletedFromFind {
            for answer in &mut found {
                answer.take_if(|record| record.soft_deleted_at.is_some());
            }
        }
        Ok(found)
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<Record>, StoreError> {
        Ok(self.page(after, limit).await)
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        Ok(self.answer(query, now).await)
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        self.counted(query, now).await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        self.about_to(Defect::ForgetsPurges).await;
        self.purged(purge, now, after, limit).await
    }

    async fn update(&self, mut change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.about_to(Defect::ForgetsUpdates).await;
        match self.defect {
            Defect::UpdateIgnoresExpected => change.if_matches.envelope = None,
            Defect::UpdateIgnoresTimes => {
                let envelope = change.if_matches.envelope.take();
                change.if_matches = Precondition { envelope, ..Precondition::default() };
            }
            Defect::UpdateInTwoSteps => return self.update_in_two_steps(change).await,
            Defect::UpdateClearsExpiry if change.expires_at.is_keep() => {
                change.expires_at = Change::Clear;
            }
            Defect::HalfUpdateOnDrop => {
                let (expected, envelope) =
                    (change.if_matches.envelope.take(), change.envelope.take());
                let if_matches = Precondition { envelope: expected, ..Precondition::default() };
                let first =
                    RecordUpdate { if_matches, envelope, ..RecordUpdate::of(change.id.clone()) };
                let outcome = self.inner.update(first).await?;
                yield_once().await;
                if outcome != WriteOutcome::Applied {
                    return Ok(outcome);
                }
            }
            _ => {}
        }
        self.inner.update(change).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        self.about_to(Defect::ForgetsDeletes).await;
        let record = contents(&self.inner).await.into_iter().find(|record| record.id == *id);
        let Some(record) = record else { return Ok(DeleteOutcome::Missing) };
        match self.defect {
            Defect::DeleteKeepsToken => drop(self.ghosts.lock().unwrap().insert(record.token)),
            Defect::DeleteOnlyHides => {
                let change = RecordUpdate::of(record.id).soft_deleted_at(Some(record.updated_at));
                self.inner.update(change).await?;
                return Ok(DeleteOutcome::Deleted);
            }
            Defect::HalfDeleteOnDrop => {
                self.ghosts.lock().unwrap().insert(record.token.clone());
                self.inner.delete(id).await?;
                yield_once().await;
                self.ghosts.lock().unwrap().remove(&record.token);
                return Ok(DeleteOutcome::Deleted);
            }
            _ => {}
        }
        self.inner.delete(id).await
    }

    async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        self.scrubbed(options).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let mut all = contents(&self.inner).await;
        if self.defect == Defect::CountsOnlyLive {
            all.retain(|record| record.soft_deleted_at.is_none() && record.expires_at.is_none());
        }
        Ok(all.len() as u64)
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.setting(&self.setting_name(name)).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.inner.settings().await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        mut put: PutSetting,
    ) -> Result<String, StoreError> {
        self.about_to(Defect::ForgetsSettings).await;
        let name = self.setting_name(name);
        let value = match self.defect {
            Defect::TakesLongSettings => cut(value, MAX_SETTING_LEN),
            _ => value,
        };
        let stored = self.inner.setting(&name).await?;
        match self.defect {
            Defect::PutNeverOverwrites => put = PutSetting::IfAbsent,
            Defect::IfAbsentOverwrites => put = PutSetting::Always,
            Defect::EmptySettingIsAbsent if stored.as_deref() == Some("") => {
                put = PutSetting::Always;
            }
            Defect::IfAbsentInTwoSteps if stored.is_none() => {
                yield_once().await;
                put = PutSetting::Always;
            }
            _ => {}
        }
        let stored = self.inner.put_setting(&name, value, put).await?;
        Ok(if self.defect == Defect::IfAbsentTellsOwnValue { value.to_owned() } else { stored })
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        self.about_to(Defect::ForgetsSettings).await;
        if self.defect != Defect::InitsSettingsOneByOne {
            return self.inner.init_settings(settings).await;
        }
        let mut all_new = true;
        for (name, value) in settings {
            yield_once().await;
            let stored = self.inner.put_setting(name, value, PutSetting::IfAbsent).await?;
            all_new &= stored == *value;
        }
        Ok(all_new)
    }
}

impl BrokenStore {
    fn setting_name(&self, name: &str) -> String {
        match self.defect {
            Defect::SettingsWithoutCase => name.to_lowercase(),
            _ => name.to_owned(),
        }
    }
}
