//! The connection pool shared by all clones of a store, the task around each call, and the
//! transaction around each change.
//!
//! # Two safeguards against dropped futures
//!
//! Dropping the future of sqlx's `begin` (0.9.0) can return a connection to the pool inside an open
//! transaction: later statements on it succeed, and are lost when the connection is closed. So
//! every call runs in a task that is never dropped, and every connection that returns to the pool
//! is rolled back before it is reused. Either would suffice; `tests/dropped_begins.rs` shows what
//! happens with neither.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::future::{Either, select};
use sqlx::{Connection as _, PgPool, Postgres, postgres::PgArguments, query::Query};
use tokio::{runtime::Handle, task::JoinError, time};
use vault_store::{StoreError, StoreErrorKind};

use crate::connect::{Connected, choose};
use crate::error::{Effect, Fault};
use crate::outage::Outage;
use crate::place::{Place, Servers};
use crate::session::{Layer, READ, WRITE};
use crate::sqlstate::lost_connection;
use crate::statements::{Statement, Statements};
use crate::transaction::Transaction;
use crate::watch::Backends;

/// An open vault.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    pub(crate) statements: Statements,
    pub(crate) servers: Servers,
    pub(crate) connect_timeout: Duration,
    pub(crate) silence: Duration,
    pub(crate) backends: Arc<Backends>,
    pub(crate) runtime: Handle,
    pub(crate) stale: Arc<Stale>,
    /// Whether statements get no names, as behind a pooler.
    pub(crate) unnamed: AtomicBool,
    pub(crate) outage: Outage,
}

/// Which connections hold prepared statements that the server no longer runs: those opened before
/// it last said so. After `ALTER TABLE`, for example, it rejects a statement whose result types
/// have changed until it is prepared again.
#[derive(Debug, Default)]
pub(crate) struct Stale(Mutex<Option<Instant>>);

impl Stale {
    /// Marks all current connections.
    fn all_from_before_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns whether a connection of this age is one of them.
    pub(crate) fn holds(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() <= age)
    }
}

/// How often a call is tried on a fresh connection. More than one table may be altered while it
/// runs.
const FRESH_TRIES: usize = 3;

impl Shared {
    /// Runs a call in a separate task, which continues if the caller does not.
    pub(crate) async fn run<T, Call>(
        self: &Arc<Self>,
        effect: Effect,
        call: impl FnOnce(Arc<Self>) -> Call + Clone,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Call: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let (mut prepared, mut failed) = (0, 0);
        loop {
            let call = Arc::clone(self).watched(effect, call.clone()(Arc::clone(self)));
            let answer = match self.runtime.spawn(call).await {
                Ok(answer) => answer,
                Err(error) => return Err(self.not_ended(effect, error)),
            };
            match answer {
                // Nothing was changed, and another connection prepares the statement again.
                Err(fault) if fault.is_stale_statement() && prepared < FRESH_TRIES => {
                    self.stale.all_from_before_now();
                    prepared += 1;
                }
                // Behind a pooler that was not recognized.
                Err(fault) if fault.is_mixed_up() && !self.unnamed.swap(true, Relaxed) => {
                    self.stale.all_from_before_now();
                }
                Ok(value) => {
                    self.outage.ends();
                    return Ok(value);
                }
                Err(fault) => {
                    if fault.is_read_only() {
                        // This server was the primary when the connection was opened.
                        self.stale.all_from_before_now();
                    }
                    if fault.asks_for_another_server() && self.servers.all.len() > 1 {
                        let this = Arc::clone(self);
                        let _ = self.runtime.spawn(async move { this.choose_again().await }).await;
                    }
                    let error = fault.into_store_error(self.place());
                    let wait = match error.kind() {
                        StoreErrorKind::Retryable => self.outage.wait(failed),
                        _ => None,
                    };
                    let Some(wait) = wait else { return Err(error) };
                    failed += 1;
                    // Any executor may wait for this, and the runtime has the timer.
                    if self.runtime.spawn(time::sleep(wait)).await.is_err() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// A call that ends when the server is not there any more.
    async fn watched<T>(
        self: Arc<Self>,
        effect: Effect,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        if effect == Effect::Maintains {
            return call.await;
        }
        let mut call = pin!(call);
        loop {
            if let Ok(answer) = time::timeout(self.silence, &mut call).await {
                return answer;
            }
            let (server, is_pooler) = (self.pool.connect_options(), !self.names_statements());
            let gone = pin!(self.backends.are_gone(&server, self.connect_timeout, is_pooler));
            match select(call.as_mut(), gone).await {
                Either::Left((answer, _)) => return answer,
                Either::Right((true, _)) => return Err(Fault::Silent(effect, self.silence)),
                Either::Right((false, _)) => {}
            }
        }
    }

    /// The servers as errors name them.
    pub(crate) fn place(&self) -> &Place {
        &self.servers.place
    }

    /// Uses the first server that will do now, if there is one. Call this only in a task.
    async fn choose_again(&self) {
        let Ok(connected) = choose(&self.servers, self.connect_timeout).await else { return };
        let Connected { connection, layer, server } = connected;
        self.pool.set_connect_options(server);
        self.unnamed.store(layer == Layer::Pooler, Relaxed);
        self.stale.all_from_before_now();
        // It has answered; how it handles the disconnect does not matter.
        let _ = connection.close().await;
    }

    /// A statement, with a name that stays with the connection where nothing is in between.
    pub(crate) fn query<'q>(&self, statement: &Statement) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(statement.sql()).persistent(self.names_statements())
    }

    /// Returns whether statements get names.
    pub(crate) fn names_statements(&self) -> bool {
        !self.unnamed.load(Relaxed)
    }

    /// Starts a transaction for reading, which ends when it is dropped.
    ///
    /// Call this only in a task of [`Shared::run`].
    pub(crate) async fn read(&self) -> Result<Transaction, Fault> {
        self.begin_with(READ).await
    }

    /// Starts a transaction for a change.
    ///
    /// Call this only in a task of [`Shared::run`].
    pub(crate) async fn begin(&self) -> Result<Transaction, Fault> {
        self.begin_with(WRITE).await
    }

    /// Connections are not tested before they are used: that would be one more round trip. If the
    /// server has closed one in the meantime, it has closed them all, and a fresh one is tried.
    async fn begin_with(&self, statement: &'static str) -> Result<Transaction, Fault> {
        let begin = || Transaction::begin(&self.pool, statement, self.connect_timeout);
        match begin().await {
            Err(error) if lost_connection(&error) => {
                self.stale.all_from_before_now();
                Ok(begin().await?)
            }
            transaction => Ok(transaction?),
        }
    }

    fn not_ended(&self, effect: Effect, error: JoinError) -> StoreError {
        let place = self.place();
        // Its message may quote anything, so it is not shown.
        let why = if error.is_panic() {
            "the database's driver ran into an internal error"
        } else {
            "the tokio runtime of this store was shut down during a call"
        };
        let (kind, what) = match effect {
            Effect::Reads => (StoreErrorKind::Stopped, "open it again"),
            Effect::Writes | Effect::Maintains => {
                (StoreErrorKind::UnknownOutcome, "the change may or may not have been made")
            }
        };
        StoreError::new(kind, format!("{place}: {why}; {what}")).with_source(error)
    }
}
