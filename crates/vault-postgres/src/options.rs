//! Options of a vault in a Postgres database, and the result of a migration.

use std::{fmt, num::NonZeroU32, time::Duration};

use vault_store::TableNames;

/// Where in the database a vault is, and how to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The names of the two tables. Default: `vault` and `vault_meta`.
    ///
    /// They are looked up in the schemas of the `search_path`, and created in the first of them.
    pub tables: TableNames,
    /// Maximum number of open connections. Default: 8.
    ///
    /// A rekey uses two. A server allows 100 by default, for all its users.
    pub max_connections: NonZeroU32,
    /// How long a call waits for a connection. Default: 10 seconds, in which most servers have
    /// restarted.
    pub connect_timeout: Duration,
    /// How long calls, and opening, are tried again while the server is gone or busy, from the
    /// first that fails. Default: not at all.
    ///
    /// A call is tried again only after an error that certainly changed nothing.
    pub patience: Duration,
    /// How long a call may go without an answer before a second connection asks whether the server
    /// is still there and at work for this store. Default: 30 seconds.
    ///
    /// If not, the call ends: nothing else would, where a machine or a network vanished without
    /// closing the connection. A call that waits for a lock is never ended by this.
    pub silence: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            tables: TableNames::default(),
            max_connections: NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN),
            connect_timeout: Duration::from_secs(10),
            patience: Duration::ZERO,
            silence: Duration::from_secs(30),
        }
    }
}

impl PostgresOptions {
    /// Sets the names of the two tables.
    #[must_use]
    pub fn tables(mut self, tables: TableNames) -> Self {
        self.tables = tables;
        self
    }

    /// Sets the maximum number of connections that are open at a time.
    #[must_use]
    pub fn max_connections(mut self, connections: NonZeroU32) -> Self {
        self.max_connections = connections;
        self
    }

    /// Sets how long a call waits for a connection.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long calls are tried again while the server is gone or busy.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how long a call may go without an answer before the connection is checked.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }
}

/// The result of [`PostgresStore::migrate`](crate::PostgresStore::migrate).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Migration {
    /// There was no vault; an empty one was created.
    Created,
    /// The vault already had this version, and nothing was changed.
    Current,
}

/// One sentence for a user.
impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "the tables of an empty vault were created",
            Self::Current => "the tables of the vault are current; nothing was changed",
        })
    }
}
