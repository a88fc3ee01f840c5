//! Keys of a vault: a password, and the master keys derived from it.

mod v1;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use subtle::ConstantTimeEq as _;

pub(crate) use self::v1::V1Key;
use crate::crypto::envelope::Envelope;
use crate::crypto::kdf::{KdfError, KdfMemory, KdfSetting};
use crate::crypto::master::Master;
use crate::crypto::secret::Password;

/// A password and the master keys derived from it so far.
///
/// Creating one costs nothing. Its first use with a salt and cost takes one Argon2id computation,
/// and every further use microseconds: each master key is derived once, even if several threads
/// need it at the same time, and kept. At most 1,024 master keys are kept; beyond that, the least
/// recently used one has to be derived again.
///
/// # Security
/// Master keys are wiped when dropped, and `Debug` shows nothing.
pub struct PasswordKey {
    password: Password,
    v1: OnceLock<V1Key>,
    masters: RwLock<HashMap<KdfSetting, Arc<Slot>>>,
    /// Counts the slots ever created: the clock for "least recently used".
    epoch: AtomicU64,
}

/// Maximum number of master keys that are kept: far more than a vault has salts, and few enough
/// that planted salts cannot exhaust memory.
const MAX_MASTERS: usize = 1024;

impl PasswordKey {
    /// Creates a key of this password, without any derivation yet.
    #[must_use]
    pub fn new(password: Password) -> Self {
        Self { password, v1: OnceLock::new(), masters: RwLock::default(), epoch: AtomicU64::new(0) }
    }

    /// Derives the master key for this salt and cost, unless it has been derived already.
    ///
    /// Blocks for one Argon2id computation, so call it where blocking is acceptable. No
    /// [`KdfLimits`](crate::crypto::kdf::KdfLimits) apply: the cost is the caller's own.
    ///
    /// # Errors
    /// [`KdfError`] if Argon2id could not run. The next call tries again.
    pub fn prepare(&self, kdf: &KdfSetting, memory: &mut KdfMemory) -> Result<(), KdfError> {
        self.with_master(kdf, memory, |_| ())
    }

    /// Derives the master key for this salt and cost again, independently, and compares in constant
    /// time.
    ///
    /// A memory fault in the one master key that seals a whole vault would lose the vault, so call
    /// this before the first write. Blocks for one Argon2id computation, and another one if the
    /// master key was not prepared.
    ///
    /// # Errors
    /// [`VerifyError::Mismatch`] if the two differ; the master key is then discarded.
    pub fn verify_prepared(
        &self,
        kdf: &KdfSetting,
        memory: &mut KdfMemory,
    ) -> Result<(), VerifyError> {
        let first = self.with_master(kdf, memory, Master::fingerprint)?;
        let second = Master::derive(&self.password, kdf, memory)?.fingerprint();
        if bool::from(first.ct_eq(&*second)) {
            if let Some(slot) = self.slot(kdf) {
                slot.verified.store(true, Ordering::Relaxed);
            }
            return Ok(());
        }
        self.masters.write().unwrap_or_else(PoisonError::into_inner).remove(kdf);
        Err(VerifyError::Mismatch)
    }

    /// As [`verify_prepared`](Self::verify_prepared), unless that has been done already.
    pub(crate) fn verify_once(
        &self,
        kdf: &KdfSetting,
        memory: &mut KdfMemory,
    ) -> Result<(), VerifyError> {
        if self.slot(kdf).is_some_and(|slot| slot.verified.load(Ordering::Relaxed)) {
            return Ok(());
        }
        self.verify_prepared(kdf, memory)
    }

    /// Returns whether the master key for this salt and cost has been derived already.
    #[must_use]
    pub fn is_prepared(&self, kdf: &KdfSetting) -> bool {
        self.slot(kdf).is_some_and(|slot| slot.master.get().is_some())
    }

    /// Returns whether opening this envelope takes no Argon2id computation: true for a v1, and for
    /// a v3 whose master key has been derived or whose header contains no valid cost; never for a
    /// v2.
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

    /// Uses the master key for this salt and cost, deriving it if necessary.
    pub(crate) fn with_master<T>(
        &self,
        kdf: &KdfSetting,
        memory: &mut KdfMemory,
        work: impl FnOnce(&Master) -> T,
    ) -> Result<T, KdfError> {
        self.master(kdf, memory).map(|master| work(&master))
    }

    /// Returns the master key for this salt and cost, deriving it if necessary.
    pub(crate) fn master(
        &self,
        kdf: &KdfSetting,
        memory: &mut KdfMemory,
    ) -> Result<Arc<Master>, KdfError> {
        let slot = self.slot(kdf).unwrap_or_else(|| self.insert_slot(kdf));
        slot.get_or_derive(|| Master::derive(&self.password, kdf, memory)).cloned()
    }

    fn slot(&self, kdf: &KdfSetting) -> Option<Arc<Slot>> {
        let masters = self.masters.read().unwrap_or_else(PoisonError::into_inner);
        let slot = masters.get(kdf)?;
        let epoch = self.epoch.load(Ordering::Relaxed);
        // written rarely, so that threads do not contend for the cache line
        if slot.last_used.load(Ordering::Relaxed) != epoch {
            slot.last_used.store(epoch, Ordering::Relaxed);
        }
        Some(Arc::clone(slot))
    }

    fn insert_slot(&self, kdf: &KdfSetting) -> Arc<Slot> {
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

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordKey(..)")
    }
}

/// [`PasswordKey::verify_prepared`] did not confirm the master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Argon2id could not run.
    #[error(transparent)]
    Kdf(#[from] KdfError),
    /// Two derivations of one password differ.
    #[error(
        "two derivations of the same key differ: this computer's memory or processor is faulty"
    )]
    Mismatch,
}

/// The slot of one master key, filled once.
struct Slot {
    master: OnceLock<Arc<Master>>,
    /// Held while deriving, so that a second thread waits instead of deriving too.
    deriving: Mutex<()>,
    last_used: AtomicU64,
    /// Whether the master was derived twice and both were the same.
    verified: AtomicBool,
}

impl Slot {
    fn new(epoch: u64) -> Self {
        Self {
            master: OnceLock::new(),
            deriving: Mutex::new(()),
            last_used: AtomicU64::new(epoch),
            verified: AtomicBool::new(false),
        }
    }

    /// A failed derivation leaves the slot empty, for the next caller to try.
    fn get_or_derive(
        &self,
        derive: impl FnOnce() -> Result<Master, KdfError>,
    ) -> Result<&Arc<Master>, KdfError> {
        if let Some(master) = self.master.get() {
            return Ok(master);
        }
        let _deriving = self.deriving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(master) = self.master.get() {
            return Ok(master);
        }
        let master = Arc::new(derive()?);
        Ok(self.master.get_or_init(|| master))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::crypto::kdf::{KdfParams, Salt};

    fn kdf(number: u64) -> KdfSetting {
        let salt = u128::from(number).to_be_bytes();
        KdfSetting { params: KdfParams::new(8, 1, 1).unwrap(), salt: Salt::from_bytes(salt) }
    }

    fn key() -> PasswordKey {
        PasswordKey::new(Password::new("password"))
    }

    #[test]
    fn a_key_is_shared_between_threads_and_shows_nothing() {
        fn assert_shared<T: Send + Sync>(_: &T) {}
        assert_shared(&key());
        assert_eq!(format!("{:?}", key()), "PasswordKey(..)");
    }

    #[test]
    fn threads_that_ask_at_the_same_time_cost_one_derivation() {
        let key = key();
        let params = KdfParams::new(4096, 2, 1).unwrap();
        let kdf = KdfSetting { params, ..kdf(1) };
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
        key.verify_once(&kdf(1), &mut memory).unwrap();
        assert_eq!(memory.derivations(), 2);
        key.verify_once(&kdf(4), &mut memory).unwrap();
        assert_eq!(memory.derivations(), 4);

        // simulates a memory fault by the master key of another salt
        let faulty = Master::derive(key.password(), &kdf(3), &mut memory).unwrap();
        assert!(key.insert_slot(&kdf(2)).get_or_derive(|| Ok(faulty)).is_ok());
        assert_eq!(key.verify_prepared(&kdf(2), &mut memory), Err(VerifyError::Mismatch));
        assert!(!key.is_prepared(&kdf(2)));
        key.verify_prepared(&kdf(2), &mut memory).unwrap();
    }
}
