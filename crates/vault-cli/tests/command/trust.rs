//! Which records the command tries a password on, and what it makes of settings that another
//! program changed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::executor::block_on;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use vaultstore::envelope::{Padding, SealParams, seal};
use vaultstore::kdf::{KdfMemory, KdfSetting, Salt};
use vaultstore::store::{BoundTo, PutSetting};
use vaultstore::{KdfParams, Password, PasswordKey, RecordId, Token};

use crate::sandbox::{CANARY, CHEAP, Sandbox};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];
const V1: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/v1.json"));

fn rekey(sandbox: &Sandbox, more: &[&str], code: i32) -> (Value, String) {
    let answer = sandbox.run(&[&REKEY[..], &["--json", "--progress", "none"], more].concat());
    let stderr = answer.stderr.clone();
    (answer.json(code), stderr)
}

/// A v1 record of the Go package, whatever its password.
fn v1() -> Vec<u8> {
    let vectors: Vec<Value> = serde_json::from_str(V1).unwrap();
    vectors[1]["text"].as_str().unwrap().as_bytes().to_vec()
}

/// A v3 record under the old password, with a salt and cost of its own.
fn v3(token: &str, params: KdfParams) -> Vec<u8> {
    let kdf = KdfSetting { params, salt: Salt::from_bytes([7; Salt::LEN]) };
    let key = PasswordKey::new(Password::new(format!("{CANARY} old")));
    let id = RecordId::from_stored(format!("planted {token}"));
    let token = Token::new(token).unwrap();
    let spec = SealParams::V3 { kdf, padding: Padding::None };
    let bound_to = BoundTo { id: &id, token: &token };
    let sealed = seal(b"value", &key, bound_to, &spec, &mut KdfMemory::new()).unwrap();
    sealed.as_bytes().unwrap().to_vec()
}

/// A header that asks for another cost, with a check that holds.
fn forged(text: &[u8], m_kib: u32, t: u32) -> Vec<u8> {
    let mut bytes = URL_SAFE_NO_PAD.decode(&text[3..]).unwrap();
    bytes[1..5].copy_from_slice(&m_kib.to_be_bytes());
    bytes[5..9].copy_from_slice(&t.to_be_bytes());
    let hash = Sha256::new().chain_update(&bytes[..90]).chain_update(&bytes[96..]).finalize();
    bytes[90..96].copy_from_slice(&hash[..6]);
    format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes()
}

#[test]
fn v1_is_opened_only_with_the_option_and_its_hint_names_it() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    sandbox.plant("tk_v1", &v1());
    let answer = sandbox.read("tk_v1", "old").fails(1);
    assert!(answer.stderr.contains("--allow-v1"), "{answer:?}");
    let read = ["read", "tk_v1", "--password-file", "old", "--json"];
    assert_eq!(sandbox.run(&read).json(1)["records"][0]["error"], "not_tried");
    sandbox.run(&["census", "--password-file", "old"]).succeeds();
    let verdict = sandbox.run(&["verify", "--password-file", "old", "--json"]).json(3);
    assert_eq!((&verdict["v1_not_tried"], &verdict["unopened"]), (&1.into(), &1.into()));
    for more in [&["--dry-run"][..], &[]] {
        let (report, stderr) = rekey(&sandbox, more, 3);
        assert_eq!((&report["rekeyed"], &report["v1_not_tried"]), (&1.into(), &1.into()));
        let headline = report["headline"].as_str().unwrap();
        assert!(headline.ends_with("; 1 record of v1, not tried"), "{headline}");
        assert!(stderr.contains("--allow-v1"), "{stderr}");
    }
    assert_eq!(sandbox.envelope("tk_v1"), v1());
    // It is of another password, which is only known once it is tried. The other was rekeyed
    // before.
    let (report, stderr) = rekey(&sandbox, &["--allow-v1"], 0);
    let headline = report["headline"].as_str().unwrap();
    assert!(headline.starts_with("Already done: an earlier run with other options"), "{headline}");
    assert_eq!((&report["v1_not_tried"], &report["other_password"]), (&0.into(), &1.into()));
    assert!(!stderr.contains("--allow-v1"), "{stderr}");
}

#[test]
fn a_vault_of_v1_alone_is_not_answered_with_check_the_passwords() {
    let sandbox = Sandbox::with_vault();
    sandbox.plant("tk_v1", &v1());
    let (report, stderr) = rekey(&sandbox, &[], 3);
    assert_eq!((&report["rekeyed"], &report["v1_not_tried"]), (&0.into(), &1.into()));
    assert!(!stderr.contains("check the passwords"), "{stderr}");
}

#[test]
fn a_planted_cost_below_the_floor_is_counted_and_tells_nothing() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    let guess = v3("tk_guess", KdfParams::new(8, 1, 1).unwrap());
    sandbox.plant("tk_guess", &guess);
    let answer = sandbox.read("tk_guess", "old").fails(1);
    assert!(answer.stderr.contains("below the floor"), "{answer:?}");
    for command in [&["census"][..], &["census", "--password-file", "old"]] {
        let report = sandbox.run(&[command, &["--json"]].concat()).json(3);
        assert_eq!(report["below_floor"], 1);
    }
    let (report, stderr) = rekey(&sandbox, &[], 3);
    assert_eq!((&report["rekeyed"], &report["below_floor"]), (&1.into(), &1.into()));
    assert!(stderr.contains("below the floor"), "{stderr}");
    assert_eq!(sandbox.envelope("tk_guess"), guess);
}

#[test]
fn a_header_over_the_limit_costs_nothing_and_names_the_option_that_allows_it() {
    let sandbox = Sandbox::with_vault();
    let cheap = v3("tk_high", KdfParams::new(8, 1, 1).unwrap());
    sandbox.plant("tk_high", &forged(&cheap, 2 << 20, 4));
    let answer = sandbox.read("tk_high", "old").fails(1);
    assert!(answer.stderr.contains("--kdf-limit 2GiB"), "{answer:?}");
    sandbox.create("a", "old", b"a");
    let (report, _) = rekey(&sandbox, &[], 3);
    let reason = report["problems"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("--kdf-limit 2GiB"), "{reason}");
    // 300 MiB are over the default and below what the caller allows, by option or by variable.
    let sandbox = Sandbox::with_vault();
    sandbox.plant("tk_some", &forged(&cheap, 300 << 10, 1));
    let read = ["read", "tk_some", "--password-file", "old"];
    let limited = |answer: &crate::sandbox::Answer| answer.stderr.contains("--kdf-limit");
    assert!(limited(&sandbox.run(&read).fails(1)));
    let allowed = sandbox.run(&[&read[..], &["--kdf-limit", "300MiB"]].concat()).fails(1);
    assert!(!limited(&allowed), "{allowed:?}");
    let mut command = sandbox.command(&read);
    command.env("VAULTSTORE_KDF_LIMIT", "1GiB");
    let allowed = crate::sandbox::Answer::from(command.output().unwrap()).fails(1);
    assert!(!limited(&allowed), "{allowed:?}");
}

#[test]
fn init_over_the_default_limit_prints_what_readers_need() {
    let sandbox = Sandbox::empty();
    let made = sandbox.run(&["init", "--kdf", "rfc9106_first"]).succeeds();
    let text = String::from_utf8(made.stdout).unwrap();
    assert!(text.contains("VAULTSTORE_KDF_LIMIT=2GiB"), "{text}");
    let create = ["create", "--password-file", "old", "--value-file", "old"];
    let answer = sandbox.run(&create).fails(2);
    assert!(answer.stderr.contains("--kdf-limit 2GiB"), "{answer:?}");
    // A cost within the limit needs no line.
    let sandbox = Sandbox::empty();
    let made = sandbox.run(&["init", "--kdf", CHEAP]).succeeds();
    assert!(!String::from_utf8(made.stdout).unwrap().contains("KDF_LIMIT"));
    let set = sandbox.run(&["settings", "set", "kdf", "rfc9106_first"]).succeeds();
    assert!(set.stderr.contains("VAULTSTORE_KDF_LIMIT=2GiB"), "{set:?}");
}

#[test]
fn a_changed_setting_moves_no_record_to_its_salt_or_cost_and_is_warned_of() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["init", "--kdf", "t=3,m=19456,p=1"]).succeeds();
    sandbox.create("a", "old", b"a");
    let header = |sandbox: &Sandbox| {
        let bytes = URL_SAFE_NO_PAD.decode(&sandbox.envelope("a")[3..]).unwrap();
        bytes[1..26].to_vec()
    };
    let before = header(&sandbox);
    let attackers = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA";
    sandbox.run(&["settings", "set", "kdf", attackers]).succeeds();
    let warned = |stderr: &str| stderr.matches("warning: the vault's setting kdf").count();
    let (_, stderr) = rekey(&sandbox, &["--dry-run"], 0);
    assert_eq!(warned(&stderr), 1, "{stderr}");
    let (report, stderr) = rekey(&sandbox, &[], 0);
    assert_eq!((&report["rekeyed"], warned(&stderr)), (&1.into(), 1), "{stderr}");
    assert_eq!(header(&sandbox), before);

    // Both are moved where the command line asks for it, each on its own.
    let back = ["rekey", "--old-password-file", "new", "--new-password-file", "old"];
    sandbox.run(&[&back[..], &["--kdf", CHEAP]].concat()).succeeds();
    let cheaper = header(&sandbox);
    assert_ne!(cheaper[..9], before[..9]);
    assert_eq!(cheaper[9..], before[9..], "the salt stays");
    rekey(&sandbox, &["--vault-salt", "--restart"], 0);
    assert_eq!(header(&sandbox)[9..], [0; 16]);
    sandbox.still_reads("a", "new", b"a");
}

#[test]
fn a_setting_chooses_no_cost_for_v2_outside_the_limits() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    let store = sandbox.store();
    let set = |name, value| {
        let always = vaultstore::store::PutSetting::Always;
        futures::executor::block_on(store.put_setting(name, value, always)).unwrap();
    };
    set("format", "v2");
    set("kdf", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA");
    drop(store);
    // A guess as v2 at 8 KiB, which only a reader that takes its cost from the setting opens.
    let params = KdfParams::new(8, 1, 1).unwrap();
    let key = PasswordKey::new(Password::new(format!("{CANARY} old")));
    let id = RecordId::from_stored("planted tk_guess");
    let token = Token::new("tk_guess").unwrap();
    let bound_to = BoundTo { id: &id, token: &token };
    let spec = SealParams::V2 { params };
    let guess = seal(b"value", &key, bound_to, &spec, &mut KdfMemory::new()).unwrap();
    sandbox.plant("tk_guess", guess.as_bytes().unwrap());
    let census = sandbox.run(&["census", "--password-file", "old", "--json"]).json(0);
    assert_eq!(census["opened"][0]["records"], 1, "the record of the vault alone: {census}");
}

#[test]
fn a_stored_cost_below_the_floor_is_named_and_can_be_set_again() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"value");
    let stored = sandbox.run(&["settings", "get", "kdf"]).succeeds().text().trim().to_owned();
    let salt = stored.rsplit('$').next().unwrap();
    let store = sandbox.store();
    let planted =
        format!("{}${salt}", stored[..stored.len() - salt.len() - 1].replace("m=19456", "m=8"));
    assert_ne!(planted, stored);
    block_on(store.put_setting("kdf", &planted, PutSetting::Always)).unwrap();
    drop(store);
    let answer = sandbox.read("a", "old").fails(1);
    assert!(answer.stderr.contains("the vault's setting \"kdf\""), "{answer:?}");
    assert!(answer.stderr.contains("settings set kdf"), "{answer:?}");
    // The census reads no such cost, and tells which one the records have.
    let census = sandbox.run(&["census"]).succeeds();
    assert!(census.text().contains("m=19456"), "{census:?}");
    sandbox.run(&["settings", "set", "kdf", CHEAP]).succeeds();
    sandbox.still_reads("a", "old", b"value");
}

#[test]
fn another_cost_is_said_to_show_which_records_are_newer() {
    let sandbox = Sandbox::with_vault();
    let set = |cost| sandbox.run(&["settings", "set", "kdf", cost]).succeeds().stderr;
    assert_eq!(set("t=3,m=19456,p=1"), "");
    sandbox.create("a", "old", b"value");
    assert_eq!(set("t=3,m=19456,p=1"), "");
    let warned = set("t=4,m=19456,p=1");
    assert!(warned.starts_with("warning: ") && warned.contains("upgrade"), "{warned}");
}
