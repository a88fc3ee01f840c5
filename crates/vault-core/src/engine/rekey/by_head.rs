//! What the heads of v3 records decide: the commitment in a header determines the password.

use std::sync::Arc;

use crate::crypto::envelope::{StoredHeader, V3};
use crate::crypto::kdf::{KdfMemory, KdfSetting};
use crate::crypto::key::PasswordKey;
use crate::crypto::salts::RunPolicy;
use crate::crypto::seal::committed_to;
use crate::scan::error::ScanError;
use vault_store::{EnvelopeHead, RecordHead};

/// The heads that decide by themselves which of some passwords open their records.
pub(super) struct Deciding {
    headers: Vec<StoredHeader>,
    /// Where each was among the heads.
    places: Vec<usize>,
}

impl Deciding {
    /// Picks, among those that are asked about, the heads whose salts these keys are prepared for.
    /// Of any other, and of one whose header or length no envelope has, the whole record has to be
    /// judged.
    pub(super) fn of<'a>(
        heads: &[RecordHead],
        asks: impl Fn(&RecordHead) -> bool,
        keys: &(impl Iterator<Item = &'a Arc<PasswordKey>> + Clone),
        policy: &RunPolicy,
    ) -> Self {
        // There is almost always just one.
        let mut known: Option<KdfSetting> = None;
        let mut deciding = Self { headers: Vec::with_capacity(heads.len()), places: Vec::new() };
        for (place, head) in heads.iter().enumerate().filter(|(_, head)| asks(head)) {
            let Some((header, kdf)) = sound_header(&head.head) else { continue };
            if known != Some(kdf) {
                let limits = &policy.policy().limits;
                let is_allowed =
                    limits.allow(&kdf.params).is_ok() && limits.floor.allow(&kdf.params).is_ok();
                let is_prepared = keys.clone().all(|key| key.is_prepared(&kdf));
                if !is_allowed || !is_prepared || !policy.admits(&kdf) {
                    continue;
                }
                known = Some(kdf);
            }
            deciding.headers.push(header);
            deciding.places.push(place);
        }
        deciding
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = &StoredHeader> {
        self.headers.iter()
    }

    pub(super) fn places(&self) -> &[usize] {
        &self.places
    }

    /// Returns for each of them whether one of these passwords opens its record.
    pub(super) fn open_under<'a>(
        &self,
        keys: impl Iterator<Item = &'a Arc<PasswordKey>>,
        memory: &mut KdfMemory,
    ) -> Result<Vec<bool>, ScanError> {
        let mut open = vec![false; self.headers.len()];
        for key in keys {
            for (open, is) in open.iter_mut().zip(committed_to(&self.headers, key, memory)?) {
                *open |= is;
            }
        }
        Ok(open)
    }
}

fn sound_header(head: &EnvelopeHead) -> Option<(StoredHeader, KdfSetting)> {
    let header = StoredHeader::at(head.as_bytes()).filter(|_| V3::is_text_len(head.len()))?;
    header.padding().ok()?;
    let kdf = header.kdf().ok()?;
    Some((header, kdf))
}
