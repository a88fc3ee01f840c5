//! Defective scrubs and rebuilds.

use vault_store::{
    PageLimit, RecordSource, RecordUpdate, ScrubOptions, ScrubReport, StoreError, Transform,
    VaultStore,
};

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
            Defect::ScrubRevertsWritesBeside => {
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

    pub(super) async fn rebuilt(
        &self,
        mut transform: Box<dyn Transform>,
        options: ScrubOptions,
    ) -> Result<ScrubReport, StoreError> {
        match self.defect {
            Defect::RebuildIgnoresTransform => self.inner.scrub(options).await,
            Defect::RebuildsUntilItFails => {
                let mut after = None;
                loop {
                    let one = PageLimit::new(1, usize::MAX);
                    let page = self.inner.read_page(after.as_ref(), one).await?;
                    let Some(id) = page.last().map(|record| record.id.clone()) else { break };
                    if let Some(Some(envelope)) = transform.page(page)?.pop() {
                        self.inner.update(RecordUpdate::of(id.clone()).envelope(envelope)).await?;
                    }
                    after = Some(id);
                }
                self.inner.scrub(options).await
            }
            _ => self.inner.rebuild(transform, options).await,
        }
    }
}
