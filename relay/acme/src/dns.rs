//! As much of DNS as proofs of control need: a few queries, and signed updates (RFC 2136 with TSIG, RFC 8945).

mod message;
mod tsig;

pub use message::{Answer, Record};
pub use tsig::{InvalidTsigKey, TsigKey};

use message::{Class, Query, Response, Update};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};

/// The longest that one try of a query takes.
const TRY: Duration = Duration::from_secs(3);
/// How often a query is sent by UDP.
const TRIES: usize = 2;
/// The most CNAMEs in a row.
const MOST_ALIASES: usize = 8;
/// The seconds that a challenge's record may be kept by resolvers.
const TTL: u32 = 10;

/// Why DNS does not say or do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The server cannot be reached.
    #[error("{server} cannot be asked")]
    Unreachable {
        /// Which.
        server: String,
        /// The cause.
        source: io::Error,
    },
    /// It did not answer.
    #[error("{0} did not answer")]
    Slow(String),
    /// What it sent is no answer.
    #[error("{0} sent what is no answer")]
    Malformed(String),
    /// It answered with an error.
    #[error("{server} answers {code} for {name}")]
    Code {
        /// Which.
        server: String,
        /// The error, as RFC 1035, 2136 and 8945 call it.
        code: &'static str,
        /// What it was asked for.
        name: String,
    },
    /// Aliases lead round in a circle, or too far.
    #[error("{0} has more than {MOST_ALIASES} CNAMEs in a row")]
    Aliases(String),
    /// The server serves no zone that a name is in.
    #[error("{server} serves no zone with {name}")]
    NoZone {
        /// Which.
        server: String,
        /// The name.
        name: String,
    },
    /// The name is not one of DNS.
    #[error("{0:?} is not a name of DNS")]
    Name(String),
}

impl DnsError {
    /// Whether a name does not exist, as opposed to not being known.
    pub fn is_nonexistent(&self) -> bool {
        matches!(self, Self::Code { code: "NXDOMAIN", .. })
    }
}

/// Asks one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    /// A host or address, with a port if it is not 53.
    pub fn new(text: &str) -> Self {
        let has_port = text.parse::<IpAddr>().is_err()
            && text.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
        if has_port {
            return Self(text.to_owned());
        }
        match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Self(SocketAddr::new(address, 53).to_string()),
            Err(_) => Self(format!("{text}:53")),
        }
    }

    /// The resolvers of this machine, at most three.
    pub fn system() -> Vec<Self> {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let addresses = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        addresses.map(|address| Self::new(address.trim())).take(3).collect()
    }

    fn error(&self, source: io::Error) -> DnsError {
        DnsError::Unreachable { server: self.0.clone(), source }
    }

    async fn address(&self) -> Result<SocketAddr, DnsError> {
        let found = timeout(TRY, lookup_host(&self.0)).await.map_err(|_| DnsError::Slow(self.0.clone()))?;
        let mut found = found.map_err(|error| self.error(error))?;
        found.next().ok_or_else(|| self.error(io::ErrorKind::NotFound.into()))
    }

    /// The records of a name and kind, aliases followed as far as this server does.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn ask(&self, name: &str, record: Record) -> Result<Vec<Answer>, DnsError> {
        Ok(self.respond(name, record).await?.answers)
    }

    async fn respond(&self, name: &str, record: Record) -> Result<Response, DnsError> {
        let id = rand::random();
        let query = Query { id, name, record, class: Class::In };
        let bytes = query.encode().ok_or_else(|| DnsError::Name(name.to_owned()))?;
        let address = self.address().await?;
        let mut response = None;
        for _ in 0..TRIES {
            match timeout(TRY, self.by_udp(address, &bytes, id)).await {
                Ok(received) => {
                    response = Some(received?);
                    break;
                }
                Err(_) => continue,
            }
        }
        let response = match response {
            Some(whole) if !whole.is_truncated => whole,
            _ => timeout(TRY, self.by_tcp(address, &bytes, id))
                .await
                .map_err(|_| DnsError::Slow(self.0.clone()))??,
        };
        match response.code {
            0 => Ok(response),
            code => Err(DnsError::Code {
                server: self.0.clone(),
                code: message::code(code),
                name: name.to_owned(),
            }),
        }
    }

    async fn by_udp(&self, to: SocketAddr, bytes: &[u8], id: u16) -> Result<Response, DnsError> {
        let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(|error| self.error(error))?;
        socket.connect(to).await.map_err(|error| self.error(error))?;
        socket.send(bytes).await.map_err(|error| self.error(error))?;
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(|error| self.error(error))?;
            if let Some(response) = Response::decode(&buffer[..length]).filter(|one| one.id == id) {
                return Ok(response);
            }
        }
    }

    async fn by_tcp(&self, to: SocketAddr, bytes: &[u8], id: u16) -> Result<Response, DnsError> {
        let length = u16::try_from(bytes.len()).map_err(|_| DnsError::Malformed(self.0.clone()))?;
        let exchange = async {
            let mut tcp = TcpStream::connect(to).await?;
            tcp.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
            let length = tcp.read_u16().await?;
            let mut answer = vec![0; usize::from(length)];
            tcp.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answer: Vec<u8> = exchange.await.map_err(|error| self.error(error))?;
        let response = Response::decode(&answer).filter(|one| one.id == id);
        response.ok_or_else(|| DnsError::Malformed(self.0.clone()))
    }

    /// The zone of this server that a name is in.
    async fn zone(&self, name: &str) -> Result<String, DnsError> {
        let mut below = name;
        loop {
            match self.respond(below, Record::Soa).await {
                Ok(response) => {
                    let own = response.answers.iter().find(|answer| matches!(answer, Answer::Soa { .. }));
                    if let (Some(Answer::Soa { owner }), true) = (own, response.is_authoritative) {
                        return Ok(owner.clone());
                    }
                }
                Err(DnsError::Code { .. }) => {}
                Err(error) => return Err(error),
            }
            let none = || DnsError::NoZone { server: self.0.clone(), name: name.to_owned() };
            below = below.split_once('.').ok_or_else(none)?.1;
        }
    }

    /// Adds a TXT record, or takes it away.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn update(&self, key: &TsigKey, name: &str, text: &str, add: bool) -> Result<(), DnsError> {
        let zone = self.zone(name).await?;
        let id = rand::random();
        let update = Update { id, zone: &zone, name, text, ttl: add.then_some(TTL) };
        let unsigned = update.encode().ok_or_else(|| DnsError::Name(name.to_owned()))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let signed = key.sign(&unsigned, id, since);
        let address = self.address().await?;
        let response = timeout(TRY * 3, self.by_tcp(address, &signed, id)).await;
        let response = response.map_err(|_| DnsError::Slow(self.0.clone()))??;
        match response.code {
            0 => Ok(()),
            code => Err(DnsError::Code {
                server: self.0.clone(),
                code: message::code(code),
                name: name.to_owned(),
            }),
        }
    }
}

/// Asks several servers, one after the other until one answers.
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

    /// The records of a name and kind.
    ///
    /// # Errors
    /// [`DnsError`] of the last server that was asked.
    pub async fn ask(&self, name: &str, record: Record) -> Result<Vec<Answer>, DnsError> {
        let mut last = DnsError::Slow("no resolver".to_owned());
        for server in &self.0 {
            match server.ask(name, record).await {
                Err(error @ DnsError::Code { code: "NXDOMAIN", .. }) => return Err(error),
                Err(error) => last = error,
                answers => return answers,
            }
        }
        Err(last)
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        let of = |answers: Vec<Answer>| {
            answers.into_iter().filter_map(|answer| match answer {
                Answer::Address(address) => Some(address),
                _ => None,
            })
        };
        let mut found: Vec<IpAddr> = of(self.ask(name, Record::A).await?).collect();
        found.extend(of(self.ask(name, Record::Aaaa).await.unwrap_or_default()));
        Ok(found)
    }

    /// Where a name leads by CNAMEs: itself if it has none.
    ///
    /// # Errors
    /// [`DnsError`].
    pub async fn follow(&self, name: &str, first: Option<&Server>) -> Result<String, DnsError> {
        let mut at = name.to_owned();
        for _ in 0..MOST_ALIASES {
            let alias = |answers: Vec<Answer>| {
                answers.into_iter().find_map(|answer| match answer {
                    Answer::Cname { owner, target } if owner.eq_ignore_ascii_case(&at) => Some(target),
                    _ => None,
                })
            };
            // The server of the updates knows its own zones best; it need not know others.
            let of_first = match first {
                Some(server) => server.ask(&at, Record::Cname).await.ok().and_then(alias),
                None => None,
            };
            let next = match of_first {
                Some(next) => Some(next),
                None => match self.ask(&at, Record::Cname).await {
                    Ok(answers) => alias(answers),
                    // A name that is not there yet, or that only the first server knows, has no alias.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_port_53_unless_it_says_another() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:54", "192.0.2.1:54"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]:54", "[2001:db8::1]:54"),
            ("ns.example.com", "ns.example.com:53"),
            ("ns.example.com:54", "ns.example.com:54"),
        ] {
            assert_eq!(Server::new(text).0, address);
        }
    }
}
