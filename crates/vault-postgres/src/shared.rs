//! The pool behind all clones of a store, the task around each call, and the transaction around each change.
//!
//! # Two nets under a dropped future
//!
//! Dropping the future of sqlx's `begin` (0.9.0) can give a connection back to the pool inside an open transaction:
//! later statements on it answer well, and are gone when the connection is closed. So every call runs in a task that nothing
//! drops, and whatever comes back to the pool is rolled back before anyone else has it. Either would do;
//! `tests/dropped_begins.rs` shows what happens with neither.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{PgConnection, PgPool, Postgres};
use tokio::{runtime::Handle, task::JoinError};
use vault_store::{StoreError, StoreErrorKind};

use crate::error::Fault;
use crate::place::Place;
use crate::statements::Statements;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) statements: Statements,
    pub(crate) place: Place,
    pub(crate) runtime: Handle,
    pub(crate) stale: Arc<Stale>,
}

/// Which connections hold prepared statements that the server does not run any more: those that were made before it last
/// said so. It refuses a statement whose result has other types than when it was prepared, as after `ALTER TABLE`, until it
/// is prepared again.
#[derive(Debug, Default)]
pub(crate) struct Stale(Mutex<Option<Instant>>);

impl Stale {
    /// All connections that there are now.
    fn all_from_before_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age is one of them.
    pub(crate) fn holds(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() <= age)
    }
}

/// How often a call is tried on a fresh connection. More than one table may be altered while it runs.
const FRESH_TRIES: usize = 3;

/// What is certain when a call's task did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It was to read: nothing was changed.
    Reads,
    /// It was to write: nobody knows.
    Writes,
}

impl Shared {
    /// Runs a call in a task of its own, which goes on when the caller does not.
    pub(crate) async fn run<T, Call>(
        self: &Arc<Self>,
        effect: Effect,
        call: impl FnOnce(Arc<Self>) -> Call + Clone,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Call: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let mut tries = 0;
        loop {
            let answer = match self.runtime.spawn(call.clone()(Arc::clone(self))).await {
                Ok(answer) => answer,
                Err(error) => return Err(self.not_ended(effect, error)),
            };
            match answer {
                // Nothing was changed, and on another connection the statement is prepared anew.
                Err(fault) if fault.is_stale_statement() && tries < FRESH_TRIES => {
                    self.stale.all_from_before_now();
                    tries += 1;
                }
                answer => return answer.map_err(|fault| fault.into_store_error(&self.place)),
            }
        }
    }

    /// A transaction that sees what others commit between its statements, which is what our statements are made for,
    /// whatever the database's default is.
    ///
    /// To be called in a task of [`Shared::run`] only.
    pub(crate) async fn begin(&self) -> Result<Transaction, Fault> {
        Ok(Transaction(self.pool.begin_with(BEGIN).await?))
    }

    fn not_ended(&self, effect: Effect, error: JoinError) -> StoreError {
        let place = &self.place;
        let error = match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => error,
        };
        let (kind, what) = match effect {
            Effect::Reads => (StoreErrorKind::Stopped, "open it again"),
            Effect::Writes => {
                (StoreErrorKind::UnknownOutcome, "the change may or may not have been made")
            }
        };
        StoreError::new(
            kind,
            format!("{place}: the tokio runtime of this store was shut down during a call; {what}"),
        )
        .with_source(error)
    }
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// One change, all or nothing. Dropped without an end, as an error does, it is rolled back.
pub(crate) struct Transaction(sqlx::Transaction<'static, Postgres>);

impl Transaction {
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub(crate) async fn commit(self) -> Result<(), Fault> {
        self.0.commit().await.map_err(Fault::in_commit)
    }

    pub(crate) async fn abort(self) -> Result<(), Fault> {
        Ok(self.0.rollback().await?)
    }
}
