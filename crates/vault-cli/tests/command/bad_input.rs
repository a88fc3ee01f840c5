//! Bad input: one clear sentence, the right exit code, and nothing lost.

use std::{
    fs,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::sandbox::{CHEAP, Sandbox, bytes_of};

fn with_record() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    sandbox.create("kept", "old", b"value");
    sandbox
}

#[test]
fn a_wrong_or_empty_password_reads_and_changes_nothing() {
    let sandbox = with_record();
    sandbox.write("empty", b"");
    for wrong in ["new", "empty"] {
        sandbox.read("kept", wrong).fails(1);
        sandbox.run_with(&["update", "kept", "--password-file", wrong], b"x").fails(1);
    }
    sandbox.still_reads("kept", "old", b"value");
}

#[test]
fn an_empty_password_seals_nothing() {
    let sandbox = with_record();
    sandbox.write("empty", b"\n");
    sandbox.run_with(&["create", "--password-file", "empty"], b"x").fails(2);
    sandbox.run(&["rekey", "--old-password-file", "old", "--new-password-file", "empty"]).fails(2);
    sandbox.still_reads("kept", "old", b"value");
    assert_eq!(sandbox.run(&["list", "--json"]).json(0)["records"].as_array().unwrap().len(), 1);
}

#[test]
fn a_token_that_is_unknown_or_taken_or_none_is_refused() {
    let sandbox = with_record();
    sandbox.read("nobody", "old").fails(1);
    sandbox.run(&["delete", "nobody"]).fails(1);
    sandbox.run_with(&["update", "nobody", "--password-file", "old"], b"x").fails(1);
    sandbox.run_with(&["create", "--token", "kept", "--password-file", "new"], b"x").fails(1);
    sandbox.run_with(&["create", "--token", "", "--password-file", "new"], b"x").fails(2);
    sandbox.run_with(&["create", "--length", "14", "--password-file", "new"], b"x").fails(2);
    sandbox.still_reads("kept", "old", b"value");
}

#[test]
fn a_closed_standard_input_is_not_an_empty_value() {
    let sandbox = with_record();
    for args in
        [&["create", "--password-file", "old"][..], &["update", "kept", "--password-file", "old"]]
    {
        sandbox.run(args).fails(2);
        let closed = format!("exec \"$0\" {} <&-", args.join(" "));
        let closed = Command::new("sh")
            .args(["-c", &closed, env!("CARGO_BIN_EXE_vaultstore")])
            .current_dir(sandbox.path(""))
            .output()
            .unwrap();
        assert_eq!(closed.status.code(), Some(2));
    }
    sandbox.still_reads("kept", "old", b"value");
    assert_eq!(sandbox.run(&["list", "--json"]).json(0)["records"].as_array().unwrap().len(), 1);
}

#[test]
fn a_path_that_is_no_vault_is_left_alone() {
    let sandbox = with_record();
    sandbox.write("text", "not a vault");
    fs::create_dir(sandbox.path("folder")).unwrap();
    std::os::unix::fs::symlink("loop", sandbox.path("loop")).unwrap();
    sandbox.run(&["init", "--kdf", CHEAP, "--vault", "sqlite:other.sqlite"]).succeeds();
    for (vault, code) in [
        ("redb:folder", 1),
        ("redb:text", 1),
        ("redb:nothing", 1),
        ("redb:text/below-a-file", 1),
        ("redb:", 2),
        ("vault.redb", 2),
        ("redb:loop", 1),
        ("sqlite:loop", 1),
        ("redb:loop/vault", 1),
        ("sqlite:loop/vault", 1),
        ("sqlite:folder", 1),
        ("sqlite:text", 1),
        ("sqlite:nothing", 1),
        ("sqlite:vault.redb", 1),
        ("redb:other.sqlite", 1),
        ("sqlite:other.sqlite?table=another", 1),
        ("sqlite:", 2),
        ("postgres://me:hunter2/x@host/db", 2),
    ] {
        let answer = sandbox.run(&["--vault", vault, "list"]).fails(code);
        assert!(!answer.stderr.contains("disk"), "{vault}: {answer:?}");
        sandbox.run(&["--vault", vault, "read", "kept", "--password-file", "old"]).fails(code);
    }
    assert_eq!(bytes_of(&sandbox.path("text")), b"not a vault");
    assert!(!sandbox.path("nothing").exists());
}

#[test]
fn init_never_touches_what_is_there_and_leaves_nothing_half_made() {
    let sandbox = with_record();
    sandbox.write("text", "not a vault");
    for vault in
        ["redb:vault.redb", "redb:text", "redb:text/below-a-file", "redb:no/such/folder/vault"]
    {
        sandbox.run(&["--vault", vault, "init", "--kdf", CHEAP]).fails(1);
    }
    assert_eq!(bytes_of(&sandbox.path("text")), b"not a vault");
    sandbox.still_reads("kept", "old", b"value");

    // Refused only after the file was made; the next one finds the place free.
    let fresh = ["--vault", "redb:fresh.redb", "init", "--kdf"];
    sandbox.run(&[&fresh[..], &["t=1,m=64,p=1"]].concat()).fails(2);
    sandbox.run(&[&fresh[..], &["t=65,m=19456,p=1"]].concat()).fails(2);
    sandbox.run(&[&fresh[..], &[CHEAP]].concat()).succeeds();
}

#[test]
fn a_truncated_vault_says_so_and_is_left_as_it_is() {
    let sandbox = with_record();
    let whole = bytes_of(&sandbox.path("vault.redb"));
    for len in [0, 1, 100, 4096, whole.len() / 2, whole.len() - 1] {
        sandbox.write("cut.redb", &whole[..len]);
        let read = ["--vault", "redb:cut.redb", "read", "kept", "--password-file", "old"];
        let answer = sandbox.run(&read);
        // redb may not need what was cut from the end: then the record must be right.
        if answer.code == Some(0) {
            assert_eq!(answer.stdout, b"value");
        } else {
            answer.fails(1);
            assert_eq!(bytes_of(&sandbox.path("cut.redb")).len(), len);
        }
    }
    sandbox.still_reads("kept", "old", b"value");
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let sandbox = with_record();
    let value = vec![b'x'; 8 << 20];
    sandbox.write("large", &value);
    // A file may not grow beyond this many blocks: what a full disk looks like, without one.
    let line =
        "ulimit -f 2048; trap '' XFSZ; exec \"$0\" create --value-file large --password-file old";
    let full = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_vaultstore")])
        .current_dir(sandbox.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    crate::sandbox::Answer::from(full).fails(1);
    sandbox.still_reads("kept", "old", b"value");
    assert_eq!(sandbox.run(&["list", "--json"]).json(0)["records"].as_array().unwrap().len(), 1);
}

#[test]
fn records_that_are_no_envelopes_are_told_apart_and_stop_nothing() {
    let sandbox = with_record();
    sandbox.plant("not-base64", b"v3:????");
    sandbox.plant("unknown-version", b"v9:AAAA");
    sandbox.plant("four-gib", &asking_for_four_gib(&sandbox.envelope("kept")));
    for token in ["not-base64", "unknown-version", "four-gib"] {
        sandbox.read(token, "old").fails(1);
    }
    let census = sandbox.run(&["census", "--json", "--password-file", "old"]).json(3);
    assert_eq!(
        (census["malformed"].as_u64(), census["opened"][0]["records"].as_u64()),
        (Some(3), Some(1))
    );
    sandbox.still_reads("kept", "old", b"value");
}

/// The envelope with a header that asks for 4 GiB, and a check that fits it (format.md, v3).
fn asking_for_four_gib(envelope: &[u8]) -> Vec<u8> {
    let mut bytes = URL_SAFE_NO_PAD.decode(&envelope[3..]).unwrap();
    bytes[1..5].copy_from_slice(&(4u32 << 20).to_be_bytes());
    let check = Sha256::new().chain_update(&bytes[..90]).chain_update(&bytes[96..]).finalize();
    bytes[90..96].copy_from_slice(&check[..6]);
    format!("v3:{}", URL_SAFE_NO_PAD.encode(bytes)).into_bytes()
}

#[test]
fn options_without_sense_are_refused() {
    let sandbox = with_record();
    let rekey = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];
    for wrong in [
        ["--workers", "0"],
        ["--page-size", "0"],
        ["--memory-budget", "0MiB"],
        ["--memory-budget", "1"],
        ["--format", "v1"],
        ["--kdf", "t=0,m=1,p=1"],
        ["--kdf", "t=1,m=64,p=1"],
        ["--v2-preset", "cheap"],
        ["--progress", "hunter2"],
    ] {
        sandbox.run(&[&rekey[..], &wrong].concat()).fails(2);
    }
    sandbox.run(&["rekey", "--old-password-file", "old", "--new-password-file", "old"]).fails(2);
    sandbox.run(&["hunter2"]).fails(2);
    sandbox.run(&["read", "kept", "hunter2"]).fails(2);
    sandbox.run(&["read", "kept", "--pasword=hunter2"]).fails(2);
    sandbox.still_reads("kept", "old", b"value");
}

#[test]
fn a_vault_that_another_process_has_open_says_so() {
    let sandbox = with_record();
    let held = sandbox.store();
    sandbox.run(&["list"]).fails(1);
    sandbox.run(&["init"]).fails(1);
    drop(held);
    sandbox.still_reads("kept", "old", b"value");
}
