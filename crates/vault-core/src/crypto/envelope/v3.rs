//! The v3 envelope: each record has its own key, is committed to it, and is bound to its id and
//! token.

use std::fmt;

use base64_simd::{AsOut as _, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Malformed, Padding, TAG_LEN};
use crate::crypto::kdf::{KdfParams, KdfSetting, Salt};
use sha256_lanes::DIGEST_LEN;
use vault_store::{EnvelopeText, HEAD_LEN, MAX_ENVELOPE_LEN};

/// The prefix of a v3 text.
const PREFIX: &str = "v3:";

// format.md §3.4, the table of suites
const SUITE_PLAIN: u8 = 0x01;
const SUITE_PADME: u8 = 0x02;

// format.md §3.2, the table of fields
const SUITE_AT: usize = 0;
const M_AT: usize = 1;
const T_AT: usize = 5;
const P_AT: usize = 9;
const SALT_AT: usize = 10;
const NONCE_AT: usize = 26;
const COMMITMENT_AT: usize = 58;
pub(crate) const HEADER_LEN: usize = 90;
/// The number of characters of the header in a text: it ends at a character boundary.
const HEADER_CHARS: usize = HEADER_LEN / 3 * 4;
const _: () = assert!(HEADER_LEN.is_multiple_of(3), "the header would share a character");
const CHECK_LEN: usize = 6;
const _: () =
    assert!(HEAD_LEN == PREFIX.len() + HEADER_CHARS + CHECK_LEN / 3 * 4, "heads are of v3");
const CIPHERTEXT_AT: usize = HEADER_LEN + CHECK_LEN;

/// The length of the random nonce of a write, in bytes.
pub(crate) const NONCE_LEN: usize = 32;
/// The length of a commitment and of a key, in bytes.
pub(crate) const KEY_LEN: usize = 32;

/// A parsed v3 text: `header || check || ciphertext || tag`.
///
/// The numbers of the header are kept as stored. They are validated after the checksum, because an
/// invalid number in a damaged header is damage.
#[derive(PartialEq, Eq)]
pub struct V3 {
    bytes: Vec<u8>,
}

impl V3 {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(body).map_err(|_| Malformed::NotBase64)?;
        if bytes.len() < CIPHERTEXT_AT + TAG_LEN {
            return Err(Malformed::TooShort);
        }
        Ok(Self { bytes })
    }

    /// Returns the length of the text for a plaintext of this length.
    pub(crate) fn text_len(plaintext_len: usize) -> Option<usize> {
        let len = plaintext_len.checked_add(CIPHERTEXT_AT + TAG_LEN)?;
        len.checked_mul(4)?.div_ceil(3).checked_add(PREFIX.len())
    }

    /// Encrypts in place what `append` adds after the header, and appends the tag. The checksum is
    /// [added](Self::put_check) afterwards.
    ///
    /// The buffer never grows, so that no copy of the plaintext is left behind.
    pub(crate) fn assemble<E>(
        header: &Header,
        plaintext_len: usize,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        encrypt: impl FnOnce(&[u8], &mut [u8]) -> Result<[u8; TAG_LEN], E>,
    ) -> Result<Self, E> {
        let len = CIPHERTEXT_AT + plaintext_len + TAG_LEN;
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(&[0; CHECK_LEN]);
        append(&mut bytes)?;
        let (front, plaintext) = bytes.split_at_mut(CIPHERTEXT_AT);
        let tag = encrypt(&front[..HEADER_LEN], plaintext)?;
        bytes.extend_from_slice(&tag);
        Ok(Self { bytes: std::mem::take(&mut *bytes) })
    }

    /// Returns whether the checksum is valid: the first 6 bytes of SHA-256 over header, ciphertext
    /// and tag.
    ///
    /// It is keyless, so that damage anywhere in a vault can be found without a password. It
    /// protects only against accidents: anyone who can write an envelope can write its checksum.
    #[must_use]
    pub fn check_holds(&self) -> bool {
        self.is_check(&digest(self.checked()))
    }

    /// Returns whether a text of this length may be one of this format.
    pub(crate) fn is_text_len(len: u64) -> bool {
        let body = len.saturating_sub(PREFIX.len() as u64);
        body / 4 * 3 + (body % 4).saturating_sub(1) >= (CIPHERTEXT_AT + TAG_LEN) as u64
            && body % 4 != 1
            && len <= MAX_ENVELOPE_LEN as u64
    }

    /// Returns whether these bytes have the form of a v3 envelope with a valid checksum.
    pub(super) fn is_sound(bytes: &[u8]) -> bool {
        bytes.len() >= CIPHERTEXT_AT + TAG_LEN && has_check(bytes, &digest(checked(bytes)))
    }

    /// Returns what the checksum covers, in two parts.
    pub(crate) fn checked(&self) -> [&[u8]; 2] {
        checked(&self.bytes)
    }

    /// Returns whether the checksum matches this digest of what is [checked](Self::checked).
    pub(crate) fn is_check(&self, digest: &[u8; DIGEST_LEN]) -> bool {
        has_check(&self.bytes, digest)
    }

    /// Writes the checksum, given the digest of what is [checked](Self::checked).
    pub(crate) fn put_check(&mut self, digest: &[u8; DIGEST_LEN]) {
        self.bytes[HEADER_LEN..CIPHERTEXT_AT].copy_from_slice(&digest[..CHECK_LEN]);
    }

    /// Returns the salt and cost of the header, whether or not the checksum is valid.
    ///
    /// # Errors
    /// [`Malformed::InvalidCost`] if the numbers are not an Argon2id cost.
    pub fn kdf(&self) -> Result<KdfSetting, Malformed> {
        self.stored_header().kdf()
    }

    /// Returns how the plaintext is padded according to the header's suite, whether or not the
    /// checksum is valid.
    ///
    /// # Errors
    /// [`Malformed::UnknownSuite`] if this program does not know the suite.
    pub fn padding(&self) -> Result<Padding, Malformed> {
        self.stored_header().padding()
    }

    fn stored_header(&self) -> StoredHeader {
        StoredHeader(array(&self.bytes, 0))
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.bytes[..HEADER_LEN]
    }

    pub(crate) fn nonce(&self) -> [u8; NONCE_LEN] {
        self.stored_header().nonce()
    }

    pub(crate) fn commitment(&self) -> [u8; KEY_LEN] {
        self.stored_header().commitment()
    }

    pub(crate) fn ciphertext(&self) -> &[u8] {
        &self.bytes[CIPHERTEXT_AT..self.bytes.len() - TAG_LEN]
    }

    pub(crate) fn tag(&self) -> [u8; TAG_LEN] {
        array(&self.bytes, self.bytes.len() - TAG_LEN)
    }

    /// Returns the text, which is exactly the text that was parsed.
    pub(crate) fn to_text(&self) -> EnvelopeText {
        // exact capacity, so that converting it to a box copies nothing
        let body_len = URL_SAFE_NO_PAD.encoded_length(self.bytes.len());
        let mut text = String::with_capacity(PREFIX.len() + body_len);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_append(&self.bytes, &mut text);
        EnvelopeText::from_stored(text.into_bytes())
    }
}

/// A stored header: it determines the password of an envelope.
pub(crate) struct StoredHeader([u8; HEADER_LEN]);

impl StoredHeader {
    /// Decodes the header of a v3 text, whatever follows it. This costs a quarter of parsing, and
    /// does not detect damage.
    pub(crate) fn of(text: &EnvelopeText) -> Option<Self> {
        Self::at(text.as_bytes()?)
    }

    /// As [`of`](Self::of), of the beginning of a text.
    pub(crate) fn at(beginning: &[u8]) -> Option<Self> {
        let body = beginning.strip_prefix(PREFIX.as_bytes())?;
        let mut header = [0; HEADER_LEN];
        URL_SAFE_NO_PAD.decode(body.get(..HEADER_CHARS)?, header.as_mut_slice().as_out()).ok()?;
        Some(Self(header))
    }

    pub(crate) fn kdf(&self) -> Result<KdfSetting, Malformed> {
        let number = |at| u32::from_be_bytes(array(&self.0, at));
        let p = u32::from(self.0[P_AT]);
        let params =
            KdfParams::new(number(M_AT), number(T_AT), p).map_err(Malformed::InvalidCost)?;
        Ok(KdfSetting { params, salt: Salt::from_bytes(array(&self.0, SALT_AT)) })
    }

    pub(crate) fn padding(&self) -> Result<Padding, Malformed> {
        match self.0[SUITE_AT] {
            SUITE_PLAIN => Ok(Padding::None),
            SUITE_PADME => Ok(Padding::Padme),
            suite => Err(Malformed::UnknownSuite { suite }),
        }
    }

    pub(crate) fn nonce(&self) -> [u8; NONCE_LEN] {
        array(&self.0, NONCE_AT)
    }

    pub(crate) fn commitment(&self) -> [u8; KEY_LEN] {
        array(&self.0, COMMITMENT_AT)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

// format.md §3.2
fn checked(bytes: &[u8]) -> [&[u8]; 2] {
    [&bytes[..HEADER_LEN], &bytes[CIPHERTEXT_AT..]]
}

fn has_check(bytes: &[u8], digest: &[u8; DIGEST_LEN]) -> bool {
    bytes[HEADER_LEN..CIPHERTEXT_AT] == digest[..CHECK_LEN]
}

/// The digest whose first bytes are the checksum.
pub(crate) fn digest(checked: [&[u8]; 2]) -> [u8; DIGEST_LEN] {
    Sha256::new().chain_update(checked[0]).chain_update(checked[1]).finalize().into()
}

/// Shows the length only: whatever is stored is a ciphertext to attack.
impl fmt::Debug for V3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V3({} bytes)", self.bytes.len())
    }
}

/// Returns the suite with this padding.
pub(crate) fn suite_of(padding: Padding) -> u8 {
    match padding {
        Padding::None => SUITE_PLAIN,
        Padding::Padme => SUITE_PADME,
    }
}

/// The header of an envelope being created.
pub(crate) struct Header {
    pub(crate) padding: Padding,
    pub(crate) kdf: KdfSetting,
    /// The lanes, which a header stores in one byte.
    pub(crate) p: u8,
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) commitment: [u8; KEY_LEN],
}

impl Header {
    // format.md §3.2
    pub(crate) fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[SUITE_AT] = suite_of(self.padding);
        bytes[M_AT..T_AT].copy_from_slice(&self.kdf.params.m_cost().to_be_bytes());
        bytes[T_AT..P_AT].copy_from_slice(&self.kdf.params.t_cost().to_be_bytes());
        bytes[P_AT] = self.p;
        bytes[SALT_AT..NONCE_AT].copy_from_slice(self.kdf.salt.as_bytes());
        bytes[NONCE_AT..COMMITMENT_AT].copy_from_slice(&self.nonce);
        bytes[COMMITMENT_AT..].copy_from_slice(&self.commitment);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What the `base64` crate makes of a body: RFC 4648 §5 without padding, strictly.
    fn strictly(body: &[u8]) -> Option<Vec<u8>> {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).ok()
    }

    fn bytes(body: &[u8]) -> Option<Vec<u8>> {
        match V3::parse(body) {
            Ok(envelope) => Some(envelope.bytes),
            Err(Malformed::TooShort) => strictly(body).inspect(|bytes| assert!(bytes.len() < 112)),
            Err(_) => None,
        }
    }

    proptest! {
        #[test]
        fn texts_are_read_as_strictly_as_by_the_base64_crate_and_given_back(
            content in vec(any::<u8>(), 90..400),
            place in any::<prop::sample::Index>(),
            put in any::<u8>(),
        ) {
            let mut body =
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&content).into_bytes();
            prop_assert_eq!(bytes(&body), Some(content));
            let place = place.index(body.len());
            body[place] = put;
            prop_assert_eq!(bytes(&body), strictly(&body));
            if let Ok(envelope) = V3::parse(&body) {
                let text = [PREFIX.as_bytes(), &body].concat();
                prop_assert_eq!(envelope.to_text(), EnvelopeText::from_stored(text.clone()));
                let plaintext_len = envelope.ciphertext().len();
                prop_assert_eq!(V3::text_len(plaintext_len), Some(text.len()));
            }
        }

        #[test]
        fn a_text_of_another_length_than_is_possible_is_none(len in 0usize..400) {
            let parses = V3::parse(&vec![b'A'; len]).is_ok();
            prop_assert_eq!(V3::is_text_len((PREFIX.len() + len) as u64), parses);
        }

        #[test]
        fn every_last_character_is_judged_as_strictly(
            mut body in "[A-Za-z0-9_-]{148,170}", last in any::<u8>(),
        ) {
            prop_assert_eq!(bytes(body.as_bytes()), strictly(body.as_bytes()));
            body.push(char::from(last & 0x7f));
            prop_assert_eq!(bytes(body.as_bytes()), strictly(body.as_bytes()));
        }
    }
}
