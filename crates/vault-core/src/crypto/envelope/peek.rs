//! What the first characters of a stored text say, without parsing the rest.

use vault_store::EnvelopeText;

use super::{Format, StoredHeader};

/// The length of this part of a v3 text: the prefix, suite, cost and all of the salt but its last
/// four bits.
const V3_KDF_CHARS: usize = 3 + 34;

/// The front of a stored text, intact or not. It detects no damage: [`Envelope::parse`] and opening
/// judge the rest.
///
/// [`Envelope::parse`]: super::Envelope::parse
#[derive(Clone, Copy)]
pub(crate) struct Peek<'a> {
    text: &'a EnvelopeText,
    format: Format,
}

/// The salt and cost of a v3 text as it spells them, to compare.
pub(crate) type V3KdfChars = [u8; V3_KDF_CHARS];

impl<'a> Peek<'a> {
    // format.md §1
    pub(crate) fn at(text: &'a EnvelopeText) -> Self {
        let bytes = text.as_bytes().unwrap_or_default();
        let format = match bytes.first_chunk() {
            Some(b"v2:") => Format::V2,
            Some(b"v3:") => Format::V3,
            _ => Format::V1,
        };
        Self { text, format }
    }

    /// The format of an intact envelope that starts like this.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Whether trying a password costs an Argon2id computation for this record alone.
    pub(crate) fn needs_own_argon2(self) -> bool {
        self.format == Format::V2
    }

    pub(crate) fn v3_kdf_chars(self) -> Option<&'a V3KdfChars> {
        (self.format == Format::V3).then(|| self.text.as_bytes()?.first_chunk()).flatten()
    }

    /// The header of a v3 text that is long enough for one.
    pub(crate) fn v3_header(self) -> Option<StoredHeader> {
        StoredHeader::of(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_has_a_format() {
        let formats = |text: &str| {
            let text = EnvelopeText::from_stored(text.as_bytes());
            let peek = Peek::at(&text);
            (peek.format(), peek.needs_own_argon2(), peek.v3_kdf_chars().is_some())
        };
        assert_eq!(formats("v2:abc"), (Format::V2, true, false));
        assert_eq!(formats("v3:abc"), (Format::V3, false, false));
        assert_eq!(formats(&format!("v3:{}", "a".repeat(34))), (Format::V3, false, true));
        for text in ["", "v", "v3", "v2", "abc"] {
            assert_eq!(formats(text), (Format::V1, false, false), "{text}");
        }
    }
}
