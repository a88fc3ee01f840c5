//! Reads records for a scan: whole, or first their heads and then those whose heads do not decide.

use std::{collections::VecDeque, sync::Arc, time::Duration, time::Instant};

use futures::{channel::oneshot, future::join_all};

use crate::scan::error::ScanError;
use crate::scan::examine::{ByHead, Examine};
use crate::scan::retry::{Retry, Tries};
use crate::scan::workers::Workers;
use vault_store::{
    PageLimit, RecordHead, RecordId, RecordSource, SealedRecord, StoreError, StoreErrorKind,
    UnreadableRow,
};

/// If more than one record in this many has to be read whole after its head, the next pages are
/// read whole at once: a record that is looked up costs several times one that is read in order.
const FEW: usize = 8;

/// How many heads tell what the next ones are like.
const ENOUGH: usize = 256;

/// How many pages are read whole before heads are tried again.
const WHOLE_PAGES: u32 = 15;

/// How many heads are examined at a time: enough for all SHA-256 lanes, within the CPU's cache.
const GROUP: usize = 256;

/// A record whose head was read.
pub(super) enum Headed<F> {
    Decided(RecordId, Option<F>),
    /// To be read whole, with the length of its envelope.
    Needed(RecordId, u64),
}

/// What one read brings.
pub(super) struct Part<F> {
    pub(super) records: Vec<SealedRecord>,
    pub(super) decided: Vec<(RecordId, Option<F>)>,
    /// Unreadable rows, each with the record that follows, if any does.
    pub(super) unreadable: Vec<(Option<RecordId>, UnreadableRow)>,
    /// Of the same page, and still to be read whole.
    pub(super) rest: VecDeque<Headed<F>>,
    pub(super) page: PageRead,
    /// How many heads of how many did not decide, if heads were read.
    pub(super) needed: Option<(usize, usize)>,
    /// CPU time of the decisions.
    pub(super) busy: Duration,
}

/// Whether a read brings a page.
pub(super) enum PageRead {
    /// More of the one before.
    No,
    /// One without records: none follow.
    End,
    /// One whose last record this is.
    UpTo(RecordId),
}

impl PageRead {
    fn up_to(last: Option<&RecordId>) -> Self {
        last.map_or(Self::End, |last| Self::UpTo(last.clone()))
    }
}

/// Whether heads are worth reading, which depends on how many of the last ones decided nothing.
#[derive(Default)]
pub(super) struct Choice {
    needed: usize,
    of: usize,
    whole_pages: u32,
}

impl Choice {
    /// Chooses for the next page.
    pub(super) fn reads_heads(&mut self) -> bool {
        let heads = self.whole_pages == 0;
        self.whole_pages = self.whole_pages.saturating_sub(1);
        heads
    }

    /// Learns from a page of heads.
    pub(super) fn learn(&mut self, needed: usize, of: usize) {
        self.needed += needed;
        self.of += of;
        if self.of >= ENOUGH {
            if self.needed > self.of / FEW {
                self.whole_pages = WHOLE_PAGES;
            }
            (self.needed, self.of) = (0, 0);
        }
    }
}

/// What a scan reads with.
pub(super) struct Reader<E: Examine> {
    pub(super) source: Arc<dyn RecordSource>,
    pub(super) examiner: Arc<E>,
    pub(super) workers: Arc<Workers>,
    pub(super) retry: Retry,
}

impl<E: Examine> Clone for Reader<E> {
    fn clone(&self) -> Self {
        let Self { source, examiner, workers, retry } = self;
        Self {
            source: Arc::clone(source),
            examiner: Arc::clone(examiner),
            workers: Arc::clone(workers),
            retry: retry.clone(),
        }
    }
}

impl<E: Examine> Reader<E> {
    /// Reads a page of whole records.
    pub(super) async fn whole_page(
        self,
        after: Option<RecordId>,
        limit: PageLimit,
    ) -> Result<Part<E::Finding>, ScanError> {
        let page = self.retried(|| self.source.read_page(after.as_ref(), limit)).await?;
        check_order(after.as_ref(), page.iter().map(|record| &record.id))?;
        let next = |row: &UnreadableRow| page.records.get(row.position).map(|it| it.id.clone());
        let unreadable = page.unreadable.iter().map(|row| (next(row), row.clone())).collect();
        Ok(Part {
            page: PageRead::up_to(page.last().map(|record| &record.id)),
            needed: None,
            records: page.records,
            decided: Vec::new(),
            unreadable,
            rest: VecDeque::new(),
            busy: Duration::ZERO,
        })
    }

    /// Reads a page of heads, and as many as fit into the second limit of the records whose heads
    /// do not decide.
    pub(super) async fn heads_page(
        self,
        after: Option<RecordId>,
        limit: PageLimit,
        whole: PageLimit,
    ) -> Result<Part<E::Finding>, ScanError> {
        let page = self.retried(|| self.source.read_heads(after.as_ref(), limit)).await?;
        check_order(after.as_ref(), page.iter().map(|head| &head.id))?;
        let next = |row: &UnreadableRow| page.records.get(row.position).map(|it| it.id.clone());
        let unreadable = page.unreadable.iter().map(|row| (next(row), row.clone())).collect();
        let (read, of) = (PageRead::up_to(page.last().map(|head| &head.id)), page.len());
        let (headed, busy) = self.decide(page.records).await?;
        let needed = headed.iter().filter(|headed| matches!(headed, Headed::Needed(..))).count();
        let part = self.records_of(headed, whole).await?;
        Ok(Part { unreadable, page: read, needed: Some((needed, of)), busy, ..part })
    }

    /// Tries the passwords on the heads, on all workers.
    async fn decide(
        &self,
        heads: Vec<RecordHead>,
    ) -> Result<(VecDeque<Headed<E::Finding>>, Duration), ScanError> {
        let each = heads.len().div_ceil(self.workers.count().get()).max(1);
        let mut heads = heads.into_iter();
        let mut shares = Vec::new();
        loop {
            let share: Vec<_> = heads.by_ref().take(each).collect();
            if share.is_empty() {
                break;
            }
            let examiner = Arc::clone(&self.examiner);
            shares.push(self.workers.submit(move |memory| {
                let since = Instant::now();
                let mut decided = Vec::with_capacity(share.len());
                for group in share.chunks(GROUP) {
                    decided.extend(examiner.decide(group, memory)?);
                }
                let headed =
                    share.into_iter().zip(decided).filter_map(|(RecordHead { id, head }, by)| {
                        match by {
                            ByHead::Decided(finding) => Some(Headed::Decided(id, finding)),
                            ByHead::Needed => Some(Headed::Needed(id, head.len())),
                            ByHead::PassedOver => None,
                        }
                    });
                Ok::<_, ScanError>((headed.collect::<Vec<_>>(), since.elapsed()))
            }));
        }
        let mut all = VecDeque::new();
        let mut busy = Duration::ZERO;
        for share in join_all(shares).await {
            let (headed, took) =
                share.map_err(|lost: oneshot::Canceled| ScanError::Worker(lost.into()))??;
            all.extend(headed);
            busy += took;
        }
        Ok((all, busy))
    }

    /// Reads the records at the front that have to be read whole. A record that was deleted since
    /// its head was read is not in the vault any more; one that was changed comes as it is now.
    pub(super) async fn records_of(
        self,
        mut headed: VecDeque<Headed<E::Finding>>,
        limit: PageLimit,
    ) -> Result<Part<E::Finding>, ScanError> {
        let (mut decided, mut ids, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        while let Some(next) = headed.pop_front() {
            match next {
                Headed::Decided(id, finding) => decided.push((id, finding)),
                Headed::Needed(id, len) => {
                    let more = bytes.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
                    let full = ids.len() >= limit.records.get() || more > limit.bytes.get();
                    if full && !ids.is_empty() {
                        headed.push_front(Headed::Needed(id, len));
                        break;
                    }
                    bytes = more;
                    ids.push(id);
                }
            }
        }
        let mut records = Vec::new();
        if !ids.is_empty() {
            let found = self.retried(|| self.source.read_records(&ids)).await?;
            let fits = |(id, found): (&RecordId, &Option<SealedRecord>)| {
                found.as_ref().is_none_or(|found| found.id == *id)
            };
            if found.len() != ids.len() || !ids.iter().zip(&found).all(fits) {
                return Err(broken_contract("not the records that were asked for").into());
            }
            records.extend(found.into_iter().flatten());
        }
        Ok(Part {
            records,
            decided,
            unreadable: Vec::new(),
            rest: headed,
            page: PageRead::No,
            needed: None,
            busy: Duration::ZERO,
        })
    }

    async fn retried<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = Tries::default();
        loop {
            match read().await {
                Ok(read) => return Ok(read),
                Err(error) => {
                    if !self.retry.again_after(&error, &mut tries).await {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// A page out of order would make the scan skip records, or never end.
fn check_order<'a>(
    after: Option<&'a RecordId>,
    ids: impl Iterator<Item = &'a RecordId>,
) -> Result<(), StoreError> {
    if after.into_iter().chain(ids).is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(broken_contract("a page is not in ascending order of ids"))
}

fn broken_contract(what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Other, format!("store contract violation: {what}"))
        .with_hint("this is a bug in the storage backend; please report it")
}
