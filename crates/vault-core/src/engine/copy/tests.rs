//! A copy is complete or reports what is missing, and never overwrites.

use futures::{executor::block_on, future::BoxFuture};

use super::*;
use vault_store::{EnvelopeText, MemoryStore, Timestamp, Token};

fn record(number: u32) -> Record {
    let time = Timestamp::from_micros(i64::from(number) * 1_000_001);
    Record {
        id: RecordId::from_stored(format!("id {number:04}")),
        token: Token::new(format!("token {number}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("v3:{number}").into_bytes()),
        created_at: time,
        updated_at: time,
        expires_at: number.is_multiple_of(3).then_some(time),
        soft_deleted_at: number.is_multiple_of(5).then_some(time),
    }
}

fn store_of(numbers: impl IntoIterator<Item = u32>) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    block_on(store.insert(numbers.into_iter().map(record).collect())).unwrap();
    Arc::new(store)
}

fn all(store: &MemoryStore) -> Vec<Record> {
    block_on(store.list(None, PageLimit::new(usize::MAX, usize::MAX))).unwrap().records
}

struct NoWait;

impl Timer for NoWait {
    fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

fn plan() -> CopyPlan {
    CopyPlan::new().page(PageLimit::new(7, 1 << 20)).timer(Arc::new(NoWait))
}

fn copy(
    source: &Arc<MemoryStore>,
    target: &Arc<MemoryStore>,
    plan: CopyPlan,
) -> Result<CopyReport, CopyError> {
    let (source, target): (Arc<dyn VaultStore>, Arc<dyn VaultStore>) =
        (source.clone(), target.clone());
    block_on(async { CopySession::start(source, target, plan).await?.run().await })
}

#[test]
fn everything_arrives_as_it_was_settings_included() {
    let (source, target) = (store_of(0..100), store_of([]));
    block_on(source.put_setting("kdf", "salt and cost", PutSetting::Always)).unwrap();
    let report = copy(&source, &target, plan()).unwrap();
    assert_eq!((report.copied, report.is_complete()), (100, true));
    assert_eq!(report.verified.unwrap().same, 100);
    assert_eq!(all(&target), all(&source));
    assert_eq!(block_on(target.setting("kdf")).unwrap().as_deref(), Some("salt and cost"));
}

#[test]
fn an_empty_vault_is_copied_too() {
    let report = copy(&store_of([]), &store_of([]), plan()).unwrap();
    assert!(report.is_complete());
}

#[test]
fn a_copy_that_was_broken_off_anywhere_is_resumed_by_starting_again() {
    let source = store_of(0..50);
    for steps in 0.. {
        let target = store_of([]);
        let stores: (Arc<dyn VaultStore>, Arc<dyn VaultStore>) = (source.clone(), target.clone());
        let ended = block_on(async {
            let mut session = CopySession::start(stores.0, stores.1, plan()).await.unwrap();
            for _ in 0..steps {
                session.step().await.unwrap();
            }
            session.step().await.unwrap().is_none()
        });
        let before = all(&target).len() as u64;
        let report = copy(&source, &target, plan()).unwrap();
        assert_eq!((report.already_there, report.copied), (before, 50 - before));
        assert!(report.is_complete());
        assert_eq!(all(&target), all(&source));
        if ended {
            assert!(steps > 10, "nothing was broken off");
            return;
        }
    }
}

#[test]
fn a_target_with_records_of_its_own_is_refused_and_untouched() {
    let source = store_of(0..50);
    let foreign = store_of([3, 70]);
    let mut changed = record(3);
    changed.envelope = EnvelopeText::from_stored(b"v3:other".to_vec());
    let differs = store_of([]);
    block_on(differs.insert(vec![changed])).unwrap();
    for target in [foreign, differs] {
        let before = all(&target);
        assert!(matches!(copy(&source, &target, plan()), Err(CopyError::TargetNotEmpty)));
        assert_eq!(all(&target), before);
    }
}

#[test]
fn a_merge_overwrites_nothing_and_reports_what_it_left_out() {
    let source = store_of(0..20);
    block_on(source.put_setting("format", "v3", PutSetting::Always)).unwrap();
    let target = store_of([100]);
    block_on(target.put_setting("format", "v2", PutSetting::Always)).unwrap();
    let mut same_token = record(4);
    same_token.id = RecordId::from_stored("another id");
    let mut same_id = record(5);
    same_id.envelope = EnvelopeText::from_stored(b"v3:other".to_vec());
    block_on(target.insert(vec![same_token.clone(), same_id.clone()])).unwrap();

    let report = copy(&source, &target, plan().into(OnExisting::Existing)).unwrap();
    assert_eq!((report.copied, report.already_there), (18, 1));
    assert_eq!(report.tokens_taken.ids, [record(4).id]);
    assert_eq!(report.settings_kept, ["format"]);
    let verified = report.verified.clone().unwrap();
    assert_eq!((verified.same, verified.only_in_target), (18, 2));
    assert_eq!(verified.different.ids, [record(5).id]);
    assert_eq!(verified.missing.ids, [record(4).id]);
    assert!(!report.is_complete());
    assert!(all(&target).contains(&same_token) && all(&target).contains(&same_id));
}

#[test]
fn an_envelope_too_long_to_load_is_left_out_and_told() {
    let source = store_of(0..3);
    let mut long = record(3);
    long.envelope = EnvelopeText::from_stored(vec![b'A'; vault_store::MAX_ENVELOPE_LEN + 1]);
    assert_eq!(long.envelope.as_bytes(), None);
    block_on(source.insert(vec![long])).unwrap();
    let report = copy(&source, &store_of([]), plan()).unwrap();
    assert_eq!((report.copied, report.refused.count, report.is_complete()), (3, 1, false));
}
