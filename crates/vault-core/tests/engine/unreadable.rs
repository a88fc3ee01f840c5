//! Unreadable rows are counted and named, and stop neither a rekey nor a census nor a copy.

use std::{collections::HashSet, num::NonZeroUsize, sync::Arc};

use futures::executor::block_on;
use vault_core::census::CensusPlan;
use vault_core::copy::{CopyError, CopyPlan, CopySession};
use vault_core::envelope::OpenPolicy;
use vault_core::rekey::{RekeyMode, RunStatus};
use vault_core::run::{MAX_PROBLEMS, ProblemAt, ProblemKind, RunOptions};
use vault_core::store::{PageLimit, UnreadableReason};
use vault_core::{
    CreateOptions, InitOptions, KdfParams, MemoryStore, Password, PasswordKey, RecordId, RekeyPlan,
    RekeyReport, Vault, VaultOptions, VaultStore as _,
};

const REASON: UnreadableReason = UnreadableReason::IdNotText;

/// A vault of ten records of one password, and unreadable rows at these places among them.
fn vault(places: &[&str]) -> (MemoryStore, Vault) {
    let store = MemoryStore::new();
    let options = VaultOptions::default().open(OpenPolicy::trusting());
    let init = InitOptions::default().cost(KdfParams::new(8, 1, 1).unwrap());
    let vault = block_on(Vault::init(store.clone(), init, options)).unwrap();
    let key = block_on(vault.derive_key(Password::new("old"))).unwrap();
    for number in 0..10 {
        block_on(vault.create(&[number], &key, CreateOptions::default())).unwrap();
    }
    for place in places {
        store.plant_unreadable(RecordId::from_stored(*place), REASON);
    }
    (store, vault)
}

fn run(page: usize) -> RunOptions {
    let page = PageLimit::new(page, 1 << 20);
    RunOptions::default().workers(NonZeroUsize::MIN).page_limit(page)
}

fn plan() -> RekeyPlan {
    RekeyPlan::new().pair(Password::new("old"), Password::new("new"))
}

fn rekey(vault: &Vault, plan: RekeyPlan) -> RekeyReport {
    block_on(async { vault.rekey(plan).await.unwrap().run().await.unwrap() })
}

/// Before all ids, and behind them: those of the records begin with a digit.
const PLACES: [&str; 3] = ["", "!", "~"];

#[test]
fn a_rekey_moves_all_others_and_names_the_rows() {
    for (page, mode) in
        [1, 3, 100].into_iter().zip([RekeyMode::Apply, RekeyMode::Apply, RekeyMode::DryRun])
    {
        let (_, vault) = vault(&PLACES);
        let report = rekey(&vault, plan().dry_run(mode).options(run(page)));
        let counts = report.counts;
        assert_eq!((counts.rekeyed, counts.malformed, counts.scanned), (10, 3, 13));
        assert_eq!(report.end, RunStatus::Complete);
        assert!(report.needs_attention());
        let rows: HashSet<_> = report.problems.iter().map(|problem| problem.at.clone()).collect();
        assert!(rows.len() == 3 && rows.iter().all(|at| matches!(at, ProblemAt::Row(_))));
        assert!(report.problems.iter().all(|it| it.kind == ProblemKind::Unreadable(REASON)));
    }
}

/// However often a run is broken off and resumed, each row is counted once.
#[test]
fn a_resumed_rekey_counts_each_row_once() {
    for steps in 0..12 {
        let (_, vault) = vault(&PLACES);
        let state = block_on(async {
            let mut session = vault.rekey(plan().options(run(2))).await.unwrap();
            for _ in 0..steps {
                session.step().await.unwrap();
            }
            session.stop().await.unwrap();
            session.state().unwrap()
        });
        let report = rekey(&vault, plan().options(run(2)).resume(state));
        let counts = report.counts;
        assert_eq!((counts.rekeyed, counts.malformed, counts.scanned), (10, 3, 13), "{steps}");
    }
}

/// More rows than a page names are counted all the same.
#[test]
fn every_row_counts_however_many_there_are() {
    let (store, vault) = vault(&[]);
    for number in 0..2500 {
        store.plant_unreadable(RecordId::from_stored(format!("~{number:05}")), REASON);
    }
    let report = rekey(&vault, plan().options(run(4)));
    assert_eq!((report.counts.rekeyed, report.counts.malformed), (10, 2500));
    assert_eq!(report.counts.scanned, report.counts.total());
    assert_eq!(report.problems.len(), MAX_PROBLEMS);
    let census = CensusPlan::new().options(run(4));
    let census = block_on(async { vault.census(census).await.unwrap().run().await.unwrap() });
    assert_eq!((census.scanned, census.malformed), (2510, 2500));
}

#[test]
fn a_census_counts_them_as_malformed_and_opens_the_others() {
    for page in [1, 3, 100] {
        let (_, vault) = vault(&PLACES);
        let key = Arc::new(PasswordKey::new(Password::new("old")));
        let census = CensusPlan::new().key(key).options(run(page));
        let report = block_on(async { vault.census(census).await.unwrap().run().await.unwrap() });
        assert_eq!((report.scanned, report.malformed, report.unopened), (13, 3, 0));
        assert_eq!((report.opened, report.problems.len()), (vec![10], 3));
    }
}

#[test]
fn a_copy_takes_all_others_and_is_not_complete() {
    let (store, _) = vault(&PLACES);
    let target = MemoryStore::new();
    let copy = |source: &MemoryStore, target: &MemoryStore| {
        let (source, target) = (Arc::new(source.clone()), Arc::new(target.clone()));
        let plan = CopyPlan::new().page(PageLimit::new(3, 1 << 20));
        block_on(async { CopySession::start(source, target, plan).await?.run().await })
    };
    let report = copy(&store, &target).unwrap();
    assert_eq!((report.copied, report.unreadable.count, report.is_complete()), (10, 3, false));
    assert_eq!(report.unreadable.rows.len(), 3);
    assert_eq!(block_on(target.count()).unwrap(), 10);
    // An unreadable row is no copy of anything.
    let other = MemoryStore::new();
    other.plant_unreadable(RecordId::from_stored("~"), REASON);
    block_on(other.insert(block_on(target.list(None, PageLimit::new(1, 1))).unwrap().records))
        .unwrap();
    assert!(matches!(copy(&store, &other), Err(CopyError::TargetNotEmpty)));
}
