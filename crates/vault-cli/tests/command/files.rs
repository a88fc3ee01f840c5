//! Whose file is it? What is not ours is neither removed nor written to, under whatever name.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    process::Stdio,
};

use crate::sandbox::{CHEAP, Sandbox, bytes_of};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];

fn rekey(sandbox: &Sandbox, more: &[&str]) -> crate::sandbox::Answer {
    sandbox.run(&[&REKEY[..], &["--progress", "none"], more].concat())
}

#[test]
fn a_file_that_is_no_state_is_neither_removed_nor_replaced() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"value");
    sandbox.write("notes", "keep");
    sandbox.write("empty", "");
    fs::copy(sandbox.path("vault.redb"), sandbox.path("backup.redb")).unwrap();
    symlink("notes", sandbox.path("link")).unwrap();
    fs::create_dir(sandbox.path("folder")).unwrap();
    for name in ["notes", "empty", "backup.redb", "vault.redb", "link"] {
        let before = bytes_of(&sandbox.path(name));
        for more in [&["--state", name][..], &["--state", name, "--restart"]] {
            let answer = rekey(&sandbox, more).fails(2);
            assert!(!answer.stderr.contains("--restart"), "{answer:?}");
        }
        // Opening a vault writes to it; that it still reads is asked below.
        if name != "vault.redb" {
            assert!(bytes_of(&sandbox.path(name)) == before, "{name}");
        }
    }
    assert!(sandbox.path("link").is_symlink());
    rekey(&sandbox, &["--state", "folder", "--restart"]).fails(2);
    sandbox.still_reads("a", "old", b"value");
}

#[test]
fn a_state_needs_no_other_name_of_the_users() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"value");
    sandbox.write("run.new", "the new password");
    rekey(&sandbox, &["--state", "run"]).succeeds();
    assert_eq!(bytes_of(&sandbox.path("run.new")), b"the new password");
}

#[test]
fn no_link_is_followed_to_a_state_or_its_lock() {
    for suffix in ["", ".lock"] {
        let sandbox = Sandbox::with_vault();
        symlink("victim", sandbox.path(&format!("s{suffix}"))).unwrap();
        rekey(&sandbox, &["--state", "s"]).fails(2);
        assert!(!sandbox.path("victim").exists());
    }
    let sandbox = Sandbox::with_vault();
    // The lock must not be the vault either.
    fs::rename(sandbox.path("vault.redb"), sandbox.path("v.lock")).unwrap();
    rekey(&sandbox, &["--vault", "redb:v.lock", "--state", "v"]).fails(2);
}

#[test]
fn a_vault_is_not_copied_into_itself_by_another_name() {
    let sandbox = Sandbox::with_vault();
    symlink("vault.redb", sandbox.path("link.redb")).unwrap();
    fs::hard_link(sandbox.path("vault.redb"), sandbox.path("hard.redb")).unwrap();
    for to in ["redb:./vault.redb", "redb:link.redb", "redb:hard.redb"] {
        sandbox.run(&["copy", "--to", to]).fails(2);
    }
    sandbox.run(&["init", "--vault", "sqlite:a.db", "--kdf", CHEAP]).succeeds();
    for to in ["sqlite:./a.db", "sqlite:a.db?table=VAULT&meta=Vault_Meta"] {
        sandbox.run(&["copy", "--vault", "sqlite:a.db", "--to", to]).fails(2);
    }
}

#[test]
fn an_sqlite_file_of_two_names_is_refused() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["init", "--vault", "sqlite:a.db", "--kdf", CHEAP]).succeeds();
    fs::hard_link(sandbox.path("a.db"), sandbox.path("b.db")).unwrap();
    for name in ["sqlite:a.db", "sqlite:b.db"] {
        let answer = sandbox.run(&["list", "--vault", name]).fails(1);
        assert!(answer.stderr.contains("hard links"), "{answer:?}");
    }
    fs::remove_file(sandbox.path("b.db")).unwrap();
    sandbox.run(&["list", "--vault", "sqlite:a.db"]).succeeds();
}

#[test]
fn a_vault_that_was_replaced_during_a_rekey_is_not_called_complete() {
    let sandbox = Sandbox::with_vault();
    for number in 0..8 {
        sandbox.create(&format!("t{number}"), "old", b"value");
    }
    fs::copy(sandbox.path("vault.redb"), sandbox.path("fresh")).unwrap();
    let args = ["--state", "st", "--page-size", "1", "--progress", "json"];
    let mut child = sandbox.spawn(&[&REKEY[..], &args].concat(), Stdio::null());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"rekeyed\":1,")));
    fs::rename(sandbox.path("fresh"), sandbox.path("vault.redb")).unwrap();
    assert!(lines.any(|line| line.contains("replaced or removed")));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(sandbox.path("st").exists());
    rekey(&sandbox, &["--state", "st", "--restart"]).succeeds();
    sandbox.still_reads("t7", "new", b"value");
}

#[test]
fn a_password_command_does_not_get_our_other_secrets() {
    for option in [&["--old-password-env", "OLD"][..], &["--old-password-env=OLD"]] {
        let sandbox = Sandbox::with_vault();
        sandbox.create("a", "old", b"value");
        let command = ["--new-password-command", "env > seen; cat new"];
        let args = [&["rekey"][..], option, &command].concat();
        let old = String::from_utf8(bytes_of(&sandbox.path("old"))).unwrap();
        let run = sandbox
            .command(&args)
            .env("OLD", old.trim_end())
            .env("VAULTSTORE_VAULT", "redb:vault.redb")
            .env("PGPASSWORD", "secret")
            .output();
        crate::sandbox::Answer::from(run.unwrap()).succeeds();
        let seen = String::from_utf8(bytes_of(&sandbox.path("seen"))).unwrap();
        for variable in ["OLD=", "VAULTSTORE_VAULT=", "PGPASSWORD="] {
            assert!(!seen.lines().any(|line| line.starts_with(variable)), "{variable}");
        }
    }
}

#[test]
fn neither_the_command_nor_a_password_command_leaves_a_core_file() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"value");
    let asked = "ulimit -c > limit; cat old";
    sandbox.run(&["read", "a", "--password-command", asked]).succeeds();
    assert_eq!(fs::read_to_string(sandbox.path("limit")).unwrap().trim(), "0");
}
