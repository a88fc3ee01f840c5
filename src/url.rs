//! The address of a vault as a text.

#[cfg(any(feature = "redb", feature = "sqlite"))]
use std::path::PathBuf;
use std::{fmt, path::Path, str::FromStr};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use vault_core::store::{ParseTableNameError, TableName, TableNames};

/// Where a vault is: `redb:PATH`, `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
///
/// The two SQL backends take the names of their tables behind a `?`, as in `sqlite:app.db?table=secrets&meta=secrets_meta`;
/// what else stands there is left to Postgres.
///
/// # Security
/// Neither `Display` nor `Debug` shows a password: of a Postgres address they show host, port and database.
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
        /// The server, the database and how to get in.
        url: vault_postgres::PostgresUrl,
        /// The names of the tables.
        tables: TableNames,
    },
}

impl StoreUrl {
    /// The file that the vault is, for backends where it is one.
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
        let (scheme, rest) = text.split_once(':').ok_or(ParseStoreUrlError::NoScheme)?;
        match scheme {
            "redb" => redb(rest),
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => postgres(text),
            _ => Err(ParseStoreUrlError::UnknownScheme),
        }
    }
}

#[cfg(feature = "redb")]
fn redb(path: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Ok(StoreUrl::Redb { path: some_path("redb", path)? })
}

#[cfg(not(feature = "redb"))]
fn redb(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "redb" })
}

#[cfg(feature = "sqlite")]
fn sqlite(rest: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    let (path, tables, others) = split_tables(rest)?;
    if others.is_some() {
        return Err(ParseStoreUrlError::UnknownParameter);
    }
    Ok(StoreUrl::Sqlite { path: some_path("sqlite", path)?, tables })
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "sqlite" })
}

#[cfg(feature = "postgres")]
fn postgres(text: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    let (address, tables, others) = split_tables(text)?;
    let url = match others {
        Some(others) => format!("{address}?{others}").parse(),
        None => address.parse(),
    };
    Ok(StoreUrl::Postgres { url: url.map_err(|_| ParseStoreUrlError::Postgres)?, tables })
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Result<StoreUrl, ParseStoreUrlError> {
    Err(ParseStoreUrlError::NotCompiledIn { feature: "postgres" })
}

#[cfg(any(feature = "redb", feature = "sqlite"))]
fn some_path(scheme: &'static str, path: &str) -> Result<PathBuf, ParseStoreUrlError> {
    if path.is_empty() { Err(ParseStoreUrlError::NoPath { scheme }) } else { Ok(path.into()) }
}

/// Takes the parameters `table` and `meta` out of what stands behind the `?`.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn split_tables(text: &str) -> Result<(&str, TableNames, Option<String>), ParseStoreUrlError> {
    let Some((address, query)) = text.split_once('?') else {
        return Ok((text, TableNames::default(), None));
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
    Ok((address, tables, (!others.is_empty()).then(|| others.join("&"))))
}

/// Why a text is not the address of a vault. The text itself is never part of it: an address may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseStoreUrlError {
    /// There is no `scheme:` at the start.
    #[error("a vault's address begins with its backend: redb:PATH, sqlite:PATH or postgres://…")]
    NoScheme,
    /// The scheme is not one of a vault.
    #[error(
        "the address names no backend of a vault; write redb:PATH, sqlite:PATH or postgres://…"
    )]
    UnknownScheme,
    /// The path is missing.
    #[error("the address has no path; write {scheme}:PATH")]
    NoPath {
        /// The backend.
        scheme: &'static str,
    },
    /// The backend exists by name, and not in this build.
    #[error(
        "this build has no feature \"{feature}\", which this address needs; use another backend or another build"
    )]
    NotCompiledIn {
        /// The cargo feature that holds the backend.
        feature: &'static str,
    },
    /// A name of a table breaks the rules.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    #[error(transparent)]
    Table(#[from] ParseTableNameError),
    /// `table` or `meta` comes twice.
    #[error("the address names the same table twice; write ?table=NAME&meta=NAME")]
    RepeatedParameter,
    /// An address of a file has another parameter.
    #[error(
        "behind the ? of this address only table and meta are understood; write ?table=NAME&meta=NAME"
    )]
    UnknownParameter,
    /// Postgres's driver cannot read it.
    #[error(
        "the address of a Postgres vault is postgres://USER:PASSWORD@HOST:PORT/DATABASE, and this one is not; write special \
         characters in the password as %XX"
    )]
    Postgres,
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
        assert_eq!(parse("ftp://host/vault"), Err(ParseStoreUrlError::UnknownScheme));
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
        assert_eq!(parse("sqlite:a.db?mode=ro"), Err(ParseStoreUrlError::UnknownParameter));
        assert_eq!(
            parse("sqlite:a.db?table=a&table=b"),
            Err(ParseStoreUrlError::RepeatedParameter)
        );
        let hostile = [
            ("a\"b", ParseTableNameError::Character),
            ("a;DROP TABLE vault", ParseTableNameError::Character),
            ("a\0", ParseTableNameError::Character),
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
        assert_eq!(parse("postgres://ann:pa/ss@host/db"), Err(ParseStoreUrlError::Postgres));
        assert_eq!(parse("postgres:db"), Err(ParseStoreUrlError::Postgres));
    }
}
