//! The storage contract, implemented on the log.
//!
//! Every call runs as a whole on a thread that may block, under one lock: it is atomic, and
//! completes even if its future is dropped. The index holds everything but the envelopes.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    num::NonZeroUsize,
    ops::Bound::{Excluded, Unbounded},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use vaultstore::query::{Envelopes, HasCursor as _, SortOrder};
use vaultstore::store::{
    DeleteOutcome, EnvelopeText, InsertOutcome, MAX_ENVELOPE_LEN, MAX_SETTINGS, OverLimit, Page,
    PageBuilder, PageLimit, Purge, PutSetting, RecordSink, RecordSource, RecordUpdate, Replacement,
    SealedRecord, WriteOutcome,
};
use vaultstore::{
    Query, Record, RecordId, StoreError, StoreErrorKind, Timestamp, Token, VaultStore,
};

use crate::log::{Log, Operation, Row};

/// A vault in a log file. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    log: Log,
    index: Index,
    /// After a failed write, the end of the file is unknown until it is read again.
    stopped: bool,
}

impl LogStore {
    /// Opens the vault in a file, or creates an empty one.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut index = Index::default();
        let log = Log::open(path, |operation, at| index.apply(operation, at))
            .map_err(|error| error_at(path, error))?;
        let state = State { log, index, stopped: false };
        Ok(Self { path: path.to_owned(), state: Arc::new(Mutex::new(state)) })
    }

    /// The path of the file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Stores a record with an envelope that the store would refuse.
    #[cfg(test)]
    pub(crate) fn plant(&self, record: &Record, envelope: &[u8]) {
        let put = Operation::Put(row_of(record, envelope.len() as u64));
        self.state.lock().unwrap().commit(vec![put], &[envelope]).unwrap();
    }

    /// Runs a call as a whole on a thread that may block.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut State) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (state, path) = (Arc::clone(&self.state), self.path.clone());
        let result = blocking::unblock(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.stopped { Err(Fault::Stopped) } else { call(&mut state) }
        });
        result.await.map_err(|fault| match fault {
            Fault::Io(error) => error_at(&path, error),
            Fault::NotLoaded => StoreError::new(
                StoreErrorKind::Unsupported,
                format!("{}: an envelope that was not loaded cannot be stored", path.display()),
            ),
            Fault::OverLimit(over) => over.into_store_error(path.display()),
            Fault::Write(error) => StoreError::new(
                StoreErrorKind::UnknownOutcome,
                format!("{}: a write failed half-way; open the vault again", path.display()),
            )
            .with_source(error),
            Fault::Stopped => StoreError::new(
                StoreErrorKind::Stopped,
                format!("{}: stopped after a failed write; open the vault again", path.display()),
            ),
        })
    }
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Write(io::Error),
    NotLoaded,
    OverLimit(OverLimit),
    Stopped,
}

impl From<OverLimit> for Fault {
    fn from(over: OverLimit) -> Self {
        Self::OverLimit(over)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn error_at(path: &Path, error: io::Error) -> StoreError {
    let (kind, sentence) = match error.kind() {
        io::ErrorKind::ResourceBusy => (StoreErrorKind::Locked, "is held by another process"),
        io::ErrorKind::PermissionDenied => (StoreErrorKind::Denied, "may not be opened"),
        io::ErrorKind::StorageFull => (StoreErrorKind::Full, "the disk is full"),
        io::ErrorKind::InvalidData => (StoreErrorKind::Corrupt, "is damaged; restore a backup"),
        _ => (StoreErrorKind::Other, "could not be read"),
    };
    StoreError::new(kind, format!("{}: {sentence}", path.display())).with_source(error)
}

/// Everything but the envelopes.
#[derive(Default)]
struct Index {
    records: BTreeMap<RecordId, Entry>,
    tokens: HashMap<String, RecordId>,
    settings: BTreeMap<String, String>,
}

/// A record without its envelope, and the offset of the envelope.
struct Entry {
    row: Row,
    at: u64,
}

impl Index {
    fn apply(&mut self, operation: Operation, at: u64) {
        match operation {
            Operation::Put(row) => {
                let id = RecordId::from_stored(row.id.as_str());
                self.tokens.insert(row.token.clone(), id.clone());
                self.records.insert(id, Entry { row, at });
            }
            Operation::Touch(row) => {
                if let Some(entry) = self.records.get_mut(&RecordId::from_stored(row.id.as_str())) {
                    entry.row = row;
                }
            }
            Operation::Delete { id } => {
                if let Some(entry) = self.records.remove(&RecordId::from_stored(id)) {
                    self.tokens.remove(&entry.row.token);
                }
            }
            Operation::Setting { name, value } => {
                self.settings.insert(name, value);
            }
        }
    }

    fn after(&self, id: Option<&RecordId>) -> impl Iterator<Item = &Entry> {
        let lower = id.map_or(Unbounded, Excluded);
        self.records.range::<RecordId, _>((lower, Unbounded)).map(|(_, entry)| entry)
    }
}

impl State {
    /// Makes operations durable, and then visible.
    fn commit(&mut self, operations: Vec<Operation>, envelopes: &[&[u8]]) -> Result<(), Fault> {
        if operations.is_empty() {
            return Ok(());
        }
        let mut at = self.log.append(&operations, envelopes).map_err(|error| {
            self.stopped = true;
            Fault::Write(error)
        })?;
        for operation in operations {
            let len = if let Operation::Put(row) = &operation { row.len } else { 0 };
            self.index.apply(operation, at);
            at += len;
        }
        Ok(())
    }

    /// Returns records with their envelopes, as many as the limit allows, but at least one.
    fn load(
        &mut self,
        entries: impl IntoIterator<Item = (Row, u64)>,
        limit: PageLimit,
    ) -> Result<Page<Record>, Fault> {
        let mut page = PageBuilder::new(limit);
        for (row, at) in entries {
            if page.has_no_room_for(weight(&row)) {
                break;
            }
            let envelope = load_envelope(&mut self.log, &row, at)?;
            page.push(record_of(&row, envelope));
        }
        Ok(page.finish())
    }

    fn read_page(
        &mut self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, Fault> {
        let entries = self.index.after(after).take(limit.records.get());
        let entries: Vec<_> = entries.map(|entry| (entry.row.clone(), entry.at)).collect();
        Ok(self.load(entries, limit)?.map(sealed))
    }

    fn record(&mut self, id: &RecordId) -> Result<Option<Record>, Fault> {
        let Some(entry) = self.index.records.get(id) else { return Ok(None) };
        let envelope = load_envelope(&mut self.log, &entry.row, entry.at)?;
        Ok(Some(record_of(&entry.row, envelope)))
    }

    fn query(&mut self, query: &Query, now: Timestamp) -> Result<Page<Record>, Fault> {
        let mut found = Vec::new();
        for entry in self.index.records.values() {
            let record = record_of(&entry.row, EnvelopeText::not_loaded(entry.row.len));
            let position = record.position(query.order());
            if query.matches(&record, now) && query.is_ahead(&position) {
                found.push((position, record));
            }
        }
        found.sort_by(|(one, _), (other, _)| match query.direction() {
            SortOrder::Ascending => one.cmp(other),
            SortOrder::Descending => other.cmp(one),
        });
        let skipped = usize::try_from(query.skipped()).unwrap_or(usize::MAX);
        let wanted = found.into_iter().skip(skipped).take(query.page_limit().records.get());
        let records: Vec<_> = wanted.map(|(_, record)| record).collect();
        if query.envelopes() == Envelopes::LengthOnly {
            return Ok(records.into());
        }
        let entries = records.iter().filter_map(|record| self.index.records.get(&record.id));
        let entries: Vec<_> = entries.map(|entry| (entry.row.clone(), entry.at)).collect();
        self.load(entries, query.page_limit())
    }

    fn insert(&mut self, records: &[Record]) -> Result<Vec<InsertOutcome>, Fault> {
        records.iter().try_for_each(OverLimit::check_record)?;
        let (mut outcomes, mut puts, mut envelopes) = (Vec::new(), Vec::new(), Vec::new());
        let mut new: HashMap<&RecordId, &Token> = HashMap::new();
        for record in records {
            let envelope = record.envelope.as_bytes().ok_or(Fault::NotLoaded)?;
            let outcome =
                if self.index.records.contains_key(&record.id) || new.contains_key(&record.id) {
                    InsertOutcome::IdTaken
                } else if self.index.tokens.contains_key(record.token.as_str())
                    || new.values().any(|token| **token == record.token)
                {
                    InsertOutcome::TokenTaken
                } else {
                    new.insert(&record.id, &record.token);
                    puts.push(Operation::Put(row_of(record, envelope.len() as u64)));
                    envelopes.push(envelope);
                    InsertOutcome::Inserted
                };
            outcomes.push(outcome);
        }
        self.commit(puts, &envelopes)?;
        Ok(outcomes)
    }

    fn swap_batch(&mut self, batch: &[Replacement]) -> Result<Vec<WriteOutcome>, Fault> {
        let (mut outcomes, mut puts, mut envelopes) = (Vec::new(), Vec::new(), Vec::new());
        for replacement in batch {
            let sealed = replacement.new.as_bytes().ok_or(Fault::NotLoaded)?;
            outcomes.push(match self.record(&replacement.id)? {
                None => WriteOutcome::Missing,
                Some(record) if record.envelope != replacement.expected => WriteOutcome::Conflict,
                Some(record) => {
                    puts.push(Operation::Put(row_of(&record, sealed.len() as u64)));
                    envelopes.push(sealed);
                    WriteOutcome::Applied
                }
            });
        }
        self.commit(puts, &envelopes)?;
        Ok(outcomes)
    }

    fn update(&mut self, change: &RecordUpdate) -> Result<WriteOutcome, Fault> {
        let Some(mut record) = self.record(&change.id)? else { return Ok(WriteOutcome::Missing) };
        if !change.if_matches.holds_for(&record) {
            return Ok(WriteOutcome::Conflict);
        }
        record.updated_at = change.updated_at.unwrap_or(record.updated_at);
        record.expires_at = change.expires_at.apply(record.expires_at);
        record.soft_deleted_at = change.soft_deleted_at.apply(record.soft_deleted_at);
        match &change.envelope {
            None => {
                let row = row_of(&record, record.envelope.len());
                self.commit(vec![Operation::Touch(row)], &[])?;
            }
            Some(envelope) => {
                let bytes = envelope.as_bytes().ok_or(Fault::NotLoaded)?;
                let row = row_of(&record, bytes.len() as u64);
                self.commit(vec![Operation::Put(row)], &[bytes])?;
            }
        }
        Ok(WriteOutcome::Applied)
    }

    fn purge(
        &mut self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, Fault> {
        let time = |time: Option<i64>| time.map(Timestamp::from_micros);
        let entries = self.index.after(after).map(|entry| &entry.row);
        let expired = entries
            .filter(|row| purge.takes(time(row.expires_at), time(row.soft_deleted_at), now))
            .take(limit.get());
        let (mut ids, mut operations) = (Vec::new(), Vec::new());
        for row in expired {
            ids.push(RecordId::from_stored(row.id.as_str()));
            operations.push(match purge {
                Purge::Delete => Operation::Delete { id: row.id.clone() },
                Purge::SoftDelete => {
                    let now = now.as_micros();
                    Operation::Touch(Row {
                        soft_deleted_at: Some(now),
                        updated_at: now,
                        ..row.clone()
                    })
                }
            });
        }
        self.commit(operations, &[])?;
        Ok(ids)
    }
}

/// What a record takes in a page.
fn weight(row: &Row) -> usize {
    let envelope = if is_too_long(row.len) { 0 } else { row.len };
    row.id.len() + row.token.len() + usize::try_from(envelope).unwrap_or(usize::MAX / 2)
}

fn is_too_long(len: u64) -> bool {
    len > MAX_ENVELOPE_LEN as u64
}

/// An envelope that is too long is never loaded, so that no record can exhaust memory.
fn load_envelope(log: &mut Log, row: &Row, at: u64) -> Result<EnvelopeText, Fault> {
    if is_too_long(row.len) {
        return Ok(EnvelopeText::too_long(row.len));
    }
    Ok(EnvelopeText::from_stored(log.read(at, row.len)?))
}

fn row_of(record: &Record, len: u64) -> Row {
    Row {
        id: record.id.as_str().to_owned(),
        token: record.token.as_str().to_owned(),
        created_at: record.created_at.as_micros(),
        updated_at: record.updated_at.as_micros(),
        expires_at: record.expires_at.map(Timestamp::as_micros),
        soft_deleted_at: record.soft_deleted_at.map(Timestamp::as_micros),
        len,
    }
}

fn record_of(row: &Row, envelope: EnvelopeText) -> Record {
    Record {
        id: RecordId::from_stored(row.id.as_str()),
        token: Token::from_stored(row.token.clone()),
        envelope,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
        expires_at: row.expires_at.map(Timestamp::from_micros),
        soft_deleted_at: row.soft_deleted_at.map(Timestamp::from_micros),
    }
}

fn sealed(record: Record) -> SealedRecord {
    SealedRecord { id: record.id, token: record.token, envelope: record.envelope }
}

#[async_trait]
impl RecordSource for LogStore {
    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let after = after.cloned();
        self.run(move |state| state.read_page(after.as_ref(), limit)).await
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        let ids = ids.to_vec();
        self.run(move |state| ids.iter().map(|id| Ok(state.record(id)?.map(sealed))).collect())
            .await
    }
}

#[async_trait]
impl RecordSink for LogStore {
    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        self.run(move |state| state.swap_batch(&batch)).await
    }
}

#[async_trait]
impl VaultStore for LogStore {
    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        self.run(move |state| state.insert(&records)).await
    }

    async fn find(&self, tokens: &[Token]) -> Result<Vec<Option<Record>>, StoreError> {
        let tokens = tokens.to_vec();
        self.run(move |state| {
            let mut found = Vec::with_capacity(tokens.len());
            for token in &tokens {
                let id = state.index.tokens.get(token.as_str()).cloned();
                found.push(match id {
                    Some(id) => state.record(&id)?,
                    None => None,
                });
            }
            Ok(found)
        })
        .await
    }

    async fn query(&self, query: &Query, now: Timestamp) -> Result<Page<Record>, StoreError> {
        let query = query.clone();
        self.run(move |state| state.query(&query, now)).await
    }

    async fn count_matching(&self, query: &Query, now: Timestamp) -> Result<u64, StoreError> {
        let query = query.clone();
        self.run(move |state| {
            let mut count = 0;
            for entry in state.index.records.values() {
                let record = record_of(&entry.row, EnvelopeText::not_loaded(entry.row.len));
                count += u64::from(query.matches(&record, now));
            }
            Ok(count)
        })
        .await
    }

    async fn update(&self, change: RecordUpdate) -> Result<WriteOutcome, StoreError> {
        self.run(move |state| state.update(&change)).await
    }

    async fn delete(&self, id: &RecordId) -> Result<DeleteOutcome, StoreError> {
        let id = id.clone();
        self.run(move |state| {
            if !state.index.records.contains_key(&id) {
                return Ok(DeleteOutcome::Missing);
            }
            state.commit(vec![Operation::Delete { id: id.as_str().to_owned() }], &[])?;
            Ok(DeleteOutcome::Deleted)
        })
        .await
    }

    async fn purge_expired(
        &self,
        purge: Purge,
        now: Timestamp,
        after: Option<&RecordId>,
        limit: NonZeroUsize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let after = after.cloned();
        self.run(move |state| state.purge(purge, now, after.as_ref(), limit)).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.run(move |state| Ok(state.index.settings.get(&name).cloned())).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.run(|state| Ok(state.index.settings.clone().into_iter().collect())).await
    }

    async fn init_settings(&self, settings: &[(String, String)]) -> Result<bool, StoreError> {
        let settings = settings.to_vec();
        self.run(move |state| {
            if settings.iter().any(|(name, _)| state.index.settings.contains_key(name)) {
                return Ok(false);
            }
            for (name, value) in &settings {
                OverLimit::check_setting(name, value)?;
            }
            if state.index.settings.len() + settings.len() > MAX_SETTINGS {
                return Err(OverLimit::OneSettingMore.into());
            }
            let operations = settings.into_iter();
            let operations = operations.map(|(name, value)| Operation::Setting { name, value });
            state.commit(operations.collect(), &[])?;
            Ok(true)
        })
        .await
    }

    async fn put_setting(
        &self,
        name: &str,
        value: &str,
        put: PutSetting,
    ) -> Result<String, StoreError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.run(move |state| {
            OverLimit::check_setting(&name, &value)?;
            let settings = &state.index.settings;
            if settings.len() >= MAX_SETTINGS && !settings.contains_key(&name) {
                return Err(OverLimit::OneSettingMore.into());
            }
            match settings.get(&name) {
                Some(present) if put == PutSetting::IfAbsent => return Ok(present.clone()),
                _ => {}
            }
            let setting = Operation::Setting { name, value: value.clone() };
            state.commit(vec![setting], &[])?;
            Ok(value)
        })
        .await
    }
}
