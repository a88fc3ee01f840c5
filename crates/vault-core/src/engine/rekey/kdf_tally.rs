//! Whether the vault's setting `kdf` fits its records.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::report::KdfDoubt;
use crate::crypto::envelope::StoredHeader;
use crate::crypto::kdf::KdfSetting;
use vault_store::SealedRecord;

/// How many salts and costs are counted at a time; a hostile vault must not fill memory with them.
///
/// A further one takes one record off each (Misra and Gries, "Finding repeated elements", 1982):
/// what more than one record in 1,001 has is never crowded out by those that few have.
const MAX_KDFS: usize = 1000;

/// Counts the salts and costs that v3 headers name.
pub(super) struct KdfTally {
    setting: Option<KdfSetting>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    records: u64,
    others: HashMap<KdfSetting, u64>,
}

impl Seen {
    fn count_other(&mut self, kdf: KdfSetting) {
        if self.others.len() < MAX_KDFS || self.others.contains_key(&kdf) {
            *self.others.entry(kdf).or_default() += 1;
        } else {
            self.others.retain(|_, records| {
                *records -= 1;
                *records > 0
            });
        }
    }
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
        self.count_all(headers.filter_map(|header| header.kdf().ok()));
    }

    fn count_all(&self, kdfs: impl Iterator<Item = KdfSetting>) {
        let Some(setting) = self.setting else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for kdf in kdfs {
            seen.records += 1;
            let fits = kdf.salt == setting.salt && !setting.params.is_lower_than(&kdf.params);
            if !fits {
                seen.count_other(kdf);
            }
        }
    }

    /// What is to be said, if more than half of the records so far have one other salt and cost.
    ///
    /// Less is no reason: somebody who plants records of many salts would have the advice name one
    /// of them.
    pub(super) fn doubt(&self) -> Option<KdfDoubt> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (most, records) = seen.others.iter().max_by_key(|(_, records)| **records)?;
        let setting = self.setting.filter(|_| 2 * records > seen.records)?;
        Some(KdfDoubt { setting, most: *most, records: *records, of: seen.records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kdf::{KdfParams, Salt};

    fn kdf(number: u32) -> KdfSetting {
        let mut salt = [0; Salt::LEN];
        salt[..4].copy_from_slice(&number.to_be_bytes());
        KdfSetting { params: KdfParams::new(64, 2, 1).unwrap(), salt: Salt::from_bytes(salt) }
    }

    /// A tally of records that have these, in a vault whose setting is number 0.
    fn tallied(records: impl IntoIterator<Item = u32>) -> KdfTally {
        let tally = KdfTally::new(Some(kdf(0)));
        tally.count_all(records.into_iter().map(kdf));
        tally
    }

    #[test]
    fn only_what_more_than_half_of_the_records_have_is_doubted_and_named() {
        assert_eq!(tallied([]).doubt(), None);
        assert_eq!(tallied([0, 0, 1, 1]).doubt(), None);
        let doubt = tallied([0, 1, 2, 1, 1]).doubt().unwrap();
        assert_eq!((doubt.setting, doubt.most, doubt.records, doubt.of), (kdf(0), kdf(1), 3, 5));
        assert_eq!(tallied([0].into_iter().chain(1..50)).doubt(), None, "one record each");
    }

    #[test]
    fn many_planted_salts_do_not_crowd_out_what_most_records_have() {
        let planted = (2..).take(3 * MAX_KDFS);
        let doubt = tallied(planted.chain([1; 4 * MAX_KDFS])).doubt().unwrap();
        assert_eq!(doubt.most, kdf(1));
        assert!(tallied((2..).take(5 * MAX_KDFS)).seen.lock().unwrap().others.len() <= MAX_KDFS);
    }
}
