//! Whether anybody else wrote to the vault during a pass.

use super::{commit::PageOutcome, plan::RekeyMode};
use vault_store::{VaultStore, WriteCount};

/// What the store counted when a pass began, and what this run has written since.
pub(super) struct WriterWatch {
    /// `None` where the store could not tell: then they wrote.
    before: Option<WriteCount>,
    batches: u64,
}

impl WriterWatch {
    /// A dry run has nothing to catch up with, and is not to open what a store opens only for writers.
    pub(super) async fn from_now_on(store: &dyn VaultStore, dry_run: RekeyMode) -> Self {
        let before = match dry_run {
            RekeyMode::Apply => store.write_count().await.unwrap_or_default(),
            RekeyMode::DryRun => None,
        };
        Self { before, batches: 0 }
    }

    pub(super) fn take(&mut self, settled: &PageOutcome) {
        self.batches += settled.batches;
        if settled.unanswered {
            self.before = None;
        }
    }

    /// Whether the store vouches for it that nobody else wrote until a later count.
    pub(super) fn no_foreign_writes_since(&self, later: &Self) -> bool {
        match (&self.before, &later.before) {
            (Some(before), Some(now)) => now.advanced_only_by(before, self.batches),
            _ => false,
        }
    }
}
