//! Rekeys whose store fails or refuses, or whose caller stops or drops them.

use crate::world::{Interposer, World, options, plan};
use futures::executor::block_on;
use vault_core::StoreErrorKind;
use vault_core::rekey::{RekeyError, RunStatus};
use vault_core::store::PageLimit;

/// Merges, because here it is looked at what moves; what is refused is in `resume.rs`.
#[test]
fn a_passing_error_is_tried_again() {
    for after_effect in [false, true] {
        let world = World::new();
        world.fill("old", 10);
        let kind =
            if after_effect { StoreErrorKind::UnknownOutcome } else { StoreErrorKind::Retryable };
        let interposer = Interposer::failing(1..=2, kind, after_effect);
        let report = world.rekey_through(&interposer, plan()).unwrap();
        assert_eq!((report.counts.rekeyed, report.counts.failed), (10, 0));
        assert_eq!(
            interposer.fired(),
            if after_effect { 1 } else { 2 },
            "a batch that went in is not written twice"
        );
        assert!(report.retries >= 1);
        world.hand_over("old", "new");
        world.check();
    }
}

#[test]
fn a_record_that_the_store_refuses_fails_alone() {
    let world = World::new();
    world.fill("old", 33);
    let id = world.records()[20].id.clone();
    let interposer = Interposer::refusing(id.clone(), StoreErrorKind::Unsupported);
    let report = world.rekey_through(&interposer, plan()).unwrap();
    assert_eq!((report.counts.rekeyed, report.counts.failed), (32, 1));
    assert!(interposer.fired() >= 1);
    world.hand_over_but("old", "new", &id);
    world.check();
}

#[test]
fn a_store_that_is_gone_ends_the_run() {
    let world = World::new();
    world.fill("old", 40);
    let interposer = Interposer::failing(1..=usize::MAX, StoreErrorKind::Retryable, false);
    let small_pages = plan().options(options().page_limit(PageLimit::new(4, 1 << 20)));
    let ended = world.rekey_through(&interposer, small_pages);
    match ended {
        Err(RekeyError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Retryable),
        other => panic!("{other:?}"),
    }
    world.check();
}

#[test]
fn a_store_that_refuses_everything_is_not_asked_record_by_record_for_ever() {
    let world = World::new();
    world.fill("old", 1000);
    let interposer = Interposer::failing(1..=usize::MAX, StoreErrorKind::Other, false);
    let small_pages = plan().options(options().page_limit(PageLimit::new(200, 1 << 20)));
    let ended = world.rekey_through(&interposer, small_pages);
    assert!(matches!(ended, Err(RekeyError::Store(_))), "{ended:?}");
    assert!(interposer.fired() < 400, "{} batches for three pages", interposer.fired());
    world.check();
}

#[test]
fn a_full_disk_ends_the_run_at_once_and_the_next_run_does_the_rest() {
    let world = World::new();
    world.fill("old", 40);
    let interposer = Interposer::failing(3..=usize::MAX, StoreErrorKind::Full, false);
    let small_pages = || plan().options(options().page_limit(PageLimit::new(4, 1 << 20)));
    let vault = world.vault_through(&interposer);
    let (error, report) = block_on(async {
        let mut session = vault.rekey(small_pages()).await.unwrap();
        let error = loop {
            match session.step().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the run must not end well"),
                Err(error) => break error,
            }
        };
        (error, session.report().clone())
    });
    assert!(matches!(error, RekeyError::Store(error) if error.kind() == StoreErrorKind::Full));
    assert_eq!(report.end, RunStatus::Failed);
    assert_eq!(
        report.counts.rekeyed,
        world.count_under("new"),
        "the report counts exactly what was committed"
    );
    let rest = world.rekey(small_pages()).unwrap();
    assert_eq!(rest.counts.rekeyed + report.counts.rekeyed, 40);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn a_stopped_run_counts_exactly_what_was_committed() {
    let world = World::new();
    world.fill("old", 60);
    let small_pages = || plan().options(options().page_limit(PageLimit::new(5, 1 << 20)));
    for steps in 0..4 {
        let committed_before = world.count_under("new");
        let report = block_on(async {
            let mut session = world.vault().rekey(small_pages()).await.unwrap();
            for _ in 0..steps {
                session.step().await.unwrap();
            }
            session.stop().await.unwrap().clone()
        });
        assert_eq!(report.end, RunStatus::Stopped);
        assert_eq!(report.counts.rekeyed, world.count_under("new") - committed_before);
        assert_eq!(report.counts.scanned, report.counts.total());
    }
    let rest = world.rekey(small_pages()).unwrap();
    assert_eq!(rest.counts.rekeyed + rest.counts.already_new, 60);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn dropping_a_step_at_any_poll_loses_nothing() {
    let world = World::new();
    world.fill("old", 30);
    let options = options().page_limit(PageLimit::new(4, 1 << 20));
    let report = block_on(async {
        let mut session = world.vault().rekey(plan().options(options)).await.unwrap();
        let mut dropped = 0;
        loop {
            // Poll the step once and throw its future away; what it began stays in the session.
            let polled = futures::poll!(Box::pin(session.step()));
            match polled {
                std::task::Poll::Ready(step) => {
                    if step.unwrap().is_none() {
                        break;
                    }
                }
                std::task::Poll::Pending => {
                    dropped += 1;
                    std::thread::yield_now();
                }
            }
        }
        assert!(dropped > 0);
        session.report().clone()
    });
    assert_eq!(report.counts.rekeyed, 30);
    world.hand_over("old", "new");
    world.check();
}

#[test]
fn dropping_a_run_at_any_poll_leaves_every_record_under_exactly_one_password() {
    for polls in 0..25 {
        let world = World::new();
        world.fill("old", 20);
        let options = options().page_limit(PageLimit::new(3, 1 << 20));
        block_on(async {
            let mut session = world.vault().rekey(plan().options(options)).await.unwrap();
            for _ in 0..polls {
                let _ = futures::poll!(Box::pin(session.step()));
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        assert_eq!(world.count_under("old") + world.count_under("new"), 20);
        assert_eq!(world.rekey(plan()).unwrap().counts.total(), 20);
        world.hand_over("old", "new");
        world.check();
    }
}

#[test]
fn a_page_out_of_order_ends_the_run() {
    let world = World::new();
    world.fill("old", 9);
    let interposer = Interposer::reversing();
    let ended = world.rekey_through(&interposer, plan());
    assert!(matches!(ended, Err(RekeyError::Store(_))), "{ended:?}");
    world.check();
}
