//! What a rekey makes of envelopes that were changed, cut, lengthened, swapped or taken from
//! elsewhere: never a panic, never a wrong value, and the right outcome in its report.

use std::collections::BTreeMap;

use crate::v1::V1Pad;
use crate::v1_opened::Opened;
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use futures::executor::block_on;
use vault_core::envelope::{
    Envelope, OpenOutcome, OpenPolicy, Padding, SealParams, V2Params, open, seal,
};
use vault_core::kdf::{KdfMemory, KdfSetting};
use vault_core::rekey::RunStatus;
use vault_core::run::{MAX_PROBLEMS, ProblemKind};
use vault_core::store::BoundTo;
use vault_core::store::{EnvelopeText, PageLimit};
use vault_core::{
    InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, RekeyPlan,
    Timestamp, Token, Vault, VaultOptions, VaultStore,
};

const VALUE: &[u8] = b"the value";

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is under the new password, with this value.
    Rekeyed(Vec<u8>),
    OtherPassword,
    Damaged,
    Malformed,
}

fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

fn v2() -> SealParams {
    SealParams::V2 { params: cheap() }
}

/// Of a vault with a salt of its own.
fn v3() -> SealParams {
    SealParams::V3 { kdf: KdfSetting::generate(cheap()).unwrap(), padding: Padding::None }
}

fn policy() -> OpenPolicy {
    OpenPolicy::trusting().v2_costs([V2Params::new(cheap())])
}

fn key(password: &str) -> PasswordKey {
    PasswordKey::new(Password::new(password))
}

fn id(number: usize) -> RecordId {
    RecordId::from_stored(format!("{number:05}"))
}

fn token(number: usize) -> Token {
    Token::new(format!("tk_{number}")).unwrap()
}

fn sealed(number: usize, spec: &SealParams, key: &PasswordKey) -> Vec<u8> {
    let bound_to = BoundTo { id: &id(number), token: &token(number) };
    let envelope = seal(VALUE, key, bound_to, spec, &mut KdfMemory::new()).unwrap();
    envelope.as_bytes().unwrap().to_vec()
}

/// Rekeys a vault of these envelopes from `old` to `new`, as many at a time as a report lists.
fn rekey(texts: &[Vec<u8>]) -> Vec<Outcome> {
    let some = |(number, texts): (usize, &[Vec<u8>])| rekey_some(number * MAX_PROBLEMS, texts);
    texts.chunks(MAX_PROBLEMS).enumerate().flat_map(some).collect()
}

fn rekey_some(first: usize, texts: &[Vec<u8>]) -> Vec<Outcome> {
    let store = MemoryStore::new();
    let records = texts.iter().enumerate().map(|(number, text)| record(first + number, text));
    let before: Vec<Record> = records.collect();
    let options = VaultOptions::default().open(policy());
    let report = block_on(async {
        let vault = Vault::init(store.clone(), InitOptions::default().cost(cheap()), options).await;
        store.insert(before.clone()).await.unwrap();
        let plan = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
        let plan = plan.marks(vault_core::rekey::Marking::Allow);
        vault.unwrap().rekey(plan).await.unwrap().run().await.unwrap()
    });
    let problems: BTreeMap<_, _> =
        report.problems.iter().map(|problem| (problem.at.id(), problem.kind)).collect();
    let wide = PageLimit::new(usize::MAX, usize::MAX);
    let after = block_on(store.list(None, wide)).unwrap();
    let new = key("new");
    let outcome = |(before, after): (&Record, &Record)| match problems.get(&Some(&before.id)) {
        _ if before != after => Outcome::Rekeyed(opened(after, &new).unwrap()),
        Some(ProblemKind::Damaged) => Outcome::Damaged,
        Some(ProblemKind::Malformed(_)) => Outcome::Malformed,
        Some(kind) => panic!("the store in memory holds no {kind:?}"),
        None => Outcome::OtherPassword,
    };
    let outcomes: Vec<_> = before.iter().zip(&after).map(outcome).collect();
    assert_eq!((outcomes.len(), report.end), (texts.len(), RunStatus::Complete));
    let count = |of: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| of(outcome)).count();
    let counts = report.counts;
    assert_eq!(counts.rekeyed, count(|it| matches!(it, Outcome::Rekeyed(_))) as u64);
    assert_eq!(counts.other_password, count(|it| *it == Outcome::OtherPassword) as u64);
    assert_eq!(counts.damaged, count(|it| *it == Outcome::Damaged) as u64);
    assert_eq!(counts.malformed, count(|it| *it == Outcome::Malformed) as u64);
    assert_eq!((counts.scanned, counts.total()), (texts.len() as u64, texts.len() as u64));
    outcomes
}

fn record(number: usize, text: &[u8]) -> Record {
    let time = Timestamp::from_micros(1_700_000_000_000_000);
    Record {
        id: id(number),
        token: token(number),
        envelope: EnvelopeText::from_stored(text),
        created_at: time,
        updated_at: time,
        expires_at: None,
        soft_deleted_at: None,
    }
}

fn opened(record: &Record, key: &PasswordKey) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(&record.envelope).ok()?;
    match open(&envelope, key, record.bound_to(), &policy(), &mut KdfMemory::new()).unwrap() {
        OpenOutcome::Opened(value) => Some(value.as_bytes().to_vec()),
        _ => None,
    }
}

/// One text each: every bit flipped, every cut, every extension by up to 64 characters, of
/// envelopes of the record that each becomes.
fn mutations(sealed: impl Fn(usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    let len = sealed(0).len();
    let mut texts = Vec::new();
    for (at, bit) in (0..len).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut text = sealed(texts.len());
        text[at] ^= 1 << bit;
        texts.push(text);
    }
    for len in 0..len {
        texts.push(sealed(texts.len())[..len].to_vec());
    }
    for more in 1..=64 {
        let mut text = sealed(texts.len());
        text.extend(vec![b'A'; more]);
        texts.push(text);
    }
    texts
}

#[test]
fn a_v3_that_was_changed_anywhere_is_damaged_or_malformed() {
    let (spec, old) = (v3(), key("old"));
    let outcomes = rekey(&mutations(|number| sealed(number, &spec, &old)));
    let is_right = |it: &Outcome| matches!(it, Outcome::Damaged | Outcome::Malformed);
    let wrong = outcomes.iter().position(|outcome| !is_right(outcome));
    assert_eq!(wrong.map(|number| &outcomes[number]), None, "{wrong:?}");
    assert!(outcomes.contains(&Outcome::Damaged) && outcomes.contains(&Outcome::Malformed));
}

/// Of the bytes under the text, where every flip is seen as what it is.
#[test]
fn a_v3_of_which_one_bit_flipped_is_damaged() {
    let (spec, old) = (v3(), key("old"));
    let bytes = |number| URL_SAFE_NO_PAD.decode(&sealed(number, &spec, &old)[3..]).unwrap();
    let texts: Vec<_> = (0..8 * bytes(0).len())
        .map(|bit| {
            let mut bytes = bytes(bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes()
        })
        .collect();
    assert_eq!(rekey(&texts), vec![Outcome::Damaged; texts.len()]);
}

/// v2 cannot tell damage from another password; its base64 has spare bits, and a flip of those
/// changes nothing.
#[test]
fn a_v2_that_was_changed_anywhere_has_its_value_or_is_left_alone() {
    let old = key("old");
    let outcomes = rekey(&mutations(|number| sealed(number, &v2(), &old)));
    let mut rekeyed = 0;
    for outcome in &outcomes {
        if let Outcome::Rekeyed(value) = outcome {
            assert_eq!(value, VALUE);
            rekeyed += 1;
        }
    }
    assert!(rekeyed < outcomes.len() / 100, "{rekeyed} flips in spare bits");
    assert!(outcomes.contains(&Outcome::OtherPassword) && outcomes.contains(&Outcome::Malformed));
}

#[test]
fn a_v2_of_which_one_bit_flipped_or_the_end_is_missing_looks_like_another_password() {
    /// Salt, iv and tag.
    const LEAST: usize = 16 + 12 + 16;
    let old = key("old");
    let bytes = |number| URL_SAFE.decode(&sealed(number, &v2(), &old)[3..]).unwrap();
    let len = bytes(0).len();
    let text = |bytes: &[u8]| format!("v2:{}", URL_SAFE.encode(bytes)).into_bytes();
    let flipped = (0..8 * len).map(|bit| {
        let mut bytes = bytes(bit);
        bytes[bit / 8] ^= 1 << (bit % 8);
        text(&bytes)
    });
    let cut = (0..len).map(|len| text(&bytes(0)[..len]));
    let outcomes = rekey(&flipped.chain(cut).collect::<Vec<_>>());
    let (flipped, cut) = outcomes.split_at(8 * len);
    assert_eq!(flipped, vec![Outcome::OtherPassword; 8 * len]);
    assert_eq!(cut[..LEAST], vec![Outcome::Malformed; LEAST]);
    assert_eq!(cut[LEAST..], vec![Outcome::OtherPassword; len - LEAST]);
}

/// v1 has no authentication, so some changes give another value; a rekey moves exactly what the
/// format says is there.
#[test]
fn a_v1_that_was_changed_is_what_the_format_says() {
    let pad = V1Pad::of(b"old");
    let texts = mutations(|_| pad.seal(VALUE).as_bytes().unwrap().to_vec());
    let expected: Vec<_> = texts
        .iter()
        .map(|text| match Opened::of(text, &pad) {
            Opened::Value(value) => Outcome::Rekeyed(value),
            Opened::WrongPassword => Outcome::OtherPassword,
            Opened::Malformed => Outcome::Malformed,
        })
        .collect();
    let outcomes = rekey(&texts);
    for (number, (found, expected)) in outcomes.iter().zip(&expected).enumerate() {
        let text = String::from_utf8_lossy(&texts[number]);
        assert_eq!(found, expected, "{number}: {text}");
    }
    let changed = |it: &&Outcome| matches!(it, Outcome::Rekeyed(value) if value != VALUE);
    assert!(outcomes.iter().find(changed).is_some(), "no caller is to believe otherwise");
}

#[test]
fn swapped_envelopes_are_damaged_in_v3_and_known_by_nobody_before() {
    let (spec, old, other) = (v3(), key("old"), key("another"));
    let swapped = |spec: &SealParams, key| {
        let texts: Vec<_> = (0..10).map(|number| sealed(number ^ 1, spec, key)).collect();
        rekey(&texts)
    };
    assert_eq!(swapped(&spec, &old), vec![Outcome::Damaged; 10]);
    assert_eq!(swapped(&spec, &other), vec![Outcome::OtherPassword; 10]);
    // v2 binds no id.
    assert_eq!(swapped(&v2(), &old), vec![Outcome::Rekeyed(VALUE.to_vec()); 10]);
}

#[test]
fn envelopes_of_another_vault_open_only_with_their_password_and_id() {
    let other_vaults = v3();
    let texts = [
        sealed(0, &other_vaults, &key("old")),
        sealed(9, &other_vaults, &key("old")),
        sealed(2, &other_vaults, &key("another")),
        sealed(9, &other_vaults, &key("another")),
    ];
    let expected = [
        Outcome::Rekeyed(VALUE.to_vec()),
        Outcome::Damaged,
        Outcome::OtherPassword,
        Outcome::OtherPassword,
    ];
    assert_eq!(rekey(&texts), expected);
}
