//! Another implementation of v1, by docs/format.md §5, which also writes: the product only reads
//! it.

#![allow(dead_code, reason = "each test binary uses its own part of it")]

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE},
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use vault_core::store::EnvelopeText;

/// The pad that v1 makes of a password.
pub(crate) struct V1Pad(Vec<u8>);

impl V1Pad {
    pub(crate) fn of(password: &[u8]) -> Self {
        let h = hex::<Md5>(password);
        let p1 = hex::<Sha256>(&h.repeat(4));
        let p2 = hex::<Sha1>(&p1).repeat(3);
        let (p2_sha1, p2_md5) = (hex::<Sha1>(&p2), hex::<Md5>(&p2));
        let p4 = hex::<Sha256>(&[p2_sha1.clone(), p2_md5, p2_sha1].concat());
        let (p4_sha1, p4_md5) = (hex::<Sha1>(&p4), hex::<Md5>(&p4));
        let (of_md5, of_sha1) = (hex::<Sha256>(&p4_md5), hex::<Sha256>(&p4_sha1));
        Self([p4_sha1, of_md5, of_sha1, p4_md5].concat())
    }

    /// The ancestor fills the padding with random characters; any will do.
    pub(crate) fn seal(&self, value: &[u8]) -> EnvelopeText {
        let value = URL_SAFE.encode(value);
        let mut content = format!("{}_{value}", value.len()).into_bytes();
        content.resize(content.len().next_power_of_two().max(128), b'x');
        let mut bytes = STANDARD.encode(content).into_bytes();
        bytes.iter_mut().zip(self.0.iter().cycle()).for_each(|(byte, pad)| *byte ^= pad);
        EnvelopeText::from_stored(URL_SAFE.encode(bytes).into_bytes())
    }
}

fn hex<H: Digest>(bytes: &[u8]) -> Vec<u8> {
    let digits = b"0123456789abcdef";
    H::digest(bytes)
        .iter()
        .flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]])
        .collect()
}

/// What a v1 text is with one password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Value(Vec<u8>),
    WrongPassword,
    Malformed,
}

impl V1Pad {
    /// Opens a text by docs/format.md §5.3.
    pub(crate) fn open(&self, text: &[u8]) -> Opened {
        let lenient: Vec<u8> =
            text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
        let Ok(mut bytes) = engine.decode(lenient) else { return Opened::Malformed };
        let sizes = std::iter::successors(Some(128_usize), |size| size.checked_mul(2));
        if !sizes
            .map(|size| size.div_ceil(3) * 4)
            .take_while(|l| *l <= bytes.len())
            .any(|l| l == bytes.len())
        {
            return Opened::Malformed;
        }
        bytes.iter_mut().zip(self.0.iter().cycle()).for_each(|(byte, pad)| *byte ^= pad);
        let Ok(content) = STANDARD.decode(bytes) else { return Opened::WrongPassword };
        value(&content).map_or(Opened::Malformed, Opened::Value)
    }
}

fn value(content: &[u8]) -> Option<Vec<u8>> {
    let end = content.iter().position(|byte| !byte.is_ascii_digit())?;
    let len: usize = std::str::from_utf8(&content[..end]).ok()?.parse().ok()?;
    let rest = content[end..].strip_prefix(b"_")?;
    URL_SAFE.decode(rest.get(..len)?).ok()
}
