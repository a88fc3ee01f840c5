//! A store that lets a writer in just before a batch is written, and records the batches.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use vault_store::{
    Page, PageLimit, RecordHead, RecordId, RecordSource as _, Replacement, StoreError, VaultStore,
    WriteOutcome,
};

use crate::{Intercept, Intercepted};

/// Watches the batches that go to a store.
pub(super) struct Watched<S> {
    inner: Arc<S>,
    /// What to do before the first batch, the second, …
    deeds: Mutex<VecDeque<BoxFuture<'static, ()>>>,
    batches: Arc<Mutex<Vec<Arc<[Replacement]>>>>,
}

impl<S> Watched<S> {
    pub(super) fn over(inner: Arc<S>, deeds: Vec<BoxFuture<'static, ()>>) -> Intercepted<Self> {
        Intercepted(Self { inner, deeds: Mutex::new(deeds.into()), batches: Arc::default() })
    }

    /// Every batch that was started, in order.
    pub(super) fn batches(&self) -> Arc<Mutex<Vec<Arc<[Replacement]>>>> {
        Arc::clone(&self.batches)
    }
}

impl<S: VaultStore> Intercept for Watched<S> {
    type Inner = Arc<S>;

    fn inner(&self) -> &Arc<S> {
        &self.inner
    }

    async fn read_heads(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<RecordHead>, StoreError> {
        self.inner.read_heads(after, limit).await
    }

    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        let deed = self.deeds.lock().unwrap().pop_front();
        if let Some(deed) = deed {
            deed.await;
        }
        self.batches.lock().unwrap().push(Arc::clone(&batch));
        self.inner.swap_batch(batch).await
    }
}
