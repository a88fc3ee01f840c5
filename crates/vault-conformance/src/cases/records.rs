//! The contract of [`VaultStore`] about records and tokens.

use vault_store::{
    Change, DeleteOutcome, InsertOutcome, Precondition, PutSetting, Record, RecordId, RecordSink,
    RecordSource, RecordUpdate, StoreErrorKind, Timestamp, VaultStore, WriteOutcome,
};

use super::{MOST_POLLS, batches::values_that_may_be_refused};
use crate::samples::{
    WIDE, envelope, fill, ids, list_all, record, records, replacement, scan, sealed, seconds, token,
};
use crate::{StoreUnderTest, poll_at_most};

/// Every field is returned as it was inserted, times to the store's resolution.
pub async fn a_record_comes_back_as_it_was_inserted<S: StoreUnderTest>(subject: &S) {
    let step = subject.time_step();
    let steps_after = |base: i64, steps| Timestamp::from_micros((base / step + steps) * step);
    let store = subject.fresh().await;
    let mut records = records(4);
    records[0].created_at = steps_after(1_700_000_000_123_456, 1);
    records[0].updated_at = steps_after(1_700_000_000_123_456, 2);
    records[0].expires_at = Some(steps_after(1_700_000_000_123_456, 3));
    records[0].soft_deleted_at = Some(steps_after(1_700_000_000_123_456, 4));
    records[1].created_at = steps_after(0, 0);
    records[1].updated_at = steps_after(0, -1);
    records[1].expires_at = Some(Timestamp::MAX);
    records[2].soft_deleted_at = Some(steps_after(0, 0));
    fill(&store, &records).await;
    assert_eq!(list_all(&store, WIDE).await, records);
    for record in records {
        assert_eq!(store.find(std::slice::from_ref(&record.token)).await.unwrap(), [Some(record)]);
    }
}

/// "One entry per id, in order" and "one entry per token, in order", including repeated and unknown
/// ones.
pub async fn one_answer_per_id_or_token_in_order<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = ["a", "b", "c"].map(record);
    records[1].soft_deleted_at = Some(seconds(1));
    records[2].expires_at = Some(seconds(1));
    fill(&store, &records).await;
    let [a, b, c] = records;
    let nobody = record("nobody");

    let asked = [&c, &nobody, &a, &c, &b];
    let tokens = asked.map(|record| record.token.clone());
    let found = store.find(&tokens).await.unwrap();
    assert_eq!(found, [Some(c.clone()), None, Some(a.clone()), Some(c.clone()), Some(b.clone())]);
    let ids = asked.map(|record| record.id.clone());
    let read = store.read_records(&ids).await.unwrap();
    assert_eq!(
        read,
        [Some(sealed(&c)), None, Some(sealed(&a)), Some(sealed(&c)), Some(sealed(&b))]
    );
    assert_eq!(store.find(&[]).await.unwrap(), []);
    assert_eq!(store.read_records(&[]).await.unwrap(), []);
}

/// "A token belongs to one record at a time, including soft-deleted and expired records."
pub async fn a_token_belongs_to_one_record_at_a_time<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut holders = ["live", "expired", "soft-deleted"].map(record);
    holders[1].expires_at = Some(seconds(1));
    holders[2].soft_deleted_at = Some(seconds(1));
    fill(&store, &holders).await;

    for holder in &holders {
        let claimant = Record { token: holder.token.clone(), ..record("claimant") };
        let outcomes = store.insert(vec![claimant]).await.unwrap();
        assert_eq!(outcomes, [InsertOutcome::TokenTaken], "the holder is {}", holder.id);
        let found = store.find(std::slice::from_ref(&holder.token)).await.unwrap();
        assert_eq!(found, [Some(holder.clone())]);
    }
    assert_eq!(list_all(&store, WIDE).await.len(), holders.len());
}

/// "A record whose token or id is taken (possibly by an earlier record of the same call) is
/// skipped; the others are stored."
pub async fn insert_leaves_out_what_is_taken_and_takes_the_others<S: StoreUnderTest>(subject: &S) {
    use InsertOutcome::{IdTaken, Inserted, TokenTaken};
    let store = subject.fresh().await;
    assert_eq!(store.insert(Vec::new()).await.unwrap(), []);
    fill(&store, &[record("there")]).await;

    let with_token = |id, holder| Record { token: record(holder).token, ..record(id) };
    let call = vec![
        record("new 1"),
        with_token("x", "there"),
        with_token("there", "free"),
        with_token("y", "new 1"),
        with_token("new 1", "also free"),
        record("new 2"),
        // What was left out took nothing.
        record("free"),
        record("x"),
    ];
    let outcomes = store.insert(call).await.unwrap();
    assert_eq!(
        outcomes,
        [Inserted, TokenTaken, IdTaken, TokenTaken, IdTaken, Inserted, Inserted, Inserted]
    );
    let expected = ["free", "new 1", "new 2", "there", "x"].map(record);
    assert_eq!(list_all(&store, WIDE).await, expected);
}

/// "On error, none is": as with a batch, a value that some backends cannot hold comes last.
pub async fn insert_is_all_or_nothing_on_error<S: StoreUnderTest>(subject: &S) {
    for odd in values_that_may_be_refused() {
        let store = subject.fresh().await;
        let mut records = records(6);
        records[5].envelope = odd;
        let answer = store.insert(records.clone()).await;
        let store = subject.reopen(store).await;
        match answer {
            Ok(outcomes) => {
                assert_eq!(outcomes, [InsertOutcome::Inserted; 6]);
                assert_eq!(list_all(&store, WIDE).await, records);
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unsupported);
                assert_eq!(store.count().await.unwrap(), 0);
                fill(&store, &records[..5]).await; // no token was left behind either
            }
        }
    }
}

/// "What it does not name stays as it is", and `Clear` removes a time.
pub async fn update_changes_only_what_it_names<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut stored = record("b");
    stored.expires_at = Some(seconds(4_000_000_000));
    fill(&store, &[record("a"), stored.clone(), record("c")]).await;

    let nothing = RecordUpdate::of(stored.id.clone());
    let changes = [
        nothing.clone(),
        nothing.clone().envelope(envelope("v3:new")),
        nothing.clone().updated_at(seconds(1_800_000_000)),
        nothing.clone().soft_deleted_at(Change::Set(seconds(1))),
        nothing.clone().expires_at(Change::Clear),
        nothing.clone().expires_at(Change::Set(seconds(2))),
        nothing.soft_deleted_at(Change::Clear),
    ];
    for change in changes {
        let outcome = store.update(change.clone()).await.unwrap();
        assert_eq!(outcome, WriteOutcome::Applied);
        apply(&change, &mut stored);
        assert_eq!(list_all(&store, WIDE).await, [record("a"), stored.clone(), record("c")]);
    }
    let nobody = RecordUpdate::of(RecordId::from_stored("nobody")).envelope(envelope("v3:x"));
    assert_eq!(store.update(nobody).await.unwrap(), WriteOutcome::Missing);
    assert_eq!(store.count().await.unwrap(), 3);
}

fn apply(change: &RecordUpdate, record: &mut Record) {
    if let Some(envelope) = &change.envelope {
        record.envelope = envelope.clone();
    }
    record.updated_at = change.updated_at.unwrap_or(record.updated_at);
    record.expires_at = change.expires_at.apply(record.expires_at);
    record.soft_deleted_at = change.soft_deleted_at.apply(record.soft_deleted_at);
}

/// "Updates one record if its preconditions hold": the envelope; otherwise nothing changes.
pub async fn update_changes_nothing_unless_the_envelope_is_the_expected_one<S: StoreUnderTest>(
    subject: &S,
) {
    let store = subject.fresh().await;
    let mut stored = record("a");
    fill(&store, std::slice::from_ref(&stored)).await;
    let change = RecordUpdate {
        if_matches: Precondition::default().envelope(envelope("v3:A")),
        envelope: Some(envelope("v3:new")),
        updated_at: Some(seconds(1_800_000_000)),
        expires_at: Change::Set(seconds(1)),
        soft_deleted_at: Change::Set(seconds(1)),
        ..RecordUpdate::of(stored.id.clone())
    };
    assert_eq!(store.update(change.clone()).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(list_all(&store, WIDE).await, std::slice::from_ref(&stored));

    let change = change.if_matches(Precondition::default().envelope(stored.envelope.clone()));
    assert_eq!(store.update(change.clone()).await.unwrap(), WriteOutcome::Applied);
    apply(&change, &mut stored);
    assert_eq!(list_all(&store, WIDE).await, std::slice::from_ref(&stored));
    assert_eq!(store.update(change).await.unwrap(), WriteOutcome::Conflict);
}

/// "Deletes one record permanently, and frees its token."
pub async fn delete_removes_for_good_and_frees_the_token<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let gone = record("gone");
    fill(&store, &[gone.clone(), record("stays")]).await;
    assert_eq!(store.delete(&gone.id).await.unwrap(), DeleteOutcome::Deleted);
    assert_eq!(store.delete(&gone.id).await.unwrap(), DeleteOutcome::Missing);

    assert_eq!(list_all(&store, WIDE).await, [record("stays")]);
    assert_eq!(scan(&store, WIDE).await, [sealed(&record("stays"))]);
    assert_eq!(store.find(std::slice::from_ref(&gone.token)).await.unwrap(), [None]);
    assert_eq!(store.read_records(std::slice::from_ref(&gone.id)).await.unwrap(), [None]);
    let outcomes = store.swap_batch([replacement(&gone, "v3:x")].into()).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Missing]);

    let heir = Record { token: gone.token.clone(), ..record("heir") };
    fill(&store, std::slice::from_ref(&heir)).await;
    fill(&store, &[Record { token: token("another token"), ..gone.clone() }]).await;
    assert_eq!(store.find(&[gone.token]).await.unwrap(), [Some(heir)]);
}

/// "Returns the number of records, including soft-deleted and expired ones."
pub async fn count_includes_soft_deleted_and_expired_records<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    assert_eq!(store.count().await.unwrap(), 0);
    let mut records = records(5);
    records[1].soft_deleted_at = Some(seconds(1));
    records[2].expires_at = Some(seconds(1));
    fill(&store, &records).await;
    assert_eq!(store.count().await.unwrap(), 5);
    store.delete(&records[1].id).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 4);
}

/// "Every operation is, once its future resolves, durable": insert, update, delete and settings.
pub async fn every_operation_is_durable<S: StoreUnderTest>(subject: &S) {
    let store = subject.fresh().await;
    let mut records = records(3);
    fill(&store, &records).await;
    let store = subject.reopen(store).await;
    assert_eq!(list_all(&store, WIDE).await, records);

    let change = RecordUpdate {
        envelope: Some(envelope("v3:new")),
        soft_deleted_at: Change::Set(seconds(1)),
        ..RecordUpdate::of(records[0].id.clone())
    };
    assert_eq!(store.update(change.clone()).await.unwrap(), WriteOutcome::Applied);
    apply(&change, &mut records[0]);
    let store = subject.reopen(store).await;
    assert_eq!(list_all(&store, WIDE).await, records);

    let gone = records.remove(1);
    assert_eq!(store.delete(&gone.id).await.unwrap(), DeleteOutcome::Deleted);
    let store = subject.reopen(store).await;
    assert_eq!(list_all(&store, WIDE).await, records);
    assert_eq!(store.find(&[gone.token]).await.unwrap(), [None]);

    store.put_setting("a", "1", PutSetting::Always).await.unwrap();
    store.put_setting("b", "2", PutSetting::IfAbsent).await.unwrap();
    let store = subject.reopen(store).await;
    let expected = [("a", "1"), ("b", "2")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(store.settings().await.unwrap(), expected);
}

/// "Dropping a future leaves the operation either done or not done": inserting several records.
pub async fn dropping_an_insert_leaves_it_done_or_not_done<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the insert is never ready");
        let records: Vec<_> =
            (0..8).map(|n| record(&format!("dropped after {polls}, record {n}"))).collect();
        let ready = poll_at_most(store.insert(records.clone()), polls).await;
        store = subject.reopen(store).await;

        let read = store.read_records(&ids(&records)).await.unwrap();
        let there = read.iter().flatten().count();
        assert!(there == 0 || there == 8, "{there} of 8 after {polls} polls");
        let tokens: Vec<_> = records.iter().map(|record| record.token.clone()).collect();
        let found = store.find(&tokens).await.unwrap();
        assert_eq!(found.iter().flatten().count(), there);
        if let Some(outcomes) = ready {
            assert_eq!(outcomes.unwrap(), [InsertOutcome::Inserted; 8]);
            assert_eq!(there, 8);
            break;
        }
        if there == 0 {
            fill(&store, &records).await; // nothing holds an id or a token
        }
    }
}

/// "Dropping a future leaves the operation either done or not done": changing every field of a
/// record.
pub async fn dropping_an_update_leaves_it_done_or_not_done<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the update is never ready");
        let before = record(&format!("dropped after {polls}"));
        fill(&store, std::slice::from_ref(&before)).await;
        let change = RecordUpdate {
            envelope: Some(envelope("v3:new")),
            updated_at: Some(seconds(1_800_000_000)),
            expires_at: Change::Set(seconds(1)),
            soft_deleted_at: Change::Set(seconds(1)),
            ..RecordUpdate::of(before.id.clone())
        };
        let ready = poll_at_most(store.update(change.clone()), polls).await;
        store = subject.reopen(store).await;

        let stored = store.find(std::slice::from_ref(&before.token)).await.unwrap();
        let mut done = before.clone();
        apply(&change, &mut done);
        let (before, done) = ([Some(before)], [Some(done)]);
        assert!(stored == before || stored == done, "a torn update after {polls} polls");
        if let Some(outcome) = ready {
            assert_eq!(outcome.unwrap(), WriteOutcome::Applied);
            assert_eq!(stored, done);
            break;
        }
    }
}

/// "Dropping a future leaves the operation either done or not done": a record and its token are
/// deleted together.
pub async fn dropping_a_delete_leaves_it_done_or_not_done<S: StoreUnderTest>(subject: &S) {
    let mut store = subject.fresh().await;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the delete is never ready");
        let record = record(&format!("dropped after {polls}"));
        fill(&store, std::slice::from_ref(&record)).await;
        let ready = poll_at_most(store.delete(&record.id), polls).await;
        store = subject.reopen(store).await;

        let read = store.read_records(std::slice::from_ref(&record.id)).await.unwrap();
        let found = store.find(std::slice::from_ref(&record.token)).await.unwrap();
        if read == [None] {
            assert_eq!(found, [None]);
            fill(&store, &[record]).await; // neither its id nor its token is taken
        } else {
            assert_eq!(found, [Some(record)]);
        }
        if let Some(outcome) = ready {
            assert_eq!(outcome.unwrap(), DeleteOutcome::Deleted);
            assert_eq!(read, [None]);
            break;
        }
    }
}
