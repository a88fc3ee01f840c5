//! Finds the cost of the v2 records of a vault if the configured ones open none.

use std::sync::Arc;

use super::{error::RekeyError, session::RekeySession};
use crate::crypto::envelope::{Envelope, Format, V2Params};
use crate::crypto::kdf::KdfError;
use crate::crypto::seal::{OpenOutcome, OpenPolicy};
use vault_store::{PageLimit, SealedRecord};

/// How many v2 records are tried: enough to hit a group that makes up a good part of the vault.
const SAMPLE: usize = 8;

/// How many pages are read to find them.
const PAGES: usize = 64;

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
        let sample = self.sample_of_v2().await?;
        let rekeyer = &self.passes.seeker.rekeyer;
        for params in candidates {
            let policy = OpenPolicy { v2_costs: vec![*params], ..rekeyer.policy().clone() };
            for record in &sample {
                for key in rekeyer.old_keys() {
                    let (key, record, policy) = (Arc::clone(key), record.clone(), policy.clone());
                    let opened = self.passes.workers.submit(move |memory| {
                        let Ok(envelope) = Envelope::parse(&record.envelope) else {
                            return Ok::<bool, KdfError>(false);
                        };
                        let outcome = crate::crypto::seal::open(
                            &envelope,
                            &key,
                            record.bound_to(),
                            &policy,
                            memory,
                        )?;
                        Ok(matches!(outcome, OpenOutcome::Opened(_)))
                    });
                    if opened.await.map_err(|lost| RekeyError::Worker(lost.into()))?? {
                        return Ok(Some(*params));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn sample_of_v2(&self) -> Result<Vec<SealedRecord>, RekeyError> {
        let (mut sample, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let limit = PageLimit::new(4096, 8 * 1024 * 1024);
            let page = self.passes.store.read_page(after.as_ref(), limit).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            let is_v2 = |record: &SealedRecord| {
                Envelope::parse(&record.envelope)
                    .is_ok_and(|envelope| envelope.format() == Format::V2)
            };
            sample.extend(page.into_iter().filter(is_v2));
            if sample.len() >= SAMPLE {
                sample.truncate(SAMPLE);
                break;
            }
        }
        Ok(sample)
    }
}
