//! Which salts and costs a run over a whole vault derives masters under.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use crate::crypto::envelope::V2Params;
use crate::crypto::kdf::KdfSetting;
use crate::crypto::policy::OpenPolicy;

/// How a run opens records: the caller's policy, and the salts that it has met.
///
/// Clones share the salts, so that every stage of a run tries the same records.
#[derive(Clone)]
pub(crate) struct RunPolicy {
    policy: OpenPolicy,
    own: Vec<KdfSetting>,
    /// `None` tries every salt.
    others: Option<Arc<RwLock<HashSet<KdfSetting>>>>,
}

impl RunPolicy {
    /// At most as many salts and costs as the policy allows besides the vault's own.
    pub(crate) fn new(policy: OpenPolicy, own: impl IntoIterator<Item = KdfSetting>) -> Self {
        Self { policy, own: own.into_iter().collect(), others: Some(Arc::default()) }
    }

    /// Any salt: for envelopes that the run itself has sealed.
    pub(crate) fn of_own_output(policy: OpenPolicy) -> Self {
        Self { policy, own: Vec::new(), others: None }
    }

    /// The same run with other costs to try on v2.
    pub(crate) fn with_v2_costs(&self, v2_costs: Vec<V2Params>) -> Self {
        Self { policy: OpenPolicy { v2_costs, ..self.policy.clone() }, ..self.clone() }
    }

    pub(crate) fn policy(&self) -> &OpenPolicy {
        &self.policy
    }

    /// Whether records of this salt and cost are tried. The first ones that are met are.
    pub(crate) fn admits(&self, kdf: &KdfSetting) -> bool {
        let Some(others) = self.others.as_ref().filter(|_| !self.own.contains(kdf)) else {
            return true;
        };
        if others.read().unwrap_or_else(PoisonError::into_inner).contains(kdf) {
            return true;
        }
        let mut others = others.write().unwrap_or_else(PoisonError::into_inner);
        let room = others.len() < usize::try_from(self.policy.max_salts).unwrap_or(usize::MAX);
        if room {
            others.insert(*kdf);
        }
        others.contains(kdf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kdf::{KdfParams, Salt};

    #[test]
    fn the_first_salts_that_are_met_are_tried_and_stay_so() {
        let kdf = |number: u8| KdfSetting {
            params: KdfParams::DEFAULT,
            salt: Salt::from_bytes([number; Salt::LEN]),
        };
        let policy = OpenPolicy { max_salts: 2, ..OpenPolicy::default() };
        let run = RunPolicy::new(policy.clone(), [kdf(0)]);
        let stage = run.clone();
        assert!(run.admits(&kdf(1)) && stage.admits(&kdf(2)));
        assert!(!run.admits(&kdf(3)) && !stage.admits(&kdf(4)));
        assert!([0, 1, 2].map(kdf).iter().all(|kdf| run.admits(kdf) && stage.admits(kdf)));
        // The vault's salt with another cost is another derivation.
        assert!(!run.admits(&KdfSetting { params: KdfParams::LIGHTWEIGHT, ..kdf(0) }));
        let all = RunPolicy::of_own_output(policy);
        assert!((0..100).map(kdf).all(|kdf| all.admits(&kdf)));
    }
}
