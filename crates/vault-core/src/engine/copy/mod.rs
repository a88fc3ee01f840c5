//! Copying a vault into another store, on any backend.
//!
//! Records are copied unchanged: id, token, envelope and times, so that every envelope opens in the
//! copy as before (a v3 envelope is bound to its id and token). No password is needed and nothing
//! is re-encrypted.

mod compare;
mod error;

use std::sync::Arc;

use self::compare::{Compared, Comparison};
pub use self::error::{CopyError, Side};
use crate::scan::retry::{Retry, ThreadTimer, Timer, Tries};
use vault_store::{
    InsertOutcome, PageLimit, PutSetting, Record, RecordId, StoreError, StoreErrorKind,
    UnreadableRow, VaultStore,
};

/// Maximum number of ids that a [`CopyReport`] names per list; the counts are exact.
pub const MAX_LISTED_IDS: usize = 1000;

/// Options for a copy.
#[derive(Clone)]
pub struct CopyPlan {
    into: OnExisting,
    page: PageLimit,
    timer: Arc<dyn Timer>,
}

/// What the target may contain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExisting {
    /// Only what is also in the source, byte for byte: an empty store, or an interrupted copy.
    #[default]
    Empty,
    /// Anything. Existing records stay as they are.
    Existing,
}

impl CopyPlan {
    /// A copy into an empty store, in transactions of up to 4,096 records and 8 MiB: large enough
    /// that flushing does not dominate, small enough to hold one page of each side in memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            into: OnExisting::Empty,
            page: PageLimit::new(4096, 8 << 20),
            timer: Arc::new(ThreadTimer),
        }
    }

    /// Sets what the target may contain.
    #[must_use]
    pub fn into(mut self, into: OnExisting) -> Self {
        self.into = into;
        self
    }

    /// Sets the maximum size of a transaction.
    #[must_use]
    pub fn page(mut self, page: PageLimit) -> Self {
        self.page = page;
        self
    }

    /// Uses this timer for waits between two attempts, instead of a thread.
    #[must_use]
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }
}

impl Default for CopyPlan {
    fn default() -> Self {
        Self::new()
    }
}

/// A copy in progress: [`step`](Self::step) performs one transaction.
///
/// To resume an interrupted copy, start it again: what is already in the target is compared, not
/// written. The last steps compare the two stores record by record.
///
/// Stop writing to the source meanwhile: a record that changes after it was copied is reported as
/// different, and one created behind the scan as missing.
pub struct CopySession {
    source: Arc<dyn VaultStore>,
    target: Arc<dyn VaultStore>,
    page: PageLimit,
    retry: Retry,
    stage: Stage,
    total: u64,
    report: CopyReport,
}

enum Stage {
    /// A non-empty target is compared with the source before anything is written.
    Inspect(Comparison),
    Settings,
    Copy {
        after: Option<RecordId>,
    },
    Verify(Comparison),
    Done,
}

/// The result of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// Records written to the target.
    pub copied: u64,
    /// Records whose id was already in the target; the comparison says whether they are the same.
    pub already_there: u64,
    /// Records whose token belongs to another record of the target; they were skipped.
    pub tokens_taken: IdList,
    /// Records that the target cannot hold, or whose envelope is too long to load; they were
    /// skipped.
    pub refused: IdList,
    /// Rows of the source that cannot be read; they were skipped.
    pub unreadable: RowList,
    /// Settings that the target already had with another value; they were kept.
    pub settings_kept: Vec<String>,
    /// The result of the final comparison; `None` before.
    pub verified: Option<Verified>,
}

/// The result of comparing source and target record by record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Records in both with the same token, times and envelope, compared byte for byte.
    pub same: u64,
    /// Records in both that differ; the target's were left unchanged.
    pub different: IdList,
    /// Records only in the source, including skipped ones.
    pub missing: IdList,
    /// Records only in the target.
    pub only_in_target: u64,
}

/// A number of records, and the first [`MAX_LISTED_IDS`] ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdList {
    /// Their number.
    pub count: u64,
    /// The first ids.
    pub ids: Vec<RecordId>,
}

/// A number of unreadable rows, and the first [`MAX_LISTED_IDS`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowList {
    /// Their number.
    pub count: u64,
    /// The first ones.
    pub rows: Vec<UnreadableRow>,
}

impl RowList {
    fn add(&mut self, row: UnreadableRow) {
        self.count += row.rows();
        if self.rows.len() < MAX_LISTED_IDS {
            self.rows.push(row);
        }
    }
}

impl IdList {
    fn add(&mut self, id: RecordId) {
        self.count += 1;
        if self.ids.len() < MAX_LISTED_IDS {
            self.ids.push(id);
        }
    }
}

impl CopyReport {
    /// Returns whether the target contains every record of the source unchanged, and this was
    /// verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let is_whole = |verified: &Verified| verified.different.count + verified.missing.count == 0;
        self.unreadable.count == 0 && self.verified.as_ref().is_some_and(is_whole)
    }
}

impl CopySession {
    /// Starts a copy; nothing is written before the first [`step`](Self::step).
    ///
    /// # Errors
    /// [`CopyError::Store`].
    pub async fn start(
        source: Arc<dyn VaultStore>,
        target: Arc<dyn VaultStore>,
        plan: CopyPlan,
    ) -> Result<Self, CopyError> {
        let total = source.count().await.map_err(CopyError::of(Side::Source))?;
        let present = target.count().await.map_err(CopyError::of(Side::Target))?;
        let stage = if present > 0 && plan.into == OnExisting::Empty {
            Stage::Inspect(Comparison::new(source.clone(), target.clone()))
        } else {
            Stage::Settings
        };
        let (page, retry) = (plan.page, Retry::new(plan.timer));
        Ok(Self { source, target, page, retry, stage, total, report: CopyReport::default() })
    }

    /// Processes one page; `None` once everything is copied and compared.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn step(&mut self) -> Result<Option<&CopyReport>, CopyError> {
        match &mut self.stage {
            Stage::Inspect(comparison) => {
                let mut foreign = false;
                let more = comparison
                    .step(self.page, &self.retry, |_, compared| {
                        foreign |= matches!(compared, Compared::Differs | Compared::OnlyInTarget);
                    })
                    .await?;
                if foreign || comparison.target_has_unreadable() {
                    return Err(CopyError::TargetNotEmpty);
                }
                if !more {
                    self.stage = Stage::Settings;
                }
            }
            Stage::Settings => {
                self.copy_settings().await?;
                self.stage = Stage::Copy { after: None };
            }
            Stage::Copy { after } => {
                let after = after.take();
                self.stage = if let Some(last) = self.copy_page(after).await? {
                    Stage::Copy { after: Some(last) }
                } else {
                    self.report.verified = Some(Verified::default());
                    Stage::Verify(Comparison::new(self.source.clone(), self.target.clone()))
                };
            }
            Stage::Verify(comparison) => {
                let verified = self.report.verified.get_or_insert_default();
                let more = comparison
                    .step(self.page, &self.retry, |id, compared| match compared {
                        Compared::Same => verified.same += 1,
                        Compared::Differs => verified.different.add(id),
                        Compared::OnlyInSource => verified.missing.add(id),
                        Compared::OnlyInTarget => verified.only_in_target += 1,
                    })
                    .await?;
                if !more {
                    self.stage = Stage::Done;
                }
            }
            Stage::Done => return Ok(None),
        }
        Ok(Some(&self.report))
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// [`CopyError`].
    pub async fn run(mut self) -> Result<CopyReport, CopyError> {
        while self.step().await?.is_some() {}
        Ok(self.report)
    }

    /// Returns what was done so far.
    #[must_use]
    pub fn report(&self) -> &CopyReport {
        &self.report
    }

    /// Returns how many records the source held at the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Copies salt, cost and format, with which the copy continues like the source.
    async fn copy_settings(&mut self) -> Result<(), CopyError> {
        let settings = self.source.settings().await.map_err(CopyError::of(Side::Source))?;
        // A new target gets all of them or none, whenever the process is killed.
        if self.target.init_settings(&settings).await.map_err(CopyError::of(Side::Target))? {
            return Ok(());
        }
        for (name, value) in settings {
            let stored = self.target.put_setting(&name, &value, PutSetting::IfAbsent).await;
            if stored.map_err(CopyError::of(Side::Target))? != value {
                self.report.settings_kept.push(name);
            }
        }
        Ok(())
    }

    /// Returns the id of the last record of the page; `None` if there was none.
    async fn copy_page(&mut self, after: Option<RecordId>) -> Result<Option<RecordId>, CopyError> {
        let page = compare::list(&*self.source, after.as_ref(), self.page, &self.retry).await;
        let page = page.map_err(CopyError::of(Side::Source))?;
        let last = page.last().map(|record| record.id.clone());
        page.unreadable.into_iter().for_each(|row| self.report.unreadable.add(row));
        let (records, too_long): (Vec<_>, Vec<_>) =
            page.records.into_iter().partition(|record| record.envelope.as_bytes().is_some());
        for record in too_long {
            self.report.refused.add(record.id);
        }
        match self.insert(&records).await {
            Err(error) if error.kind() == StoreErrorKind::Unsupported => {
                self.insert_one_by_one(&records).await?;
            }
            inserted => inserted.map_err(CopyError::of(Side::Target))?,
        }
        Ok(last)
    }

    /// One record of the page is more than the target can hold; the others must not be left behind
    /// because of it.
    async fn insert_one_by_one(&mut self, records: &[Record]) -> Result<(), CopyError> {
        for record in records {
            match self.insert(std::slice::from_ref(record)).await {
                Err(error) if error.kind() == StoreErrorKind::Unsupported => {
                    self.report.refused.add(record.id.clone());
                }
                inserted => inserted.map_err(CopyError::of(Side::Target))?,
            }
        }
        Ok(())
    }

    /// Inserts in one transaction. After an unknown outcome it is retried: what was stored already
    /// exists then.
    async fn insert(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut tries = Tries::default();
        let outcomes = loop {
            match self.target.insert(records.to_vec()).await {
                Ok(outcomes) => break outcomes,
                Err(error) => {
                    if !self.retry.again_after(&error, &mut tries).await {
                        return Err(error);
                    }
                }
            }
        };
        for (record, outcome) in records.iter().zip(outcomes) {
            match outcome {
                InsertOutcome::Inserted => self.report.copied += 1,
                InsertOutcome::IdTaken => self.report.already_there += 1,
                InsertOutcome::TokenTaken => self.report.tokens_taken.add(record.id.clone()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
