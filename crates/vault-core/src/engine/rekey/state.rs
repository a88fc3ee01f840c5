//! The state of a rekey: sealed under a key that needs every password of the plan.
//!
//! Otherwise an attacker who edits a state without knowing the passwords could make a rekey skip
//! records (as in CVE-2021-4122, in a disk encryption program). Layout and key are specified in
//! `docs/rekey.md`, "The state".

use aes_gcm::aes::Aes256;
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::crypto::envelope::{IV_LEN, KEY_LEN, TAG_LEN};
use crate::crypto::kdf::{KdfError, KdfLimits, KdfMemory, KdfParams, KdfSetting, Salt};
use crate::crypto::key::PasswordKey;
use crate::crypto::seal::{SealError, decrypt, encrypt};
use vault_store::{Timestamp, fill_random};

/// The version that this program writes and reads.
const VERSION: u8 = 4;
const LEN_AT: usize = 17;
const COST_AT: usize = 25;
const SALT_AT: usize = 37;
const NONCE_AT: usize = 53;
const NONCE_LEN: usize = 24;
const FLAGS_AT: usize = 77;
const STARTED_AT: usize = 78;
const SCANNED_AT: usize = 86;
const TOTAL_AT: usize = 94;
const COMMITMENT_AT: usize = 102;
const HEADER_LEN: usize = 134;
/// The flag of a state whose job is finished.
const FINISHED: u8 = 1;
/// SHA-256 over everything before, to distinguish accidents from other passwords.
const CHECK_LEN: usize = 32;

/// The prefix of the HKDF info of a state's key.
const LABEL: &[u8] = b"vaultstore/rekey-state/v4";

/// The position of a rekey, to be kept outside the vault and passed to the run that resumes it.
///
/// It contains counts, a cursor and the tags of what was tried: 8 bytes for each v2 record tried so
/// far, and a kilobyte for the rest. A finished job leaves a state too: the same plan then makes
/// one more pass and finds nothing left to do, instead of moving records of chained pairs a second
/// time.
///
/// # Security
/// It is sealed under all passwords of the plan together, and cannot be created without all of
/// them. In the clear it contains [`JobInfo`]: when the job started, how much it has scanned,
/// whether it is finished. An older state of the same run is harmless, except for chained pairs:
/// what it does not contain is tried again.
#[derive(Clone, PartialEq, Eq)]
pub struct RekeyState(Vec<u8>);

impl RekeyState {
    /// The first bytes of every state.
    pub const MAGIC: &'static [u8] = b"vaultstore-rekey";

    /// Parses the bytes of a state, and rejects what no password can open.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ResumeError> {
        let version = bytes.strip_prefix(RekeyState::MAGIC).and_then(|rest| rest.first());
        match version {
            None => return Err(ResumeError::NotAState),
            Some(&VERSION) => {}
            Some(&version) => return Err(ResumeError::OtherVersion { version }),
        }
        let least = HEADER_LEN + TAG_LEN + CHECK_LEN;
        let stated = bytes.get(LEN_AT..COST_AT).and_then(|len| len.try_into().ok());
        let stated = stated.map_or(u64::MAX, u64::from_be_bytes);
        if bytes.len() < least || (bytes.len() as u64) < stated {
            return Err(ResumeError::Truncated);
        }
        let (sealed, check) = bytes.split_at(bytes.len() - CHECK_LEN);
        if bytes.len() as u64 != stated || *Sha256::digest(sealed) != *check {
            return Err(ResumeError::Damaged);
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns what the state reveals without any password. Only the key of the state authenticates
    /// it, so use it only for display.
    #[must_use]
    pub fn info(&self) -> JobInfo {
        let number = |at| u64::from_be_bytes(self.array(at));
        JobInfo {
            finished: self.0[FLAGS_AT] & FINISHED != 0,
            started: Timestamp::from_micros(i64::from_be_bytes(self.array(STARTED_AT))),
            scanned: number(SCANNED_AT),
            total: number(TOTAL_AT),
        }
    }

    /// Returns the salt and cost of its key.
    pub(super) fn kdf(&self, limits: &KdfLimits) -> Result<KdfSetting, ResumeError> {
        let number = |at: usize| u32::from_be_bytes(self.array(at));
        KdfParams::new(number(COST_AT), number(COST_AT + 4), number(COST_AT + 8))
            .ok()
            .filter(|params| limits.allow(params).is_ok() && limits.floor.allow(params).is_ok())
            .map(|params| KdfSetting { params, salt: Salt::from_bytes(self.array(SALT_AT)) })
            .ok_or(ResumeError::Forged)
    }

    /// Decrypts the contents.
    pub(super) fn open(&self, key: &StateKey) -> Result<Zeroizing<Vec<u8>>, ResumeError> {
        let subkeys = key.subkeys(&self.array(NONCE_AT));
        let commitment: [u8; KEY_LEN] = self.array(COMMITMENT_AT);
        if !bool::from(subkeys.commitment.ct_eq(&commitment)) {
            return Err(ResumeError::OtherPasswords);
        }
        let sealed = &self.0[..self.0.len() - CHECK_LEN];
        let (header, body) = sealed.split_at(HEADER_LEN);
        let (ciphertext, tag) = body.split_at(body.len() - TAG_LEN);
        let tag = tag.try_into().map_err(|_| ResumeError::Forged)?;
        decrypt::<Aes256>(&*subkeys.key, &subkeys.iv, header, ciphertext, &tag)
            .ok_or(ResumeError::Forged)
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|i| self.0[at + i])
    }
}

/// Shows only the length.
impl std::fmt::Debug for RekeyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RekeyState({} bytes)", self.0.len())
    }
}

/// Why a state cannot be resumed from. Nothing was read from the vault's records, and nothing was
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It does not start like one.
    #[error("not the state of a rekey")]
    NotAState,
    /// Another version of this program wrote it.
    #[error("the state has version {version}, and this program reads version {VERSION}")]
    OtherVersion {
        /// Its version.
        version: u8,
    },
    /// Its end is missing.
    #[error("the state is truncated")]
    Truncated,
    /// It was modified since it was written.
    #[error("the state was modified since it was written")]
    Damaged,
    /// It was not created with these passwords.
    #[error("the state was not written by a rekey with these passwords")]
    Forged,
    /// Its key is not derived from these passwords.
    #[error("the state is of an interrupted rekey with other passwords")]
    OtherPasswords,
    /// It belongs to another vault.
    #[error("the state belongs to another vault")]
    OtherVault,
    /// The shard, the form to write or what the [`OpenPolicy`](crate::envelope::OpenPolicy) permits
    /// differ, or the state is of a dry run.
    #[error(
        "the state is of a rekey of these passwords with another shard, another form to write, other v2 costs, other \
         limits or another choice about v1"
    )]
    OtherPlan,
}

impl ResumeError {
    /// What to do about it, in one line for people.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAState => "name another file",
            Self::OtherVersion { .. } => "resume with the program that wrote it, or start over",
            Self::Truncated | Self::Damaged | Self::Forged => "start over",
            Self::OtherPasswords => "give the passwords of that rekey, or start over",
            Self::OtherVault => "name the state of this vault, or start over",
            Self::OtherPlan => {
                "give the same shard, form to write, v2 costs, limits and leave to open v1, or start over"
            }
        }
    }
}

/// What a state reveals without any password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobInfo {
    /// Whether the job is finished: another run of the same plan only looks for what was written
    /// since.
    pub finished: bool,
    /// When the job started.
    pub started: Timestamp,
    /// How many records the job has scanned.
    pub scanned: u64,
    /// How many records there were when its last run started.
    pub total: u64,
}

/// Seals and opens the states of one plan.
pub(super) struct StateKey {
    kdf: KdfSetting,
    secrets: Hkdf<Sha256>,
}

impl StateKey {
    /// Derives the key from the master keys of all passwords under one salt and cost; each takes an
    /// Argon2id unless it has been derived.
    pub(super) fn derive(
        keys: &[&PasswordKey],
        kdf: KdfSetting,
        memory: &mut KdfMemory,
    ) -> Result<Self, KdfError> {
        let mut secrets = Zeroizing::new(Vec::with_capacity(KEY_LEN * keys.len()));
        for key in keys {
            let secret =
                key.with_master(&kdf, memory, crate::crypto::master::Master::state_secret)?;
            secrets.extend_from_slice(&*secret);
        }
        Ok(Self { kdf, secrets: Hkdf::new(None, &secrets) })
    }

    pub(super) fn seal(&self, info: &JobInfo, mut body: Vec<u8>) -> Result<RekeyState, SealError> {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce)?;
        let subkeys = self.subkeys(&nonce);
        let len = HEADER_LEN + body.len() + TAG_LEN + CHECK_LEN;
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(RekeyState::MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(len as u64).to_be_bytes());
        let params = &self.kdf.params;
        for number in [params.m_cost(), params.t_cost(), params.p_cost()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(self.kdf.salt.as_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.push(if info.finished { FINISHED } else { 0 });
        bytes.extend_from_slice(&info.started.as_micros().to_be_bytes());
        bytes.extend_from_slice(&info.scanned.to_be_bytes());
        bytes.extend_from_slice(&info.total.to_be_bytes());
        bytes.extend_from_slice(&subkeys.commitment);
        let tag = encrypt::<Aes256>(&*subkeys.key, &subkeys.iv, &bytes, &mut body)?;
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&tag);
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check);
        Ok(RekeyState(bytes))
    }

    fn subkeys(&self, nonce: &[u8; NONCE_LEN]) -> Subkeys {
        let mut okm = Zeroizing::new([0; KEY_LEN + KEY_LEN + IV_LEN]);
        #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8,160 bytes")]
        self.secrets
            .expand_multi_info(&[LABEL, nonce], &mut *okm)
            .expect("76 bytes are less than 8,160");
        let mut subkeys =
            Subkeys { commitment: [0; KEY_LEN], key: Zeroizing::default(), iv: [0; IV_LEN] };
        subkeys.commitment.copy_from_slice(&okm[..KEY_LEN]);
        subkeys.key.copy_from_slice(&okm[KEY_LEN..2 * KEY_LEN]);
        subkeys.iv.copy_from_slice(&okm[2 * KEY_LEN..]);
        subkeys
    }
}

struct Subkeys {
    commitment: [u8; KEY_LEN],
    key: Zeroizing<[u8; KEY_LEN]>,
    iv: [u8; IV_LEN],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::kdf::KdfMinimum;
    use crate::crypto::secret::Password;

    fn key(passwords: &[(&str, &str)]) -> StateKey {
        let texts = passwords.iter().flat_map(|(old, new)| [*old, *new]);
        let keys: Vec<_> = texts.map(|text| PasswordKey::new(Password::new(text))).collect();
        let params = KdfParams::new(8, 1, 1).unwrap();
        let kdf = KdfSetting { params, salt: Salt::from_bytes([7; 16]) };
        StateKey::derive(&keys.iter().collect::<Vec<_>>(), kdf, &mut KdfMemory::new()).unwrap()
    }

    fn info() -> JobInfo {
        JobInfo { finished: true, started: Timestamp::from_micros(5), scanned: 6, total: 7 }
    }

    #[test]
    fn what_a_state_shows_is_what_it_was_sealed_with_and_is_bound_to_it() {
        let state = RekeyState::from_bytes(sealed()).unwrap();
        assert_eq!(state.info(), info());
        let mut edited = sealed();
        edited[FLAGS_AT] ^= FINISHED;
        let end = edited.len() - CHECK_LEN;
        let check = Sha256::digest(&edited[..end]);
        edited[end..].copy_from_slice(&check);
        assert_eq!(opened(edited, &key(&[("old", "new")])), Err(ResumeError::Forged));
    }

    fn sealed() -> Vec<u8> {
        key(&[("old", "new")]).seal(&info(), b"where it is".to_vec()).unwrap().0
    }

    fn opened(bytes: Vec<u8>, key: &StateKey) -> Result<Vec<u8>, ResumeError> {
        Ok(RekeyState::from_bytes(bytes)?.open(key)?.to_vec())
    }

    /// Recomputes the checksum, as an attacker who edits a state would.
    fn with_right_check(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECK_LEN);
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check);
        bytes
    }

    #[test]
    fn a_state_without_room_for_its_parts_is_truncated_whatever_it_states() {
        let shortest = key(&[("old", "new")]).seal(&info(), Vec::new()).unwrap().0;
        assert!(RekeyState::from_bytes(shortest.clone()).is_ok());
        for len in COST_AT + CHECK_LEN..shortest.len() {
            let mut cut = shortest[..len].to_vec();
            cut[LEN_AT..COST_AT].copy_from_slice(&(len as u64).to_be_bytes());
            let parsed = RekeyState::from_bytes(with_right_check(cut));
            assert_eq!(parsed, Err(ResumeError::Truncated), "{len}");
        }
    }

    #[test]
    fn starting_over_is_advised_for_states_and_for_no_other_file() {
        let ours = [
            ResumeError::OtherVersion { version: 2 },
            ResumeError::Truncated,
            ResumeError::Damaged,
            ResumeError::Forged,
            ResumeError::OtherPasswords,
            ResumeError::OtherVault,
            ResumeError::OtherPlan,
        ];
        assert!(ours.iter().all(|why| why.hint().ends_with("start over")));
        assert!(ResumeError::NotAState.hint().starts_with("name another file"));
    }

    #[test]
    fn only_the_same_passwords_open_a_state() {
        assert_eq!(opened(sealed(), &key(&[("old", "new")])).unwrap(), b"where it is");
        for others in [
            &[("old", "now")][..],
            &[("odd", "new")],
            &[("new", "old")],
            &[("old", "new"), ("more", "even more")],
            &[],
        ] {
            let refused = opened(sealed(), &key(others)).unwrap_err();
            assert_eq!(refused, ResumeError::OtherPasswords);
        }
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let (sealed, key) = (sealed(), key(&[("old", "new")]));
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0..16 => ResumeError::NotAState,
                16 => ResumeError::OtherVersion { version: changed[16] },
                17..25 if changed[17..25] > sealed[17..25] => ResumeError::Truncated,
                _ => ResumeError::Damaged,
            };
            assert_eq!(opened(changed.clone(), &key), Err(expected), "bit {bit}");
            if bit / 8 >= NONCE_AT && bit / 8 < sealed.len() - CHECK_LEN {
                let forged = opened(with_right_check(changed), &key).unwrap_err();
                let shown = (FLAGS_AT..COMMITMENT_AT).contains(&(bit / 8));
                let expected = if bit / 8 < HEADER_LEN && !shown {
                    ResumeError::OtherPasswords
                } else {
                    ResumeError::Forged
                };
                assert_eq!(forged, expected, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_length_but_its_own_is_refused() {
        let sealed = sealed();
        for len in 0..sealed.len() {
            let expected = if len <= 16 { ResumeError::NotAState } else { ResumeError::Truncated };
            assert_eq!(RekeyState::from_bytes(sealed[..len].to_vec()), Err(expected), "{len}");
        }
        let longer = [&sealed[..], b"x"].concat();
        assert_eq!(RekeyState::from_bytes(longer), Err(ResumeError::Damaged));
    }

    #[test]
    fn a_header_that_asks_for_too_much_is_refused_before_it_costs() {
        let mut expensive = sealed();
        expensive[COST_AT..COST_AT + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let expensive = RekeyState::from_bytes(with_right_check(expensive)).unwrap();
        assert_eq!(expensive.kdf(&KdfLimits::default()), Err(ResumeError::Forged));
    }

    #[test]
    fn a_header_below_the_floor_is_refused_before_a_password_is_tried() {
        let cheap = RekeyState::from_bytes(sealed()).unwrap();
        assert_eq!(cheap.kdf(&KdfLimits::default()), Err(ResumeError::Forged));
        let limits = KdfLimits { floor: KdfMinimum::NONE, ..KdfLimits::default() };
        assert!(cheap.kdf(&limits).is_ok());
    }

    #[test]
    fn a_state_of_version_3_is_refused_as_such() {
        let mut old = sealed();
        old[RekeyState::MAGIC.len()] = 3;
        let refused = RekeyState::from_bytes(with_right_check(old));
        assert_eq!(refused, Err(ResumeError::OtherVersion { version: 3 }));
    }

    #[test]
    fn debug_shows_no_byte() {
        let state = RekeyState(sealed());
        assert_eq!(format!("{state:?}"), format!("RekeyState({} bytes)", state.0.len()));
    }
}
