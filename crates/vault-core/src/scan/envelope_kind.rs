//! The format and cost of an envelope, read from the start of its text.

use crate::crypto::envelope::{Format, Peek, StoredHeader};
use crate::crypto::kdf::KdfParams;
use crate::crypto::seal::SealParams;
use vault_store::EnvelopeText;

/// How a record is sealed: its format and, where the envelope states it, its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvelopeKind {
    /// The format.
    pub format: Format,
    /// The Argon2id cost of a v3, or of a v2 that was opened. A stored v2 does not state its cost,
    /// and v1 has none.
    pub cost: Option<KdfParams>,
}

impl EnvelopeKind {
    /// The kind of an intact envelope: only its first characters are read.
    // format.md §1, §3.2
    pub(crate) fn of(text: &EnvelopeText) -> Self {
        let peek = Peek::at(text);
        let kdf = peek.v3_header().and_then(|header| header.kdf().ok());
        Self { format: peek.format(), cost: kdf.map(|kdf| kdf.params) }
    }

    /// The kind of a v3 envelope with this header.
    pub(crate) fn of_v3(header: &StoredHeader) -> Self {
        Self { format: Format::V3, cost: header.kdf().ok().map(|kdf| kdf.params) }
    }

    /// The kind of what these parameters write.
    pub(crate) fn written(spec: &SealParams) -> Self {
        match spec {
            SealParams::V3 { kdf, .. } => Self { format: Format::V3, cost: Some(kdf.params) },
            SealParams::V2 { params } => Self { format: Format::V2, cost: Some(*params) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::envelope::Padding;
    use crate::crypto::kdf::{KdfMemory, KdfSetting};
    use crate::crypto::key::PasswordKey;
    use crate::crypto::seal::seal;
    use crate::crypto::secret::Password;
    use vault_store::BoundTo;
    use vault_store::{RecordId, Token};

    #[test]
    fn the_cost_of_a_v3_is_read_off_its_text() {
        let params = KdfParams::new(24, 2, 3).unwrap();
        let kdf = KdfSetting::generate(params).unwrap();
        let spec = SealParams::V3 { kdf, padding: Padding::None };
        let (key, id) = (PasswordKey::new(Password::new("password")), RecordId::from_stored("id"));
        let token = Token::new("token").unwrap();
        let bound_to = BoundTo { id: &id, token: &token };
        let text = seal(b"value", &key, bound_to, &spec, &mut KdfMemory::new()).unwrap();
        assert_eq!(
            EnvelopeKind::of(&text),
            EnvelopeKind { format: Format::V3, cost: Some(params) }
        );
        assert_eq!(EnvelopeKind::of(&text), EnvelopeKind::written(&spec));
    }

    #[test]
    fn other_formats_name_no_cost() {
        let of = |text: &str| EnvelopeKind::of(&EnvelopeText::from_stored(text.as_bytes()));
        assert_eq!(of("v2:abc"), EnvelopeKind { format: Format::V2, cost: None });
        assert_eq!(of("abc"), EnvelopeKind { format: Format::V1, cost: None });
    }
}
