//! The Postgres server crashes in the middle, and comes back.

use std::{thread, time::Duration};

use pg_cluster::Cluster;

use crate::scene::{Rounds, Running, Scene, figures, report, run, tables_at};

#[test]
fn a_server_that_crashes_loses_nothing() {
    run(async {
        let cluster = Cluster::start().unwrap();
        let mut scene = Scene::at(|_| tables_at(cluster.url())).await;
        scene.fill(1500, &["old", "old", "other"]).await;
        let (mut from, mut to) = ("old", "new");
        let (mut crashes, mut in_the_middle) = (0, 0);
        let mut rounds = Rounds::at_least(5);
        let begin = |scene: &Scene, from, to| scene.rekey(from, to, &["--page-size", "20"]);
        while rounds.again() {
            let mut child = Running::of(begin(&scene, from, to));
            thread::sleep(Duration::from_millis(200 + rounds.below(800)));
            cluster.crash().unwrap();
            crashes += 1;
            if rounds.below(2) == 0 {
                // It dies with the server, and the next one goes on.
                child.0.kill().unwrap();
            }
            cluster.start_again().unwrap();
            let status = child.0.wait().unwrap();
            let under = scene.check(&[(from, to)]).await;
            in_the_middle += u32::from(under[from] > 0 && under[to] > 0);
            if status.code() == Some(0) {
                scene.hand_over(from, to);
                (from, to) = (to, from);
            }
        }
        report(&begin(&scene, from, to).output().unwrap(), 0);
        let under = scene.check(&[(from, to)]).await;
        assert_eq!((under[from], under[to]), (0, 1000));
        figures(
            "crashes of the Postgres server",
            &format!(
                "{crashes} crashes, {in_the_middle} in the middle, {} records checked",
                scene.checked
            ),
        );
    });
}
