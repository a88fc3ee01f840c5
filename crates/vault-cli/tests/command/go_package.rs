//! The Go package's own databases, read, counted and rekeyed by the command.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::sandbox::{Sandbox, commands_of};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/go");
pub(crate) const ALPHA: &str = "alpha-password-0123456789";

/// A copy of one of the Go package's files, and what is known of its records.
pub(crate) struct GoVault {
    pub(crate) sandbox: Sandbox,
    records: Vec<Value>,
    /// The file that holds a password.
    pub(crate) passwords: BTreeMap<String, String>,
    v2_cost: &'static str,
}

impl GoVault {
    pub(crate) fn of(db: &str, v2_cost: &'static str) -> Self {
        let sandbox = Sandbox::empty();
        sandbox.write("vault.sqlite", fs::read(Path::new(GOLDEN).join(db)).unwrap());
        let manifest = fs::read_to_string(Path::new(GOLDEN).join("manifest.json")).unwrap();
        let records: Vec<Value> = serde_json::from_str(&manifest).unwrap();
        let records: Vec<Value> = records.into_iter().filter(|record| record["db"] == db).collect();
        let mut passwords = BTreeMap::new();
        for record in &records {
            let (count, password) = (passwords.len(), record["password"].as_str().unwrap());
            passwords.entry(password.to_owned()).or_insert_with(|| {
                let file = format!("password{count}");
                sandbox.write(&file, password);
                file
            });
        }
        Self { sandbox, records, passwords, v2_cost }
    }

    fn has_v1(&self) -> bool {
        self.records.iter().any(|record| record["cost"].is_null())
    }

    pub(crate) fn run(&self, args: &[&str]) -> crate::sandbox::Answer {
        let vault = ["--vault", "sqlite:vault.sqlite", "--v2-preset", self.v2_cost];
        let allow: &[&str] = if self.has_v1() { &["--allow-v1"] } else { &[] };
        self.sandbox.run(&[args, &vault, allow].concat())
    }

    /// Every live record that `file` names a password for opens under it, to the Go package's
    /// plaintext.
    pub(crate) fn reads(&self, file: impl Fn(&str) -> Option<String>) {
        for record in self.records.iter().filter(|record| record["soft_deleted"] == false) {
            let token = record["token"].as_str().unwrap();
            let Some(file) = file(record["password"].as_str().unwrap()) else { continue };
            let value = self.run(&["read", token, "--password-file", &file]).succeeds().stdout;
            assert_eq!(hex(&Sha256::digest(&value)), record["plaintext_sha256"], "{token}");
        }
    }

    fn rekey_alpha(&self, format: &str) -> Value {
        let old = &self.passwords[ALPHA];
        let args = ["rekey", "--old-password-file", old, "--new-password-file", "new"];
        let more = ["--format", format, "--allow-marks", "--json"];
        self.run(&[&args[..], &more].concat()).json(0)
    }

    /// The stored text of every record.
    pub(crate) fn stored(&self) -> BTreeMap<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("sqlite:{}", self.sandbox.path("vault.sqlite").display());
            let store = url.parse::<vaultstore::StoreUrl>().unwrap().open().await.unwrap();
            let wide = vaultstore::store::PageLimit::new(1000, 1 << 30);
            let records = store.list(None, wide).await.unwrap();
            store.close().await;
            let stored = records.into_iter().map(|record| {
                let text = record.envelope.as_bytes().unwrap().to_vec();
                (record.id.to_string(), String::from_utf8(text).unwrap())
            });
            stored.collect()
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

#[test]
fn every_record_reads_and_a_census_counts_them() {
    for (db, cost, formats) in [
        ("go-vault-light.sqlite", "lightweight", serde_json::json!({"v2": 10})),
        ("go-vault-v1.sqlite", "default", serde_json::json!({"v1": 16, "v2": 3})),
    ] {
        let go_vault = GoVault::of(db, cost);
        let before = fs::read(go_vault.sandbox.path("vault.sqlite")).unwrap();
        let mut census = vec!["census", "--json"];
        census.extend(go_vault.passwords.values().flat_map(|file| ["--password-file", file]));
        let census = go_vault.run(&census).json(0);
        assert_eq!(census["formats"], formats);
        assert_eq!(census["unopened"], 0);
        assert_eq!(fs::read(go_vault.sandbox.path("vault.sqlite")).unwrap(), before);
        go_vault.reads(|password| go_vault.passwords.get(password).cloned());
    }
}

#[test]
fn v1_and_v2_records_are_rekeyed_to_v3_and_to_v2_and_others_keep_every_byte() {
    for (db, cost, format) in [
        ("go-vault-light.sqlite", "lightweight", "v3"),
        ("go-vault-v1.sqlite", "default", "v3"),
        ("go-vault-v1.sqlite", "default", "v2"),
    ] {
        let go_vault = GoVault::of(db, cost);
        let before = go_vault.stored();
        let is_alpha = |id: &str| {
            let mut records = go_vault.records.iter();
            records.any(|record| record["id"] == id && record["password"] == ALPHA)
        };
        let alphas = before.keys().filter(|id| is_alpha(id)).count();
        let report = go_vault.rekey_alpha(format);
        assert_eq!(report["rekeyed"], alphas, "the soft-deleted one is among them: {report}");

        for (id, stored) in go_vault.stored() {
            if is_alpha(&id) {
                assert!(stored.starts_with(&format!("{format}:")), "{id}");
            } else {
                assert_eq!(stored, before[&id], "{id}");
            }
        }
        // v2 is written with the vault's own cost, which is the default one here.
        go_vault.reads(|password| (password == ALPHA).then(|| "new".to_owned()));
    }
}

#[test]
fn a_migration_says_what_it_found_and_changes_no_record() {
    let go_vault = GoVault::of("go-vault-light.sqlite", "lightweight");
    let before = go_vault.stored();
    let migrated = go_vault.sandbox.run(&["migrate", "--vault", "sqlite:vault.sqlite", "--json"]);
    let migrated = migrated.json(0);
    assert_eq!(migrated["changes"], serde_json::json!([]));
    assert_eq!(migrated["password_identities"], 0);
    assert_eq!(go_vault.stored(), before);
}

/// What the Go program reads: every v2 opens at the cost it was written with, and nothing is v3.
fn stays_a_go_vault(go_vault: &GoVault) {
    for (id, stored) in go_vault.stored() {
        assert!(!stored.starts_with("v3:"), "{id}");
    }
}

#[test]
fn a_vault_of_the_go_package_gets_no_v3_before_somebody_says_so() {
    let go_vault = GoVault::of("go-vault-light.sqlite", "lightweight");
    let before = go_vault.stored();
    go_vault.sandbox.write("value", "value");
    let old = &go_vault.passwords[ALPHA];
    let rekey = ["rekey", "--old-password-file", old, "--new-password-file", "new"];
    let create = ["create", "--password-file", old, "--value-file", "value"];
    let live = go_vault
        .records
        .iter()
        .find(|record| record["password"] == ALPHA && record["soft_deleted"] == false);
    let token = live.unwrap()["token"].as_str().unwrap();
    let update = ["update", token, "--password-file", old, "--value-file", "value"];
    for command in [&rekey[..], &[&rekey[..], &["--dry-run"]].concat(), &update] {
        let answer = go_vault.run(command).fails(2);
        assert!(answer.stderr.contains("--format"), "{answer:?}");
        assert!(answer.stderr.contains("v2 as long as a Go program uses it"), "{answer:?}");
    }
    let created = [&create[..], &["--vault", "sqlite:vault.sqlite"]].concat();
    go_vault.sandbox.run(&created).fails(2);
    assert_eq!(go_vault.stored(), before);

    // Said once, by whichever command.
    go_vault.run(&[&update[..], &["--format", "v2"]].concat()).succeeds();
    go_vault.sandbox.run(&created).succeeds();
    let report = go_vault.run(&[&rekey[..], &["--json"]].concat()).json(0);
    // The update kept the cost of its record; only the new record has the vault's own.
    let kinds = report["before"].as_array().unwrap();
    let light = kinds.iter().find(|kind| kind["kdf"] == "t=2,m=32768,p=2").unwrap();
    let alphas = go_vault.records.iter().filter(|record| record["password"] == ALPHA).count();
    assert_eq!(light["records"], alphas, "{report}");
    assert_eq!(report["rekeyed"], alphas, "{report}");
    stays_a_go_vault(&go_vault);
    let answer = go_vault.run(&[&update[..6], &["--format", "v3"]].concat()).fails(2);
    assert!(answer.stderr.contains("settings set format v3"), "{answer:?}");
}

#[test]
fn v2_is_written_with_the_cost_that_opened_it() {
    let go_vault = GoVault::of("go-vault-light.sqlite", "lightweight");
    let report = go_vault.rekey_alpha("v2");
    let light = serde_json::json!("t=2,m=32768,p=2");
    let costs = |side: &str| -> Vec<Value> {
        let sides = report[side].as_array().unwrap();
        sides.iter().map(|kind| kind["kdf"].clone()).collect()
    };
    assert!(costs("before").contains(&light), "{report}");
    assert!(costs("after").contains(&light), "{report}");
    let others = report["scanned"].as_u64().unwrap() - report["rekeyed"].as_u64().unwrap();
    assert_eq!(report["not_checkable"], others);
    // The Go program with its lightweight preset is asked by nothing but that preset.
    go_vault.reads(|password| {
        let file = go_vault.passwords.get(password).cloned();
        if password == ALPHA { Some("new".to_owned()) } else { file }
    });
    stays_a_go_vault(&go_vault);
}

#[test]
fn what_nobody_can_check_is_not_called_sound() {
    let go_vault = GoVault::of("go-vault-light.sqlite", "lightweight");
    let census = go_vault.run(&["census"]).succeeds();
    let text = String::from_utf8(census.stdout).unwrap();
    assert!(text.contains("not checkable without a password: 10"), "{text}");
    assert!(!text.contains("damaged  "), "{text}");
    let census = go_vault.run(&["census", "--json"]).json(0);
    assert_eq!(census["not_checkable"], 10);
}

/// Whether a v2 text opens with this cost alone, as the Go program with this preset would open it.
fn go_reads(id: &str, token: &str, text: &str, password: &str, cost: &str) -> bool {
    use vaultstore::envelope::{Envelope, OpenOutcome, OpenPolicy, open};
    use vaultstore::store::{BoundTo, EnvelopeText};
    let policy = OpenPolicy::trusting().v2_costs([cost.parse().unwrap()]);
    let (id, token) =
        (vaultstore::RecordId::from_stored(id), vaultstore::Token::from_stored(token.to_owned()));
    let key = vaultstore::PasswordKey::new(vaultstore::Password::new(password));
    let envelope = Envelope::parse(&EnvelopeText::from_stored(text.as_bytes())).unwrap();
    let bound_to = BoundTo { id: &id, token: &token };
    let memory = &mut vaultstore::kdf::KdfMemory::new();
    matches!(open(&envelope, &key, bound_to, &policy, memory), Ok(OpenOutcome::Opened(_)))
}

#[test]
fn the_guide_for_users_of_the_go_package_is_a_walk_that_works() {
    for (db, preset) in [
        ("go-vault-light.sqlite", "lightweight"),
        ("go-vault-v1.sqlite", "default"),
        ("go-vault-identity.sqlite", "default"),
    ] {
        let go_vault = GoVault::of(db, preset);
        let sandbox = &go_vault.sandbox;
        let (v1, marks) =
            if go_vault.has_v1() { ("--allow-v1", "--allow-marks") } else { ("", "") };
        fs::rename(sandbox.path("vault.sqlite"), sandbox.path("vault.db")).unwrap();
        for (name, password) in [("old", ALPHA), ("new", "a new one"), ("newer", "a newer one")] {
            sandbox.write(name, password);
        }
        let stored = || {
            fs::copy(sandbox.path("vault.db"), sandbox.path("vault.sqlite")).unwrap();
            go_vault.stored()
        };
        let before = stored();
        let alphas: Vec<_> =
            go_vault.records.iter().filter(|record| record["password"] == ALPHA).collect();
        let blocks = commands_of("from-go.md");
        assert_eq!(blocks.len(), 5);
        for (number, block) in blocks.iter().enumerate() {
            let answer = sandbox.shell(
                block,
                &[
                    ("PRESET", preset),
                    ("V1", v1),
                    ("MARKS", marks),
                    ("VAULTSTORE_VAULT", "sqlite:vault.db"),
                ],
            );
            assert_eq!(answer.code, Some(0), "{db}: {block}: {answer:?}");
            let now = stored();
            let [id, token] = ["id", "token"].map(|name| alphas[0][name].as_str().unwrap());
            match number {
                0..=2 => assert_eq!(now, before, "{db}: {block}"),
                3 => assert!(go_reads(id, token, &now[id], "a new one", preset), "{db}"),
                _ => assert!(now[id].starts_with("v3:"), "{db}"),
            }
            for (id, text) in &now {
                let is_alpha = alphas.iter().any(|record| record["id"] == id.as_str());
                assert!(is_alpha || *text == before[id], "{db}: {id}");
                assert!(number == 4 || !text.starts_with("v3:"), "{db}: {id}");
            }
        }
    }
}

#[test]
fn a_wrong_v2_cost_is_named_and_not_called_a_wrong_password() {
    let go_vault = GoVault::of("go-vault-light.sqlite", "default");
    let rekey = ["rekey", "--old-password-file", &go_vault.passwords[ALPHA]];
    let rekey = [&rekey[..], &["--new-password-file", "new", "--format", "v2"]].concat();
    for more in [&[][..], &["--dry-run"]] {
        let answer = go_vault.run(&[&rekey[..], more].concat());
        assert_eq!(answer.code, Some(4), "{answer:?}");
        assert!(answer.stderr.contains("--v2-preset lightweight"), "{answer:?}");
    }
}
