//! Compares two stores in id order.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use super::error::{CopyError, Side};
use crate::scan::retry::{Retry, Tries};
use vault_store::{Page, PageLimit, Record, RecordId, StoreError, UnreadableRow, VaultStore};

/// Reads two stores at the same time, with a page of each in memory.
pub(super) struct Comparison {
    source: Pages,
    target: Pages,
}

/// The verdict on one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    Differs,
    OnlyInSource,
    OnlyInTarget,
}

impl Comparison {
    pub(super) fn new(source: Arc<dyn VaultStore>, target: Arc<dyn VaultStore>) -> Self {
        Self { source: Pages::of(source), target: Pages::of(target) }
    }

    /// Whether the target has unreadable rows, which are not copies of anything.
    pub(super) fn target_has_unreadable(&self) -> bool {
        self.target.unreadable > 0
    }

    /// Compares until the page of one side is exhausted; `false` when both sides are.
    pub(super) async fn step(
        &mut self,
        limit: PageLimit,
        retry: &Retry,
        mut note: impl FnMut(RecordId, Compared),
    ) -> Result<bool, CopyError> {
        self.source.fill(limit, retry).await.map_err(CopyError::of(Side::Source))?;
        self.target.fill(limit, retry).await.map_err(CopyError::of(Side::Target))?;
        loop {
            let order = match (self.source.records.front(), self.target.records.front()) {
                (Some(source), Some(target)) => source.id.cmp(&target.id),
                (Some(_), None) if self.target.ended => Ordering::Less,
                (None, Some(_)) if self.source.ended => Ordering::Greater,
                (None, None) if self.source.ended && self.target.ended => return Ok(false),
                _ => return Ok(true),
            };
            match order {
                Ordering::Less => note_next(&mut self.source, Compared::OnlyInSource, &mut note),
                Ordering::Greater => note_next(&mut self.target, Compared::OnlyInTarget, &mut note),
                Ordering::Equal => {
                    let pair = (self.source.records.pop_front(), self.target.records.pop_front());
                    if let (Some(source), Some(target)) = pair {
                        let same = is_copy(&source, &target);
                        note(source.id, if same { Compared::Same } else { Compared::Differs });
                    }
                }
            }
        }
    }
}

fn note_next(pages: &mut Pages, compared: Compared, note: &mut impl FnMut(RecordId, Compared)) {
    if let Some(record) = pages.records.pop_front() {
        note(record.id, compared);
    }
}

/// Compares token and envelope byte for byte, and times to the second, which every store can
/// represent.
fn is_copy(source: &Record, target: &Record) -> bool {
    let times = |record: &Record| {
        let seconds = |time: vault_store::Timestamp| time.as_micros().div_euclid(1_000_000);
        (
            seconds(record.created_at),
            seconds(record.updated_at),
            record.expires_at.map(seconds),
            record.soft_deleted_at.map(seconds),
        )
    };
    source.token == target.token
        && source.envelope == target.envelope
        && times(source) == times(target)
}

/// The records of one store, page by page.
struct Pages {
    store: Arc<dyn VaultStore>,
    records: VecDeque<Record>,
    after: Option<RecordId>,
    /// Number of unreadable rows so far.
    unreadable: u64,
    ended: bool,
}

impl Pages {
    fn of(store: Arc<dyn VaultStore>) -> Self {
        Self { store, records: VecDeque::new(), after: None, unreadable: 0, ended: false }
    }

    async fn fill(&mut self, limit: PageLimit, retry: &Retry) -> Result<(), StoreError> {
        if self.ended || !self.records.is_empty() {
            return Ok(());
        }
        let page = list(&*self.store, self.after.as_ref(), limit, retry).await?;
        self.unreadable += page.unreadable.iter().map(UnreadableRow::rows).sum::<u64>();
        self.records = page.records.into();
        match self.records.back() {
            Some(last) => self.after = Some(last.id.clone()),
            None => self.ended = true,
        }
        Ok(())
    }
}

/// Reads a page of whole records, with retries.
pub(super) async fn list(
    store: &dyn VaultStore,
    after: Option<&RecordId>,
    limit: PageLimit,
    retry: &Retry,
) -> Result<Page<Record>, StoreError> {
    let mut tries = Tries::default();
    loop {
        match store.list(after, limit).await {
            Ok(page) => return Ok(page),
            Err(error) => {
                if !retry.again_after(&error, &mut tries).await {
                    return Err(error);
                }
            }
        }
    }
}
