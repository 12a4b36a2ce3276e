//! The request for a certificate: names, CA, and the way to solve challenges.

use crate::{
    certificate::{KeyAlgorithm, hex},
    dns::TsigKey,
};
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt;

/// A request for a certificate.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id in the store.
    pub id: String,
    /// The DNS names, in lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// The domains of the regions that serve it; empty: all.
    pub regions: Vec<String>,
    /// The CA that issues it.
    pub ca: Ca,
    /// The way to prove control over the names.
    pub proof: Proof,
    /// The algorithm of its key.
    pub algorithm: KeyAlgorithm,
    /// Whether a renewal gets a new key.
    pub rotate: bool,
    /// The time before its end at which it is renewed, in seconds, unless the CA suggests another.
    pub renew_before: Option<u64>,
    /// A time in seconds since 1970: a certificate that was issued before it is renewed at once.
    pub newer_than: Option<u64>,
}

/// A CA that speaks ACME.
#[derive(Clone, Debug, Default)]
pub struct Ca {
    /// The URL of its directory.
    pub directory: String,
    /// The contact of the account.
    pub email: Option<String>,
    /// The external account that the account is bound to.
    pub binding: Option<Binding>,
    /// The trust anchors for its server's certificate (PEM); absent: those of the system.
    pub bundle: Option<String>,
    /// The certificate profile to ask for.
    pub profile: Option<String>,
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    /// The key's id.
    pub key_id: String,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({}, ***)", self.key_id)
    }
}

/// The challenge type that proves control over names (RFC 8555 section 8).
#[derive(Clone, Debug)]
pub enum Proof {
    /// By an answer of the relays on port 80.
    Http01,
    /// By an answer of the relays on port 443.
    TlsAlpn01,
    /// By a TXT record.
    Dns01(Dns01),
}

/// The way to set TXT records.
#[derive(Clone)]
pub enum Dns01 {
    /// By DNS updates (RFC 2136).
    Rfc2136 {
        /// Host of the name server, with a port if it is not 53.
        server: String,
        /// The key that signs the updates.
        key: TsigKey,
    },
    /// By lego's HTTP request protocol.
    HttpReq {
        /// The base URL; `/present` and `/cleanup` are appended.
        url: String,
        /// `user:password`.
        login: Option<String>,
    },
}

impl fmt::Debug for Dns01 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rfc2136 { server, key } => write!(f, "Rfc2136({server}, {key:?})"),
            Self::HttpReq { url, login } => {
                write!(f, "HttpReq({url}, {})", if login.is_some() { "***" } else { "no login" })
            }
        }
    }
}

/// A digest of texts with their boundaries: 16 bytes in hexadecimal digits.
pub fn digest(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(&context.finish().as_ref()[..16])
}

impl Request {
    /// A digest of everything whose change needs a new certificate.
    pub fn made_for(&self) -> String {
        let mut names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let algorithm = match self.algorithm {
            KeyAlgorithm::EcdsaP256 => "p256",
            KeyAlgorithm::EcdsaP384 => "p384",
            KeyAlgorithm::Rsa2048 => "rsa2048",
        };
        let profile = self.ca.profile.as_deref().unwrap_or_default();
        digest(&[&[self.ca.directory.as_str(), profile, algorithm], names.as_slice()].concat())
    }

    /// Under which the account is kept: another address or binding, or another operator_key of its key, is another account.
    pub(crate) fn account_id(&self, operator_key: &str) -> String {
        let ca = &self.ca;
        let binding = ca.binding.as_ref().map_or("", |binding| binding.key_id.as_str());
        digest(&[&ca.directory, ca.email.as_deref().unwrap_or_default(), binding, operator_key])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_and_regions_make_no_other_certificate() {
        let request = Request {
            id: "c".into(),
            names: vec!["a.example".into(), "b.example".into()],
            regions: vec![],
            ca: Ca { directory: "https://ca/dir".into(), ..Ca::default() },
            proof: Proof::Http01,
            algorithm: KeyAlgorithm::EcdsaP256,
            rotate: true,
            renew_before: None,
            newer_than: None,
        };
        let turned = Request {
            names: vec!["b.example".into(), "a.example".into()],
            regions: vec!["eu".into()],
            proof: Proof::TlsAlpn01,
            ..request.clone()
        };
        assert_eq!(request.made_for(), turned.made_for());
        let fewer = Request { names: vec!["a.example".into()], ..request.clone() };
        let joined = Request { names: vec!["a.exampleb.example".into()], ..request.clone() };
        let other = Request { algorithm: KeyAlgorithm::Rsa2048, ..request.clone() };
        for one in [fewer, joined, other] {
            assert_ne!(request.made_for(), one.made_for());
        }
    }
}
