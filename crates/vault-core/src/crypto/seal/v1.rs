//! Opening a v1 envelope, which authenticates nothing.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use zeroize::Zeroizing;

use super::OpenOutcome;
use crate::crypto::envelope::{Malformed, V1};
use crate::crypto::key::V1Key;
use crate::crypto::secret::Plaintext;

// format.md §5.3
pub(crate) fn open(envelope: &V1, key: &V1Key) -> OpenOutcome {
    let mut encoded = Zeroizing::new(envelope.bytes().to_vec());
    for (byte, pad) in encoded.iter_mut().zip(key.pad().iter().cycle()) {
        *byte ^= pad;
    }
    // the only check of the password there is
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

/// Extracts the value from `<decimal length>_<value><random padding>`.
fn value_of(content: &[u8]) -> Option<&[u8]> {
    let underscore = content.iter().position(|byte| *byte == b'_')?;
    let (digits, rest) = content.split_at(underscore);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len: usize = str::from_utf8(digits).ok()?.parse().ok()?;
    // skip the underscore
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::envelope::Envelope;
    use crate::crypto::envelope::LEAST_CONTENT_LEN;
    use crate::crypto::secret::Password;
    use vault_store::EnvelopeText;

    /// Creates a v1 text around this content, as a v1 writer would.
    fn outcome(content: &[u8]) -> OpenOutcome {
        let key = V1Key::new(&Password::new("password"));
        let mut content = content.to_vec();
        content.resize(content.len().next_power_of_two().max(LEAST_CONTENT_LEN), b'x');
        let mut bytes = STANDARD.encode(content).into_bytes();
        bytes.iter_mut().zip(key.pad().iter().cycle()).for_each(|(byte, pad)| *byte ^= pad);
        let text = URL_SAFE.encode(bytes);
        let Ok(Envelope::V1(envelope)) =
            Envelope::parse(&EnvelopeText::from_stored(text.into_bytes()))
        else {
            panic!("a v1 envelope")
        };
        open(&envelope, &key)
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
}
