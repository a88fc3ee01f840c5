use super::{
    InvalidPostgresUrl::{
        self, ControlCharacter, Empty, Escape, Form, Repeated, UnknownParameter, Unsupported, Value,
    },
    *,
};

fn with(url: &str, variables: &[(&str, &str)]) -> Result<Address, InvalidPostgresUrl> {
    read(url, &|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| Ok((*value).to_owned()))
    })
}

fn plain(url: &str) -> Result<Address, InvalidPostgresUrl> {
    with(url, &[])
}

fn refusal(url: &str, variables: &[(&str, &str)]) -> InvalidPostgresUrl {
    match with(url, variables) {
        Ok(_) => panic!("{url} with {variables:?} is taken"),
        Err(error) => error,
    }
}

impl Address {
    /// The only server.
    fn server(&self) -> &At {
        assert_eq!(self.servers.len(), 1);
        &self.servers[0]
    }
}

fn network(host: &str) -> Host {
    Host::Network(host.to_owned())
}

#[test]
fn the_examples_of_libpqs_documentation_mean_what_they_say() {
    for (url, host, port, user, password, database) in [
        ("postgresql://localhost", "localhost", 5432, None, None, None),
        ("postgresql://localhost:5433", "localhost", 5433, None, None, None),
        ("postgresql://localhost/mydb", "localhost", 5432, None, None, Some("mydb")),
        ("postgresql://user@localhost", "localhost", 5432, Some("user"), None, None),
        (
            "postgresql://user:secret@localhost",
            "localhost",
            5432,
            Some("user"),
            Some("secret"),
            None,
        ),
        (
            "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
            "localhost",
            5432,
            Some("other"),
            None,
            Some("otherdb"),
        ),
        (
            "postgresql:///mydb?host=localhost&port=5433",
            "localhost",
            5433,
            None,
            None,
            Some("mydb"),
        ),
        (
            "postgresql://[2001:db8::1234]/database",
            "2001:db8::1234",
            5432,
            None,
            None,
            Some("database"),
        ),
        (
            "postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
            "localhost",
            5433,
            Some("user"),
            None,
            Some("mydb"),
        ),
        (
            "postgres://a%40b:p%2Fs%3As@h%2Dx/d%20b",
            "h-x",
            5432,
            Some("a@b"),
            Some("p/s:s"),
            Some("d b"),
        ),
    ] {
        let address = plain(url).unwrap();
        assert_eq!(address.server().host, network(host), "{url}");
        assert_eq!(address.server().port, port, "{url}");
        assert_eq!(address.user.as_deref(), user, "{url}");
        assert_eq!(address.password.as_deref(), password, "{url}");
        assert_eq!(address.database.as_deref(), database, "{url}");
    }
    for url in [
        "postgresql:///dbname?host=/var/lib/postgresql",
        "postgresql://%2Fvar%2Flib%2Fpostgresql/dbname",
    ] {
        assert_eq!(
            plain(url).unwrap().server().host,
            Host::Socket("/var/lib/postgresql".into()),
            "{url}"
        );
    }
    let timeout = plain("postgresql://localhost?connect_timeout=10").unwrap().connect_timeout;
    assert_eq!(timeout, Some(Duration::from_secs(10)));
    assert_eq!(
        plain("postgres://h?options=-c%20a%3D1+2").unwrap().options.as_deref(),
        Some("-c a=1+2")
    );
}

#[test]
fn the_url_wins_over_the_environment_and_a_parameter_over_the_part_before_it() {
    let variables = [
        ("PGHOST", "elsewhere"),
        ("PGPORT", "1"),
        ("PGUSER", "eve"),
        ("PGPASSWORD", "none"),
        ("PGDATABASE", "none"),
        ("PGSSLMODE", "nonsense"),
    ];
    let address = with("postgres://ann:s@h:2/d?sslmode=disable", &variables).unwrap();
    assert_eq!((&address.server().host, address.server().port), (&network("h"), 2));
    assert_eq!(address.user.as_deref(), Some("ann"));
    assert_eq!(address.password.as_deref(), Some("s"));
    assert_eq!(address.database.as_deref(), Some("d"));
    assert_eq!(address.server().tls, Tls::Disable);
    assert_eq!(plain("postgres://a/d?host=b").unwrap().server().host, network("b"));

    let address = with("postgres:///?sslmode=disable", &variables).unwrap();
    assert_eq!((&address.server().host, address.server().port), (&network("elsewhere"), 1));
    assert_eq!(address.user.as_deref(), Some("eve"));
    assert_eq!(address.database.as_deref(), Some("none"));
}

#[test]
fn only_an_sslmode_that_is_understood_lowers_the_check_of_certificates() {
    let tls = |url: &str, value: &str| {
        with(url, &[("PGSSLMODE", value)]).map(|address| address.server().tls)
    };
    let [far, near] = ["postgres://db.example", "postgres://[::1]"];
    assert_eq!(tls(far, ""), Ok(Tls::VerifyFull));
    assert_eq!(tls(near, ""), Ok(Tls::Prefer));
    assert_eq!(tls(far, "disable"), Ok(Tls::Disable));
    let setting = Setting::Variable("PGSSLMODE");
    for value in ["requre", "verify_full", "REQUIRE", " require", "allow", "0"] {
        assert!(
            matches!(tls(far, value), Err(Value { setting: it, .. }) if it == setting),
            "{value}"
        );
    }
    let setting = Setting::Parameter("sslmode");
    for value in ["requre", "allow", "Disable"] {
        let error = refusal(&format!("postgres://h?sslmode={value}"), &[]);
        assert!(matches!(error, Value { setting: it, .. } if it == setting), "{value}");
    }
}

#[test]
fn tls_means_what_libpq_means_by_it() {
    let tls =
        |url: &str| plain(url).map(|address| (address.server().tls, address.root_certificates));
    let file = || Roots::File("ca.pem".into());
    for (url, expected) in [
        ("postgres://h?sslmode=require", (Tls::Require, Roots::System)),
        ("postgres://h?ssl=true", (Tls::Require, Roots::System)),
        ("postgres://h?sslmode=require&sslrootcert=ca.pem", (Tls::VerifyCa, file())),
        ("postgres://h?sslmode=verify-full&sslrootcert=ca.pem", (Tls::VerifyFull, file())),
        ("postgres://h?sslrootcert=system", (Tls::VerifyFull, Roots::System)),
        ("postgres://localhost?sslrootcert=system", (Tls::VerifyFull, Roots::System)),
        ("postgres:///d?host=/run/x&sslmode=require", (Tls::Disable, Roots::System)),
    ] {
        assert_eq!(tls(url), Ok(expected), "{url}");
    }
    assert!(matches!(tls("postgres://h?sslmode=require&sslrootcert=system"), Err(Value { .. })));
    assert!(matches!(tls("postgres://h?sslcert=c.pem"), Err(Unsupported { .. })));
}

#[test]
fn what_is_not_supported_is_refused_in_the_url_and_in_the_environment() {
    for (name, variable, used) in PARAMETERS {
        if matches!(used, Taken) {
            continue;
        }
        let refused = |error| match error {
            Unsupported { setting, .. } | Value { setting, .. } => setting,
            other => panic!("{name}: {other}"),
        };
        let error = refusal(&format!("postgres://h?sslmode=disable&{name}=x"), &[]);
        assert_eq!(refused(error), Setting::Parameter(name));
        if !variable.is_empty() {
            let error = refusal("postgres://h?sslmode=disable", &[(variable, "x")]);
            assert_eq!(refused(error), Setting::Variable(variable));
            assert!(with("postgres://h", &[(variable, "")]).is_ok(), "{variable} is unset");
        }
        if let Only(values, _) = used {
            for value in *values {
                assert!(plain(&format!("postgres://h?{name}={value}")).is_ok(), "{name}={value}");
            }
        }
    }
}

#[test]
fn a_parameter_is_known_once_and_has_a_value() {
    for url in [
        "postgres://h?sslmod=require",
        "postgres://h?tabel=x",
        "postgres://h?Host=x",
        "postgres://h?x",
    ] {
        assert_eq!(refusal(url, &[]), UnknownParameter, "{url}");
    }
    for url in ["postgres://h?", "postgres://h?sslmode=disable&"] {
        assert!(plain(url).is_ok(), "{url}");
    }
    let sslmode = Setting::Parameter("sslmode");
    let twice = "postgres://h?sslmode=disable&sslmode=require";
    assert_eq!(refusal(twice, &[]), Repeated(sslmode));
    assert_eq!(refusal("postgres://h?sslmode=", &[]), Empty(sslmode));
    assert_eq!(refusal("postgres://h", &[("PGUSER", "")]), Empty(Setting::Variable("PGUSER")));
    let both = refusal("postgres://h?options=-ca", &[("PGOPTIONS", "-cb")]);
    assert_eq!(both, Repeated(Setting::Parameter("options")));
}

/// "Specifying Multiple Hosts" in libpq's documentation.
#[test]
fn several_hosts_are_tried_in_their_order() {
    let servers = |url: &str, variables: &[_]| -> Vec<(Host, u16, Tls)> {
        let servers = with(url, variables).unwrap().servers;
        servers.into_iter().map(|At { host, port, tls }| (host, port, tls)).collect()
    };
    let (a, b, socket) = (network("a"), network("b"), Host::Socket("/run/x".into()));
    let (full, prefer, none) = (Tls::VerifyFull, Tls::Prefer, Tls::Disable);
    let expected = vec![(a.clone(), 1, full), (b.clone(), 2, full)];
    for (url, variables) in [
        ("postgres://a:1,b:2/d", vec![]),
        ("postgres:///d?host=a,b&port=1,2", vec![]),
        ("postgres://x:9/d?host=a,b&port=1,2", vec![]),
        ("postgres:///d", vec![("PGHOST", "a,b"), ("PGPORT", "1,2")]),
        ("postgres://a,b/d", vec![("PGPORT", "1,2")]),
    ] {
        assert_eq!(servers(url, &variables), expected, "{url}");
    }
    assert_eq!(
        servers("postgres://a,b:2/d", &[("PGPORT", "7")]),
        [(a.clone(), 5432, full), (b.clone(), 2, full)]
    );
    assert_eq!(servers("postgres://a,b/d?port=7", &[]), [(a.clone(), 7, full), (b, 7, full)]);
    assert_eq!(
        servers("postgres://[::1]:1,a,%2Frun%2Fx/d", &[]),
        [(network("::1"), 1, prefer), (a, 5432, full), (socket, 5432, none)]
    );
    for (url, variables) in [
        ("postgres://a,/d", vec![]),
        ("postgres://,a/d", vec![]),
        ("postgres://a,b c/d", vec![]),
        ("postgres://a:1,b:x/d", vec![]),
        ("postgres://a,[::1/d", vec![]),
    ] {
        assert_eq!(refusal(url, &variables), Form, "{url}");
    }
    for (url, variables, setting) in [
        ("postgres:///d?host=a,b&port=1,2,3", vec![], Setting::Parameter("port")),
        ("postgres://a/d?port=1,2", vec![], Setting::Parameter("port")),
        ("postgres://a,b,c/d", vec![("PGPORT", "1,2")], Setting::Variable("PGPORT")),
        ("postgres:///d?host=a,,b", vec![], Setting::Parameter("host")),
        ("postgres:///d", vec![("PGHOST", "a,b c")], Setting::Variable("PGHOST")),
    ] {
        let error = refusal(url, &variables);
        assert!(matches!(error, Value { setting: it, .. } if it == setting), "{url}: {error:?}");
    }
}

#[test]
fn what_a_server_must_be_has_the_names_of_libpq() {
    use SessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    // A primary, one whose sessions are read-only, and a standby.
    for (wanted, accepted) in [
        (Any, [true, true, true]),
        (ReadWrite, [true, false, false]),
        (ReadOnly, [false, true, true]),
        (Primary, [true, true, false]),
        (Standby, [false, false, true]),
        (PreferStandby, [false, false, true]),
    ] {
        let url = format!("postgres://a,b?target_session_attrs={wanted}");
        assert_eq!(plain(&url).unwrap().wanted, wanted);
        let servers = [(false, false), (false, true), (true, true)];
        assert_eq!(servers.map(|(standby, only)| wanted.accepts(standby, only)), accepted, "{url}");
    }
    let variable = ("PGTARGETSESSIONATTRS", "primary");
    assert_eq!(with("postgres://a", &[variable]).unwrap().wanted, Primary);
    for url in
        ["postgres://a?target_session_attrs=readwrite", "postgres://a?target_session_attrs=Any"]
    {
        assert!(matches!(refusal(url, &[]), Value { .. }), "{url}");
    }
}

#[test]
fn what_is_no_url_says_so_and_hides_it() {
    for (url, error) in [
        ("", Form),
        ("mysql://h/d", Form),
        ("postgres:db", Form),
        ("postgres://ann:pa/ss@host/db", Form),
        ("postgres://ann:p@ss@host/db", Form),
        ("postgres://h:0", Form),
        ("postgres://h:65536", Form),
        ("postgres://[::1", Form),
        ("postgres://[]", Form),
        ("postgres://[::1]x", Form),
        ("postgres://[h]", Form),
        ("postgres://a b/d", Form),
        ("postgres://a%2/d", Escape),
        ("postgres://a%zz", Escape),
        ("postgres://a:%00@h", Escape),
        ("postgres://a:%ff@h", Escape),
        ("postgres://h/d\n", ControlCharacter(Setting::Address)),
        ("postgres://h/d\u{85}", ControlCharacter(Setting::Address)),
        ("postgres://h/d%0a", ControlCharacter(Setting::Address)),
        ("postgres://u%0D@h/d", ControlCharacter(Setting::Address)),
        ("postgres://h?host=a%0A", ControlCharacter(Setting::Parameter("host"))),
    ] {
        assert_eq!(refusal(url, &[]), error, "{url:?}");
    }
    let variable = refusal("postgres:///d", &[("PGHOST", "h\r")]);
    assert_eq!(variable, ControlCharacter(Setting::Variable("PGHOST")));
}

#[test]
fn a_host_of_any_form_is_one() {
    for (url, host) in [
        ("postgres://[::1]:6543/db", "::1"),
        ("postgres://%31%32%37.0.0.1/db", "127.0.0.1"),
        ("postgres:///db?host=::1", "::1"),
        ("postgres://db.example./db", "db.example."),
    ] {
        assert_eq!(plain(url).unwrap().server().host, network(host), "{url}");
    }
}
