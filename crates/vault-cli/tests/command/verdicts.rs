//! What `verify`, `rekey` and `test-rekey` conclude: the line that a person believes, and the exit
//! code that a script does.

use std::fs;

use crate::sandbox::{Answer, CANARY, CHEAP, Sandbox};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];
const TEST: [&str; 5] = ["test-rekey", "--old-password-file", "old", "--new-password-file", "new"];

fn with_records(records: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with_vault();
    for (token, password) in records {
        sandbox.create(token, password, b"value");
    }
    sandbox
}

fn lines(answer: &Answer) -> Vec<String> {
    let text = String::from_utf8(answer.stdout.clone()).unwrap();
    text.lines().map(ToOwned::to_owned).collect()
}

/// The first line of the report and the exit code, the same in the text and in JSON.
fn headline(sandbox: &Sandbox, args: &[&str], more: &[&str]) -> (String, i32) {
    let answer = sandbox.run(&[args, more].concat());
    let code = answer.code.unwrap();
    let line = lines(&answer).first().cloned().unwrap_or_default();
    if args[0] == "test-rekey" {
        let json = sandbox.run(&[args, more, &["--json"]].concat()).json(code);
        assert_eq!(json["headline"], line);
    }
    (line, code)
}

#[test]
fn a_finished_job_is_known_whatever_the_options() {
    let sandbox = with_records(&[("a", "old"), ("b", "old"), ("c", "other")]);
    sandbox.run(&REKEY).succeeds();
    let done = "Already done: an earlier run with other options re-encrypted 2 records; 0 open under the old password \
                now";
    for args in [&TEST, &REKEY, &TEST, &REKEY] {
        assert_eq!(headline(&sandbox, args, &["--allow-v1"]), (done.to_owned(), 0));
    }
    assert_eq!(headline(&sandbox, &REKEY, &[]), (done.to_owned(), 0));
    // Passwords that are swapped for real are another job's.
    let swapped =
        ["test-rekey", "--old-password-file", "spare", "--new-password-file", "new", "--allow-v1"];
    sandbox.write("spare", format!("{CANARY} spare\n"));
    let (line, code) = headline(&sandbox, &swapped, &[]);
    assert!(line.ends_with("2 open under the new one already. Are the two swapped?"), "{line}");
    assert_eq!(code, 4);
}

#[test]
fn each_pair_has_its_count() {
    let sandbox = with_records(&[("a", "old"), ("b", "old"), ("c", "other")]);
    let pairs = [["old", "new"], ["unused", "spare"], ["other", "more"]];
    let line = |[old, new]: [&str; 2]| format!("[\"{CANARY} {old}\",\"{CANARY} {new}\"]\n");
    fs::write(sandbox.path("pairs"), pairs.map(line).concat()).unwrap();
    for (command, verb) in [("test-rekey", "would be rekeyed"), ("rekey", "rekeyed")] {
        let json = sandbox.run(&["test-rekey", "--pairs", "pairs", "--json"]).json(0);
        assert_eq!(json["rekeyed_by_pair"], serde_json::json!([2, 0, 1]));
        let text = lines(&sandbox.run(&[command, "--pairs", "pairs"]).succeeds());
        for (pair, count) in [(1, 2), (2, 0), (3, 1)] {
            let row = text.iter().find(|line| line.contains(&format!("{verb}, pair {pair}")));
            assert!(
                row.is_some_and(|row| row.trim_end().ends_with(&count.to_string())),
                "{text:?}"
            );
        }
    }
}

#[test]
fn a_rehearsal_after_the_job_is_done_says_so() {
    let sandbox = with_records(&[("a", "old"), ("b", "old"), ("c", "other")]);
    let done =
        "Already done: an earlier run re-encrypted 2 records; 0 open under the old password now";
    sandbox.run(&REKEY).succeeds();
    assert_eq!(headline(&sandbox, &TEST, &[]), (done.to_owned(), 0));
    assert_eq!(headline(&sandbox, &REKEY, &["--dry-run"]), (done.to_owned(), 0));
    assert_eq!(headline(&sandbox, &REKEY, &[]), (done.to_owned(), 0));
    sandbox.create("late", "old", b"value");
    let (line, code) = headline(&sandbox, &TEST, &[]);
    assert_eq!(
        (line.as_str(), code),
        (
            "Rehearsal: 1 more would be re-encrypted after 2 records of a finished rekey; nothing was written",
            0
        )
    );
    // Of a job with other passwords the state says nothing.
    let (line, code) = headline(&sandbox, &TEST, &["--restart"]);
    assert!(
        line.starts_with("Rehearsal: the rekey would be REFUSED, since 2 open under the new one"),
        "{line}"
    );
    assert_eq!(code, 5);
}

#[test]
fn swapped_and_mistyped_passwords_move_nothing_and_are_told_each_time() {
    let sandbox = with_records(&[("a", "old"), ("b", "other")]);
    let swapped = ["rekey", "--old-password-file", "new", "--new-password-file", "old"];
    let mistyped = ["rekey", "--old-password-command", "echo x", "--new-password-file", "new"];
    for (args, line) in [
        (
            &swapped,
            "REKEYED: no record opens under the old password; 1 opens under the new one already. Are the two swapped?",
        ),
        (&mistyped, "REKEYED: no record opens under the old password"),
    ] {
        // Also the second time: a job that moved nothing is not done.
        for _ in 0..2 {
            let test = [&["test-rekey"], &args[1..]].concat();
            assert_eq!(headline(&sandbox, &test, &[]), (format!("NOTHING WOULD BE {line}"), 4));
            assert_eq!(headline(&sandbox, args, &[]), (format!("NOTHING WAS {line}"), 4));
            assert_eq!(headline(&sandbox, args, &["--allow-zero"]).1, 0);
        }
    }
}

#[test]
fn an_empty_vault_and_a_shard_are_not_told_as_wrong_passwords() {
    let sandbox = Sandbox::with_vault();
    let answer = sandbox.run(&TEST).fails(4);
    assert_eq!(lines(&answer)[0], "NOTHING WOULD BE REKEYED: there are no records");
    assert!(answer.stderr.contains("right vault"), "{answer:?}");
    assert!(!answer.stderr.contains("password"), "{answer:?}");

    for number in 0..16 {
        sandbox.create(&format!("t{number}"), "old", b"value");
    }
    let (line, code) = headline(&sandbox, &REKEY, &["--shard", "0/2"]);
    assert!(line.ends_with("in shard 0/2; 0 open under the old password"), "{line}");
    assert_eq!(code, 0);
    let (line, _) = headline(&sandbox, &TEST, &["--shard", "0/2"]);
    assert!(line.starts_with("Already done") && line.ends_with("now in shard 0/2"), "{line}");
    let (line, _) = headline(&sandbox, &TEST, &["--shard", "1/2"]);
    assert!(line.contains("in shard 1/2 would be re-encrypted"), "{line}");
}

#[test]
fn several_pairs_are_rehearsed_and_repeated_like_one() {
    let sandbox = with_records(&[("a", "old"), ("b", "other")]);
    fs::write(
        sandbox.path("pairs"),
        format!("[\"{CANARY} old\",\"{CANARY} 1\"]\n[\"{CANARY} other\",\"{CANARY} 2\"]\n"),
    )
    .unwrap();
    let pairs = ["--pairs", "pairs"];
    let (line, code) = headline(&sandbox, &["test-rekey"], &pairs);
    assert_eq!(
        (line.as_str(), code),
        ("Rehearsal: 2 records would be re-encrypted; nothing was written", 0)
    );
    sandbox.run(&["rekey", "--pairs", "pairs"]).succeeds();
    let (line, code) = headline(&sandbox, &["test-rekey"], &pairs);
    assert_eq!(
        (line.as_str(), code),
        (
            "Already done: an earlier run re-encrypted 2 records; 0 open under an old password now",
            0
        )
    );
}

#[test]
fn a_rehearsal_writes_nothing_at_all() {
    let sandbox = with_records(&[("a", "old")]);
    sandbox.run(&TEST).succeeds();
    assert!(!sandbox.path("state").exists());
}

#[test]
fn verify_lists_ten_ids_and_all_when_asked_and_its_verdict_is_the_last_line() {
    let sandbox = Sandbox::with_vault();
    for number in 0..12 {
        sandbox.create(&format!("t{number}"), "other", b"value");
    }
    let ids = |answer: &Answer| {
        lines(answer).iter().filter(|line| line.ends_with("none of the passwords opens it")).count()
    };
    let some = sandbox.run(&["verify", "--password-file", "old", "--progress", "none"]);
    assert_eq!((some.code, ids(&some)), (Some(3), 10));
    let all = [
        "verify",
        "--password-file",
        "old",
        "--progress",
        "none",
        "--list-all",
        "--page-size",
        "5",
    ];
    let all = sandbox.run(&all);
    assert_eq!((all.code, ids(&all)), (Some(3), 12));
    for answer in [some, all] {
        assert!(lines(&answer).last().unwrap().starts_with("NOT VERIFIED: 0 of 12"), "{answer:?}");
    }
    let json = sandbox.run(&["verify", "--password-file", "other", "--json"]).json(0);
    assert_eq!((&json["verified"], &json["absent"]), (&true.into(), &serde_json::Value::Null));
}

fn absent(sandbox: &Sandbox, more: &[&str]) -> Answer {
    sandbox.run(&[&["verify", "--progress", "none"], more].concat())
}

#[test]
fn the_auditor_is_told_whether_a_password_opens_anything() {
    let sandbox = with_records(&[("a", "old"), ("b", "other")]);
    let old = ["--absent-password-file", "old"];
    let answer = absent(&sandbox, &old);
    assert_eq!(answer.code, Some(3));
    let last = lines(&answer).pop().unwrap();
    assert!(last.starts_with("NOT ABSENT: 1 of 2 records"), "{last}");
    sandbox.run(&REKEY).succeeds();
    let answer = absent(&sandbox, &old).succeeds();
    let last = lines(&answer).pop().unwrap();
    assert!(last.starts_with("ABSENT: none of 2 records"), "{last}");
    // All is well, so no id is shown.
    assert!(lines(&answer).iter().all(|line| !line.contains("opens it")), "{answer:?}");
    // Each source, and combined with a question about the others.
    let line = format!("printf '{CANARY} %s' new");
    assert_eq!(absent(&sandbox, &["--absent-password-command", &line]).code, Some(3));
    assert_eq!(absent(&sandbox, &[&old[..], &["--password-file", "new"]].concat()).code, Some(3));
    let all = [&old[..], &["--password-file", "new", "--password-file", "other"]].concat();
    absent(&sandbox, &all).succeeds();
    let json = sandbox.run(&[&["verify", "--json"], &all[..]].concat()).json(0);
    assert_eq!((&json["verified"], &json["absent"]["opened"]), (&true.into(), &0.into()));
    assert_eq!(json["opened"].as_array().unwrap().len(), 2);
}

#[test]
fn what_could_not_be_checked_is_not_absent() {
    let sandbox = with_records(&[("a", "other")]);
    sandbox.plant("malformed", b"v3:!");
    let answer = absent(&sandbox, &["--absent-password-file", "old"]);
    assert_eq!(answer.code, Some(3));
    let last = lines(&answer).pop().unwrap();
    assert!(last.starts_with("NOT CONFIRMED") && last.contains("1 of 2"), "{last}");
}

/// Asking whether a password opens nothing requires no knowledge of the v2 costs.
#[test]
fn a_password_is_not_absent_because_of_a_v2_cost() {
    for cost in ["lightweight", CHEAP] {
        let sandbox = Sandbox::empty();
        sandbox.run(&["init", "--format", "v2", "--kdf", cost]).succeeds();
        sandbox.create("a", "old", b"value");
        let asked = ["--absent-password-file", "old", "--v2-preset", "default"];
        let answer = absent(&sandbox, &asked);
        assert_eq!(answer.code, Some(3), "{cost}: {answer:?}");
        assert!(lines(&answer).last().unwrap().starts_with("NOT ABSENT: 1 of 1"), "{answer:?}");
    }
}

#[test]
fn a_wrong_v2_cost_is_told_by_every_command_that_opens_records() {
    let sandbox = Sandbox::empty();
    sandbox.run(&["init", "--format", "v2", "--kdf", "lightweight"]).succeeds();
    sandbox.create("a", "old", b"value");
    let wrong = ["--v2-preset", "default"];
    let hint = "--v2-preset lightweight";
    for command in [
        &["read", "a", "--password-file", "old"][..],
        &["update", "a", "--password-file", "old", "--value-file", "old"],
        &["verify", "--password-file", "old", "--progress", "none"],
        &["census", "--password-file", "old", "--progress", "none"],
        &TEST,
    ] {
        let answer = sandbox.run(&[command, &wrong].concat());
        assert!(answer.stderr.contains(hint), "{answer:?}");
    }
    let (line, code) = headline(&sandbox, &TEST, &wrong);
    assert!(line.contains("another Argon2id cost") && line.contains(hint), "{line}");
    assert_eq!(code, 4);
    // The password is the wrong one, and the answer says both.
    let answer = sandbox.run(&["read", "a", "--password-file", "new"]).fails(1);
    assert!(answer.stderr.contains("does not open") && answer.stderr.contains("--v2-preset"));
    let swapped = ["test-rekey", "--old-password-file", "new", "--new-password-file", "old"];
    let (line, code) = headline(&sandbox, &swapped, &[]);
    assert!(line.contains("Are the two swapped?"), "{line}");
    assert_eq!(code, 4);
}
