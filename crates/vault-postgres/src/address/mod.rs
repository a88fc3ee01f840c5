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

mod error;
mod hosts;
mod parameters;
mod url;

use std::time::Duration;

pub use self::error::{InvalidPostgresUrl, Setting};
pub(crate) use self::hosts::{Host, SessionAttrs};
use self::parameters::{Only, PARAMETERS, Refused, Taken, Use};
pub(crate) use self::parameters::{is_parameter, parameter_names};
use self::url::{FromUrl, read_url};

/// The combined settings of a URL and the environment.
pub(crate) struct Address {
    /// In the order in which they are tried; never empty.
    pub(crate) servers: Vec<At>,
    /// Which of them will do.
    pub(crate) wanted: SessionAttrs,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) root_certificates: Roots,
    /// The paths of a client certificate and its key.
    pub(crate) client: Option<(String, String)>,
    pub(crate) application_name: Option<String>,
    /// From the URL. The driver itself reads the variable `PGOPTIONS`.
    pub(crate) options: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
}

/// Where a server listens, and how the connection to it is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
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
    let hosts = hosts::read(settings.get("host")?, settings.get("port")?)?;
    let root_certificates = settings.root_certificates()?;
    let servers = hosts.into_iter().map(|(host, port)| {
        let tls = settings.tls(&host, root_certificates.as_ref())?;
        Ok(At { host, port, tls })
    });
    let servers = servers.collect::<Result<_, _>>()?;
    let text = |name| settings.get(name).map(|found| found.map(|(value, _)| value));
    Ok(Address {
        servers,
        wanted: match settings.get("target_session_attrs")? {
            Some((wanted, setting)) => SessionAttrs::parse(&wanted, setting)?,
            None => SessionAttrs::Any,
        },
        user: text("user")?,
        password: text("password")?,
        database: text("dbname")?,
        client: settings.client()?,
        application_name: text("application_name")?,
        options: settings.options()?,
        connect_timeout: settings.connect_timeout()?,
        root_certificates: root_certificates.unwrap_or(Roots::System),
    })
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

    fn root_certificates(&self) -> Result<Option<Roots>, InvalidPostgresUrl> {
        Ok(self.get("sslrootcert")?.map(|(roots, _)| match roots.as_str() {
            "system" => Roots::System,
            _ => Roots::File(roots),
        }))
    }

    /// As in libpq: there is no TLS over a Unix socket; named certificates are verified; the
    /// system's are used for `verify-full` only.
    fn tls(&self, host: &Host, roots: Option<&Roots>) -> Result<Tls, InvalidPostgresUrl> {
        let asked = match self.get("sslmode")? {
            None => None,
            Some((mode, setting)) => Some((tls_mode(&mode, setting)?, setting)),
        };
        let tls = match (asked, roots) {
            (Some((Tls::VerifyFull, _)), _) | (None, Some(Roots::System)) => Tls::VerifyFull,
            (Some((_, setting)), Some(Roots::System)) => {
                let expected = "verify-full, which sslrootcert=system needs";
                return Err(InvalidPostgresUrl::Value { setting, expected });
            }
            (Some((Tls::Require, _)), Some(Roots::File(_))) => Tls::VerifyCa,
            (Some((tls, _)), _) => tls,
            (None, _) if host.is_this_machine() => Tls::Prefer,
            (None, _) => Tls::VerifyFull,
        };
        Ok(if matches!(host, Host::Socket(_)) { Tls::Disable } else { tls })
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

#[cfg(test)]
mod tests;
