//! What the codes of the server's errors mean for a caller.

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use vault_store::StoreErrorKind as Kind;

/// The SQLSTATE of an error that the server sent.
pub(crate) fn code_of(error: &sqlx::Error) -> Option<&str> {
    sent_by_server(error).map(PgDatabaseError::code)
}

/// Returns whether the server has closed the connection, or is not at its end any more.
pub(crate) fn lost_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        error => matches!(code_of(error), Some("57P01" | "57P02" | "57P05" | "08003" | "08006")),
    }
}

/// What failed, and what to do where the kind does not say it.
pub(crate) type Said = (Kind, &'static str, Option<&'static str>);

pub(crate) const OTHER: Said = (Kind::Other, "the database failed", None);

/// Returns whether TLS failed because of what the peer sent, such as an untrusted certificate: the
/// driver reports that as a read error.
pub(crate) fn is_handshake(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData
}

/// One code covers several refusals, which are distinguished by the server function that raised it;
/// its message may be in any language.
pub(crate) fn of_server_error(error: &PgDatabaseError) -> Said {
    match (error.code(), error.routine()) {
        ("42501", Some("check_enable_rls")) => (
            Kind::Denied,
            "the server hides records from this user by row security on the table, so nothing can be said of the whole vault",
            Some("use a role with BYPASSRLS, or the owner of the table"),
        ),
        // An error within a session: the statement that the server knows by this name is another.
        // Only a refused startup ends the connection.
        ("08P01", _) if error.severity() == PgSeverity::Error => of_code("26000"),
        (code, _) => of_code(code),
    }
}

/// What a caller can do about an SQLSTATE (PostgreSQL's documentation, appendix A).
fn of_code(code: &str) -> Said {
    match code {
        "40001" | "40P01" | "40003" => {
            (Kind::Retryable, "the transaction was rolled back after a conflict", None)
        }
        "57014" | "55P03" | "25P03" | "25P04" | "57P05" => (
            Kind::Retryable,
            "the server gave up after one of its time limits",
            Some("try again, or raise the limit"),
        ),
        "57P01" | "57P02" | "57P03" => {
            (Kind::Retryable, "the server is shutting down or starting", None)
        }
        "53300" | "53200" | "53000" => {
            (Kind::Retryable, "the server is out of connections or memory", None)
        }
        "53100" => (Kind::Full, "no space left on the server's disk", None),
        "28P01" | "28000" => (
            Kind::Denied,
            "the server refuses this user or this password",
            Some("check both, and that the user may log in from here (pg_hba.conf)"),
        ),
        "42501" => (
            Kind::Denied,
            "permission denied by the server",
            Some("grant the privilege, or use a role that has it"),
        ),
        "25006" => (
            Kind::Retryable,
            "the server is read-only",
            Some(
                "connect to the primary, or list its servers with target_session_attrs=read-write in the vault's address; after a failover, try again",
            ),
        ),
        "3D000" => (
            Kind::NotFound,
            "no such database",
            Some("check the name of the database in the vault's address"),
        ),
        "3F000" => (
            Kind::NotFound,
            "no such schema",
            Some("create the schema, or check the vault's address"),
        ),
        "42P07" | "42710" => (Kind::AlreadyExists, "a table of that name exists already", None),
        "42P01" | "42703" => (
            Kind::NotAVault,
            "the tables of the vault are no longer there",
            Some("check the vault's address, or run `vaultstore migrate`"),
        ),
        "54000" => (
            Kind::Unsupported,
            "so long an id or token cannot be stored",
            Some("choose a shorter one"),
        ),
        "42P05" | "26000" => (
            Kind::Unsupported,
            "prepared statements are mixed up, as happens behind a connection pooler that pools by transaction",
            Some(
                "let the pooler pool by session (PgBouncer: pool_mode = session), or connect to the server itself",
            ),
        ),
        "08P01" => (
            Kind::Unsupported,
            "this connection's settings are refused, as a connection pooler may do",
            Some(
                "let the pooler pass options and extra_float_digits (PgBouncer: ignore_startup_parameters), or connect to \
                 the server itself",
            ),
        ),
        "XX001" | "XX002" => (
            Kind::Corrupt,
            "a table or index is damaged",
            Some("restore the database from a backup"),
        ),
        _ if code.starts_with("08") => (Kind::Retryable, "the connection was lost", None),
        _ if code.starts_with("23") => (
            Kind::Unsupported,
            "a constraint of the database refuses the change",
            Some("look at the constraints of the table, and of the tables that refer to it"),
        ),
        _ if code.starts_with("22") => {
            (Kind::Unsupported, "one of the values cannot be stored", None)
        }
        _ => OTHER,
    }
}

/// Returns whether the server reported that a commit did not happen.
pub(crate) fn commit_was_undone(error: &sqlx::Error) -> bool {
    sent_by_server(error).is_some_and(|error| {
        // statement_completion_unknown and transaction_resolution_unknown themselves say that the
        // outcome is unknown.
        error.severity() == PgSeverity::Error && !matches!(error.code(), "40003" | "08007")
    })
}

pub(crate) fn sent_by_server(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_a_caller_can_do() {
        let kind = |code| of_code(code).0;
        for code in ["40001", "40P01", "57P01", "57P03", "53300", "57014", "55P03", "08006"] {
            assert_eq!(kind(code), Kind::Retryable, "{code}");
        }
        assert_eq!(kind("53100"), Kind::Full);
        assert_eq!(kind("28P01"), Kind::Denied);
        assert_eq!(kind("42501"), Kind::Denied);
        assert_eq!(kind("42P01"), Kind::NotAVault);
        assert_eq!(kind("22021"), Kind::Unsupported);
        assert_eq!(kind("54000"), Kind::Unsupported);
        assert_eq!(kind("XX001"), Kind::Corrupt);
        assert_eq!(kind("0A000"), Kind::Other);
        for code in ["42P05", "26000"] {
            assert_eq!(kind(code), Kind::Unsupported, "{code}");
            assert!(of_code(code).2.is_some_and(|hint| hint.contains("pool")));
        }
    }
}
