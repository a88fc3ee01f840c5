//! The servers of an address, and which of them will do.

use std::{fmt, net::IpAddr, path::Path};

use super::error::{InvalidPostgresUrl, Setting};

const DEFAULT_PORT: u16 = 5432;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name or an IP address, without brackets.
    Network(String),
    /// The directory of a Unix socket.
    Socket(String),
}

impl Host {
    pub(super) fn is_this_machine(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Network(name) => {
                name == "localhost"
                    || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// libpq's `target_session_attrs`: what a server must be to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl SessionAttrs {
    pub(super) fn parse(name: &str, setting: Setting) -> Result<Self, InvalidPostgresUrl> {
        Ok(match name {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => {
                let expected = "any, read-write, read-only, primary, standby or prefer-standby";
                return Err(InvalidPostgresUrl::Value { setting, expected });
            }
        })
    }

    /// Returns whether a server will do that is a standby, or whose sessions are read-only.
    pub(crate) fn accepts(self, is_standby: bool, is_read_only: bool) -> bool {
        match self {
            Self::Any => true,
            Self::ReadWrite => !is_standby && !is_read_only,
            Self::ReadOnly => is_standby || is_read_only,
            Self::Primary => !is_standby,
            Self::Standby | Self::PreferStandby => is_standby,
        }
    }
}

impl fmt::Display for SessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        })
    }
}

type Found = Option<(String, Setting)>;

/// Reads the lists of hosts and of ports, which are separated by commas. As in libpq, one port
/// counts for all hosts.
pub(super) fn read(hosts: Found, ports: Found) -> Result<Vec<(Host, u16)>, InvalidPostgresUrl> {
    let (ports, port_setting) = match ports {
        None => (vec![DEFAULT_PORT], Setting::Address),
        Some((ports, setting)) => {
            let ports = ports.split(',').map(|port| one_port(port, setting));
            (ports.collect::<Result<Vec<_>, _>>()?, setting)
        }
    };
    let hosts = match hosts {
        None => vec![default_host(ports[0])],
        Some((hosts, setting)) => {
            hosts.split(',').map(|host| one_host(host, setting)).collect::<Result<Vec<_>, _>>()?
        }
    };
    if ports.len() != 1 && ports.len() != hosts.len() {
        let expected = "one port, or as many as there are hosts";
        return Err(InvalidPostgresUrl::Value { setting: port_setting, expected });
    }
    let ports = ports.iter().cycle();
    Ok(hosts.into_iter().zip(ports.copied()).collect())
}

fn one_port(port: &str, setting: Setting) -> Result<u16, InvalidPostgresUrl> {
    match port.trim() {
        "" => Ok(DEFAULT_PORT),
        port => match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ if setting == Setting::Address => Err(InvalidPostgresUrl::Form),
            _ => {
                let expected = "a number from 1 to 65535";
                Err(InvalidPostgresUrl::Value { setting, expected })
            }
        },
    }
}

fn one_host(host: &str, setting: Setting) -> Result<Host, InvalidPostgresUrl> {
    if host.starts_with('/') {
        return Ok(Host::Socket(host.to_owned()));
    }
    let is_name = !host.is_empty()
        && !host
            .contains(|it: char| it.is_whitespace() || it.is_control() || "@/?#[]\\%".contains(it));
    let is_address = host.parse::<IpAddr>().is_ok();
    match (is_name && (is_address || !host.contains(':')), setting) {
        (true, _) => Ok(Host::Network(host.to_owned())),
        (false, Setting::Address) => Err(InvalidPostgresUrl::Form),
        (false, _) => {
            let expected = "names or addresses of hosts, or folders of Unix sockets";
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
