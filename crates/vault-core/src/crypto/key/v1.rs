//! The key of a v1 envelope: a pad derived from the password alone.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::crypto::secret::Password;

/// The pad that v1 derives from a password: 200 hexadecimal characters, wiped on drop.
pub(crate) struct V1Key(Zeroizing<Vec<u8>>);

impl V1Key {
    /// Returns the pad, to be repeated over the envelope.
    pub(crate) fn pad(&self) -> &[u8] {
        &self.0
    }

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

/// Returns the hash of the concatenated parts, as the lower-case hexadecimal text that v1 continues
/// with.
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
