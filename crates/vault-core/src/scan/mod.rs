//! One pass over a vault: reads pages, examines records on the workers, and returns the findings in
//! order.
//!
//! Rekey, dry run, census and verify are this one pipeline with different examiners. It holds at
//! most one page being read, one waiting and one being examined, so its memory is bounded whatever
//! the size of the vault. The [`Scan`], not the caller's await, owns the futures in flight:
//! dropping the await loses nothing.

pub(crate) mod envelope_kind;
pub(crate) mod error;
mod examine;
mod heads;
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

pub(crate) use self::examine::{ByHead, Examine};
use self::heads::{Choice, Headed, PageRead, Part, Reader};
use crate::scan::error::ScanError;
use crate::scan::pace::{BatchSizer, Cost, Group};
use crate::scan::retry::Retry;
use crate::scan::workers::Workers;
use vault_store::{PageLimit, RecordId, RecordSource, SealedRecord};

/// The findings for consecutive records.
pub(crate) struct Examined<F> {
    pub(crate) findings: Vec<F>,
    /// The last of the records.
    pub(crate) last: Option<RecordId>,
    pub(crate) derivations: u64,
    /// CPU time of the examination, summed over the workers.
    pub(crate) busy: Duration,
    /// How many further records were decided by their heads, with or without a finding.
    pub(crate) by_head: u64,
}

impl<F> Default for Examined<F> {
    fn default() -> Self {
        let (findings, busy) = (Vec::new(), Duration::ZERO);
        Self { findings, last: None, derivations: 0, busy, by_head: 0 }
    }
}

type Chunk<F> = Result<(Examined<F>, Cost), ScanError>;
type Reading<F> = BoxFuture<'static, Result<Part<F>, ScanError>>;

pub(crate) struct Scan<E: Examine> {
    reader: Reader<E>,
    pace: BatchSizer,
    choice: Choice,
    cursor: Option<RecordId>,
    /// What is being read, and since when.
    reading: Option<(Reading<E::Finding>, Instant)>,
    read_time: Duration,
    end_seen: bool,
    /// Of the page of heads that was read last, what has yet to be read whole.
    rest: VecDeque<Headed<E::Finding>>,
    /// Whether there is no such rest, not even one that is being read.
    is_page_taken: bool,
    /// Read, but not yet given to the workers.
    waiting: VecDeque<SealedRecord>,
    /// Decided by their heads.
    decided: VecDeque<(RecordId, Option<E::Finding>)>,
    /// The findings for unreadable rows, each with the record that follows; those at the end have
    /// none.
    unreadable: VecDeque<(Option<RecordId>, E::Finding)>,
    /// The last record of those that are waiting or decided, or that were passed over.
    taken: Option<RecordId>,
    /// CPU time of the decisions since the last findings.
    busy: Duration,
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
            reader: Reader { source, examiner, workers, retry },
            pace,
            choice: Choice::default(),
            cursor: None,
            reading: None,
            read_time: Duration::ZERO,
            end_seen: false,
            rest: VecDeque::new(),
            is_page_taken: true,
            waiting: VecDeque::new(),
            decided: VecDeque::new(),
            unreadable: VecDeque::new(),
            taken: None,
            busy: Duration::ZERO,
            examining: VecDeque::new(),
            examined: None,
        }
    }

    /// Starts after a record instead of at the first.
    pub(crate) fn after(mut self, cursor: Option<RecordId>) -> Self {
        self.taken.clone_from(&cursor);
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
                return Poll::Ready(Some(Err(error)));
            }
            if self.examined.is_some() {
                return self.poll_examined(cx).map(Some);
            }
            let has_records = !self.waiting.is_empty() || !self.decided.is_empty();
            let has_rows = self.is_page_taken && !self.unreadable.is_empty();
            if !has_records && !has_rows {
                return if self.end_seen { Poll::Ready(None) } else { Poll::Pending };
            }
            self.give_to_workers();
        }
    }

    /// Keeps one page ahead of the workers. Ready once there is nothing to wait for.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ScanError>> {
        loop {
            if self.reading.is_none() {
                let most = self.pace.most();
                let is_enough = self.waiting.len() >= self.pace.page().records.get()
                    || self.decided.len() >= most.records.get();
                if is_enough || self.end_seen {
                    return Poll::Ready(Ok(()));
                }
                self.reading = Some((self.read(), Instant::now()));
            }
            let Some((reading, since)) = &mut self.reading else { return Poll::Ready(Ok(())) };
            let part = ready!(reading.poll_unpin(cx));
            self.read_time += since.elapsed();
            self.reading = None;
            self.take_part(part?);
        }
    }

    /// Starts to read the rest of a page of heads, or the next page.
    fn read(&mut self) -> Reading<E::Finding> {
        let (reader, whole) = (self.reader.clone(), self.pace.page());
        if !self.rest.is_empty() {
            return reader.records_of(std::mem::take(&mut self.rest), whole).boxed();
        }
        let after = self.cursor.clone();
        if reader.examiner.reads_heads() && self.choice.reads_heads() {
            reader.heads_page(after, self.pace.most(), whole).boxed()
        } else {
            reader.whole_page(after, whole).boxed()
        }
    }

    fn take_part(&mut self, part: Part<E::Finding>) {
        let examiner = &self.reader.examiner;
        self.busy += part.busy;
        for (next, row) in part.unreadable {
            self.unreadable.extend(examiner.unreadable(row).map(|finding| (next, finding)));
        }
        match part.page {
            PageRead::No => {}
            PageRead::End => self.end_seen = true,
            PageRead::UpTo(last) => self.cursor = Some(last),
        }
        if let Some((needed, of)) = part.needed {
            self.choice.learn(needed, of);
        }
        self.is_page_taken = part.rest.is_empty();
        self.rest = part.rest;
        let records = part.records.iter().map(|record| &record.id);
        let last = records.chain(part.decided.iter().map(|(id, _)| id)).max();
        if self.is_page_taken {
            self.taken.clone_from(&self.cursor);
        } else if let Some(last) = last {
            self.taken = Some(last.clone());
        }
        self.waiting
            .extend(part.records.into_iter().filter(|record| !examiner.passes_over(record)));
        self.decided.extend(part.decided);
    }

    /// Takes about one commit's worth of waiting records, in chunks small enough to keep every
    /// worker busy to the end, and what was decided before the next of them.
    fn give_to_workers(&mut self) {
        let mut last = None;
        if !self.waiting.is_empty() {
            let chunks = self.pace.cut(&mut self.waiting);
            let last_group = chunks.last().and_then(|groups| groups.last());
            last = last_group.and_then(|group| group.records.last()).map(|it| it.id.clone());
            for groups in chunks {
                self.submit(groups);
            }
        }
        let mut all = Examined { busy: std::mem::take(&mut self.busy), ..Examined::default() };
        let next = self.waiting.front().map(|record| &record.id);
        while self.decided.front().is_some_and(|(id, _)| next.is_none_or(|next| id < next)) {
            let Some((id, finding)) = self.decided.pop_front() else { break };
            all.by_head += 1;
            all.findings.extend(finding);
            last = last.max(Some(id));
        }
        let is_all = next.is_none();
        if is_all {
            last.clone_from(&self.taken);
        }
        let passed = |follows: &Option<RecordId>| match follows {
            Some(follows) => Some(follows) <= last.as_ref(),
            None => is_all && self.is_page_taken,
        };
        while self.unreadable.front().is_some_and(|(follows, _)| passed(follows)) {
            all.findings.extend(self.unreadable.pop_front().map(|(_, finding)| finding));
        }
        all.last = last;
        self.examined = Some(all);
    }

    fn submit(&mut self, groups: Vec<Group>) {
        let examiner = Arc::clone(&self.reader.examiner);
        let stop = self.reader.workers.stop();
        self.examining.push_back(self.reader.workers.submit(move |memory| {
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
