//! kill -9 at random moments, and the same command again.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::process::{Rekey, report};
use crate::records::DAMAGED;
use crate::rounds::{Rounds, figures, run, seconds};
use crate::scene::{Scene, postgres, redb, sqlite};

const RECORDS: usize = 1000;
/// Small pages make many moments to die in.
const PAGES: [&str; 2] = ["--page-size", "20"];

/// What a complete rekey exits with here: some records are damaged.
const DONE: i32 = 3;

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

/// What happened so far.
#[derive(Default)]
struct Seen {
    kills: u32,
    /// Of these, how many came after its first page was written and before its last one.
    in_the_middle: u32,
    completed: u32,
}

impl Seen {
    /// Kills that came too early or too late show nothing.
    fn enough(&self) -> bool {
        let least = if seconds().is_some() { 200 } else { 20 };
        self.kills >= least && self.in_the_middle * 10 >= self.kills * 3 && self.completed > 0
    }
}

async fn kill_again_and_again(backend: &str, url: fn(&TempDir) -> String) {
    let mut scene = Scene::standard(url, RECORDS).await;
    let (old, new) = (scene.due("old"), scene.due("new"));
    let mut seen = Seen::default();
    let mut rounds = Rounds::at_least(1);
    let (mut moved, mut span) = (0, 1000);
    while rounds.again(seen.enough()) {
        let command = scene.merge("old", "new", &PAGES);
        let status = if rounds.below(3) == 0 {
            kill_after(command, Duration::from_micros(rounds.below(span * 1000)))
        } else {
            // Beyond all that there are it comes to its end.
            kill_once_moved(
                command,
                moved + 1 + rounds.below((old - moved) * 9 / 8 + 10),
                rounds.below(1500),
            )
        };
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!(under["old"] + under["new"], old + new);
        let before = std::mem::replace(&mut moved, under["new"] - new);
        if status.signal() == Some(9) {
            seen.kills += 1;
            seen.in_the_middle += u32::from(moved > before && moved < old);
            // Neither always before the first page nor always after the last one.
            span = if moved > before { span } else { (span * 5 / 4).min(60_000) };
        } else {
            assert_eq!(status.code(), Some(DONE), "it ended by itself, and well");
            assert_eq!(moved, old);
            seen.completed += 1;
            span = (span * 3 / 4).max(20);
        }
        if moved == old {
            finish(&mut scene).await;
            scene.restore().await;
            moved = 0;
        }
    }
    finish(&mut scene).await;
    scene.leave(backend);
    let Seen { kills, in_the_middle, completed } = seen;
    figures(
        &format!("kill -9 on {backend}"),
        &format!(
            "{kills} kills, {in_the_middle} in the middle, {completed} rekeys complete, {} records checked",
            scene.checked
        ),
    );
}

/// Whatever was left undone is done, and counted right.
async fn finish(scene: &mut Scene) {
    let last = report(&scene.merge("old", "new", &PAGES).output().unwrap(), DONE);
    let count = |name: &str| last[name].as_u64().unwrap();
    let (old, new, damaged) = (scene.due("old"), scene.due("new"), scene.due(DAMAGED));
    assert_eq!(count("rekeyed") + count("already_new"), old + new, "{last}");
    assert_eq!(count("damaged") + count("malformed"), damaged, "{last}");
    assert_eq!(count("scanned"), RECORDS as u64);
    let under = scene.check(&[("old", "new")]).await;
    assert_eq!((under["old"], under["new"], under[DAMAGED]), (0, old + new, damaged));
    // The state stays, and makes the same command find the job done.
    assert_eq!(scene.states().len(), 1, "a complete rekey leaves its state");
    let again = report(&scene.merge("old", "new", &PAGES).output().unwrap(), DONE);
    assert_eq!(again["already_done"], true, "{again}");
    assert_eq!(again["rekeyed"], last["rekeyed"]);
    assert_eq!(scene.check(&[("old", "new")]).await, under, "nothing moves twice");
}

fn kill_after(mut command: Command, time: Duration) -> ExitStatus {
    let mut child = command.spawn().unwrap();
    thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap()
}

/// Not between two pages but a little later, in whatever it does then.
fn kill_once_moved(command: Command, records: u64, micros: u64) -> ExitStatus {
    let mut rekey = Rekey::begin(command);
    if !rekey.until(records) {
        return rekey.finish().status;
    }
    thread::sleep(Duration::from_micros(micros));
    rekey.kill()
}
