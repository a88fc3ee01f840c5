//! How a vault in a Postgres database is used, and what a migration did.

use std::{fmt, num::NonZeroU32, time::Duration};

use vault_store::TableNames;

/// Where in the database a vault is, and how it is used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// The names of the two tables: `vault` and `vault_meta` by default.
    ///
    /// They are looked for in the schemas that the connection searches (`search_path`), and made in the first of them.
    pub tables: TableNames,
    /// The most connections that are open at a time: 8 by default.
    ///
    /// A rekey uses two; a server allows 100 by default, for all its users.
    pub max_connections: NonZeroU32,
    /// How long a call waits for a connection: 10 seconds by default, in which most servers have started again.
    pub connect_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            tables: TableNames::default(),
            max_connections: NonZeroU32::new(8).unwrap_or(NonZeroU32::MIN),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// What [`PostgresStore::migrate`](crate::PostgresStore::migrate) found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Migration {
    /// There was no vault; now there is an empty one.
    Created,
    /// The vault was of this version already, and nothing was changed.
    Current,
}

/// One sentence for a user.
impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "the tables of the vault were made; it is empty",
            Self::Current => "the tables of the vault are current; nothing was changed",
        })
    }
}
