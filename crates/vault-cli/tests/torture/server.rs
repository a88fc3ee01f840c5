//! The Postgres server crashes in the middle, and comes back.

use pg_cluster::Cluster;

use crate::{
    process::{Rekey, report},
    rounds::{Rounds, figures, run},
    scene::{Scene, tables_at},
};

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
            assert!(rekey.until(moved + 1 + rounds.below((old - moved) / 2)), "not yet its end");
            cluster.crash().unwrap();
            crashes += 1;
            let dies = rounds.below(2) == 0;
            if dies {
                // It dies with the server, and the next one goes on.
                rekey.kill();
            }
            cluster.start_again().unwrap();
            let output = rekey.finish();
            let under = scene.check(&[("old", "new")]).await;
            assert!(under["new"] - new > moved, "it came in the middle");
            moved = under["new"] - new;
            survived += u32::from(!dies && output.status.code() == Some(3));
            if moved == old {
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
