//! The life of a record, and what is made for packagers.

use std::process::Stdio;

use crate::sandbox::{Answer, CHEAP, Sandbox};

#[test]
fn values_go_in_and_out_byte_for_byte() {
    let sandbox = Sandbox::with_vault();
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; 100_000];
    for (token, value) in
        [("bytes", &every_byte[..]), ("newline", b"\r\n\n"), ("one", b"\0"), ("long", &long)]
    {
        sandbox.create(token, "old", value);
        sandbox.still_reads(token, "old", value);
    }
}

#[test]
fn an_empty_value_comes_from_a_file_only() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("empty", b"");
    sandbox
        .run(&["create", "--token", "t", "--value-file", "empty", "--password-file", "old"])
        .succeeds();
    sandbox.still_reads("t", "old", b"");
}

#[test]
fn a_record_is_updated_hidden_and_removed() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("t", "old", b"first");
    sandbox.run_with(&["update", "t", "--password-file", "old"], b"second").succeeds();
    sandbox.still_reads("t", "old", b"second");

    assert_eq!(sandbox.run(&["exists", "t"]).succeeds().stdout, b"yes\n");
    sandbox.run(&["delete", "t"]).succeeds();
    let gone = sandbox.run(&["exists", "t"]);
    assert_eq!((gone.code, gone.stdout), (Some(1), b"no\n".to_vec()));
    sandbox.read("t", "old").fails(1);
    // Hidden, the token stays taken; removed, it is free.
    sandbox.run_with(&["create", "--token", "t", "--password-file", "old"], b"x").fails(1);
    sandbox.run(&["delete", "t", "--hard"]).succeeds();
    sandbox.create("t", "new", b"third");
    sandbox.still_reads("t", "new", b"third");
}

#[test]
fn generated_tokens_have_the_asked_length_and_expiry_is_kept() {
    let sandbox = Sandbox::with_vault();
    let create =
        ["create", "--length", "20", "--expires-in", "30d", "--password-file", "old", "--json"];
    let created = sandbox.run_with(&create, b"v").json(0);
    let token = created["token"].as_str().unwrap();
    assert_eq!(token.len(), 20);
    let list = sandbox.run(&["list", "--json"]).json(0);
    let record = &list["records"][0];
    assert_eq!(record["token"], token);
    assert_eq!(record["format"], "v3");
    assert!(record["expires_at"].as_str().unwrap() > record["created_at"].as_str().unwrap());
    assert_eq!(list["last"], record["id"]);
}

#[test]
fn a_list_that_stops_at_its_limit_says_so() {
    let sandbox = Sandbox::with_vault();
    for token in ["a", "b"] {
        sandbox.create(token, "old", b"v");
    }
    for format in [&["list", "--limit", "1"][..], &["list", "--limit", "1", "--json"]] {
        let cut = sandbox.run(format).succeeds();
        assert!(cut.stderr.contains("stops at its limit of 1"), "{cut:?}");
    }
    assert_eq!(sandbox.run(&["list", "--limit", "2"]).succeeds().stderr, "");
}

#[test]
fn a_token_that_cannot_be_printed_is_not_lost() {
    let sandbox = Sandbox::with_vault();
    sandbox.write("value", b"v");
    let create = ["create", "--value-file", "value", "--password-file", "old"];
    let (reader, gone) = std::io::pipe().unwrap();
    drop(reader);
    let unprinted: Answer = sandbox.command(&create).stdout(gone).output().unwrap().into();
    let unprinted = unprinted.fails(1);
    let list = sandbox.run(&["list", "--json"]).json(0);
    assert!(unprinted.stderr.contains(list["records"][0]["token"].as_str().unwrap()));

    let closed = format!("exec {} {} >&-", env!("CARGO_BIN_EXE_vaultstore"), create.join(" "));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &closed]).current_dir(sandbox.path("")).env_remove("VAULTSTORE_VAULT");
    let refused: Answer = shell.stdin(Stdio::null()).output().unwrap().into();
    assert!(refused.fails(1).stderr.contains("nothing was created"));
    assert_eq!(sandbox.run(&["list", "--count"]).succeeds().stdout, b"1\n");
    // Discarded on purpose.
    let null = std::fs::File::create("/dev/null").unwrap();
    assert!(sandbox.command(&create).stdout(null).status().unwrap().success());
}

#[test]
fn a_verification_ends_with_its_verdict() {
    let sandbox = Sandbox::with_vault();
    for number in 0..11 {
        sandbox.create(&format!("t{number}"), "old", b"v");
    }
    let verdict = |password, code, ids| {
        let answer = sandbox.run(&["verify", "--password-file", password]);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        let text = String::from_utf8(answer.stdout).unwrap();
        assert_eq!(text.matches(": none of the passwords opens it").count(), ids, "{text}");
        text.lines().last().unwrap().to_owned()
    };
    assert!(verdict("old", 0, 0).starts_with("VERIFIED: 11 of 11 records open"));
    assert!(verdict("other", 3, 10).starts_with("NOT VERIFIED: 0 of 11 records open"));
}

#[test]
fn a_list_can_be_read_in_pieces() {
    let sandbox = Sandbox::with_vault();
    for token in ["a", "b", "c"] {
        sandbox.create(token, "old", b"v");
    }
    let mut seen = Vec::new();
    let first = sandbox.run(&["list", "--json", "--limit", "2"]).json(0);
    let second =
        sandbox.run(&["list", "--json", "--after", first["last"].as_str().unwrap()]).json(0);
    for list in [&first, &second] {
        seen.extend(
            list["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|record| record["token"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert_eq!(sandbox.run(&["list"]).succeeds().stdout.split(|byte| *byte == b'\n').count(), 5);
}

#[test]
fn a_vault_is_named_by_option_or_variable() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["--vault", "redb:mine.redb", "init", "--kdf", CHEAP]).succeeds();
    let listed =
        sandbox.command(&["list"]).env("VAULTSTORE_VAULT", "redb:mine.redb").output().unwrap();
    assert!(listed.status.success());
    sandbox.run(&["list"]).fails(1);
}

#[test]
fn settings_are_shown_and_only_sound_ones_are_kept() {
    let sandbox = Sandbox::with_vault();
    let kdf = sandbox.run(&["settings", "get", "kdf"]).succeeds().stdout;
    for wrong in [
        ["kdf", "cheap"],
        ["kdf", "t=1,m=64,p=1"],
        ["kdf", "t=65,m=19456,p=1"],
        ["format", "v1"],
        ["color", "red"],
    ] {
        sandbox.run(&["settings", "set", wrong[0], wrong[1]]).fails(2);
    }
    assert_eq!(sandbox.run(&["settings", "get", "kdf"]).succeeds().stdout, kdf);

    sandbox.run(&["settings", "set", "kdf", "lightweight"]).succeeds();
    sandbox.run(&["settings", "set", "format", "v3+padme"]).succeeds();
    let list = sandbox.run(&["settings", "list", "--json"]).json(0);
    assert_eq!(list["format"], "v3+padme");
    // The cost is another, the salt the same.
    let (before, after) =
        (String::from_utf8(kdf).unwrap(), list["kdf"].as_str().unwrap().to_owned());
    assert!(after.contains("m=32768,t=2,p=2"));
    assert_eq!(before.trim().rsplit('$').next(), after.rsplit('$').next());
    sandbox.run(&["settings", "get", "color"]).fails(1);
}

#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("t", "old", &vec![b'x'; 1 << 20]);
    let mut child = sandbox.spawn(&["read", "t", "--password-file", "old"], Stdio::null());
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn packagers_get_completions_and_a_manual() {
    let sandbox = Sandbox::empty();
    for args in [["completions", "bash"], ["completions", "zsh"]] {
        assert!(
            String::from_utf8(sandbox.run(&args).succeeds().stdout)
                .unwrap()
                .contains("benchmark-rekey")
        );
    }
    for (args, name) in [(&["man"][..], "vaultstore"), (&["man", "rekey"], "vaultstore\\-rekey")] {
        let page = sandbox.run(args).succeeds();
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"] {
            assert!(
                page.text().contains(&format!("\n.SH {section}")),
                "{section}: {}",
                page.text()
            );
        }
        assert!(page.text().contains(&format!("\n{name} \\- ")), "{name}: {}", page.text());
    }
    sandbox.run(&["man", "nothing"]).fails(2);
    std::fs::create_dir(sandbox.path("man1")).unwrap();
    sandbox.run(&["man", "--output-dir", "man1"]).succeeds();
    assert!(std::fs::read_dir(sandbox.path("man1")).unwrap().count() > 25);
    assert!(sandbox.path("man1").join("vaultstore-export.1").exists());
    sandbox.run(&["man", "--output-dir", "man1"]).fails(1);
    assert!(!sandbox.run(&["--help"]).succeeds().stdout.is_empty());
}

#[test]
fn a_record_that_another_table_holds_stops_no_purge() {
    let sandbox = Sandbox::empty();
    let url = "sqlite:vault.db";
    sandbox.run(&["init", "--vault", url, "--kdf", CHEAP]).succeeds();
    let create = ["create", "--vault", url, "--password-file", "old", "--value-file", "old"];
    for token in ["a", "b", "c", "d", "e"] {
        sandbox.run(&[&create[..], &["--expires-in", "1s", "--token", token]].concat()).succeeds();
    }
    sandbox.sqlite(
        "CREATE TABLE holder (id TEXT REFERENCES vault(id)); \
         INSERT INTO holder SELECT id FROM vault WHERE vault_token IN ('b', 'd');",
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let purge = ["purge-expired", "--hard", "--vault", url];
    let answer = sandbox.run(&[&purge[..], &["--json"]].concat());
    let errors = answer.stderr.clone();
    let report = answer.json(3);
    assert_eq!((&report["purged"], &report["refused"]), (&3.into(), &2.into()));
    let held: Vec<_> = report["held"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| held["id"].as_str().unwrap())
        .collect();
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|id| errors.contains(id)), "{errors}");
    assert!(report["held"][0]["reason"].as_str().unwrap().contains("FOREIGN KEY"), "{report}");
    let left = sandbox.run(&["list", "--vault", url, "--json"]);
    let tokens = left.json(0);
    assert_eq!(tokens["records"].as_array().unwrap().len(), 2);
    sandbox.sqlite("DROP TABLE holder;");
    assert_eq!(sandbox.run(&[&purge[..], &["--json"]].concat()).json(0)["purged"], 2);
}
