//! Connecting to the first server of an address that will do.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time;
use vault_store::{StoreError, StoreErrorKind};

use crate::address::SessionAttrs;
use crate::error::{self, Fault};
use crate::options::PostgresOptions;
use crate::outage::{Outage, next_wait};
use crate::place::{Server, Servers};
use crate::schema;
use crate::session::{self, Layer};

/// A connection outside of any pool, and how it was made.
pub(crate) struct Connected {
    pub(crate) connection: PgConnection,
    pub(crate) layer: Layer,
    pub(crate) server: PgConnectOptions,
}

/// Connects outside of any pool: a pool would keep trying and then say only that it took too long.
/// Only a server that has no room right now, or is starting, is tried again.
pub(crate) async fn connect(
    servers: &Servers,
    options: &PostgresOptions,
) -> Result<Connected, StoreError> {
    let outage = Outage::new(options.patience);
    let mut failed = 0;
    loop {
        match choose(servers, options.connect_timeout).await {
            Err(error) if error.kind() == StoreErrorKind::Retryable => {
                let Some(wait) = outage.wait(failed) else { return Err(error) };
                failed += 1;
                time::sleep(wait).await;
            }
            connected => return connected,
        }
    }
}

/// Tries the servers once, in their order. As in libpq, what may pass leads to the next one, and a
/// refused login does not.
pub(crate) async fn choose(servers: &Servers, timeout: Duration) -> Result<Connected, StoreError> {
    let wanted = servers.wanted;
    let (mut spare, mut errors) = (None, Vec::new());
    for Server { options, place } in &servers.all {
        let connecting = connect_once(options, timeout);
        let error = match connecting.await.map_err(|fault| fault.into_store_error(place)) {
            Ok(Connected { mut connection, layer, server }) => {
                let accepted = accepts(wanted, &mut connection).await;
                let connected = Connected { connection, layer, server };
                match accepted.map_err(|error| Fault::from(error).into_store_error(place)) {
                    Ok(true) => return Ok(connected),
                    Ok(false) => {
                        if wanted == SessionAttrs::PreferStandby && spare.is_none() {
                            spare = Some(connected);
                        } else {
                            // It has answered; how it handles the disconnect does not matter.
                            let _ = connected.connection.close().await;
                        }
                        error::not_wanted(place, wanted)
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if error.kind() != StoreErrorKind::Retryable {
            return Err(error);
        }
        errors.push(error);
    }
    match (spare, errors.len()) {
        (Some(connected), _) => Ok(connected),
        (None, 1) => Err(errors.remove(0)),
        (None, _) => Err(error::no_server(&servers.place, &errors)),
    }
}

/// Returns whether a server is what the address asks for.
pub(crate) async fn accepts(
    wanted: SessionAttrs,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    if wanted == SessionAttrs::Any {
        return Ok(true);
    }
    let ask = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'";
    let row = connection.fetch_one(ask).await?;
    Ok(wanted.accepts(row.try_get(0)?, row.try_get(1)?))
}

async fn connect_once(server: &PgConnectOptions, timeout: Duration) -> Result<Connected, Fault> {
    let until = time::Instant::now() + timeout.mul_f64(0.9);
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
        Ok(Connected { connection, layer, server: server.clone() })
    };
    // Looking up a host's name takes a thread of tokio's, which panics where the system starts
    // none.
    match time::timeout(timeout, AssertUnwindSafe(connecting).catch_unwind()).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(_panic)) => Err(Fault::NoThread),
        Err(_elapsed) => Err(Fault::NoAnswer(timeout)),
    }
}
