//! Defective scrubs.

use vault_store::{RecordUpdate, ScrubOptions, ScrubReport, StoreError, VaultStore};

use super::{BrokenStore, Defect, contents, dawdle, yield_once};

impl BrokenStore {
    pub(super) async fn scrubbed(&self, options: ScrubOptions) -> Result<ScrubReport, StoreError> {
        let before = contents(&self.inner).await;
        match self.defect {
            Defect::ScrubRestoresSoftDeleted => {
                for record in before {
                    let change = RecordUpdate::of(record.id).soft_deleted_at(None);
                    self.inner.update(change).await?;
                }
            }
            Defect::ScrubRevertsConcurrentWrites => {
                dawdle();
                for record in before {
                    let change = RecordUpdate::of(record.id).envelope(record.envelope);
                    self.inner.update(change).await?;
                }
            }
            Defect::HalfScrubOnDrop => {
                for record in &before {
                    self.inner.delete(&record.id).await?;
                }
                yield_once().await;
                self.inner.insert(before).await?;
            }
            _ => {}
        }
        self.inner.scrub(options).await
    }
}
