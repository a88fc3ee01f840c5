//! The Postgres server crashes in the middle, and comes back; or does not.

use std::time::{Duration, Instant};

use pg_cluster::Cluster;

use crate::process::{Rekey, report};
use crate::rounds::{Rounds, figures, run};
use crate::scene::{Scene, tables_at};

#[test]
fn a_server_that_crashes_loses_nothing() {
    run(async {
        let cluster = Cluster::start().unwrap();
        let mut scene = Scene::standard(|_| tables_at(cluster.url()), 1500).await;
        let (old, new) = (scene.due("old"), scene.due("new"));
        let (mut crashes, mut survived, mut moved) = (0, 0, 0);
        let mut rounds = Rounds::at_least(5);
        let begin = |scene: &Scene| scene.merge("old", "new", &["--page-size", "10"]);
        while rounds.again(survived > 0) {
            let mut rekey = Rekey::begin(begin(&scene));
            rekey.reach(moved + 1 + rounds.below(old / 4));
            cluster.crash().unwrap();
            crashes += 1;
            let dies = rounds.below(2) == 0;
            if dies {
                // It dies with the server, and the next one resumes.
                rekey.kill();
            }
            cluster.start_again().unwrap();
            let output = rekey.finish();
            let under = scene.check(&[("old", "new")]).await;
            assert!(under["new"] - new > moved, "it came in the middle");
            moved = under["new"] - new;
            survived += u32::from(!dies && output.status.code() == Some(3));
            if moved > old / 2 {
                report(&begin(&scene).output().unwrap(), 3);
                scene.restore().await;
                moved = 0;
            }
        }
        report(&begin(&scene).output().unwrap(), 3);
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!((under["old"], under["new"]), (0, old + new));
        figures(
            "crashes of the Postgres server in the middle of a rekey",
            &format!(
                "{crashes} crashes, {survived} rekeys came through, {} records checked",
                scene.checked
            ),
        );
    });
}

/// The most time that a run continues without a server: half a minute, and as much again for a slow
/// machine.
const GONE: Duration = Duration::from_mins(1);

#[test]
fn a_server_that_is_gone_ends_the_run_in_good_time_with_a_state() {
    run(async {
        let cluster = Cluster::start().unwrap();
        let mut scene = Scene::standard(|_| tables_at(cluster.url()), 1000).await;
        let (old, new) = (scene.due("old"), scene.due("new"));
        let mut rekey = Rekey::begin(scene.merge("old", "new", &["--page-size", "10"]));
        rekey.reach(100);
        cluster.crash().unwrap();
        let started = Instant::now();
        let output = rekey.finish();
        let took = started.elapsed();
        assert!(took < GONE, "{took:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr).lines().count(),
            2,
            "an error and a hint"
        );
        assert_eq!(report(&output, 75)["end"], "failed");
        assert_eq!(scene.states().len(), 1);
        // What is started without a server ends at once.
        let started = Instant::now();
        let output = scene.merge("old", "new", &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(75));
        assert!(started.elapsed() < Duration::from_secs(10));

        cluster.start_again().unwrap();
        let last = report(&scene.merge("old", "new", &[]).output().unwrap(), 3);
        assert_eq!(last["earlier"]["runs"], 1);
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!((under["old"], under["new"]), (0, old + new));
        figures(
            "a Postgres server that is gone",
            &format!(
                "the run ended after {:.1} s, {} records checked",
                took.as_secs_f64(),
                scene.checked
            ),
        );
    });
}
