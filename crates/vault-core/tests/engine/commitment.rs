//! One envelope, one password: a ciphertext that AES-GCM opens under two keys is refused under the
//! second.
//!
//! AES-GCM does not commit to its key. An attacker who knows two passwords can build a record that
//! opens under both (Len, Grubbs, Ristenpart: *Partitioning Oracle Attacks*, USENIX Security 2021,
//! §3); a rekey that tries both could then be led. This builds such a record from the crates that
//! we seal with, shows that the bare cipher falls for it, and that `open` does not.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
    aes::{Aes256, cipher::BlockCipherEncrypt},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use vault_core::envelope::{Envelope, OpenOutcome, OpenPolicy, open};
use vault_core::kdf::KdfMemory;
use vault_core::store::BoundTo;
use vault_core::store::EnvelopeText;
use vault_core::{Password, PasswordKey, RecordId, Token};

const SALT: [u8; 16] = *b"salt of the test";
const NONCE: [u8; 32] = [7; 32];
const ID: &str = "planted";
const TOKEN: &str = "tk_planted";

#[test]
fn a_ciphertext_of_two_keys_opens_under_the_committed_password_only() {
    let keys = ["the old password", "the new password"].map(Keys::of);
    let mut header = vec![1];
    header.extend([8u32, 1].map(u32::to_be_bytes).concat());
    header.push(1);
    header.extend([&SALT[..], &NONCE, &keys[0].commitment].concat());
    let len = |text: &str| u32::try_from(text.len()).unwrap().to_be_bytes();
    let aad = [&header[..], &len(ID), ID.as_bytes(), &len(TOKEN), TOKEN.as_bytes()].concat();

    let (block, tag) = two_key_block(&keys, &aad);
    let sealed = [block, tag].concat();
    for keys in &keys {
        let payload = Payload { msg: &sealed, aad: &aad };
        let opened = Aes256Gcm::new(&keys.key.into()).decrypt(&keys.iv.into(), payload);
        assert_eq!(
            opened.map(|value| value.len()),
            Ok(16),
            "the control: AES-GCM opens under both"
        );
    }

    let check = Sha256::new().chain_update(&header).chain_update(&sealed).finalize();
    let bytes = [&header[..], &check[..6], &sealed].concat();
    let text =
        EnvelopeText::from_stored(format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes());
    assert!(matches!(opened(&text, "the old password"), OpenOutcome::Opened(_)));
    assert!(matches!(opened(&text, "the new password"), OpenOutcome::WrongPassword));
}

fn opened(text: &EnvelopeText, password: &str) -> OpenOutcome {
    let key = PasswordKey::new(Password::new(password));
    let (id, policy) = (RecordId::from_stored(ID), OpenPolicy::trusting());
    let token = Token::from_stored(TOKEN.to_owned());
    let envelope = Envelope::parse(text).unwrap();
    let bound_to = BoundTo { id: &id, token: &token };
    open(&envelope, &key, bound_to, &policy, &mut KdfMemory::new()).unwrap()
}

/// What a password, the salt and the nonce give (`docs/format.md` §3.3), derived without the code
/// under test.
struct Keys {
    commitment: [u8; 32],
    key: [u8; 32],
    iv: [u8; 12],
}

impl Keys {
    fn of(password: &str) -> Self {
        let params = argon2::Params::new(8, 1, 1, Some(32)).unwrap();
        let argon2 =
            argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let (mut master, mut okm) = ([0; 32], [0; 76]);
        argon2.hash_password_into(password.as_bytes(), &SALT, &mut master).unwrap();
        let info = [b"vaultstore/v3", &[1][..], &NONCE].concat();
        Hkdf::<Sha256>::from_prk(&master).unwrap().expand(&info, &mut okm).unwrap();
        let (commitment, rest) = okm.split_first_chunk().unwrap();
        let (key, iv) = rest.split_first_chunk().unwrap();
        Self { commitment: *commitment, key: *key, iv: iv.try_into().unwrap() }
    }

    fn encrypt_block(&self, block: [u8; 16]) -> u128 {
        let mut block = block.into();
        Aes256::new(&self.key.into()).encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }

    /// GHASH's key, and what GCM adds to GHASH to make the tag (NIST SP 800-38D §6.4, §7.1).
    fn ghash_key_and_mask(&self) -> (u128, u128) {
        let mut counter = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        counter[..12].copy_from_slice(&self.iv);
        (self.encrypt_block([0; 16]), self.encrypt_block(counter))
    }
}

/// One ciphertext block and the tag that fit both keys.
///
/// With a zero block both tags are known and differ by `gap`. A block `x` adds `x * h * h` to each,
/// so `x = gap / (h1 * h1 + h2 * h2)` closes the gap.
fn two_key_block(keys: &[Keys; 2], aad: &[u8]) -> ([u8; 16], [u8; 16]) {
    let [(h1, mask1), (h2, mask2)] = keys.each_ref().map(Keys::ghash_key_and_mask);
    let gap = ghash(h1, aad, 0) ^ mask1 ^ ghash(h2, aad, 0) ^ mask2;
    let block = multiply(gap, invert(multiply(h1, h1) ^ multiply(h2, h2)));
    let tag = ghash(h1, aad, block) ^ mask1;
    assert_eq!(tag, ghash(h2, aad, block) ^ mask2);
    (block.to_be_bytes(), tag.to_be_bytes())
}

/// GHASH over additional data, one block of ciphertext, and their lengths.
fn ghash(h: u128, aad: &[u8], block: u128) -> u128 {
    let mut blocks: Vec<u128> = aad
        .chunks(16)
        .map(|chunk| {
            let mut padded = [0; 16];
            padded[..chunk.len()].copy_from_slice(chunk);
            u128::from_be_bytes(padded)
        })
        .collect();
    blocks.extend([block, (aad.len() as u128 * 8) << 64 | 128]);
    blocks.into_iter().fold(0, |sum, block| multiply(sum ^ block, h))
}

/// Multiplication in GCM's field (NIST SP 800-38D §6.3).
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= shifted;
        }
        let reduce = if shifted & 1 == 1 { 0xe1 << 120 } else { 0 };
        shifted = shifted >> 1 ^ reduce;
    }
    product
}

/// The inverse: the power 2^128 - 2.
fn invert(x: u128) -> u128 {
    // in GCM's bit order 1 is the highest bit
    let (mut power, mut inverse) = (x, 1 << 127);
    for _ in 1..128 {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    inverse
}
