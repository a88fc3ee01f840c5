//! What an operation of a vault costs its store, and what it tells: seen on the store in memory.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::SeqCst},
};

use futures::{TryStreamExt as _, executor::block_on};
use vault_conformance::{Fault, FaultPlan, FaultyStore, Intercept, Intercepted};
use vault_core::envelope::OpenPolicy;
use vault_core::password::{PasswordPolicy, PasswordPolicyViolation};
use vault_core::records::{RecordInfo, Upserted};
use vault_core::rekey::RekeyError;
use vault_core::settings::SettingsError;
use vault_core::{
    CreateOptions, InitOptions, KdfParams, Password, PasswordKey, RekeyPlan, Vault, VaultError,
    VaultOptions, WriteFormat,
};
use vault_store::{
    Clock, InsertOutcome, MemoryStore, Query, Record, RecordUpdate, SortKey, SortOrder, StoreError,
    StoreErrorKind, Timestamp, Token, VaultStore as _,
};

/// Counts the calls, and fails none.
type Counting = FaultyStore<MemoryStore>;

struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(SeqCst))
    }
}

struct World {
    store: Counting,
    clock: Arc<Hand>,
    vault: Vault,
    key: Arc<PasswordKey>,
}

fn world() -> World {
    world_with(PasswordPolicy::default())
}

fn world_with(passwords: PasswordPolicy) -> World {
    let never = FaultPlan::Nth(0);
    let store =
        FaultyStore::new(MemoryStore::new(), never, Fault::ErrorBefore(StoreErrorKind::Other));
    let clock = Arc::new(Hand(AtomicI64::new(1_000_000)));
    let options = VaultOptions::default()
        .open(OpenPolicy::trusting())
        .clock(clock.clone())
        .passwords(passwords);
    let new = InitOptions::default().cost(KdfParams::new(8, 1, 1).unwrap());
    let vault = block_on(Vault::init(store.clone(), new, options)).unwrap();
    let key = block_on(vault.derive_key(Password::new("password"))).unwrap();
    World { store, clock, vault, key }
}

impl World {
    fn create(&self, token: &str, value: &[u8], expires_at: Option<i64>) -> Token {
        let token = Token::new(token).unwrap();
        let expires_at = expires_at.map(Timestamp::from_micros);
        let made = self.vault.create_with_token(value, &self.key, token.clone(), expires_at);
        block_on(made).unwrap();
        token
    }

    /// How many calls of the store this took.
    fn calls<T>(&self, work: impl Future<Output = T>) -> (T, u64) {
        let before = self.store.calls();
        let done = block_on(work);
        (done, self.store.calls() - before)
    }
}

#[test]
fn reading_many_is_one_call_of_the_store_and_an_answer_for_each() {
    let world = world();
    let mut tokens: Vec<Token> = (0..1000)
        .map(|number| world.create(&format!("t{number}"), number.to_string().as_bytes(), None))
        .collect();
    let expired = world.create("expired", b"", Some(999_999));
    let hidden = world.create("hidden", b"", None);
    block_on(world.vault.soft_delete(&hidden)).unwrap();
    tokens.extend([expired, hidden, Token::new("unknown").unwrap(), tokens[7].clone()]);

    let (answers, calls) = world.calls(world.vault.read_many(&tokens, &world.key));
    let answers = answers.unwrap();
    assert_eq!((answers.len(), calls), (1004, 1));
    for (number, answer) in answers[..1000].iter().enumerate() {
        assert_eq!(answer.as_ref().unwrap().as_bytes(), number.to_string().as_bytes());
    }
    assert!(matches!(answers[1000], Err(VaultError::Expired)));
    assert!(matches!(answers[1001], Err(VaultError::SoftDeleted)));
    assert!(matches!(answers[1002], Err(VaultError::UnknownToken)));
    assert_eq!(answers[1003].as_ref().unwrap().as_bytes(), b"7");

    let (found, calls) = world.calls(world.vault.read(&tokens[0], &world.key));
    assert_eq!((found.unwrap().as_bytes(), calls), (&b"0"[..], 1));
}

#[test]
fn a_map_is_resolved_with_its_empty_values_and_its_losses() {
    let world = world();
    let tokens = [
        ("full", world.create("a", b"value", None)),
        ("empty", world.create("b", b"", None)),
        ("expired", world.create("c", b"x", Some(5))),
        ("unknown", Token::new("d").unwrap()),
    ];
    let (resolved, calls) = world.calls(world.vault.resolve(tokens, &world.key));
    let resolved = resolved.unwrap();
    assert_eq!(calls, 1);
    let values: Vec<_> =
        resolved.values.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    assert_eq!(values, [("empty", &b""[..]), ("full", b"value")]);
    assert_eq!(resolved.refused.len(), 2);
    assert!(matches!(resolved.refused["expired"], VaultError::Expired));
    assert!(matches!(resolved.refused["unknown"], VaultError::UnknownToken));
}

#[test]
fn what_users_see_is_one_answer_and_what_the_caller_sees_is_each_its_own() {
    let world = world();
    let (vault, key) = (&world.vault, &world.key);
    let stranger = block_on(vault.derive_key(Password::new("another"))).unwrap();
    let there = world.create("there", b"value", None);
    let expired = world.create("expired", b"value", Some(5));
    let hidden = world.create("hidden", b"value", None);
    block_on(vault.soft_delete(&hidden)).unwrap();
    let damaged = world.create("damaged", b"value", None);
    let moved = block_on(vault.records().find_by_token(&there)).unwrap().unwrap();
    let target = block_on(vault.records().find_by_token(&damaged)).unwrap().unwrap();
    let change = RecordUpdate { envelope: Some(moved.envelope), ..RecordUpdate::of(target.id) };
    block_on(vault.records().update(change)).unwrap();
    let unknown = Token::new("unknown").unwrap();

    let read = |token, key| block_on(vault.read(token, key)).unwrap_err();
    assert!(matches!(read(&there, &stranger), VaultError::WrongPassword));
    assert!(matches!(read(&expired, key), VaultError::Expired));
    assert!(matches!(read(&hidden, key), VaultError::SoftDeleted));
    assert!(matches!(read(&damaged, key), VaultError::Damaged));
    assert!(matches!(read(&unknown, key), VaultError::UnknownToken));
    for (token, key) in
        [(&there, &stranger), (&expired, key), (&hidden, key), (&damaged, key), (&unknown, key)]
    {
        assert!(block_on(vault.read_or_none(token, key)).unwrap().is_none());
        assert!(block_on(vault.verify(token, key)).is_err());
    }
    assert_eq!(block_on(vault.read_or_none(&there, key)).unwrap().unwrap().as_bytes(), b"value");
    block_on(vault.verify(&there, key)).unwrap();

    // A damaged record cannot be updated, and can be overwritten.
    assert!(matches!(block_on(vault.update(&damaged, b"", key)), Err(VaultError::Damaged)));
    block_on(vault.overwrite(&damaged, b"mended", key)).unwrap();
    assert_eq!(block_on(vault.read(&damaged, key)).unwrap().as_bytes(), b"mended");
}

/// A failing store is no answer about a record.
#[test]
fn read_opaque_does_not_hide_a_failing_store() {
    let world = world();
    let broken = FaultyStore::new(
        world.store.inner().clone(),
        FaultPlan::Every(1),
        Fault::ErrorBefore(StoreErrorKind::Stopped),
    );
    let vault = Vault::new(broken.clone(), VaultOptions::default());
    let token = Token::new("t").unwrap();
    let answer = block_on(vault.read_or_none(&token, &world.key));
    assert!(
        matches!(answer, Err(VaultError::Store(error)) if error.kind() == StoreErrorKind::Stopped)
    );
    assert!(broken.fired() >= 1);
}

#[test]
fn times_are_those_of_the_clock_that_was_passed_in() {
    let world = world();
    let (vault, key) = (&world.vault, &world.key);
    let token = world.create("t", b"value", Some(2_000_000));
    assert!(block_on(vault.exists(&token)).unwrap());
    world.clock.0.store(2_000_000, SeqCst);
    assert!(!block_on(vault.exists(&token)).unwrap());
    block_on(vault.renew(&token, Some(Timestamp::from_micros(2_000_001)))).unwrap();
    assert!(block_on(vault.exists(&token)).unwrap());
    let record = block_on(vault.records().find_by_token(&token)).unwrap().unwrap();
    assert_eq!(record.created_at.as_micros(), 1_000_000);
    assert_eq!(record.updated_at.as_micros(), 2_000_000);
    world.clock.0.store(2_000_001, SeqCst);
    assert_eq!(block_on(vault.soft_delete_expired()).unwrap(), 1);
    assert!(matches!(block_on(vault.read(&token, key)), Err(VaultError::SoftDeleted)));
    assert!(matches!(block_on(vault.renew(&token, None)), Err(VaultError::SoftDeleted)));
    let upsert = block_on(vault.upsert(&token, b"", key));
    assert!(matches!(upsert, Err(VaultError::SoftDeleted)));
}

#[test]
fn purging_a_large_vault_goes_in_steps() {
    let world = world();
    for number in 0..5000 {
        world.create(
            &format!("t{number}"),
            b"",
            Some(if number % 10 == 0 { 2_000_000 } else { 5 }),
        );
    }
    // 4,096, the other 404, and the answer that none is left.
    let (purged, calls) = world.calls(world.vault.delete_expired());
    assert_eq!((purged.unwrap(), calls), (4500, 3));
    assert_eq!(block_on(world.vault.records().count(&Query::new())).unwrap(), 500);
}

#[test]
fn a_policy_is_for_new_passwords_only() {
    let world = world_with(PasswordPolicy::nist());
    let (vault, short) = (&world.vault, &world.key);
    let refused = PasswordPolicyViolation::TooShort { least: 15 };
    let is_refused = |answer: Result<(), VaultError>| matches!(answer, Err(VaultError::PasswordPolicyViolation(why)) if why == refused);
    let token = Token::new("t").unwrap();
    assert!(is_refused(block_on(vault.create(b"", short, CreateOptions::default())).map(drop)));
    assert!(is_refused(block_on(vault.create_with_token(b"", short, token.clone(), None))));
    assert!(is_refused(block_on(vault.upsert(&token, b"", short)).map(drop)));

    // A record from before the rule is read and updated, and not taken over or rekeyed to such a
    // password.
    let old = Vault::new(world.store.clone(), VaultOptions::default().open(OpenPolicy::trusting()));
    block_on(old.create_with_token(b"old", short, token.clone(), None)).unwrap();
    assert_eq!(block_on(vault.read(&token, short)).unwrap().as_bytes(), b"old");
    block_on(vault.update(&token, b"new", short)).unwrap();
    assert_eq!(block_on(vault.upsert(&token, b"new", short)).unwrap(), Upserted::Updated);
    assert!(is_refused(block_on(vault.overwrite(&token, b"", short))));
    let plan = RekeyPlan::new().pair(Password::new("password"), Password::new("short"));
    let rekey = block_on(vault.rekey(plan)).map(drop);
    assert!(matches!(rekey, Err(RekeyError::PasswordPolicyViolation(why)) if why == refused));
    let plan =
        RekeyPlan::new().pair(Password::new("password"), Password::new("long enough for it"));
    let report = block_on(async { vault.rekey(plan).await?.run().await }).unwrap();
    assert_eq!(report.counts.rekeyed, 1);
}

#[test]
fn a_setting_takes_effect_at_once() {
    let world = world();
    let (vault, key) = (&world.vault, &world.key);
    block_on(vault.set_setting("format", "v2")).unwrap();
    let token = world.create("t", b"value", None);
    let info = |token: &Token| {
        RecordInfo::from(block_on(vault.records().find_by_token(token)).unwrap().unwrap())
    };
    assert_eq!(info(&token).format.unwrap().to_string(), WriteFormat::V2.to_string());
    for (name, value) in [("format", "v1"), ("kdf", "cheap")] {
        let refused = block_on(vault.set_setting(name, value));
        assert!(
            matches!(refused, Err(VaultError::Settings(SettingsError::Refused { .. }))),
            "{name}"
        );
    }
    block_on(vault.set_setting("format", "v3")).unwrap();
    block_on(vault.update(&token, b"value", key)).unwrap_err(); // its v2 cost is not one that is tried
    block_on(vault.overwrite(&token, b"value", key)).unwrap();
    assert_eq!(info(&token).format.unwrap().to_string(), "v3");
}

#[test]
fn a_stream_reads_page_by_page() {
    let world = world();
    for number in 0..10 {
        world.create(&format!("t{number}"), b"", None);
    }
    let query = Query::new().order_by(SortKey::Token, SortOrder::Descending).limit(4);
    let (all, calls) =
        world.calls(world.vault.records().stream(query).try_collect::<Vec<RecordInfo>>());
    let tokens: Vec<String> =
        all.unwrap().into_iter().map(|record| record.token.as_str().to_owned()).collect();
    let expected: Vec<String> = (0..10).rev().map(|number| format!("t{number}")).collect();
    assert_eq!((tokens, calls), (expected, 4));
}

/// A service spawns them on whatever thread is free.
#[test]
fn every_operation_can_be_spawned() {
    fn is_send<T: Send>(_: T) {}
    let world = world();
    let (vault, key, records) = (&world.vault, &world.key, world.vault.records());
    let token = Token::new("t").unwrap();
    let id = vault_store::RecordId::from_stored("id");
    is_send(vault.derive_key(Password::new("password")));
    is_send(vault.create(b"", key, CreateOptions::default()));
    is_send(vault.create_with_token(b"", key, token.clone(), None));
    is_send(vault.read(&token, key));
    is_send(vault.read_or_none(&token, key));
    is_send(vault.read_many(std::slice::from_ref(&token), key));
    is_send(vault.resolve([("name", token.clone())], key));
    is_send(vault.verify(&token, key));
    is_send(vault.exists(&token));
    is_send(vault.update(&token, b"", key));
    is_send(vault.overwrite(&token, b"", key));
    is_send(vault.upsert(&token, b"", key));
    is_send(vault.renew(&token, None));
    is_send(vault.delete(&token));
    is_send(vault.soft_delete(&token));
    is_send(vault.restore(&token));
    is_send(vault.soft_delete_expired());
    is_send(vault.delete_expired());
    is_send(vault.setting("name"));
    is_send(vault.set_setting("name", "value"));
    is_send(records.count(&Query::new()));
    is_send(records.list(&Query::new()));
    is_send(records.stream(Query::new()));
    is_send(records.find(&id));
    is_send(records.update(RecordUpdate::of(id.clone())));
    is_send(records.delete(&id));
    is_send(records.soft_delete(&id));
    is_send(vault.rekey(RekeyPlan::new()));
}

/// Finds every other token of the first batch taken, and may fail the second batch.
struct TakenTokens {
    inner: MemoryStore,
    batches: AtomicI64,
    second_fails: bool,
}

impl Intercept for TakenTokens {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.inner
    }

    async fn insert(&self, records: Vec<Record>) -> Result<Vec<InsertOutcome>, StoreError> {
        match self.batches.fetch_add(1, SeqCst) {
            0 => {
                let mut outcomes = Vec::new();
                for (at, record) in records.into_iter().enumerate() {
                    outcomes.push(if at % 2 == 0 {
                        self.inner.insert(vec![record]).await?[0]
                    } else {
                        InsertOutcome::TokenTaken
                    });
                }
                Ok(outcomes)
            }
            1 if self.second_fails => {
                Err(StoreError::new(StoreErrorKind::Full, "the disk is full"))
            }
            _ => self.inner.insert(records).await,
        }
    }
}

#[test]
fn taken_tokens_of_a_batch_are_drawn_again_and_a_failure_leaves_no_record() {
    for second_fails in [false, true] {
        let inner = MemoryStore::new();
        let batches = AtomicI64::new(0);
        let taken = TakenTokens { inner: inner.clone(), batches, second_fails };
        let (new, options) =
            (InitOptions::insecure_for_tests(), VaultOptions::insecure_for_tests());
        let vault = block_on(Vault::init(Intercepted(taken), new, options)).unwrap();
        let key = block_on(vault.derive_key(Password::new("password"))).unwrap();
        let values = ["0", "1", "2", "3", "4"];
        let created = block_on(vault.create_many(&values, &key, CreateOptions::default()));
        if second_fails {
            let error = created.unwrap_err();
            assert!(
                matches!(&error, VaultError::Store(error) if error.kind() == StoreErrorKind::Full)
            );
            assert_eq!(block_on(inner.count()).unwrap(), 0);
        } else {
            for (token, value) in created.unwrap().iter().zip(values) {
                assert_eq!(block_on(vault.read(token, &key)).unwrap().as_bytes(), value.as_bytes());
            }
            assert_eq!(block_on(inner.count()).unwrap(), 5);
        }
    }
}
