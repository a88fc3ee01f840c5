//! kill -9 at random moments, and the same command again.

use std::{os::unix::process::ExitStatusExt as _, thread, time::Duration};

use tempfile::TempDir;

use crate::scene::{Rounds, Running, Scene, figures, postgres, redb, report, run, sqlite};

const RECORDS: usize = 1500;
/// Small pages make many moments to die in.
const PAGES: [&str; 2] = ["--page-size", "20"];

#[test]
fn kill_9_loses_nothing_on_redb() {
    run(kill_again_and_again("redb", redb));
}

#[test]
fn kill_9_loses_nothing_on_sqlite() {
    run(kill_again_and_again("sqlite", sqlite));
}

#[test]
fn kill_9_loses_nothing_on_postgres() {
    run(kill_again_and_again("postgres", postgres));
}

async fn kill_again_and_again(backend: &str, url: fn(&TempDir) -> String) {
    let mut scene = Scene::at(url).await;
    scene.fill(RECORDS, &["old", "old", "old", "other", "rival"]).await;
    let (mut from, mut to) = ("old", "new");
    let (mut kills, mut in_the_middle, mut resumed, mut completed) = (0, 0, 0, 0);
    let mut rounds = Rounds::at_least(20);
    // Longer than it takes, so that some come to their end.
    let mut span = 1500;
    while rounds.again() {
        let mut child = Running::of(scene.rekey(from, to, &PAGES));
        thread::sleep(Duration::from_millis(rounds.below(span)));
        child.0.kill().unwrap();
        let status = child.0.wait().unwrap();
        let under = scene.check(&[(from, to)]).await;
        if status.signal() == Some(9) {
            kills += 1;
            in_the_middle += u32::from(under[from] > 0 && under[to] > 0);
            continue;
        }
        assert_eq!(status.code(), Some(0), "it ended by itself, and well");
        completed += 1;
        // As many kills as ends, whatever the machine.
        span = (span * 3 / 4).max(50);
        (from, to) = turned(&mut scene, from, to);
    }
    let output = scene.rekey(from, to, &PAGES).output().unwrap();
    let last = report(&output, 0);
    resumed += u32::from(last["earlier"]["runs"].as_u64() > Some(0));
    let under = scene.check(&[(from, to)]).await;
    assert_eq!((under[from], under[to]), (0, RECORDS as u64 * 3 / 5));
    assert!(scene.states().is_empty(), "a complete rekey leaves no state");
    assert!(
        kills >= 10 && in_the_middle >= kills / 4,
        "{kills} kills, {in_the_middle} in the middle"
    );
    figures(
        &format!("kill -9 on {backend}"),
        &format!(
            "{kills} kills, {in_the_middle} in the middle, {completed} rekeys complete, {resumed} resumed at last, {} records checked",
            scene.checked
        ),
    );
}

/// What is under the new password now is to go back to the old one.
fn turned(scene: &mut Scene, from: &'static str, to: &'static str) -> (&'static str, &'static str) {
    scene.hand_over(from, to);
    (to, from)
}
