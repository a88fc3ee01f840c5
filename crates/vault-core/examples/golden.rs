//! Writes vectors that another implementation is to open: `golden [COUNT]` prints COUNT random
//! sealed values as JSON.
//!
//! `cargo run -p vault-core --example golden -- 500 | python tests/golden/make.py verify -`

#![expect(clippy::print_stdout, reason = "an example that prints")]

use serde_json::json;
use vault_core::envelope::{Padding, SealParams, seal};
use vault_core::kdf::{KdfMemory, KdfSetting, Salt};
use vault_core::store::BoundTo;
use vault_core::{KdfParams, Password, PasswordKey, RecordId, Token};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(30), |count| count.parse())?;
    let mut memory = KdfMemory::new();
    let mut vectors = Vec::with_capacity(count);
    for number in 0..count {
        // the default cost now and then, since it is what people use
        let params = if number % 50 == 0 { KdfParams::DEFAULT } else { KdfParams::new(16, 1, 2)? };
        let kdf = KdfSetting::generate(params)?;
        let (format, spec) = match number % 3 {
            0 => ("v3", SealParams::V3 { kdf, padding: Padding::None }),
            1 => ("v3", SealParams::V3 { kdf, padding: Padding::Padme }),
            _ => ("v2", SealParams::V2 { params }),
        };
        let value = random_bytes(number * 7 % 2000)?;
        let password = random_bytes(number % 40)?;
        let id = format!("id-{number}-ключ");
        let key = PasswordKey::new(Password::new(password.clone()));
        let token = format!("tk_{number}_🔑");
        let (record, handle) = (RecordId::from_stored(&*id), Token::from_stored(token.clone()));
        let bound_to = BoundTo { id: &record, token: &handle };
        let text = seal(&value, &key, bound_to, &spec, &mut memory)?;
        let text = str::from_utf8(text.as_bytes().unwrap_or_default())?;
        vectors.push(json!({
            "name": format!("rust {number}"), "origin": "rust", "format": format, "id": id, "token": token,
            "password_hex": hex(&password), "value": { "hex": hex(&value), "times": 1 },
            "cost": params.to_string(), "text": text,
        }));
    }
    println!("{}", serde_json::to_string_pretty(&vectors)?);
    Ok(())
}

/// As many random bytes as asked for, from what the library offers: salts.
fn random_bytes(len: usize) -> Result<Vec<u8>, vault_core::store::RngError> {
    let mut bytes = Vec::with_capacity(len + Salt::LEN);
    while bytes.len() < len {
        bytes.extend_from_slice(Salt::generate()?.as_bytes());
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(u32::from(digit), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
