//! Parses the text of a URL.

use std::collections::HashMap;

use super::error::{InvalidPostgresUrl, Setting};
use super::parameters::PARAMETERS;

/// The settings of the URL; parts before the `?` under the names of the equivalent parameters.
pub(super) type FromUrl = HashMap<&'static str, (String, Setting)>;

pub(super) fn read_url(url: &str) -> Result<FromUrl, InvalidPostgresUrl> {
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
        Some(value) if value.chars().any(char::is_control) && name != "password" => {
            Err(ControlCharacter(Setting::Address))
        }
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
    let (host, port) = split_ports(server).ok_or(Form)?;
    if database.contains(['/', '@']) {
        return Err(Form);
    }
    for (name, value) in [
        ("user", user),
        ("password", password),
        ("host", host.as_str()),
        ("port", port.as_str()),
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

/// The hosts without their brackets, and their ports, each as a list as in the parameters.
fn split_ports(servers: &str) -> Option<(String, String)> {
    let split = servers.split(',').map(split_port).collect::<Option<Vec<_>>>()?;
    let (hosts, ports): (Vec<_>, Vec<_>) = split.into_iter().unzip();
    // Without any port, that of the environment counts.
    let has_port = ports.iter().any(|port| !port.is_empty());
    Some((hosts.join(","), if has_port { ports.join(",") } else { String::new() }))
}

fn split_port(server: &str) -> Option<(&str, &str)> {
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
