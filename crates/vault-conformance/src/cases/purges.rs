//! The contract of purging expired records, and of updates with time preconditions.

use std::num::NonZeroUsize;

use vault_store::{
    Expected, Filter, InsertOutcome, Precondition, Purge, Query, Record, RecordId, RecordUpdate,
    SortKey, SortOrder, Timestamp, VaultStore, WriteOutcome,
};

use super::MOST_POLLS;
use crate::samples::{WIDE, fill, list_all, record, records, seconds};
use crate::{StoreUnderTest, poll_at_most};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const MANY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// Expired long ago, just now, not yet, never; soft-deleted or not.
fn shelf() -> Vec<Record> {
    let now = NOW.as_micros() / 1_000_000;
    let rows = [
        ("a", Some(1), None),
        ("b", Some(now), None),
        ("c", Some(now + 1), None),
        ("d", None, None),
        ("e", Some(5), Some(6)),
        ("f", Some(5), Some(now + 1)),
        ("g", None, Some(6)),
    ];
    rows.map(|(id, expires_at, soft_deleted_at)| Record {
        expires_at: expires_at.map(seconds),
        soft_deleted_at: soft_deleted_at.map(seconds),
        ..record(id)
    })
    .into()
}

fn ids(ids: &[&str]) -> Vec<RecordId> {
    ids.iter().map(|id| RecordId::from_stored(*id)).collect()
}

/// "Records that are expired at `now`", and no others: soft-deleted with the time, or gone.
pub async fn purging_takes_exactly_what_is_expired<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut shelf = shelf();
    fill(&store, &shelf).await;
    let hidden = store.purge_expired(Purge::SoftDelete, NOW, None, MANY).await.unwrap();
    assert_eq!(hidden, ids(&["a", "b", "f"]));
    for record in shelf.iter_mut().filter(|record| hidden.contains(&record.id)) {
        (record.soft_deleted_at, record.updated_at) = (Some(NOW), NOW);
    }
    assert_eq!(list_all(&store, WIDE).await, shelf);
    assert_eq!(store.purge_expired(Purge::SoftDelete, NOW, None, MANY).await.unwrap(), []);

    let gone = store.purge_expired(Purge::Delete, NOW, None, MANY).await.unwrap();
    assert_eq!(gone, ids(&["a", "b", "e", "f"]));
    shelf.retain(|record| !gone.contains(&record.id));
    assert_eq!(list_all(&store, WIDE).await, shelf);
    assert_eq!(store.purge_expired(Purge::Delete, NOW, None, MANY).await.unwrap(), []);
}

/// "A time before 1970 is never": no filter shows such a record as ended, no purge takes it, and a
/// change that expects "never" finds it so.
pub async fn an_end_before_1970_never_comes<S: StoreUnderTest>(subject: &S) {
    // Go's zero time, as it stands in the year 1.
    let zero = Some(seconds(-62_135_596_800));
    let store = subject.fresh().await;
    let ended = |id: &str, expires_at, soft_deleted_at| Record {
        expires_at,
        soft_deleted_at,
        ..record(id)
    };
    let (some, none) = (Some(seconds(5)), None);
    let zeros = [ended("a", zero, zero), ended("b", zero, none), ended("c", none, zero)];
    fill(&store, &zeros).await;
    fill(&store, &[ended("d", some, zero)]).await;

    let live = Query::new().expired(Filter::Exclude);
    let found = store.query(&live, NOW).await.unwrap();
    assert_eq!(crate::samples::ids(&found), ids(&["a", "b", "c"]));
    assert_eq!(store.count_matching(&live, NOW).await.unwrap(), 3);
    let by_end = Query::all().order_by(SortKey::ExpiresAt, SortOrder::Ascending);
    let found = store.query(&by_end, NOW).await.unwrap();
    assert_eq!(crate::samples::ids(&found), ids(&["d", "a", "b", "c"]));
    let rest = store.query(&by_end.after(&found[1]), NOW).await.unwrap();
    assert_eq!(crate::samples::ids(&rest), ids(&["b", "c"]));

    let hidden = store.purge_expired(Purge::SoftDelete, NOW, None, MANY).await.unwrap();
    assert_eq!(hidden, ids(&["d"]));
    assert_eq!(store.purge_expired(Purge::Delete, NOW, None, MANY).await.unwrap(), ids(&["d"]));
    assert_eq!(store.count().await.unwrap(), 3);

    for stored in list_all(&store, WIDE).await {
        assert!(!stored.is_expired(NOW) && !stored.is_soft_deleted(NOW), "{}", stored.id);
        let change = RecordUpdate::of(stored.id.clone()).updated_at(NOW);
        let as_read = change.clone().if_times_match(&stored);
        assert_eq!(store.update(as_read).await.unwrap(), WriteOutcome::Applied);
        let never = Precondition {
            expires_at: Expected::Unset,
            soft_deleted_at: Expected::Unset,
            ..Precondition::default()
        };
        let never = change.if_matches(never);
        assert_eq!(store.update(never).await.unwrap(), WriteOutcome::Applied);
    }
}

/// [`Purge::Delete`] "frees the tokens", and [`Purge::SoftDelete`] does not.
pub async fn purging_for_good_frees_the_tokens<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    fill(&store, &shelf()).await;
    let heir = |number| Record { token: record("a").token, ..record(&format!("heir {number}")) };
    store.purge_expired(Purge::SoftDelete, NOW, None, MANY).await.unwrap();
    assert_eq!(store.insert(vec![heir(1)]).await.unwrap(), [InsertOutcome::TokenTaken]);
    store.purge_expired(Purge::Delete, NOW, None, MANY).await.unwrap();
    assert_eq!(store.insert(vec![heir(2)]).await.unwrap(), [InsertOutcome::Inserted]);
    assert_eq!(store.find(&[record("a").token]).await.unwrap(), [Some(heir(2))]);
}

/// "The first ones in id order after `after`, up to `limit`."
pub async fn purging_goes_in_bounded_steps<S: StoreUnderTest>(subject: &S) {
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let store = subject.fresh().await;
        let mut records = records(25);
        for record in records.iter_mut().step_by(2) {
            record.expires_at = Some(seconds(1));
        }
        fill(&store, &records).await;
        let expired: Vec<_> = records.iter().step_by(2).map(|record| record.id.clone()).collect();

        let most = NonZeroUsize::new(4).unwrap();
        // What precedes the cursor is left unchanged.
        let mut after = Some(expired[1].clone());
        let mut purged = Vec::new();
        loop {
            let step = store.purge_expired(purge, NOW, after.as_ref(), most).await.unwrap();
            assert!(step.len() <= 4, "{} at a time", step.len());
            let Some(last) = step.last() else { break };
            after = Some(last.clone());
            purged.extend(step);
            assert!(purged.len() <= expired.len(), "purging does not end");
        }
        assert_eq!(purged, expired[2..]);
        let rest = store.purge_expired(purge, NOW, None, MANY).await.unwrap();
        assert_eq!(rest, expired[..2]);
    }
}

/// A purge is durable once its future resolves.
pub async fn purging_is_durable<S: StoreUnderTest>(subject: &S) {
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let store = subject.fresh().await;
        fill(&store, &shelf()).await;
        store.purge_expired(purge, NOW, None, MANY).await.unwrap();
        let before = list_all(&store, WIDE).await;
        let store = subject.reopen(store).await;
        assert_eq!(list_all(&store, WIDE).await, before);
        assert_eq!(store.purge_expired(purge, NOW, None, MANY).await.unwrap(), []);
    }
}

/// "Dropping a future leaves the operation either done or not done": a step of a purge.
pub async fn dropping_a_purge_leaves_it_done_or_not_done<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the purge is never ready");
        let mut expired: Vec<_> =
            (0..8).map(|n| record(&format!("dropped after {polls}, record {n}"))).collect();
        for record in &mut expired {
            record.expires_at = Some(seconds(1));
        }
        fill(&store, &expired).await;
        let purge = store.purge_expired(Purge::Delete, NOW, None, MANY);
        let ready = poll_at_most(purge, polls).await;
        store = subject.reopen(store).await;

        let left = list_all(&store, WIDE).await.len();
        assert!(left == 0 || left == 8, "{left} of 8 are left after {polls} polls");
        let tokens: Vec<_> = expired.iter().map(|record| record.token.clone()).collect();
        let found = store.find(&tokens).await.unwrap();
        assert_eq!(found.iter().flatten().count(), left);
        if let Some(purged) = ready {
            assert_eq!(purged.unwrap().len(), 8);
            assert_eq!(left, 0);
            break;
        }
        for record in &expired {
            store.delete(&record.id).await.unwrap();
        }
    }
}

/// "Updates one record if its preconditions hold: the time of expiry and the time of soft
/// deletion"; otherwise nothing changes.
pub async fn update_changes_nothing_unless_the_times_are_the_expected_ones<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    let times = [None, Some(seconds(5)), Some(seconds(6)), Some(Timestamp::MAX)];
    for (expires_at, soft_deleted_at) in times.iter().flat_map(|one| times.map(|two| (*one, two))) {
        let stored = Record { expires_at, soft_deleted_at, ..record("a") };
        fill(&store, std::slice::from_ref(&stored)).await;
        let changed = seconds(1_800_000_000);
        let change = RecordUpdate::of(stored.id.clone()).updated_at(changed);
        for time in times {
            let expiry = change.clone().if_matches(Precondition::default().expires_at(time));
            let hidden = change.clone().if_matches(Precondition::default().soft_deleted_at(time));
            for (change, fits) in [(expiry, time == expires_at), (hidden, time == soft_deleted_at)]
            {
                let outcome = store.update(change).await.unwrap();
                let applied = if fits { WriteOutcome::Applied } else { WriteOutcome::Conflict };
                assert_eq!(outcome, applied);
                let updated_at = if fits { changed } else { stored.updated_at };
                let expected = Record { updated_at, ..stored.clone() };
                assert_eq!(list_all(&store, WIDE).await, [expected]);
                let undo = RecordUpdate::of(stored.id.clone()).updated_at(stored.updated_at);
                store.update(undo.if_times_match(&stored)).await.unwrap();
                assert_eq!(list_all(&store, WIDE).await, std::slice::from_ref(&stored));
            }
        }
        store.delete(&stored.id).await.unwrap();
    }
    let unset = Precondition::default().expires_at(None);
    let nobody = RecordUpdate::of(record("b").id).if_matches(unset);
    assert_eq!(store.update(nobody).await.unwrap(), WriteOutcome::Missing);
}
