//! Whether the vault's setting `kdf` fits its records.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::report::KdfDoubt;
use crate::crypto::envelope::StoredHeader;
use crate::crypto::kdf::KdfSetting;
use vault_store::SealedRecord;

/// How many salts and costs are told apart; a hostile vault must not fill memory with them.
const MAX_KDFS: usize = 1000;

/// Counts the salts and costs that v3 headers name.
pub(super) struct KdfTally {
    setting: Option<KdfSetting>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    records: u64,
    fitting: u64,
    others: HashMap<KdfSetting, u64>,
}

impl KdfTally {
    /// `setting` is what the vault says; without any, nothing is counted.
    pub(super) fn new(setting: Option<KdfSetting>) -> Self {
        Self { setting, seen: Mutex::default() }
    }

    pub(super) fn count_records<'a>(&self, records: impl Iterator<Item = &'a SealedRecord>) {
        let headers: Vec<_> =
            records.filter_map(|record| StoredHeader::of(&record.envelope)).collect();
        self.count(headers.iter());
    }

    pub(super) fn count<'a>(&self, headers: impl Iterator<Item = &'a StoredHeader>) {
        let Some(setting) = self.setting else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for kdf in headers.filter_map(|header| header.kdf().ok()) {
            seen.records += 1;
            if kdf.salt == setting.salt && !setting.params.is_lower_than(&kdf.params) {
                seen.fitting += 1;
            } else if seen.others.len() < MAX_KDFS || seen.others.contains_key(&kdf) {
                *seen.others.entry(kdf).or_default() += 1;
            }
        }
    }

    /// What is to be said, if the setting fits less than half of the records so far.
    pub(super) fn doubt(&self) -> Option<KdfDoubt> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if 2 * seen.fitting >= seen.records {
            return None;
        }
        let (most, records) = seen.others.iter().max_by_key(|(_, records)| **records)?;
        Some(KdfDoubt { setting: self.setting?, most: *most, records: *records, of: seen.records })
    }
}
