//! The bulk rekey on the store under test: the guarantees of a rekey must hold on every backend,
//! despite failures, dropped calls and concurrent writers.

mod concurrent_writers;
mod interrupted;
mod ledger;
mod random;
mod watched;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use vault_core::rekey::{MergeCheck, RekeyError, RunStatus};
use vault_core::run::{RunOptions, Timer};
use vault_core::{RekeyPlan, RekeyReport, RekeySession, Vault};
use vault_store::{EnvelopeText, PageLimit, Record, VaultStore};

use self::ledger::{Ledger, Moved, Owner};
pub use self::{
    concurrent_writers::{
        no_concurrent_write_is_lost_or_reverted_by_a_rekey,
        no_write_between_two_polls_of_a_rekey_is_lost_or_reverted,
    },
    interrupted::{
        a_dropped_rekey_loses_nothing, a_failing_store_never_loses_a_record,
        a_stopped_rekey_counts_exactly_what_was_committed,
    },
    random::random_rekeys_end_as_a_model_does,
};
use crate::StoreUnderTest;
use crate::samples::{WIDE, list_all, seconds, token};

/// In a vault with mixed records, exactly those under the old password are moved to the new one,
/// including soft-deleted and expired ones, unusual values and old costs. All others stay
/// byte-for-byte unchanged.
pub async fn a_rekey_moves_exactly_the_records_under_the_old_password<S: StoreUnderTest>(
    subject: &S,
) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    fill_with_everything(&store, &ledger).await;

    let (report, error) = rekey(Arc::clone(&store), options(7)).await.unwrap();

    assert!(error.is_none(), "{error:?}");
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.already_new, counts.other_password), (55, 20, 20));
    assert_eq!((counts.damaged, counts.malformed), (2, 3));
    assert_eq!((counts.scanned, counts.total(), report.end), (100, 100, RunStatus::Complete));
    let store = reopen(subject, store).await;
    assert_eq!(ledger.check(&*store, Moved::All).await, 75);
}

/// A second rekey finds every record of the first one under the new password, and none under the
/// old.
pub async fn a_second_rekey_finds_nothing<S: StoreUnderTest>(subject: &S) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    ledger.fill(&*store, Owner::Old, 10).await;
    ledger.fill(&*store, Owner::Foreign, 3).await;
    rekey(Arc::clone(&store), options(4)).await.unwrap();
    let store = reopen(subject, store).await;

    let (report, error) = rekey(Arc::clone(&store), options(4)).await.unwrap();

    assert!(error.is_none(), "{error:?}");
    let counts = report.counts;
    assert_eq!((counts.rekeyed, counts.already_new, counts.other_password), (0, 10, 3));
    assert_eq!((counts.scanned, counts.total()), (13, 13));
}

/// Rekeying again leaves every record as the first rekey left it, byte for byte.
pub async fn a_rekey_is_idempotent<S: StoreUnderTest>(subject: &S) {
    let store = Arc::new(subject.fresh().await);
    let ledger = Ledger::of_new_vault(&store).await;
    fill_with_everything(&store, &ledger).await;
    rekey(Arc::clone(&store), options(9)).await.unwrap();
    let once = list_all(&*store, WIDE).await;

    let store = reopen(subject, store).await;
    for page in [9, 30] {
        rekey(Arc::clone(&store), options(page)).await.unwrap();
    }
    let store = reopen(subject, store).await;
    assert_eq!(list_all(&*store, WIDE).await, once);
}

/// 100 records: 40 under the old password, 20 under the new one, 20 under another one, 5 that no
/// password opens, 5 soft-deleted, 5 expired and 5 unusual ones under the old password.
async fn fill_with_everything(store: &Arc<impl VaultStore>, ledger: &Ledger) {
    for (owner, count) in [(Owner::Old, 40), (Owner::New, 20), (Owner::Foreign, 20)] {
        ledger.fill(&**store, owner, count).await;
    }
    for number in 0..5 {
        let hidden = ledger.record(&format!("{number:04}-soft-deleted"), Owner::Old, b"hidden");
        let hidden = Record { soft_deleted_at: Some(seconds(1_700_000_200)), ..hidden };
        ledger.insert(&**store, Owner::Old, b"hidden", hidden).await;
        let expired = ledger.record(&format!("{number:04}-expired"), Owner::Old, b"expired");
        let expired = Record { expires_at: Some(seconds(1_700_000_300)), ..expired };
        ledger.insert(&**store, Owner::Old, b"expired", expired).await;
    }
    for (number, value) in [&b""[..], &[0], &vec![0xff; 1 << 20]].into_iter().enumerate() {
        let odd = ledger.record(&format!("{number:04}-odd"), Owner::Old, value);
        ledger.insert(&**store, Owner::Old, value, odd).await;
    }
    let odd_token = token("tk_\u{1f511} é %_'\";--");
    let named = ledger.record_with_token("0003-odd", odd_token, Owner::Old, b"odd token");
    ledger.insert(&**store, Owner::Old, b"odd token", named).await;
    let weak = ledger.record_of_another_cost("0004-odd", b"weak");
    ledger.insert(&**store, Owner::Old, b"weak", weak).await;
    for record in unopenable(ledger) {
        ledger.insert(&**store, Owner::Nobody, b"", record).await;
    }
}

/// Two damaged records and three that are not envelopes.
fn unopenable(ledger: &Ledger) -> [Record; 5] {
    let sealed = |id| ledger.record(id, Owner::Old, b"lost").envelope.as_bytes().unwrap().to_vec();
    let mut flipped = sealed("0002-flipped");
    flipped[140] = if flipped[140] == b'A' { b'B' } else { b'A' };
    [
        ("0002-moved", sealed("0002-elsewhere")),
        ("0002-flipped", flipped),
        ("0002-newer", b"v9:AAAA".to_vec()),
        ("0002-cut", sealed("0002-cut")[..60].to_vec()),
        ("0002-empty", Vec::new()),
    ]
    .map(|(id, text)| Record {
        envelope: EnvelopeText::from_stored(text),
        ..ledger.record(id, Owner::Old, b"")
    })
}

/// Pages of this many records.
fn options(records: usize) -> RunOptions {
    RunOptions::default()
        .workers(NonZeroUsize::MIN)
        .page_limit(PageLimit::new(records, 8 << 20))
        .timer(Arc::new(NoWait))
}

/// No time needs to pass between two attempts of a failing call.
struct NoWait;

impl Timer for NoWait {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Starts a rekey from the old password to the new one, which some records have already.
async fn begin(
    store: impl VaultStore + 'static,
    options: RunOptions,
) -> Result<RekeySession, RekeyError> {
    let plan = RekeyPlan::new()
        .pair(Owner::Old.password(), Owner::New.password())
        .merge_check(MergeCheck::Off)
        .options(options);
    Vault::new(store, ledger::options()).rekey(plan).await
}

/// Rekeys to the end, or to an error; afterwards nothing holds the store.
async fn rekey(
    store: impl VaultStore + 'static,
    options: RunOptions,
) -> Result<(RekeyReport, Option<RekeyError>), RekeyError> {
    let mut session = begin(store, options).await?;
    let error = loop {
        match session.step().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    Ok((session.report().clone(), error))
}

/// Closes and reopens the store, which requires that nothing else holds it.
async fn reopen<S: StoreUnderTest>(subject: &S, store: Arc<S::Store>) -> Arc<S::Store> {
    let store = Arc::into_inner(store).unwrap();
    Arc::new(subject.reopen(store).await)
}
