//! Parses the URL of a Postgres database, and the environment that completes it.
//!
//! The grammar and semantics are libpq's (PostgreSQL documentation, "Connection URIs", "Parameter
//! Key Words" and "Environment Variables"). The list is closed: each parameter or variable of libpq
//! is either supported, or accepted with the values that describe what this backend does anyway, or
//! refused. None is ignored, because a setting without effect misleads: about encryption, the
//! server, or the user.
//!
//! Three deliberate differences from libpq: a variable set to the empty text counts as unset, or is
//! refused where it would decide who logs in (`PGUSER`, `PGPASSWORD`, `PGSSLCERT`, `PGSSLKEY`);
//! without `sslmode`, a host other than this machine gets `verify-full`; and a parameter may not be
//! given twice.

use std::{collections::HashMap, fmt, net::IpAddr, path::Path, time::Duration};

/// The combined settings of a URL and the environment.
pub(crate) struct Address {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) tls: Tls,
    pub(crate) root_certificates: Roots,
    /// The paths of a client certificate and its key.
    pub(crate) client: Option<(String, String)>,
    pub(crate) application_name: Option<String>,
    /// From the URL. The driver itself reads the variable `PGOPTIONS`.
    pub(crate) options: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an IP address, without brackets.
    Network(String),
    /// The directory of a Unix socket.
    Socket(String),
}

/// The TLS mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// The certificates that may have signed the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    System,
    File(String),
}

/// Where a setting was found. Errors name it, but never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// The part of the URL before the `?`.
    Address,
    /// A parameter after the `?` of the URL.
    Parameter(&'static str),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the address"),
            Self::Parameter(name) => write!(f, "the parameter {name} of the address"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// Why a URL, or a variable that completes it, is refused. No part of either is repeated, because
/// it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPostgresUrl {
    /// It does not have the form of a Postgres URL.
    Form,
    /// A `%` is not followed by two hexadecimal digits, or the decoded bytes are not text.
    Escape,
    /// A control character, such as a line break.
    ControlCharacter(Setting),
    /// A parameter that does not exist in libpq either.
    UnknownParameter,
    /// A parameter that occurs twice.
    Repeated(Setting),
    /// A parameter or variable without a value.
    Empty(Setting),
    /// More than one host or port.
    SeveralHosts(Setting),
    /// A parameter of libpq that this backend does not support.
    Unsupported {
        /// Which.
        setting: Setting,
        /// What to do instead.
        instead: &'static str,
    },
    /// An invalid value.
    Value {
        /// The setting.
        setting: Setting,
        /// The valid values.
        expected: &'static str,
    },
}

impl fmt::Display for InvalidPostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str(
                "the URL of a Postgres vault has the form postgres://USER:PASSWORD@HOST:PORT/DATABASE, and this one does \
                 not; write special characters in the password as %XX",
            ),
            Self::Escape => f.write_str(
                "a % in the URL of a Postgres vault begins a character in the form %XX, and one in this URL does not; write \
                 % itself as %25",
            ),
            Self::ControlCharacter(setting) => write!(
                f,
                "{setting} contains a control character, for example a line break at its end; remove it"
            ),
            Self::UnknownParameter => f.write_str(
                "a parameter behind the ? of the URL is unknown; check its spelling",
            ),
            Self::Repeated(setting) => write!(f, "{setting} is given twice; keep one of them"),
            Self::Empty(setting) => write!(f, "{setting} has no value; give it one, or remove it"),
            Self::SeveralHosts(setting) => write!(
                f,
                "{setting} names several hosts, and a vault is opened on one server; name the server that accepts writes"
            ),
            Self::Unsupported { setting, instead } => {
                write!(f, "{setting} is not supported; remove it, and {instead}")
            }
            Self::Value { setting, expected } => {
                write!(f, "{setting} has a value that is not understood; give it {expected}")
            }
        }
    }
}

impl std::error::Error for InvalidPostgresUrl {}

/// How a parameter of libpq is handled.
enum Use {
    Taken,
    /// It has no effect here with these values, and is refused with others.
    Only(&'static [&'static str], &'static str),
    Refused(&'static str),
}

use Use::{Only, Refused, Taken};

const NO_GSS: &str = "disable or prefer: GSSAPI is not supported";
const TLS_VERSION: &str = "TLSv1.2, the oldest version that is spoken here";

/// All parameters of libpq, with their variables.
const PARAMETERS: &[(&str, &str, Use)] = &[
    ("host", "PGHOST", Taken),
    ("port", "PGPORT", Taken),
    ("dbname", "PGDATABASE", Taken),
    ("user", "PGUSER", Taken),
    ("password", "PGPASSWORD", Taken),
    ("options", "PGOPTIONS", Taken),
    ("application_name", "PGAPPNAME", Taken),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Taken),
    ("sslmode", "PGSSLMODE", Taken),
    ("sslrootcert", "PGSSLROOTCERT", Taken),
    ("sslcert", "PGSSLCERT", Taken),
    ("sslkey", "PGSSLKEY", Taken),
    ("service", "PGSERVICE", Refused("write the server's address into the URL")),
    ("passfile", "", Refused("name the password file in the variable PGPASSFILE")),
    ("hostaddr", "PGHOSTADDR", Refused("give the address as host")),
    ("requiressl", "PGREQUIRESSL", Refused("use sslmode")),
    ("require_auth", "PGREQUIREAUTH", Refused("restrict the method in the server's pg_hba.conf")),
    (
        "channel_binding",
        "PGCHANNELBINDING",
        Only(&["disable", "prefer"], "disable or prefer: channel binding is not supported"),
    ),
    (
        "sslnegotiation",
        "PGSSLNEGOTIATION",
        Only(&["postgres"], "postgres: direct negotiation is not supported"),
    ),
    ("sslcompression", "PGSSLCOMPRESSION", Only(&["0"], "0: compression is never used")),
    (
        "sslcertmode",
        "PGSSLCERTMODE",
        Only(&["allow"], "allow: a client certificate is sent when one is given"),
    ),
    ("sslsni", "PGSSLSNI", Only(&["1"], "1: the server's name is always sent")),
    ("sslpassword", "", Refused("use a key file without a password, readable by its owner only")),
    ("sslcrl", "PGSSLCRL", Refused("revoke in another way: revocation lists are not read")),
    ("sslcrldir", "PGSSLCRLDIR", Refused("revoke in another way: revocation lists are not read")),
    ("sslkeylogfile", "", Refused("record the keys with another client")),
    ("requirepeer", "PGREQUIREPEER", Refused("protect the folder of the socket instead")),
    (
        "ssl_min_protocol_version",
        "PGSSLMINPROTOCOLVERSION",
        Only(&["TLSv1", "TLSv1.1", "TLSv1.2"], TLS_VERSION),
    ),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Only(&["TLSv1.3"], "TLSv1.3")),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"], "3.0")),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", Only(&["3.0"], "3.0")),
    ("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], NO_GSS)),
    ("gssdelegation", "PGGSSDELEGATION", Only(&["0"], "0: GSSAPI is not supported")),
    (
        "krbsrvname",
        "PGKRBSRVNAME",
        Refused("use another method than GSSAPI, which is not supported"),
    ),
    ("gsslib", "PGGSSLIB", Refused("use another method than GSSAPI, which is not supported")),
    (
        "client_encoding",
        "PGCLIENTENCODING",
        Only(&["UTF8", "utf8", "UTF-8", "utf-8", "auto"], "UTF8, which is always used"),
    ),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Only(&["any"], "any: name the server itself")),
    (
        "load_balance_hosts",
        "PGLOADBALANCEHOSTS",
        Only(&["disable"], "disable: a vault is opened on one server"),
    ),
    ("fallback_application_name", "", Refused("use application_name")),
    ("replication", "", Refused("use a client for replication")),
    ("keepalives", "", Refused("set keep-alive in the operating system")),
    ("keepalives_idle", "", Refused("set keep-alive in the operating system")),
    ("keepalives_interval", "", Refused("set keep-alive in the operating system")),
    ("keepalives_count", "", Refused("set keep-alive in the operating system")),
    ("tcp_user_timeout", "", Refused("set the time limit in the operating system")),
    ("scram_client_key", "", Refused("give the password")),
    ("scram_server_key", "", Refused("give the password")),
];

/// Returns the names of the parameters that a URL may have.
pub(crate) fn parameter_names() -> impl Iterator<Item = &'static str> {
    PARAMETERS.iter().filter(|(_, _, used)| matches!(used, Taken)).map(|(name, _, _)| *name)
}

/// Returns whether libpq has a parameter of this name, supported here or not.
pub(crate) fn is_parameter(name: &str) -> bool {
    name == "ssl" || PARAMETERS.iter().any(|(known, _, _)| *known == name)
}

/// Looks up a variable. `None` means unset, and `Err` that its value is not text.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<Result<String, ()>>;

/// The environment of this process.
pub(crate) fn environment(name: &str) -> Option<Result<String, ()>> {
    std::env::var_os(name).map(|value| value.into_string().map_err(|_| ()))
}

/// Parses a URL, completed by an environment.
pub(crate) fn read(url: &str, environment: Environment<'_>) -> Result<Address, InvalidPostgresUrl> {
    let settings = Settings { url: read_url(url)?, environment };
    settings.refuse_unsupported()?;
    let port = settings.port()?;
    let host = match settings.get("host")? {
        Some((host, setting)) => one_host(host, setting)?,
        None => default_host(port),
    };
    let (tls, root_certificates) = settings.tls(&host)?;
    let text = |name| settings.get(name).map(|found| found.map(|(value, _)| value));
    Ok(Address {
        port,
        user: text("user")?,
        password: text("password")?,
        database: text("dbname")?,
        client: settings.client()?,
        application_name: text("application_name")?,
        options: settings.options()?,
        connect_timeout: settings.connect_timeout()?,
        host,
        tls,
        root_certificates,
    })
}

/// The settings of the URL; parts before the `?` under the names of the equivalent parameters.
type FromUrl = HashMap<&'static str, (String, Setting)>;

fn read_url(url: &str) -> Result<FromUrl, InvalidPostgresUrl> {
    use InvalidPostgresUrl::{ControlCharacter, Empty, Escape, Form, Repeated, UnknownParameter};
    if url.chars().any(char::is_control) {
        return Err(ControlCharacter(Setting::Address));
    }
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let (rest, query) = rest
        .ok_or(Form)?
        .split_once('?')
        .map_or_else(|| (rest.unwrap_or_default(), None), |(rest, query)| (rest, Some(query)));
    let mut found = FromUrl::new();
    let mut put = |name, value: &str| match decode(value) {
        Some(value) if value.is_empty() => Ok(()),
        Some(value) => {
            found.insert(name, (value, Setting::Address));
            Ok(())
        }
        None => Err(Escape),
    };
    let (server, database) = rest.split_once('/').unwrap_or((rest, ""));
    // More than one `@` is a password that contains one, which libpq would take for part of the
    // host.
    let (user, server) = match server.split_once('@') {
        Some((_, server)) if server.contains('@') => return Err(Form),
        Some((user, server)) => (user, server),
        None => ("", server),
    };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = split_port(server).ok_or(Form)?;
    if database.contains(['/', '@']) {
        return Err(Form);
    }
    for (name, value) in [
        ("user", user),
        ("password", password),
        ("host", host),
        ("port", port),
        ("dbname", database),
    ] {
        put(name, value)?;
    }
    let mut seen = Vec::new();
    // As in libpq, nothing may follow the ? or the last &.
    let query = query.map(|query| query.strip_suffix('&').unwrap_or(query));
    let query = query.filter(|query| !query.is_empty());
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = parameter.split_once('=').ok_or(UnknownParameter)?;
        let (mut value, name) = (decode(value).ok_or(Escape)?, decode(name).ok_or(Escape)?);
        let name = if name == "ssl" && value == "true" {
            "require".clone_into(&mut value);
            "sslmode"
        } else {
            let known = PARAMETERS.iter().find(|(known, _, _)| *known == name);
            known.ok_or(UnknownParameter)?.0
        };
        let setting = Setting::Parameter(name);
        if seen.contains(&name) {
            return Err(Repeated(setting));
        }
        seen.push(name);
        if value.is_empty() {
            return Err(Empty(setting));
        }
        if value.chars().any(char::is_control) && name != "password" {
            return Err(ControlCharacter(setting));
        }
        // As in libpq, a parameter overrides the same setting before the `?`.
        found.insert(name, (value, setting));
    }
    Ok(found)
}

/// A host without its brackets, and its port. The commas of a list of hosts are kept, in order to
/// report them.
fn split_port(server: &str) -> Option<(&str, &str)> {
    if server.contains(',') {
        return Some((server, ""));
    }
    match server.strip_prefix('[') {
        None => Some(server.split_once(':').unwrap_or((server, ""))),
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
            Some((address, port))
        }
    }
}

/// Decodes `%XX`. A `+` stays a `+`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        match digit(digits[0])? << 4 | digit(digits[1])? {
            0 => return None,
            byte => bytes.push(byte),
        }
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

struct Settings<'a> {
    url: FromUrl,
    environment: Environment<'a>,
}

impl Settings<'_> {
    /// Returns the value of a parameter: from the URL, or else from the environment.
    fn get(&self, name: &str) -> Result<Option<(String, Setting)>, InvalidPostgresUrl> {
        if let Some(found) = self.url.get(name) {
            return Ok(Some(found.clone()));
        }
        let known = PARAMETERS.iter().find(|(known, _, _)| *known == name);
        let Some((_, variable, _)) = known.filter(|(_, variable, _)| !variable.is_empty()) else {
            return Ok(None);
        };
        let setting = Setting::Variable(variable);
        match (self.environment)(variable) {
            None => Ok(None),
            Some(Err(())) => {
                Err(InvalidPostgresUrl::Value { setting, expected: "a text in UTF-8" })
            }
            // Most count as unset. The driver would take these for values.
            Some(Ok(value)) if value.is_empty() => match name {
                "user" | "password" | "sslcert" | "sslkey" => {
                    Err(InvalidPostgresUrl::Empty(setting))
                }
                _ => Ok(None),
            },
            Some(Ok(value)) if value.chars().any(char::is_control) && name != "password" => {
                Err(InvalidPostgresUrl::ControlCharacter(setting))
            }
            Some(Ok(value)) => Ok(Some((value, setting))),
        }
    }

    fn refuse_unsupported(&self) -> Result<(), InvalidPostgresUrl> {
        for (name, _, used) in PARAMETERS {
            match (used, self.get_unless_taken(name, used)?) {
                (Refused(instead), Some((_, setting))) => {
                    return Err(InvalidPostgresUrl::Unsupported { setting, instead });
                }
                (Only(values, expected), Some((value, setting)))
                    if !values.contains(&value.as_str()) =>
                {
                    return Err(InvalidPostgresUrl::Value { setting, expected });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn get_unless_taken(
        &self,
        name: &str,
        used: &Use,
    ) -> Result<Option<(String, Setting)>, InvalidPostgresUrl> {
        if matches!(used, Taken) { Ok(None) } else { self.get(name) }
    }

    fn port(&self) -> Result<u16, InvalidPostgresUrl> {
        let Some((port, setting)) = self.get("port")? else { return Ok(5432) };
        if port.contains(',') {
            return Err(InvalidPostgresUrl::SeveralHosts(setting));
        }
        let expected = "a number from 1 to 65535";
        match port.trim().parse() {
            Ok(port) if port > 0 => Ok(port),
            _ if setting == Setting::Address => Err(InvalidPostgresUrl::Form),
            _ => Err(InvalidPostgresUrl::Value { setting, expected }),
        }
    }

    fn connect_timeout(&self) -> Result<Option<Duration>, InvalidPostgresUrl> {
        let Some((seconds, setting)) = self.get("connect_timeout")? else { return Ok(None) };
        match seconds.trim().parse::<u32>() {
            Ok(seconds) if seconds > 0 => Ok(Some(Duration::from_secs(seconds.into()))),
            _ => Err(InvalidPostgresUrl::Value {
                setting,
                expected: "a whole number of seconds, 1 or more",
            }),
        }
    }

    fn options(&self) -> Result<Option<String>, InvalidPostgresUrl> {
        let Some((options, setting @ Setting::Parameter(_))) = self.get("options")? else {
            return Ok(None);
        };
        // libpq lets the URL's options replace the variable's; the driver sends both.
        match (self.environment)("PGOPTIONS") {
            Some(Ok(variable)) if !variable.is_empty() => {
                Err(InvalidPostgresUrl::Repeated(setting))
            }
            _ => Ok(Some(options)),
        }
    }

    fn client(&self) -> Result<Option<(String, String)>, InvalidPostgresUrl> {
        match (self.get("sslcert")?, self.get("sslkey")?) {
            (None, None) => Ok(None),
            (Some((certificate, _)), Some((key, _))) => Ok(Some((certificate, key))),
            (Some((_, setting)), None) => Err(InvalidPostgresUrl::Unsupported {
                setting,
                instead: "give sslcert only together with sslkey",
            }),
            (None, Some((_, setting))) => Err(InvalidPostgresUrl::Unsupported {
                setting,
                instead: "give sslkey only together with sslcert",
            }),
        }
    }

    /// As in libpq: there is no TLS over a Unix socket; named certificates are verified; the
    /// system's are used for `verify-full` only.
    fn tls(&self, host: &Host) -> Result<(Tls, Roots), InvalidPostgresUrl> {
        let roots = match self.get("sslrootcert")? {
            None => None,
            Some((roots, _)) if roots == "system" => Some(Roots::System),
            Some((file, _)) => Some(Roots::File(file)),
        };
        let asked = match self.get("sslmode")? {
            None => None,
            Some((mode, setting)) => Some((tls_mode(&mode, setting)?, setting)),
        };
        let tls = match (asked, &roots) {
            (Some((Tls::VerifyFull, _)), _) | (None, Some(Roots::System)) => Tls::VerifyFull,
            (Some((_, setting)), Some(Roots::System)) => {
                let expected = "verify-full, which sslrootcert=system needs";
                return Err(InvalidPostgresUrl::Value { setting, expected });
            }
            (Some((Tls::Require, _)), Some(Roots::File(_))) => Tls::VerifyCa,
            (Some((tls, _)), _) => tls,
            (None, _) if is_this_machine(host) => Tls::Prefer,
            (None, _) => Tls::VerifyFull,
        };
        let tls = if matches!(host, Host::Socket(_)) { Tls::Disable } else { tls };
        Ok((tls, roots.unwrap_or(Roots::System)))
    }
}

fn tls_mode(mode: &str, setting: Setting) -> Result<Tls, InvalidPostgresUrl> {
    match mode {
        "disable" => Ok(Tls::Disable),
        "prefer" => Ok(Tls::Prefer),
        "require" => Ok(Tls::Require),
        "verify-ca" => Ok(Tls::VerifyCa),
        "verify-full" => Ok(Tls::VerifyFull),
        _ => Err(InvalidPostgresUrl::Value {
            setting,
            expected: "disable, prefer, require, verify-ca or verify-full",
        }),
    }
}

fn one_host(host: String, setting: Setting) -> Result<Host, InvalidPostgresUrl> {
    if host.contains(',') {
        return Err(InvalidPostgresUrl::SeveralHosts(setting));
    }
    if host.starts_with('/') {
        return Ok(Host::Socket(host));
    }
    let is_name = !host
        .contains(|it: char| it.is_whitespace() || it.is_control() || "@/?#[]\\%".contains(it));
    let is_address = host.parse::<IpAddr>().is_ok();
    match (is_name && (is_address || !host.contains(':')), setting) {
        (true, _) => Ok(Host::Network(host)),
        (false, Setting::Address) => Err(InvalidPostgresUrl::Form),
        (false, _) => {
            let expected = "the name or the address of one host, or the folder of a Unix socket";
            Err(InvalidPostgresUrl::Value { setting, expected })
        }
    }
}

/// The socket of a server on this machine, where distributions put it, or else the loopback
/// interface.
fn default_host(port: u16) -> Host {
    let folders = ["/run/postgresql", "/var/run/postgresql", "/private/tmp", "/tmp"];
    let listens = |folder: &&str| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists();
    folders
        .into_iter()
        .find(listens)
        .map_or_else(|| Host::Network("localhost".into()), |folder| Host::Socket(folder.into()))
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Socket(_) => true,
        Host::Network(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests;
