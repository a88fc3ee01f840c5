//! Connecting: to inspect a database, to create a vault, and to use one.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::runtime::Handle;
use vault_store::{StoreError, StoreErrorKind};

use crate::address::SessionAttrs;
use crate::around;
use crate::connect::{Connected, accepts, connect};
use crate::error::{self, Fault};
use crate::options::{Migration, PostgresOptions};
use crate::outage::Outage;
use crate::place::{self, Place, Servers};
use crate::schema::{self, Migrated, Missing, Schema};
use crate::session::Layer;
use crate::shared::{Shared, Stale};
use crate::statements::Statements;
use crate::watch::Backends;

/// Rolls back a transaction in which a connection was returned. The first statement keeps the
/// server from logging a warning each time there is none.
const ROLL_BACK: &str = "BEGIN; ROLLBACK";

/// Opens an existing vault.
pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Shared, StoreError> {
    let runtime = runtime()?;
    let servers = place::parse(url)?;
    let place = &servers.place;
    let options = &within(options, servers.connect_timeout);
    let in_words = |fault: Fault| fault.into_store_error(place);
    let Connected { mut connection, layer, server } = connect(&servers, options).await?;
    let schema = schema::inspect(&mut connection, options).await.map_err(in_words)?;
    let refused = refusal(&mut connection, place, options, schema).await;
    // It has answered; how it handles the disconnect does not matter.
    let _ = connection.close().await;
    if let Some(refused) = refused {
        return Err(refused);
    }
    let (stale, backends) = (Arc::new(Stale::default()), Arc::new(Backends::default()));
    Ok(Shared {
        pool: pool(server, &servers, options, &stale, &backends),
        stale,
        unnamed: (layer == Layer::Pooler).into(),
        outage: Outage::new(options.patience),
        statements: Statements::over(options.tables.vault(), options.tables.meta()),
        servers,
        connect_timeout: options.connect_timeout,
        silence: options.silence,
        backends,
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
    let servers = place::parse(url)?;
    let place = &servers.place;
    let options = &within(options, servers.connect_timeout);
    let Connected { mut connection, .. } = connect(&servers, options).await?;
    let migrated = match schema::migrate(&mut connection, options, settings, missing).await {
        Ok(Migrated::Done(migration)) => Ok(migration),
        Ok(Migrated::Newer(version)) => Err(error::newer_schema(place, version)),
        Ok(Migrated::Foreign) => Err(error::foreign(place, options)),
        Ok(Migrated::NotATable(what)) => Err(error::not_a_table(place, what)),
        Ok(Migrated::NotHere(schema)) => {
            let refused = refusal(&mut connection, place, options, schema).await;
            Err(refused.unwrap_or_else(|| error::foreign(place, options)))
        }
        Err(fault) => Err(fault.into_store_error(place)),
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

fn pool(
    server: PgConnectOptions,
    servers: &Servers,
    options: &PostgresOptions,
    stale: &Arc<Stale>,
    backends: &Arc<Backends>,
) -> sqlx::PgPool {
    let (stale, wanted) = (Arc::clone(stale), servers.wanted);
    let backends = Arc::clone(backends);
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
        .after_connect(move |connection, _| {
            let backends = Arc::clone(&backends);
            Box::pin(async move {
                if wanted == SessionAttrs::PreferStandby || accepts(wanted, connection).await? {
                    return backends.remember(connection).await;
                }
                Err(sqlx::Error::Protocol("another server is asked for".to_owned()))
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move { connection.execute(ROLL_BACK).await.map(|_| true) })
        })
        .connect_lazy_with(server)
}
