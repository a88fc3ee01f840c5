//! What became of v2 records when a rekey moved nothing: a wrong cost looks like a wrong password.

use std::sync::Arc;

use super::{error::RekeyError, session::RekeySession};
use crate::crypto::envelope::V2Params;
use crate::crypto::key::PasswordKey;
use crate::engine::probe::Probe;

impl RekeySession {
    /// Tries other v2 costs than the configured ones, with the old passwords, on up to eight v2
    /// records, and returns the first that opens one. Takes up to eight Argon2ids per cost and
    /// password.
    ///
    /// # Errors
    /// [`RekeyError`].
    pub async fn find_v2_params(
        &self,
        candidates: &[V2Params],
    ) -> Result<Option<V2Params>, RekeyError> {
        let keys: Vec<_> = self.passes.seeker.rekeyer.old_keys().map(Arc::clone).collect();
        self.try_on_v2(&keys, candidates).await
    }

    /// Returns whether a new password opens one of up to eight v2 records at the configured costs,
    /// which a rekey does not check by itself. Takes up to eight Argon2ids per cost and password.
    ///
    /// # Errors
    /// [`RekeyError`].
    pub async fn new_opens_v2(&self) -> Result<bool, RekeyError> {
        let keys: Vec<_> = self.passes.seeker.rekeyer.new_keys().map(Arc::clone).collect();
        let costs = &self.passes.seeker.rekeyer.policy().v2_costs;
        Ok(self.try_on_v2(&keys, costs).await?.is_some())
    }

    async fn try_on_v2(
        &self,
        keys: &[Arc<PasswordKey>],
        costs: &[V2Params],
    ) -> Result<Option<V2Params>, RekeyError> {
        let probe = Probe {
            store: &*self.passes.store,
            workers: &self.passes.workers,
            policy: self.passes.seeker.rekeyer.policy(),
        };
        let sample = probe.sample(|record| self.passes.seeker.shard.holds(&record.id)).await?;
        Ok(probe.cost(&sample, keys, costs).await?)
    }
}
