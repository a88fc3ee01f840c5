//! Whether someone who takes the files of a vault can tell which records a rekey has moved.
//!
//! A thief learns on one vault and judges another one, feature by feature; nothing of the product
//! helps him. What must tell nothing stays below 4.7 deviations; one of about 400 features exceeds
//! that by chance in one of 2,000 runs, and a pair of vaults that fails is replaced by another one
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

use life::{After, Forms, Kind, Life, live};

const V3: [Forms; 1] = [Forms::V3];
/// All of them; a rekey leaves each record as it was.
const ALL: [Forms; 5] = [Forms::V3, Forms::V2, Forms::Both, Forms::RaisedCost, Forms::TwoSalts];
/// How many records there are to one whose password is changed: often, and hardly ever.
const SHARES: [usize; 2] = [3, 100];

/// A pair of vaults that went through the same, and what the best feature tells.
async fn told(life: Life) -> (&'static str, f64, f64) {
    let (learn, judge) = (live(life).await, live(life).await);
    let (feature, advantage) = thief::best(&learn, &judge);
    (feature, advantage, thief::limit(&judge))
}

async fn tells_nothing(kind: Kind, after: After, forms: &[Forms]) {
    for forms in forms {
        for one_in in SHARES {
            let life = Life { kind, forms: *forms, one_in, after };
            let mut best = told(life).await;
            if best.1 > best.2 {
                best = told(life).await;
            }
            let (feature, advantage, limit) = best;
            println!("{life:?}: {feature}: {advantage:.3} (limit {limit:.3})");
            assert!(advantage <= limit, "{life:?}: {feature} tells {advantage:.3} > {limit:.3}");
        }
    }
}

async fn tells(kind: Kind, after: After) {
    for one_in in SHARES {
        let life = Life { kind, forms: Forms::V3, one_in, after };
        let (feature, advantage, limit) = told(life).await;
        println!("{life:?}: {feature}: {advantage:.3}");
        assert!(
            advantage > 2.0 * limit,
            "{life:?}: nothing tells more than {feature}: {advantage:.3}"
        );
    }
}

/// Else the thief would see something that is none of the rekey's.
#[tokio::test]
async fn a_vault_that_was_never_rekeyed_tells_nothing() {
    for kind in [Kind::Redb, Kind::Sqlite] {
        tells_nothing(kind, After::Nothing, &V3).await;
    }
}

#[tokio::test]
async fn a_redb_vault_tells_which_records_were_moved_until_it_is_scrubbed() {
    tells(Kind::Redb, After::Rekey).await;
    tells_nothing(Kind::Redb, After::Rebuild, &ALL).await;
    tells_nothing(Kind::Redb, After::Scrub, &ALL).await;
}

#[tokio::test]
async fn an_sqlite_vault_tells_nothing_once_its_log_was_taken_in() {
    tells_nothing(Kind::Sqlite, After::Rekey, &ALL).await;
}

#[tokio::test]
async fn the_log_of_an_sqlite_vault_tells_which_records_were_moved_until_it_is_scrubbed() {
    tells(Kind::Sqlite, After::RekeyWithLog).await;
    tells_nothing(Kind::Sqlite, After::ScrubWithLog, &V3).await;
}
