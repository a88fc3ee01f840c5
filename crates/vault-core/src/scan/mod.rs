//! One pass over a vault: reads pages, examines records on the workers, and returns the findings in
//! order.
//!
//! Rekey, dry run, census and verify are this one pipeline with different examiners. It holds at
//! most one page being read, one waiting and one being examined, so its memory is bounded whatever
//! the size of the vault. The [`Scan`], not the caller's await, owns the futures in flight:
//! dropping the await loses nothing.

pub(crate) mod envelope_kind;
pub(crate) mod error;
pub(crate) mod options;
pub(crate) mod pace;
pub(crate) mod problem;
pub(crate) mod retry;
pub(crate) mod workers;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures::{FutureExt, channel::oneshot, future::BoxFuture};

use crate::crypto::kdf::KdfMemory;
use crate::scan::error::ScanError;
use crate::scan::pace::{BatchSizer, Cost, Group};
use crate::scan::retry::{Retry, Tries};
use crate::scan::workers::Workers;
use vault_store::{
    Page, PageLimit, RecordId, RecordSource, SealedRecord, StoreError, StoreErrorKind,
    UnreadableRow,
};

/// Examines records, with memory for an Argon2id.
pub(crate) trait Examine: Send + Sync + 'static {
    /// What it finds for a record.
    type Finding: Send + 'static;

    /// Returns whether to skip a record in this pass. Called once, when it is read.
    fn passes_over(&self, _record: &SealedRecord) -> bool {
        false
    }

    /// What it finds for an unreadable row; nothing (the default) if the pass is only about
    /// records.
    fn unreadable(&self, _row: UnreadableRow) -> Option<Self::Finding> {
        None
    }

    /// Examines a few records at a time, because many hashes at once cost less than one by one.
    /// Returns one finding per record, in order. An error ends the scan.
    fn examine(
        &self,
        records: Vec<SealedRecord>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<Self::Finding>, ScanError>;
}

/// The findings for consecutive records.
pub(crate) struct Examined<F> {
    pub(crate) findings: Vec<F>,
    /// The last of the records.
    pub(crate) last: Option<RecordId>,
    pub(crate) derivations: u64,
    /// CPU time of the examination, summed over the workers.
    pub(crate) busy: Duration,
}

impl<F> Default for Examined<F> {
    fn default() -> Self {
        Self { findings: Vec::new(), last: None, derivations: 0, busy: Duration::ZERO }
    }
}

type PageRead = Result<Page<SealedRecord>, StoreError>;
type Chunk<F> = Result<(Examined<F>, Cost), ScanError>;

pub(crate) struct Scan<E: Examine> {
    source: Arc<dyn RecordSource>,
    examiner: Arc<E>,
    workers: Arc<Workers>,
    retry: Retry,
    pace: BatchSizer,
    cursor: Option<RecordId>,
    /// The page being read, and since when.
    reading: Option<(BoxFuture<'static, PageRead>, Instant)>,
    read_time: Duration,
    end_seen: bool,
    /// Read, but not yet given to the workers.
    waiting: VecDeque<SealedRecord>,
    /// The findings for unreadable rows, each with the record that follows; those at the end have
    /// none.
    unreadable: VecDeque<(Option<RecordId>, E::Finding)>,
    /// Given to the workers, in order.
    examining: VecDeque<oneshot::Receiver<Chunk<E::Finding>>>,
    examined: Option<Examined<E::Finding>>,
}

impl<E: Examine> Scan<E> {
    pub(crate) fn new(
        source: Arc<dyn RecordSource>,
        examiner: Arc<E>,
        workers: Arc<Workers>,
        retry: Retry,
        most: PageLimit,
    ) -> Self {
        let pace = BatchSizer::new(most, workers.count());
        Self {
            source,
            examiner,
            workers,
            retry,
            pace,
            cursor: None,
            reading: None,
            read_time: Duration::ZERO,
            end_seen: false,
            waiting: VecDeque::new(),
            unreadable: VecDeque::new(),
            examining: VecDeque::new(),
            examined: None,
        }
    }

    /// Starts after a record instead of at the first.
    pub(crate) fn after(mut self, cursor: Option<RecordId>) -> Self {
        self.cursor = cursor;
        self
    }

    /// Returns how long reading the pages has taken so far.
    pub(crate) fn read_time(&self) -> Duration {
        self.read_time
    }

    /// Returns the findings for the next records; `None` after the last.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Examined<E::Finding>, ScanError>>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_read(cx) {
                return Poll::Ready(Some(Err(error.into())));
            }
            if self.examined.is_some() {
                return self.poll_examined(cx).map(Some);
            }
            if !self.waiting.is_empty() {
                self.give_to_workers();
                continue;
            }
            if self.unreadable.is_empty() {
                return if self.end_seen { Poll::Ready(None) } else { Poll::Pending };
            }
            let findings = self.unreadable.drain(..).map(|(_, finding)| finding).collect();
            let last = self.cursor.clone();
            return Poll::Ready(Some(Ok(Examined { findings, last, ..Examined::default() })));
        }
    }

    /// Keeps one page ahead of the workers. Ready once there is nothing to wait for.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        loop {
            if self.reading.is_none() {
                if self.end_seen || self.waiting.len() >= self.pace.page().records.get() {
                    return Poll::Ready(Ok(()));
                }
                let (source, retry) = (Arc::clone(&self.source), self.retry.clone());
                let read = read_page(source, retry, self.cursor.clone(), self.pace.page());
                self.reading = Some((read.boxed(), Instant::now()));
            }
            let Some((reading, since)) = &mut self.reading else { return Poll::Ready(Ok(())) };
            let page = ready!(reading.poll_unpin(cx));
            self.read_time += since.elapsed();
            self.reading = None;
            let page = page?;
            self.end_seen = page.is_empty();
            self.take_page(page)?;
        }
    }

    /// A page out of order would make the scan skip records, or never end.
    fn take_page(&mut self, page: Page<SealedRecord>) -> Result<(), StoreError> {
        let ids = self.cursor.iter().chain(page.iter().map(|record| &record.id));
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(StoreError::new(
                StoreErrorKind::Other,
                "store contract violation: a page is not in ascending order of ids",
            )
            .with_hint("this is a bug in the storage backend; please report it"));
        }
        self.cursor = page.last().map(|record| record.id.clone()).or(self.cursor.take());
        let examiner = &self.examiner;
        for row in page.unreadable {
            let next = page.records.get(row.position).map(|record| record.id.clone());
            self.unreadable.extend(examiner.unreadable(row).map(|finding| (next, finding)));
        }
        self.waiting
            .extend(page.records.into_iter().filter(|record| !examiner.passes_over(record)));
        Ok(())
    }

    /// Takes about one commit's worth of waiting records, in chunks small enough to keep every
    /// worker busy to the end.
    fn give_to_workers(&mut self) {
        let chunks = self.pace.cut(&mut self.waiting);
        let last_group = chunks.last().and_then(|groups| groups.last());
        let last = last_group.and_then(|group| group.records.last()).map(|it| it.id.clone());
        for groups in chunks {
            let (examiner, stop) = (Arc::clone(&self.examiner), self.workers.stop());
            self.examining.push_back(self.workers.submit(move |memory| {
                let mut chunk = Examined::default();
                let mut cost = Cost::default();
                let before = memory.derivations();
                for Group { weight, records } in groups {
                    if stop.is_set() {
                        return Err(ScanError::Stopped);
                    }
                    let (begin, count) = (Instant::now(), records.len());
                    chunk.findings.extend(examiner.examine(records, memory)?);
                    cost.add(weight, count, begin.elapsed());
                }
                chunk.busy = cost.total();
                chunk.derivations = memory.derivations() - before;
                Ok((chunk, cost))
            }));
        }
        let passed =
            |next: &Option<RecordId>| next.as_ref().is_some_and(|next| Some(next) <= last.as_ref());
        let mut findings = Vec::new();
        while self.unreadable.front().is_some_and(|(next, _)| passed(next)) {
            findings.extend(self.unreadable.pop_front().map(|(_, finding)| finding));
        }
        self.examined = Some(Examined { findings, last, ..Examined::default() });
    }

    fn poll_examined(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Examined<E::Finding>, ScanError>> {
        let mut all = self.examined.take().unwrap_or_default();
        while let Some(chunk) = self.examining.front_mut() {
            let Poll::Ready(answer) = chunk.poll_unpin(cx) else {
                self.examined = Some(all);
                return Poll::Pending;
            };
            self.examining.pop_front();
            let (chunk, cost) = answer.map_err(|lost| ScanError::Worker(lost.into()))??;
            self.pace.learn(&cost);
            all.findings.extend(chunk.findings);
            all.derivations += chunk.derivations;
            all.busy += chunk.busy;
        }
        Poll::Ready(Ok(all))
    }
}

async fn read_page(
    source: Arc<dyn RecordSource>,
    retry: Retry,
    after: Option<RecordId>,
    limit: PageLimit,
) -> PageRead {
    let mut tries = Tries::default();
    loop {
        match source.read_page(after.as_ref(), limit).await {
            Ok(page) => return Ok(page),
            Err(error) => {
                if !retry.again_after(&error, &mut tries).await {
                    return Err(error);
                }
            }
        }
    }
}
