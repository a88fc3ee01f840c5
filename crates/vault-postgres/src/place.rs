//! Where the vault is: how its server is reached, and how it is named to a user.

use std::{fmt, net::IpAddr, str::FromStr};

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use vault_store::{StoreError, StoreErrorKind};

/// A server as errors name it: host and port, never the user, the password, or anything that a slip in the URL could have
/// made part of them.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL of a Postgres database in libpq's form: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`.
///
/// # Security
/// `Display` and `Debug` show host, port and database only; [`as_str`](Self::as_str) is the whole URL with the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
    shown: String,
}

impl PostgresUrl {
    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PostgresUrl {
    type Err = StoreError;

    fn from_str(url: &str) -> Result<Self, StoreError> {
        let (options, place) = parse_options(url)?;
        let database = options.get_database().unwrap_or_default();
        Ok(Self { text: url.to_owned(), shown: format!("postgres://{place}/{database}") })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

/// Reads a URL of libpq's form, and settles how the server is to be reached.
///
/// A URL that says nothing of TLS gets it with a checked certificate, except on this very machine. libpq's own default
/// takes TLS if the server has it and checks nothing, which stops no one who can read along.
pub(crate) fn parse(url: &str) -> Result<(PgConnectOptions, Place), StoreError> {
    let (mut options, place) = parse_options(url)?;
    if !names_tls(url) && !is_this_machine(&options) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if !cfg!(feature = "tls") && needs_tls(options.get_ssl_mode()) {
        return Err(StoreError::new(
            StoreErrorKind::Unsupported,
            format!(
                "{place}: this program was built without TLS, the feature `tls` of vault-postgres; on a network that you \
                 trust add sslmode=disable to the URL"
            ),
        ));
    }
    if options.get_application_name().is_none() {
        options = options.application_name("vaultstore");
    }
    Ok((options.disable_statement_logging(), place))
}

fn parse_options(url: &str) -> Result<(PgConnectOptions, Place), StoreError> {
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    // The driver's error is not kept: what it quotes may be a part of the password.
    let parsed = PgConnectOptions::from_str(url).ok().filter(|_| is_postgres);
    let options = parsed.ok_or_else(|| {
        StoreError::new(
            StoreErrorKind::Unsupported,
            "the URL of a Postgres vault has the form postgres://USER:PASSWORD@HOST:PORT/DATABASE, and this one has not; \
             write special characters in the password as %XX",
        )
    })?;
    let place = match options.get_socket() {
        Some(socket) => Place(socket.display().to_string()),
        None => Place(format!("{}:{}", options.get_host(), options.get_port())),
    };
    Ok((options, place))
}

fn names_tls(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| pair.starts_with("sslmode=") || pair.starts_with("ssl-mode="))
        || std::env::var_os("PGSSLMODE").is_some()
}

fn needs_tls(mode: PgSslMode) -> bool {
    matches!(mode, PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull)
}

fn is_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_host_and_port_and_nothing_else() {
        let (_, place) = parse("postgres://ann:s3cret@localhost:6543/db").unwrap();
        assert_eq!(place.to_string(), "localhost:6543");
        let (_, place) = parse("postgres://ann:s3cret@127.0.0.1/db?host=/run/postgresql").unwrap();
        assert_eq!(place.to_string(), "/run/postgresql");
    }

    #[test]
    fn a_url_shows_no_password() {
        let url: PostgresUrl =
            "postgres://ann:s3cret@db.example:6543/app?x=s3cret".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://db.example:6543/app");
        assert_eq!(format!("{url:?}"), "PostgresUrl(postgres://db.example:6543/app)");
        assert!(url.as_str().contains("s3cret"));
    }

    #[test]
    fn what_is_no_url_of_postgres_is_refused_without_being_quoted() {
        for url in [
            "",
            "vault.redb",
            "mysql://ann:s3cret@localhost/db",
            "postgres://ann:s3cret/x@localhost/db",
            "postgres://ann:s3cret@localhost/db?port=s3cret",
            "postgres://ann@localhost/db?sslmode=s3cret",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn tls_is_asked_for_except_on_this_machine_or_when_the_url_decides() {
        let mode = |url| parse(url).map(|(options, _)| options.get_ssl_mode());
        for url in ["postgres://localhost", "postgres://127.0.0.1", "postgres://[::1]/db"] {
            assert!(!needs_tls(mode(url).unwrap()), "{url}");
        }
        assert!(matches!(mode("postgres://db.example?sslmode=disable"), Ok(PgSslMode::Disable)));
        let decided_by_us = mode("postgres://db.example/vault");
        if cfg!(feature = "tls") {
            assert!(matches!(decided_by_us, Ok(PgSslMode::VerifyFull)));
        } else {
            assert_eq!(decided_by_us.unwrap_err().kind(), StoreErrorKind::Unsupported);
        }
    }
}
