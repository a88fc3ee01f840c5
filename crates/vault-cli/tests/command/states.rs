//! The life of a rekey's state: it is kept until a person says otherwise, and nothing else is taken
//! for one.

use std::fs;

use crate::sandbox::{CANARY, CHEAP, Sandbox};

const REKEY: [&str; 7] =
    ["rekey", "--old-password-file", "old", "--new-password-file", "new", "--state", "job"];

#[test]
fn a_swap_that_is_given_again_moves_nothing_twice() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "new", b"b");
    fs::write(
        sandbox.path("pairs"),
        format!("[\"{CANARY} old\",\"{CANARY} new\"]\n[\"{CANARY} new\",\"{CANARY} old\"]\n"),
    )
    .unwrap();
    let swap = ["rekey", "--pairs", "pairs", "--merge-check=off", "--state", "job", "--json"];
    assert_eq!(sandbox.run(&swap).json(0)["rekeyed"], 2);
    let again = sandbox.run(&swap).json(0);
    assert_eq!(again["already_done"], true);
    sandbox.still_reads("a", "new", b"a");
    sandbox.still_reads("b", "old", b"b");
    assert_eq!(sandbox.run(&[&swap[..], &["--restart"]].concat()).json(0)["rekeyed"], 2);
    sandbox.still_reads("a", "old", b"a");
}

#[test]
fn a_finished_state_stands_in_no_other_rekeys_way_and_a_later_record_is_still_found() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    sandbox.run(&REKEY).succeeds();
    sandbox.create("late", "old", b"late");
    let report = sandbox.run(&[&REKEY[..], &["--json"]].concat()).json(0);
    assert_eq!(
        report["headline"],
        "1 more re-encrypted after 1 record of a finished rekey; 0 open under the old password"
    );
    sandbox.still_reads("late", "new", b"late");
    let other = ["rekey", "--old-password-file", "new", "--new-password-file", "other"];
    let report = sandbox.run(&[&other[..], &["--state", "job", "--json"]].concat()).json(0);
    assert_eq!(report["rekeyed"], 2);
}

#[test]
fn a_vault_restored_from_a_backup_is_rekeyed_again() {
    let sandbox = Sandbox::with_vault();
    for token in ["a", "b"] {
        sandbox.create(token, "old", b"value");
    }
    let backup = fs::read(sandbox.path("vault.redb")).unwrap();
    sandbox.run(&REKEY).succeeds();
    sandbox.write("vault.redb", &backup);
    let report = sandbox.run(&[&REKEY[..], &["--json"]].concat()).json(0);
    assert_eq!(
        report["headline"],
        "2 more re-encrypted after 2 records of a finished rekey; 0 open under the old password"
    );
    sandbox.still_reads("b", "new", b"value");
}

#[test]
fn a_vault_that_another_one_replaced_is_not_resumed_with_its_state() {
    let sandbox = Sandbox::empty();
    let run = |args: &[&str]| sandbox.run(&[args, &["--vault", "sqlite:vault.db"]].concat());
    let create = |token| {
        run(&["create", "--token", token, "--password-file", "old", "--value-file", "other"])
            .succeeds();
    };
    let runs = || run(&["status", "--json"]).json(0)["runs"].as_array().unwrap().clone();
    let reads = |token, password| {
        run(&["read", token, "--password-file", password]).succeeds();
    };
    let (vault, mine) = (sandbox.path("vault.db"), sandbox.path("mine.db"));
    run(&["init", "--kdf", CHEAP]).succeeds();
    create("a");
    sandbox
        .sqlite("CREATE TRIGGER no BEFORE UPDATE ON vault BEGIN SELECT RAISE(ABORT, 'no'); END;");
    let rekey = [&REKEY[..], &["--allow-triggers"]].concat();
    assert_ne!(run(&rekey).code, Some(0));
    let state = fs::read(sandbox.path("job")).unwrap();
    assert_eq!(runs()[0]["status"], "interrupted");
    sandbox.sqlite("DROP TRIGGER no;");

    fs::rename(&vault, &mine).unwrap();
    run(&["init", "--kdf", CHEAP]).succeeds();
    create("theirs");
    let refused = run(&rekey).fails(2);
    assert!(refused.stderr.contains("belongs to another vault"), "{refused:?}");
    assert_eq!(fs::read(sandbox.path("job")).unwrap(), state);
    // That vault has no such rekey. It gets its own, with a state of its own.
    assert_eq!(runs().len(), 0);
    reads("theirs", "old");
    assert_eq!(run(&[&REKEY[..5], &["--json"]].concat()).json(0)["rekeyed"], 1);

    fs::rename(&mine, &vault).unwrap();
    assert_eq!(runs()[0]["status"], "interrupted");
    run(&rekey).succeeds();
    reads("a", "new");
}

#[test]
fn what_is_no_state_is_neither_read_nor_removed() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    for name in ["old", "vault.redb"] {
        let mut arguments = REKEY;
        arguments[6] = name;
        for more in [&[][..], &["--restart"]] {
            let answer = sandbox.run(&[&arguments[..], more].concat()).fails(2);
            assert!(!answer.stderr.contains("--restart"), "{answer:?}");
        }
    }
    assert_eq!(fs::read(sandbox.path("old")).unwrap(), format!("{CANARY} old\n").into_bytes());
    sandbox.still_reads("a", "old", b"a");
    fs::write(sandbox.path("job.new"), "a password").unwrap();
    sandbox.run(&REKEY).succeeds();
    assert_eq!(fs::read(sandbox.path("job.new")).unwrap(), b"a password");
}

#[test]
fn a_refused_merge_leaves_no_state_and_says_where_an_interrupted_run_would_be() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "new", b"b");
    let answer = sandbox.run(&REKEY).fails(5);
    assert!(answer.stderr.contains("--state"), "{answer:?}");
    assert!(!sandbox.path("job").exists());
}

#[test]
fn status_lists_the_runs_of_this_vault() {
    let sandbox = Sandbox::with_vault();
    sandbox.create("a", "old", b"a");
    assert_eq!(sandbox.run(&["status", "--json"]).json(0)["runs"].as_array().unwrap().len(), 0);
    sandbox.run(&REKEY[..5]).succeeds();
    let runs = sandbox.run(&["status", "--json"]).json(0);
    assert_eq!(runs["runs"][0]["status"], "finished");
    assert_eq!(runs["runs"][0]["scanned"], 1);
}

/// Pairs that chain, in a file; each line is an old and a new password.
fn write_pairs(sandbox: &Sandbox, pairs: &[(&str, &str)]) {
    let line = |(old, new): &(&str, &str)| format!("[\"{CANARY} {old}\",\"{CANARY} {new}\"]\n");
    fs::write(sandbox.path("pairs"), pairs.iter().map(line).collect::<String>()).unwrap();
}

const PAIRS: [&str; 6] = ["rekey", "--pairs", "pairs", "--merge-check=off", "--state", "job"];

#[test]
fn a_chain_whose_state_is_lost_is_refused_before_the_first_write() {
    let sandbox = Sandbox::with_vault();
    write_pairs(&sandbox, &[("old", "new"), ("new", "third")]);
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "new", b"b");
    sandbox.run(&PAIRS).succeeds();
    sandbox.run(&PAIRS).succeeds();
    fs::remove_file(sandbox.path("job")).unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let rekey = if more.is_empty() { &PAIRS[..] } else { &PAIRS[..4] };
        let answer = sandbox.run(&[rekey, more].concat()).fails(5);
        assert!(answer.stderr.contains("last password of a chain"), "{answer:?}");
        assert!(answer.stderr.contains("--restart"), "{answer:?}");
    }
    assert!(!sandbox.path("job").exists());
    sandbox.still_reads("a", "new", b"a");
    sandbox.run(&[&PAIRS[..], &["--restart"]].concat()).succeeds();
}

#[test]
fn a_swap_in_a_vault_that_was_restored_is_refused_before_the_first_write() {
    let sandbox = Sandbox::with_vault();
    write_pairs(&sandbox, &[("old", "new"), ("new", "old")]);
    sandbox.create("a", "old", b"a");
    sandbox.create("b", "new", b"b");
    let backup = fs::read(sandbox.path("vault.redb")).unwrap();
    sandbox.run(&PAIRS).succeeds();
    fs::write(sandbox.path("vault.redb"), backup).unwrap();
    let answer = sandbox.run(&PAIRS).fails(5);
    assert!(answer.stderr.contains("restored from a backup"), "{answer:?}");
    let report = String::from_utf8(answer.stdout).unwrap();
    assert!(report.starts_with("REFUSED, and nothing was written: it cannot be known"), "{report}");
    sandbox.still_reads("a", "old", b"a");
    sandbox.run(&[&PAIRS[..], &["--restart"]].concat()).succeeds();
    sandbox.still_reads("a", "new", b"a");
    sandbox.still_reads("b", "old", b"b");
}
