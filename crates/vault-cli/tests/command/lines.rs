//! `import` and `export`.

use std::fs;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::backends::{At, BACKENDS};
use crate::sandbox::{Answer, CANARY, Sandbox};

/// Lines with every kind of value, sorted by token.
fn export(vault: &At<'_>, passwords: &[&str], name: &str) -> Vec<Value> {
    let mut args = vec!["export", "--output", name, "-q"];
    for password in passwords {
        args.extend(["--password-file", password]);
    }
    vault.run(&args).succeeds();
    let text = fs::read_to_string(vault.sandbox.path(name)).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["token"].as_str().unwrap().to_owned());
    // SQLite keeps whole seconds.
    for time in ["created_at", "updated_at", "expires_at", "soft_deleted_at"] {
        for line in &mut lines {
            if let Some(text) = line[time].as_str() {
                line[time] = text[..19].into();
            }
        }
    }
    lines
}

#[test]
fn a_vault_goes_through_a_file_to_every_backend() {
    for from in BACKENDS {
        for to in BACKENDS {
            let sandbox = Sandbox::empty();
            let vault = At { sandbox: &sandbox, url: from(&sandbox) };
            vault.init(&[]);
            let all: Vec<u8> = (0..=255).collect();
            for (token, value) in [
                ("empty file", &b""[..]),
                ("text", "ключ \u{1b} \"x\"\n".as_bytes()),
                ("bytes", &all),
            ] {
                sandbox.write("value", value);
                let create = ["create", "--token", token, "--value-file", "value"];
                vault.run(&[&create[..], &["--password-file", "old"]].concat()).succeeds();
            }
            vault.run(&["renew", "text", "--expires-in", "2100-01-01"]).succeeds();
            vault.run(&["delete", "bytes"]).succeeds();
            vault.create("other", "other", b"of others");
            let lines = export(&vault, &["old"], "lines");
            assert_eq!(lines.len(), 3);

            let target = At { sandbox: &sandbox, url: to(&sandbox) };
            target.init(&[]);
            let import = ["import", "lines", "--password-file", "new", "--json"];
            let report = target.run(&import).json(0);
            assert_eq!((&report["imported"], &report["complete"]), (&3.into(), &true.into()));
            assert_eq!(export(&target, &["new"], "again"), lines);
            assert_eq!(target.read("empty file", "new").succeeds().stdout, b"");
            target.run(&["restore", "bytes"]).succeeds();
            assert_eq!(target.read("bytes", "new").succeeds().stdout, all);

            let again = target.run(&import).json(3);
            assert_eq!((&again["imported"], &again["failed"]), (&0.into(), &3.into()));
            let skipping = target.run(&[&import[..], &["--skip-existing"]].concat()).json(0);
            assert_eq!(skipping["skipped"], 3);
        }
    }
}

fn import(sandbox: &Sandbox, lines: &str, more: &[&str]) -> Answer {
    sandbox.write("lines", lines);
    sandbox.run(&[&["import", "lines", "--password-file", "old", "--json"], more].concat())
}

#[test]
fn what_is_wrong_with_a_line_is_said_by_its_number_and_the_others_are_imported() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("taken", "old", b"mine");
    let lines = format!(
        "{}\n\n{}\nno json {CANARY}\n{}\r\n{}\n{}\n{}",
        json!({"token": "a", "value": "1"}),
        json!({"token": "taken", "value": "2"}),
        json!({"token": "b", "value": "3", "id": "an id"}),
        json!({"token": "c", "value": "4", "id": "an id"}),
        json!({"token": "a", "value": "5"}),
        json!({"token": "d", "value_base64": "/w=="}),
    );
    let rehearsed = import(&sandbox, &lines, &["--dry-run"]).json(3);
    assert_eq!((&rehearsed["imported"], &rehearsed["failed"]), (&5.into(), &2.into()));
    assert_eq!(sandbox.run(&["list", "--count"]).succeeds().text().trim(), "1");
    let report = import(&sandbox, &lines, &[]).json(3);
    let counts = ["lines", "imported", "failed", "next_line"].map(|name| report[name].as_u64());
    assert_eq!(counts, [Some(7), Some(3), Some(4), Some(9)]);
    let problems = report["problems"].as_array().unwrap();
    let numbers: Vec<_> =
        problems.iter().map(|problem| problem["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 4, 6, 7]);
    assert!(!report.to_string().contains(CANARY), "{report}");
    // The first of two lines counts.
    sandbox.still_reads("a", "old", b"1");
    sandbox.still_reads("taken", "old", b"mine");
    sandbox.still_reads("b", "old", b"3");
    sandbox.still_reads("d", "old", b"\xff");
    sandbox.read("c", "old").fails(1);
    let rest = import(&sandbox, &lines, &["--from-line", "7"]).json(3);
    assert_eq!((&rest["lines"], &rest["failed"]), (&2.into(), &2.into()));
    assert_eq!(import(&sandbox, "", &[]).json(0)["lines"], 0);
}

#[test]
fn many_lines_are_sealed_by_many_workers_in_order() {
    let sandbox = Sandbox::with_vault();
    let line = |number: u32| json!({"token": format!("t{number}"), "value": "x"}).to_string();
    let mut lines: Vec<String> = (0..5000).map(line).collect();
    lines.push(json!({"token": "t4999", "value": "later"}).to_string());
    let lines = lines.join("\n");
    let report = import(&sandbox, &lines, &["--workers", "3"]).json(3);
    assert_eq!((&report["imported"], &report["failed"]), (&5000.into(), &1.into()));
    assert_eq!(report["problems"][0]["line"], 5001);
    let export = sandbox.run(&["export", "--password-file", "old", "--workers", "3"]).succeeds();
    assert_eq!(export.text().lines().count(), 5000);
    assert!(export.stderr.contains("5,000 values in plain text"), "{export:?}");
}

#[test]
fn records_and_their_password_come_from_different_places() {
    let sandbox = Sandbox::with_vault();
    let line = json!({"token": "t", "value": "x"}).to_string();
    let from_stdin = ["import", "-", "--password-file", "old"];
    sandbox.run_with(&from_stdin, line.as_bytes()).succeeds();
    sandbox.still_reads("t", "old", b"x");
    sandbox.run_with(&["import", "-", "--password-file", "-"], line.as_bytes()).fails(2);
    sandbox.run(&["import", "nothing", "--password-file", "old"]).fails(1);
    sandbox.run(&["import", ".", "--password-file", "old"]).fails(1);
    sandbox.write("empty", "");
    sandbox.write("lines", line);
    sandbox.run(&["import", "lines", "--password-file", "empty"]).fails(2);
}

#[test]
fn an_export_is_new_private_and_whole() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"1");
    sandbox.create("b", "other", b"2");
    let export = |more: &[&str]| sandbox.run(&[&["export"], more].concat());
    let to_file = export(&["--output", "lines", "--password-file", "old"]).succeeds();
    assert!(to_file.text().contains("under other passwords"), "{to_file:?}");
    assert!(to_file.stderr.contains("1 value in plain text"), "{to_file:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(sandbox.path("lines")).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    export(&["--output", "lines", "--password-file", "other"]).fails(2);
    let both = ["--password-file", "other", "--password-file", "old"];
    assert_eq!(export(&both).succeeds().text().lines().count(), 2);
    assert_eq!(export(&["--password-file", "new"]).code, Some(4));
    export(&["--json", "--password-file", "old"]).fails(2);
    sandbox.run(&["delete", "a"]).succeeds();
    let live = export(&["--live", "--output", "live", "--json", "--password-file", "old"]);
    assert_eq!(live.json(4)["not_live"], 1);
    sandbox.plant("damaged", b"v3:damaged");
    let damaged = export(&["--password-file", "old"]);
    assert_eq!((damaged.code, damaged.text().lines().count()), (Some(3), 1), "{damaged:?}");
    // The reader has gone: the export is not whole.
    let mut child = sandbox.spawn(&["export", "--password-file", "old"], Stdio::null());
    drop(child.stdout.take());
    assert_eq!(Answer::from(child.wait_with_output().unwrap()).code, Some(1));
    let left = fs::read_dir(sandbox.path("")).unwrap();
    let left = left.filter(|file| {
        file.as_ref().unwrap().file_name().to_string_lossy().starts_with(".vaultstore-export-")
    });
    assert_eq!(left.count(), 0);
}
