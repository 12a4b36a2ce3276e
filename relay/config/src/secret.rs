//! Secrets, which are never printed.

use std::fmt;

/// A secret, or a URL that may hold one. `Debug` prints `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The text with the parts of a URL that may hold a password replaced by `***`: the user information and the query.
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (address, query) = match rest.split_once('?') {
        Some((address, _)) => (address, "?***"),
        None => (rest, ""),
    };
    // A password may hold a '/' or a '?' that should have been escaped: then everything up to the last '@' goes.
    match rest.rsplit_once('@') {
        Some((_, host)) if !address.contains('@') => {
            format!("{scheme}://***@{}", host.split('?').next().unwrap_or(""))
        }
        Some(_) => {
            let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
            format!("{scheme}://***@{host}{query}")
        }
        None => format!("{scheme}://{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (url, shown) in [
            ("redis://:hunter2@h:6379/0", "redis://***@h:6379/0"),
            ("postgres://u:hunter2@h/db?password=hunter2", "postgres://***@h/db?***"),
            ("postgres://h/db?password=hunter2", "postgres://h/db?***"),
            ("postgres://u:hun@ter2@h/db", "postgres://***@h/db"),
            ("postgres://u:hun/ter2@h/db", "postgres://***@h/db"),
            ("postgres://u:hun?ter2@h/db?x=1", "postgres://***@h/db"),
            ("https://example.com/a", "https://example.com/a"),
            ("plain", "plain"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
