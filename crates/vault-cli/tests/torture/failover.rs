//! A primary that crashes in the middle of a rekey, and a standby that takes its place: one command
//! survives it.

use std::{thread, time::Duration};

use pg_cluster::Cluster;

use crate::process::{Rekey, report};
use crate::rounds::{Rounds, figures, run, seconds};
use crate::scene::{Scene, tables_at};

const RECORDS: usize = 1000;

#[test]
fn a_rekey_survives_a_failover() {
    run(fail_over());
}

async fn fail_over() {
    let least = if seconds().is_some() { 20 } else { 2 };
    let mut rounds = Rounds::at_least(least);
    let (mut failovers, mut checked) = (0, 0);
    while rounds.again(failovers >= least) {
        let primary = Cluster::start().unwrap();
        let standby = primary.standby().unwrap();
        let url = Cluster::url_of(&[&primary, &standby]);
        let url = format!("{url}?target_session_attrs=read-write&connect_timeout=5");
        let mut scene = Scene::standard(|_| tables_at(&url), RECORDS).await;
        let (old, new) = (scene.due("old"), scene.due("new"));
        let more = ["--page-size", "20", "--wait-for-server", "2m"];
        let mut rekey = Rekey::begin(scene.merge("old", "new", &more));
        rekey.reach(1 + rounds.below(old / 2));
        let delay = Duration::from_millis(rounds.below(50));
        thread::scope(|scope| {
            // While it goes on.
            scope.spawn(|| {
                thread::sleep(delay);
                primary.crash().unwrap();
                standby.promote().unwrap();
            });
            let report = report(&rekey.finish(), 3);
            assert_eq!(
                (report["failed"].as_u64(), report["rekeyed"].as_u64()),
                (Some(0), Some(old))
            );
        });
        let under = scene.check(&[("old", "new")]).await;
        assert_eq!((under["old"], under["new"]), (0, old + new));
        (failovers, checked) = (failovers + 1, checked + scene.checked);
    }
    figures(
        "failover to a synchronous standby",
        &format!("{failovers} rekeys, each in one command, {checked} records checked"),
    );
}
