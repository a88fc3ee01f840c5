//! A second sealer, from `docs/format.md` alone: it puts anything behind a valid check, commitment
//! and tag.

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};

/// The password of everything that is sealed here.
pub(crate) const PASSWORD: &str = "fuzz";

/// The id of everything that is sealed here.
pub(crate) const ID: &str = "0192f0c1-0000-7000-8000-000000000000";

/// The token of everything that is sealed here.
pub(crate) const TOKEN: &str = "tk_0123456789abcdefghjkmnpqrstvw";

/// Both together.
pub(crate) const BOUND_TO: (&str, &str) = (ID, TOKEN);

/// The cheapest Argon2id that there is: m = 8 KiB, t = 1, p = 1.
pub(crate) const M_KIB: u32 = 8;

/// The salt of everything that is sealed here.
pub(crate) const SALT: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Argon2id of the password with this salt and cost, made by argon2-cffi.
const DERIVED: [u8; 32] = [
    0x14, 0x4e, 0x53, 0x97, 0x4c, 0xff, 0x66, 0x9b, 0x41, 0x8c, 0xdb, 0x03, 0x3f, 0xe4, 0x1d, 0x07,
    0x4f, 0x63, 0x06, 0x88, 0xf6, 0x3c, 0x22, 0xb7, 0x4e, 0x46, 0x9f, 0x21, 0x12, 0xef, 0xaa, 0xc9,
];

/// What v1 XORs with under this password, made by Python's hashlib.
const V1_PAD: &[u8; 200] = b"c0e4fb4f9ac766cf270ce8eaa71486d8e24072fa303b3e058ce96e105c527c3f8919c40a27f39ec996ceada29e5f\
a38caeba763ebe2ec253a258c000ef394965dd1467fe93ee8f5140cc33364cf46bff180e8b1061a41611d39f2686d99d126804116493";

const HEADER_LEN: usize = 90;
const CHECK_LEN: usize = 6;

/// A change to one byte of what is authenticated; none when it changes nothing.
#[derive(Clone, Copy)]
pub(crate) struct Damage {
    pub(crate) at: usize,
    pub(crate) xor: u8,
}

impl Damage {
    fn apply(self, bytes: &mut [u8]) {
        if let Some(at) = self.at.checked_rem(bytes.len()) {
            bytes[at] ^= self.xor;
        }
    }
}

/// A v3 text of this suite, bound to this id and token, whose plaintext is these bytes, damaged
/// under a check that holds.
pub(crate) fn v3(suite: u8, plaintext: &[u8], damage: Damage, bound_to: (&str, &str)) -> Vec<u8> {
    let nonce = [suite; 32];
    let mut okm = [0; 76];
    let hkdf = Hkdf::<Sha256>::from_prk(&DERIVED).expect("32 bytes are a key");
    hkdf.expand_multi_info(&[b"vaultstore/v3", &[suite], &nonce], &mut okm)
        .expect("76 bytes are less than 8,160");
    let mut header = vec![suite];
    for part in [&M_KIB.to_be_bytes()[..], &1u32.to_be_bytes(), &[1], &SALT, &nonce, &okm[..32]] {
        header.extend_from_slice(part);
    }
    assert_eq!(header.len(), HEADER_LEN);
    let len = |text: &str| u32::try_from(text.len()).expect("both are short").to_be_bytes();
    let (id, token) = (bound_to.0, bound_to.1);
    let aad = [&header[..], &len(id), id.as_bytes(), &len(token), token.as_bytes()].concat();
    let sealed = gcm(&okm[32..64], &okm[64..], plaintext, &aad);
    let mut authenticated = [header, sealed].concat();
    damage.apply(&mut authenticated);
    let check = Sha256::digest(&authenticated);
    let (header, sealed) = authenticated.split_at(HEADER_LEN);
    let bytes = [header, &check[..CHECK_LEN], sealed].concat();
    format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes()
}

/// A v2 text of this value, damaged.
pub(crate) fn v2(value: &[u8], damage: Damage) -> Vec<u8> {
    let iv = [7; 12];
    let mut bytes = [&SALT[..], &iv, &gcm(&DERIVED, &iv, value, &[])].concat();
    damage.apply(&mut bytes);
    format!("v2:{}", URL_SAFE.encode(bytes)).into_bytes()
}

/// A v1 text with this content, whatever it is, filled up to a length that v1 has.
pub(crate) fn v1(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(content.len().next_power_of_two().max(128), b'x');
    let encoded = STANDARD.encode(content);
    let xored: Vec<u8> =
        encoded.bytes().zip(V1_PAD.iter().cycle()).map(|(byte, pad)| byte ^ pad).collect();
    URL_SAFE.encode(xored).into_bytes()
}

fn gcm(key: &[u8], iv: &[u8], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let aes = Aes256Gcm::new_from_slice(key).expect("the key has 32 bytes");
    let nonce = Nonce::try_from(iv).expect("the initialization vector has 12 bytes");
    aes.encrypt(&nonce, Payload { msg: plaintext, aad }).expect("the plaintext is far below 64 GiB")
}
