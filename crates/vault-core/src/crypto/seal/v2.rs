//! Sealing and opening v2, which takes an Argon2id per record.

use aes_gcm::aes::{Aes128, Aes192, Aes256};
use zeroize::Zeroizing;

use super::SealError;
use super::aes::{decrypt, encrypt};
use crate::crypto::envelope::{AesKeyLen, IV_LEN, KEY_LEN, TAG_LEN, V2, V2Params, V2Parts};
use crate::crypto::kdf::{KdfError, KdfMemory};
use crate::crypto::key::PasswordKey;
use crate::crypto::secret::Plaintext;
use vault_store::{EnvelopeText, MAX_ENVELOPE_LEN};

/// Seals a value as v2 with all parameters that v2 does not store; it opens with the same ones.
pub(crate) fn seal_as(
    value: &[u8],
    key: &PasswordKey,
    params: &V2Params,
    memory: &mut KdfMemory,
) -> Result<EnvelopeText, SealError> {
    let mut salt_and_iv = vec![0; params.salt_len() + IV_LEN];
    vault_store::fill_random(&mut salt_and_iv)?;
    seal_with(value, key, params, &salt_and_iv, memory)
}

/// Seals as v2 with a given salt and initialization vector, which must never be reused.
// format.md §4.1
pub(super) fn seal_with(
    value: &[u8],
    key: &PasswordKey,
    params: &V2Params,
    salt_and_iv: &[u8],
    memory: &mut KdfMemory,
) -> Result<EnvelopeText, SealError> {
    let (salt, iv) = salt_and_iv.split_at(params.salt_len());
    if V2::text_len(value.len(), params.salt_len()).is_none_or(|len| len > MAX_ENVELOPE_LEN) {
        return Err(SealError::TooLarge);
    }
    let mut buffer = Zeroizing::new([0; KEY_LEN]);
    let aes_key = &mut buffer[..params.key_len().bytes()];
    memory.derive(key.password().as_bytes(), salt, params.params(), aes_key)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(salt_and_iv.len() + value.len() + TAG_LEN));
    bytes.extend_from_slice(salt_and_iv);
    bytes.extend_from_slice(value);
    let mut iv_array = [0; IV_LEN];
    iv_array.copy_from_slice(iv);
    let plaintext = &mut bytes[salt_and_iv.len()..];
    let tag = match params.key_len() {
        AesKeyLen::Bytes16 => encrypt::<Aes128>(aes_key, &iv_array, &[], plaintext),
        AesKeyLen::Bytes24 => encrypt::<Aes192>(aes_key, &iv_array, &[], plaintext),
        AesKeyLen::Bytes32 => encrypt::<Aes256>(aes_key, &iv_array, &[], plaintext),
    }?;
    bytes.extend_from_slice(&tag);
    Ok(V2::from_bytes(std::mem::take(&mut *bytes)).to_text())
}

// format.md §4.3
pub(super) fn open(
    envelope: &V2,
    costs: &[V2Params],
    key: &PasswordKey,
    memory: &mut KdfMemory,
) -> Result<Option<(V2Params, Plaintext)>, KdfError> {
    for cost in costs {
        let Some(V2Parts { salt, iv, ciphertext, tag }) = envelope.parts(cost.salt_len()) else {
            continue;
        };
        let mut buffer = Zeroizing::new([0; KEY_LEN]);
        let aes_key = &mut buffer[..cost.key_len().bytes()];
        memory.derive(key.password().as_bytes(), salt, cost.params(), aes_key)?;
        let value = match cost.key_len() {
            AesKeyLen::Bytes16 => decrypt::<Aes128>(aes_key, iv, &[], ciphertext, tag),
            AesKeyLen::Bytes24 => decrypt::<Aes192>(aes_key, iv, &[], ciphertext, tag),
            AesKeyLen::Bytes32 => decrypt::<Aes256>(aes_key, iv, &[], ciphertext, tag),
        };
        if let Some(value) = value {
            return Ok(Some((*cost, Plaintext::from_zeroizing(value))));
        }
    }
    Ok(None)
}
