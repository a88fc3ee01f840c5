//! Connecting: to look at what is there, to make a vault, and to use one.

use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{runtime::Handle, time};
use vault_store::{StoreError, StoreErrorKind};

use crate::error::{self, Fault};
use crate::options::{Migration, PostgresOptions};
use crate::place::{self, Place};
use crate::schema::{self, Schema};
use crate::shared::Shared;
use crate::statements::Statements;

/// A commit is durable when it is answered, also where the database or the role has relaxed that. `remote_apply`
/// promises even more and is left.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') <> 'remote_apply'";

/// Ends a transaction that a connection was given back in. The first word keeps the server from logging a warning each
/// time there is none.
const ROLL_BACK: &str = "BEGIN; ROLLBACK";

/// Opens the vault that is there.
pub(crate) async fn open(url: &str, options: &PostgresOptions) -> Result<Shared, StoreError> {
    let runtime = runtime()?;
    let (server, place) = place::parse(url)?;
    let in_words = |fault: Fault| fault.into_store_error(&place);
    let mut connection = connect(&server, &place, options).await?;
    let schema = schema::inspect(&mut connection, options).await.map_err(in_words)?;
    // It has answered; how it takes the farewell changes nothing.
    let _ = connection.close().await;
    match schema {
        Schema::Ours => Ok(Shared {
            pool: pool(server, options),
            statements: Statements::over(options.tables.vault(), options.tables.meta()),
            place,
            runtime,
        }),
        Schema::Unfinished => Err(error::unfinished(&place, options)),
        Schema::Newer(version) => Err(error::newer_schema(&place, version)),
        Schema::Absent => Err(error::absent(&place, options)),
        Schema::Foreign => Err(error::foreign(&place, options)),
        Schema::Damaged => Err(error::damaged_schema(&place, options)),
    }
}

/// Makes or upgrades the tables.
pub(crate) async fn migrate(url: &str, options: &PostgresOptions) -> Result<Migration, StoreError> {
    runtime()?;
    let (server, place) = place::parse(url)?;
    let mut connection = connect(&server, &place, options).await?;
    let migrated = schema::migrate(&mut connection, options).await;
    let _ = connection.close().await;
    match migrated.map_err(|fault| fault.into_store_error(&place))? {
        schema::MigrationReport::Done(migration) => Ok(migration),
        schema::MigrationReport::Newer(version) => Err(error::newer_schema(&place, version)),
        schema::MigrationReport::Foreign => Err(error::foreign(&place, options)),
    }
}

/// Makes a vault where there is none.
pub(crate) async fn create(url: &str, options: &PostgresOptions) -> Result<Shared, StoreError> {
    match migrate(url, options).await? {
        Migration::Created => open(url, options).await,
        Migration::Current => {
            let (_, place) = place::parse(url)?;
            Err(error::already_there(&place, options))
        }
    }
}

/// What carries the calls.
fn runtime() -> Result<Handle, StoreError> {
    Handle::try_current().map_err(|error| {
        StoreError::new(
            StoreErrorKind::Unsupported,
            "a Postgres vault is opened within a tokio runtime, and there is none",
        )
        .with_source(error)
    })
}

/// One connection, outside of any pool: a pool would go on trying and then say no more than that it took too long.
async fn connect(
    server: &PgConnectOptions,
    place: &Place,
    options: &PostgresOptions,
) -> Result<PgConnection, StoreError> {
    let connecting = async {
        let mut connection = PgConnection::connect_with(server).await?;
        schema::check_encoding(&mut connection).await?;
        Ok::<_, Fault>(connection)
    };
    match time::timeout(options.connect_timeout, connecting).await {
        Ok(connection) => connection.map_err(|fault| fault.into_store_error(place)),
        Err(_elapsed) => Err(error::no_answer(place, options.connect_timeout)),
    }
}

fn pool(server: PgConnectOptions, options: &PostgresOptions) -> sqlx::PgPool {
    PgPoolOptions::new()
        .max_connections(options.max_connections.get())
        .acquire_timeout(options.connect_timeout)
        // Idle connections go away in the end, so that a vault that is opened and forgotten costs the server nothing.
        .idle_timeout(Duration::from_mins(5))
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(DURABLE).await.map(|_| ()) })
        })
        .after_release(|connection, _| {
            Box::pin(async move { connection.execute(ROLL_BACK).await.map(|_| true) })
        })
        .connect_lazy_with(server)
}
