//! Parsing knows no keys and judges whatever bytes a store holds.

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use vault_core::envelope::{Envelope, Format};
use vault_core::store::EnvelopeText;

/// No bytes make the parser panic, and what it calls v2 or v3 says so.
pub fn envelope_parse(data: &[u8]) {
    let text = EnvelopeText::from_stored(data);
    assert_eq!(text.as_bytes(), Some(data));
    if let Ok(envelope) = Envelope::parse(&text) {
        match envelope.format() {
            Format::V3 => assert!(data.starts_with(b"v3:")),
            Format::V2 => assert!(data.starts_with(b"v2:")),
            Format::V1 => assert!(!data.starts_with(b"v2:") && !data.starts_with(b"v3:")),
        }
    }
}

/// A v3 text that parses is the one text of its envelope; a v2 text is emitted in its canonical
/// spelling, which parses to the same envelope. The first byte chooses whether the rest is a text
/// or the bytes inside one.
pub fn parse_emit_identity(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = match kind % 3 {
        0 => rest.to_vec(),
        1 => format!("v3:{}", URL_SAFE_NO_PAD.encode(rest)).into_bytes(),
        _ => format!("v2:{}", URL_SAFE.encode(rest)).into_bytes(),
    };
    let Ok(envelope) = Envelope::parse(&EnvelopeText::from_stored(text.clone())) else { return };
    let Some(emitted) = envelope.to_text() else {
        assert_eq!(envelope.format(), Format::V1, "only v1 is never written");
        return;
    };
    if envelope.format() == Format::V3 || kind % 3 == 2 {
        assert_eq!(emitted.as_bytes(), Some(text.as_slice()));
    }
    let again = Envelope::parse(&emitted).expect("what was emitted parses");
    assert_eq!(again, envelope);
    assert_eq!(again.to_text(), Some(emitted));
}
