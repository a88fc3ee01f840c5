//! A vault as its users see it, in the simplest terms: the reference of the random histories.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, Strategy},
    prop_oneof,
    sample::select,
};
use proptest_state_machine::ReferenceStateMachine;

/// The tokens that a history may choose; further ones are random.
pub(super) const NAMED: [&str; 3] = ["a", "B", "\u{e9}"];

/// A history refers to tokens by number: the chosen ones, then the random ones, then some that do
/// not exist.
const HANDLES: usize = NAMED.len() + 3;

pub(super) const PASSWORDS: [&str; 2] = ["old password", "new password"];

const VALUES: [&[u8]; 4] = [b"", b"1", b"\0\xff", b"a longer value of some thirty bytes"];
const SETTINGS: [&str; 2] = ["color", "Color"];

/// When a history starts, in seconds.
pub(super) const BEGIN: i64 = 1_700_000_000;

/// A vault as its users see it.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) now: i64,
    pub(super) records: BTreeMap<usize, Entry>,
    pub(super) settings: BTreeMap<&'static str, &'static str>,
    /// How many random tokens were created.
    pub(super) random: usize,
}

/// A record; times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: &'static [u8],
    pub(super) password: usize,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) soft_deleted_at: Option<i64>,
}

/// One operation of a user.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Lets this many seconds pass.
    Wait(i64),
    /// Closes the store and opens it again.
    Reopen,
    Create {
        value: &'static [u8],
        password: usize,
        lasts: Option<i64>,
    },
    CreateWithToken {
        handle: usize,
        value: &'static [u8],
        password: usize,
        lasts: Option<i64>,
    },
    Read {
        handle: usize,
        password: usize,
    },
    ReadOpaque {
        handle: usize,
        password: usize,
    },
    ReadMany {
        handles: Vec<usize>,
        password: usize,
    },
    Resolve {
        handles: Vec<usize>,
        password: usize,
    },
    Verify {
        handle: usize,
        password: usize,
    },
    Exists {
        handle: usize,
    },
    Update {
        handle: usize,
        value: &'static [u8],
        password: usize,
    },
    Overwrite {
        handle: usize,
        value: &'static [u8],
        password: usize,
    },
    Upsert {
        handle: usize,
        value: &'static [u8],
        password: usize,
    },
    Renew {
        handle: usize,
        lasts: Option<i64>,
    },
    Delete {
        handle: usize,
    },
    SoftDelete {
        handle: usize,
    },
    Restore {
        handle: usize,
    },
    SoftDeleteExpired,
    DeleteExpired,
    Count {
        soft_deleted: Only,
        expired: Only,
    },
    List {
        descending: bool,
        page: usize,
        soft_deleted: Only,
        expired: Only,
    },
    DeleteRecord {
        handle: usize,
    },
    SoftDeleteRecord {
        handle: usize,
    },
    ExpireRecord {
        handle: usize,
        lasts: Option<i64>,
    },
    SetSetting {
        name: &'static str,
        value: &'static str,
    },
    Setting {
        name: &'static str,
    },
    Rekey {
        old: usize,
    },
}

/// Whether records in some state are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Only {
    Without,
    With,
    Alone,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Refused(Refusal),
    Value(Vec<u8>),
    Nothing,
    Each(Vec<Answer>),
    Created,
    Updated,
    Is(bool),
    Number(u64),
    /// Tokens, by number.
    Records(Vec<usize>),
    Text(Option<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownToken,
    SoftDeleted,
    Expired,
    WrongPassword,
    TokenTaken,
    NotSoftDeleted,
    /// The record API's result for a failed precondition.
    Conflict,
}

impl Only {
    fn lets(self, is_so: bool) -> bool {
        match self {
            Self::Without => !is_so,
            Self::With => true,
            Self::Alone => is_so,
        }
    }
}

impl Entry {
    fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Model {
    /// Returns the result, and updates the model.
    pub(super) fn run(&mut self, step: &Step) -> Answer {
        self.try_run(step).unwrap_or_else(Answer::Refused)
    }

    fn try_run(&mut self, step: &Step) -> Result<Answer, Refusal> {
        let now = self.now;
        match *step {
            Step::Wait(seconds) => self.now += seconds,
            Step::Reopen => {}
            Step::Create { value, password, lasts } => {
                self.random += 1;
                self.insert(NAMED.len() + self.random - 1, value, password, lasts);
            }
            Step::CreateWithToken { handle, value, password, lasts } => {
                if self.records.contains_key(&handle) {
                    return Err(Refusal::TokenTaken);
                }
                self.insert(handle, value, password, lasts);
            }
            Step::Read { handle, password } => {
                return Ok(Answer::Value(self.open(handle, password)?.to_vec()));
            }
            Step::ReadOpaque { handle, password } => {
                let opened = self.open(handle, password);
                return Ok(opened.map_or(Answer::Nothing, |value| Answer::Value(value.to_vec())));
            }
            Step::ReadMany { ref handles, password } | Step::Resolve { ref handles, password } => {
                let read = |handle: &usize| match self.open(*handle, password) {
                    Ok(value) => Answer::Value(value.to_vec()),
                    Err(refusal) => Answer::Refused(refusal),
                };
                return Ok(Answer::Each(handles.iter().map(read).collect()));
            }
            Step::Verify { handle, password } => drop(self.open(handle, password)?),
            Step::Exists { handle } => return Ok(Answer::Is(self.live(handle).is_ok())),
            Step::Update { handle, value, password } => self.update(handle, value, password)?,
            Step::Overwrite { handle, value, password } => {
                let entry = self.live(handle)?;
                (entry.value, entry.password, entry.updated_at) = (value, password, now);
            }
            Step::Upsert { handle, value, password } => {
                if self.records.contains_key(&handle) {
                    self.update(handle, value, password)?;
                    return Ok(Answer::Updated);
                }
                self.insert(handle, value, password, None);
                return Ok(Answer::Created);
            }
            Step::Renew { handle, lasts } => {
                let entry = self.shown(handle)?;
                (entry.expires_at, entry.updated_at) = (lasts.map(|lasts| now + lasts), now);
            }
            Step::Delete { handle } | Step::DeleteRecord { handle } => {
                self.records.remove(&handle).ok_or(Refusal::UnknownToken)?;
            }
            Step::SoftDelete { handle } => {
                let entry = self.shown(handle)?;
                (entry.soft_deleted_at, entry.updated_at) = (Some(now), now);
            }
            Step::SoftDeleteRecord { handle } => {
                let entry = self.records.get_mut(&handle).ok_or(Refusal::UnknownToken)?;
                if entry.soft_deleted_at.is_some() {
                    return Err(Refusal::Conflict);
                }
                (entry.soft_deleted_at, entry.updated_at) = (Some(now), now);
            }
            Step::Restore { handle } => {
                let entry = self.records.get_mut(&handle).ok_or(Refusal::UnknownToken)?;
                entry.soft_deleted_at.take().ok_or(Refusal::NotSoftDeleted)?;
                entry.updated_at = now;
            }
            Step::SoftDeleteExpired => {
                let expired = self.records.values_mut();
                let expired = expired.filter(|e| e.is_expired(now) && e.soft_deleted_at.is_none());
                let hide = |entry: &mut Entry| {
                    (entry.soft_deleted_at, entry.updated_at) = (Some(now), now);
                };
                return Ok(Answer::Number(expired.map(hide).count() as u64));
            }
            Step::DeleteExpired => {
                let before = self.records.len();
                self.records.retain(|_, entry| !entry.is_expired(now));
                return Ok(Answer::Number((before - self.records.len()) as u64));
            }
            Step::Count { soft_deleted, expired } => {
                return Ok(Answer::Number(self.matching(soft_deleted, expired).count() as u64));
            }
            Step::List { soft_deleted, expired, .. } => {
                return Ok(Answer::Records(self.matching(soft_deleted, expired).collect()));
            }
            Step::ExpireRecord { handle, lasts } => {
                let entry = self.records.get_mut(&handle).ok_or(Refusal::UnknownToken)?;
                entry.expires_at = lasts.map(|lasts| now + lasts);
            }
            Step::SetSetting { name, value } => drop(self.settings.insert(name, value)),
            Step::Setting { name } => {
                return Ok(Answer::Text(self.settings.get(name).map(|value| (*value).to_owned())));
            }
            Step::Rekey { old } => {
                let moved = self.records.values_mut().filter(|entry| entry.password == old);
                return Ok(Answer::Number(moved.map(|e| e.password = 1 - old).count() as u64));
            }
        }
        Ok(Answer::Done)
    }

    fn insert(&mut self, handle: usize, value: &'static [u8], password: usize, lasts: Option<i64>) {
        let entry = Entry {
            value,
            password,
            created_at: self.now,
            updated_at: self.now,
            expires_at: lasts.map(|lasts| self.now + lasts),
            soft_deleted_at: None,
        };
        self.records.insert(handle, entry);
    }

    /// Returns the record, unless it is soft-deleted.
    fn shown(&mut self, handle: usize) -> Result<&mut Entry, Refusal> {
        let entry = self.records.get_mut(&handle).ok_or(Refusal::UnknownToken)?;
        if entry.soft_deleted_at.is_some() { Err(Refusal::SoftDeleted) } else { Ok(entry) }
    }

    fn live(&mut self, handle: usize) -> Result<&mut Entry, Refusal> {
        let now = self.now;
        let entry = self.shown(handle)?;
        if entry.is_expired(now) { Err(Refusal::Expired) } else { Ok(entry) }
    }

    fn open(&mut self, handle: usize, password: usize) -> Result<&'static [u8], Refusal> {
        let entry = self.live(handle)?;
        if entry.password == password { Ok(entry.value) } else { Err(Refusal::WrongPassword) }
    }

    fn update(
        &mut self,
        handle: usize,
        value: &'static [u8],
        password: usize,
    ) -> Result<(), Refusal> {
        let now = self.now;
        let entry = self.live(handle)?;
        if entry.password != password {
            return Err(Refusal::WrongPassword);
        }
        (entry.value, entry.updated_at) = (value, now);
        Ok(())
    }

    fn matching(&self, soft_deleted: Only, expired: Only) -> impl Iterator<Item = usize> {
        let now = self.now;
        self.records
            .iter()
            .filter(move |(_, entry)| soft_deleted.lets(entry.soft_deleted_at.is_some()))
            .filter(move |(_, entry)| expired.lets(entry.is_expired(now)))
            .map(|(handle, _)| *handle)
    }
}

/// The model as proptest's state machine.
pub(super) struct Machine;

impl ReferenceStateMachine for Machine {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        let (records, settings) = (BTreeMap::new(), BTreeMap::new());
        Just(Model { now: BEGIN, records, settings, random: 0 }).boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Step> {
        prop_oneof![
            8 => making(),
            8 => reading(),
            8 => changing(),
            6 => removing(),
            6 => looking(),
            4 => select(vec![0, 1, 9, 10, 20]).prop_map(Step::Wait),
            1 => Just(Step::Reopen),
            1 => (0..PASSWORDS.len()).prop_map(|old| Step::Rekey { old }),
        ]
        .boxed()
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.run(step);
        model
    }

    /// Random tokens are numbered as far as the handles go.
    fn preconditions(model: &Model, step: &Step) -> bool {
        !matches!(step, Step::Create { .. }) || NAMED.len() + model.random + 1 < HANDLES
    }
}

fn handle() -> impl Strategy<Value = usize> + Clone {
    0..HANDLES
}

fn value() -> impl Strategy<Value = &'static [u8]> {
    select(&VALUES[..])
}

fn password() -> impl Strategy<Value = usize> {
    0..PASSWORDS.len()
}

/// Seconds from now; few, so that a wait often ends exactly then; 0 is over immediately.
fn lasts() -> impl Strategy<Value = Option<i64>> {
    select(vec![None, Some(0), Some(1), Some(10), Some(30)])
}

fn making() -> impl Strategy<Value = Step> {
    // Only chosen tokens: a token that is drawn later cannot be chosen.
    let named = 0..NAMED.len();
    prop_oneof![
        1 => (value(), password(), lasts())
            .prop_map(|(value, password, lasts)| Step::Create { value, password, lasts }),
        4 => (named.clone(), value(), password(), lasts()).prop_map(
            |(handle, value, password, lasts)| Step::CreateWithToken {
                handle, value, password, lasts
            }
        ),
        2 => (named, value(), password())
            .prop_map(|(handle, value, password)| Step::Upsert { handle, value, password }),
    ]
}

fn reading() -> impl Strategy<Value = Step> {
    let one = || (handle(), password());
    let many = || (vec(handle(), 0..6), password());
    prop_oneof![
        one().prop_map(|(handle, password)| Step::Read { handle, password }),
        one().prop_map(|(handle, password)| Step::ReadOpaque { handle, password }),
        one().prop_map(|(handle, password)| Step::Verify { handle, password }),
        many().prop_map(|(handles, password)| Step::ReadMany { handles, password }),
        many().prop_map(|(handles, password)| Step::Resolve { handles, password }),
        handle().prop_map(|handle| Step::Exists { handle }),
    ]
}

fn changing() -> impl Strategy<Value = Step> {
    let new = || (handle(), value(), password());
    prop_oneof![
        new().prop_map(|(handle, value, password)| Step::Update { handle, value, password }),
        new().prop_map(|(handle, value, password)| Step::Overwrite { handle, value, password }),
        (handle(), lasts()).prop_map(|(handle, lasts)| Step::Renew { handle, lasts }),
        (handle(), lasts()).prop_map(|(handle, lasts)| Step::ExpireRecord { handle, lasts }),
    ]
}

fn removing() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => handle().prop_map(|handle| Step::Delete { handle }),
        2 => handle().prop_map(|handle| Step::SoftDelete { handle }),
        2 => handle().prop_map(|handle| Step::Restore { handle }),
        1 => handle().prop_map(|handle| Step::DeleteRecord { handle }),
        1 => handle().prop_map(|handle| Step::SoftDeleteRecord { handle }),
        1 => Just(Step::SoftDeleteExpired),
        1 => Just(Step::DeleteExpired),
    ]
}

fn looking() -> impl Strategy<Value = Step> {
    let only = || select(vec![Only::Without, Only::With, Only::Alone]);
    let list = (proptest::bool::ANY, 1usize..4, only(), only());
    prop_oneof![
        1 => (only(), only()).prop_map(|(soft_deleted, expired)| Step::Count { soft_deleted, expired }),
        2 => list.prop_map(|(descending, page, soft_deleted, expired)| Step::List {
            descending, page, soft_deleted, expired
        }),
        1 => (select(&SETTINGS[..]), select(vec!["", "red", "green"]))
            .prop_map(|(name, value)| Step::SetSetting { name, value }),
        1 => select(&SETTINGS[..]).prop_map(|name| Step::Setting { name }),
    ]
}
