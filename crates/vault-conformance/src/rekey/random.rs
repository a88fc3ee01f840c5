//! Random vaults under random page limits and numbers of workers.

use std::{num::NonZeroUsize, sync::Arc};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy},
    prop_oneof,
    test_runner::{Config, TestRunner},
};
use vault_core::{PageLimit, RunEnd};

use super::{
    ledger::{Ledger, Moved, Owner},
    options, rekey, reopen,
};
use crate::Subject;

/// Whatever the mixture of passwords, the sizes of the values, the limits of a page and the number of workers:
/// exactly the records under the old password are moved, and the report counts them.
///
/// How many vaults is [`Subject::histories`]; one that fails is shrunk and printed.
pub fn mixed_passwords_rekey_exactly_the_right_records<S: Subject>(subject: &S) {
    let config = Config {
        failure_persistence: None, // the printed vault is enough to repeat a failure
        ..Config::with_cases(subject.histories())
    };
    let vault = (vec((owner(), 0usize..3000), 0..20), 1usize..9, 1usize..8000, 1usize..4);
    let result = TestRunner::new(config).run(&vault, |(records, most, bytes, workers)| {
        subject.block_on(rekey_one(subject, records, PageLimit::new(most, bytes), workers));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

async fn rekey_one<S: Subject>(
    subject: &S,
    records: Vec<(Owner, usize)>,
    page: PageLimit,
    workers: usize,
) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    for (number, (owner, len)) in records.iter().enumerate() {
        let value = vec![b'v'; *len];
        let record = ledger.record(&format!("{number:02}"), *owner, &value);
        ledger.insert(&*store, *owner, &value, record).await;
    }
    let options = options(1).page_limit(page).workers(NonZeroUsize::new(workers).unwrap());

    let (report, error) = rekey(Arc::clone(&store), options.parallel_threshold(0)).await.unwrap();

    assert!(error.is_none(), "{error:?}");
    assert_eq!((report.end, report.counts.scanned), (RunEnd::Complete, records.len() as u64));
    assert_eq!(report.counts.rekeyed, ledger.count(Owner::Old));
    assert_eq!(report.counts.already_new, ledger.count(Owner::New));
    assert_eq!(report.counts.other_password, ledger.count(Owner::Foreign));
    let store = reopen(subject, store).await;
    ledger.check(&*store, Moved::All).await;
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![3 => Just(Owner::Old), 1 => Just(Owner::New), 1 => Just(Owner::Foreign)]
}
