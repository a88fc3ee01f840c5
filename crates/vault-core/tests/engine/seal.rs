//! Sealing and opening through the public API: round trips, and the stated answer to everything
//! that is not one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use vault_core::envelope::{
    Envelope, Malformed, OpenOutcome, OpenPolicy, Padding, Rejected, SealError, SealParams,
    V2Params, check, open, seal,
};
use vault_core::kdf::{CostLimit, CostOverLimit, InvalidKdfParams, KdfMemory, KdfSetting, Salt};
use vault_core::store::BoundTo;
use vault_core::store::{EnvelopeText, MAX_ENVELOPE_LEN};
use vault_core::{KdfParams, Password, PasswordKey, RecordId, Token};

/// The cheapest cost that Argon2id is defined for.
fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

fn kdf() -> KdfSetting {
    KdfSetting { params: cheap(), salt: Salt::from_bytes(*b"salt of the test") }
}

fn specs() -> [SealParams; 3] {
    [
        SealParams::V3 { kdf: kdf(), padding: Padding::None },
        SealParams::V3 { kdf: kdf(), padding: Padding::Padme },
        SealParams::V2 { params: cheap() },
    ]
}

fn key(password: impl Into<Vec<u8>>) -> PasswordKey {
    PasswordKey::new(Password::new(password))
}

fn sealed(value: &[u8], key: &PasswordKey, spec: &SealParams) -> EnvelopeText {
    let bound_to = BoundTo { id: &id(), token: &token() };
    seal(value, key, bound_to, spec, &mut KdfMemory::new()).unwrap()
}

/// An outcome with its value, to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Opened(Vec<u8>),
    WrongPassword,
    Damaged,
    Malformed(Malformed),
}

/// What everything here is sealed for, unless a test says otherwise.
fn id() -> RecordId {
    RecordId::from_stored("id")
}

fn token() -> Token {
    Token::from_stored("token".to_owned())
}

fn answer(text: &EnvelopeText, key: &PasswordKey, id: &str, memory: &mut KdfMemory) -> Answer {
    let bound_to = BoundTo { id: &RecordId::from_stored(id), token: &token() };
    answer_for(text, key, bound_to, memory)
}

fn answer_for(
    text: &EnvelopeText,
    key: &PasswordKey,
    bound_to: BoundTo<'_>,
    memory: &mut KdfMemory,
) -> Answer {
    let policy = OpenPolicy::trusting().v2_costs([V2Params::new(cheap())]);
    let envelope = match Envelope::parse(text) {
        Ok(envelope) => envelope,
        Err(malformed) => return Answer::Malformed(malformed),
    };
    match open(&envelope, key, bound_to, &policy, memory).unwrap() {
        OpenOutcome::Opened(value) => Answer::Opened(value.as_bytes().to_vec()),
        OpenOutcome::WrongPassword => Answer::WrongPassword,
        OpenOutcome::Damaged => Answer::Damaged,
        OpenOutcome::Malformed(malformed) => Answer::Malformed(malformed),
        OpenOutcome::NotTried(why) => panic!("{why}"),
    }
}

/// The bytes under the base64 of a v3 text.
fn v3_bytes(text: &EnvelopeText) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(&text.as_bytes().unwrap()[3..]).unwrap()
}

fn v3_text(bytes: &[u8]) -> EnvelopeText {
    EnvelopeText::from_stored(format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes())
}

/// A v3 text with a check that holds, as anyone who can write to the database can forge it.
fn v3_forged(mut bytes: Vec<u8>) -> EnvelopeText {
    let hash = Sha256::new().chain_update(&bytes[..90]).chain_update(&bytes[96..]).finalize();
    bytes[90..96].copy_from_slice(&hash[..6]);
    v3_text(&bytes)
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        value in prop::collection::vec(any::<u8>(), 0..4096),
        password in prop::collection::vec(any::<u8>(), 0..64),
        id in "\\PC{0,40}",
    ) {
        let (mut memory, key) = (KdfMemory::new(), key(password));
        for spec in specs() {
            let id_of_record = RecordId::from_stored(&*id);
            let bound_to = BoundTo { id: &id_of_record, token: &token() };
            let text = seal(&value, &key, bound_to, &spec, &mut memory).unwrap();
            prop_assert_eq!(answer(&text, &key, &id, &mut memory), Answer::Opened(value.clone()));
            prop_assert_eq!(Envelope::parse(&text).unwrap().to_text(), Some(text));
        }
    }

    #[test]
    fn no_bytes_make_parse_or_open_panic(
        prefix in prop::sample::select(vec!["", "v1:", "v2:", "v3:", "v", "v99:"]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        as_base64 in any::<bool>(),
    ) {
        let body = if as_base64 { URL_SAFE_NO_PAD.encode(&bytes).into_bytes() } else { bytes };
        let text = EnvelopeText::from_stored([prefix.as_bytes(), &body].concat());
        let answer = answer(&text, &key("password"), "id", &mut KdfMemory::new());
        prop_assert!(!matches!(answer, Answer::Opened(_)), "{:?}", answer);
        // what parses as v3 is emitted as it was
        if let Ok(envelope @ Envelope::V3(_)) = Envelope::parse(&text) {
            prop_assert_eq!(envelope.to_text(), Some(text));
        }
    }

    #[test]
    fn no_mutation_of_a_sealed_text_opens_to_another_value(
        spec in prop::sample::select(specs().to_vec()),
        value in prop::collection::vec(any::<u8>(), 0..100),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let key = key("password");
        let mut bytes = sealed(&value, &key, &spec).as_bytes().unwrap().to_vec();
        for (index, byte, edit) in edits {
            match (edit, bytes.is_empty()) {
                (0, false) => { let at = index.index(bytes.len()); bytes[at] = byte; }
                (1, false) => { bytes.remove(index.index(bytes.len())); }
                _ => bytes.insert(index.index(bytes.len() + 1), byte),
            }
        }
        let is_v3 = bytes.starts_with(b"v3:");
        match answer(&EnvelopeText::from_stored(bytes), &key, "id", &mut KdfMemory::new()) {
            Answer::Opened(opened) => prop_assert_eq!(opened, value),
            Answer::WrongPassword => prop_assert!(!is_v3),
            Answer::Damaged | Answer::Malformed(_) => {}
        }
    }
}

#[test]
fn another_password_is_a_wrong_password() {
    let mut memory = KdfMemory::new();
    for spec in specs() {
        let text = sealed(b"value", &key("a"), &spec);
        assert_eq!(answer(&text, &key("b"), "id", &mut memory), Answer::WrongPassword);
    }
}

#[test]
fn equal_values_are_sealed_differently_every_time() {
    for spec in specs() {
        assert_ne!(sealed(b"value", &key("a"), &spec), sealed(b"value", &key("a"), &spec));
    }
}

#[test]
fn one_argon2id_serves_a_whole_vault_in_v3() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    for number in 0..100 {
        let id = number.to_string();
        let bound_to = BoundTo { id: &RecordId::from_stored(&*id), token: &token() };
        let text = seal(b"v", &key, bound_to, &specs()[number % 2], &mut memory);
        let answer = answer(&text.unwrap(), &key, &id, &mut memory);
        assert_eq!(answer, Answer::Opened(b"v".to_vec()));
    }
    assert_eq!(memory.derivations(), 1);
}

#[test]
fn envelopes_that_swapped_their_records_are_damaged() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    for spec in &specs()[..2] {
        assert_eq!(answer(&sealed(b"v", &key, spec), &key, "di", &mut memory), Answer::Damaged);
    }
    // v2 is not bound to its record: that is what v3 is for
    let v2 = sealed(b"v", &key, &specs()[2]);
    assert_eq!(answer(&v2, &key, "di", &mut memory), Answer::Opened(b"v".to_vec()));
}

#[test]
fn tokens_that_swapped_their_records_are_damaged() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let [spec, padded, v2] = specs();
    let ask = |id: &str, token: &str| (RecordId::from_stored(id), Token::from_stored(token.into()));
    // the last two are the same bytes in a row, divided elsewhere
    let others = [("id", "tok"), ("id", ""), ("idt", "oken"), ("", "idtoken")];
    for text in [sealed(b"v", &key, &spec), sealed(b"v", &key, &padded)] {
        for (id, token) in others.map(|(id, token)| ask(id, token)) {
            let bound_to = BoundTo { id: &id, token: &token };
            assert_eq!(answer_for(&text, &key, bound_to, &mut memory), Answer::Damaged);
        }
    }
    let (id, other) = ask("id", "other");
    let v2 = sealed(b"v", &key, &v2);
    let answer = answer_for(&v2, &key, BoundTo { id: &id, token: &other }, &mut memory);
    assert_eq!(answer, Answer::Opened(b"v".to_vec()));
}

/// Every damage to a v3 record, at every place: its answer, and that it costs no Argon2id.
#[test]
fn every_flipped_bit_of_a_v3_is_damaged_or_malformed_and_costs_no_argon2id() {
    // lengths of all three remainders, so that a body without padding characters is among them
    for (spec, value_len) in specs()[..2].iter().flat_map(|spec| [5, 6, 7].map(|len| (spec, len))) {
        let (mut memory, key) = (KdfMemory::new(), key("password"));
        let text = sealed(&vec![1; value_len], &key, spec);
        let bytes = v3_bytes(&text);
        for (at, bit) in places(&bytes) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let answer = answer(&v3_text(&flipped), &key, "id", &mut memory);
            assert_eq!(answer, Answer::Damaged, "bit {bit} of byte {at}");
        }
        let characters = text.as_bytes().unwrap();
        for (at, bit) in places(characters) {
            let mut flipped = characters.to_vec();
            flipped[at] ^= 1 << bit;
            let text = EnvelopeText::from_stored(flipped);
            let answer = answer(&text, &key, "id", &mut memory);
            let stated = matches!(
                answer,
                Answer::Damaged
                    | Answer::Malformed(Malformed::NotBase64 | Malformed::UnknownVersion)
            );
            assert!(stated, "bit {bit} of character {at}: {answer:?}");
        }
        assert_eq!(memory.derivations(), 0);
    }
}

#[test]
fn every_cut_and_every_extension_of_a_v3_is_damaged_or_malformed() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    for spec in &specs()[..2] {
        let text = sealed(b"a value", &key, spec);
        let bytes = v3_bytes(&text);
        for len in 0..bytes.len() {
            let expected =
                if len < 112 { Answer::Malformed(Malformed::TooShort) } else { Answer::Damaged };
            assert_eq!(answer(&v3_text(&bytes[..len]), &key, "id", &mut memory), expected, "{len}");
        }
        for more in 1..=64 {
            let longer = [&bytes[..], &vec![0; more]].concat();
            assert_eq!(answer(&v3_text(&longer), &key, "id", &mut memory), Answer::Damaged);
        }
        let characters = text.as_bytes().unwrap();
        let cuts = (0..characters.len()).map(|len| characters[..len].to_vec());
        let ends = [b"=".as_slice(), b"\n", b" ", b"\0", b"A", b"AAAA"];
        let extensions = ends.map(|end| [characters, end].concat());
        for text in cuts.chain(extensions) {
            let answer = answer(&EnvelopeText::from_stored(text), &key, "id", &mut memory);
            assert!(matches!(answer, Answer::Damaged | Answer::Malformed(_)), "{answer:?}");
        }
    }
    assert_eq!(memory.derivations(), 0);
}

#[test]
fn a_forged_check_gains_nothing() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let bytes = v3_bytes(&sealed(b"a value", &key, &specs()[0]));
    let mut answer_to = |at: usize, xor: u8| {
        let mut forged = bytes.clone();
        forged[at] ^= xor;
        answer(&v3_forged(forged), &key, "id", &mut memory)
    };
    let unknown = Malformed::UnknownSuite { suite: 0x81 };
    assert_eq!(answer_to(0, 0x80), Answer::Malformed(unknown));
    // the other suite, another salt, nonce or commitment: another key's
    for at in [(0, 1 ^ 2), (10, 1), (26, 1), (57, 128), (58, 1), (89, 1)] {
        assert_eq!(answer_to(at.0, at.1), Answer::WrongPassword, "{at:?}");
    }
    // ciphertext and tag
    for at in 96..bytes.len() {
        assert_eq!(answer_to(at, 1), Answer::Damaged, "{at}");
    }
}

#[test]
fn fields_of_two_records_do_not_mix() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let [one, other] =
        [b"one value", b"the other"].map(|value| v3_bytes(&sealed(value, &key, &specs()[0])));
    let fields = [26..58, 58..90, 96..105, 105..121];
    for fields in fields.iter().enumerate().map(|(i, field)| (field, &fields[i..])) {
        for second in fields.1 {
            let mut mixed = one.clone();
            mixed[fields.0.clone()].copy_from_slice(&other[fields.0.clone()]);
            mixed[second.clone()].copy_from_slice(&other[second.clone()]);
            let answer = answer(&v3_forged(mixed), &key, "id", &mut memory);
            assert!(matches!(answer, Answer::WrongPassword | Answer::Damaged), "{answer:?}");
        }
    }
}

#[test]
fn a_header_with_a_bomb_is_refused_before_memory_is_taken() {
    let key = key("password");
    let bytes = v3_bytes(&sealed(b"a value", &key, &specs()[0]));
    let over =
        |limit, asked, allowed| Malformed::CostOverLimit(CostOverLimit { limit, asked, allowed });
    let too_little =
        |m_cost, p| Malformed::InvalidCost(InvalidKdfParams::MemoryTooLittle { m_cost, p });
    let cases = [
        ((4 << 20, 1, 1), over(CostLimit::Memory, 4 << 20, 256 << 10)),
        ((u32::MAX, u32::MAX, 255), over(CostLimit::Memory, u64::from(u32::MAX), 256 << 10)),
        ((8, u32::MAX, 1), over(CostLimit::Passes, u64::from(u32::MAX), 64)),
        ((8 * 65, 1, 65), over(CostLimit::Lanes, 65, 64)),
        ((256 << 10, 5, 4), over(CostLimit::Work, 5 << 18, 1 << 20)),
        ((8, 0, 1), Malformed::InvalidCost(InvalidKdfParams::NoPass)),
        ((8, 1, 0), Malformed::InvalidCost(InvalidKdfParams::Lanes { p: 0 })),
        ((0, 1, 1), too_little(0, 1)),
        ((15, 1, 2), too_little(15, 2)),
    ];
    for ((m, t, p), malformed) in cases {
        let mut memory = KdfMemory::new();
        let mut forged = bytes.clone();
        forged[1..5].copy_from_slice(&u32::to_be_bytes(m));
        forged[5..9].copy_from_slice(&u32::to_be_bytes(t));
        forged[9] = p;
        // with the old check it is damage, with a new one it is refused
        assert_eq!(answer(&v3_text(&forged), &key, "id", &mut memory), Answer::Damaged);
        let answer = answer(&v3_forged(forged), &key, "id", &mut memory);
        assert_eq!(answer, Answer::Malformed(malformed));
        assert_eq!((memory.derivations(), memory.held_kib()), (0, 0));
    }
}

#[test]
fn raised_limits_open_what_the_defaults_refuse() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let kdf = KdfSetting { params: KdfParams::new(8 * 65, 1, 65).unwrap(), ..kdf() };
    let text = sealed(b"v", &key, &SealParams::V3 { kdf, padding: Padding::None });
    let envelope = Envelope::parse(&text).unwrap();
    let refused = check(&envelope, &OpenPolicy::trusting()).map(|_| ());
    assert!(matches!(refused, Err(Rejected::Malformed(Malformed::CostOverLimit(_)))));
    let mut policy = OpenPolicy::trusting();
    policy.limits.max_p = 65;
    let outcome =
        open(&envelope, &key, BoundTo { id: &id(), token: &token() }, &policy, &mut memory)
            .unwrap();
    assert!(matches!(outcome, OpenOutcome::Opened(value) if value.as_bytes() == b"v"));
}

#[test]
fn several_keys_are_tried_on_one_checked_envelope() {
    let mut memory = KdfMemory::new();
    let keys = ["a", "b", "c"].map(key);
    let policy = OpenPolicy::trusting();
    let envelope = Envelope::parse(&sealed(b"v", &keys[2], &specs()[0])).unwrap();
    let checked = check(&envelope, &policy).unwrap();
    assert_eq!(checked.kdf(), Some(kdf()));
    let opened = keys.each_ref().map(|key| {
        matches!(
            checked.open(key, BoundTo { id: &id(), token: &token() }, &mut memory),
            Ok(OpenOutcome::Opened(_))
        )
    });
    assert_eq!(opened, [false, false, true]);
}

#[test]
fn a_flipped_bit_of_a_v2_never_gives_another_value() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    for value in [&b"a value"[..], b"a value.", b"a value.."] {
        let text = sealed(value, &key, &specs()[2]);
        let characters = text.as_bytes().unwrap();
        for (at, bit) in places(characters) {
            let mut flipped = characters.to_vec();
            flipped[at] ^= 1 << bit;
            match answer(&EnvelopeText::from_stored(flipped), &key, "id", &mut memory) {
                // an unused bit of the last character
                Answer::Opened(opened) => assert_eq!(opened, value),
                // the prefix became that of v3
                Answer::Damaged => assert_eq!(at, 1),
                Answer::WrongPassword | Answer::Malformed(_) => {}
            }
        }
    }
}

#[test]
fn a_v2_text_is_tried_with_every_cost_that_it_is_long_enough_for() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let envelope = Envelope::parse(&sealed(b"v", &key, &specs()[2])).unwrap();
    let cost = |text: &str| text.parse::<V2Params>().unwrap();
    let mut outcome = |costs: &[&str]| {
        let policy = OpenPolicy::trusting().v2_costs(costs.iter().map(|text| cost(text)));
        open(&envelope, &key, BoundTo { id: &id(), token: &token() }, &policy, &mut memory).unwrap()
    };
    let fits = "t=1,m=8,p=1";
    // 16 + 12 + 1 + 16 bytes: a salt of 18 leaves less than a tag
    let too_long = "t=1,m=8,p=1,salt=18";
    let other = "t=2,m=8,p=1";
    assert!(matches!(outcome(&[other, too_long, fits]), OpenOutcome::Opened(_)));
    assert!(matches!(outcome(&[other, too_long]), OpenOutcome::WrongPassword));
    assert!(matches!(outcome(&[too_long]), OpenOutcome::Malformed(Malformed::TooShort)));
    assert!(matches!(outcome(&[]), OpenOutcome::WrongPassword));
    assert_eq!(memory.derivations(), 3);
}

#[test]
fn texts_of_no_known_format_are_malformed() {
    let v1_of_len = |len: usize| "A".repeat(len);
    let cases = [
        (String::new(), Malformed::Empty),
        ("v4:AAAA".into(), Malformed::UnknownVersion),
        ("v1:AAAA".into(), Malformed::UnknownVersion),
        ("v03:AAAA".into(), Malformed::UnknownVersion),
        ("v18446744073709551616:".into(), Malformed::UnknownVersion),
        ("v3:".into(), Malformed::TooShort),
        ("v2:".into(), Malformed::TooShort),
        ("v2:AAA".into(), Malformed::NotBase64),
        ("V3:AAAA".into(), Malformed::NotBase64),
        ("hello".into(), Malformed::NotBase64),
        (v1_of_len(4), Malformed::V1Size),
        (v1_of_len(236), Malformed::V1Size),
    ];
    for (text, malformed) in cases {
        let parsed = Envelope::parse(&EnvelopeText::from_stored(text.clone().into_bytes()));
        assert_eq!(parsed, Err(malformed), "{text}");
    }
    let len = MAX_ENVELOPE_LEN as u64 + 1;
    assert_eq!(Envelope::parse(&EnvelopeText::too_long(len)), Err(Malformed::TooLong { len }));
}

#[test]
fn a_value_whose_envelope_would_not_be_read_is_not_written() {
    let (mut memory, key) = (KdfMemory::new(), key("password"));
    let largest_v3 = (MAX_ENVELOPE_LEN - 3) / 4 * 3 - 112;
    let mut seal = |len: usize, spec: &SealParams| {
        seal(&vec![0; len], &key, BoundTo { id: &id(), token: &token() }, spec, &mut memory)
    };
    let [plain, padme, v2] = specs();
    assert!(seal(largest_v3, &plain).is_ok_and(|text| text.as_bytes().is_some()));
    assert!(matches!(seal(largest_v3 + 1, &plain), Err(SealError::TooLarge)));
    assert!(matches!(seal(largest_v3, &padme), Err(SealError::TooLarge)));
    assert!(matches!(seal(largest_v3 + 112, &v2), Err(SealError::TooLarge)));
    let kdf = KdfSetting { params: KdfParams::new(2048, 1, 256).unwrap(), ..kdf() };
    let lanes = seal(1, &SealParams::V3 { kdf, padding: Padding::None });
    assert!(matches!(lanes, Err(SealError::Lanes { p: 256 })));
}

fn places(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> + use<> {
    (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit)))
}
