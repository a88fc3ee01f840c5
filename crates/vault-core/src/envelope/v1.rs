//! The v1 envelope of the Go ancestor, read only: an XOR with a pad that depends on nothing but the password.

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Malformed, v2::decode_lenient};
use crate::{OpenOutcome, Password, Plaintext};

/// The least size of the padded content, in bytes; the others are its doubles (`docs/format.md` §5.1).
const LEAST_CONTENT_LEN: usize = 128;

/// A parsed v1 text: the bytes under the XOR.
#[derive(PartialEq, Eq)]
pub struct V1 {
    bytes: Vec<u8>,
}

impl V1 {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let bytes = decode_lenient(text)?;
        if is_encoded_content_len(bytes.len()) {
            Ok(Self { bytes })
        } else {
            Err(Malformed::V1Size)
        }
    }

    // format.md §5.3
    pub(crate) fn open(&self, key: &V1Key) -> OpenOutcome {
        let mut encoded = Zeroizing::new(self.bytes.clone());
        for (byte, pad) in encoded.iter_mut().zip(key.0.iter().cycle()) {
            *byte ^= pad;
        }
        // the only check of the password that there is
        let Some(content) = decode_secret(&STANDARD, &encoded) else {
            return OpenOutcome::WrongPassword;
        };
        let Some(value) = value_of(&content) else {
            return OpenOutcome::Malformed(Malformed::V1ValueLen);
        };
        match decode_secret(&URL_SAFE, value) {
            Some(value) => OpenOutcome::Opened(Plaintext::from_zeroizing(value)),
            None => OpenOutcome::Malformed(Malformed::V1Value),
        }
    }
}

/// Shows the length only: whatever is stored is a ciphertext to attack.
impl fmt::Debug for V1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V1({} bytes)", self.bytes.len())
    }
}

/// Whether some content of 128, 256, 512, ... bytes has this length in base64.
///
/// Every cut is found by this, without a key.
fn is_encoded_content_len(len: usize) -> bool {
    let content_lens = std::iter::successors(Some(LEAST_CONTENT_LEN), |len| len.checked_mul(2));
    content_lens.map(|content| content.div_ceil(3) * 4).take_while(|l| *l <= len).any(|l| l == len)
}

/// Takes the value out of `<decimal length>_<value><random padding>`.
fn value_of(content: &[u8]) -> Option<&[u8]> {
    let underscore = content.iter().position(|byte| *byte == b'_')?;
    let (digits, rest) = content.split_at(underscore);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    // the underscore itself is in front
    rest.get(1..)?.get(..len)
}

/// Decodes base64 into a buffer that is wiped and never grows.
fn decode_secret(
    engine: &base64::engine::GeneralPurpose,
    text: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let len = engine.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// The pad that v1 makes of a password: 200 hexadecimal characters, wiped on drop.
pub(crate) struct V1Key(Zeroizing<Vec<u8>>);

impl V1Key {
    // format.md §5.2
    pub(crate) fn new(password: &Password) -> Self {
        let md5 = hex::<Md5>(&[password.as_bytes()]);
        let p1 = hex::<Sha256>(&[&md5, &md5, &md5, &md5]);
        let p1_sha1 = hex::<Sha1>(&[&p1]);
        let p2 = [&p1_sha1[..]; 3];
        let (p2_sha1, p2_md5) = (hex::<Sha1>(&p2), hex::<Md5>(&p2));
        let p3 = [&p2_sha1[..], &p2_md5[..], &p2_sha1[..]];
        let p4 = hex::<Sha256>(&p3);
        let (p4_sha1, p4_md5) = (hex::<Sha1>(&[&p4]), hex::<Md5>(&[&p4]));
        let parts =
            [&p4_sha1[..], &hex::<Sha256>(&[&p4_md5]), &hex::<Sha256>(&[&p4_sha1]), &p4_md5];
        let mut pad = Zeroizing::new(Vec::with_capacity(200));
        for part in parts {
            pad.extend_from_slice(part);
        }
        Self(pad)
    }
}

/// The hash of the concatenated parts, as the lower-case hexadecimal text that v1 goes on with.
fn hex<H: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut hash = H::new();
    for part in parts {
        hash.update(part);
    }
    let digest = Zeroizing::new(hash.finalize().to_vec());
    let digits = b"0123456789abcdef";
    let mut text = Zeroizing::new(Vec::with_capacity(2 * digest.len()));
    for byte in digest.iter() {
        text.push(digits[usize::from(byte >> 4)]);
        text.push(digits[usize::from(byte & 15)]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A v1 text around this content, as a writer of v1 would make it.
    fn outcome(content: &[u8]) -> OpenOutcome {
        let key = V1Key::new(&Password::new("password"));
        let mut content = content.to_vec();
        content.resize(content.len().next_power_of_two().max(LEAST_CONTENT_LEN), b'x');
        let mut bytes = STANDARD.encode(content).into_bytes();
        bytes.iter_mut().zip(key.0.iter().cycle()).for_each(|(byte, pad)| *byte ^= pad);
        let text = URL_SAFE.encode(bytes);
        V1::parse(text.as_bytes()).unwrap().open(&key)
    }

    #[test]
    fn a_length_that_lies_is_malformed_and_never_a_panic() {
        assert!(matches!(outcome(b"4_YWJj"), OpenOutcome::Opened(v) if v.as_bytes() == b"abc"));
        let no_len = ["_YWJj", "YWJj", "-1_YWJj", "+4_YWJj", "4 _YWJj", "127_YWJj", ""];
        for content in no_len.into_iter().chain(["99999999999999999999999999_YWJj", "126_"]) {
            let outcome = outcome(content.as_bytes());
            let expected = matches!(outcome, OpenOutcome::Malformed(Malformed::V1ValueLen));
            assert!(expected, "{content}: {outcome:?}");
        }
        for content in ["3_YWJj", "4_YW-!", "5_YWJjZ", "4_YWJ="] {
            let outcome = outcome(content.as_bytes());
            let expected = matches!(outcome, OpenOutcome::Malformed(Malformed::V1Value));
            assert!(expected, "{content}: {outcome:?}");
        }
    }

    #[test]
    fn only_lengths_that_a_writer_makes_are_v1() {
        let lens: Vec<_> = (0..3000).filter(|len| is_encoded_content_len(*len)).collect();
        assert_eq!(lens, [172, 344, 684, 1368, 2732]);
        assert!(!is_encoded_content_len(usize::MAX));
    }
}
