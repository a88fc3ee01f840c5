//! Golden vectors: records of the Go package, and records of an independent implementation
//! (`tests/golden/make.py`).

use std::collections::BTreeMap;

use serde_json::Value;
use vault_core::envelope::{Envelope, Malformed, OpenOutcome, OpenPolicy, V2Params, open};
use vault_core::kdf::{KdfLimits, KdfMemory, KdfMinimum};
use vault_core::store::BoundTo;
use vault_core::store::EnvelopeText;
use vault_core::{Password, PasswordKey, RecordId, Token};

const V1: &str = include_str!("../../../../tests/golden/v1.json");
const V2: &str = include_str!("../../../../tests/golden/v2.json");
const V3: &str = include_str!("../../../../tests/golden/v3.json");
/// What opening answers, for records that open and that do not.
const ANSWERS: &str = include_str!("../../../../tests/golden/v3-answers.json");
/// Written by this crate's `golden` example, and opened by `make.py verify` too.
const RUST: &str = include_str!("../../../../tests/golden/rust.json");

#[test]
fn every_v1_record_of_the_ancestor_opens() {
    let vectors = vectors(V1);
    assert_eq!(vectors.len(), 16);
    assert_all_open(&vectors);
}

#[test]
fn every_v2_record_of_the_ancestor_and_of_python_opens() {
    let vectors = vectors(V2);
    assert_eq!(vectors.iter().filter(|vector| vector["origin"] == "go").count(), 13);
    assert_all_open(&vectors);
}

#[test]
fn every_v3_record_of_python_opens() {
    let vectors = vectors(V3);
    assert!(vectors.len() >= 40);
    assert_all_open(&vectors);
}

#[test]
fn every_answer_to_a_v3_is_that_of_python() {
    let (vectors, mut memory) = (vectors(ANSWERS), KdfMemory::new());
    assert_eq!(vectors.len(), 50);
    let mut answers = BTreeMap::new();
    for vector in &vectors {
        let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
        let answer = match Envelope::parse(&text(vector)) {
            Err(malformed) => OpenOutcome::Malformed(malformed),
            Ok(envelope) => opened_as(&envelope, vector, &key, &mut memory),
        };
        let told = match answer {
            OpenOutcome::Opened(opened) => {
                assert!(opened.as_bytes() == value(vector), "{} opens wrong", vector["name"]);
                "opened"
            }
            OpenOutcome::WrongPassword => "wrong password",
            OpenOutcome::Damaged => "damaged",
            OpenOutcome::Malformed(_) => "malformed",
            OpenOutcome::NotTried(why) => panic!("{why}"),
        };
        assert_eq!(vector["answer"], told, "{}", vector["name"]);
        *answers.entry(told).or_insert(0) += 1;
    }
    assert!(answers.len() == 4 && answers.values().all(|count| *count >= 5), "{answers:?}");
}

#[test]
fn every_record_this_crate_ever_wrote_opens() {
    let vectors = vectors(RUST);
    assert!(vectors.len() >= 30);
    assert_all_open(&vectors);
}

#[test]
fn parsing_and_emitting_is_the_identity_on_canonical_texts() {
    for vector in vectors(V2).iter().chain(&vectors(V3)).chain(&vectors(RUST)) {
        let text = text(vector);
        let emitted = Envelope::parse(&text).unwrap().to_text().unwrap();
        let canonical = vector.get("canonical").is_none_or(|canonical| canonical == true);
        assert_eq!(emitted == text, canonical, "{}", vector["name"]);
    }
    for vector in vectors(V1) {
        assert_eq!(Envelope::parse(&text(&vector)).unwrap().to_text(), None);
    }
}

#[test]
fn another_password_opens_no_v1_record_of_the_ancestor() {
    let other = PasswordKey::new(Password::new("another password"));
    for vector in vectors(V1) {
        let outcome = outcome(&vector, &other, &mut KdfMemory::new());
        assert!(matches!(outcome, OpenOutcome::WrongPassword), "{}: {outcome:?}", vector["name"]);
    }
}

#[test]
fn every_cut_v1_record_is_malformed() {
    let mut cuts = 0;
    for mut vector in vectors(V1) {
        let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
        let text = vector["text"].as_str().unwrap().to_owned();
        for len in 0..text.len().min(2000) {
            vector["text"] = text[..len].into();
            let malformed = match Envelope::parse(&self::text(&vector)) {
                Err(malformed) => malformed,
                // cut to the length of a shorter record
                Ok(_) => match outcome(&vector, &key, &mut KdfMemory::new()) {
                    OpenOutcome::Malformed(malformed) => malformed,
                    outcome => panic!("{} cut to {len}: {outcome:?}", vector["name"]),
                },
            };
            let stated = matches!(
                malformed,
                Malformed::Empty | Malformed::NotBase64 | Malformed::V1Size | Malformed::V1ValueLen
            );
            assert!(stated, "{malformed:?}");
            cuts += 1;
        }
    }
    assert!(cuts > 4000);
}

#[test]
fn a_v1_record_with_a_flipped_bit_panics_nowhere_and_its_padding_may_be_anything() {
    let mut vector = vectors(V1).swap_remove(2);
    let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
    let text = vector["text"].as_str().unwrap().to_owned();
    let mut opened = 0;
    for (at, bit) in (0..text.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
        let mut flipped = text.clone().into_bytes();
        flipped[at] ^= 1 << bit;
        vector["text"] = String::from_utf8(flipped).unwrap().into();
        if let Ok(envelope) = Envelope::parse(&self::text(&vector)) {
            let outcome = opened_as(&envelope, &vector, &key, &mut KdfMemory::new());
            opened += usize::from(matches!(outcome, OpenOutcome::Opened(_)));
        }
    }
    // v1 has no authentication: this states it, so that no reader believes otherwise
    assert!(opened > 0);
}

#[test]
fn the_costs_of_the_presets_are_above_the_floor_and_below_the_limits() {
    for name in ["default", "lightweight", "high_security", "rfc9106_first", "rfc9106_second"] {
        let params = name.parse().unwrap();
        assert_eq!(KdfMinimum::default().allow(&params), Ok(()), "{name}");
        let is_allowed = KdfLimits::default().allow(&params).is_ok();
        assert_eq!(is_allowed, name != "rfc9106_first", "{name}");
        assert_eq!(KdfLimits::up_to(2 << 20).allow(&params), Ok(()), "{name}");
    }
}

fn assert_all_open(vectors: &[Value]) {
    let mut memory = KdfMemory::new();
    for vector in vectors {
        let key = PasswordKey::new(Password::new(unhex(&vector["password_hex"])));
        match outcome(vector, &key, &mut memory) {
            OpenOutcome::Opened(opened) => {
                assert!(opened.as_bytes() == value(vector), "{} opens wrong", vector["name"]);
            }
            outcome => panic!("{} does not open: {outcome:?}", vector["name"]),
        }
    }
}

fn outcome(vector: &Value, key: &PasswordKey, memory: &mut KdfMemory) -> OpenOutcome {
    opened_as(&Envelope::parse(&text(vector)).unwrap(), vector, key, memory)
}

fn opened_as(
    envelope: &Envelope,
    vector: &Value,
    key: &PasswordKey,
    memory: &mut KdfMemory,
) -> OpenOutcome {
    let mut policy = OpenPolicy::trusting();
    if vector["format"] == "v2" {
        let cost: V2Params = vector["cost"].as_str().unwrap().parse().unwrap();
        policy.v2_costs = vec![cost];
    }
    let id = RecordId::from_stored(vector["id"].as_str().unwrap());
    // only a v3 is bound to a token
    let token = Token::from_stored(vector["token"].as_str().unwrap_or_default().to_owned());
    open(envelope, key, BoundTo { id: &id, token: &token }, &policy, memory).unwrap()
}

fn vectors(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

fn text(vector: &Value) -> EnvelopeText {
    EnvelopeText::from_stored(vector["text"].as_str().unwrap().as_bytes())
}

fn value(vector: &Value) -> Vec<u8> {
    let times = vector["value"]["times"].as_u64().unwrap();
    unhex(&vector["value"]["hex"]).repeat(usize::try_from(times).unwrap())
}

fn unhex(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap())
        .collect()
}
