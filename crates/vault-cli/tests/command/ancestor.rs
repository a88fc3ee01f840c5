//! The Go ancestor's own databases, read, counted and rekeyed by the command.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::sandbox::Sandbox;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/go");
const ALPHA: &str = "alpha-password-0123456789";

/// A copy of one of the ancestor's files, and what is known of its records.
struct Ancestor {
    sandbox: Sandbox,
    records: Vec<Value>,
    /// The file that holds a password.
    passwords: BTreeMap<String, String>,
    v2_cost: &'static str,
}

impl Ancestor {
    fn of(db: &str, v2_cost: &'static str) -> Self {
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

    fn run(&self, args: &[&str]) -> crate::sandbox::Answer {
        let vault = ["--vault", "sqlite:vault.sqlite", "--v2-preset", self.v2_cost];
        self.sandbox.run(&[args, &vault].concat())
    }

    /// Every live record that `file` names a password for opens under it, to the ancestor's plaintext.
    fn reads(&self, file: impl Fn(&str) -> Option<String>) {
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
        self.run(&[&args[..], &["--format", format, "--json"]].concat()).json(0)
    }

    /// The stored text of every record.
    fn stored(&self) -> BTreeMap<String, String> {
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
        let ancestor = Ancestor::of(db, cost);
        let before = fs::read(ancestor.sandbox.path("vault.sqlite")).unwrap();
        let mut census = vec!["census", "--json"];
        census.extend(ancestor.passwords.values().flat_map(|file| ["--password-file", file]));
        let census = ancestor.run(&census).json(0);
        assert_eq!(census["formats"], formats);
        assert_eq!(census["unopened"], 0);
        assert_eq!(fs::read(ancestor.sandbox.path("vault.sqlite")).unwrap(), before);
        ancestor.reads(|password| ancestor.passwords.get(password).cloned());
    }
}

#[test]
fn v1_and_v2_records_are_rekeyed_to_v3_and_to_v2_and_others_keep_every_byte() {
    for (db, cost, format) in [
        ("go-vault-light.sqlite", "lightweight", "v3"),
        ("go-vault-v1.sqlite", "default", "v3"),
        ("go-vault-v1.sqlite", "default", "v2"),
    ] {
        let ancestor = Ancestor::of(db, cost);
        let before = ancestor.stored();
        let is_alpha = |id: &str| {
            let mut records = ancestor.records.iter();
            records.any(|record| record["id"] == id && record["password"] == ALPHA)
        };
        let alphas = before.keys().filter(|id| is_alpha(id)).count();
        let report = ancestor.rekey_alpha(format);
        assert_eq!(report["rekeyed"], alphas, "the soft-deleted one is among them: {report}");

        for (id, stored) in ancestor.stored() {
            if is_alpha(&id) {
                assert!(stored.starts_with(&format!("{format}:")), "{id}");
            } else {
                assert_eq!(stored, before[&id], "{id}");
            }
        }
        // v2 is written with the vault's own cost, which is the default one here.
        ancestor.reads(|password| (password == ALPHA).then(|| "new".to_owned()));
    }
}

#[test]
fn a_migration_says_what_it_found_and_changes_no_record() {
    let ancestor = Ancestor::of("go-vault-light.sqlite", "lightweight");
    let before = ancestor.stored();
    let migrated = ancestor.sandbox.run(&["migrate", "--vault", "sqlite:vault.sqlite", "--json"]);
    let migrated = migrated.json(0);
    assert_eq!(migrated["changes"], serde_json::json!([]));
    assert_eq!(migrated["password_identities"], 0);
    assert_eq!(ancestor.stored(), before);
}
