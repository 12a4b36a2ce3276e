//! URLs of stores.

use serde::Deserialize;
use sqlx::postgres::PgConnectOptions;
use std::{fmt, path::PathBuf, str::FromStr};

/// The URL of a store, as in configurations: `sqlite:/path/to/file` or `postgres://user:password@host/name`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum StoreUrl {
    /// A local file, which is created if it is missing.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as a URL that may have a password in it.
    Postgres(String),
}

/// A text that is not the URL of a store. No variant repeats the text, because it may contain a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidStoreUrl {
    /// Neither of the two schemes.
    #[error("a store is 'sqlite:' with a path, or 'postgres://' with user, host and database")]
    Scheme,
    /// `sqlite:` with nothing behind it, with `?` or with `:memory:`.
    #[error("'sqlite:' must be followed by the path of a file, without '?'")]
    Path,
    /// `postgres:` without the URL of a database.
    #[error("the Postgres URL is not valid: {reason}")]
    Postgres {
        /// The reason, without the URL itself.
        reason: &'static str,
    },
}

/// The parts of a Postgres URL that may be shown: everything but user and password.
fn masked(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let mask = if place.len() < rest.len() { "***@" } else { "" };
    format!("postgres://{mask}{place}")
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(['?', '\0']) || path == ":memory:" {
                return Err(InvalidStoreUrl::Path);
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            postgres_options(text)?;
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(InvalidStoreUrl::Scheme)
    }
}

impl StoreUrl {
    /// The role of a Postgres URL; `None` for a file.
    pub fn role(&self) -> Option<String> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(url) => {
                postgres_options(url).ok().map(|options| options.get_username().to_owned())
            }
        }
    }
}

/// Reads a Postgres URL. The driver's own error is dropped because it can quote the URL.
pub(crate) fn postgres_options(url: &str) -> Result<PgConnectOptions, InvalidStoreUrl> {
    let wrong = |reason| InvalidStoreUrl::Postgres { reason };
    let options: PgConnectOptions = url
        .parse()
        .map_err(|_| wrong("it must be postgres://user:password@host:port/database?option=value"))?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(wrong("it has no database: write it as the path, postgres://host/database"));
    }
    Ok(options)
}

impl TryFrom<String> for StoreUrl {
    type Error = InvalidStoreUrl;
    fn try_from(text: String) -> Result<Self, InvalidStoreUrl> {
        text.parse()
    }
}

impl fmt::Display for StoreUrl {
    /// The URL without user, password and options.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(&masked(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_file_or_a_database() {
        let sqlite = |path: &str| Ok(StoreUrl::Sqlite(path.into()));
        assert_eq!("sqlite:/var/lib/adit/adit.db".parse(), sqlite("/var/lib/adit/adit.db"));
        assert_eq!("sqlite:///var/lib/adit/adit.db".parse(), sqlite("/var/lib/adit/adit.db"));
        assert_eq!("sqlite:adit.db".parse(), sqlite("adit.db"));
        let url = "postgres://adit:secret@pg.db.svc:5432/adit?sslmode=verify-full";
        assert_eq!(url.parse(), Ok(StoreUrl::Postgres(url.to_owned())));
    }

    #[test]
    fn what_names_no_store_is_refused() {
        for bad in ["", "adit.db", "mysql://a/b", "postgres:", "SQLITE:/a"] {
            assert_eq!(bad.parse::<StoreUrl>(), Err(InvalidStoreUrl::Scheme), "{bad:?}");
        }
        for bad in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite:/a?mode=ro"] {
            assert_eq!(bad.parse::<StoreUrl>(), Err(InvalidStoreUrl::Path), "{bad:?}");
        }
        for bad in [
            "postgres://",
            "postgres://host",
            "postgres://host:port/adit",
            "postgres://host/adit?sslmode=maybe",
        ] {
            assert!(matches!(bad.parse::<StoreUrl>(), Err(InvalidStoreUrl::Postgres { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: StoreUrl =
            "postgres://adit:s3cr%40t@pg.example:5432/adit?password=s3cr%40t".parse().unwrap();
        for shown in [format!("{url:?}"), url.to_string()] {
            assert!(!shown.contains("s3cr") && !shown.contains("adit:"), "{shown}");
            assert!(shown.contains("postgres://***@pg.example:5432/adit"), "{shown}");
        }
        for bad in ["postgres://adit:s3cret@host:s3cret/adit", "postgres://adit:s3cret@host", "s3cret"] {
            let error = bad.parse::<StoreUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}
