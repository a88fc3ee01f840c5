//! Concurrent rekeys: another job, and shards of one.

use std::os::unix::process::ExitStatusExt as _;

use tempfile::TempDir;

use crate::process::{Rekey, report};
use crate::rounds::{Rounds, figures, run};
use crate::scene::{Scene, postgres, sqlite};

const PAGES: [&str; 2] = ["--page-size", "5"];

#[test]
fn two_rekeys_at_once_move_every_record_once_on_sqlite() {
    run(two_at_once("sqlite", sqlite));
}

#[test]
fn two_rekeys_at_once_move_every_record_once_on_postgres() {
    run(two_at_once("postgres", postgres));
}

/// The first waits after some pages until the second one has moved something too; then both
/// continue at once.
async fn two_at_once(backend: &str, url: fn(&TempDir) -> String) {
    let mut rounds = Rounds::at_least(1);
    let (mut moved, mut conflicts, mut checked) = (0, 0, 0);
    while rounds.again(true) {
        for targets in [["new", "new"], ["new", "rival"]] {
            let mut scene = Scene::standard(url, 1200).await;
            let due = ["old", "new", "rival"].map(|name| scene.due(name));
            let begin = |number, target| {
                let state = ["--state", number];
                let mut rekey = scene.merge("old", target, &[&state, PAGES.as_slice()].concat());
                rekey.arg("--allow-zero");
                Rekey::begin(rekey)
            };
            let mut first = begin("1", targets[0]);
            first.reach(1);
            let mut second = begin("2", targets[1]);
            second.reach(1);
            let outputs = Rekey::finish_all(vec![first, second]);
            let reports: Vec<_> = outputs.iter().map(|output| report(output, 3)).collect();
            let count = |at: usize, name: &str| reports[at][name].as_u64().unwrap();
            let counts = [0, 1].map(|at| count(at, "rekeyed"));
            let under = scene.check(&[("old", "new"), ("old", "rival")]).await;
            let gained = [under["new"] - due[1], under["rival"] - due[2]];
            assert_eq!((under["old"], gained[0] + gained[1]), (0, due[0]));
            assert_eq!(counts[0] + counts[1], due[0], "each is counted by who moved it");
            assert!(counts[0] > 0 && counts[1] > 0);
            if targets[0] != targets[1] {
                assert_eq!(counts, gained);
            }
            conflicts += count(0, "conflicts_settled") + count(1, "conflicts_settled");
            (moved, checked) = (moved + due[0], checked + scene.checked);
        }
    }
    figures(
        &format!("two rekeys at once on {backend}"),
        &format!(
            "{moved} records moved, each time by both, {conflicts} conflicts settled, {checked} records checked"
        ),
    );
}

#[test]
fn shards_at_once_on_one_server_are_the_whole_also_when_one_is_killed() {
    run(async {
        let mut rounds = Rounds::at_least(1);
        let (mut killed, mut checked) = (0, 0);
        while rounds.again(true) {
            let mut scene = Scene::standard(postgres, 2000).await;
            let (old, new) = (scene.due("old"), scene.due("new"));
            let shards = ["0/4", "1/4", "2/4", "3/4"];
            let begin = |shard| {
                Rekey::begin(scene.merge(
                    "old",
                    "new",
                    &[["--shard", shard].as_slice(), &PAGES].concat(),
                ))
            };
            let mut all: Vec<_> = shards.map(begin).into();
            all[2].reach(1);
            assert_eq!(all[2].kill().signal(), Some(9));
            killed += 1;
            all[2] = begin(shards[2]);
            let (mut scanned, mut under_new) = (0, 0);
            for output in Rekey::finish_all(all) {
                let report = report(&output, 3);
                let count = |name: &str| report[name].as_u64().unwrap();
                scanned += count("scanned");
                under_new += count("rekeyed") + count("already_new");
            }
            assert_eq!((scanned, under_new), (2000, old + new));
            let under = scene.check(&[("old", "new")]).await;
            assert_eq!((under["old"], under["new"]), (0, old + new));
            checked += scene.checked;
        }
        figures(
            "shards on postgres",
            &format!("{killed} killed and run again, {checked} records checked"),
        );
    });
}
