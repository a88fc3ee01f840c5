//! Opening never panics, never gives a wrong value, and tells damage from a wrong password.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use vault_core::envelope::{Envelope, OpenOutcome, OpenPolicy, V2Params, open as open_envelope};
use vault_core::kdf::{KdfLimits, KdfMemory, KdfMinimum};
use vault_core::store::BoundTo;
use vault_core::store::EnvelopeText;
use vault_core::{KdfParams, Password, PasswordKey, Plaintext, RecordId, Token};

use super::sealer::{self, Damage};

/// The first byte chooses what is sealed and who opens it, the next three where it is damaged and
/// how; the rest is what is sealed, or in the end a text as it is stored.
pub fn open(data: &[u8]) {
    let Some(([kind, at_high, at_low, xor], content)) = data.split_first_chunk() else { return };
    let damage = Damage { at: usize::from(u16::from_be_bytes([*at_high, *at_low])), xor: *xor };
    let opener = match kind >> 4 & 3 {
        1 => Opener::OtherId,
        2 => Opener::OtherPassword,
        3 => Opener::OtherToken,
        _ => Opener::Right,
    };
    match kind & 7 {
        0 => v3_plain(content, damage, opener),
        1 => v3_padded(content, damage, opener),
        2 => v2(content, damage, opener),
        3 => v1(content),
        _ => drop(opener.open(content.to_vec())),
    }
}

/// Text of up to three parts, divided by line feeds, is an id and two tokens: what is sealed for
/// the id and the first token opens for exactly these, wherever the bytes of one may seem to
/// continue in the other.
pub fn open_for_token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\n');
    let [id, token, other] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let sealed = || sealer::v3(0x01, b"value", Damage { at: 0, xor: 0 }, (id, token));
    let opened = |id: &str, token: &str| {
        answer(sealed(), sealer::PASSWORD, id, token).expect("what was sealed parses")
    };
    assert_opened(opened(id, token), b"value");
    let moved = format!("{id}{token}");
    let others = [(id, other), (token, id), (&moved, ""), ("", &moved), (other, token)];
    for (id_of_other, token_of_other) in others {
        if (id_of_other, token_of_other) != (id, token) {
            let outcome = opened(id_of_other, token_of_other);
            assert!(matches!(outcome, OpenOutcome::Damaged), "{outcome:?}");
        }
    }
}

/// Who opens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opener {
    Right,
    OtherId,
    OtherToken,
    OtherPassword,
}

impl Opener {
    /// The answer to a text that parses.
    fn open(self, text: Vec<u8>) -> Option<OpenOutcome> {
        let password = if self == Self::OtherPassword { "another" } else { sealer::PASSWORD };
        let id = if self == Self::OtherId { "another" } else { sealer::ID };
        let token = if self == Self::OtherToken { "another" } else { sealer::TOKEN };
        answer(text, password, id, token)
    }

    /// The answer to a text that must parse.
    fn answer(self, text: Vec<u8>) -> OpenOutcome {
        self.open(text).expect("what was sealed parses, damaged or not")
    }
}

/// The answer to a text that parses, with a password, for a record.
fn answer(text: Vec<u8>, password: &str, id: &str, token: &str) -> Option<OpenOutcome> {
    let envelope = Envelope::parse(&EnvelopeText::from_stored(text)).ok()?;
    let cheapest = KdfParams::new(sealer::M_KIB, 1, 1).expect("Argon2id is defined for it");
    // a stored header may ask for a little more than the cheapest, so that inputs stay fast
    let mut limits = KdfLimits::up_to(64).floor(KdfMinimum::NONE);
    (limits.max_t, limits.max_p, limits.max_work_kib) = (2, 4, 128);
    let policy = OpenPolicy::trusting().limits(limits).v2_costs([V2Params::new(cheapest)]);
    let key = PasswordKey::new(Password::new(password));
    let (id, token) = (RecordId::from_stored(id), Token::from_stored(token.to_owned()));
    let bound_to = BoundTo { id: &id, token: &token };
    let outcome = open_envelope(&envelope, &key, bound_to, &policy, &mut KdfMemory::new());
    Some(outcome.expect("a few KiB are to be had"))
}

fn v3_plain(value: &[u8], damage: Damage, opener: Opener) {
    let text = sealer::v3(0x01, value, damage, sealer::BOUND_TO);
    let outcome = opener.answer(text);
    match (damage.xor, opener) {
        (0, Opener::Right) => assert_opened(outcome, value),
        (0, Opener::OtherId | Opener::OtherToken) => {
            assert!(matches!(outcome, OpenOutcome::Damaged));
        }
        (0, Opener::OtherPassword) => assert!(matches!(outcome, OpenOutcome::WrongPassword)),
        _ => assert_not_opened(&outcome),
    }
}

/// The plaintext is `u32 length || value || zeros` or it is damage, and no other value comes out of
/// it.
fn v3_padded(plaintext: &[u8], damage: Damage, opener: Opener) {
    let outcome = opener.answer(sealer::v3(0x02, plaintext, damage, sealer::BOUND_TO));
    if damage.xor != 0 || opener != Opener::Right {
        return assert_not_opened(&outcome);
    }
    match outcome {
        OpenOutcome::Opened(value) => {
            let (len, rest) = plaintext.split_at(4);
            assert_eq!(
                u32::from_be_bytes(len.try_into().expect("four bytes")) as usize,
                value.len()
            );
            let (inside, padding) = rest.split_at(value.len());
            assert_eq!(inside, value.as_bytes());
            assert!(padding.iter().all(|byte| *byte == 0));
        }
        outcome => assert!(matches!(outcome, OpenOutcome::Damaged)),
    }
}

/// In v2 a wrong password, a wrong cost and damage cannot be told apart, and the id is not bound.
fn v2(value: &[u8], damage: Damage, opener: Opener) {
    let outcome = opener.answer(sealer::v2(value, damage));
    if damage.xor == 0 && opener != Opener::OtherPassword {
        return assert_opened(outcome, value);
    }
    assert!(matches!(outcome, OpenOutcome::WrongPassword));
}

/// Content behind the XOR is anything at all, and a value comes out only where it states one.
fn v1(content: &[u8]) {
    if let OpenOutcome::Opened(value) = Opener::Right.answer(sealer::v1(content)) {
        let encoded = URL_SAFE.encode(value.as_bytes());
        let stated = format!("{}_{encoded}", encoded.len());
        let zeros = content.iter().take_while(|byte| **byte == b'0').count();
        // the sealer fills up to a whole size behind the content, and a value may reach into that
        let inside = content.len().saturating_sub(zeros).min(stated.len());
        assert!(encoded.is_empty() || content[zeros..].starts_with(&stated.as_bytes()[..inside]));
    }
}

fn assert_opened(outcome: OpenOutcome, value: &[u8]) {
    let OpenOutcome::Opened(opened) = outcome else {
        unreachable!("an intact record was not opened: {outcome:?}")
    };
    assert_eq!(Plaintext::as_bytes(&opened), value);
}

fn assert_not_opened(outcome: &OpenOutcome) {
    assert!(!matches!(outcome, OpenOutcome::Opened(_)), "a damaged or foreign record was opened");
}
