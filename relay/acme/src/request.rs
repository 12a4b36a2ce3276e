//! What is asked for.

use crate::{
    certificate::{KeyAlgorithm, hex},
    dns::TsigKey,
};
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt;

/// A certificate that is wanted.
#[derive(Clone, Debug)]
pub struct Request {
    /// Under which it is kept in the store.
    pub id: String,
    /// The DNS names, in lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// The domains of the regions that serve it; empty: all.
    pub regions: Vec<String>,
    /// Who issues it.
    pub ca: Ca,
    /// How control over the names is proven.
    pub proof: Proof,
    /// What its key is like.
    pub algorithm: KeyAlgorithm,
    /// Whether a renewal has a new key.
    pub rotate: bool,
    /// How long before its end it is renewed, in seconds, if the CA suggests no time.
    pub renew_before: Option<u64>,
    /// A person wants one that is newer than this, in seconds since 1970.
    pub newer_than: Option<u64>,
}

/// A CA that speaks ACME.
#[derive(Clone, Debug, Default)]
pub struct Ca {
    /// The URL of its directory.
    pub directory: String,
    /// Where it writes to.
    pub email: Option<String>,
    /// The account there that ours is bound to.
    pub binding: Option<Binding>,
    /// The CAs that its server's certificate may come from (PEM); absent: those that the system trusts.
    pub bundle: Option<String>,
    /// Its profile.
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

/// How control over names is proven.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By an answer of the relays on port 80.
    Http01,
    /// By an answer of the relays on port 443.
    TlsAlpn01,
    /// By a TXT record.
    Dns01(Dns01),
}

/// How TXT records are set.
#[derive(Clone)]
pub enum Dns01 {
    /// By DNS updates (RFC 2136).
    Rfc2136 {
        /// Host of the name server, with a port if it is not 53.
        server: String,
        /// What signs the updates.
        key: TsigKey,
    },
    /// By lego's HTTP request protocol.
    HttpReq {
        /// Where to; `/present` and `/cleanup` are put behind it.
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

/// A digest of texts, whose limits count: 16 bytes in hexadecimal digits.
pub fn digest(parts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hex(&context.finish().as_ref()[..16])
}

impl Request {
    /// A digest of all that a new certificate would be needed for if it changed.
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

    /// Under which the account is kept: another address or binding, or another keeper of its key, is another account.
    pub(crate) fn account_id(&self, keeper: &str) -> String {
        let ca = &self.ca;
        let binding = ca.binding.as_ref().map_or("", |binding| binding.key_id.as_str());
        digest(&[&ca.directory, ca.email.as_deref().unwrap_or_default(), binding, keeper])
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
