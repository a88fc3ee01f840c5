//! All parameters of libpq, and how each is handled here.

/// How a parameter of libpq is handled.
pub(super) enum Use {
    Taken,
    /// It has no effect here with these values, and is refused with others.
    Only(&'static [&'static str], &'static str),
    Refused(&'static str),
}

pub(super) use Use::{Only, Refused, Taken};

const NO_GSS: &str = "disable or prefer: GSSAPI is not supported";
const TLS_VERSION: &str = "TLSv1.2, the oldest version that is spoken here";

/// All parameters of libpq, with their variables.
pub(super) const PARAMETERS: &[(&str, &str, Use)] = &[
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
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Taken),
    (
        "load_balance_hosts",
        "PGLOADBALANCEHOSTS",
        Only(&["disable"], "disable: hosts are tried in their order"),
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
