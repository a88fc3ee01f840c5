//! Whether someone who takes the files of a vault can tell which records a rekey has moved.
//!
//! A thief learns on one vault and judges another one, feature by feature; nothing of the product
//! helps him. What must tell nothing stays below 4.7 deviations; one of about 100 features exceeds
//! that by chance in one of 8,000 runs, and a pair of vaults that fails is replaced by another one
//! once: one false alarm in 10^8 runs. The controls have to be noticed.

#![cfg(all(feature = "redb", feature = "sqlite"))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails panics, in its helpers too, and all tell their figures"
)]

mod files;
mod life;
mod thief;

use life::{After, Kind, live};

/// A pair of vaults that went through the same, and what the better feature tells.
async fn told(kind: Kind, after: After) -> (&'static str, f64, f64) {
    let (learn, judge) = (live(kind, after).await, live(kind, after).await);
    let (feature, advantage) = thief::best(&learn, &judge);
    (feature, advantage, thief::limit(&judge))
}

async fn assert_tells_nothing(kind: Kind, after: After) {
    let mut best = told(kind, after).await;
    if best.1 > best.2 {
        best = told(kind, after).await;
    }
    let (feature, advantage, limit) = best;
    println!("{kind:?}, {after:?}: {feature}: {advantage:.3} (limit {limit:.3})");
    assert!(advantage <= limit, "{kind:?}, {after:?}: {feature} tells {advantage:.3} > {limit:.3}");
}

async fn assert_tells(kind: Kind, after: After) {
    let (feature, advantage, _) = told(kind, after).await;
    println!("{kind:?}, {after:?}: {feature}: {advantage:.3}");
    assert!(
        advantage > 0.2,
        "{kind:?}, {after:?}: nothing tells more than {feature}: {advantage:.3}"
    );
}

/// Else the thief would see something that is none of the rekey's.
#[tokio::test]
async fn a_vault_that_was_never_rekeyed_tells_nothing() {
    for kind in [Kind::Redb, Kind::Sqlite] {
        assert_tells_nothing(kind, After::Nothing).await;
    }
}

#[tokio::test]
async fn a_redb_vault_tells_which_records_were_moved_until_it_is_scrubbed() {
    assert_tells(Kind::Redb, After::Rekey).await;
    assert_tells_nothing(Kind::Redb, After::Scrub).await;
}

#[tokio::test]
async fn an_sqlite_vault_tells_nothing_once_its_log_was_taken_in() {
    assert_tells_nothing(Kind::Sqlite, After::Rekey).await;
}

#[tokio::test]
async fn the_log_of_an_sqlite_vault_tells_which_records_were_moved_until_it_is_scrubbed() {
    assert_tells(Kind::Sqlite, After::RekeyWithLog).await;
    assert_tells_nothing(Kind::Sqlite, After::ScrubWithLog).await;
}
