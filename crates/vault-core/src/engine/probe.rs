//! Finds the cost of the v2 records of a vault if the configured ones open none.

use std::sync::Arc;

use crate::crypto::envelope::{Envelope, Format, V2Params};
use crate::crypto::kdf::KdfError;
use crate::crypto::key::PasswordKey;
use crate::crypto::policy::OpenPolicy;
use crate::crypto::seal::{OpenOutcome, open};
use crate::scan::error::ScanError;
use crate::scan::workers::Workers;
use vault_store::{PageLimit, SealedRecord, VaultStore};

/// How many v2 records are tried: enough to hit a group that makes up a good part of the vault.
const SAMPLE: usize = 8;

/// How many pages are read to find them.
const PAGES: usize = 64;

/// Tries passwords and costs on a few v2 records of a vault.
pub(crate) struct Probe<'a> {
    pub(crate) store: &'a dyn VaultStore,
    pub(crate) workers: &'a Workers,
    pub(crate) policy: &'a OpenPolicy,
}

impl Probe<'_> {
    /// The first cost with which one of the keys opens one of the records.
    pub(crate) async fn cost(
        &self,
        sample: &[SealedRecord],
        keys: &[Arc<PasswordKey>],
        candidates: &[V2Params],
    ) -> Result<Option<V2Params>, ScanError> {
        for params in candidates {
            let policy = OpenPolicy { v2_costs: vec![*params], ..self.policy.clone() };
            for record in sample {
                for key in keys {
                    let (key, record, policy) = (Arc::clone(key), record.clone(), policy.clone());
                    let opened = self.workers.submit(move |memory| {
                        let Ok(envelope) = Envelope::parse(&record.envelope) else {
                            return Ok::<bool, KdfError>(false);
                        };
                        let outcome = open(&envelope, &key, record.bound_to(), &policy, memory)?;
                        Ok(matches!(outcome, OpenOutcome::Opened(_)))
                    });
                    if opened.await.map_err(|lost| ScanError::Worker(lost.into()))?? {
                        return Ok(Some(*params));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Up to eight v2 records out of those that are wanted.
    pub(crate) async fn sample(
        &self,
        is_wanted: impl Fn(&SealedRecord) -> bool,
    ) -> Result<Vec<SealedRecord>, ScanError> {
        let (mut sample, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let limit = PageLimit::new(4096, 8 * 1024 * 1024);
            let page = self.store.read_page(after.as_ref(), limit).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            let is_v2 = |record: &SealedRecord| {
                is_wanted(record)
                    && Envelope::parse(&record.envelope)
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
