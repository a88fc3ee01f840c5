//! A store with one defect, built on the store in memory.

#![expect(clippy::unwrap_used, reason = "the store underneath never fails")]

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use async_trait::async_trait;
use vault_core::{
    DeleteOutcome, EnvelopeText, InsertOutcome, MemoryStore, PageLimit, PutSetting, Record,
    RecordChange, RecordId, RecordSink, RecordSource, Replacement, SealedRecord, StoreError,
    StoreErrorKind, Timestamp, Token, VaultStore, WriteOutcome,
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
    SnapshotAcrossPages,
    LoadsTooLongAsEmpty,

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
    TrimsEnvelopes,
    RefusesWhatIsNoEnvelope,
    SmallBatchesOnly,

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

    IfAbsentOverwrites,
    IfAbsentInTwoSteps,
    IfAbsentTellsOwnValue,
    EmptySettingIsAbsent,
    SettingsWithoutCase,

    ForgetsBatches,
    ForgetsInserts,
    ForgetsUpdates,
    ForgetsDeletes,
    ForgetsSettings,
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

    /// Lets the operation that follows be forgotten, if that is the defect.
    async fn about_to(&self, forgetting: Defect) {
        if self.defect == forgetting {
            let copy = copy_of(&self.inner).await;
            *self.durable.lock().unwrap() = Some(copy);
        }
    }

    async fn page(&self, after: Option<&RecordId>, limit: PageLimit) -> Vec<Record> {
        let rest = self.rest(contents(&self.inner).await, after);
        let mut page = self.cut(rest, limit);
        if self.defect == Defect::RepeatsTheLastRecord && page.len() > 1 {
            page.extend(page.last().cloned());
        }
        self.scan.lock().unwrap().given += page.len();
        page
    }

    /// What follows the cursor.
    fn rest(&self, all: Vec<Record>, after: Option<&RecordId>) -> Vec<Record> {
        let mut scan = self.scan.lock().unwrap();
        if after.is_none() {
            *scan = Scan { given: 0, snapshot: all.clone() };
        }
        let follows = |record: &Record| after.is_none_or(|after| record.id > *after);
        let lower = |id: &RecordId| id.as_str().to_lowercase();
        let now = Timestamp::from_micros(1_900_000_000_000_000);
        let mut rest = all;
        match self.defect {
            Defect::InclusiveCursor => {
                rest.retain(|record| after.is_none_or(|after| record.id >= *after));
            }
            Defect::OffsetPaging => drop(rest.drain(..scan.given.min(rest.len()))),
            Defect::SnapshotAcrossPages => {
                rest = scan.snapshot.iter().filter(|record| follows(record)).cloned().collect();
            }
            Defect::CaseInsensitiveOrder => {
                rest.retain(|record| after.is_none_or(|after| lower(&record.id) > lower(after)));
                rest.sort_by_key(|record| lower(&record.id));
            }
            _ => rest.retain(follows),
        }
        match self.defect {
            Defect::HidesSoftDeletedFromScan => rest.retain(|record| !record.is_soft_deleted(now)),
            Defect::HidesExpiredFromScan => rest.retain(|record| !record.is_expired(now)),
            Defect::DropsLastRecordOfAll => drop(rest.pop()),
            Defect::EmptyPageInTheMiddle if rest.len() == 5 => rest.clear(),
            Defect::LoadsTooLongAsEmpty => {
                for record in rest.iter_mut().filter(|r| r.envelope.as_bytes().is_none()) {
                    record.envelope = EnvelopeText::from_stored([]);
                }
            }
            _ => {}
        }
        rest
    }

    fn cut(&self, rest: Vec<Record>, limit: PageLimit) -> Vec<Record> {
        let (mut most_records, mut most_bytes) = (limit.records.get(), limit.bytes.get());
        match self.defect {
            Defect::IgnoresLimitInRecords => most_records = usize::MAX,
            Defect::IgnoresLimitInBytes => most_bytes = usize::MAX,
            _ => {}
        }
        let mut bytes = 0;
        let mut page = Vec::new();
        for record in rest.into_iter().take(most_records) {
            bytes += match self.defect {
                Defect::CountsCharactersAsBytes => text(&record.envelope).chars().count(),
                _ => record.envelope.loaded_len(),
            };
            let first = page.is_empty() && self.defect != Defect::NothingBeyondTheBytes;
            if bytes > most_bytes && !first {
                break;
            }
            page.push(record);
        }
        page
    }

    /// The envelope as the store would keep it, or why not.
    fn kept(&self, envelope: &EnvelopeText) -> Result<EnvelopeText, StoreError> {
        let odd = envelope
            .as_bytes()
            .is_none_or(|bytes| bytes.contains(&0) || std::str::from_utf8(bytes).is_err());
        match self.defect {
            Defect::RefusesOddValues | Defect::PrefixOnError | Defect::PrefixInsertOnError
                if odd =>
            {
                Err(refusal())
            }
            Defect::RefusesWhatIsNoEnvelope if !text(envelope).starts_with('v') => Err(refusal()),
            Defect::TrimsEnvelopes if !odd => {
                Ok(EnvelopeText::from_stored(text(envelope).trim().as_bytes()))
            }
            _ => Ok(envelope.clone()),
        }
    }

    async fn stored(&self, id: &RecordId) -> Option<EnvelopeText> {
        let mut read = self.inner.read_records(std::slice::from_ref(id)).await.unwrap();
        read.remove(0).map(|record| record.envelope)
    }

    /// Replaces without comparing.
    async fn force(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut forced = batch.to_vec();
        for replacement in &mut forced {
            if let Some(stored) = self.stored(&replacement.id).await {
                replacement.expected = stored;
            }
        }
        self.inner.write_batch(forced.into()).await.unwrap()
    }

    /// Compares now and replaces later.
    async fn check_then_write(&self, batch: &[Replacement]) -> Vec<WriteOutcome> {
        let mut outcomes = Vec::new();
        for replacement in batch {
            outcomes.push(match self.stored(&replacement.id).await {
                None => WriteOutcome::Missing,
                Some(stored) if stored == replacement.expected => WriteOutcome::Applied,
                Some(_) => WriteOutcome::Conflict,
            });
        }
        yield_once().await;
        for (replacement, outcome) in batch.iter().zip(&outcomes) {
            if *outcome == WriteOutcome::Applied {
                self.force(std::slice::from_ref(replacement)).await;
            }
        }
        outcomes
    }

    async fn write(&self, mut batch: Vec<Replacement>) -> Vec<WriteOutcome> {
        match self.defect {
            Defect::LastWriteWins => return self.force(&batch).await,
            Defect::ChecksAndWritesInTwoSteps => return self.check_then_write(&batch).await,
            Defect::PrefixOnDrop => {
                let rest = batch.split_off(batch.len() / 2);
                let mut outcomes = self.inner.write_batch(batch.into()).await.unwrap();
                yield_once().await;
                outcomes.extend(self.inner.write_batch(rest.into()).await.unwrap());
                return outcomes;
            }
            Defect::ComparesWithoutCase => {
                for replacement in &mut batch {
                    let stored = self.stored(&replacement.id).await;
                    let lower = |envelope| text(envelope).to_lowercase();
                    if let Some(stored) = stored
                        && lower(&stored) == lower(&replacement.expected)
                    {
                        replacement.expected = stored;
                    }
                }
            }
            _ => {}
        }
        let mut outcomes = self.inner.write_batch(batch.clone().into()).await.unwrap();
        match self.defect {
            Defect::ConflictOverwrites => drop(self.force(&batch).await),
            Defect::OutcomesInOrderOfIds => {
                let mut by_id: Vec<_> =
                    batch.iter().map(|replacement| &replacement.id).zip(outcomes).collect();
                by_id.sort_by_key(|(id, _)| *id);
                outcomes = by_id.into_iter().map(|(_, outcome)| outcome).collect();
            }
            Defect::OutcomeLeftOutForMissing => {
                outcomes.retain(|outcome| *outcome != WriteOutcome::Missing);
            }
            Defect::BumpsUpdatedAt | Defect::RestoresOnWrite => {
                for replacement in batch {
                    self.touch(replacement.id).await;
                }
            }
            _ => {}
        }
        outcomes
    }

    /// Changes a column that a rekey must not change.
    async fn touch(&self, id: RecordId) {
        let mut change = RecordChange::of(id);
        if self.defect == Defect::BumpsUpdatedAt {
            change.updated_at = Some(Timestamp::from_micros(1_900_000_000_000_000));
        } else {
            change.soft_deleted_at = Some(None);
        }
        self.inner.update(change).await.unwrap();
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

fn refusal() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "the store cannot hold this envelope")
}

async fn contents(store: &MemoryStore) -> Vec<Record> {
    store.list(None, PageLimit::new(usize::MAX, usize::MAX)).await.unwrap()
}

async fn copy_of(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    copy.insert(contents(store).await).await.unwrap();
    for (name, value) in store.settings().await.unwrap() {
        copy.put_setting(&name, &value, PutSetting::Always).await.unwrap();
    }
    copy
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
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let page = self.page(after, limit).await;
        Ok(page
            .into_iter()
            .map(|Record { id, envelope, .. }| SealedRecord { id, envelope })
            .collect())
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        self.inner.read_records(ids).await
    }
}

#[async_trait]
impl RecordSink for BrokenStore {
    async fn write_batch(
        &self,
        batch: Arc<[Replacement]>,
    ) -> Result<Vec<WriteOutcome>, StoreError> {
        self.about_to(Defect::ForgetsBatches).await;
        if self.defect == Defect::SmallBatchesOnly && batch.len() > 999 {
            return Err(refusal());
        }
        let mut kept = Vec::new();
        for replacement in batch.iter() {
            match self.kept(&replacement.sealed) {
                Ok(sealed) => kept.push(Replacement { sealed, ..replacement.clone() }),
                Err(refusal) => {
                    if self.defect == Defect::PrefixOnError {
                        self.write(kept).await;
                    }
                    return Err(refusal);
                }
            }
        }
        Ok(self.write(kept).await)
    }
}

#[async_trait]
impl VaultStore for BrokenStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.about_to(Defect::ForgetsInserts).await;
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
    ) -> Result<Vec<Record>, StoreError> {
        Ok(self.page(after, limit).await)
    }

    async fn update(&self, mut change: RecordChange) -> Result<WriteOutcome, StoreError> {
        self.about_to(Defect::ForgetsUpdates).await;
        match self.defect {
            Defect::UpdateIgnoresExpected => change.expected = None,
            Defect::UpdateClearsExpiry => change.expires_at = change.expires_at.or(Some(None)),
            Defect::HalfUpdateOnDrop => {
                let (expected, envelope) = (change.expected.take(), change.envelope.take());
                let first =
                    RecordChange { expected, envelope, ..RecordChange::of(change.id.clone()) };
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
                let soft_deleted_at = Some(Some(record.updated_at));
                let change = RecordChange { soft_deleted_at, ..RecordChange::of(record.id) };
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
        let stored = self.inner.setting(&name).await?;
        match self.defect {
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
}

impl BrokenStore {
    fn setting_name(&self, name: &str) -> String {
        match self.defect {
            Defect::SettingsWithoutCase => name.to_lowercase(),
            _ => name.to_owned(),
        }
    }
}
