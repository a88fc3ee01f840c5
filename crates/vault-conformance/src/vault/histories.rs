//! Random histories of every operation of a vault, compared with the model after each step.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering::SeqCst},
};

use futures::TryStreamExt as _;
use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::ReferenceStateMachine as _;
use vault_core::records::{RecordInfo, Upserted};
use vault_core::rekey::MergeCheck;
use vault_core::run::RunOptions;
use vault_core::{CreateOptions, Password, PasswordKey, Plaintext, RekeyPlan, Vault, VaultError};
use vault_store::{
    DeleteOutcome, Filter, Query, RecordId, RecordUpdate, SortKey, SortOrder, Timestamp, Token,
    WriteOutcome,
};

use super::{
    SetClock, key,
    model::{Answer, BEGIN, Entry, Machine, Model, NAMED, Only, PASSWORDS, Refusal, Step},
    new_vault, options,
};
use crate::StoreUnderTest;
use crate::samples::seconds;

/// Random histories of every operation of a [`Vault`] return the results of a model, and after each
/// step every record is as in the model: times, value and password.
///
/// [`StoreUnderTest::histories`] says how many; one that fails is shrunk and printed.
pub fn random_histories_of_a_vault_agree_with_a_model<S: StoreUnderTest>(subject: &S) {
    let config = Config {
        failure_persistence: None, // the printed history is enough to repeat a failure
        ..Config::with_cases(subject.histories())
    };
    let histories = Machine::sequential_strategy(1..30);
    let result = TestRunner::new(config).run(&histories, |(mut model, steps, seen)| {
        subject.block_on(async {
            let mut user = User::of_new_vault(subject).await;
            for step in steps {
                if let Some(seen) = &seen {
                    seen.fetch_add(1, SeqCst);
                }
                let expected = model.run(&step);
                let answer = user.run(&step).await;
                assert_eq!(answer, expected, "{step:?}");
                user.check(&model).await;
            }
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// The user of the vault under test.
struct User<'s, S: StoreUnderTest> {
    subject: &'s S,
    store: Option<Arc<S::Store>>,
    vault: Option<Vault>,
    clock: Arc<SetClock>,
    now: i64,
    keys: Vec<Arc<PasswordKey>>,
    /// Tokens by their numbers.
    tokens: Vec<Token>,
}

impl<'s, S: StoreUnderTest> User<'s, S> {
    async fn of_new_vault(subject: &'s S) -> Self {
        let clock = Arc::new(SetClock::at(BEGIN));
        let store = Arc::new(subject.fresh().await);
        let vault = new_vault(Arc::clone(&store), &clock).await;
        let mut keys = Vec::new();
        for password in PASSWORDS {
            keys.push(key(&vault, password).await);
        }
        let tokens = NAMED.map(|name| Token::new(name).unwrap()).into();
        let (store, vault) = (Some(store), Some(vault));
        Self { subject, store, vault, clock, now: BEGIN, keys, tokens }
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn token(&self, handle: usize) -> Token {
        self.tokens.get(handle).cloned().unwrap_or_else(|| Token::new("nobody's").unwrap())
    }

    fn tokens(&self, handles: &[usize]) -> Vec<Token> {
        handles.iter().map(|handle| self.token(*handle)).collect()
    }

    fn in_seconds(&self, lasts: Option<i64>) -> Option<Timestamp> {
        lasts.map(|lasts| seconds(self.now + lasts))
    }

    /// The id of a record, or one that does not exist.
    async fn id(&self, handle: usize) -> RecordId {
        let record = self.vault().records().find_by_token(&self.token(handle)).await.unwrap();
        record.map_or_else(|| RecordId::from_stored("nobody's"), |record| record.id)
    }

    async fn run(&mut self, step: &Step) -> Answer {
        match step {
            Step::Wait(seconds) => {
                self.now += seconds;
                self.clock.set(self.now);
                Answer::Done
            }
            Step::Reopen => self.reopen().await,
            Step::Create { value, password, lasts } => {
                let options = CreateOptions::default().expires_at(self.in_seconds(*lasts));
                let token = self.vault().create(value, &self.keys[*password], options).await;
                self.tokens.push(token.unwrap());
                Answer::Done
            }
            step => self.act(step).await.unwrap_or_else(refusal),
        }
    }

    /// Operations that change nothing but the vault.
    async fn act(&self, step: &Step) -> Result<Answer, VaultError> {
        let vault = self.vault();
        let key = |password: &usize| &self.keys[*password];
        match step {
            Step::CreateWithToken { handle, value, password, lasts } => {
                let (token, expires_at) = (self.token(*handle), self.in_seconds(*lasts));
                vault.create_with_token(value, key(password), token, expires_at).await?;
            }
            Step::Read { handle, password } => {
                let read = vault.read(&self.token(*handle), key(password)).await?;
                return Ok(value(&read));
            }
            Step::ReadOpaque { handle, password } => {
                let read = vault.read_or_none(&self.token(*handle), key(password)).await?;
                return Ok(read.as_ref().map_or(Answer::Nothing, value));
            }
            Step::ReadMany { handles, password } => {
                let answers = vault.read_many(&self.tokens(handles), key(password)).await?;
                return Ok(Answer::Each(answers.into_iter().map(value_or_refusal).collect()));
            }
            Step::Resolve { handles, password } => return self.resolve(handles, *password).await,
            Step::Verify { handle, password } => {
                vault.verify(&self.token(*handle), key(password)).await?;
            }
            Step::Exists { handle } => {
                return Ok(Answer::Is(vault.exists(&self.token(*handle)).await?));
            }
            Step::Update { handle, value, password } => {
                vault.update(&self.token(*handle), value, key(password)).await?;
            }
            Step::Overwrite { handle, value, password } => {
                vault.overwrite(&self.token(*handle), value, key(password)).await?;
            }
            Step::Upsert { handle, value, password } => {
                return Ok(
                    match vault.upsert(&self.token(*handle), value, key(password)).await? {
                        Upserted::Created => Answer::Created,
                        Upserted::Updated => Answer::Updated,
                    },
                );
            }
            Step::Renew { handle, lasts } => {
                vault.renew(&self.token(*handle), self.in_seconds(*lasts)).await?;
            }
            Step::Delete { handle } => vault.delete(&self.token(*handle)).await?,
            Step::SoftDelete { handle } => vault.soft_delete(&self.token(*handle)).await?,
            Step::Restore { handle } => vault.restore(&self.token(*handle)).await?,
            Step::SoftDeleteExpired => {
                return Ok(Answer::Number(vault.soft_delete_expired().await?));
            }
            Step::DeleteExpired => return Ok(Answer::Number(vault.delete_expired().await?)),
            Step::SetSetting { name, value } => vault.set_setting(name, value).await?,
            Step::Setting { name } => return Ok(Answer::Text(vault.setting(name).await?)),
            Step::Rekey { old } => return Ok(self.rekey(*old).await),
            step => return self.act_on_records(step).await,
        }
        Ok(Answer::Done)
    }

    /// The record API.
    async fn act_on_records(&self, step: &Step) -> Result<Answer, VaultError> {
        let records = self.vault().records();
        let outcome = match step {
            Step::Count { soft_deleted, expired } => {
                let query = query(*soft_deleted, *expired);
                return Ok(Answer::Number(records.count(&query).await?));
            }
            Step::List { descending, page, soft_deleted, expired } => {
                let direction =
                    if *descending { SortOrder::Descending } else { SortOrder::Ascending };
                let query =
                    query(*soft_deleted, *expired).order_by(SortKey::Token, direction).limit(*page);
                let mut all: Vec<RecordInfo> = records.stream(query).try_collect().await?;
                if *descending {
                    all.reverse();
                }
                assert!(all.is_sorted_by_key(|record| record.token.as_str().to_owned()));
                return Ok(Answer::Records(self.handles(&all)));
            }
            Step::DeleteRecord { handle } => {
                return Ok(match records.delete(&self.id(*handle).await).await? {
                    DeleteOutcome::Deleted => Answer::Done,
                    DeleteOutcome::Missing => Answer::Refused(Refusal::UnknownToken),
                });
            }
            Step::SoftDeleteRecord { handle } => {
                records.soft_delete(&self.id(*handle).await).await?
            }
            Step::ExpireRecord { handle, lasts } => {
                let change = RecordUpdate::of(self.id(*handle).await);
                records.update(change.expires_at(self.in_seconds(*lasts))).await?
            }
            step => panic!("{step:?} is no step of the record API"),
        };
        Ok(match outcome {
            WriteOutcome::Applied => Answer::Done,
            WriteOutcome::Conflict => Answer::Refused(Refusal::Conflict),
            WriteOutcome::Missing => Answer::Refused(Refusal::UnknownToken),
        })
    }

    async fn resolve(&self, handles: &[usize], password: usize) -> Result<Answer, VaultError> {
        let named = self.tokens(handles).into_iter().enumerate();
        let resolved = self.vault().resolve(named, &self.keys[password]).await?;
        let mut answers: BTreeMap<usize, Answer> =
            resolved.values.iter().map(|(name, found)| (*name, value(found))).collect();
        answers.extend(resolved.refused.into_iter().map(|(name, why)| (name, refusal(why))));
        Ok(Answer::Each(answers.into_values().collect()))
    }

    async fn rekey(&self, old: usize) -> Answer {
        let password = |number: usize| Password::new(PASSWORDS[number]);
        let options = RunOptions::default().workers(NonZeroUsize::MIN);
        let plan = RekeyPlan::new()
            .pair(password(old), password(1 - old))
            .merge_check(MergeCheck::Off) // the model says which records meet
            .options(options);
        let report = self.vault().rekey(plan).await.unwrap().run().await.unwrap();
        Answer::Number(report.counts.rekeyed)
    }

    /// Closing requires that nothing else holds the store.
    async fn reopen(&mut self) -> Answer {
        drop(self.vault.take());
        let store = Arc::into_inner(self.store.take().unwrap()).unwrap();
        let store = Arc::new(self.subject.reopen(store).await);
        self.vault = Some(Vault::new(Arc::clone(&store), options(&self.clock)));
        self.store = Some(store);
        Answer::Done
    }

    /// Every record is as in the model, and there is no other one.
    async fn check(&self, model: &Model) {
        let stream = self.vault().records().stream(Query::all());
        let all: Vec<RecordInfo> = stream.try_collect().await.unwrap();
        assert_eq!(self.handles(&all), model.records.keys().copied().collect::<Vec<_>>());
        for record in all {
            let handle = self.tokens.iter().position(|token| *token == record.token).unwrap();
            let Entry { value, password, .. } = &model.records[&handle];
            let times = |entry: &Entry| {
                let Entry { created_at, updated_at, expires_at, soft_deleted_at, .. } = entry;
                (*created_at, *updated_at, *expires_at, *soft_deleted_at)
            };
            let in_seconds = |time: Timestamp| time.as_micros() / 1_000_000;
            let stored = (
                in_seconds(record.created_at),
                in_seconds(record.updated_at),
                record.expires_at.map(in_seconds),
                record.soft_deleted_at.map(in_seconds),
            );
            assert_eq!(stored, times(&model.records[&handle]), "token {handle}");
            match self.vault().read(&record.token, &self.keys[*password]).await {
                Ok(read) => assert_eq!(read.as_bytes(), *value, "token {handle}"),
                Err(VaultError::SoftDeleted | VaultError::Expired) => {}
                Err(error) => panic!("token {handle}: {error:?}"),
            }
        }
    }

    fn handles(&self, records: &[RecordInfo]) -> Vec<usize> {
        let number =
            |record: &RecordInfo| self.tokens.iter().position(|token| *token == record.token);
        let mut handles: Vec<usize> =
            records.iter().map(|record| number(record).unwrap()).collect();
        handles.sort_unstable();
        handles
    }
}

fn query(soft_deleted: Only, expired: Only) -> Query {
    let include = |only| match only {
        Only::Without => Filter::Exclude,
        Only::With => Filter::Include,
        Only::Alone => Filter::Only,
    };
    Query::new().soft_deleted(include(soft_deleted)).expired(include(expired))
}

fn value(value: &Plaintext) -> Answer {
    Answer::Value(value.as_bytes().to_vec())
}

fn value_or_refusal(answer: Result<Plaintext, VaultError>) -> Answer {
    answer.map_or_else(refusal, |found| value(&found))
}

fn refusal(error: VaultError) -> Answer {
    Answer::Refused(match error {
        VaultError::UnknownToken => Refusal::UnknownToken,
        VaultError::SoftDeleted => Refusal::SoftDeleted,
        VaultError::Expired => Refusal::Expired,
        VaultError::WrongPassword => Refusal::WrongPassword,
        VaultError::TokenTaken => Refusal::TokenTaken,
        VaultError::NotSoftDeleted => Refusal::NotSoftDeleted,
        error => panic!("{error:?}"),
    })
}
