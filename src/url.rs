//! The address of a vault.

#[cfg(any(feature = "redb", feature = "sqlite"))]
use std::path::PathBuf;
use std::{fmt, num::NonZeroU32, path::Path, str::FromStr, time::Duration};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use vault_core::store::{ParseTableNameError, TableName, TableNames};

/// The address of a vault: `redb:PATH`, `sqlite:PATH` or
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
///
/// The two SQL backends accept table names after a `?`, as in
/// `sqlite:app.db?table=secrets&meta=secrets_meta`, and Postgres some of libpq's parameters (listed
/// by `PostgresUrl` of vault-postgres). Anything else is an error.
///
/// # Security
/// `Display` and `Debug` never show a password: for a Postgres address they show host, port and
/// database.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// A redb file.
    #[cfg(feature = "redb")]
    Redb {
        /// The file's path.
        path: PathBuf,
    },
    /// Two tables of an SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite {
        /// The file's path.
        path: PathBuf,
        /// The names of the tables.
        tables: TableNames,
    },
    /// Two tables of a Postgres database.
    #[cfg(feature = "postgres")]
    Postgres {
        /// The server, the database and the credentials.
        url: vault_postgres::PostgresUrl,
        /// The names of the tables.
        tables: TableNames,
    },
}

/// The kinds of storage, whether or not their features are enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// A redb file.
    Redb,
    /// Tables of an SQLite file.
    Sqlite,
    /// Tables of a Postgres database.
    Postgres,
}

impl StoreUrl {
    /// Returns the kind of storage.
    #[must_use]
    pub fn kind(&self) -> BackendKind {
        match *self {
            #[cfg(feature = "redb")]
            Self::Redb { .. } => BackendKind::Redb,
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => BackendKind::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres { .. } => BackendKind::Postgres,
        }
    }

    /// Sets how many connections to a server are open at a time, and how long calls are tried again
    /// while it is gone or busy. It changes nothing for a file.
    #[must_use]
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "without the backend there is no server")
    )]
    pub fn on_server(self, max_connections: NonZeroU32, patience: Duration) -> Self {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres { mut url, tables } => {
                let options = url.options().clone();
                url.set_options(options.max_connections(max_connections).patience(patience));
                Self::Postgres { url, tables }
            }
            #[cfg(any(feature = "redb", feature = "sqlite"))]
            file => file,
        }
    }

    /// Returns the file of the vault, if the backend uses one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match *self {
            #[cfg(feature = "redb")]
            Self::Redb { ref path } => Some(path),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { ref path, .. } => Some(path),
            #[cfg(feature = "postgres")]
            Self::Postgres { .. } => None,
        }
    }
}

impl fmt::Display for StoreUrl {
    #[cfg_attr(
        not(any(feature = "redb", feature = "sqlite", feature = "postgres")),
        expect(unused_variables, reason = "without a backend there is no address")
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            #[cfg(feature = "redb")]
            Self::Redb { ref path } => write!(f, "redb:{}", path.display()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite { ref path, ref tables } => {
                write!(f, "sqlite:{}", path.display())?;
                write_tables(f, tables)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres { ref url, ref tables } => {
                write!(f, "{url}")?;
                write_tables(f, tables)
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn write_tables(f: &mut fmt::Formatter<'_>, tables: &TableNames) -> fmt::Result {
    if *tables == TableNames::default() {
        return Ok(());
    }
    write!(f, "?table={}&meta={}", tables.vault().as_str(), tables.meta().as_str())
}

impl FromStr for StoreUrl {
    type Err = ParseStoreUrlError;

    fn from_str(text: &str) -> Result<Self, ParseStoreUrlError> {
        if text.chars().any(char::is_control) {
            return Err(ParseStoreUrlError::ControlCharacter);
        }
        let (scheme, rest) = text.split_once(':').ok_or(ParseStoreUrlError::NoScheme)?;
        match scheme {
            "redb" => redb(rest),
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => postgres(text),
            _ => Err(ParseStoreUrlError::UnknownScheme { suggestion: closest(scheme, SCHEMES) }),
        }
    }
}

const SCHEMES: [&str; 4] = ["redb", "sqlite", "postgres", "postgresql"];

#[cfg(feature = "redb")]
fn redb(path: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    if path.contains('?') {
        return Err(ParseStoreUrlError::NoParameters);
    }
    Ok(StoreUrl::Redb { path: some_path("redb", path)? })
}

#[cfg(not(feature = "redb"))]
fn redb(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "redb" })
}

#[cfg(feature = "sqlite")]
fn sqlite(rest: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    let (path, tables, others) = split_tables(rest)?;
    if let Some(name) = others.first().and_then(|parameter| parameter.split('=').next()) {
        return Err(ParseStoreUrlError::UnknownParameter { suggestion: closest(name, TABLES) });
    }
    Ok(StoreUrl::Sqlite { path: some_path("sqlite", path)?, tables })
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "sqlite" })
}

#[cfg(feature = "postgres")]
fn postgres(text: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    use vault_postgres::PostgresUrl;
    let (address, tables, mut others) = split_tables(text)?;
    // As in libpq, nothing may follow the ? or the last &.
    others.pop_if(|last| last.is_empty());
    let names = others.iter().filter_map(|parameter| parameter.split('=').next());
    for name in names {
        if !name.contains('%') && !PostgresUrl::is_parameter(name) {
            let known = PostgresUrl::parameters().chain(TABLES);
            return Err(ParseStoreUrlError::UnknownParameter { suggestion: closest(name, known) });
        }
    }
    let url: PostgresUrl = if others.is_empty() {
        address.parse()
    } else {
        format!("{address}?{}", others.join("&")).parse()
    }?;
    Ok(StoreUrl::Postgres { url, tables })
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "postgres" })
}

/// Parses the path of a file. Other programs disagree about what `scheme://a` and `scheme:///a`
/// mean.
#[cfg(any(feature = "redb", feature = "sqlite"))]
fn some_path(scheme: &'static str, path: &str) -> Result<PathBuf, ParseStoreUrlError> {
    if path.is_empty() {
        return Err(ParseStoreUrlError::NoPath { scheme });
    }
    if path.starts_with("//") {
        return Err(ParseStoreUrlError::DoubleSlash { scheme });
    }
    Ok(path.into())
}

/// The parameters that name the tables.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const TABLES: [&str; 2] = ["table", "meta"];

/// Suggests the known word that a mistyped one was probably meant to be.
fn closest(typed: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    /// More than two typos make another word.
    const SLIPS: usize = 2;
    let typed = typed.to_ascii_lowercase();
    let slips = |known: &'static str| (strsim::damerau_levenshtein(&typed, known), known);
    let (slips, known) = known.into_iter().map(slips).min_by_key(|(slips, _)| *slips)?;
    (slips <= SLIPS && slips < known.len().div_ceil(2)).then_some(known)
}

/// Removes the parameters `table` and `meta` from what follows the `?`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn split_tables(text: &str) -> Result<(&str, TableNames, Vec<&str>), ParseStoreUrlError> {
    let Some((address, query)) = text.split_once('?') else {
        return Ok((text, TableNames::default(), Vec::new()));
    };
    let [mut table, mut meta] = [None, None];
    let mut others = Vec::new();
    for parameter in query.split('&') {
        let place = match parameter.split_once('=') {
            Some(("table", name)) => Some((&mut table, name)),
            Some(("meta", name)) => Some((&mut meta, name)),
            _ => None,
        };
        let Some((place, name)) = place else {
            others.push(parameter);
            continue;
        };
        if place.replace(TableName::new(name)?).is_some() {
            return Err(ParseStoreUrlError::RepeatedParameter);
        }
    }
    let default = TableNames::default();
    let tables = TableNames::new(
        table.unwrap_or_else(|| default.vault().clone()),
        meta.unwrap_or_else(|| default.meta().clone()),
    )?;
    Ok((address, tables, others))
}

/// Why a text is not the address of a vault. The text itself is never included, because an address
/// may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseStoreUrlError {
    /// There is no `scheme:` at the start.
    #[error("a vault's address begins with its backend")]
    NoScheme,
    /// The scheme is unknown.
    #[error("the address names no backend of a vault")]
    UnknownScheme {
        /// The scheme that was probably meant, if any.
        suggestion: Option<&'static str>,
    },
    /// A line break or another control character.
    #[error("the address contains a control character, for example a line break at its end")]
    ControlCharacter,
    /// Two slashes before the path of a file.
    #[error("the address of a file has no // before its path")]
    DoubleSlash {
        /// The backend.
        scheme: &'static str,
    },
    /// The address of a redb file has a `?`.
    #[error("the address of a redb file takes no parameters")]
    NoParameters,
    /// The path is missing.
    #[error("the address has no path")]
    NoPath {
        /// The backend.
        scheme: &'static str,
    },
    /// The backend exists, but not in this build.
    #[error("this build has no feature \"{feature}\", which this address needs")]
    NotCompiledIn {
        /// The cargo feature that enables the backend.
        feature: &'static str,
    },
    /// A table name is invalid.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error(transparent)]
    Table(#[from] ParseTableNameError),
    /// `table` or `meta` occurs twice.
    #[error("the address names the same table twice")]
    RepeatedParameter,
    /// A parameter that does not exist.
    #[error("a parameter behind the ? of the address is unknown")]
    UnknownParameter {
        /// The parameter that was probably meant, if any.
        suggestion: Option<&'static str>,
    },
    /// The address of a Postgres database, or a variable that completes it, is refused.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] vault_postgres::InvalidPostgresUrl),
}

impl ParseStoreUrlError {
    /// Says what to write instead, in one line for people. It never repeats the address.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        const FORMS: &str = "write redb:PATH, sqlite:PATH or postgres://…";
        const TABLES: &str = "the tables of a vault are named as ?table=NAME&meta=NAME";
        Some(match self {
            Self::NoScheme => FORMS.to_owned(),
            Self::UnknownScheme { suggestion } => did_you_mean(*suggestion, FORMS),
            Self::ControlCharacter => "remove it".to_owned(),
            Self::DoubleSlash { scheme } => {
                format!("write {scheme}:NAME for a file in this folder, or {scheme}:/FOLDER/NAME")
            }
            Self::NoParameters => "write redb:PATH without a ?".to_owned(),
            Self::NoPath { scheme } => format!("write {scheme}:PATH"),
            Self::NotCompiledIn { .. } => {
                "use another backend, or a build with that feature".to_owned()
            }
            Self::RepeatedParameter => TABLES.to_owned(),
            Self::UnknownParameter { suggestion } => did_you_mean(*suggestion, TABLES),
            #[cfg(any(feature = "sqlite", feature = "postgres"))]
            Self::Table(_) => TABLES.to_owned(),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => return None,
        })
    }
}

fn did_you_mean(suggestion: Option<&'static str>, forms: &str) -> String {
    match suggestion {
        Some(word) => format!("did you mean \"{word}\"? Else {forms}"),
        None => forms.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, ParseStoreUrlError> {
        text.parse()
    }

    #[test]
    fn what_is_no_address_says_why() {
        assert_eq!(parse("vault.redb"), Err(ParseStoreUrlError::NoScheme));
        for (text, suggestion) in [
            ("ftp://host/vault", None),
            ("postgre://host/vault", Some("postgres")),
            ("Postgres://host/vault", Some("postgres")),
            ("sqlite3:vault", Some("sqlite")),
            ("rebd:vault", Some("redb")),
        ] {
            assert_eq!(
                parse(text),
                Err(ParseStoreUrlError::UnknownScheme { suggestion }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_line_break_is_no_part_of_an_address() {
        for end in ["\n", "\r\n", "\r", "\0", "\u{7f}", "\u{85}"] {
            for url in ["redb:a", "sqlite:a", "postgres://h/d", "a"] {
                assert_eq!(
                    parse(&format!("{url}{end}")),
                    Err(ParseStoreUrlError::ControlCharacter)
                );
            }
        }
    }

    #[test]
    fn a_backend_that_is_not_compiled_in_is_named() {
        for (feature, url, is_in) in [
            ("redb", "redb:v.redb", cfg!(feature = "redb")),
            ("sqlite", "sqlite:v.db", cfg!(feature = "sqlite")),
            ("postgres", "postgres://user:secret@localhost/db", cfg!(feature = "postgres")),
        ] {
            match parse(url) {
                Ok(_) => assert!(is_in, "{url}"),
                Err(error) => {
                    assert!(!is_in, "{url}: {error}");
                    assert_eq!(error, ParseStoreUrlError::NotCompiledIn { feature });
                }
            }
        }
    }

    #[cfg(feature = "redb")]
    #[test]
    fn a_path_may_hold_colons() {
        let url = parse("redb:a:b.redb").unwrap();
        assert_eq!(url.file(), Some(Path::new("a:b.redb")));
        assert_eq!(url.to_string(), "redb:a:b.redb");
        assert_eq!(parse("redb:"), Err(ParseStoreUrlError::NoPath { scheme: "redb" }));
        for text in ["redb://a", "redb:///a", "redb://"] {
            assert_eq!(
                parse(text),
                Err(ParseStoreUrlError::DoubleSlash { scheme: "redb" }),
                "{text}"
            );
        }
        assert_eq!(parse("redb:a?table=b"), Err(ParseStoreUrlError::NoParameters));
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn tables_of_an_sqlite_file_are_named_in_the_address() {
        let url = parse("sqlite:a.db?table=secrets&meta=secrets_meta").unwrap();
        assert_eq!(url.file(), Some(Path::new("a.db")));
        assert_eq!(url.to_string(), "sqlite:a.db?table=secrets&meta=secrets_meta");
        assert_eq!(parse("sqlite:a.db").unwrap().to_string(), "sqlite:a.db");
        let only_one = parse("sqlite:a.db?table=secrets").unwrap();
        assert_eq!(only_one.to_string(), "sqlite:a.db?table=secrets&meta=vault_meta");

        assert_eq!(parse("sqlite:?table=a"), Err(ParseStoreUrlError::NoPath { scheme: "sqlite" }));
        assert_eq!(parse("sqlite:///a"), Err(ParseStoreUrlError::DoubleSlash { scheme: "sqlite" }));
        for (query, suggestion) in [("mode=ro", None), ("tabel=a", Some("table")), ("", None)] {
            let error = ParseStoreUrlError::UnknownParameter { suggestion };
            assert_eq!(parse(&format!("sqlite:a.db?{query}")), Err(error), "{query}");
        }
        assert_eq!(
            parse("sqlite:a.db?table=a&table=b"),
            Err(ParseStoreUrlError::RepeatedParameter)
        );
        let hostile = [
            ("a\"b", ParseTableNameError::Character),
            ("a;DROP TABLE vault", ParseTableNameError::Character),
            ("", ParseTableNameError::Empty),
            ("sqlite_master", ParseTableNameError::Reserved),
            ("vault_meta", ParseTableNameError::Same),
        ];
        for (name, error) in hostile {
            assert_eq!(
                parse(&format!("sqlite:a.db?table={name}")),
                Err(ParseStoreUrlError::Table(error))
            );
        }
        let long = format!("sqlite:a.db?table={}", "x".repeat(64));
        assert_eq!(parse(&long), Err(ParseTableNameError::TooLong { len: 64 }.into()));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn the_password_of_a_postgres_address_is_never_shown() {
        for text in [
            "postgres://ann:hunter2@localhost:6543/db",
            "postgresql://ann:hunter2@localhost:6543/db?table=a&meta=b&options=-csearch_path%3Ds",
        ] {
            let url = parse(text).unwrap();
            assert!(url.to_string().starts_with("postgres://localhost:6543/db"), "{url}");
            assert!(!format!("{url} {url:?}").contains("hunter2"));
            assert_eq!(url.file(), None);
        }
        for text in
            ["postgres://h/d?", "postgres://h/d?table=a&", "postgres://h/d?sslmode=disable&"]
        {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["postgres://h/d?&", "postgres://h/d?&sslmode=disable"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["postgres://ann:pa/ss@host/db", "postgres:db"] {
            let error = ParseStoreUrlError::Postgres(vault_postgres::InvalidPostgresUrl::Form);
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn an_unknown_parameter_is_refused_with_the_known_one_next_to_it() {
        for (parameter, suggestion) in [
            ("sslmod=require", Some("sslmode")),
            ("ssl-mode=require", Some("sslmode")),
            ("SSLMODE=require", Some("sslmode")),
            ("tabel=x", Some("table")),
            ("meat=x", Some("meta")),
            ("hunter2=hunter2", None),
            ("statement-cache-capacity=0", None),
        ] {
            let error = parse(&format!("postgres://h/d?{parameter}")).unwrap_err();
            assert_eq!(error, ParseStoreUrlError::UnknownParameter { suggestion }, "{parameter}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
