//! The password identities that one version of the Go package left in its vaults: counted, named
//! before a rekey, removed, and never copied.

use std::fs;

use crate::go_package::{ALPHA, GoVault};
use crate::sandbox::{Answer, Sandbox, bytes_of};

const DB: &str = "go-vault-identity.sqlite";

fn identity_vault() -> GoVault {
    GoVault::of(DB, "default")
}

/// Runs a command that tries no password.
fn run(vault: &GoVault, args: &[&str]) -> Answer {
    vault.sandbox.run(&[args, &["--vault", "sqlite:vault.sqlite"]].concat())
}

/// Whether the files of a vault contain a text.
fn contains(vault: &GoVault, file: &str, text: &str) -> bool {
    ["", "-wal", "-journal"].iter().any(|ending| {
        let path = vault.sandbox.path(&format!("{file}{ending}"));
        path.exists() && bytes_of(&path).windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn they_are_counted_by_status_and_census() {
    let vault = identity_vault();
    let status = run(&vault, &["identity", "status"]).succeeds();
    assert!(
        status.text().starts_with("3 password identities and 12 links from records: anyone"),
        "{status:?}"
    );
    assert!(status.stderr.contains("vaultstore identity purge"), "{status:?}");
    let expected = run(&vault, &["identity", "status", "--expect-none"]);
    assert_eq!(expected.code, Some(3), "{expected:?}");
    let json = run(&vault, &["identity", "status", "--json"]).json(0);
    assert_eq!(json, serde_json::json!({"identities": 3, "links": 12}));
    let census = vault.run(&["census"]).succeeds();
    assert!(census.text().contains("password identities"), "{census:?}");
    assert!(census.text().contains("3, 12 records linked"), "{census:?}");
    assert!(census.stderr.contains("vaultstore identity purge"), "{census:?}");
    let json = vault.run(&["census", "--json"]).json(0);
    assert_eq!(json["identities"], serde_json::json!({"identities": 3, "links": 12}));
}

#[test]
fn a_vault_of_this_program_has_none() {
    let sandbox = Sandbox::with_vault();
    let status = sandbox.run(&["identity", "status", "--expect-none"]).succeeds();
    assert!(status.text().starts_with("no password identities"), "{status:?}");
    assert!(sandbox.run(&["census"]).succeeds().text().contains("none"));
    let purge = sandbox.run(&["identity", "purge"]).succeeds();
    assert!(purge.text().starts_with("nothing was removed"), "{purge:?}");
}

#[test]
fn a_rekey_names_them_before_it_writes_and_migrate_says_what_removes_them() {
    let vault = identity_vault();
    vault.sandbox.write("new", "new password");
    let rekey = ["--old-password-file", &vault.passwords[ALPHA], "--new-password-file", "new"];
    for command in ["test-rekey", "rekey"] {
        let args = [&[command, "--format", "v2"][..], &rekey].concat();
        let answer = vault.run(&args).succeeds();
        let warning =
            "3 password identities and 12 links from records, which a rekey does not change";
        assert!(answer.stderr.contains(warning), "{answer:?}");
        assert!(answer.stderr.contains("vaultstore identity purge"), "{answer:?}");
    }
    let migrate = ["migrate", "--vault", "sqlite:vault.sqlite"];
    let answer = vault.sandbox.run(&migrate).succeeds();
    assert!(answer.stderr.contains("vaultstore identity purge"), "{answer:?}");
}

#[test]
fn a_purge_removes_them_and_nothing_else_and_leaves_no_trace_in_the_file() {
    let vault = identity_vault();
    let before = vault.stored();
    assert!(contains(&vault, "vault.sqlite", "$argon2id$v=19$m=16384"));
    let answer = run(&vault, &["identity", "purge"]).succeeds();
    assert!(
        answer.text().starts_with("removed 3 password identities and 12 links from records;"),
        "{answer:?}"
    );
    assert!(answer.stderr.contains("backups"), "{answer:?}");
    assert_eq!(vault.stored(), before);
    for gone in ["$argon2id$v=19$m=16384", "password_identity", "password_id"] {
        assert!(!contains(&vault, "vault.sqlite", gone), "{gone}");
    }
    run(&vault, &["identity", "status", "--expect-none"]).succeeds();
    // The setting of that version stays.
    assert!(contains(&vault, "vault.sqlite", "0.30.0"));
    vault.reads(|password| vault.passwords.get(password).cloned());
    let again = run(&vault, &["identity", "purge", "--json"]).json(0);
    assert_eq!(again["removed"], serde_json::json!({"identities": 0, "links": 0}));
}

#[test]
fn a_copy_leaves_them_out_and_says_so() {
    let vault = identity_vault();
    let answer = run(&vault, &["copy", "--to", "sqlite:copy.sqlite"]).succeeds();
    assert!(
        answer.stderr.contains("3 password identities and 12 links from records were left out"),
        "{answer:?}"
    );
    for gone in ["$argon2id$v=19$m=16384", "password_identity", "password_id"] {
        assert!(!contains(&vault, "copy.sqlite", gone), "{gone}");
    }
    let status = ["identity", "status", "--expect-none", "--vault", "sqlite:copy.sqlite"];
    vault.sandbox.run(&status).succeeds();
    assert!(fs::metadata(vault.sandbox.path("copy.sqlite")).unwrap().len() > 0);
}
