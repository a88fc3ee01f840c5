//! Replays the seeds of the fuzz targets: what `fuzz/` promises for every input holds for these on
//! any toolchain.

#![expect(clippy::expect_used, reason = "a seed that cannot be read fails its test")]

use std::{fs, path::Path};

#[cfg(test)]
#[expect(unreachable_pub, reason = "the targets are public to the fuzz package")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Every seed of a target, each of which once was interesting enough to be kept.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seeds = 0;
    for seed in fs::read_dir(folder).expect("the corpus is there") {
        check(
            &fs::read(seed.expect("the folder can be read").path()).expect("the seed can be read"),
        );
        seeds += 1;
    }
    assert!(seeds >= 5, "{target} has {seeds} seeds");
}

#[test]
fn envelope_parse() {
    replay("envelope_parse", targets::envelope_parse);
}

#[test]
fn parse_emit_identity() {
    replay("parse_emit_identity", targets::parse_emit_identity);
}

#[test]
fn open() {
    replay("open", targets::open);
}

#[test]
fn open_for_token() {
    replay("open_for_token", targets::open_for_token);
}

#[test]
fn list_cursor() {
    replay("list_cursor", targets::list_cursor);
}

#[test]
fn settings() {
    replay("settings", targets::settings);
}

#[test]
fn state() {
    replay("state", targets::state);
}

#[test]
fn pairs() {
    replay("pairs", targets::pairs);
}

#[test]
fn address() {
    replay("address", targets::address);
}

/// Set in the process that damages files of redb.
const CHILD: &str = "VAULTSTORE_TEST_FUZZ_REDB";

/// In a process of its own: a write over which redb panics holds its thread inside the panic hook
/// for good, and the test runner takes the hook when it ends.
#[test]
fn redb_file() {
    if std::env::var_os(CHILD).is_some() {
        replay("redb_file", targets::redb_file);
        std::process::exit(0);
    }
    let this = std::env::current_exe().expect("the path of this program");
    let mut child = std::process::Command::new(this);
    let child = child.args(["redb_file", "--exact", "--nocapture"]).env(CHILD, "1");
    let output = child.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn sqlite_file() {
    replay("sqlite_file", targets::sqlite_file);
}
