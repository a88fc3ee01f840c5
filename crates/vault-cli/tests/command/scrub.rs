//! `scrub`, and a rekey into a new file.

use std::fs;

use crate::sandbox::{CHEAP, Sandbox};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];

fn with_records() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    for number in 0..3 {
        sandbox.create(&format!("old-{number}"), "old", b"value");
        sandbox.create(&format!("other-{number}"), "other", b"value");
    }
    sandbox
}

/// A state of this vault, whose name says so; whatever is in it, it is not a finished one.
fn interrupt(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.run(&REKEY).succeeds();
    let entries = fs::read_dir(sandbox.path("state/vaultstore")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let state = paths.filter(|path| path.extension().is_some_and(|end| end == "state")).last();
    let state = state.unwrap();
    let mut bytes = fs::read(&state).unwrap();
    bytes.truncate(100);
    fs::write(&state, bytes).unwrap();
    state
}

#[test]
fn a_scrub_needs_no_password_and_changes_no_record() {
    let sandbox = with_records();
    let before = sandbox.envelope("old-1");
    let text = sandbox.run(&["scrub"]).succeeds();
    assert!(text.text().starts_with("scrub complete: 6 records written again, none changed"));
    assert_eq!(text.stderr, "");
    let report = sandbox.run(&["scrub", "--old-blocks", "leave", "--json"]).json(0);
    assert_eq!((&report["rows"], &report["complete"]), (&6.into(), &true.into()));
    assert_eq!(report["old_blocks"], "left");
    assert_eq!(report["remains"][0]["kind"], "old_blocks");
    assert_eq!(sandbox.envelope("old-1"), before);
    sandbox.still_reads("other-2", "other", b"value");
}

#[test]
fn a_finished_rekey_does_not_stand_in_the_way_of_a_scrub_and_an_interrupted_one_does() {
    let sandbox = with_records();
    let state = interrupt(&sandbox);
    let refused = sandbox.run(&["scrub"]).fails(2);
    assert!(refused.stderr.contains("--restart"), "{refused:?}");
    sandbox.run(&[&REKEY[..], &["--rebuild"]].concat()).fails(2);
    sandbox.still_reads("old-0", "new", b"value");
    // What is not a state of ours is not removed.
    let bytes = fs::read(&state).unwrap();
    fs::write(&state, "theirs").unwrap();
    sandbox.run(&["scrub", "--restart"]).fails(2);
    assert_eq!(fs::read(&state).unwrap(), b"theirs");
    fs::write(&state, bytes).unwrap();
    sandbox.run(&["scrub", "--restart"]).succeeds();
    assert!(!state.exists());
    sandbox.run(&["rekey", "--old-password-file", "new", "--new-password-file", "old"]).succeeds();
    sandbox.run(&["scrub"]).succeeds();
}

#[test]
fn only_the_file_of_a_redb_vault_has_old_blocks_and_is_rebuilt() {
    let sandbox = Sandbox::empty();
    let vault = ["--vault", "sqlite:v.db"];
    sandbox.run(&[&["init"], &vault[..]].concat()).succeeds();
    sandbox.run(&[&["scrub", "--old-blocks", "punch"], &vault[..]].concat()).fails(2);
    let refused = sandbox.run(&[&REKEY[..], &["--rebuild"], &vault[..]].concat()).fails(2);
    assert!(refused.stderr.contains("vaultstore scrub"), "{refused:?}");
    let report = sandbox.run(&[&["scrub", "--json"], &vault[..]].concat()).json(0);
    assert_eq!((&report["rows"], report["old_blocks"].is_null()), (&0.into(), true));
}

#[test]
fn a_rekey_into_a_new_file_moves_the_same_records_and_leaves_no_state() {
    let sandbox = with_records();
    let rehearsed = sandbox.run(&[&REKEY[..], &["--rebuild", "--dry-run", "--json"]].concat());
    assert_eq!(rehearsed.json(0)["rekeyed"], 3);
    sandbox.still_reads("old-0", "old", b"value");
    let report = sandbox.run(&[&REKEY[..], &["--rebuild", "--json"]].concat()).json(0);
    assert_eq!(report["headline"], "3 records re-encrypted; 0 open under the old password");
    assert_eq!((&report["rekeyed"], &report["rebuilt"]["rows"]), (&3.into(), &6.into()));
    sandbox.still_reads("old-0", "new", b"value");
    sandbox.still_reads("other-0", "other", b"value");
    let status = sandbox.run(&["status", "--json"]).json(0);
    assert_eq!(status["runs"], serde_json::json!([]));

    // Nothing to move, and a merge: the file is not replaced.
    let inode = || {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(sandbox.path("vault.redb")).unwrap().ino()
    };
    let before = inode();
    let again = sandbox.run(&[&REKEY[..], &["--rebuild", "--json"]].concat()).json(4);
    assert!(again["rebuilt"].is_null(), "{again}");
    let merge =
        ["rekey", "--rebuild", "--old-password-file", "new", "--new-password-file", "other"];
    assert_eq!(sandbox.run(&merge).code, Some(5));
    assert_eq!(inode(), before);
    for more in [&["--shard", "0/2"][..], &["--state", "job"]] {
        assert_eq!(sandbox.run(&[&REKEY[..], &["--rebuild"], more].concat()).code, Some(2));
    }
    sandbox.still_reads("old-2", "new", b"value");
}

#[test]
fn an_interrupted_rekey_is_known_wherever_its_state_is() {
    let sandbox = Sandbox::empty();
    let vault = ["--vault", "sqlite:vault.db"];
    let run = |args: &[&str]| sandbox.run(&[args, &vault[..]].concat());
    run(&["init", "--kdf", CHEAP]).succeeds();
    run(&["create", "--password-file", "old", "--value-file", "old"]).succeeds();
    let no_writes =
        "CREATE TRIGGER no BEFORE UPDATE ON vault BEGIN SELECT RAISE(ABORT, 'no'); END;";
    sandbox.sqlite(no_writes);
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    let rekey = [&REKEY[..], &["--allow-triggers", "--state", "elsewhere/job"]].concat();
    assert_ne!(run(&rekey).code, Some(0));
    let status = run(&["status", "--json"]).json(0);
    assert_eq!(status["runs"][0]["status"], "interrupted");
    assert!(status["runs"][0]["state"].as_str().unwrap().ends_with("elsewhere/job"), "{status}");
    for more in [&[][..], &["--state", "elsewhere/job"]] {
        let refused = run(&[&["scrub"], more].concat()).fails(2);
        assert!(refused.stderr.contains("elsewhere/job"), "{refused:?}");
    }
    sandbox.sqlite("DROP TRIGGER no;");
    run(&rekey).succeeds();
    assert_eq!(run(&["status", "--json"]).json(0)["runs"].as_array().unwrap().len(), 0);
    let named = run(&["status", "--state", "elsewhere/job", "--json"]).json(0);
    assert_eq!(named["runs"][0]["status"], "finished");
    run(&["scrub", "--state", "elsewhere/job"]).succeeds();
    run(&["scrub", "--state", "elsewhere/none"]).fails(2);

    // A state that is gone tells nothing of what its rekey has left to do.
    run(&["create", "--password-file", "other", "--value-file", "old"]).succeeds();
    sandbox.sqlite(no_writes);
    let other = ["rekey", "--old-password-file", "other", "--new-password-file", "old"];
    let other =
        [&other[..], &["--allow-triggers", "--state", "elsewhere/job", "--restart"]].concat();
    assert_ne!(run(&other).code, Some(0));
    sandbox.sqlite("DROP TRIGGER no;");
    fs::remove_file(sandbox.path("elsewhere/job")).unwrap();
    let refused = run(&["scrub"]).fails(2);
    assert!(refused.stderr.contains("elsewhere/job"), "{refused:?}");
    run(&["scrub", "--restart"]).succeeds();
    run(&["scrub"]).succeeds();
}
