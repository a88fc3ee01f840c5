//! The v1 envelope of the Go package, read only: an XOR with a pad that depends on nothing but the
//! password.

use std::fmt;

use super::{Malformed, v2::decode_lenient};

/// The minimum size of the padded content, in bytes; the others are its doubles (`docs/format.md`
/// §5.1).
pub(crate) const LEAST_CONTENT_LEN: usize = 128;

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

    /// The bytes under the XOR.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_a_writer_makes_are_v1() {
        let lens: Vec<_> = (0..3000).filter(|len| is_encoded_content_len(*len)).collect();
        assert_eq!(lens, [172, 344, 684, 1368, 2732]);
        assert!(!is_encoded_content_len(usize::MAX));
    }
}
