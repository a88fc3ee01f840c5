//! What the other implementation of v1 makes of a text.

use base64::{
    Engine as _, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD, URL_SAFE},
};

use crate::v1::V1Pad;

/// What a v1 text is with one password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Value(Vec<u8>),
    WrongPassword,
    Malformed,
}

impl Opened {
    /// Opens a text by docs/format.md §5.3.
    pub(crate) fn of(text: &[u8], pad: &V1Pad) -> Self {
        let lenient: Vec<u8> =
            text.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect();
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
        let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
        let Ok(mut bytes) = engine.decode(lenient) else { return Self::Malformed };
        let sizes = std::iter::successors(Some(128_usize), |size| size.checked_mul(2));
        if !sizes
            .map(|size| size.div_ceil(3) * 4)
            .take_while(|l| *l <= bytes.len())
            .any(|l| l == bytes.len())
        {
            return Self::Malformed;
        }
        pad.apply(&mut bytes);
        let Ok(content) = STANDARD.decode(bytes) else { return Self::WrongPassword };
        value(&content).map_or(Self::Malformed, Self::Value)
    }
}

fn value(content: &[u8]) -> Option<Vec<u8>> {
    let end = content.iter().position(|byte| !byte.is_ascii_digit())?;
    let len: usize = std::str::from_utf8(&content[..end]).ok()?.parse().ok()?;
    let rest = content[end..].strip_prefix(b"_")?;
    URL_SAFE.decode(rest.get(..len)?).ok()
}
