//! What every transaction sets for itself, and whether a connection pooler is in between.
//!
//! A pooler that pools by transaction gives each transaction some connection to the server. What is
//! set or prepared outside of a transaction then reaches other clients, and is missing where it is
//! needed. So nothing is set except within a transaction, which every read has as well, and behind
//! a pooler every statement is unnamed.
//!
//! # How a pooler is recognized
//!
//! The first connection asks for a setting of our own at its start, with a random value. A server
//! accepts it. A pooler refuses it, or drops it, because its connections to the server have started
//! before.

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use vault_store::fill_random;

use crate::error::Fault;
use crate::sqlstate::code_of;

/// What every transaction begins with: where row security would hide records from this user, the
/// server returns an error (as for `pg_dump`) instead of the visible ones; and the parameters of a
/// statement, the ids of what is rekeyed among them, stay out of the server's log where the role
/// may say so. Versions before 13 do not know these two settings.
macro_rules! begin {
    ($mode:literal, $more:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL READ COMMITTED",
            $mode,
            "; SET LOCAL row_security = off; \
             SELECT set_config('log_parameter_max_length_on_error', '0', true) \
             WHERE current_setting('log_parameter_max_length_on_error', true) <> '0'; \
             SELECT set_config('log_parameter_max_length', '0', true) \
             WHERE current_setting('log_parameter_max_length', true) <> '0' \
             AND current_setting('is_superuser') = 'on'",
            $more
        )
    };
}

/// Begins a transaction that only reads. The isolation level and the settings override those of the
/// database, the role and the URL.
pub(crate) const READ: &str = begin!(" READ ONLY", "");

/// Begins a transaction that sees what others commit between its statements, which our statements
/// rely on, and that is durable when its commit is acknowledged. `remote_apply` promises even more
/// and is kept.
pub(crate) const WRITE: &str = begin!(
    "",
    "; SELECT set_config('synchronous_commit', 'on', true) \
     WHERE current_setting('synchronous_commit') <> 'remote_apply'"
);

/// What answers at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The server itself, as far as can be seen: prepared statements stay with the connection.
    Server,
    /// A connection pooler.
    Pooler,
}

/// Connects, and finds out what answers.
pub(crate) async fn connect(server: &PgConnectOptions) -> Result<(PgConnection, Layer), Fault> {
    const SETTING: &str = "vaultstore.session";
    let mut random = [0; 8];
    // Without randomness, another process could have asked with the same value.
    let _ = fill_random(&mut random);
    let value = format!("v{:016x}", u64::from_le_bytes(random));
    let asking = server.clone().options([(SETTING, value.as_str())]);
    let mut connection = match PgConnection::connect_with(&asking).await {
        Err(error) if refuses_a_setting(&error) => {
            return Ok((PgConnection::connect_with(server).await?, Layer::Pooler));
        }
        connected => connected?,
    };
    let ask = "SELECT current_setting('vaultstore.session', true)";
    let answer: Option<String> = connection.fetch_one(ask).await?.try_get(0)?;
    if answer.as_deref() == Some(&value) {
        return Ok((connection, Layer::Server));
    }
    // It has dropped all of them, and those of the address may name the schema.
    if server.get_options().is_some() {
        Err(Fault::OptionsDropped)
    } else {
        Ok((connection, Layer::Pooler))
    }
}

// protocol_violation (PgBouncer), undefined_object, invalid_parameter_value, feature_not_supported
fn refuses_a_setting(error: &sqlx::Error) -> bool {
    matches!(code_of(error), Some("08P01" | "42704" | "22023" | "0A000"))
}
