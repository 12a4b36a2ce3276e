//! One name server: lookups by UDP, and by TCP where the answer is too long; updates by TCP.

use super::{DnsError, TsigKey, name_text, parse_name};
use adit_system::clock;
use hickory_proto::{
    op::{Header, Message, MessageType, Query, ResponseCode, update_message},
    rr::{Name, RData, Record, RecordSet, RecordType, rdata::TXT},
    serialize::binary::{BinDecodable, BinDecoder},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};

/// The maximum time of one try of a lookup.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum time of an update.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(9);
/// The number of tries by UDP.
const UDP_TRIES: usize = 2;
/// The seconds for which resolvers may keep a TXT record.
const TXT_TTL: u32 = 10;

/// A name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

impl Server {
    /// The server at a host or address, with a port if it is not 53.
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

    /// The records of a name and type, and the CNAMEs that lead there as far as this server follows them.
    pub(crate) async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let name = parse_name(name).ok_or_else(|| DnsError::Name(name.to_owned()))?;
        Ok(self.query(&name, kind).await?.answers)
    }

    /// Adds a TXT record to a name, or removes it.
    ///
    /// # Errors
    /// [`DnsError`]. After [`DnsError::Unverified`] the server may have made the change.
    pub async fn update(&self, key: &TsigKey, name: &str, text: &str, add: bool) -> Result<(), DnsError> {
        let owner = parse_name(name).ok_or_else(|| DnsError::Name(name.to_owned()))?;
        let zone = self.zone_of(&owner).await?;
        let record = Record::from_rdata(owner, TXT_TTL, RData::TXT(TXT::new(vec![text.to_owned()])));
        let mut update = if add {
            update_message::append(RecordSet::from(record), zone, false, false)
        } else {
            update_message::delete_by_rdata(RecordSet::from(record), zone, false)
        };
        let unsigned = |source| DnsError::Unverified { server: self.0.clone(), source };
        let verifier = update.finalize(&key.signer, clock::now()).map_err(unsigned)?;
        let bytes = self.encode(&update)?;
        let address = self.address().await?;
        let exchange = timeout(UPDATE_TIMEOUT, self.exchange_by_tcp(address, &bytes));
        let answer = exchange.await.map_err(|_| DnsError::Timeout(self.0.clone()))??;
        // An error needs no proof: it is one whoever sent it.
        self.check(&self.decode(&answer, update.id)?, name)?;
        let mut verifier = verifier.ok_or_else(|| DnsError::Malformed(self.0.clone()))?;
        verifier.verify(&answer).map(drop).map_err(unsigned)
    }

    /// The zone of this server that a name is in.
    async fn zone_of(&self, name: &Name) -> Result<Name, DnsError> {
        let mut candidate = name.clone();
        while !candidate.is_root() {
            match self.query(&candidate, RecordType::SOA).await {
                Ok(answer) if answer.authoritative => {
                    let own = answer.answers.iter().find(|record| record.record_type() == RecordType::SOA);
                    if let Some(own) = own.filter(|own| own.name.zone_of(name)) {
                        return Ok(own.name.to_lowercase());
                    }
                }
                Ok(_) | Err(DnsError::Code { .. }) => {}
                Err(error) => return Err(error),
            }
            candidate = candidate.base_name();
        }
        Err(DnsError::NoZone { server: self.0.clone(), name: name_text(name) })
    }

    async fn query(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name.clone(), kind));
        let bytes = self.encode(&query)?;
        let address = self.address().await?;
        let mut by_udp = None;
        for _ in 0..UDP_TRIES {
            if let Ok(answer) = timeout(TRY_TIMEOUT, self.exchange_by_udp(address, &bytes, query.id)).await {
                by_udp = answer?;
                break;
            }
        }
        let answer = match by_udp {
            Some(answer) => answer,
            None => {
                let exchange = timeout(TRY_TIMEOUT, self.exchange_by_tcp(address, &bytes));
                let answer = exchange.await.map_err(|_| DnsError::Timeout(self.0.clone()))??;
                self.decode(&answer, query.id)?
            }
        };
        self.check(&answer, &name_text(name))?;
        Ok(answer)
    }

    /// The answer by UDP; `None` if it is truncated.
    async fn exchange_by_udp(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        id: u16,
    ) -> Result<Option<Message>, DnsError> {
        let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(|error| self.unreachable(error))?;
        socket.connect(to).await.map_err(|error| self.unreachable(error))?;
        socket.send(bytes).await.map_err(|error| self.unreachable(error))?;
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(|error| self.unreachable(error))?;
            let answer = &buffer[..length];
            // Only the header of a truncated message is sure to be whole.
            let Ok(header) = Header::read(&mut BinDecoder::new(answer)) else { continue };
            if header.metadata.id == id && header.metadata.truncation {
                return Ok(None);
            }
            if let Ok(message) = self.decode(answer, id) {
                return Ok(Some(message));
            }
        }
    }

    async fn exchange_by_tcp(&self, to: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, DnsError> {
        let length = u16::try_from(bytes.len()).map_err(|_| DnsError::Malformed(self.0.clone()))?;
        let exchange = async {
            let mut tcp = TcpStream::connect(to).await?;
            tcp.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
            let length = tcp.read_u16().await?;
            let mut answer = vec![0; usize::from(length)];
            tcp.read_exact(&mut answer).await?;
            Ok(answer)
        };
        exchange.await.map_err(|error| self.unreachable(error))
    }

    fn encode(&self, message: &Message) -> Result<Vec<u8>, DnsError> {
        message.to_vec().map_err(|_| DnsError::Malformed(self.0.clone()))
    }

    /// The response with this id.
    fn decode(&self, bytes: &[u8], id: u16) -> Result<Message, DnsError> {
        let message = Message::from_vec(bytes).ok();
        let response = message.filter(|one| one.id == id && one.message_type == MessageType::Response);
        response.ok_or_else(|| DnsError::Malformed(self.0.clone()))
    }

    fn check(&self, answer: &Message, name: &str) -> Result<(), DnsError> {
        match answer.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(DnsError::Code { server: self.0.clone(), code, name: name.to_owned() }),
        }
    }

    async fn address(&self) -> Result<SocketAddr, DnsError> {
        let lookup = timeout(TRY_TIMEOUT, lookup_host(&self.0));
        let found = lookup.await.map_err(|_| DnsError::Timeout(self.0.clone()))?;
        let mut found = found.map_err(|error| self.unreachable(error))?;
        found.next().ok_or_else(|| self.unreachable(io::ErrorKind::NotFound.into()))
    }

    fn unreachable(&self, source: io::Error) -> DnsError {
        DnsError::Unreachable { server: self.0.clone(), source }
    }
}

#[cfg(test)]
mod tests;
