//! Connecting: to inspect a database, to create a vault, and to use one.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{runtime::Handle, time};
use vault_store::{StoreError, StoreErrorKind};

use crate::around;
use crate::error::{self, Fault};
use crate::options::{Migration, PostgresOptions};
use crate::outage::{Outage, next_wait};
use crate::place::{self, Place, Server};
use crate::schema::{self, Migrated, Missing, Schema};
use crate::session::{self, Layer};
use crate::shared::{Shared, Stale};
use crate::statements::Statements;

/// Rolls back a transaction in which a connection was returned. The first statement keeps the
/// server from logging a warning each time there is none.
const ROLL_BACK: &str = "BEGIN; ROLLBACK";

/// Opens an existing vault.
pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Shared, StoreError> {
    let runtime = runtime()?;
    let Server { options: server, place, connect_timeout } = place::parse(url)?;
    let options = &within(options, connect_timeout);
    let in_words = |fault: Fault| fault.into_store_error(&place);
    let (mut connection, layer) = connect(&server, &place, options).await?;
    let schema = schema::inspect(&mut connection, options).await.map_err(in_words)?;
    let refused = refusal(&mut connection, &place, options, schema).await;
    // It has answered; how it handles the disconnect does not matter.
    let _ = connection.close().await;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let stale = Arc::new(Stale::default());
    Ok(Shared {
        pool: pool(server, options, &stale),
        stale,
        unnamed: (layer == Layer::Pooler).into(),
        outage: Outage::new(options.patience),
        statements: Statements::over(options.tables.vault(), options.tables.meta()),
        place,
        runtime,
    })
}

/// Why what is there is not opened, and what else is there.
async fn refusal(
    connection: &mut PgConnection,
    place: &Place,
    options: &PostgresOptions,
    schema: Schema,
) -> Option<StoreError> {
    Some(match schema {
        Schema::Ours => return None,
        Schema::Unfinished => error::unfinished(place, options),
        Schema::Newer(version) => error::newer_schema(place, version),
        Schema::NotATable(what) => error::not_a_table(place, what),
        Schema::Absent | Schema::Foreign | Schema::NoRecords | Schema::Damaged => {
            let around = match around::look(connection).await {
                Ok(around) => around,
                Err(fault) => return Some(fault.into_store_error(place)),
            };
            match schema {
                // Under its right name, or with no other vault to be meant, it is damaged.
                Schema::NoRecords | Schema::Damaged
                    if around.found.vaults.is_empty()
                        || around.found.vaults.contains(options.tables.vault()) =>
                {
                    error::damaged_schema(place, options)
                }
                Schema::Absent | Schema::Foreign => {
                    error::missing(place, options.tables.meta(), &around)
                }
                _ => error::missing(place, options.tables.vault(), &around),
            }
        }
    })
}

/// Creates or upgrades the tables.
pub(crate) async fn migrate(
    url: &str,
    options: &PostgresOptions,
    settings: &[(String, String)],
    missing: Missing,
) -> Result<Migration, StoreError> {
    runtime()?;
    let Server { options: server, place, connect_timeout } = place::parse(url)?;
    let options = &within(options, connect_timeout);
    let (mut connection, _) = connect(&server, &place, options).await?;
    let migrated = match schema::migrate(&mut connection, options, settings, missing).await {
        Ok(Migrated::Done(migration)) => Ok(migration),
        Ok(Migrated::Newer(version)) => Err(error::newer_schema(&place, version)),
        Ok(Migrated::Foreign) => Err(error::foreign(&place, options)),
        Ok(Migrated::NotATable(what)) => Err(error::not_a_table(&place, what)),
        Ok(Migrated::NotHere(schema)) => {
            let refused = refusal(&mut connection, &place, options, schema).await;
            Err(refused.unwrap_or_else(|| error::foreign(&place, options)))
        }
        Err(fault) => Err(fault.into_store_error(&place)),
    };
    let _ = connection.close().await;
    migrated
}

/// Creates a vault where there is none: tables and settings in one transaction.
pub(crate) async fn create(
    url: &str,
    options: &PostgresOptions,
    settings: &[(String, String)],
) -> Result<Shared, StoreError> {
    match migrate(url, options, settings, Missing::Create).await? {
        Migration::Created => open(url, options).await,
        Migration::Current => Err(error::already_there(&place::parse(url)?.place, options)),
    }
}

/// Returns the options with the timeout of the address, if it has one.
fn within(options: &PostgresOptions, connect_timeout: Option<Duration>) -> PostgresOptions {
    PostgresOptions {
        connect_timeout: connect_timeout.unwrap_or(options.connect_timeout),
        ..options.clone()
    }
}

/// The runtime that carries the calls.
fn runtime() -> Result<Handle, StoreError> {
    Handle::try_current().map_err(|error| {
        StoreError::new(
            StoreErrorKind::Unsupported,
            "a Postgres vault is opened within a tokio runtime, and there is none",
        )
        .with_source(error)
    })
}

/// Opens one connection outside of any pool: a pool would keep trying and then say only that it
/// took too long. Only a server that has no room right now, or is starting, is tried again.
async fn connect(
    server: &PgConnectOptions,
    place: &Place,
    options: &PostgresOptions,
) -> Result<(PgConnection, Layer), StoreError> {
    let outage = Outage::new(options.patience);
    let mut failed = 0;
    loop {
        match connect_once(server, place, options).await {
            Err(error) if error.kind() == StoreErrorKind::Retryable => {
                let Some(wait) = outage.wait(failed) else { return Err(error) };
                failed += 1;
                time::sleep(wait).await;
            }
            connected => return connected,
        }
    }
}

async fn connect_once(
    server: &PgConnectOptions,
    place: &Place,
    options: &PostgresOptions,
) -> Result<(PgConnection, Layer), StoreError> {
    let until = time::Instant::now() + options.connect_timeout.mul_f64(0.9);
    let connecting = async {
        let mut failed = 0;
        let (mut connection, layer) = loop {
            match session::connect(server).await {
                Err(fault) if fault.is_busy_server() && time::Instant::now() < until => {
                    time::sleep(next_wait(failed)).await;
                    failed += 1;
                }
                connected => break connected?,
            }
        };
        schema::check_encoding(&mut connection).await?;
        Ok::<_, Fault>((connection, layer))
    };
    // Looking up a host's name takes a thread of tokio's, which panics where the system starts
    // none.
    let connecting = AssertUnwindSafe(connecting).catch_unwind();
    match time::timeout(options.connect_timeout, connecting).await {
        Ok(Ok(connection)) => connection.map_err(|fault| fault.into_store_error(place)),
        Ok(Err(_panic)) => Err(vault_store::no_thread(place)),
        Err(_elapsed) => Err(error::no_answer(place, options.connect_timeout)),
    }
}

fn pool(server: PgConnectOptions, options: &PostgresOptions, stale: &Arc<Stale>) -> sqlx::PgPool {
    let stale = Arc::clone(stale);
    PgPoolOptions::new()
        .max_connections(options.max_connections.get())
        .acquire_timeout(options.connect_timeout)
        // Idle connections are eventually closed, so that an open but unused vault costs the server
        // nothing.
        .idle_timeout(Duration::from_mins(5))
        // The begin of a transaction shows whether the server is still there.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let is_stale = stale.holds(connection.age);
            Box::pin(async move { Ok(!is_stale) })
        })
        .after_release(|connection, _| {
            Box::pin(async move { connection.execute(ROLL_BACK).await.map(|_| true) })
        })
        .connect_lazy_with(server)
}
