//! Rekey, census and verify, and the benchmark.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::sandbox::{CANARY, Sandbox};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];

/// Three records under `old`, two under `other`.
fn mixed() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    for (token, password) in
        [("a", "old"), ("b", "other"), ("c", "old"), ("d", "other"), ("e", "old")]
    {
        sandbox.create(token, password, token.as_bytes());
    }
    sandbox
}

fn rekey(sandbox: &Sandbox, more: &[&str], code: i32) -> Value {
    sandbox.run(&[&REKEY[..], &["--json"], more].concat()).json(code)
}

#[test]
fn exactly_the_records_of_the_old_password_move() {
    let sandbox = mixed();
    let report =
        rekey(&sandbox, &["--workers", "2", "--page-size", "2", "--parallel-threshold", "1"], 0);
    assert_eq!(report["end"], "complete");
    assert_eq!((report["scanned"].as_u64(), report["rekeyed"].as_u64()), (Some(5), Some(3)));
    assert_eq!((report["other_password"].as_u64(), report["workers"].as_u64()), (Some(2), Some(2)));
    for token in ["a", "c", "e"] {
        sandbox.still_reads(token, "new", token.as_bytes());
        sandbox.read(token, "old").fails(1);
    }
    sandbox.still_reads("b", "other", b"b");
    // Once more finds the job done, which is no failure.
    let again = rekey(&sandbox, &[], 0);
    assert_eq!((again["rekeyed"].as_u64(), again["already_done"].as_bool()), (Some(3), Some(true)));
    assert_eq!(
        again["headline"],
        "Already done: an earlier run re-encrypted 3 records; 0 open under the old password now"
    );
    // Without its state, nothing tells that it was this rekey that moved them.
    let lost = rekey(&sandbox, &["--restart"], 4);
    assert_eq!(
        lost["headline"],
        "NOTHING WAS REKEYED: no record opens under the old password; 3 open under the new one already. Are the two swapped?"
    );
}

#[test]
fn a_dry_run_counts_the_same_and_writes_nothing() {
    let sandbox = mixed();
    for command in [&["test-rekey"][..], &["rekey", "--dry-run"]] {
        let report = sandbox.run(&[command, &REKEY[1..], &["--json"]].concat()).json(0);
        assert_eq!(
            (report["rekeyed"].as_u64(), report["dry_run"].as_bool()),
            (Some(3), Some(true))
        );
    }
    sandbox.still_reads("a", "old", b"a");
}

#[test]
fn a_count_other_than_expected_has_its_own_exit_code() {
    let sandbox = mixed();
    assert_eq!(rekey(&sandbox, &["--dry-run", "--expect-count", "2"], 4)["rekeyed"], 3);
    assert_eq!(rekey(&sandbox, &["--dry-run", "--expect-count", "3"], 0)["rekeyed"], 3);
    let nobody = ["rekey", "--old-password-file", "new", "--new-password-command", "echo nobody"];
    sandbox.run(&nobody).fails(4);
    sandbox.run(&[&nobody[..], &["--allow-zero"]].concat()).succeeds();
}

#[test]
fn damage_stops_nothing_and_is_told() {
    let sandbox = mixed();
    let mut damaged = sandbox.envelope("a");
    let last = damaged.len() - 30;
    damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
    sandbox.plant("damaged", &damaged);
    sandbox.plant("malformed", b"v3:!");
    let report = rekey(&sandbox, &[], 3);
    assert_eq!(
        (report["rekeyed"].as_u64(), report["damaged"].as_u64(), report["malformed"].as_u64()),
        (Some(3), Some(1), Some(1))
    );
    let kinds: Vec<_> = report["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["damaged", "malformed"]);
    sandbox.still_reads("e", "new", b"e");
}

#[test]
fn damage_of_what_does_not_match_is_left_to_others_unless_all_is_checked() {
    let sandbox = mixed();
    let mut damaged = sandbox.envelope("b");
    let last = damaged.len() - 30;
    damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
    sandbox.plant("damaged", &damaged);
    let told = sandbox.run(&[&REKEY[..], &["--dry-run"]].concat()).succeeds();
    let line =
        "not checked for damage: 3 records that did not match (`census` and `verify` check them)";
    assert!(told.text().contains(line), "{told:?}");
    let all = rekey(&sandbox, &["--dry-run", "--check-all"], 3);
    assert_eq!((&all["damaged"], &all["bodies_not_checked"]), (&1.into(), &0.into()));
    let report = rekey(&sandbox, &[], 0);
    assert_eq!((&report["damaged"], &report["bodies_not_checked"]), (&0.into(), &3.into()));
    assert_eq!((&report["rekeyed"], &report["other_password"]), (&3.into(), &3.into()));
    let census = sandbox.run(&["census", "--json"]).json(3);
    assert_eq!(census["damaged"], 1);
}

#[test]
fn several_pairs_move_in_one_scan() {
    let sandbox = mixed();
    sandbox.write(
        "pairs",
        format!(
            "[\"{CANARY} old\",\"{CANARY} new\"]\n\n[\"{CANARY} other\", \"{CANARY} \\u00e9\"]\n"
        ),
    );
    let report = sandbox.run(&["rekey", "--pairs", "pairs", "--json"]).json(0);
    assert_eq!(report["rekeyed"], 5);
    sandbox.write("accent", format!("{CANARY} é"));
    sandbox.still_reads("a", "new", b"a");
    sandbox.still_reads("b", "accent", b"b");
    sandbox.write("pairs", CANARY);
    sandbox.run(&["rekey", "--pairs", "pairs"]).fails(2);
    sandbox.run(&["rekey", "--pairs", "pairs", "--old-password-file", "old"]).fails(2);
}

#[test]
fn another_format_is_written_when_asked() {
    let sandbox = mixed();
    let v2 = ["--format", "v2", "--kdf", "lightweight"];
    for more in [&[][..], &["--dry-run"], &["--merge-check=off"]] {
        let report = rekey(&sandbox, &[&v2[..], more].concat(), 6);
        assert_eq!(report["marks"], serde_json::json!([{"reason": "asked", "records": 3}]));
    }
    let census = sandbox.run(&["census", "--json"]).json(0);
    assert_eq!(census["formats"], serde_json::json!({"v3": 5}), "nothing was written");
    assert_eq!(rekey(&sandbox, &[&v2[..], &["--allow-marks"]].concat(), 0)["rekeyed"], 3);
    let census = sandbox.run(&["census", "--json"]).json(0);
    assert_eq!(
        (census["formats"]["v2"].as_u64(), census["formats"]["v3"].as_u64()),
        (Some(3), Some(2))
    );
    let read = ["read", "a", "--password-file", "new", "--v2-preset", "lightweight"];
    assert_eq!(sandbox.run(&read).succeeds().stdout, b"a");
}

#[test]
fn a_census_counts_and_verify_misses_nothing() {
    let sandbox = mixed();
    let census = sandbox.run(&["census", "--json"]).json(0);
    assert_eq!((census["scanned"].as_u64(), census["unopened"].as_u64()), (Some(5), None));
    let census = sandbox
        .run(&["census", "--json", "--password-file", "old", "--password-file", "new"])
        .json(0);
    let opened: Vec<_> = census["opened"]
        .as_array()
        .unwrap()
        .iter()
        .map(|opened| opened["records"].as_u64().unwrap())
        .collect();
    assert_eq!((opened, census["unopened"].as_u64()), (vec![3, 0], Some(2)));

    let verify = sandbox.run(&["verify", "--json", "--password-file", "old"]).json(3);
    assert_eq!(verify["unopened_ids"].as_array().unwrap().len(), 2);
    let both = ["verify", "--json", "--password-file", "old", "--password-file", "other"];
    assert_eq!(sandbox.run(&both).json(0)["unopened"], 0);
}

#[test]
fn progress_for_programs_is_one_json_object_per_page() {
    let sandbox = mixed();
    let answer =
        sandbox.run(&[&REKEY[..], &["--progress", "json", "--page-size", "2"]].concat()).succeeds();
    let steps: Vec<Value> =
        answer.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.len() >= 3, "{}", answer.stderr);
    let last = steps.last().unwrap();
    assert_eq!(
        (last["phase"].as_str(), last["done"].as_u64(), last["total"].as_u64()),
        (Some("rekey"), Some(5), Some(5))
    );
    assert_eq!(last["rekeyed"], 3);
}

#[test]
fn an_interrupted_rekey_counts_what_it_did_and_the_next_does_the_rest() {
    const RECORDS: u64 = 24;
    let sandbox = Sandbox::empty();
    sandbox.run(&["init", "--format", "v2", "--kdf", "lightweight"]).succeeds();
    for number in 0..RECORDS {
        sandbox.create(&format!("t{number}"), "old", b"value");
    }
    let args = [&REKEY[..], &["--json", "--progress", "json", "--page-size", "2"]].concat();
    let mut child = sandbox.spawn(&args, Stdio::null());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut moved = false;
    while !moved {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let step: Value = serde_json::from_str(&line).unwrap();
        moved = step["rekeyed"].as_u64() > Some(0);
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let interrupted = child.wait_with_output().unwrap();
    assert_eq!(interrupted.status.code(), Some(130));
    let first: Value = serde_json::from_slice(&interrupted.stdout).unwrap();
    let done = first["rekeyed"].as_u64().unwrap();
    assert_eq!(first["end"], "stopped");
    assert!((2..RECORDS).contains(&done), "{done}");

    let second = rekey(&sandbox, &[], 0);
    assert_eq!(
        (&second["earlier"]["rekeyed"], &second["rekeyed"]),
        (&done.into(), &RECORDS.into())
    );
    sandbox.still_reads("t0", "new", b"value");
    let verify = sandbox.run(&["verify", "--json", "--password-file", "new"]).json(0);
    assert_eq!(verify["opened"][0]["records"], RECORDS);
}

#[test]
fn the_benchmark_measures_and_verifies() {
    let sandbox = Sandbox::empty();
    let small =
        ["benchmark-rekey", "--records", "2000", "--kdf", "t=1,m=64,p=1", "--match", "0.25"];
    let figures = sandbox.run(&[&small[..], &["--json"]].concat()).json(0);
    assert_eq!(figures["correct"], true);
    let (moved, left) =
        (figures["rekeyed"].as_u64().unwrap(), figures["other_password"].as_u64().unwrap());
    assert_eq!(moved + left, 2000);
    assert!((400..600).contains(&moved), "{moved}");
    assert!(figures["floor_ratio"].as_f64().unwrap() > 0.0);

    let v2 = ["--format", "v2", "--records", "20", "--vault", "redb:kept.redb", "--workers", "2"];
    let v2 = sandbox
        .run(&[&["benchmark-rekey", "--kdf", "t=1,m=64,p=1", "--json"][..], &v2].concat())
        .json(0);
    assert!(v2["kdf_efficiency"].as_f64().unwrap() > 0.0);
    assert_eq!(
        sandbox.run(&["--vault", "redb:kept.redb", "census", "--json"]).json(0)["scanned"],
        20
    );
    assert!(
        String::from_utf8(sandbox.run(&small).succeeds().stdout).unwrap().contains("records/s")
    );
}
