//! kill -9 during a scrub, and during a rekey into a new file: each record is as it was, or all of
//! them are as they should be.

use std::{os::unix::process::ExitStatusExt as _, process::Command, thread, time::Duration};

use tempfile::TempDir;

use crate::rounds::{Rounds, figures, run, seconds};
use crate::scene::{Scene, postgres, redb, sqlite};

const RECORDS: usize = 1000;

/// What a complete rekey exits with here: some records are damaged.
const DONE: i32 = 3;

#[test]
fn kill_9_during_a_scrub_loses_nothing_on_redb() {
    run(kill_scrubs("redb", redb));
}

#[test]
fn kill_9_during_a_scrub_loses_nothing_on_sqlite() {
    run(kill_scrubs("sqlite", sqlite));
}

#[test]
fn kill_9_during_a_scrub_loses_nothing_on_postgres() {
    run(kill_scrubs("postgres", postgres));
}

/// A kill before the end, and one that came too late.
#[derive(Default)]
struct Seen {
    kills: u32,
    completed: u32,
}

impl Seen {
    fn enough(&self) -> bool {
        let least = if seconds().is_some() { 200 } else { 20 };
        self.kills >= least && self.completed > 0
    }
}

async fn kill_scrubs(backend: &str, url: fn(&TempDir) -> String) {
    let mut scene = Scene::standard(url, RECORDS).await;
    let before = scene.check(&[]).await;
    let mut seen = Seen::default();
    let mut rounds = Rounds::at_least(1);
    let mut span = 500;
    while rounds.again(seen.enough()) {
        let time = Duration::from_micros(rounds.below(span * 1000));
        let ended = end_after(scene.command(&["scrub"]), time);
        // It waits for a lock that the server still holds for the process that was killed.
        assert!(matches!(ended, None | Some(0)), "{ended:?}");
        assert_eq!(scene.check(&[]).await, before);
        span = seen.count(ended.is_some(), span);
    }
    let whole = scene.command(&["scrub"]).output().unwrap();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    assert_eq!(scene.check(&[]).await, before);
    scene.leave(&format!("scrub-{backend}"));
    seen.tell(&format!("kill -9 of a scrub on {backend}"), &scene);
}

#[test]
fn kill_9_during_a_rebuild_changes_everything_or_nothing() {
    run(kill_rebuilds());
}

async fn kill_rebuilds() {
    let mut scene = Scene::standard(redb, RECORDS).await;
    let (old, new) = (scene.due("old"), scene.due("new"));
    let mut seen = Seen::default();
    let mut rounds = Rounds::at_least(1);
    let mut span = 3000;
    while rounds.again(seen.enough()) {
        let command = scene.merge("old", "new", &["--rebuild", "--page-size", "20"]);
        let ended = end_after(command, Duration::from_micros(rounds.below(span * 1000)));
        let under = scene.check(&[("old", "new")]).await;
        let moved = under["new"] - new;
        assert!(moved == 0 || moved == old, "{moved} of {old} records were moved");
        assert!(ended.is_none_or(|code| code == DONE && moved == old), "{ended:?}, {moved}");
        assert_eq!(scene.states().len(), 0, "there is nothing to resume");
        span = seen.count(ended.is_some(), span);
        if moved == old {
            scene.restore().await;
        }
    }
    seen.tell("kill -9 of a rebuild on redb", &scene);
}

impl Seen {
    /// Kills are to come neither always too early nor always too late; the next span in
    /// milliseconds.
    fn count(&mut self, completed: bool, span: u64) -> u64 {
        if completed {
            self.completed += 1;
            (span * 3 / 4).max(20)
        } else {
            self.kills += 1;
            (span * 9 / 8).min(60_000)
        }
    }

    fn tell(&self, scenario: &str, scene: &Scene) {
        let Self { kills, completed } = self;
        let checked = scene.checked;
        figures(
            scenario,
            &format!("{kills} kills, {completed} complete, {checked} records checked"),
        );
    }
}

/// Kills a command after some time; its exit code if it had ended before.
fn end_after(mut command: Command, time: Duration) -> Option<i32> {
    let mut child = command.spawn().unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    if status.signal() == Some(9) { None } else { status.code() }
}
