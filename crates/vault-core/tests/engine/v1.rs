//! Another implementation of v1, by docs/format.md §5, which also writes: the product only reads
//! it. The simulation includes this file.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
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

    /// Encrypts or decrypts in place.
    pub(crate) fn apply(&self, bytes: &mut [u8]) {
        bytes.iter_mut().zip(self.0.iter().cycle()).for_each(|(byte, pad)| *byte ^= pad);
    }

    /// The Go package fills the padding with random characters; any will do.
    pub(crate) fn seal(&self, value: &[u8]) -> EnvelopeText {
        let value = URL_SAFE.encode(value);
        let mut content = format!("{}_{value}", value.len()).into_bytes();
        content.resize(content.len().next_power_of_two().max(128), b'x');
        let mut bytes = STANDARD.encode(content).into_bytes();
        self.apply(&mut bytes);
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
