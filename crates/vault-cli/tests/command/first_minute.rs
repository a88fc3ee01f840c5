//! What a newcomer tries first: `demo` and `info`; and what an operator does in an emergency.

use std::fs;

use crate::sandbox::{Sandbox, commands_of};

#[test]
fn the_demo_needs_nothing_proves_its_point_and_leaves_nothing() {
    let sandbox = Sandbox::empty();
    let temporary = sandbox.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let files = || fs::read_dir(sandbox.path("")).unwrap().count();
    let before = files();
    let demo = sandbox.command(&["demo"]).env("TMPDIR", &temporary).output().unwrap();
    let text = String::from_utf8(demo.stdout).unwrap();
    assert!(demo.status.success(), "{text}");
    for line in [
        "1,000 records tried, 250 re-encrypted under a new password",
        "0 records open under the leaked password, 250 of 250 under the new one",
        "750 records of the others are unchanged, byte for byte",
        "The vault was removed.",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
    assert!(!text.contains('\\'), "{text}");
    assert_eq!(files(), before);
}

#[test]
fn info_says_what_a_vault_is_without_a_password() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "old", b"b");
    let info = sandbox.run(&["info", "--json"]).json(0);
    assert_eq!(info["records"], 2);
    assert_eq!(info["formats"], serde_json::json!({"v3": 2}));
    assert_eq!((&info["format"], &info["identities"]), (&"v3".into(), &0.into()));
    assert_eq!(info["runs"], serde_json::json!([]));
    assert!(info["file_bytes"].as_u64().unwrap() > 4096);
    let rekey = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];
    sandbox.run(&rekey).succeeds();
    let info = sandbox.run(&["info"]).succeeds();
    for part in ["records              2", "formats              v3 2", "finished: started"] {
        assert!(info.text().contains(part), "{part}: {info:?}");
    }
    sandbox.plant("c", b"v3:damaged");
    let info = sandbox.run(&["info"]);
    assert_eq!(info.code, Some(3), "{info:?}");
    assert!(info.stderr.contains("vaultstore census"), "{info:?}");
    sandbox.run(&["info", "--vault", "redb:nothing.redb"]).fails(1);
}

#[test]
fn the_runbook_is_a_walk_that_works() {
    for backend in ["redb", "sqlite"] {
        let sandbox = Sandbox::empty();
        let vault = format!("{backend}:vault.{backend}");
        sandbox.run(&["init", "--vault", &vault]).succeeds();
        for (token, password) in [("a", "leaked"), ("b", "leaked"), ("c", "other")] {
            sandbox.write(password, format!("{password} password"));
            let create =
                ["create", "--vault", &vault, "--token", token, "--password-file", password];
            sandbox.run_with(&create, token.as_bytes()).succeeds();
        }
        sandbox.write("new", "new password");
        let blocks = commands_of("runbook.md");
        assert_eq!(blocks.len(), 6);
        for block in &blocks {
            let answer = sandbox.shell(block, &[("VAULTSTORE_VAULT", &vault)]);
            assert_eq!(answer.code, Some(0), "{backend}: {block}: {answer:?}");
        }
        for (token, password) in [("a", "new"), ("b", "new"), ("c", "other")] {
            let read = ["read", "--vault", &vault, token, "--password-file", password];
            assert_eq!(sandbox.run(&read).succeeds().stdout, token.as_bytes());
        }
        assert!(!sandbox.path("backup.redb").exists());
    }
}
