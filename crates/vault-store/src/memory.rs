//! An in-memory store: the strict reference that every backend is compared with.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroUsize,
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use crate::change::{
    DeleteOutcome, InsertOutcome, Purge, PutSetting, RecordUpdate, Replacement, WriteOutcome,
};
use crate::error::StoreError;
use crate::head::{EnvelopeHead, RecordHead};
use crate::limits::{MAX_SETTINGS, OverLimit};
use crate::page::{HasRoom, HasWeight, Page, PageBuilder, PageLimit};
use crate::query::{Cursor, Envelopes, HasCursor as _, Query, SortKey, SortOrder, SortValue};
use crate::record::{EnvelopeText, Record, RecordId, SealedRecord};
use crate::scrub::{ScrubOptions, ScrubReport};
use crate::store::{RecordSink, RecordSource, VaultStore};
use crate::time::Timestamp;
use crate::token::Token;
use crate::unreadable::{RowName, UnreadableReason};
use crate::write_count::WriteCount;

/// A store that lives as long as the process, for tests, examples and short-lived secrets.
///
/// It implements the whole contract except durability. Clones share one store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<RecordId, Record>,
    tokens: HashMap<Token, RecordId>,
    settings: BTreeMap<String, String>,
    /// Rows that are no records, at the place that an id has.
    unreadable: BTreeMap<RecordId, UnreadableReason>,
    writes: u64,
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores an unreadable row at the position of an id, as databases may contain one; for tests
    /// of code that uses a store.
    pub fn plant_unreadable(&self, place: RecordId, reason: UnreadableReason) {
        self.lock().unreadable.insert(place, reason);
    }

    /// No operation below can panic half-way through a change, so a poisoned lock still guards a
    /// consistent state.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_to_write(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.writes += 1;
        inner
    }
}

impl Inner {
    fn rows(&self) -> u64 {
        (self.records.len() + self.unreadable.len()) as u64
    }

    fn after(&self, id: Option<&RecordId>) -> impl Iterator<Item = &Record> {
        let lower = id.map_or(Unbounded, Excluded);
        self.records.range::<RecordId, _>((lower, Unbounded)).map(|(_, record)| record)
    }

    fn query(&self, query: &Query, now: Timestamp) -> Page<Record> {
        let mut found: Vec<_> = self
            .records
            .values()
            .filter(|record| query.matches(record, now))
            .map(|record| (record.position(query.order()), record))
            .filter(|(position, _)| query.is_ahead(position))
            .collect();
        found.sort_by(|(one, _), (other, _)| match query.direction() {
            SortOrder::Ascending => one.cmp(other),
            SortOrder::Descending => other.cmp(one),
        });
        let offset = usize::try_from(query.skipped()).unwrap_or(usize::MAX);
        let records = found.into_iter().skip(offset).map(|(_, record)| record);
        let page = match query.envelopes() {
            Envelopes::Loaded => fill(records, query.page_limit()).finish(),
            Envelopes::LengthOnly => {
                records.take(query.page_limit().records.get()).map(without_envelope).collect()
            }
        };
        self.name_unreadable(query, page.records)
    }

    /// Names the rows that a query encounters: in id order those on the way, in another order all
    /// of them at the start.
    fn name_unreadable(&self, query: &Query, records: Vec<Record>) -> Page<Record> {
        let mut page = PageBuilder::new(PageLimit::new(usize::MAX, usize::MAX));
        let places = self.unreadable.iter().filter(|(place, _)| {
            let position = Cursor { rank: SortValue::Id, id: (*place).clone() };
            if query.order() == SortKey::Id {
                query.is_ahead(&position)
            } else {
                query.position().is_none()
            }
        });
        let mut places: Vec<_> = places.collect();
        if query.direction() == SortOrder::Descending {
            places.reverse();
        }
        let mut places = places.into_iter().peekable();
        let is_before = |place: &RecordId, record: &Record| match (query.order(), query.direction())
        {
            (SortKey::Id, SortOrder::Ascending) => *place < record.id,
            (SortKey::Id, SortOrder::Descending) => *place > record.id,
            _ => true,
        };
        for record in records {
            while let Some((place, reason)) = places.next_if(|(place, _)| is_before(place, &record))
            {
                page.unreadable(|| name(place), *reason);
            }
            page.push(record);
        }
        for (place, reason) in places {
            page.unreadable(|| name(place), *reason);
        }
        page.finish()
    }

    /// The next records in the order of their ids, each made into what is asked for.
    fn page<T: HasWeight>(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
        make: impl Fn(&Record) -> T,
    ) -> Page<T> {
        let lower = after.map_or(Unbounded, Excluded);
        let mut places = self.unreadable.range::<RecordId, _>((lower, Unbounded)).peekable();
        let mut page = PageBuilder::new(limit);
        for record in self.after(after) {
            while let Some((place, reason)) = places.next_if(|(place, _)| **place < record.id) {
                page.unreadable(|| name(place), *reason);
            }
            let item = make(record);
            if page.has_no_room_for(item.weight()) {
                return page.finish();
            }
            page.push(item);
        }
        for (place, reason) in places {
            page.unreadable(|| name(place), *reason);
        }
        page.finish()
    }

    fn purge(
        &mut self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Vec<RecordId> {
        let expired: Vec<RecordId> = self
            .after(after)
            .filter(|record| purge.takes(record.expires_at, record.soft_deleted_at, now))
            .take(limit.get())
            .map(|record| record.id.clone())
            .collect();
        for id in &expired {
            match purge {
                Purge::Delete => drop(self.delete(id)),
                Purge::SoftDelete => {
                    if let Some(record) = self.records.get_mut(id) {
                        (record.soft_deleted_at, record.updated_at) = (Some(now), now);
                    }
                }
            }
        }
        expired
    }

    fn delete(&mut self, id: &RecordId) -> DeleteOutcome {
        let Some(record) = self.records.remove(id) else { return DeleteOutcome::Missing };
        self.tokens.remove(&record.token);
        DeleteOutcome::Deleted
    }

    fn insert(&mut self, record: Record) -> InsertOutcome {
        if self.records.contains_key(&record.id) {
            return InsertOutcome::IdTaken;
        }
        if self.tokens.contains_key(&record.token) {
            return InsertOutcome::TokenTaken;
        }
        self.tokens.insert(record.token.clone(), record.id.clone());
        self.records.insert(record.id.clone(), record);
        InsertOutcome::Inserted
    }

    fn replace(&mut self, replacement: &Replacement) -> WriteOutcome {
        let Some(record) = self.records.get_mut(&replacement.id) else {
            return WriteOutcome::Missing;
        };
        if record.envelope != replacement.expected {
            return WriteOutcome::Conflict;
        }
        record.envelope = replacement.new.clone();
        WriteOutcome::Applied
    }

    fn update(&mut self, change: RecordUpdate) -> WriteOutcome {
        let Some(record) = self.records.get_mut(&change.id) else { return WriteOutcome::Missing };
        if !change.if_matches.holds_for(record) {
            return WriteOutcome::Conflict;
        }
        record.envelope = change.envelope.unwrap_or_else(|| record.envelope.clone());
        record.updated_at = change.updated_at.unwrap_or(record.updated_at);
        record.expires_at = change.expires_at.apply(record.expires_at);
        record.soft_deleted_at = change.soft_deleted_at.apply(record.soft_deleted_at);
        WriteOutcome::Applied
    }
}

/// As many records as a limit lets through, the first one in any case.
fn fill<'a>(records: impl Iterator<Item = &'a Record>, limit: PageLimit) -> PageBuilder<Record> {
    let mut page = PageBuilder::new(limit);
    for record in records {
        if page.has_no_room_for(record.weight()) || page.push(record.clone()) == HasRoom::No {
            break;
        }
    }
    page
}

fn refused(over: OverLimit) -> StoreError {
    over.into_store_error("the store in memory")
}

fn name(place: &RecordId) -> RowName {
    RowName::key("the row at", place.as_bytes())
}

fn without_envelope(record: &Record) -> Record {
    Record {
        id: record.id.clone(),
        token: record.token.clone(),
        envelope: EnvelopeText::not_loaded(record.envelope.len()),
        ..*record
    }
}

fn head(record: &Record) -> RecordHead {
    RecordHead { id: record.id.clone(), head: EnvelopeHead::from(&record.envelope) }
}

fn sealed(record: &Record) -> SealedRecord {
    SealedRecord {
        id: record.id.clone(),
        token: record.token.clone(),
        envelope: record.envelope.clone(),
    }
}

#[async_trait]
impl RecordSource for MemoryStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        Ok(self.lock().page(after, limit, sealed))
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let inner = self.lock();
        Ok(ids.iter().map(|id| inner.records.get(id).map(sealed)).collect())
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        Ok(self.lock().page(after, limit, head))
    }
}

#[async_trait]
impl RecordSink for MemoryStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        let mut inner = self.lock_to_write();
        Ok(batch.iter().map(|replacement| inner.replace(replacement)).collect())
    }
}

#[async_trait]
impl VaultStore for MemoryStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        let mut inner = self.lock_to_write();
        records.iter().try_for_each(OverLimit::check_record).map_err(refused)?;
        Ok(records.into_iter().map(|record| inner.insert(record)).collect())
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let inner = self.lock();
        let find = |token| inner.tokens.get(token).and_then(|id| inner.records.get(id)).cloned();
        Ok(tokens.iter().map(find).collect())
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<Record>, StoreError> {
        Ok(self.lock().page(after, limit, Record::clone))
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        Ok(self.lock().query(query, now))
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let inner = self.lock();
        Ok(inner.records.values().filter(|record| query.matches(record, now)).count() as u64)
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        Ok(self.lock_to_write().update(change))
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        Ok(self.lock_to_write().delete(id))
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        Ok(self.lock_to_write().purge(purge, now, after, limit))
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.lock().settings.get(name).cloned())
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.lock().settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        OverLimit::check_setting(name, value).map_err(refused)?;
        let mut inner = self.lock_to_write();
        if !inner.settings.contains_key(name) && inner.settings.len() >= MAX_SETTINGS {
            return Err(refused(OverLimit::OneSettingMore));
        }
        if put == PutSetting::Always {
            inner.settings.insert(name.to_owned(), value.to_owned());
        }
        Ok(inner.settings.entry(name.to_owned()).or_insert_with(|| value.to_owned()).clone())
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        let within = |(name, value): &(String, String)| OverLimit::check_setting(name, value);
        settings.iter().try_for_each(within).map_err(refused)?;
        let mut inner = self.lock_to_write();
        if settings.iter().any(|(name, _)| inner.settings.contains_key(name)) {
            return Ok(false);
        }
        if inner.settings.len() + settings.len() > MAX_SETTINGS {
            return Err(refused(OverLimit::OneSettingMore));
        }
        inner.settings.extend(settings.iter().cloned());
        Ok(true)
    }

    async fn write_count(&self) -> Result<Option<WriteCount>, StoreError> {
        Ok(Some(WriteCount { local: self.lock().writes, external: 0 }))
    }

    /// Memory has no layout: there is nothing to write again.
    async fn scrub(&self, _: ScrubOptions) -> Result<ScrubReport, StoreError> {
        let inner = self.lock_to_write();
        Ok(ScrubReport::of(inner.rows()))
    }
}
