//! Others beside a rekey: another rekey, its shards, writers.

use std::{
    os::unix::process::ExitStatusExt as _,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::scene::{Rounds, Running, Scene, figures, postgres, report, run, sqlite};

/// Each process its own state file, and a merge with what the other moves is meant.
fn as_number<'a>(number: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--state", number, "--allow-merge", "--allow-zero"], more].concat()
}

#[test]
fn two_rekeys_at_once_move_every_record_once_on_sqlite() {
    run(two_at_once("sqlite", sqlite));
}

#[test]
fn two_rekeys_at_once_move_every_record_once_on_postgres() {
    run(two_at_once("postgres", postgres));
}

async fn two_at_once(backend: &str, url: fn(&TempDir) -> String) {
    let mut rounds = Rounds::at_least(2);
    let (mut moved, mut shared, mut checked) = (0, 0, 0);
    while rounds.again() {
        for targets in [["new", "new"], ["new", "rival"]] {
            let mut scene = Scene::at(url).await;
            scene.fill(1200, &["old", "old", "other"]).await;
            let begin = |number, target| {
                scene
                    .rekey("old", target, &as_number(number, &["--page-size", "50"]))
                    .spawn()
                    .unwrap()
            };
            let both = [begin("1", targets[0]), begin("2", targets[1])];
            let reports = both.map(|child| report(&child.wait_with_output().unwrap(), 0));
            let counts = reports.map(|report| report["rekeyed"].as_u64().unwrap());
            let under = scene.check(&[("old", "new"), ("old", "rival")]).await;
            assert_eq!((under["old"], under["new"] + under["rival"]), (0, 800));
            assert_eq!(counts[0] + counts[1], 800, "each is counted by who moved it");
            if targets[0] != targets[1] {
                assert_eq!(counts, [under["new"], under["rival"]]);
            }
            shared += u32::from(counts[0] > 0 && counts[1] > 0);
            (moved, checked) = (moved + 800, checked + scene.checked);
        }
    }
    assert!(shared > 0, "never did both move something");
    figures(
        &format!("two rekeys at once on {backend}"),
        &format!("{moved} records moved, {shared} times by both, {checked} records checked"),
    );
}

#[test]
fn shards_at_once_on_one_server_are_the_whole_also_when_one_is_killed() {
    run(async {
        let mut rounds = Rounds::at_least(1);
        let (mut killed, mut checked) = (0, 0);
        while rounds.again() {
            let mut scene = Scene::at(postgres).await;
            scene.fill(2000, &["old", "old", "other", "rival"]).await;
            let shards = ["0/4", "1/4", "2/4", "3/4"];
            let begin = |shard| scene.rekey("old", "new", &["--shard", shard, "--page-size", "20"]);
            let mut all: Vec<_> = shards.map(|shard| Running::of(begin(shard))).into();
            thread::sleep(Duration::from_millis(300 + rounds.below(500)));
            all[2].0.kill().unwrap();
            killed += u32::from(all[2].0.wait().unwrap().signal() == Some(9));
            let mut sum = (0, 0);
            for (number, shard) in shards.iter().enumerate() {
                let output = match number {
                    2 => begin(shard).output().unwrap(),
                    _ => wait(&mut all[number]),
                };
                let report = report(&output, 0);
                let count = |name: &str| report[name].as_u64().unwrap();
                sum = (sum.0 + count("scanned"), sum.1 + count("rekeyed") + count("already_new"));
            }
            assert_eq!(sum, (2000, 1000));
            let under = scene.check(&[("old", "new")]).await;
            assert_eq!((under["old"], under["new"]), (0, 1000));
            checked += scene.checked;
        }
        figures(
            "shards on postgres",
            &format!("{killed} killed and run again, {checked} records checked"),
        );
    });
}

fn wait(running: &mut Running) -> std::process::Output {
    use std::io::Read as _;
    let mut stdout = Vec::new();
    running.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    let mut stderr = Vec::new();
    running.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    std::process::Output { status: running.0.wait().unwrap(), stdout, stderr }
}

#[test]
fn writers_beside_a_rekey_lose_nothing_on_sqlite() {
    run(writers_beside("sqlite", sqlite));
}

#[test]
fn writers_beside_a_rekey_lose_nothing_on_postgres() {
    run(writers_beside("postgres", postgres));
}

/// Writers under the old, the new and another password update and insert as fast as they can, before and behind the
/// rekey's cursor, until some rekeys have come to their end; the last one moves what is left.
async fn writers_beside(backend: &str, url: fn(&TempDir) -> String) {
    let mut rounds = Rounds::at_least(3);
    let mut scene = Scene::at(url).await;
    scene.fill(3000, &["old", "old", "other"]).await;
    let (mut writes, mut settled, mut caught_up) = (0u64, 0, 0);
    let ids: Vec<_> = scene.ledger.keys().cloned().collect();
    while rounds.again() {
        let mut child = Running::of(scene.rekey("old", "new", &as_number("1", &[])));
        let store = scene.open().await;
        let begun = Instant::now();
        while child.0.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
            let name = ["old", "new", "other"][usize::try_from(rounds.below(3)).unwrap()];
            let value = format!("write {writes}").into_bytes();
            if rounds.below(4) == 0 {
                let id = format!("{:07}-{writes}", rounds.below(3000));
                let record = scene.new_record(&id, name, &value);
                store.insert(vec![record]).await.unwrap();
            } else {
                let id = &ids[usize::try_from(rounds.below(ids.len() as u64)).unwrap()];
                scene.rewrite(&*store, id, name, &value).await;
            }
            writes += 1;
        }
        store.close().await;
        let output = wait(&mut child);
        let code = output.status.code().unwrap();
        let report = report(&output, code);
        assert!(code == 0 || report["end"] == "still_written", "{report}");
        settled += report["conflicts_settled"].as_u64().unwrap();
        caught_up += report["catch_up_passes"].as_u64().unwrap();
        scene.check(&[("old", "new")]).await;
    }
    let output = scene.rekey("old", "new", &as_number("1", &[])).output().unwrap();
    report(&output, 0);
    let under = scene.check(&[("old", "new")]).await;
    assert_eq!(under["old"], 0);
    assert!(writes > 100 && settled > 0, "{writes} writes, {settled} conflicts settled");
    figures(
        &format!("writers beside a rekey on {backend}"),
        &format!(
            "{writes} writes acknowledged, {settled} conflicts settled, {caught_up} catch-up passes, {} records checked",
            scene.checked
        ),
    );
}
