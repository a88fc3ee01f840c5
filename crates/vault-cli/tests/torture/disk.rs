//! The disk is full in the middle, then has room again.

use std::process::Command;

use tempfile::TempDir;

use crate::process::report;
use crate::rounds::{Rounds, figures, run};
use crate::scene::{Scene, redb, sqlite};

const RECORDS: usize = 3000;
const PAGES: [&str; 2] = ["--page-size", "200"];

#[test]
fn a_full_disk_loses_nothing_on_redb() {
    run(fill_the_disk("redb", redb, "vault.redb"));
}

#[test]
fn a_full_disk_loses_nothing_on_sqlite() {
    run(fill_the_disk("sqlite", sqlite, "vault.sqlite"));
}

async fn fill_the_disk(backend: &str, url: fn(&TempDir) -> String, file: &str) {
    let mut rounds = Rounds::at_least(3);
    let (mut failures, mut in_the_middle, mut checked) = (0, 0, 0);
    while rounds.again(failures > 1 && in_the_middle > 0) {
        let mut scene = Scene::standard(url, RECORDS).await;
        let (old, new) = (scene.due("old"), scene.due("new"));
        let size = std::fs::metadata(scene.path(file)).unwrap().len();
        // Less than the file has: its end can no longer be written.
        let most = size / 2 + rounds.below(size / 2);
        let output = limited(&scene, most).output().unwrap();
        let under = scene.check(&[("old", "new")]).await;
        let failed = if output.status.code() == Some(1) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(stderr.lines().count(), 2, "an error and a hint: {stderr}");
            true
        } else {
            // What the store did not take has failed, and the rest went on.
            report(&output, 3)["failed"].as_u64() > Some(0)
        };
        assert_eq!(failed, under["old"] > 0);
        failures += u32::from(failed);
        in_the_middle += u32::from(under["new"] > new && failed);
        // There is room again.
        report(&scene.merge("old", "new", &PAGES).output().unwrap(), 3);
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!((under["old"], under["new"]), (0, old + new));
        checked += scene.checked;
    }
    figures(
        &format!("disk full on {backend}"),
        &format!("{failures} times full, {in_the_middle} in the middle, {checked} records checked"),
    );
}

/// A rekey that may make no file longer than this: beyond it a write fails as on a full disk, where
/// the signal that would kill the process first is ignored.
fn limited(scene: &Scene, bytes: u64) -> Command {
    let rekey = scene.merge("old", "new", &PAGES);
    let mut command = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 1024 + 1);
    command.args(["-c", &script, "bash"]).arg(rekey.get_program()).args(rekey.get_args());
    scene.at_home(command)
}
