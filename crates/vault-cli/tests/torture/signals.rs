//! Signals, and what is done with the state that they leave.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use crate::process::{Rekey, report};
use crate::rounds::run;
use crate::scene::{Scene, redb};

const SMALL: [&str; 2] = ["--page-size", "10"];

async fn scene() -> Scene {
    let mut scene = Scene::at(redb).await;
    scene.fill(2000, &["old", "old", "other"]).await;
    scene
}

/// Begins a rekey, signals it so often once it has moved some records and waits before the next
/// ones, and tells how it ended.
fn interrupted(scene: &Scene, signal: &str, times: usize) -> Output {
    let mut rekey = Rekey::begin(scene.rekey("old", "new", &SMALL));
    rekey.reach(100);
    for _ in 0..times {
        assert!(Command::new("kill").args([signal, &rekey.id()]).status().unwrap().success());
    }
    rekey.finish()
}

#[test]
fn both_signals_finish_the_page_report_and_leave_a_state() {
    run(async {
        for signal in ["-INT", "-TERM"] {
            let mut scene = scene().await;
            let first = report(&interrupted(&scene, signal, 1), 130);
            assert_eq!(first["end"], "stopped");
            let moved = scene.check(&[("old", "new")]).await["new"];
            assert_eq!(first["rekeyed"].as_u64(), Some(moved));
            assert!(moved > 0);

            let output = scene.rekey("old", "new", &[]).output().unwrap();
            let second = report(&output, 0);
            assert!(String::from_utf8(output.stderr).unwrap().contains("resuming"));
            assert_eq!((&second["earlier"]["runs"], &second["scanned"]), (&1.into(), &2000.into()));
            assert_eq!(second["rekeyed"].as_u64(), Some(1334));
            assert_eq!(scene.check(&[("old", "new")]).await["old"], 0);
        }
    });
}

#[test]
fn a_second_signal_stops_at_once_and_leaves_a_state_too() {
    run(async {
        let mut scene = scene().await;
        assert_eq!(interrupted(&scene, "-INT", 2).status.code(), Some(130));
        let moved = scene.check(&[("old", "new")]).await["new"];
        assert!((1..1334).contains(&moved), "{moved}");
        let second = report(&scene.rekey("old", "new", &[]).output().unwrap(), 0);
        assert_eq!(second["scanned"], 2000);
        // The page that was in flight is found to be new.
        let sum = second["rekeyed"].as_u64().unwrap() + second["already_new"].as_u64().unwrap();
        assert_eq!(sum, 1334);
        assert_eq!(scene.check(&[("old", "new")]).await["old"], 0);
    });
}

#[test]
fn the_state_is_the_users_own_and_refused_for_what_it_is() {
    run(async {
        let scene = scene().await;
        interrupted(&scene, "-INT", 1);
        let states = scene.states();
        let [state] = states.as_slice() else { panic!("{states:?}") };
        assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o777, 0o600);
        let kept = fs::read(state).unwrap();

        let refused = |from, to, more: &[&str]| {
            let output = scene.rekey(from, to, more).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(stderr.lines().count(), 2, "an error and a hint: {stderr}");
        };
        refused("old", "rival", &[]);
        refused("rival", "new", &[]);
        refused("old", "new", &["--v2-preset", "lightweight", "--v2-preset", "default"]);
        let mut bad = vec![kept[..kept.len() - 1].to_vec(), Vec::new(), b"no state".to_vec()];
        for at in [3, 16, 30, 80, 200, kept.len() - 1] {
            let mut flipped = kept.clone();
            flipped[at] ^= 1;
            bad.push(flipped);
        }
        for bytes in bad {
            fs::write(state, bytes).unwrap();
            refused("old", "new", &[]);
        }
        // A copy in another vault's place.
        let elsewhere = super::signals::scene().await;
        fs::write(elsewhere.path("copied"), &kept).unwrap();
        let output = elsewhere.rekey("old", "new", &["--state", "copied"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));

        fs::write(state, &kept).unwrap();
        let resumed = report(&scene.rekey("old", "new", &[]).output().unwrap(), 0);
        assert_eq!(resumed["earlier"]["runs"], 1);
        assert_eq!(scene.states(), states);
        let again = report(&scene.rekey("old", "new", &[]).output().unwrap(), 0);
        assert_eq!(
            (&again["already_done"], &again["rekeyed"]),
            (&true.into(), &resumed["rekeyed"])
        );
    });
}

#[test]
fn starting_over_asks_again_and_a_merge_has_its_own_exit_code() {
    run(async {
        let mut scene = scene().await;
        interrupted(&scene, "-INT", 1);
        let moved = scene.check(&[("old", "new")]).await["new"];
        // A run that starts over cannot know that these are its own.
        let refused = scene.rekey("old", "new", &["--restart"]).output().unwrap();
        let refusal = report(&refused, 5);
        assert_eq!(
            (&refusal["end"], refusal["merge_check"]["found"].as_u64()),
            (&"refused".into(), Some(moved))
        );
        assert_eq!(scene.check(&[("old", "new")]).await["new"], moved);
        let dry = scene.rekey("old", "new", &["--dry-run"]).output().unwrap();
        assert_eq!(report(&dry, 5)["rekeyed"].as_u64(), Some(1334 - moved));
        let allowed =
            scene.rekey("old", "new", &["--restart", "--merge-check=off"]).output().unwrap();
        let allowed = report(&allowed, 0);
        assert_eq!(allowed["already_new"].as_u64(), Some(moved));
        assert_eq!(scene.check(&[("old", "new")]).await["old"], 0);
    });
}

#[test]
fn two_rekeys_do_not_share_a_state() {
    run(async {
        let scene = scene().await;
        let mut first = Rekey::begin(scene.rekey("old", "new", &SMALL));
        first.reach(1);
        let second = scene.rekey("old", "new", &[]).output().unwrap();
        assert_eq!(second.status.code(), Some(1), "the vault or the state is locked");
    });
}
