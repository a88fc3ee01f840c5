//! What is said while a command works, how fast it goes, and the files for those who watch it.

use std::fs;
use std::time::{Duration, Instant};

use crate::sandbox::{CANARY, Sandbox};

const REKEY: [&str; 5] = ["rekey", "--old-password-file", "old", "--new-password-file", "new"];

fn with_records(count: usize) -> Sandbox {
    let sandbox = Sandbox::with_vault();
    for number in 0..count {
        sandbox.create(&format!("token-{number}"), "old", b"value");
    }
    sandbox
}

fn rekey(sandbox: &Sandbox, more: &[&str]) -> String {
    sandbox.run(&[&REKEY, more].concat()).succeeds().stderr
}

#[test]
fn quiet_leaves_errors_and_verbose_adds_steps() {
    let sandbox = with_records(1);
    let literal = ["read", "token-0", "--password", CANARY];
    let warned = sandbox.run(&literal);
    assert!(warned.stderr.starts_with("warning: --password "), "{warned:?}");
    sandbox.run(&[&literal[..], &["-q"]].concat()).fails(1);
    let error = sandbox.run(&["-q", "read", "no-such-token", "--password-file", "old"]).fails(1);
    assert!(error.stderr.starts_with("error: "), "{error:?}");
    assert_eq!(rekey(&sandbox, &["-q"]), "");
    let steps = rekey(&sandbox, &["-v", "--restart", "--allow-zero"]);
    for part in
        ["step: vaultstore", "step: opened redb:vault.redb in", "step: rekey: begins, 1 record"]
    {
        assert!(steps.contains(part), "{part}: {steps}");
    }
    sandbox.run(&["list", "-q", "-v"]).fails(2);
}

#[test]
fn a_log_has_every_message_and_no_secret_token_or_id() {
    let sandbox = with_records(2);
    let ids = sandbox.run(&["list", "--json"]).json(0);
    let log = ["-q", "--log-file", "log"];
    assert_eq!(rekey(&sandbox, &log), "");
    sandbox.run(&[&["read", "token-0", "--password", CANARY][..], &log].concat()).fails(1);
    let text = fs::read_to_string(sandbox.path("log")).unwrap();
    for part in ["step: rekey: begins, 2 records", "warning: --password shows", "error: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let records = ids["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    for secret in records.iter().flat_map(|record| [&record["id"], &record["token"]]) {
        assert!(!text.contains(secret.as_str().unwrap()), "{text}");
    }
    assert!(!text.contains(CANARY), "{text}");
    assert!(text.lines().skip(1).all(|line| line.starts_with("20")), "{text}");
    sandbox.write("foreign", "theirs");
    for not_ours in ["foreign", "."] {
        sandbox.run(&["list", "--log-file", not_ours]).fails(2);
    }
    assert_eq!(fs::read(sandbox.path("foreign")).unwrap(), b"theirs");
}

#[test]
fn metrics_are_counts_of_the_last_run() {
    let sandbox = with_records(3);
    sandbox.create("token-x", "other", b"value");
    rekey(&sandbox, &["--metrics-file", "vault.prom"]);
    let metrics = || fs::read_to_string(sandbox.path("vault.prom")).unwrap();
    let labels = "command=\"rekey\",vault=\"redb:vault.redb\"";
    for line in [
        format!("vaultstore_run_done{{{labels}}} 4"),
        format!("vaultstore_run_outcomes{{{labels},outcome=\"rekeyed\"}} 3"),
        format!("vaultstore_run_outcomes{{{labels},outcome=\"other_password\"}} 1"),
        format!("vaultstore_run_exit_code{{{labels}}} 0"),
    ] {
        assert!(metrics().lines().any(|found| found == line), "{line}: {}", metrics());
    }
    let again = ["census", "--password-file", "new", "--metrics-file", "vault.prom"];
    sandbox.run(&again).succeeds();
    assert!(metrics().contains("command=\"census\""), "{}", metrics());
    assert!(metrics().contains("outcome=\"opened\"} 3"), "{}", metrics());
    let nothing =
        sandbox.run(&[&REKEY[..], &["--restart", "--metrics-file", "vault.prom"]].concat());
    assert_eq!(nothing.code, Some(4), "{nothing:?}");
    assert!(metrics().contains("vaultstore_run_exit_code") && metrics().contains("} 4\n"));
    sandbox.write("foreign", "theirs");
    for not_ours in ["foreign", "."] {
        sandbox.run(&["census", "--metrics-file", not_ours]).fails(2);
    }
    assert_eq!(fs::read(sandbox.path("foreign")).unwrap(), b"theirs");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(sandbox.path("vault.prom")).unwrap().permissions().mode();
        assert_eq!(mode & 0o444, 0o444, "the collector runs as another user");
    }
}

#[test]
fn a_run_goes_as_slowly_as_it_is_told() {
    let sandbox = with_records(6);
    let timed = |args: &[&str]| {
        let started = Instant::now();
        sandbox.run(args).succeeds();
        started.elapsed()
    };
    // Three pages of two records, of which the first is not waited for.
    let census = timed(&["census", "--max-rate", "2"]);
    assert!(census >= Duration::from_secs(2), "{census:?}");
    let paused = timed(&["copy", "--to", "redb:copy.redb", "--page-size", "2", "--pause", "300ms"]);
    assert!(paused >= Duration::from_millis(900), "{paused:?}");
    rekey(&sandbox, &["--max-rate", "100000", "--pause", "1ms"]);
    sandbox.still_reads("token-5", "new", b"value");
    for wrong in [["--max-rate", "0"], ["--pause", "0s"]] {
        sandbox.run(&[&["census"][..], &wrong].concat()).fails(2);
    }
}

#[test]
fn a_report_is_one_page_or_json_with_counts_and_no_ids() {
    let sandbox = with_records(3);
    sandbox.create("token-x", "other", b"value");
    let ids = sandbox.run(&["list", "--json"]).json(0);
    rekey(&sandbox, &["--report", "report.html"]);
    rekey(&sandbox, &["--report", "report.json"]);
    let page = fs::read_to_string(sandbox.path("report.html")).unwrap();
    for part in
        ["Rekey of redb:vault.redb", ">3</text>", "exit code 0", "v3 t=2,m=19456,p=1", "verify"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    for foreign in ["<script", "http:", "https:", "url(", CANARY] {
        assert!(!page.contains(foreign), "{foreign}: {page}");
    }
    let json = fs::read_to_string(sandbox.path("report.json")).unwrap();
    for record in ids["records"].as_array().unwrap() {
        for secret in [record["id"].as_str().unwrap(), record["token"].as_str().unwrap()] {
            assert!(!page.contains(secret) && !json.contains(secret));
        }
    }
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["exit_code"], &json["end"]), (&0.into(), &"complete".into()));
    assert_eq!(json["outcomes"][1], serde_json::json!(["rekeyed", 3]));
    // A refused run is reported too, in the place of the earlier report.
    let other = ["rekey", "--old-password-file", "new", "--new-password-file", "other"];
    let refused = sandbox.run(&[&other[..], &["--report", "report.html"]].concat());
    assert_eq!(refused.code, Some(5), "{refused:?}");
    let page = fs::read_to_string(sandbox.path("report.html")).unwrap();
    assert!(page.contains("exit code 5"), "{page}");
    sandbox.write("foreign.html", "theirs");
    for wrong in ["foreign.html", "report.txt", "."] {
        sandbox.run(&[&REKEY[..], &["--report", wrong]].concat()).fails(2);
    }
    assert_eq!(fs::read(sandbox.path("foreign.html")).unwrap(), b"theirs");
}
