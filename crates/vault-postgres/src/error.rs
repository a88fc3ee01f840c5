//! Conversion of Postgres's and sqlx's errors.
//!
//! # What is certain after a failure
//!
//! Every change is one transaction, and a server rolls back a transaction that is not ended. So
//! anything that fails before the commit is sent has changed nothing, including a lost connection,
//! and can be retried. Once the commit is sent, only a response of the server decides. An error
//! that it reports (severity `ERROR`) has rolled back the transaction. If no response arrives, or
//! it says that the server is shutting down, the commit may have happened, and the kind is
//! `UnknownOutcome`.

use std::time::Duration;

use sqlx::postgres::PgSeverity;
use vault_store::{
    OverLimit, RowName, StoreError, StoreErrorKind as Kind, TableName, UnreadableReason,
};

use crate::address::SessionAttrs;
use crate::options::PostgresOptions;
use crate::place::Place;
use crate::sqlstate::{
    OTHER, code_of, commit_was_undone, is_handshake, lost_connection, of_server_error,
    sent_by_server,
};
use crate::table_kind::{Around, NotATable, TableKind};

/// An internal error, before it is phrased with the server.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server or the connection failed, and nothing was changed.
    Sqlx(sqlx::Error),
    /// The commit was sent, and its outcome is unknown.
    CommitInDoubt(sqlx::Error),
    /// A value cannot be stored.
    Unstorable(Unstorable),
    /// The row that was asked for cannot be read.
    Unreadable(RowName, UnreadableReason),
    /// More than a store writes or loads.
    OverLimit(OverLimit),
    /// Others changed the same rows repeatedly, each time just before.
    Outrun,
    /// The database does not use the encoding UTF-8.
    Encoding(String),
    /// None of the schemas in the search path exists.
    NoSchema,
    /// A connection pooler does not pass on the options of the address.
    OptionsDropped,
    /// A trigger or a rule changed what was written; the transaction was rolled back.
    Altered,
    /// The system starts no thread.
    NoThread,
    /// The server did not answer in this time.
    NoAnswer(Duration),
    /// Nothing came for this long, and the server is gone or does nothing for us.
    Silent(Effect, Duration),
    /// In words already.
    Said(StoreError),
}

/// What is certain if a call did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A read: nothing was changed.
    Reads,
    /// A write: the outcome is unknown.
    Writes,
    /// A write that pauses between its statements, so that silence says nothing.
    Maintains,
}

impl Fault {
    /// Interprets a failed commit.
    pub(crate) fn in_commit(error: sqlx::Error) -> Self {
        if commit_was_undone(&error) { Self::Sqlx(error) } else { Self::CommitInDoubt(error) }
    }

    /// Returns whether the server refused a statement because its table has changed since it was
    /// prepared. The code alone says only that something is not supported.
    pub(crate) fn is_stale_statement(&self) -> bool {
        matches!(self, Self::Sqlx(error) if sent_by_server(error).is_some_and(|error| {
            error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
        }))
    }

    /// Returns whether prepared statements of other clients are in the way, as behind a pooler.
    pub(crate) fn is_mixed_up(&self) -> bool {
        matches!(self, Self::Sqlx(error) if sent_by_server(error).is_some_and(|error| {
            matches!(error.code(), "42P05" | "26000")
                || (error.code() == "08P01" && error.severity() == PgSeverity::Error)
        }))
    }

    /// Returns whether the server takes no writes.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Self::Sqlx(error) if code_of(error) == Some("25006"))
    }

    /// Returns whether a server sent this.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Sqlx(error) if code_of(error).is_some())
    }

    /// Returns whether another server of the address may take over from this one.
    pub(crate) fn asks_for_another_server(&self) -> bool {
        self.is_read_only()
            || matches!(self, Self::Silent(..))
            || matches!(self, Self::Sqlx(error) if lost_connection(error)
                || matches!(error, sqlx::Error::PoolTimedOut)
                || matches!(code_of(error), Some("57P03")))
    }

    /// Returns whether the server is there, and has no room for a connection or is starting.
    pub(crate) fn is_busy_server(&self) -> bool {
        matches!(self, Self::Sqlx(error) if matches!(code_of(error), Some("53300" | "57P03")))
    }

    /// One line that names the server, with a hint where the kind has none or a worse one.
    pub(crate) fn into_store_error(self, place: &Place) -> StoreError {
        match self {
            Self::Sqlx(error) => from_sqlx(error, place),
            Self::CommitInDoubt(error) => StoreError::new(
                Kind::UnknownOutcome,
                format!(
                    "{place}: the connection was lost while a change was being committed"
                ),
            )
            .with_source(error),
            Self::Unstorable(unstorable) => {
                let (what, hint) = describe(unstorable);
                StoreError::new(Kind::Unsupported, format!("{place}: {what}")).with_hint(hint)
            }
            Self::Unreadable(name, reason) => StoreError::new(
                Kind::Corrupt,
                format!("{place}: the row {name} cannot be read: {reason}"),
            )
            .with_hint("restore that row from a backup, or delete it"),
            Self::OverLimit(over) => over.into_store_error(place),
            Self::NoThread => vault_store::no_thread(place),
            Self::NoAnswer(waited) | Self::Silent(Effect::Reads, waited) => {
                no_answer(place, waited)
            }
            Self::Silent(Effect::Writes | Effect::Maintains, waited) => StoreError::new(
                Kind::UnknownOutcome,
                format!(
                    "{place}: no answer to a change within {} s; it may or may not have been made",
                    waited.as_secs_f64()
                ),
            ),
            Self::Said(error) => error,
            Self::Outrun => StoreError::new(
                Kind::Retryable,
                format!("{place}: the same rows kept changing concurrently"),
            ),
            Self::NoSchema => StoreError::new(
                Kind::NotFound,
                format!("{place}: the schema to create the tables in does not exist"),
            )
            .with_hint("create the schema, or check the vault's address"),
            Self::OptionsDropped => StoreError::new(
                Kind::Unsupported,
                format!("{place}: a connection pooler drops the options of the address"),
            )
            .with_hint(
                "set them for the role on the server (ALTER ROLE … SET search_path = …), or connect to the server itself",
            ),
            Self::Altered => StoreError::new(
                Kind::Unsupported,
                format!(
                    "{place}: a trigger or rule of the database stores something other than what was written, so the \
                     change was undone"
                ),
            )
            .with_hint("remove the trigger or rule, or disable it"),
            Self::Encoding(encoding) => StoreError::new(
                Kind::Unsupported,
                format!(
                    "{place}: the database keeps text as {encoding}, which cannot hold every text"
                ),
            )
            .with_hint("use a database with the encoding UTF8"),
        }
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Said(error)
    }
}

impl From<OverLimit> for Fault {
    fn from(over: OverLimit) -> Self {
        Self::OverLimit(over)
    }
}

impl From<Unstorable> for Fault {
    fn from(unstorable: Unstorable) -> Self {
        Self::Unstorable(unstorable)
    }
}

/// This server is not what the address asks for.
pub(crate) fn not_wanted(place: &Place, wanted: SessionAttrs) -> StoreError {
    StoreError::new(
        Kind::Retryable,
        format!("{place}: the server is not what target_session_attrs={wanted} asks for"),
    )
    .with_hint("after a failover, try again; or check the host and target_session_attrs in the vault's address")
}

/// No server of the address can be used right now.
pub(crate) fn no_server(place: &Place, errors: &[StoreError]) -> StoreError {
    let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
    StoreError::new(
        Kind::Retryable,
        format!("{place}: none of the servers can be used: {}", reasons.join("; ")),
    )
    .with_hint("check that the servers are running, and the hosts and target_session_attrs in the vault's address; after a failover, try again")
}

/// A table of this name is missing, or is not one of a vault.
pub(crate) fn missing(place: &Place, table: &TableName, around: &Around) -> StoreError {
    let Around { found, schemas } = around;
    let what = format!("{place}: the table {table} is missing or not one of a vault; {found}");
    if found.vaults.is_empty() && !schemas.is_empty() {
        let shown =
            schemas.iter().map(|schema| format!("\"{schema}\"")).collect::<Vec<_>>().join(", ");
        let (what, hint) = (
            format!("{what}, but there are vaults in other schemas: {shown}"),
            "name the schema in the vault's address, as in ?options=-csearch_path%3DNAME",
        );
        return StoreError::new(Kind::NotAVault, what).with_hint(hint);
    }
    StoreError::new(Kind::NotAVault, what)
        .with_hint(found.hint("create a vault in this database with `vaultstore init`"))
}

/// The tables with these names belong to another program.
pub(crate) fn foreign(place: &Place, options: &PostgresOptions) -> StoreError {
    let (table, meta) = (options.tables.vault(), options.tables.meta());
    StoreError::new(
        Kind::NotAVault,
        format!("{place}: the tables {table} and {meta} are not those of a vault"),
    )
    .with_hint("choose other names for the tables (?table=NAME&meta=NAME), or another schema")
}

/// What has the name of a table is not a table, or only part of one.
pub(crate) fn not_a_table(place: &Place, what: NotATable) -> StoreError {
    let NotATable { name, kind } = what;
    if let TableKind::WrongType { column, right } = kind {
        return StoreError::new(
            Kind::NotAVault,
            format!(
                "{place}: the column {column} of the table {name} has a type or a collation that does not keep every value \
                 as it was written; it must be {right}"
            ),
        )
        .with_hint(format!(
            "restore its type (ALTER TABLE {name} ALTER {column} TYPE {right}), or name another table"
        ));
    }
    if let TableKind::WithoutKey(column) = kind {
        return StoreError::new(
            Kind::NotAVault,
            format!(
                "{place}: the table {name} has no unique key on {column} alone, so two records could \
                 get the same {column}; add one (ALTER TABLE {name} ADD UNIQUE ({column})), which a \
                 table partitioned by another column cannot have"
            ),
        );
    }
    let reason = match kind {
        TableKind::View => "is a view, which may show only a part of the records",
        TableKind::Foreign => "is a foreign table, whose server this one cannot speak for",
        TableKind::Inherited => {
            "has tables that inherit from it, and no key holds across them, so a record could come twice"
        }
        TableKind::WithoutKey(_) | TableKind::WrongType { .. } | TableKind::Other => {
            "is not an ordinary table"
        }
    };
    StoreError::new(Kind::NotAVault, format!("{place}: {name} {reason}"))
        .with_hint("name the table that holds the records (?table=NAME&meta=NAME)")
}

/// A vault already exists.
pub(crate) fn already_there(place: &Place, options: &PostgresOptions) -> StoreError {
    let table = options.tables.vault();
    StoreError::new(Kind::AlreadyExists, format!("{place}: the vault {table} exists already"))
        .with_hint("use that vault, or choose other names for the tables (?table=NAME&meta=NAME)")
}

/// Creating the tables was started and not finished.
pub(crate) fn unfinished(place: &Place, options: &PostgresOptions) -> StoreError {
    let table = options.tables.vault();
    StoreError::new(
        Kind::OlderSchema,
        format!("{place}: the tables of the vault {table} were never finished"),
    )
}

/// The vault was created by a newer version.
pub(crate) fn newer_schema(place: &Place, version: u32) -> StoreError {
    StoreError::new(
        Kind::NewerSchema,
        format!("{place}: the vault is of schema {version}, which this version does not know"),
    )
}

/// The vault's tables are inconsistent.
pub(crate) fn damaged_schema(place: &Place, options: &PostgresOptions) -> StoreError {
    let (table, meta) = (options.tables.vault(), options.tables.meta());
    StoreError::new(
        Kind::Corrupt,
        format!(
            "{place}: {meta} describes a vault, but its version or the columns of {table} are not usable"
        ),
    )
    .with_hint(
        "check the names of the tables in the vault's address; if they are right, restore the vault from a backup",
    )
}

/// The server accepted the connection, or not even that, and did not respond.
fn no_answer(place: &Place, waited: Duration) -> StoreError {
    StoreError::new(
        Kind::Retryable,
        format!("{place}: no answer within {} s", waited.as_secs_f64()),
    )
    .with_hint("check the host, the port and the network")
}

fn from_sqlx(error: sqlx::Error, place: &Place) -> StoreError {
    let (kind, what, hint) = match &error {
        sqlx::Error::Database(_) => match sent_by_server(&error).map(of_server_error) {
            Some(said) => said,
            None => OTHER,
        },
        sqlx::Error::Io(io) if !is_handshake(io) => (
            Kind::Retryable,
            "cannot be reached",
            Some("check that the server is running, its address and the network"),
        ),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => (
            Kind::Denied,
            "no TLS connection that can be trusted",
            Some(
                "check the server's certificate, or sslmode and sslrootcert in the vault's address",
            ),
        ),
        sqlx::Error::Protocol(_) => (
            Kind::Retryable,
            "no answer that a Postgres server gives",
            Some("check the host and the port; a proxy whose server is gone may answer like this"),
        ),
        sqlx::Error::PoolTimedOut => (
            Kind::Retryable,
            "timed out waiting for a connection",
            Some("the server is down or busy: try again"),
        ),
        sqlx::Error::BeginFailed | sqlx::Error::WorkerCrashed => {
            (Kind::Retryable, "a transaction could not be started", None)
        }
        sqlx::Error::PoolClosed => (Kind::Stopped, "this store was closed", None),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
            (Kind::Corrupt, "a row does not have the types of a vault's", None)
        }
        _ => OTHER,
    };
    let stored = StoreError::new(kind, format!("{place}: {what}")).with_source(error);
    match hint {
        Some(hint) => stored.with_hint(hint),
        None => stored,
    }
}

/// Why a value cannot be stored, or looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstorable {
    /// Postgres cannot store NUL in a text.
    Nul,
    /// An envelope is not UTF-8.
    NotText,
    /// The text of the envelope was never loaded, so there is nothing to store.
    EnvelopeNotLoaded,
}

/// What it is, and what to do.
fn describe(unstorable: Unstorable) -> (&'static str, &'static str) {
    match unstorable {
        Unstorable::Nul => {
            ("Postgres stores no text with a NUL character", "remove that character")
        }
        Unstorable::NotText => {
            ("an envelope is not UTF-8, and Postgres stores no other text", "leave that record out")
        }
        Unstorable::EnvelopeNotLoaded => (
            "an envelope over the size limit was never loaded and cannot be stored",
            "leave that record out",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_whose_answer_is_lost_is_in_doubt() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(Fault::in_commit(lost()), Fault::CommitInDoubt(_)));
        assert!(matches!(Fault::in_commit(sqlx::Error::PoolClosed), Fault::CommitInDoubt(_)));
        let kind = |fault: Fault| {
            let place = crate::place::parse("postgres://localhost").unwrap().place;
            fault.into_store_error(&place).kind()
        };
        assert_eq!(kind(Fault::in_commit(lost())), Kind::UnknownOutcome);
        assert_eq!(kind(Fault::from(lost())), Kind::Retryable);
    }
}
