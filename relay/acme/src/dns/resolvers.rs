//! Several name servers that know all names.

use super::{DnsError, MAX_ALIASES, Server, name_text};
use hickory_proto::rr::{RData, Record, RecordType};
use std::net::IpAddr;

/// Resolvers, asked one after the other until one answers.
#[derive(Clone, Debug)]
pub struct Resolvers(Vec<Server>);

impl Resolvers {
    /// These, or those of the machine if there are none.
    pub fn new(servers: &[String]) -> Self {
        if servers.is_empty() {
            return Self(Server::system());
        }
        Self(servers.iter().map(|server| Server::new(server)).collect())
    }

    /// The records of a name and type. The error is that of the last server.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let mut last = DnsError::Timeout("of this machine".to_owned());
        for server in &self.0 {
            match server.lookup(name, kind).await {
                Err(error) if error.is_nonexistent() => return Err(error),
                Err(error) => last = error,
                records => return records,
            }
        }
        Err(last)
    }

    /// The IPv4 and IPv6 addresses of a name.
    ///
    /// # Errors
    /// [`DnsError`] of the lookup of IPv4 addresses.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let of = |records: Vec<Record>| records.into_iter().filter_map(|record| record.data.ip_addr());
        let mut found: Vec<IpAddr> = of(self.lookup(name, RecordType::A).await?).collect();
        found.extend(of(self.lookup(name, RecordType::AAAA).await.unwrap_or_default()));
        Ok(found)
    }

    /// The name at the end of a name's CNAMEs: itself if it has none. `first` is asked before the resolvers.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn follow_aliases(&self, name: &str, first: Option<&Server>) -> Result<String, DnsError> {
        let mut at = name.to_owned();
        for _ in 0..MAX_ALIASES {
            // The server of the updates knows its own zones best; it need not know others.
            let of_first = match first {
                Some(server) => server.lookup(&at, RecordType::CNAME).await.ok(),
                None => None,
            };
            let next = match of_first.and_then(|records| alias_of(&at, &records)) {
                Some(next) => Some(next),
                None => match self.lookup(&at, RecordType::CNAME).await {
                    Ok(records) => alias_of(&at, &records),
                    // A name that does not exist yet, or that only the first server knows, has no alias.
                    Err(error) if error.is_nonexistent() || first.is_some() => None,
                    Err(error) => return Err(error),
                },
            };
            match next {
                Some(next) => at = next,
                None => return Ok(at),
            }
        }
        Err(DnsError::Aliases(name.to_owned()))
    }
}

/// The target of a name's CNAME among these records.
fn alias_of(name: &str, records: &[Record]) -> Option<String> {
    records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if name_text(&record.name).eq_ignore_ascii_case(name) => {
            Some(name_text(&target.0))
        }
        _ => None,
    })
}
