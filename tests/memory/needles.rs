//! What is searched for: the secrets of the child's life, derived once more from what is no secret.

use std::{fs, path::Path};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use hkdf::Hkdf;
use sha2::{Sha256, block_api::compress256};

use crate::child::{RECORDS, cost, secret};

/// One form of a half of a secret: wiping only a part of one does not wipe it.
pub(crate) struct Needle {
    pub(crate) name: String,
    pub(crate) form: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// Whether the child has it in memory as long as it uses its secrets.
    pub(crate) is_held: bool,
}

/// Of the child that keeps its envelopes in this folder.
pub(crate) fn of_a_life(folder: &Path) -> Vec<Needle> {
    let mut needles = Vec::new();
    let mut add = |name: String, bytes: &[u8], is_held| {
        needles.extend(forms(&name, bytes, is_held));
    };
    for label in ["old", "middle", "new"] {
        add(format!("password {label}"), &secret(label), true);
    }
    for number in 0..RECORDS {
        add(format!("value {number}"), &secret(&format!("value {number}")), true);
    }
    for label in ["old", "new"] {
        for (number, bytes) in envelopes(&folder.join(format!("v3 {label}")), 3).iter().enumerate()
        {
            let (salt, suite, nonce) = (&bytes[10..26], bytes[0], &bytes[26..58]);
            let master = argon2id(&secret(label), salt);
            let okm: [u8; 76] = expand(&master, &[b"vaultstore/v3", &[suite], nonce]);
            add(format!("v3 key {number} of {label}"), &okm[32..64], false);
            if number == 0 {
                add(format!("master of {label}"), &master, false);
                let [inner, outer] = hmac_states(&master);
                add(format!("inner HMAC state of {label}"), &inner, true);
                add(format!("outer HMAC state of {label}"), &outer, true);
                let state: [u8; 32] = expand(&master, &[b"vaultstore/rekey-state"]);
                add(format!("part of {label} in a rekey's state"), &state, false);
            }
        }
    }
    for (number, bytes) in envelopes(&folder.join("v2 middle"), 2).iter().enumerate() {
        let key = argon2id(&secret("middle"), &bytes[..16]);
        add(format!("v2 key {number} of middle"), &key, false);
    }
    needles
}

/// Only the raw form is held: that it is written in no other one is what the others are for.
fn forms(name: &str, bytes: &[u8], is_held: bool) -> Vec<Needle> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let halves = [("first", first), ("second", second)];
    let needle = |half: &str, form, bytes, is_held| {
        let name = format!("{half} half of {name}");
        Needle { name, form, bytes, is_held }
    };
    let forms = |(half, bytes): (&'static str, &[u8])| {
        let hex =
            |digit: fn(u8) -> String| bytes.iter().map(|byte| digit(*byte)).collect::<String>();
        [
            needle(half, "bytes", bytes.to_vec(), is_held),
            needle(half, "hex", hex(|byte| format!("{byte:02x}")).into(), false),
            needle(half, "HEX", hex(|byte| format!("{byte:02X}")).into(), false),
            needle(half, "base64", STANDARD_NO_PAD.encode(bytes).into(), false),
            needle(half, "base64url", URL_SAFE_NO_PAD.encode(bytes).into(), false),
            needle(half, "UTF-16", bytes.iter().flat_map(|byte| [*byte, 0]).collect(), false),
        ]
    };
    halves.into_iter().flat_map(forms).collect()
}

/// The bytes of all envelopes of this version.
fn envelopes(path: &Path, version: u8) -> Vec<Vec<u8>> {
    let lines = fs::read_to_string(path).unwrap();
    let engine = if version == 2 { &URL_SAFE } else { &URL_SAFE_NO_PAD };
    let envelope = |line: &str| {
        let (_, text) = line.split_once(' ').unwrap();
        engine.decode(text.strip_prefix(&format!("v{version}:")).unwrap()).unwrap()
    };
    let all: Vec<_> = lines.lines().map(envelope).collect();
    assert_eq!(all.len(), RECORDS);
    all
}

fn argon2id(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let params = Params::new(cost().m_cost(), cost().t_cost(), cost().p_cost(), Some(32)).unwrap();
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut key)
        .unwrap();
    key
}

fn expand<const LEN: usize>(master: &[u8], info: &[&[u8]]) -> [u8; LEN] {
    let mut okm = [0; LEN];
    Hkdf::<Sha256>::from_prk(master).unwrap().expand_multi_info(info, &mut okm).unwrap();
    okm
}

/// The two states of SHA-256 that an HMAC key is kept as, as they lie in memory: an attacker who
/// has them has the key.
fn hmac_states(key: &[u8; 32]) -> [Vec<u8>; 2] {
    [0x36_u8, 0x5c].map(|pad| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        // FIPS 180-4 §5.3.3
        let mut state = [
            0x6a09_e667,
            0xbb67_ae85,
            0x3c6e_f372,
            0xa54f_f53a,
            0x510e_527f,
            0x9b05_688c,
            0x1f83_d9ab,
            0x5be0_cd19,
        ];
        compress256(&mut state, &[block]);
        state.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
    })
}
