//! The location of the vault: how its server is reached, and how errors name it.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use vault_store::{StoreError, StoreErrorKind};

use crate::PostgresOptions;
use crate::address::{
    self, Address, At, Host, InvalidPostgresUrl, Roots, SessionAttrs, Setting, Tls,
};

/// A server, or several, as errors name them: host and port, never the user, the password, or
/// anything that a mistake in the URL could have made part of them.
#[derive(Clone, Debug)]
pub(crate) struct Place(String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL of a Postgres database in libpq's form:
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`. Several hosts, separated by commas,
/// are tried in their order.
///
/// # Security
/// `Display` and `Debug` show only host, port and database; [`as_str`](Self::as_str) is the whole
/// URL with the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
    shown: String,
    options: PostgresOptions,
}

impl PostgresUrl {
    /// Sets how the server is used. The default is that of [`PostgresOptions`], whose names of the
    /// tables do not count here.
    pub fn set_options(&mut self, options: PostgresOptions) {
        self.options = options;
    }

    /// Returns how the server is used.
    #[must_use]
    pub fn options(&self) -> &PostgresOptions {
        &self.options
    }

    /// Returns the URL as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the names of the parameters that a URL may have after its `?`.
    pub fn parameters() -> impl Iterator<Item = &'static str> {
        address::parameter_names()
    }

    /// Returns whether libpq knows a parameter of this name: it is then supported, or refused with
    /// a reason.
    #[must_use]
    pub fn is_parameter(name: &str) -> bool {
        address::is_parameter(name)
    }
}

/// Reads the environment as well, so that missing or invalid settings are reported before anything
/// is done.
impl FromStr for PostgresUrl {
    type Err = InvalidPostgresUrl;

    fn from_str(url: &str) -> Result<Self, InvalidPostgresUrl> {
        let address = address::read(url, &address::environment)?;
        let database = address.database.as_deref().unwrap_or_default();
        let shown = format!("postgres://{}/{database}", Place::of_all(&address.servers));
        Ok(Self { text: url.to_owned(), shown, options: PostgresOptions::default() })
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

impl Place {
    fn of(server: &At) -> Self {
        let port = server.port;
        Self(match &server.host {
            Host::Socket(folder) => folder.clone(),
            Host::Network(host) if host.contains(':') => format!("[{host}]:{port}"),
            Host::Network(host) => format!("{host}:{port}"),
        })
    }

    fn of_all(servers: &[At]) -> Self {
        Self(servers.iter().map(|server| Self::of(server).0).collect::<Vec<_>>().join(","))
    }
}

/// How a server is reached.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) options: PgConnectOptions,
    pub(crate) place: Place,
}

/// The servers of a URL.
#[derive(Debug)]
pub(crate) struct Servers {
    /// In the order in which they are tried; never empty.
    pub(crate) all: Vec<Server>,
    /// Which of them will do.
    pub(crate) wanted: SessionAttrs,
    /// All of them.
    pub(crate) place: Place,
    /// The connection timeout of the address, for each of them.
    pub(crate) connect_timeout: Option<Duration>,
}

/// Parses a URL in libpq's form, and determines how to reach its servers.
///
/// A URL without TLS settings gets TLS with certificate verification, except on this machine.
/// libpq's own default uses TLS if the server has it and verifies nothing, which does not stop an
/// active attacker.
pub(crate) fn parse(url: &str) -> Result<Servers, StoreError> {
    let address = address::read(url, &address::environment).map_err(refused)?;
    password_file_is_usable(&address).map_err(refused)?;
    let all = address.servers.iter().map(|server| {
        let place = Place::of(server);
        if !cfg!(feature = "tls") && needs_tls(server.tls) {
            return Err(StoreError::new(
                StoreErrorKind::Unsupported,
                format!(
                    "{place}: this program was built without TLS, the feature `tls` of vault-postgres"
                ),
            )
            .with_hint("on a network that you trust, add sslmode=disable to the vault's address"));
        }
        Ok(Server { options: connect_options(&address, server)?, place })
    });
    Ok(Servers {
        all: all.collect::<Result<_, _>>()?,
        wanted: address.wanted,
        place: Place::of_all(&address.servers),
        connect_timeout: address.connect_timeout,
    })
}

fn refused(error: InvalidPostgresUrl) -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, error.to_string())
}

/// The driver reads its own dialect of URLs and the environment. It therefore gets a URL that
/// states everything in the one form that it accepts; this way it also looks up the password for
/// this server in the password file.
fn connect_options(address: &Address, server: &At) -> Result<PgConnectOptions, StoreError> {
    let mut url = String::from("postgres:///?");
    let mut say = |name: &str, value: &str| {
        url.push_str(name);
        url.push('=');
        for byte in value.bytes() {
            // Writing into a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
        url.push('&');
    };
    match &server.host {
        Host::Network(host) => say("host", host),
        Host::Socket(folder) => {
            // As in libpq, the password file is searched for this machine.
            say("host", "localhost");
            say("host", folder);
        }
    }
    say("port", &server.port.to_string());
    say("application_name", address.application_name.as_deref().unwrap_or("vaultstore"));
    for (name, value) in [
        ("user", &address.user),
        ("password", &address.password),
        ("dbname", &address.database),
        ("options", &address.options),
    ] {
        if let Some(value) = value {
            say(name, value);
        }
    }
    if let Some((certificate, key)) = &address.client {
        say("sslcert", certificate);
        say("sslkey", key);
    }
    // The driver's error is not kept: what it quotes may be part of the password.
    let options =
        PgConnectOptions::from_str(&url).map_err(|_| refused(InvalidPostgresUrl::Form))?;
    let options = match &address.root_certificates {
        Roots::File(file) => options.ssl_root_cert(file),
        // None but the system's, whatever the variable is set to.
        Roots::System => options.ssl_root_cert_from_pem(Vec::new()),
    };
    let options = match options.get_database() {
        Some(database) if !database.is_empty() => options,
        _ => {
            let user = options.get_username().to_owned();
            options.database(&user)
        }
    };
    // No column has a floating-point type, and poolers refuse the setting.
    let options = options.extra_float_digits(None);
    Ok(options.ssl_mode(ssl_mode(server.tls)).disable_statement_logging())
}

/// The driver would silently ignore a named password file that cannot be used.
fn password_file_is_usable(address: &Address) -> Result<(), InvalidPostgresUrl> {
    const VARIABLE: &str = "PGPASSFILE";
    let file = std::env::var_os(VARIABLE).filter(|file| !file.is_empty());
    let Some(file) = file.filter(|_| address.password.is_none()) else { return Ok(()) };
    let is_usable = std::fs::File::open(&file)
        .and_then(|file| file.metadata())
        .is_ok_and(|file| file.is_file() && is_private(&file));
    if is_usable {
        return Ok(());
    }
    Err(InvalidPostgresUrl::Value {
        setting: Setting::Variable(VARIABLE),
        expected: "the path of a file that its owner alone may read (mode 0600)",
    })
}

#[cfg(unix)]
fn is_private(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.permissions().mode().trailing_zeros() >= 6
}

#[cfg(not(unix))]
fn is_private(_: &std::fs::Metadata) -> bool {
    true
}

fn needs_tls(tls: Tls) -> bool {
    matches!(tls, Tls::Require | Tls::VerifyCa | Tls::VerifyFull)
}

fn ssl_mode(tls: Tls) -> PgSslMode {
    match tls {
        Tls::Disable => PgSslMode::Disable,
        Tls::Prefer => PgSslMode::Prefer,
        Tls::Require => PgSslMode::Require,
        Tls::VerifyCa => PgSslMode::VerifyCa,
        Tls::VerifyFull => PgSslMode::VerifyFull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> String {
        parse(url).unwrap().place.to_string()
    }

    #[test]
    fn a_place_names_host_and_port_and_nothing_else() {
        assert_eq!(place("postgres://ann:s3cret@localhost:6543/db"), "localhost:6543");
        assert_eq!(
            place("postgres://ann:s3cret@127.0.0.1/db?host=/run/postgresql"),
            "/run/postgresql"
        );
        assert_eq!(place("postgres://ann:s3cret@[::1]/db"), "[::1]:5432");
        assert_eq!(
            place("postgres://ann:s3cret@[::1],127.0.0.1:6543/db"),
            "[::1]:5432,127.0.0.1:6543"
        );
    }

    #[test]
    fn a_url_shows_no_password() {
        let url: PostgresUrl =
            "postgres://ann:s3cret@db.example:6543/app?password=s3cret".parse().unwrap();
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
            "postgres://ann:s3cr@et@localhost/db",
            "postgres://ann:s3cret@localhost/db?x=s3cret",
            "postgres://ann:s3cret@localhost/db?port=s3cret",
            "postgres://ann@localhost/db?sslmode=s3cret",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{url}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cr"), "{shown}");
        }
    }

    fn only(url: &str) -> Result<PgConnectOptions, StoreError> {
        let mut servers = parse(url)?.all;
        assert_eq!(servers.len(), 1, "{url}");
        Ok(servers.remove(0).options)
    }

    #[test]
    fn the_driver_is_told_everything_that_the_url_says() {
        let url = "postgres://a%40b:p%26w@[::1]:6543/d+b?application_name=x%3Dy&options=-c%20a%3D1";
        let options = only(url).unwrap();
        assert_eq!(options.get_host(), "::1");
        assert_eq!(options.get_port(), 6543);
        assert_eq!(options.get_username(), "a@b");
        assert_eq!(options.get_database(), Some("d+b"));
        assert_eq!(options.get_application_name(), Some("x=y"));
        assert_eq!(options.get_options(), Some("-c a=1"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Prefer));

        let options = only("postgres://ann@localhost?host=/run/x&port=7").unwrap();
        assert_eq!(options.get_socket(), Some(&"/run/x".into()));
        assert_eq!((options.get_port(), options.get_database()), (7, Some("ann")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Disable));
    }

    #[test]
    fn tls_is_asked_for_except_on_this_machine_or_when_the_url_decides() {
        let mode = |url| only(url).map(|options| options.get_ssl_mode());
        for url in ["postgres://localhost", "postgres://127.0.0.1", "postgres://[::1]/db"] {
            assert!(matches!(mode(url), Ok(PgSslMode::Prefer)), "{url}");
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
